"""Read a registry's delegated statistics file, plain or extended, and believe nothing in it unchecked.

The format is the registries' "RIR statistics exchange format" (versions 2 and 2.3) and the NRO's extended form
of it. A file that breaks one promise is truncated or forged, and is refused whole: there is no partial result.

Half a million records have to be read in half a second, so the records of one type are matched by one regular
expression over the whole text. Only when its matches do not account for every line is the text walked line by
line, with the same field patterns, to name the first line at fault.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import islice, pairwise
from typing import NoReturn

from fwfeed.errors import ParseError
from fwfeed.model import Delegation, Snapshot
from fwfeed.prefixes import OCTETS, Family, format_address, is_network_ipv6, parse_ipv4, parse_ipv6

WAY_OUT = "the file was cut short or altered on its way; fetch it again, or name another mirror in [sources] mirrors"


class Resource(StrEnum):
    """The kinds of number a registry delegates."""

    ASN = "asn"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


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
_DELEGATED = frozenset({"allocated", "assigned"})
_ASN_LAST = (1 << 32) - 1

_Row = tuple[str, str, str, str, str]
"""The captured fields of a record: country, start, value, date, status."""


def parse(raw: bytes, *, file: str, registry: str) -> Snapshot:
    """Read the bytes of one delegated file of the given registry.

    `file` is what messages call it. Raises ParseError with the line at fault when a line has the wrong form or
    belongs to another registry, when a count of the header or of a summary does not hold, when a range leaves
    its address space, or when two delegations overlap.
    """
    text = "\n" + _decode(raw, file)
    if not text.endswith("\n"):
        text += "\n"
    found = re.search(r"\n([^#\n][^\n]*)", text)
    if found is None:
        raise ParseError(file, 0, "the file has no header: it is empty", WAY_OUT)
    header = _parse_header(found[1], file, text.count("\n", 0, found.end()), registry)
    body = text[found.end() :]
    del text, found
    place = _Place(file, registry, header.line, body)

    rows: dict[Resource, list[_Row]] = {kind: _pattern(registry, kind).findall(body) for kind in Resource}
    records = sum(map(len, rows.values()))
    summaries = list(_summary_pattern(registry).finditer(body))
    lines = body.count("\n") - 1 - len(re.findall(r"\n(?=[#\n])", body))
    if records + len(summaries) != lines:
        place.blame_form()
    if records != header.records:
        message = f"the header promises {header.records:,} records, the file has {records:,}"
        raise ParseError(file, header.line, message, WAY_OUT)
    for summary in summaries:
        kind, number = Resource(summary[1]), int(summary[2])
        if number != len(rows[kind]):
            message = f"the summary promises {number:,} {kind} records, the file has {len(rows[kind]):,}"
            raise ParseError(file, place.line(summary.start()), message, WAY_OUT)
    promised = {summary[1] for summary in summaries}
    for kind in Resource:
        if rows[kind] and kind not in promised:
            raise ParseError(file, 0, f"there are {kind} records, but no summary of them", WAY_OUT)

    _check_asns(place, rows.pop(Resource.ASN))
    ipv4 = _read_ipv4(place, rows.pop(Resource.IPV4))
    ipv6 = _read_ipv6(place, rows.pop(Resource.IPV6))
    _check_overlaps(place, ipv4, Family.IPV4)
    _check_overlaps(place, ipv6, Family.IPV6)
    return Snapshot(
        registry=registry, serial=header.serial, end_date=header.end_date, records=records, ipv4=ipv4, ipv6=ipv6
    )


@dataclass(frozen=True, slots=True)
class _Header:
    line: int
    serial: int
    records: int
    end_date: date


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the records are, for telling a line by its position; `body` begins with the header's newline."""

    file: str
    registry: str
    header_line: int
    body: str

    def line(self, position: int) -> int:
        """Return the number of the line that the newline at `position` begins."""
        return self.header_line + self.body.count("\n", 0, position + 1)

    def blame(self, kind: Resource, row: int, message: str) -> NoReturn:
        """Refuse the file for the record that is the `row`th (from 0) of its kind."""
        match = next(islice(_pattern(self.registry, kind).finditer(self.body), row, None))
        raise ParseError(self.file, self.line(match.start()), message, WAY_OUT)

    def blame_form(self) -> NoReturn:
        """Refuse the file for the first line that is neither a record nor a summary of this registry."""
        for number, line in enumerate(self.body.split("\n")[1:], self.header_line + 1):
            fault = _fault(line, self.registry) if line and not line.startswith("#") else ""
            if fault:
                raise ParseError(self.file, number, fault, WAY_OUT)
        raise AssertionError("the patterns of parse and _fault disagree")


