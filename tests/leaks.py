"""What tests leave running: whatever is still below the process that ran them when that has run the last one."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h

_SECONDS = 5.0
"""What has been told to end may take this long."""


def adopt() -> None:
    """Have what a test's own children leave behind become this process's child, in place of PID 1's.

    What has ended stays a zombie until this process ends, as it does in a container whose PID 1 waits for nobody.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def runs(pid: int) -> bool:
    """Return whether there is such a process, and it has not ended: a zombie has."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in {"Z", "X"}
    return False


class Watch:
    """Knows after which test each child of this process was there first."""

    def __init__(self) -> None:
        self._first: dict[int, str] = {}

    def look(self, test: str) -> None:
        """Look at the children after a test. This takes some 50 microseconds."""
        self._first = {pid: self._first.get(pid, test) for pid in _children(os.getpid())}

    def left(self) -> list[str]:
        """Return a line for each process that does not end by itself in time, and kill it."""
        end = time.monotonic() + _SECONDS
        running = {pid: test for pid, test in self._first.items() if runs(pid)}
        while running and time.monotonic() < end:
            time.sleep(0.05)
            running = {pid: test for pid, test in running.items() if runs(pid)}
        lines = []
        for pid, test in running.items():
            for each in (pid, *below(pid)):
                lines.append(f"process {each}, {_command(each)}, there since {test}")
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        return lines


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def below(pid: int) -> Iterator[int]:
    """Return all descendants of a process."""
    for child in _children(pid):
        yield child
        yield from below(child)


def _command(pid: int) -> str:
    with suppress(OSError):
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        return repr(raw.replace(b"\0", b" ").decode(errors="replace").strip())
    return "which has ended since"
