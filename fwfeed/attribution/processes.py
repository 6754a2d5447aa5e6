"""What /proc tells of one process. All of it is bounded, and fit for a terminal."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fwfeed.attribution.cgroup import place
from fwfeed.errors import printable

_COMMAND_BYTES = 2048
_PATH_CHARACTERS = 1024
_GENERATIONS = 8
_CHAIN_SECONDS = 10.0
_CHAINS = 1024
_DELETED = " (deleted)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it is now; `executable` is empty for the kernel's own threads."""

    pid: int
    uid: int
    executable: str
    deleted: bool
    command: str
    unit: str
    container: str
    started: datetime
    parents: tuple[str, ...]


class Processes:
    """Describes processes; chains of parents are remembered for some seconds."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._tick = os.sysconf("SC_CLK_TCK")
        self._booted = _booted(proc)
        self._chains: OrderedDict[tuple[int, int], tuple[float, tuple[str, ...]]] = OrderedDict()

    def describe(self, pid: int) -> Process | None:
        """Describe a process; None where it has gone."""
        before = self._stat(pid)
        if before is None:
            return None
        parent, ticks = before
        executable, deleted = self.executable(pid)
        command = printable(
            self._read(pid, "cmdline", _COMMAND_BYTES).rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
        )
        unit, container = place(self._read(pid, "cgroup", 8192))
        parents = self._parents(pid, ticks, parent)
        try:
            uid = os.stat(f"{self._proc}/{pid}").st_uid  # noqa: PTH116 - in the hot path
        except OSError:
            return None
        if self._stat(pid) is None:  # what was read after its end is empty
            return None
        return Process(
            pid=pid,
            uid=uid,
            executable=executable,
            deleted=deleted,
            command=command,
            unit=unit,
            container=container,
            started=self._booted + timedelta(seconds=ticks / self._tick),
            parents=parents,
        )

    def executable(self, pid: int) -> tuple[str, bool]:
        """Return the path of what a process runs, and whether that file is deleted."""
        try:
            path = os.readlink(f"{self._proc}/{pid}/exe")  # noqa: PTH115 - in the hot path
        except OSError:
            return "", False
        deleted = False
        if path.endswith(_DELETED):
            # a file may be called so; the link itself can always be followed
            try:
                there, named = os.stat(f"{self._proc}/{pid}/exe"), os.stat(path)  # noqa: PTH116
                deleted = (there.st_dev, there.st_ino) != (named.st_dev, named.st_ino)
            except OSError:
                deleted = True
        return printable(path.removesuffix(_DELETED) if deleted else path)[:_PATH_CHARACTERS], deleted

    def _parents(self, pid: int, ticks: int, parent: int) -> tuple[str, ...]:
        now = time.monotonic()
        known = self._chains.get((pid, ticks))
        if known is not None and now - known[0] < _CHAIN_SECONDS:
            return known[1]
        chain: list[str] = []
        while parent > 0 and len(chain) < _GENERATIONS:
            above = self._stat(parent)
            if above is None:
                break
            chain.append(self.executable(parent)[0])
            parent = above[0]
        self._chains[pid, ticks] = now, tuple(chain)
        if len(self._chains) > _CHAINS:
            self._chains.popitem(last=False)
        return tuple(chain)

    def _stat(self, pid: int) -> tuple[int, int] | None:
        """Return a process's parent and when it started, in ticks since the boot."""
        # the name in brackets is the process's own choice, and may have brackets
        fields = self._read(pid, "stat", 4096).rpartition(b")")[2].split()
        try:
            return int(fields[1]), int(fields[19])
        except (IndexError, ValueError):
            return None

    def _read(self, pid: int, name: str, most: int) -> bytes:
        try:
            descriptor = os.open(f"{self._proc}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.read(descriptor, most)
        except OSError:
            return b""
        finally:
            os.close(descriptor)


def _booted(proc: str) -> datetime:
    with open(f"{proc}/stat", "rb") as file:  # noqa: PTH123 - beside its kin
        for line in file:
            if line.startswith(b"btime "):
                return _EPOCH + timedelta(seconds=int(line.split()[1]))
    return _EPOCH
