"""Find the lines of a delegated file that speak of an address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from fwfeed.delegated import form
from fwfeed.delegated.form import Resource, Row
from fwfeed.prefixes import Family, Range, parse_address

_ANY_REGISTRY = "[a-z]+"
_NOWHERE = (0, -1)


def find_lines(blocks: Iterable[bytes], *, family: Family, first: int, last: int) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of every record whose range overlaps first..last, whatever its status.

    The file, in blocks cut anywhere, is one that `parse` accepted. What is no well-formed record is passed over.
    """
    kind = Resource.IPV4 if family is Family.IPV4 else Resource.IPV6
    pattern = form.record_pattern(kind, _ANY_REGISTRY)
    before = 0
    for piece in form.pieces(blocks):
        text = f"\n{piece.decode('ascii', 'replace')}\n"
        ranges = _ranges(kind, pattern.findall(text)) if f"|{kind}|" in text else ()
        hits = [row for row, (low, high) in enumerate(ranges) if low <= last and high >= first]
        matches = pattern.finditer(text)
        passed = 0
        for row in hits:
            match = next(islice(matches, row - passed, None))
            passed = row + 1
            yield before + text.count("\n", 0, match.start() + 1), match[0][1:]
        before += piece.count(b"\n")


def _ranges(kind: Resource, rows: Sequence[Row]) -> Iterable[Range]:
    if kind is Resource.IPV6:
        return (_ipv6_range(row) for row in rows)
    if not rows:
        return ()
    try:
        firsts = form.ipv4_numbers([row[1] for row in rows])
    except KeyError:
        return (_ipv4_range(row) for row in rows)
    return ((low, low + int(row[2]) - 1) for low, row in zip(firsts, rows, strict=True))


def _ipv4_range(row: Row) -> Range:
    try:
        low = parse_address(row[1], Family.IPV4)
    except ValueError:
        return _NOWHERE
    return low, low + int(row[2]) - 1


def _ipv6_range(row: Row) -> Range:
    try:
        low, host_bits = parse_address(row[1], Family.IPV6), form.HOST_BITS[row[2]]
    except (ValueError, KeyError):
        return _NOWHERE
    return low & ~host_bits, low | host_bits