def _decode(raw: bytes, file: str) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{raw[error.start]:02x} is not ASCII"
        raise ParseError(file, line, message, WAY_OUT) from None


def _parse_header(text: str, file: str, line: int, registry: str) -> _Header:
    def refuse(message: str) -> NoReturn:
        raise ParseError(file, line, message, WAY_OUT)

    if text.lstrip().startswith("<"):
        refuse("this is HTML, not a delegated file: an error page, or a captive portal's")
    if text.endswith("\r"):
        refuse("the line ends in CR LF; registries publish LF alone")
    fields = text.split("|")
    if len(fields) != 7:
        refuse(f"the header has {len(fields)} fields instead of 7: {_quote(text)}")
    version, name, serial, records, _start, end, _offset = fields
    if not re.fullmatch(r"2(\.[0-9]{1,3})?", version):
        refuse(f"format version {_quote(version)} is not known; this reads versions 2 to 2.x")
    if name != registry:
        refuse(f"this is the file of registry {_quote(name)}, not of {registry}")
    if not re.fullmatch(r"[0-9]{1,20}", serial):
        refuse(f"serial {_quote(serial)} is not a number")
    if not re.fullmatch(r"[0-9]{1,10}", records):
        refuse(f"record count {_quote(records)} is not a number")
    try:
        if not re.fullmatch(r"[0-9]{8}", end):
            raise ValueError
        end_date = date(int(end[:4]), int(end[4:6]), int(end[6:]))
    except ValueError:
        refuse(f"end date {_quote(end)} is not a date (YYYYMMDD)")
    return _Header(line, int(serial), int(records), end_date)


def _pattern(registry: str, kind: Resource) -> re.Pattern[str]:
    start, value = _NUMBERS[kind]
    captured = [f"({field.pattern})" for field in (start, value, _DATE, _STATUS)]
    return re.compile(
        rf"\n{registry}\|({_COUNTRY.pattern})\|{kind}\|" + r"\|".join(captured) + rf"(?:\|{_EXTENSIONS})?(?=\n)"
    )


def _summary_pattern(registry: str) -> re.Pattern[str]:
    return re.compile(rf"\n{registry}\|\*\|({'|'.join(Resource)})\|\*\|([0-9]{{1,10}})\|summary(?=\n)")


def _fault(line: str, registry: str) -> str:
    """Say what is wrong with the form of a line; empty where it is a well-formed record or summary."""
    if line.endswith("\r"):
        return "the line ends in CR LF; registries publish LF alone"
    fields = line.split("|", 7)
    if fields[0] != registry:
        return f"this record is of registry {_quote(fields[0])}, in the file of {registry}"
    if fields[-1] == "summary" and len(fields) == 6:
        return "" if _summary_pattern(registry).search(f"\n{line}\n") else f"malformed summary: {_quote(line)}"
    if len(fields) < 7:
        return f"a record has at least 7 fields, this line has {len(fields)}: {_quote(line)}"
    if fields[2] not in set(Resource):
        return f"type {_quote(fields[2])} is none of {', '.join(Resource)}"
    expected = (_COUNTRY, *_NUMBERS[Resource(fields[2])], _DATE, _STATUS)
    for field, text in zip(expected, (fields[1], *fields[3:7]), strict=True):
        if not re.fullmatch(field.pattern, text):
            return f"{field.name} {_quote(text)} is not {field.meaning}"
    if len(fields) == 8 and not re.fullmatch(_EXTENSIONS, fields[7]):
        return f"a control character in the fields after the status: {_quote(fields[7])}"
    return ""


