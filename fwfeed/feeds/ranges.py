"""One address, CIDR or range as a feed writes it, with the strict meaning all formats share.

What reads as a whole address space is refused everywhere: a list that means it would switch the firewall's rules off.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fwfeed.errors import quote
from fwfeed.prefixes import Family, Prefix, format_prefix, parse_address

LIMIT = 200_000
"""The most entries a feed may have; the largest known cloud provider's file has some ten thousand."""

_is_length = re.compile(r"0|[1-9][0-9]{0,2}").fullmatch  # a leading zero could be meant as octal


class Span(NamedTuple):
    """A range and its family."""

    family: Family
    first: int
    last: int


def read_prefix(text: str) -> Span:
    """Read an address, or a CIDR of RFC 4632, 3.1, or RFC 4291, 2.3. Raises ValueError."""
    address, slash, length = text.partition("/")
    family = _family(address)
    try:
        first = parse_address(address, family)
    except ValueError:
        raise ValueError(f"{quote(text)} is neither an address nor a CIDR") from None
    if not slash:
        return Span(family, first, first)
    if not _is_length(length) or int(length) > family.bits:
        raise ValueError(f"{quote(text)} has no prefix length of 0 to {family.bits}")
    host_bits = (1 << (family.bits - int(length))) - 1
    if first & host_bits:
        canonical = format_prefix(Prefix(first & ~host_bits, int(length)), family)
        raise ValueError(f"{quote(text)} has bits set behind its length; did you mean {canonical}?")
    return _part(Span(family, first, first | host_bits), text)


def read_range(text: str) -> Span:
    """Read an address, a CIDR, or two addresses with a dash between them. Raises ValueError."""
    start, dash, end = text.partition("-")
    if not dash:
        return read_prefix(text)
    start, end = start.rstrip(" \t"), end.lstrip(" \t")
    family = _family(start)
    try:
        first, last = parse_address(start, family), parse_address(end, _family(end))
    except ValueError:
        raise ValueError(f"{quote(text)} is not a range of two addresses") from None
    if family is not _family(end):
        raise ValueError(f"{quote(text)} mixes IPv4 and IPv6")
    if last < first:
        raise ValueError(f"{quote(text)} ends before it begins")
    return _part(Span(family, first, last), text)


def _family(address: str) -> Family:
    return Family.IPV6 if ":" in address else Family.IPV4


def _part(span: Span, text: str) -> Span:
    if (span.first, span.last) == (0, span.family.last):
        raise ValueError(f"{quote(text)} is the whole address space")
    return span
