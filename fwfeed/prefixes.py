"""Sets of addresses as sorted integer ranges: merge, subtract, find, and the minimal CIDR cover.

A range is a pair (first, last), both inclusive. A *merged* list of ranges is sorted, and no two of its
ranges overlap or touch; every function that takes `Ranges` expects one, and every function that
returns `Ranges` returns one. Nothing here knows where an address came from: that is `model`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from enum import Enum
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

Range = tuple[int, int]
Ranges = list[Range]


class Family(Enum):
    """An address family; the value is its IP version."""

    IPV4 = 4
    IPV6 = 6

    @property
    def bits(self) -> int:
        """The width of an address: 32 or 128."""
        return 32 if self is Family.IPV4 else 128

    @property
    def last(self) -> int:
        """The highest address of the family as an integer."""
        return (1 << self.bits) - 1


class Prefix(NamedTuple):
    """A CIDR prefix: its first address as an integer and its length in bits."""

    first: int
    length: int


def merge(ranges: Iterable[Range]) -> Ranges:
    """Sort ranges and join those that overlap or touch."""
    merged: Ranges = []
    first, last = -1, -2
    for low, high in sorted(ranges):
        if low <= last + 1 and first >= 0:
            last = max(last, high)
        else:
            if first >= 0:
                merged.append((first, last))
            first, last = low, high
    if first >= 0:
        merged.append((first, last))
    return merged


def subtract(ranges: Ranges, holes: Ranges) -> Ranges:
    """Return what of `ranges` no range of `holes` covers."""
    left: Ranges = []
    position = 0
    for first, last in ranges:
        low = first
        while position < len(holes) and holes[position][1] < low:
            position += 1
        probe = position
        while probe < len(holes) and holes[probe][0] <= last:
            if holes[probe][0] > low:
                left.append((low, holes[probe][0] - 1))
            low = holes[probe][1] + 1
            probe += 1
        if low <= last:
            left.append((low, last))
    return left


def count(ranges: Iterable[Range]) -> int:
    """Return how many addresses the ranges hold."""
    return sum(last - first + 1 for first, last in ranges)


def find(ranges: Ranges, address: int) -> Range | None:
    """Return the range that holds the address, or None."""
    position = bisect_right(ranges, address, key=lambda pair: pair[0]) - 1
    if position >= 0 and ranges[position][1] >= address:
        return ranges[position]
    return None


def cover(ranges: Ranges, family: Family) -> list[Prefix]:
    """Return the fewest prefixes that hold exactly these addresses, in ascending order (RFC 4632)."""
    return list(covering(ranges, family))


def covering(ranges: Ranges, family: Family) -> Iterator[Prefix]:
    """Yield what `cover` returns, for those who cannot know how many there are: up to 62 or 254 of a range."""
    bits = family.bits
    for first, last in ranges:
        start = first
        while start <= last:
            fits = (last - start + 1).bit_length() - 1
            aligned = (start & -start).bit_length() - 1 if start else bits
            size = min(fits, aligned)
            yield Prefix(start, bits - size)
            start += 1 << size


def spans(prefixes: Iterable[Prefix], family: Family) -> Iterator[Range]:
    """Yield the range of each prefix."""
    bits = family.bits
    for first, length in prefixes:
        yield first, first + (1 << (bits - length)) - 1


OCTETS = {str(octet): octet for octet in range(256)}


def parse_ipv4(text: str) -> int:
    """Read a dotted quad without leading zeros (RFC 6943, 3.1.1). Raises ValueError."""
    octets = text.split(".")
    if len(octets) != 4:
        raise ValueError(f"{text!r} is not an IPv4 address")
    try:
        a, b, c, d = map(OCTETS.__getitem__, octets)
    except KeyError:
        raise ValueError(f"{text!r} is not an IPv4 address") from None
    return a << 24 | b << 16 | c << 8 | d


# Nearly every address in a delegated file looks like this, and takes a third of the general parser's time.
is_network_ipv6 = re.compile(r"(?:[0-9a-fA-F]{1,4}:){1,7}:").fullmatch


def parse_ipv6(text: str) -> int:
    """Read an IPv6 address in any form of RFC 4291, 2.2, without a zone. Raises ValueError."""
    if is_network_ipv6(text):
        groups = text[:-2].split(":")
        value = 0
        for group in groups:
            value = value << 16 | int(group, 16)
        return value << 16 * (8 - len(groups))
    try:
        if "%" in text:
            raise AddressValueError
        return int(IPv6Address(text))
    except AddressValueError:
        raise ValueError(f"{text!r} is not an IPv6 address") from None


def parse_address(text: str, family: Family) -> int:
    """Read an address of the family. Raises ValueError."""
    return parse_ipv4(text) if family is Family.IPV4 else parse_ipv6(text)


def parse_prefix(text: str, family: Family) -> Prefix:
    """Read `address/length` in the very form `format_prefix` writes. Raises ValueError.

    This is for text that fwfeed itself has written; what people type goes through netaddr in `config`.
    """
    address, slash, length = text.partition("/")
    prefix = Prefix(parse_address(address, family), int(length) if length.isdecimal() else -1)
    if not slash or not 0 <= prefix.length <= family.bits or format_prefix(prefix, family) != text:
        raise ValueError(f"{text!r} is not a prefix in canonical form")
    if prefix.first & ((1 << (family.bits - prefix.length)) - 1):
        raise ValueError(f"{text!r} has bits set behind its length")
    return prefix


def format_address(address: int, family: Family) -> str:
    """Write an address: a dotted quad, or the canonical form of RFC 5952."""
    if family is Family.IPV6:
        if address >> 32 == 0xFFFF:  # Python 3.13 began to write these with a dotted quad
            return f"::ffff:{address >> 16 & 0xFFFF:x}:{address & 0xFFFF:x}"
        return str(IPv6Address(address))
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def format_prefix(prefix: Prefix, family: Family) -> str:
    """Write a prefix as `address/length`; a single address keeps its /32 or /128."""
    return f"{format_address(prefix.first, family)}/{prefix.length}"
