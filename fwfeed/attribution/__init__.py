"""Who sent a flow, asked at the moment of its first packet, while its socket is still there.

`diag` finds the socket, `holders` the process that holds it, `processes` what it is. Where no socket matches, that is
what is said, with those who could have sent it: `tables`. What is forwarded has its socket elsewhere: `spaces`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from fwfeed.attribution import tables
from fwfeed.attribution.diag import Diag, Socket
from fwfeed.attribution.holders import Holders
from fwfeed.attribution.processes import Process, Processes
from fwfeed.attribution.spaces import Space, Spaces
from fwfeed.errors import printable
from fwfeed.flow import Direction, Flow, Known, Sender

_NUMBERS = {"ICMP": 1, "TCP": 6, "UDP": 17, "ESP": 50, "AH": 51, "ICMPv6": 58, "UDPLITE": 136}
_ELSEWHERE = "another mount namespace"  # a program of a container is not taken for the host's
_SUSPECTS = 16
_SUSPECTS_SECONDS = 1.0
_PASSWD_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Suspects:
    at: float
    inodes: frozenset[int]
    suspects: tuple[str, ...]


class Attribution:
    """Names senders, in the network namespace in which it was made."""

    def __init__(self) -> None:
        self._diag = Diag()
        self._holders = Holders()
        self._processes = Processes()
        self._spaces = Spaces()
        self._users = _Users()
        self._suspects: _Suspects | None = None

    def close(self) -> None:
        """Let go of the kernel."""
        self._diag.close()

    def sender(self, flow: Flow, echo: int | None = None, out: int = 0) -> Sender:
        """Say who sent a flow; `echo` is the identifier of an echo request, `out` the number of its interface."""
        if flow.direction is Direction.IN:
            return Sender(known=Known.NOT)
        if flow.direction is Direction.FORWARDED:
            return self._forwarded(flow)
        uid = flow.uid
        for found in self._sockets(flow, echo, out):
            if uid is None:
                uid = found.uid if found.inode else None  # the kernel says 0 of what nobody holds any more
            elif uid != found.uid and not found.exact:
                continue  # another user has had the port since
            if (process := self._holder(flow, echo, out, found)) is not None:
                return self._of(process, Known.SOCKET)
        suspects = self._suspecting(flow)
        user = "" if uid is None else self._users.name(uid)
        known = Known.SUSPECTS if suspects else Known.USER if user else Known.NOT
        return Sender(known=known, user=user, suspects=suspects)

    def _holder(self, flow: Flow, echo: int | None, out: int, of: Socket) -> Process | None:
        if not of.inode:
            return None
        pid = self._holders.of(of.inode, of.uid, lambda: of in self._sockets(flow, echo, out))
        return None if pid is None else self._processes.describe(pid)

    def _sockets(self, flow: Flow, echo: int | None, out: int) -> list[Socket]:
        if flow.source_port is not None and flow.destination_port is not None:
            local, remote = (flow.source, flow.source_port), (flow.destination, flow.destination_port)
            found = self._diag.find(flow.protocol, flow.family, local, remote, out)
            return [found] if found is not None else []
        if echo is not None:
            return [Socket(inode, uid, exact=False) for inode, uid in tables.echoing(flow.family, echo)]
        return []

    def _suspecting(self, flow: Flow) -> tuple[str, ...]:
        """Return who could have sent what no socket matches: holders of raw sockets of its protocol.

        What packet sockets send goes past the firewall, and so none of it comes here.
        """
        number = _NUMBERS.get(flow.protocol) or (int(flow.protocol) if flow.protocol.isdecimal() else -1)
        inodes = frozenset(tables.raw(flow.family, number, flow.uid))
        now = time.monotonic()
        known = self._suspects
        if known is None or known.inodes != inodes or now - known.at > _SUSPECTS_SECONDS:
            found = []
            for pid in self._holders.of_all(inodes):
                executable, deleted = self._processes.executable(pid)
                found.append(f"{pid} {executable}{' (deleted)' if deleted else ''}")
            known = self._suspects = _Suspects(now, inodes, tuple(found[:_SUSPECTS]))
        return known.suspects

    def _forwarded(self, flow: Flow) -> Sender:
        spaces = self._spaces.having(flow.source)
        if not spaces:
            return Sender(known=Known.NOT)
        if len(spaces) > 1:
            names = ", ".join(sorted(self._name(space) for space in spaces[:_SUSPECTS]))
            return Sender(known=Known.NAMESPACE, container=f"one of {names}")
        process = self._processes.describe(spaces[0].pid)
        if process is None:
            return Sender(known=Known.NAMESPACE, container=self._name(spaces[0]))
        return replace(self._of(process, Known.NAMESPACE), container=self._name(spaces[0], process))

    def _name(self, space: Space, process: Process | None = None) -> str:
        process = process or self._processes.describe(space.pid)
        return (process.container if process else "") or space.name or f"net:[{space.inode}]"

    @staticmethod
    def _container(process: Process) -> str:
        """Return the container, which has files of its own: anybody can call a scope of his docker-ID."""
        named = process.container if process.elsewhere or process.deleted else ""
        return named or (_ELSEWHERE if process.elsewhere else "")

    def _of(self, process: Process, known: Known) -> Sender:
        return Sender(
            known=known,
            pid=process.pid,
            executable=process.executable,
            deleted=process.deleted,
            command=process.command,
            user=self._users.name(process.uid),
            unit=process.unit,
            container=self._container(process),
            started=process.started,
            parents=process.parents,
        )


class _Users:
    """Names of users by /etc/passwd alone: to ask a directory on the network would be a flow of its own."""

    def __init__(self, path: str = "/etc/passwd") -> None:
        self._path = path
        self._names: dict[int, str] = {}
        self._read = float("-inf")

    def name(self, uid: int) -> str:
        """Return a user's name, or the number."""
        if time.monotonic() - self._read > _PASSWD_SECONDS:
            self._names = _users(self._path)
            self._read = time.monotonic()
        return self._names.get(uid, str(uid))


def _users(path: str) -> dict[int, str]:
    found: dict[int, str] = {}
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdecimal():
            found.setdefault(int(fields[2]), printable(fields[0]))
    return found
