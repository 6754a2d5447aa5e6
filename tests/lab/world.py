"""A small world to test in: real firewalld on a bus of its own, in namespaces, with Japan and abroad as neighbours.

    jp (198.51.100.2, 2001:db8:1::2) ---\\
                                         host (firewalld) --- container (192.0.2.2, 2001:db8:3::2)
    abroad (203.0.113.2, 2001:db8:2::2) /

Nothing of the machine's own firewall, bus or network is touched; the one global setting it needs (log lines from
namespaces) is put back.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TREE = Path(os.environ.get("FWFEED_LAB_FIREWALLD", Path(__file__).parents[2] / "build" / "lab" / "firewalld"))
SYSTEM_PYTHON = "/usr/bin/python3"
FWFEED = str(Path(sys.executable).with_name("fwfeed"))

_LOG_ALL = Path("/proc/sys/net/netfilter/nf_log_all_netns")
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


def missing() -> str:
    """Say what keeps the lab from running here, or nothing."""
    if os.geteuid() != 0:
        return "the lab needs root"
    programs = [name for name in ("ip", "nft", "dbus-daemon", "ping", "nc") if not shutil.which(name)]
    if programs:
        return f"the lab needs {', '.join(programs)}"
    if not (TREE / "usr/sbin/firewalld").exists():
        return f"the lab needs firewalld unpacked in {TREE}: make lab"
    if not _LOG_ALL.exists():
        return f"the lab needs {_LOG_ALL}: modprobe nf_log_syslog"
    return ""


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)


class KernelLog:
    """The kernel's log from the moment of its making."""

    def __init__(self) -> None:
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
            self._lines.append(record.partition(";")[2].partition("\n")[0])
        return [line for line in self._lines if all(re.search(rf"(^|\s){re.escape(w)}", line) for w in words)]

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass
class World:
    """The running lab; made by `world`."""

    folder: Path
    prefix: str
    environment: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def etc(self) -> Path:
        return self.folder / "etc-firewalld"

    def namespace(self, name: str) -> str:
        return f"{self.prefix}-{name}"

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
            found["default zone"] = self.firewall_cmd("--get-default-zone")
            found["kernel"] = self.run("host", "nft", "--handle", "list", "ruleset").stdout
        return found

    def fwfeed(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the real command on the host."""
        return self.run("host", FWFEED, "--config", str(self.folder / "fwfeed.toml"), *arguments, env=env)

    def start_fwfeed(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the real command on the host, to be signalled or raced; its stderr is a pipe."""
        command = ["ip", "netns", "exec", self.namespace("host"), FWFEED, f"--config={self.folder}/fwfeed.toml"]
        return subprocess.Popen([*command, *arguments], env=self.environment, stderr=subprocess.PIPE, text=True)

    def firewall_cmd(self, *arguments: str) -> str:
        done = self.run("host", SYSTEM_PYTHON, str(TREE / "usr/bin/firewall-cmd"), *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start_firewalld(self) -> None:
        command = ["ip", "netns", "exec", self.namespace("host"), SYSTEM_PYTHON, str(TREE / "usr/sbin/firewalld")]
        command += ["--nofork", "--nopid", "--system-config", str(self.etc)]
        command += ["--default-config", str(TREE / "usr/lib/firewalld")]
        command += ["--log-file", str(self.folder / "firewalld.log"), "--log-target", "file"]
        with (self.folder / "firewalld.out").open("ab") as out:
            self.processes["firewalld"] = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=subprocess.STDOUT
            )
        wait_until(self._firewalld_runs, f"firewalld to run, see {self.folder}/firewalld.log")

    def _firewalld_runs(self) -> bool:
        assert self.processes["firewalld"].poll() is None, (self.folder / "firewalld.log").read_text()
        return self.run("host", SYSTEM_PYTHON, str(TREE / "usr/bin/firewall-cmd"), "--state").returncode == 0

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


@contextmanager
def _network(prefix: str) -> Iterator[None]:
    names = ["host", JP.name, ABROAD.name, CONTAINER.name]
    try:
        for name in names:
            _ip("netns", "add", f"{prefix}-{name}")
            _ip("-n", f"{prefix}-{name}", "link", "set", "lo", "up")
            _ip("netns", "exec", f"{prefix}-{name}", "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        for neighbour in (JP, ABROAD, CONTAINER):
            inside = f"{prefix}-{neighbour.name}"
            here = f"v{neighbour.name}"
            _ip("-n", f"{prefix}-host", "link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", inside)
            for namespace, device, last in ((f"{prefix}-host", here, 1), (inside, "eth0", 2)):
                _ip("-n", namespace, "link", "set", device, "up")
                _ip("-n", namespace, "address", "add", f"{neighbour.ipv4}.{last}/24", "dev", device)
                _ip("-n", namespace, "address", "add", f"{neighbour.ipv6}::{last}/64", "dev", device, "nodad")
            _ip("-n", inside, "route", "add", "default", "via", f"{neighbour.ipv4}.1")
            _ip("-n", inside, "route", "add", "default", "via", f"{neighbour.ipv6}::1")
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            _ip("netns", "exec", f"{prefix}-host", "sysctl", "-qw", f"{key}=1")
        # Neighbours that know each other lose no first packet: one sent again would be logged again, and rightly.
        for neighbour in (JP, ABROAD, CONTAINER):
            for address in neighbour.addresses:
                _ip("netns", "exec", f"{prefix}-host", "ping", "-qc1", "-w5", address)
        yield
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", f"{prefix}-{name}"], check=False, capture_output=True, timeout=20)


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Build the lab below an empty folder, with firewalld running, and take it all down again."""
    socket = folder / "bus"
    (folder / "bus.conf").write_text(_BUS_CONFIG.format(socket=socket))
    tools = folder / "bin"
    tools.mkdir()
    offline = tools / "firewall-offline-cmd"
    offline.write_text(
        "#!/bin/sh\n"
        f'exec {SYSTEM_PYTHON} {TREE}/usr/bin/firewall-offline-cmd --default-config {TREE}/usr/lib/firewalld "$@"\n'
    )
    offline.chmod(0o755)
    environment = {
        "PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin",
        "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={socket}",
        "PYTHONPATH": str(next(TREE.glob("usr/lib/python3*/*-packages"))),
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),
    }
    lab = World(folder, f"fwfeed{os.getpid()}", environment)
    shutil.copytree(TREE / "etc/firewalld", lab.etc)
    # As container engines do it: what comes from their bridge is trusted, and so forwarded.
    (lab.etc / "zones/trusted.xml").write_text(
        f'<zone target="ACCEPT"><interface name="v{CONTAINER.name}"/><forward/></zone>\n'
    )
    before = _LOG_ALL.read_text()
    try:
        with _network(lab.prefix):
            _LOG_ALL.write_text("1")
            lab.processes["bus"] = subprocess.Popen(
                ["dbus-daemon", f"--config-file={folder}/bus.conf", "--nofork", "--nopidfile"]
            )
            wait_until(socket.exists, "the bus to listen")
            try:
                lab.start_firewalld()
                yield lab
            finally:
                for name in reversed(list(lab.processes)):
                    lab.stop(name)
    finally:
        _LOG_ALL.write_text(before)
