"""A machine of AlmaLinux 10's systemd and firewalld, booted with systemd as PID 1, on a network of its own.

It is Debian trixie in a container: the same versions of both. Its root is an overlay, so that the one that
`tests/setup e2e` made stays as it is. What is typed, and what comes of it, goes to stdout: `make e2e` shows it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.namespaces import batch

HOME = "198.51.100.1"
DOMESTIC = "198.51.100.2"
ABROAD = "203.0.113.2"
HOME6 = "2001:db8:1::1"
DOMESTIC6 = "2001:db8:1::2"
ABROAD6 = "2001:db8:2::2"

_BOOT_SECONDS = 90.0
_COMMAND_SECONDS = 180.0

# The kernel's log comes into no container by itself.
_LOG = "rm -f /dev/kmsg; mknod /dev/kmsg c 1 11; systemctl restart systemd-journald"


_LOGGED = re.compile(r"(?:OUTBOUND|INBOUND)_FOREIGN IN=\S* OUT=(\S*) ")


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said on both of its streams."""

    code: int
    said: str


@dataclass
class Machine:
    """The machine; `tag` names its namespaces."""

    root: Path
    tag: str
    console: Path
    _nspawn: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def outside(self) -> str:
        """The namespace in which its neighbours live: a domestic one and one abroad."""
        return f"fwfeed-{self.tag}-out"

    @property
    def device(self) -> str:
        """What its network device is called: in the kernel's log, which all machines share, it has lines of its own."""
        return f"eth{self.tag}"

    @property
    def leader(self) -> int:
        """The machine's PID 1, as seen from here; 0 where there is none."""
        assert self._nspawn is not None
        try:
            children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        except FileNotFoundError:
            return 0
        return int(children[0]) if children else 0

    def boot(self) -> None:
        """Switch it on, and wait until it is up."""
        arguments = [
            "-D",
            str(self.root),
            "-b",
            "--private-network",
            "--register=no",
            "--keep-unit",
            "--capability=all",
            "--timezone=off",  # it has a zone of its own
        ]
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with self.console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", *arguments],  # it must not outlive the tests
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
                start_new_session=True,
            )
        self._wait()

    def reboot(self) -> None:
        """Have it go down in order, and boot it again."""
        assert self._nspawn is not None
        show("[root@web ~]# systemctl reboot\n")
        self.run("systemctl reboot")
        self._nspawn.wait(_BOOT_SECONDS)  # it does not boot again by itself here
        self.boot()

    def power_cut(self) -> None:
        """Kill all that runs on it, and boot it again."""
        assert self._nspawn is not None
        show("(the power goes, and comes again)\n")
        os.kill(self.leader, signal.SIGKILL)
        self._nspawn.wait(60)
        self.boot()

    def off(self) -> None:
        """Switch it off."""
        if self._nspawn is not None and self._nspawn.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.leader, signal.SIGKILL)
            self._nspawn.wait(60)

    def run(self, command: str, timeout: float = _COMMAND_SECONDS) -> Done:
        """Run a command there, as root, and show nothing."""
        inside = ["nsenter", "-t", str(self.leader), "-a", "/bin/bash", "-c", f"cd /root; {command}"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root", "TERM": "dumb"}
        done = subprocess.run(
            inside,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            env=environment,
        )
        return Done(done.returncode, done.stdout.decode(errors="replace"))

    def type(self, command: str, code: int = 0) -> str:
        """Run a command there, show it and what it says, and return that. It has to end with the exit code."""
        show(f"[root@web ~]# {command}\n")
        done = self.run(command)
        said = self._own(done.said)
        show(_shortened(said))
        if done.code:
            show(f"(exit code {done.code})\n")
        assert done.code == code, done.said
        return said

    def ask(self, command: str) -> str:
        """Run a command there that has to work, show nothing, and return what it says."""
        done = self.run(command)
        assert done.code == 0, f"{command}: {done.said}"
        return done.said.strip()

    def path(self, path: str) -> Path:
        """Where a path of its file system is to be reached from here."""
        return Path(f"/proc/{self.leader}/root{path}")

    def copy(self, source: Path, to: str) -> None:
        """Copy a folder onto it."""
        shutil.copytree(source, self.path(to))

    def connect(self, address: str, port: int = 443) -> bool:
        """Have it try a connection, and say whether it came about."""
        return self.run(f"nc -n -w 2 -z {address} {port}").code == 0

    def wait_for(self, command: str, seconds: float = 60.0) -> None:
        """Wait until a command succeeds there."""
        until = time.monotonic() + seconds
        while (done := self.run(command)).code != 0:
            assert time.monotonic() < until, f"{command}: not within {seconds:g} s: {done.said}"
            time.sleep(0.1)

    def _own(self, text: str) -> str:
        """Leave out what the kernel has logged of other machines."""
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if not (found := _LOGGED.search(line)) or found[1] == self.device)

    def _wait(self) -> None:
        until = time.monotonic() + _BOOT_SECONDS
        while True:
            if self.leader and self.run("systemctl is-system-running").said.strip() in (
                "running",
                "degraded",
            ):
                break
            assert time.monotonic() < until, f"it does not boot: {self.console.read_text(errors='replace')[-2000:]}"
            time.sleep(0.2)
        self._plug_in()
        done = self.run(_LOG)
        assert done.code == 0, done.said
        self.wait_for("test -S /run/systemd/journal/stdout")
        self.wait_for("firewall-cmd --state")

    def _plug_in(self) -> None:
        """Connect it to its neighbours."""
        link = f"{self.tag}-net"
        for name in (link, "lan0"):
            subprocess.run(["ip", "-n", self.outside, "link", "del", name], check=False, capture_output=True)
        batch(f"link add lan0 netns {self.outside} type veth peer name {self.device} netns {self.leader}")
        batch(
            f"address add {DOMESTIC}/24 dev lan0",
            f"address add {ABROAD}/32 dev lan0",
            f"address add {DOMESTIC6}/64 dev lan0 nodad",
            f"address add {ABROAD6}/128 dev lan0 nodad",
            "link set lan0 up",
            "link set lo up",
            namespace=self.outside,
        )
        done = self.run(
            f"ip address add {HOME}/24 dev {self.device} && ip address add {HOME6}/64 dev {self.device} nodad && "
            f"ip link set {self.device} up && "
            f"ip route add default via {DOMESTIC} && ip -6 route add default via {DOMESTIC6}"
        )
        assert done.code == 0, done.said


@contextmanager
def machine(base: Path, folder: Path, tag: str) -> Iterator[Machine]:
    """Make a machine of a root, its changes in a folder; it is not booted yet."""
    upper, work, root = (folder / name for name in ("upper", "work", "root"))
    for each in (upper, work, root):
        each.mkdir(parents=True)
    options = f"lowerdir={base},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, root], check=True, capture_output=True)
    made = Machine(root=root, tag=tag, console=folder / "console")
    subprocess.run(["ip", "netns", "add", made.outside], check=True, capture_output=True)
    try:
        yield made
    finally:
        made.off()
        subprocess.run(["umount", "--lazy", root], check=True, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def tell(text: str) -> None:
    """Tell, in the transcript, what comes next."""
    show(f"\n# {text}\n\n")


def show(text: str) -> None:
    """Add to the transcript."""
    print(text, end="", flush=True)


def _shortened(text: str, lines: int = 24) -> str:
    listed = text.splitlines(keepends=True)
    if len(listed) <= lines:
        return text
    left_out = len(listed) - lines
    return "".join([*listed[: lines // 2], f"    [... {left_out} lines ...]\n", *listed[-lines // 2 :]])
