"""A small world to test in: real firewalld on a bus of its own, in namespaces, with Japan and abroad as neighbours.

    jp (198.51.100.2, 2001:db8:1::2) ---\\
                                         host (firewalld) --- container (192.0.2.2, 2001:db8:3::2)
    abroad (203.0.113.2, 2001:db8:2::2) /

Nothing of the machine's own firewall, bus or network is touched; the one global setting it needs (log lines from
namespaces) is put back by the last world. Worlds may stand side by side: what they share is the kernel's
log, and there each is known by the names of its devices.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import needs
from tests.lab.matrix import Firewalld
from tests.lab.namespaces import batch, tagged

SYSTEM_PYTHON = "/usr/bin/python3"
FWFEED = str(Path(sys.executable).with_name("fwfeed"))

_BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_destination="*"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/>
    <allow receive_type="signal"/><allow send_requested_reply="true"/>
  </policy>
</busconfig>
"""


@dataclass(frozen=True)
class Neighbour:
    """A namespace beside the host's, and the network between them."""

    name: str
    ipv4: str  # first three octets
    ipv6: str  # first three groups

    @property
    def addresses(self) -> tuple[str, str]:
        return f"{self.ipv4}.2", f"{self.ipv6}::2"


JP = Neighbour("jp", "198.51.100", "2001:db8:1")
ABROAD = Neighbour("abroad", "203.0.113", "2001:db8:2")
CONTAINER = Neighbour("container", "192.0.2", "2001:db8:3")


FILE = "delegated-apnic-extended-latest"
RECORDS = (
    "apnic|JP|ipv4|198.51.100.0|256|20110811|assigned|A1",
    "apnic|US|ipv4|203.0.113.0|256|20110811|assigned|A2",
    "apnic|JP|ipv6|2001:db8:1::|48|20110811|assigned|A1",
    "apnic|US|ipv6|2001:db8:2::|48|20110811|assigned|A2",
)


_SERVICES = ("http", "https", "imap", "ssh")


def missing() -> str:
    """Say what keeps the lab from running here, or nothing."""
    return (
        needs.networking()
        or needs.kernel_log()
        or needs.program("dbus-daemon", "dbus-send", "ping", "nc", hint="tests/setup lab, as root")
        or needs.bindings("dbus", "nftables")
    )


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Look again and again, less often the longer it takes: to look costs time that what is waited for needs."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(min(max(0.02, waited / 5), 0.2))


