"""Which process holds a socket: from its inode to a PID, by the links in /proc/PID/fd.

A host has thousands of these links, so the likely ones are looked at first: of the processes that had the last flows,
of those that have just begun, of the socket's user; and all of them only then.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from typing import TypeVar

_RECENT = 32
_REMEMBERED = 4096
_MISSED_SECONDS = 5.0
_NEW_AT_MOST = 64
_T = TypeVar("_T")


class Holders:
    """Finds holders, and remembers what may save the next search; it is never believed without a look."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._found: OrderedDict[int, tuple[int, str]] = OrderedDict()  # inode: PID and the link's path
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._missed: OrderedDict[int, float] = OrderedDict()
        self._pids: set[int] = set()
        self._last = 0

    def of(self, inode: int, uid: int) -> int | None:
        """Return the PID of a process that holds the socket, None where none does.

        Where several hold it, as after a fork, it is one of them: the kernel does not know who sent.
        """
        link = f"socket:[{inode}]"
        if (known := self._found.get(inode)) is not None:
            if _read_link(known[1]) == link:
                return known[0]
            del self._found[inode]
        if time.monotonic() - self._missed.get(inode, -_MISSED_SECONDS) < _MISSED_SECONDS:
            return None
        seen: set[int] = set()
        for pids in self._likely(uid):
            for pid in pids:
                if pid not in seen:
                    seen.add(pid)
                    if (path := self._link_in(pid, link)) is not None:
                        self._remember(inode, pid, path)
                        return pid
        _bounded(self._missed, inode, time.monotonic())
        return None

    def of_all(self, inodes: Collection[int]) -> dict[int, list[int]]:
        """Return by PID which of these sockets processes hold."""
        links = {f"socket:[{inode}]": inode for inode in inodes}
        found: dict[int, list[int]] = {}
        for pid in self._list() if links else ():
            held = {links[target] for _path, target in self._links(pid) if target in links}
            if held:
                found[pid] = sorted(held)
        return found

    def _likely(self, uid: int) -> Iterator[Iterable[int]]:
        yield list(reversed(self._recent))
        yield self._begun()
        before = self._pids
        self._pids = set(self._list())
        yield sorted(self._pids - before, reverse=True)
        yield [pid for pid in sorted(self._pids, reverse=True) if self._uid(pid) == uid]
        yield sorted(self._pids, reverse=True)

    def _begun(self) -> list[int]:
        """Return the PIDs given out since the last search, the newest first; none where they are too many."""
        try:
            with open(f"{self._proc}/loadavg", "rb") as file:  # noqa: PTH123 - in the hot path
                last = int(file.read(128).split()[4])
        except (OSError, ValueError, IndexError):
            return []
        # some from before: a process opens its first socket a while after it began
        first, self._last = max(self._last - _NEW_AT_MOST // 4, last - _NEW_AT_MOST), last
        return list(range(last, max(first, 1) - 1, -1))

    def _list(self) -> list[int]:
        return [int(name) for name in os.listdir(self._proc) if name.isdecimal()]  # noqa: PTH208 - in the hot path

    def _uid(self, pid: int) -> int:
        try:
            return os.stat(f"{self._proc}/{pid}").st_uid  # noqa: PTH116 - in the hot path
        except OSError:
            return -1

    def _link_in(self, pid: int, link: str) -> str | None:
        for path, target in self._links(pid):
            if target == link:
                return path
        return None

    def _links(self, pid: int) -> Iterator[tuple[str, str]]:
        folder = f"{self._proc}/{pid}/fd"
        try:
            names = os.listdir(folder)  # noqa: PTH208 - in the hot path
        except OSError:
            return
        for name in reversed(names):  # what was opened last is what sends for the first time
            yield (path := f"{folder}/{name}"), _read_link(path)

    def _remember(self, inode: int, pid: int, path: str) -> None:
        _bounded(self._found, inode, (pid, path))
        self._recent[pid] = None
        self._recent.move_to_end(pid)
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)


def _bounded(table: OrderedDict[int, _T], key: int, value: _T) -> None:
    table[key] = value
    if len(table) > _REMEMBERED:
        table.popitem(last=False)


def _read_link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - in the hot path
    except OSError:
        return ""
