"""Which network namespace of this host has an address: who it is that traffic is forwarded for."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fwfeed.errors import printable
from fwfeed.prefixes import Family, format_address, parse_ipv4

_AGAIN_SECONDS = 1.0  # addresses from elsewhere are never found, and must not cost a walk each
_WALK_SECONDS = 0.25  # more than an honest host's need; meanwhile packets wait
_SHARE = 20  # of the time may go into walks, one part
_KEPT_SECONDS = 30.0
_BYTES = 1 << 20  # of a table: whoever has a namespace may give it any number of addresses
_ADDRESSES = 4096


@dataclass(frozen=True, slots=True)
class Space:
    """A network namespace: its inode, the lowest PID in it, and its name below /run/netns, if it has one."""

    inode: int
    pid: int
    name: str


class Spaces:
    """The namespaces but the own one, by their addresses; looked at anew now and then."""

    def __init__(self, proc: Path = Path("/proc"), named: Path = Path("/run/netns")) -> None:
        self._proc = proc
        self._named = named
        self._by_address: dict[str, list[Space]] = {}
        self._walked = float("-inf")
        self._took = 0.0

    def having(self, address: str) -> list[Space]:
        """Return the namespaces that have an address; several may, as no one keeps them from it."""
        now = time.monotonic()
        found = self._by_address.get(address, [])
        there = [space for space in found if self._inode(space.pid) == space.inode]
        aged = now - self._walked
        stale = aged > (_KEPT_SECONDS if found else _AGAIN_SECONDS) or len(there) < len(found)
        if stale and aged > _SHARE * self._took:
            self._by_address = self._walk()
            self._walked = time.monotonic()
            self._took = self._walked - now
            return self._by_address.get(address, [])
        return there

    def _walk(self) -> dict[str, list[Space]]:
        names = {inode: name for name, inode in self._names()}
        spaces: dict[int, Space] = {}
        own = _inode_of(self._proc / "self/ns/net")
        for pid in sorted(int(name) for name in _listed(self._proc) if name.isdecimal()):
            inode = self._inode(pid)
            if inode and inode != own and inode not in spaces:
                spaces[inode] = Space(inode, pid, names.get(inode, ""))
        found: defaultdict[str, list[Space]] = defaultdict(list)
        deadline = time.monotonic() + _WALK_SECONDS
        for space in spaces.values():
            if time.monotonic() > deadline:
                break
            for address in self._addresses(space.pid):
                found[address].append(space)
        return dict(found)

    def _names(self) -> Iterator[tuple[str, int]]:
        for name in _listed(self._named):
            yield printable(name), _inode_of(self._named / name)

    def _inode(self, pid: int) -> int:
        return _inode_of(self._proc / str(pid) / "ns/net")

    def _addresses(self, pid: int) -> set[str]:
        net = self._proc / str(pid) / "net"
        found = set()
        last = ""
        for line in _lines(net / "fib_trie"):
            words = line.split()
            if len(words) == 2 and words[0] == "|--":
                last = words[1]
            elif words == ["/32", "host", "LOCAL"] and _is_ipv4(last) and not last.startswith("127."):
                found.add(last)
        for line in _lines(net / "if_inet6"):
            digits = line.split(" ", 1)[0]
            if len(digits) == 32 and digits.isalnum():
                address = format_address(int(digits, 16), Family.IPV6)
                if address != "::1" and not address.startswith("fe80:"):  # every link has those
                    found.add(address)
        return set(islice(found, _ADDRESSES))


def _listed(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _inode_of(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _is_ipv4(text: str) -> bool:
    try:
        parse_ipv4(text)
    except ValueError:
        return False
    return True


def _lines(path: Path) -> list[str]:
    try:
        with path.open(errors="replace") as file:
            return file.read(_BYTES).splitlines()
    except OSError:
        return []