class KernelLog:
    """What the kernel logs of some devices, from the moment of its making."""

    def __init__(self, devices: Iterable[str]) -> None:
        self._ours = re.compile(rf"\b(IN|OUT)=({'|'.join(map(re.escape, devices))})\s")
        self._descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        self._lines: list[str] = []

    def matching(self, *words: str) -> list[str]:
        """Return the lines so far that have all of the words."""
        while True:
            try:
                record = os.read(self._descriptor, 8192).decode(errors="replace")
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # the ring has overtaken us; the next read goes on with what is left
            line = record.partition(";")[2].partition("\n")[0]
            if self._ours.search(line):
                self._lines.append(line)
        return [line for line in self._lines if all(re.search(rf"(^|\s){re.escape(w)}", line) for w in words)]

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass
class World:
    """The running lab; made by `world`."""

    folder: Path
    firewalld: Firewalld
    tag: str  # by which the kernel's log tells worlds apart
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def etc(self) -> Path:
        return self.folder / "etc-firewalld"

    def namespace(self, name: str) -> str:
        return f"fwfeed-{self.tag}-{name}"

    def device(self, neighbour: Neighbour) -> str:
        """Return the name of the host's device towards a neighbour."""
        return f"{neighbour.name}-{self.tag}"

    def run(
        self, name: str, *command: str, timeout: float = 120, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a namespace; `env` is added to its environment."""
        return subprocess.run(
            ["ip", "netns", "exec", self.namespace(name), *command],
            env={**self.environment, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def publish(self, *records: str) -> None:
        """Publish a small delegated file in which the lab's Japan is Japan, with more records where wanted."""
        everything = [*RECORDS, *records]
        kinds = [record.split("|")[2] for record in everything]
        lines = [f"2|apnic|20261122|{len(everything)}|19700101|20261122|+1000"]
        lines += (f"apnic|*|{kind}|*|{kinds.count(kind)}|summary" for kind in ("asn", "ipv4", "ipv6"))
        raw = ("\n".join([*lines, *everything]) + "\n").encode()
        mirror = self.folder / "mirror"
        mirror.mkdir(exist_ok=True)
        (mirror / FILE).write_bytes(raw)
        (mirror / f"{FILE}.md5").write_text(f"MD5 ({FILE}) = {hashlib.md5(raw).hexdigest()}\n")

    def configure(self, **tables: str) -> None:
        """Write the configuration; a table given here as TOML lines takes the place of the lab's own."""
        lines = {
            "set": "include = []",
            "sources": f'registries = ["apnic"]\nmirrors = ["file://{self.folder}/mirror"]\nmax_age = "off"',
            "paths": "\n".join(
                f'{key} = "{self.folder / name}"'
                for key, name in {
                    "cache": "cache",
                    "state": "state",
                    "run": "run",
                    "firewalld": self.etc.name,
                    "templates": "templates",
                }.items()
            ),
            **tables,
        }
        (self.folder / "fwfeed.toml").write_text("".join(f"[{name}]\n{text}\n" for name, text in lines.items()))

    def snapshot(self) -> dict[str, object]:
        """Return all that an apply could move: every file with its time, the kernel's sets, the default zone."""
        found: dict[str, object] = {}
        for folder in (self.etc, self.folder / "state", self.folder / "cache"):
            for path in sorted(folder.rglob("*")):
                stat = path.stat()
                file = (stat.st_mtime_ns, path.read_bytes()) if path.is_file() else None
                found[str(path)] = (stat.st_mode, file)
        if "firewalld" in self.processes:
            found["default zone"] = self.ask("org.fedoraproject.FirewallD1.getDefaultZone")
            found["kernel"] = self.run("host", "nft", "--handle", "list", "ruleset").stdout
        return found

    def fwfeed(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the real command on the host."""
        return self.run("host", "at-home", FWFEED, "--config", str(self.folder / "fwfeed.toml"), *arguments, env=env)

    def start_fwfeed(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the real command on the host, to be signalled or raced; its stderr is a pipe."""
        command = ["ip", "netns", "exec", self.namespace("host"), "at-home", FWFEED]
        command += [f"--config={self.folder}/fwfeed.toml"]
        return subprocess.Popen([*command, *arguments], env=self.environment, stderr=subprocess.PIPE, text=True)

    def firewall_cmd(self, *arguments: str) -> str:
        done = self.run("host", SYSTEM_PYTHON, str(self.firewalld.tree / "usr/bin/firewall-cmd"), *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def ask(self, method: str, *arguments: str) -> str:
        """Call a method of firewalld's on the bus, and return what it says; nothing, if nobody is there to answer."""
        command = ["dbus-send", f"--bus={self.environment['DBUS_SYSTEM_BUS_ADDRESS']}", "--print-reply=literal"]
        command += ["--dest=org.fedoraproject.FirewallD1", "/org/fedoraproject/FirewallD1", method, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()

    def start_bus(self) -> None:
        socket = self.folder / "bus"
        socket.unlink(missing_ok=True)
        command = ["ip", "netns", "exec", self.namespace("host")]
        command += ["dbus-daemon", f"--config-file={self.folder}/bus.conf", "--nofork", "--nopidfile"]
        self.processes["bus"] = subprocess.Popen(command)
        wait_until(socket.exists, "the bus to listen")

    def start_firewalld(self) -> None:
        program = self.firewalld.tree / "usr/sbin/firewalld"
        command = ["ip", "netns", "exec", self.namespace("host"), SYSTEM_PYTHON, str(program)]
        command += ["--nofork", "--nopid", "--system-config", str(self.etc)]
        command += ["--default-config", str(self.folder / "stock")]
        command += ["--log-file", str(self.folder / "firewalld.log"), "--log-target", "file"]
        with (self.folder / "firewalld.out").open("ab") as out:
            self.processes["firewalld"] = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=subprocess.STDOUT
            )
        wait_until(self._firewalld_runs, f"firewalld to run, see {self.folder}/firewalld.log")

    def _firewalld_runs(self) -> bool:
        assert self.processes["firewalld"].poll() is None, (self.folder / "firewalld.log").read_text()
        state = ("string:org.fedoraproject.FirewallD1", "string:state")
        return self.ask("org.freedesktop.DBus.Properties.Get", *state).endswith(" RUNNING")

    def stop(self, name: str) -> None:
        process = self.processes.pop(name)
        process.terminate()
        process.wait(timeout=20)

    def listen(self, name: str, address: str, port: int) -> None:
        """Have a neighbour (or the host) accept TCP connections on an address and port, until the world ends."""
        key = f"listener {name} {address} {port}"
        if key in self.processes:
            return
        self.processes[key] = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace(name), SYSTEM_PYTHON, "-c", _LISTENER, address, str(port)]
        )

        def listening() -> bool:
            return f":{port} " in self.run(name, "ss", "-Hltn", f"src = [{address}]:{port}").stdout

        wait_until(listening, f"{name} to listen on {address} port {port}")

    def start(self, name: str, *command: str) -> subprocess.Popen[str]:
        """Start a command in a namespace, with its stdin and stdout pipes; it is to end by itself."""
        whole = ["ip", "netns", "exec", self.namespace(name), *command]
        pipe = subprocess.PIPE
        return subprocess.Popen(whole, env=self.environment, stdin=pipe, stdout=pipe, text=True)

    def connect(self, name: str, address: str, port: int) -> bool:
        """Try a TCP connection from a namespace."""
        return self.run(name, "nc", "-z", "-w", "3", address, str(port)).returncode == 0

    def kernel_set(self, name: str) -> set[str]:
        """Return what nft prints of a set; an oracle that shares nothing with fwfeed's own reading."""
        done = self.run("host", "nft", "list", "set", "inet", "firewalld", name)
        assert done.returncode == 0, done.stderr
        found = re.search(r"elements = \{(.*?)\}", done.stdout, re.DOTALL)
        return {each.strip() for each in found[1].split(",")} if found else set()


_LISTENER = """
import ipaddress, socket, sys
address, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.create_server((address, port), family=family) as server:
    while True:
        server.accept()[0].close()
"""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=20)


