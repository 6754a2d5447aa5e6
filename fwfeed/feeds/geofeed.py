"""Geofeeds: what an operator says of where its own networks are (RFC 8805).

Entries nest, and the most specific one is right for an address (2.1.3), so the ranges of a country are what its
entries cover minus what entries inside them say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from fwfeed.errors import ParseError, quote
from fwfeed.feeds.ranges import Span, read_prefix
from fwfeed.feeds.rows import rows
from fwfeed.model import Listed, Listing
from fwfeed.prefixes import Family, Prefix, format_prefix

WAY_OUT = "see that the feed's url and format are right, and tell its operator; until then take the feed out"

_is_country = re.compile(r"[A-Za-z]{2}|").fullmatch
_NO_LOCATION = frozenset({"", "ZZ"})  # 2.1.2: ZZ is how it was written before the RFC


class _Located(NamedTuple):
    country: str
    line: int


def parse(raw: bytes, *, file: str, countries: tuple[str, ...]) -> Listing:
    """Read a geofeed, and return the ranges that lie in the countries, or in any where none is named.

    An entry with a prefix or a country code that cannot be read is discarded and counted (2.1.3), and so is one for
    the whole address space. An entry without a country, or of ZZ, says that its range is nowhere (2.1.2). Region,
    city, postal code and what follows them are not looked at. Raises ParseError for what `rows.rows` refuses, for a
    prefix that is there twice with different countries (2.1.3), and where more entries are discarded than kept.
    """
    located: dict[Family, dict[tuple[int, int], _Located]] = {family: {} for family in Family}
    records = discarded = 0
    fault: tuple[int, str] = (0, "")
    for line, text in rows(raw, comments="#", file=file):
        prefix, _, rest = text.partition(",")
        country = _field(rest.partition(",")[0])
        try:
            span = read_prefix(_field(prefix))
            if not _is_country(country):
                raise ValueError(f"country {quote(country)} is not two letters or empty")
        except ValueError as error:
            fault = fault if discarded else (line, str(error))
            discarded += 1
            continue
        records += 1
        country = "" if country.upper() in _NO_LOCATION else country.upper()
        known = located[span.family].setdefault(span[1:], _Located(country, line))
        if known.country != country:
            message = f"{_format(span)} {_is_in(country)} here, but {_is_in(known.country)} on line {known.line}"
            raise ParseError(file, line, message, WAY_OUT)
    if discarded > records:
        message = f"{discarded:,} of {records + discarded:,} entries cannot be read; this is the first: {fault[1]}"
        raise ParseError(file, fault[0], message, WAY_OUT)
    wanted = frozenset(country.upper() for country in countries)
    ipv4, ipv6 = (
        sorted(_ranges(located[family], wanted), key=lambda entry: (entry.line, entry.first))
        for family in (Family.IPV4, Family.IPV6)
    )
    return Listing(serial=None, made=None, records=records, discarded=discarded, ipv4=ipv4, ipv6=ipv6)


def _ranges(located: Mapping[tuple[int, int], _Located], wanted: frozenset[str]) -> Iterator[Listed]:
    """Yield what each wanted entry covers and no entry inside it does.

    Prefixes nest or are disjoint, so in the order of their first addresses, the longer ones later, those that are
    open at an address are a stack, and each is entered and left once.
    """
    open_: list[tuple[int, _Located]] = []
    position = 0  # up to here all is said

    def until(end: int) -> Iterator[Listed]:
        """Yield what the innermost open entry has between the position and `end`."""
        nonlocal position
        innermost = open_[-1][1]
        if position <= end and (innermost.country in wanted if wanted else innermost.country):
            yield Listed(position, end, innermost.line)
        position = end + 1

    for (first, last), entry in sorted(located.items(), key=lambda pair: (pair[0][0], -pair[0][1])):
        while open_ and open_[-1][0] < first:
            yield from until(open_[-1][0])
            open_.pop()
        if open_:
            yield from until(first - 1)
        position = first
        open_.append((last, entry))
    while open_:
        yield from until(open_[-1][0])
        open_.pop()


def _field(text: str) -> str:
    """Take the quotes of RFC 4180 off a field; those who align columns put blanks around it."""
    text = text.strip(" \t")
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text


def _is_in(country: str) -> str:
    return f"is in {country}" if country else "has no country"


def _format(span: Span) -> str:
    return format_prefix(Prefix(span.first, span.family.bits - (span.last - span.first).bit_length()), span.family)
