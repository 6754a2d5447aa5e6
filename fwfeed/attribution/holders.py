"""Which process holds a socket: from its inode to a PID, by the links in /proc/PID/fd.

A host has thousands of these links, so the likely ones are looked at first: of the processes that had the last flows,
of those that have just begun; and of all, those of the socket's user before others, only then.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from fwfeed.attribution.processes import read

_SOCKET = "socket:["
_RECENT = 32
_HOLDERS = 512
_REMEMBERED = 16384
_MISSED_SECONDS = 5.0
_LINKS = 4096  # of one process, before others had their turn: it may open a million to hide another
_SEARCH_SECONDS = 0.25  # more than any honest host needs; meanwhile packets wait
_SHORT_SECONDS = 0.01  # for a user of whom a search has taken all of that, for so long:
_TIRED_SECONDS = 5.0
_BEGUN_AT_MOST = 64
_BEGUN_BEFORE = 8
_T = TypeVar("_T")


class Holders:
    """Finds holders, and remembers what may save the next search; it is never believed without a look."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._found: OrderedDict[int, tuple[int, str]] = OrderedDict()  # inode: PID and the link's path
        self._holders: OrderedDict[int, None] = OrderedDict()
        self._missed: OrderedDict[int, float] = OrderedDict()
        self._pids: set[int] = set()
        self._last = 0
        self._newest_first = False
        self._tired: dict[int, float] = {}  # by user: until when

    def of(self, inode: int, uid: int, there: Callable[[], bool] = lambda: True) -> int | None:
        """Return the PID of a process that holds the socket, None where none does.

        Where several hold it, as after a fork, it is one of them: the kernel does not know who sent. `there` says
        whether the socket is still there, which is asked before all processes are looked at.
        """
        link = f"socket:[{inode}]"
        if (known := self._found.get(inode)) is not None:
            if _read_link(known[1]) == link:
                self._remember(inode, *known)
                return known[0]
            del self._found[inode]
        if time.monotonic() - self._missed.get(inode, -_MISSED_SECONDS) < _MISSED_SECONDS:
            return None
        if (found := self._search(link, uid, there)) is not None:
            self._remember(inode, *found)
            return found[0]
        _bounded(self._missed, inode, time.monotonic())
        return None

    def _search(self, link: str, uid: int, there: Callable[[], bool]) -> tuple[int, str] | None:
        # who hides well must not hide others, who are asked for after him
        tired = time.monotonic() < self._tired.get(uid, 0.0)
        deadline = time.monotonic() + (_SHORT_SECONDS if tired else _SEARCH_SECONDS)
        found = self._search_until(deadline, link, uid, there)
        if not tired and time.monotonic() > deadline:
            self._tired[uid] = deadline + _TIRED_SECONDS
        return found

    def _search_until(self, deadline: float, link: str, uid: int, there: Callable[[], bool]) -> tuple[int, str] | None:
        seen: set[int] = set()
        unread: list[int] = []
        last = self._last
        for pids in self._likely(uid, there):
            for pid in pids:
                if pid in seen:
                    continue
                seen.add(pid)
                path, whole = self._link_in(pid, link, _LINKS, deadline)
                if path is not None:
                    self._newest_first = pid > last
                    return pid, path
                if time.monotonic() > deadline:
                    return None
                if not whole:
                    unread.append(pid)
        for pid in unread:
            path, _whole = self._link_in(pid, link, None, deadline)
            if path is not None:
                return pid, path
        return None

    def of_all(self, inodes: Collection[int]) -> dict[int, list[int]]:
        """Return by PID which of these sockets processes hold."""
        links = {f"socket:[{inode}]": inode for inode in inodes}
        found: dict[int, list[int]] = {}
        deadline = time.monotonic() + _SEARCH_SECONDS
        for pid in self._list() if links else ():
            if time.monotonic() > deadline:
                break
            read = islice(self._links(pid), _LINKS)
            held = {links[target] for _path, target in read if target in links}
            if held:
                found[pid] = sorted(held)
        return found

    def _likely(self, uid: int, there: Callable[[], bool]) -> Iterator[Iterable[int]]:
        begun = self._begun() if self._newest_first else None
        if begun is not None:  # as where a script connects by a process each time
            yield begun
        holders = list(reversed(self._holders))
        yield holders[:_RECENT]
        if begun is None:
            yield self._begun()
        yield holders[_RECENT:]
        if not there():
            return
        before = self._pids
        self._pids = set(self._list())
        yield sorted(self._pids - before, reverse=True)
        yield sorted(self._pids, key=lambda pid: (self._uid(pid) != uid, -pid))

    def _begun(self) -> list[int]:
        """Return the PIDs given out since the last search, the newest first; none where they are too many."""
        try:
            last = int(read(f"{self._proc}/loadavg", 128).split()[4])
        except (ValueError, IndexError):
            return []
        # a process opens its first socket a while after it began
        first, self._last = max(self._last - _BEGUN_BEFORE, last - _BEGUN_AT_MOST), last
        return list(range(last, max(first, 1) - 1, -1))

    def _list(self) -> list[int]:
        return [int(name) for name in os.listdir(self._proc) if name.isdecimal()]  # noqa: PTH208 - in the hot path

    def _uid(self, pid: int) -> int:
        try:
            return os.stat(f"{self._proc}/{pid}").st_uid  # noqa: PTH116 - in the hot path
        except OSError:
            return -1

    def _link_in(self, pid: int, link: str, most: int | None, deadline: float) -> tuple[str | None, bool]:
        """Return the path of a process's link to a socket, and whether all of its links were read."""
        for number, (path, target) in enumerate(self._links(pid)):
            if target == link:
                return path, False
            if number == most or (number % 256 == 255 and time.monotonic() > deadline):
                return None, False
            if target.startswith(_SOCKET):  # who sends next may be asked for next
                _bounded(self._found, int(target[len(_SOCKET) : -1]), (pid, path))
        return None, True

    def _links(self, pid: int) -> Iterator[tuple[str, str]]:
        folder = f"{self._proc}/{pid}/fd"
        try:
            names = os.listdir(folder)  # noqa: PTH208 - in the hot path
        except OSError:
            self._holders.pop(pid, None)  # it has gone
            return
        for name in reversed(names):  # what was opened last is what sends for the first time
            yield (path := f"{folder}/{name}"), _read_link(path)

    def _remember(self, inode: int, pid: int, path: str) -> None:
        _bounded(self._found, inode, (pid, path))
        self._holders[pid] = None
        self._holders.move_to_end(pid)
        if len(self._holders) > _HOLDERS:
            self._holders.popitem(last=False)


def _bounded(table: OrderedDict[int, _T], key: int, value: _T) -> None:
    table[key] = value
    if len(table) > _REMEMBERED:
        table.popitem(last=False)


def _read_link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - in the hot path
    except OSError:
        return ""
