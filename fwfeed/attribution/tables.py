"""The sockets that no port leads to, by the kernel's tables in /proc/net: echo and raw sockets."""

from __future__ import annotations

from pathlib import Path

from fwfeed.prefixes import Family

_ANY = 255  # IPPROTO_RAW: with headers of the sender's own


def echoing(family: Family, identifier: int, net: Path = Path("/proc/net")) -> list[tuple[int, int]]:
    """Return inode and uid of the echo sockets with an identifier; they are what ping has where it needs no root."""
    rows = _rows(net / ("icmp" if family is Family.IPV4 else "icmp6"))
    return [(inode, uid) for number, uid, inode in rows if number == identifier]


def raw(family: Family, protocol: int, uid: int | None, net: Path = Path("/proc/net")) -> set[int]:
    """Return the inodes of the raw sockets that can send a protocol, of one user where it is known whose it was."""
    rows = _rows(net / ("raw" if family is Family.IPV4 else "raw6"))
    return {inode for number, whose, inode in rows if number in {protocol, _ANY} and uid in {None, whose}}


def _rows(path: Path) -> list[tuple[int, int, int]]:
    """Return number, uid and inode of each; the number stands where others have their port."""
    found = []
    for line in _lines(path):
        fields = line.split()
        try:
            found.append((int(fields[1].rpartition(":")[2], 16), int(fields[7]), int(fields[9])))
        except (IndexError, ValueError):
            continue
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()[1:]
    except OSError:
        return []
