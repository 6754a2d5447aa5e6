"""The form of a delegated file: how it falls into lines, and what each kind of line looks like.

The format is the registries' "RIR statistics exchange format" (versions 2 and 2.3) and the NRO's extended form
of it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import NoReturn

from fwfeed.errors import ParseError, quote
from fwfeed.prefixes import OCTETS

_ANOTHER = "or name another mirror in [sources] mirrors"
_WAY_OUT = f"the file may have been cut short or altered on its way: fetch it again, {_ANOTHER}"
_WAY_OUT_INTACT = f"its MD5 is right, so it was published like this: wait for the next file, {_ANOTHER}"

LINE_CAP = 1 << 16
"""The most bytes a line may have; the longest real one has about 130."""


@dataclass(frozen=True, slots=True)
class File:
    """The file that is read: what messages call it, whose it should be, and whether its MD5 was right."""

    name: str
    registry: str
    intact: bool

    def refuse(self, line: int, message: str) -> NoReturn:
        """Refuse the file for a line, 0 for all of it."""
        raise ParseError(self.name, line, message, _WAY_OUT_INTACT if self.intact else _WAY_OUT)


class Resource(StrEnum):
    """The kinds of number a registry delegates."""

    ASN = "asn"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


DELEGATED = frozenset({"allocated", "assigned"})
"""The statuses of a record that make it a delegation."""

Row = tuple[str, str, str, str, str]
"""The captured fields of a record: country, start, value, date, status."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    pattern: str
    meaning: str


