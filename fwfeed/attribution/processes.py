"""What /proc tells of one process. All of it is bounded, and fit for a terminal."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from fwfeed.attribution.cgroup import place
from fwfeed.errors import printable

_COMMAND_BYTES = 2048
_PATH_CHARACTERS = 1024
_GENERATIONS = 8
_CHAIN_SECONDS = 10.0
_AROUND_SECONDS = 1.0
_REMEMBERED = 1024
_DELETED = " (deleted)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it is now; `executable` is empty for the kernel's own threads.

    `elsewhere` is whether this host has no such file at that path, or another: in a mount namespace of its own, a
    process can give its file any name.
    """

    pid: int
    uid: int
    executable: str
    deleted: bool
    elsewhere: bool
    command: str
    unit: str
    container: str
    started: datetime
    parents: tuple[str, ...]


class _Stat(NamedTuple):
    parent: int
    ticks: int  # since the boot


class _Around(NamedTuple):
    uid: int
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
        self._surroundings: OrderedDict[tuple[int, _Stat], tuple[float, _Around]] = OrderedDict()
        self._chains: OrderedDict[tuple[int, int], tuple[float, tuple[str, ...]]] = OrderedDict()

    def describe(self, pid: int) -> Process | None:
        """Describe a process; None where it has gone."""
        stat = self._stat(pid)
        if stat is None:
            return None
        path, deleted = self._path(pid)
        if not path and self._stat(pid) is None:  # it has ended meanwhile; the kernel's own threads have none
            return None
        command = self._read(pid, "cmdline", _COMMAND_BYTES).rstrip(b"\0").replace(b"\0", b" ")
        around = self._around(pid, stat)
        if around is None:
            return None
        return Process(
            pid=pid,
            uid=around.uid,
            executable=_shown(path),
            deleted=deleted,
            elsewhere=bool(path) and not deleted and not self._is_at(pid, path),
            command=printable(command.decode(errors="replace")),
            unit=around.unit,
            container=around.container,
            started=around.started,
            parents=around.parents,
        )

    def _around(self, pid: int, stat: _Stat) -> _Around | None:
        """Return what seldom changes in the life of a process, as it was within the last second."""
        now = time.monotonic()
        known = self._surroundings.get((pid, stat))
        if known is not None and now - known[0] < _AROUND_SECONDS:
            return known[1]
        unit, container = place(self._read(pid, "cgroup", 8192))
        try:
            uid = os.stat(f"{self._proc}/{pid}").st_uid  # noqa: PTH116 - in the hot path
        except OSError:
            return None
        started = self._booted + timedelta(seconds=stat.ticks / self._tick)
        around = _Around(uid, unit, container, started, self._above(stat.parent))
        self._surroundings[pid, stat] = now, around
        if len(self._surroundings) > _REMEMBERED:
            self._surroundings.popitem(last=False)
        return around

    def executable(self, pid: int) -> tuple[str, bool]:
        """Return the path of what a process runs, fit to be shown, and whether that file is deleted."""
        path, deleted = self._path(pid)
        return _shown(path), deleted

    def _path(self, pid: int) -> tuple[str, bool]:
        try:
            path = os.readlink(f"{self._proc}/{pid}/exe")  # noqa: PTH115 - in the hot path
        except OSError:
            return "", False
        if path.endswith(_DELETED) and not self._is_at(pid, path):  # a file may be called so
            return path.removesuffix(_DELETED), True
        return path, False

    def _is_at(self, pid: int, path: str) -> bool:
        """Return whether what a process runs is what this host has at a path.

        That is what PID 1 sees there: fwfeed-watch.service itself is kept from seeing /home and /tmp.
        """
        for root in (f"{self._proc}/1/root", ""):
            try:
                # the link itself can always be followed
                there, named = os.stat(f"{self._proc}/{pid}/exe"), os.stat(root + path)  # noqa: PTH116
            except PermissionError:
                continue
            except OSError:
                return False
            return (there.st_dev, there.st_ino) == (named.st_dev, named.st_ino)
        return False

    def _above(self, parent: int) -> tuple[str, ...]:
        """Return the executables from a parent on upwards."""
        chain: list[str] = []
        now = time.monotonic()
        keys = []
        while parent > 0 and len(chain) < _GENERATIONS:
            stat = self._stat(parent)
            if stat is None:
                break
            key = parent, stat.ticks
            known = self._chains.get(key)
            if known is not None and now - known[0] < _CHAIN_SECONDS:
                chain += known[1]
                break
            keys.append((key, len(chain)))
            chain.append(self.executable(parent)[0])
            parent = stat.parent
        for key, start in keys:
            self._chains[key] = now, tuple(chain[start:])
            if len(self._chains) > _REMEMBERED:
                self._chains.popitem(last=False)
        return tuple(chain[:_GENERATIONS])

    def _stat(self, pid: int) -> _Stat | None:
        """Return a process's parent and when it started; None where it has gone, or ended and waits for its parent."""
        # the name in brackets is the process's own choice, and may have brackets
        fields = self._read(pid, "stat", 4096).rpartition(b")")[2].split()
        try:
            return _Stat(int(fields[1]), int(fields[19])) if fields[0] not in {b"Z", b"X"} else None
        except (IndexError, ValueError):
            return None

    def _read(self, pid: int, name: str, most: int) -> bytes:
        return read(f"{self._proc}/{pid}/{name}", most)


def read(path: str, most: int) -> bytes:
    """Return how a file of the kernel's begins, nothing where it cannot be read: faster than a Path does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, most)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _shown(path: str) -> str:
    return printable(path)[:_PATH_CHARACTERS]


def _booted(proc: str) -> datetime:
    with open(f"{proc}/stat", "rb") as file:  # noqa: PTH123 - beside its kin
        for line in file:
            if line.startswith(b"btime "):
                return _EPOCH + timedelta(seconds=int(line.split()[1]))
    return _EPOCH
