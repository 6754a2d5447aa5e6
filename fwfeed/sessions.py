"""Who administers this host right now: what must not be locked out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_VARIABLE = b"SSH_CONNECTION="


@dataclass(frozen=True, slots=True)
class Session:
    """An SSH session as sshd tells it: the peer's address as text, and the port it reached here.

    `port` 0 stands for one that sshd could not tell.
    """

    peer: str
    port: int


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
                return Session(fields[0].partition("%")[0], int(port) if port.isdecimal() and len(port) < 6 else 0)
    return None


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