def _check_asns(place: _Place, rows: list[_Row]) -> None:
    for index, (_country, start, value, _date, _status) in enumerate(rows):
        if int(start) + int(value) - 1 > _ASN_LAST:
            place.blame(Resource.ASN, index, f"{value} AS numbers from {start} go past the end of the number space")


def _read_ipv4(place: _Place, rows: list[_Row]) -> list[Delegation]:
    try:
        octets = bytes(map(OCTETS.__getitem__, ".".join(row[1] for row in rows).split("."))) if rows else b""
    except KeyError:
        for index, row in enumerate(rows):
            _address(place, Resource.IPV4, index, row[1])
        raise
    firsts = struct.unpack(f">{len(rows)}I", octets)
    sizes = {value: int(value) for value in {row[2] for row in rows}}
    safe = Family.IPV4.last + 1 - max(sizes.values(), default=0)  # from here up to the end a range may leave the space
    for index, first in [(index, first) for index, first in enumerate(firsts) if first > safe]:
        _country, start, value, _date, _status = rows[index]
        if first + sizes[value] - 1 > Family.IPV4.last:
            place.blame(Resource.IPV4, index, f"{value} addresses from {start} go past the end of the address space")
    new = tuple.__new__  # what Delegation() comes to, in a third of its time
    return [
        new(Delegation, (first, first + sizes[value] - 1, country, place.registry, status, registered))
        for first, (country, _start, value, registered, status) in zip(firsts, rows, strict=True)
        if status in _DELEGATED
    ]


def _read_ipv6(place: _Place, rows: list[_Row]) -> list[Delegation]:
    host_bits = {str(length): (1 << (128 - length)) - 1 for length in range(129)}
    if not host_bits.keys() >= {row[2] for row in rows}:
        index, value = next((index, row[2]) for index, row in enumerate(rows) if row[2] not in host_bits)
        place.blame(Resource.IPV6, index, f"prefix length {value} is not between 0 and 128")
    if not all(is_network_ipv6(row[1]) for row in rows if row[4] not in _DELEGATED):
        for index, row in enumerate(rows):
            _address(place, Resource.IPV6, index, row[1])
    delegations = []
    for index, (country, start, value, registered, status) in enumerate(rows):
        if status in _DELEGATED:
            first = _address(place, Resource.IPV6, index, start)
            mask = host_bits[value]
            if first & mask:
                place.blame(Resource.IPV6, index, f"{start}/{value} has bits set behind its length")
            delegations.append(Delegation(first, first | mask, country, place.registry, status, registered))
    return delegations


def _address(place: _Place, kind: Resource, row: int, start: str) -> int:
    try:
        return parse_ipv4(start) if kind is Resource.IPV4 else parse_ipv6(start)
    except ValueError as error:
        place.blame(kind, row, str(error))


def _check_overlaps(place: _Place, delegations: Iterable[Delegation], family: Family) -> None:
    for one, other in pairwise(sorted(delegations)):
        if other.first <= one.last:
            ends = [format_address(end, family) for end in (*one[:2], *other[:2])]
            message = "delegations overlap: {}-{} and {}-{}".format(*ends)
            raise ParseError(place.file, 0, message, WAY_OUT)


def _quote(text: str) -> str:
    """Quote a piece of a hostile file for a message: escaped, and cut to a readable length."""
    return ascii(text if len(text) <= 60 else text[:60] + "...")
