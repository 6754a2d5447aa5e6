"""Who administers this host right now: what must not be locked out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fwfeed.errors import FwfeedError
from fwfeed.process import run

_VARIABLE = b"SSH_CONNECTION="
_SERVERS = frozenset({"sshd", "sshd-session", "sshd-auth", "dropbear"})
_SS_SECONDS = 20.0

# sshd's titles of who has not logged in yet: of these, an open host has some at any time, and they are nobody's.
_NOT_YET = re.compile(rb"sshd-auth|\[(accepted|preauth|net)\]")


@dataclass(frozen=True, slots=True)
class Session:
    """An SSH session: the peer's address as text, the port it reached here, and on what interface, where that is known.

    `port` 0 stands for one that sshd could not tell.
    """

    peer: str
    port: int
    interface: str = ""


@dataclass(frozen=True, slots=True)
class _Socket:
    """A TCP socket of an SSH server's, as ss tells it."""

    listens: bool
    local: tuple[str, int]
    peer: str
    pids: tuple[int, ...]


def ssh_session(proc: Path = Path("/proc")) -> Session | None:
    """Return the SSH session that this command was started from, or None.

    sshd says it in SSH_CONNECTION (ssh(1)). sudo takes that away from what it starts, so the environments of this
    process's ancestors are looked at as well, which root may.
    """
    for pid in _ancestry(proc):
        try:
            variables = (proc / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for variable in variables:
            fields = variable.removeprefix(_VARIABLE).decode(errors="replace").split()
            if variable.startswith(_VARIABLE) and fields:
                port = fields[3] if len(fields) == 4 else ""
                return _session(fields[0], int(port) if port.isdecimal() and len(port) < 6 else 0)
    return None


def established(proc: Path = Path("/proc")) -> tuple[list[Session], list[int]]:
    """Return all SSH sessions of this host, and the ports on which its SSH servers listen.

    It is who has logged in that counts: those who only try a password keep no change out. Sessions from this host
    itself, which no firewall sees, do not count either. Raises FwfeedError where the processes cannot be seen.
    """
    done = run("ss", "-Htanp", timeout=_SS_SECONDS)
    listening = [line for line in done.stdout.splitlines() if line.startswith("LISTEN")]
    if done.code != 0 or (listening and not any("pid=" in line for line in listening)):
        raise FwfeedError(
            f"ss does not tell whose the connections are{f': {done.stderr.strip()}' if done.stderr else ''}"
        )
    sockets = list(_parse_ss(done.stdout))
    connected: dict[int, set[int]] = {}
    for socket in sockets:
        for pid in () if socket.listens else socket.pids:
            connected.setdefault(pid, set()).add(socket.local[1])
    # who listens and is connected at another port is no server but somebody's session, which listens for him (ssh -R)
    listening_at = [(socket.local[1], socket.pids) for socket in sockets if socket.listens]
    own_ports = {port for port, pids in listening_at if not any(connected.get(pid, set()) - {port} for pid in pids)}
    # where systemd starts an sshd for each connection (sshd.socket), it is systemd that listens
    handed_over = {socket.local[1] for socket in sockets if not socket.listens} & set(_of_systemd(listening))
    ports = sorted(own_ports | handed_over)
    found = [
        _session(socket.peer, socket.local[1])
        for socket in sockets
        # a server's connections onward (ssh -L) begin at ports on which nobody listens
        if not socket.listens and socket.local[1] in ports and _is_logged_in(socket, proc)
    ]
    own = {_session(socket.local[0], 0).peer for socket in sockets}
    return sorted({each for each in found if each.peer not in own}, key=repr), ports


def _parse_ss(text: str) -> Iterator[_Socket]:
    """Yield the sockets of SSH servers from what `ss -Htanp` prints (ss(8))."""
    for line in text.splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or fields[0] not in {"LISTEN", "ESTAB"}:
            continue
        pids = [int(pid) for name, pid in re.findall(r'"([^"]*)",pid=(\d+)', fields[5]) if name in _SERVERS]
        if pids:
            address, _, port = fields[3].rpartition(":")
            peer = fields[4].rpartition(":")[0]
            yield _Socket(fields[0] == "LISTEN", (address, int(port)), peer, tuple(pids))


def _of_systemd(listening: list[str]) -> Iterator[int]:
    """Yield the ports on which systemd listens for others (systemd.socket(5))."""
    for line in listening:
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and '("systemd",pid=1,' in fields[5]:
            yield int(fields[3].rpartition(":")[2])


def _is_logged_in(socket: _Socket, proc: Path) -> bool:
    for pid in socket.pids:
        try:
            title = (proc / str(pid) / "cmdline").read_bytes()
        except OSError:
            continue  # gone, or not to be seen: the others say it, or it counts
        if _NOT_YET.search(title):
            return False
    return True


def _session(peer: str, port: int) -> Session:
    address, _, interface = peer.strip("[]").replace("]%", "%").partition("%")
    mapped = re.fullmatch(r"::ffff:(\d+\.\d+\.\d+\.\d+)", address)  # of a socket that takes both families
    return Session(mapped[1] if mapped else address, port, interface)


def _ancestry(proc: Path) -> Iterator[int]:
    """Yield this process's number, then its parent's, up to the first process."""
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            stat = (proc / str(pid) / "stat").read_bytes()
        except OSError:
            return
        pid = int(stat.rpartition(b")")[2].split()[1])  # the name before it may hold anything