_COUNTRY = _Field("country", r"[A-Z]{2}|", "two capital letters or empty")
_DATE = _Field("date", r"[0-9]{8}|", "YYYYMMDD or empty")
_STATUS = _Field("status", r"allocated|assigned|available|reserved", "allocated, assigned, available or reserved")
_COUNT = _Field("value", r"[1-9][0-9]{0,9}", "a count of at least 1")
_NUMBERS = {
    Resource.ASN: (_Field("start", r"[0-9]{1,10}", "an AS number"), _COUNT),
    Resource.IPV4: (_Field("start", r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", "an IPv4 address"), _COUNT),
    Resource.IPV6: (
        _Field("start", r"[0-9a-fA-F:.]{2,45}", "an IPv6 address"),
        _Field("value", r"[0-9]{1,3}", "a prefix length"),
    ),
}
_EXTENSIONS = r"[ -~]*"
_ANYTHING = r"[^|\n]*"

HOST_BITS = {str(length): (1 << (128 - length)) - 1 for length in range(129)}
"""What an IPv6 prefix of each length, as a record gives it, leaves to its addresses."""


def pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a file's whole lines, as many at a time as LINE_CAP takes, wherever its blocks were cut.

    A piece ends in a newline, but for the last where the file does not, and but for a line that is longer than
    LINE_CAP: its first LINE_CAP + 1 bytes are a piece.
    """
    rest = bytearray()
    for block in blocks:
        rest += block
        at = 0
        while len(rest) - at > LINE_CAP:
            end = rest.rfind(b"\n", at, at + LINE_CAP + 1)
            end = at + LINE_CAP + 1 if end < 0 else end + 1
            yield bytes(rest[at:end])
            at = end
        del rest[:at]
    if rest:
        yield bytes(rest)


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line of a file says of it; `records` as it stands there."""

    line: int
    serial: int
    records: str
    end_date: date

    def miscount(self, records: int, where: str = "the file has") -> str:
        """Say in how far the number of records is another than this; empty where it is this one."""
        if not re.fullmatch(r"[0-9]{1,10}", self.records):
            return f"record count {quote(self.records)} is not a number"
        return difference(int(self.records), records, "the header", "records", where)


def parse_header(text: str, line: int, registry: str) -> Header:
    """Read the header, which is this line of the file. Raises ValueError with the fault."""
    fields = text.split("|")
    if len(fields) != 7:
        raise ValueError(f"the header has {len(fields)} fields instead of 7: {quote(text)}")
    version, name, serial, records, _start, end, _offset = fields
    if not re.fullmatch(r"2(\.[0-9]{1,3})?", version):
        raise ValueError(f"format version {quote(version)} is not known; this reads versions 2 to 2.x")
    if name != registry:
        raise ValueError(f"this is the file of registry {quote(name)}, not of {registry}")
    if not re.fullmatch(r"[0-9]{1,18}", serial):  # SQLite has 63 bits
        raise ValueError(f"serial {quote(serial)} is not a number")
    if not re.fullmatch(r"[0-9]{8}", end):
        raise ValueError(f"end date {quote(end)} is not a date (YYYYMMDD)")
    try:
        end_date = date(int(end[:4]), int(end[4:6]), int(end[6:]))
    except ValueError:
        raise ValueError(f"end date {quote(end)} is not a date (YYYYMMDD)") from None
    return Header(line, int(serial), records, end_date)


def difference(promised: int, found: int, who: str, what: str, where: str = "the file has") -> str:
    """Say in how far what somebody promises and what the file has differ; empty where they do not."""
    if promised == found:
        return ""
    much = f"{abs(found - promised):,} {'more' if found > promised else 'fewer'}"
    return f"{who} promises {promised:,} {what}, {where} {found:,} ({much})"


@lru_cache(maxsize=64)
def record_pattern(kind: Resource, registry: str) -> re.Pattern[str]:
    """Return what a record of this kind looks like between two newlines, capturing a Row."""
    start, value = _NUMBERS[kind]
    captured = [f"({field.pattern})" for field in (start, value, _DATE, _STATUS)]
    return re.compile(
        rf"\n{registry}\|({_COUNTRY.pattern})\|{kind}\|" + r"\|".join(captured) + rf"(?:\|{_EXTENSIONS})?(?=\n)"
    )


@lru_cache(maxsize=64)
def summary_pattern(registry: str) -> re.Pattern[str]:
    """Return what a summary looks like between two newlines, capturing the type and the count."""
    return re.compile(rf"\n{registry}\|\*\|({'|'.join(Resource)})\|\*\|([0-9]{{1,10}})\|summary(?=\n)")


@lru_cache(maxsize=64)
def asn_pattern(registry: str) -> re.Pattern[str]:
    """Return what a line between two newlines looks like that is of ASNs, whatever bytes follow its type.

    One whose start is an address is none: it would be a record of addresses whose type is wrong.
    """
    start = r"(?![ \t]*(?:[0-9.]*\.[0-9]*\.|[0-9a-fA-F]*:))"
    return re.compile(rf"\n{registry}\|{_ANYTHING}\|{Resource.ASN}(?:\|{start}[^\n]*)?(?=\n)")


def is_summary(line: str) -> bool:
    """Return whether a line is meant as a summary, however it goes on."""
    fields = line.split("|", 7)
    return len(fields) <= 6 and (fields[1:2] == ["*"] or (len(fields) == 6 and fields[5].rstrip("\r") == "summary"))


def fault(line: str, registry: str) -> str:
    """Say what is wrong with the form of a line; empty where it is a well-formed record or summary."""
    fields = line.split("|", 7)
    if fields[0] != registry:
        return f"this record is of registry {quote(fields[0])}, in the file of {registry}"
    if line.endswith("\r"):
        return "the line ends in CR LF; registries publish LF alone"
    if is_summary(line):
        return "" if summary_pattern(registry).search(f"\n{line}\n") else f"malformed summary: {quote(line)}"
    if len(fields) < 7:
        return f"a record has at least 7 fields, this line has {len(fields)}: {quote(line)}"
    if fields[2] not in set(Resource):
        return f"type {quote(fields[2])} is none of {', '.join(Resource)}"
    expected = (_COUNTRY, *_NUMBERS[Resource(fields[2])], _DATE, _STATUS)
    for field, text in zip(expected, (fields[1], *fields[3:7]), strict=True):
        if not re.fullmatch(field.pattern, text):
            return f"{field.name} {quote(text)} is not {field.meaning}"
    if len(fields) == 8 and not re.fullmatch(_EXTENSIONS, fields[7]):
        what = "a control character" if fields[7].isascii() else "a byte that is not ASCII"
        return f"{what} in the fields after the status: {quote(fields[7])}"
    return ""


def ipv4_numbers(starts: Sequence[str]) -> tuple[int, ...]:
    """Return the addresses of records as numbers, a column at a time. Raises KeyError where one is none."""
    octets = bytes(map(OCTETS.__getitem__, ".".join(starts).split(".")))
    return struct.unpack(f">{len(starts)}I", octets)