def _connect(lab: World) -> None:
    neighbours = (JP, ABROAD, CONTAINER)
    host = lab.namespace("host")
    insides = {neighbour: lab.namespace(neighbour.name) for neighbour in neighbours}
    batch(*(f"netns add {name}" for name in (host, *insides.values())))
    forwarding = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    for name in (host, *insides.values()):
        settings = ("net.ipv6.conf.default.accept_dad=0", *(forwarding if name == host else ()))
        _ip("netns", "exec", name, "sysctl", "-qw", *settings)
    lines = ["link set lo up"]
    for neighbour, inside in insides.items():
        device = lab.device(neighbour)
        lines += [
            f"link add {device} type veth peer name eth0 netns {inside}",
            f"link set {device} up",
            f"address add {neighbour.ipv4}.1/24 dev {device}",
            f"address add {neighbour.ipv6}::1/64 dev {device} nodad",
        ]
    batch(*lines, namespace=host)
    for neighbour, inside in insides.items():
        batch(
            "link set lo up",
            "link set eth0 up",
            f"address add {neighbour.ipv4}.2/24 dev eth0",
            f"address add {neighbour.ipv6}::2/64 dev eth0 nodad",
            f"route add default via {neighbour.ipv4}.1",
            f"route add default via {neighbour.ipv6}::1",
            namespace=inside,
        )
    # Neighbours that know each other lose no first packet: one sent again would be logged again, and rightly.
    pings = [
        subprocess.Popen(
            ["ip", "netns", "exec", host, "ping", "-qc1", "-w20", "-i0.1", address], stdout=subprocess.DEVNULL
        )
        for neighbour in neighbours
        for address in neighbour.addresses
    ]
    assert [ping.wait(timeout=30) for ping in pings] == [0] * 6, "the neighbours do not reach each other"


