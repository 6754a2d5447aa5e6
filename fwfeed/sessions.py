"""Who administers this host right now: what must not be locked out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_VARIABLE = b"SSH_CONNECTION="


def ssh_peer(proc: Path = Path("/proc")) -> str | None:
    """Return the address this command was started from over SSH, or None.

    sshd says it in SSH_CONNECTION (ssh(1)). sudo takes that away from what it starts, so the environments of this
    process's ancestors are looked at as well, which root may.
    """
    for pid in _ancestry(proc):
        try:
            variables = (proc / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for variable in variables:
            if variable.startswith(_VARIABLE) and len(variable) > len(_VARIABLE):
                return variable.removeprefix(_VARIABLE).split()[0].decode(errors="replace").partition("%")[0]
    return None


def _ancestry(proc: Path) -> Iterator[int]:
    """Yield this process's number, then its parent's, up to the first process."""
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            stat = (proc / str(pid) / "stat").read_text()
        except OSError:
            return
        pid = int(stat.rpartition(")")[2].split()[1])  # the name before it may hold blanks and brackets