def _stock(tree: Path, stock: Path, services: Iterable[str]) -> None:
    """Make a folder of what firewalld ships, with no services but these and those that they and its zones name.

    It reads all of them, some 250, whenever it starts, reloads or is checked: more than half of what that takes.
    """
    shipped = tree / "usr/lib/firewalld"
    texts = [path.read_text() for kind in ("zones", "policies") for path in (shipped / kind).glob("*.xml")]
    wanted, known = {*services}, set[str]()
    while texts or wanted - known:
        wanted.update(
            name for text in texts for name in re.findall(r'<(?:service name|include service)="([^"]+)"', text)
        )
        texts = [(shipped / f"services/{name}.xml").read_text() for name in wanted - known]
        known |= wanted
    (stock / "services").mkdir(parents=True)
    for name in known:
        (stock / f"services/{name}.xml").symlink_to(shipped / f"services/{name}.xml")
    for path in shipped.iterdir():
        if path.name != "services":
            (stock / path.name).symlink_to(path)


@contextmanager
def world(folder: Path, firewalld: Firewalld, *, all_services: bool = True) -> Iterator[World]:
    """Build the lab below an empty folder, with a firewalld running, and take it all down again.

    Without `all_services`, that one knows only those that the lab's tests name, as if the others were not shipped.
    """
    socket = folder / "bus"
    (folder / "bus.conf").write_text(_BUS_CONFIG.format(socket=socket))
    tools = folder / "bin"
    tools.mkdir()
    tree = firewalld.tree
    if all_services:
        (folder / "stock").symlink_to(tree / "usr/lib/firewalld")
    else:
        _stock(tree, folder / "stock", _SERVICES)
    offline = tools / "firewall-offline-cmd"
    offline.write_text(
        f'#!/bin/sh\nexec {SYSTEM_PYTHON} {tree}/usr/bin/firewall-offline-cmd --default-config {folder}/stock "$@"\n'
    )
    offline.chmod(0o755)
    # The machine's own resolvers are none of this world's; a process that ip starts in a namespace has its own mounts.
    (folder / "etc").mkdir()
    (folder / "etc/resolv.conf").write_text(f"nameserver {JP.addresses[0]}\n")
    home = tools / "at-home"
    home.write_text(
        f"#!/bin/sh\nmount -t overlay -o lowerdir={folder}/etc:/etc fwfeed-lab /etc\n"
        "test ! -d /run/systemd || mount -t tmpfs fwfeed-lab /run/systemd\n"  # nor is its systemd
        'exec "$@"\n'
    )
    home.chmod(0o755)
    environment = {
        "PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin",
        "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={socket}",
        "PYTHONPATH": str(next(tree.glob("usr/lib/python3*/*-packages"))),
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),
    }
    with tagged() as tag:
        lab = World(folder, firewalld, tag, environment)
        shutil.copytree(tree / "etc/firewalld", lab.etc)
        # As container engines do it: what comes from their bridge is trusted, and so forwarded.
        (lab.etc / "zones/trusted.xml").write_text(
            f'<zone target="ACCEPT"><interface name="{lab.device(CONTAINER)}"/><forward/></zone>\n'
        )
        _connect(lab)
        try:
            lab.start_bus()
            lab.start_firewalld()
            yield lab
        finally:
            for name in reversed(list(lab.processes)):
                lab.stop(name)
