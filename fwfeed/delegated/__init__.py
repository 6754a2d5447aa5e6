"""Read a registry's delegated statistics file, plain or extended, and believe nothing in it unchecked.

A file in which an address may be wrong is refused whole: there is no partial result. What else is wrong is remarked
on. `form` has the format, `promises` what a file says of itself, `search` finds the lines of an accepted file again.

Half a million records have to be read in half a second, and whatever a server sends has to fit in memory. So the
text is read in pieces of whole lines, and the records of one type are matched by one regular expression over a
piece. Only when its matches do not account for every line is the piece walked line by line, with the same field
patterns, to name the first line at fault. Where the pieces begin and end depends on the text alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from operator import add, and_, or_
from typing import NoReturn

from fwfeed.delegated import form
from fwfeed.delegated.form import DELEGATED, File, Header, Resource, Row
from fwfeed.delegated.overlaps import unite
from fwfeed.delegated.promises import Promises
from fwfeed.delegated.search import find_lines
from fwfeed.delegation import Delegations, Snapshot
from fwfeed.errors import quote
from fwfeed.prefixes import Family, is_network_ipv6, parse_ipv4, parse_ipv6

__all__ = ["RECORD_CAP", "find_lines", "parse"]

RECORD_CAP = 600_000
"""The most records a file may have; the largest real one has about 250,000."""

_ASN_END = 1 << 32
_BOM = b"\xef\xbb\xbf"
_CONTENT = re.compile(rb"^[^#\n].*", re.MULTILINE)
_FORBIDDEN = re.compile(r"[\0\x80-\xff]|\r(?=\n)")


def parse(blocks: Iterable[bytes], *, file: str, registry: str, intact: bool = False) -> Snapshot:
    """Read one delegated file of the given registry out of its blocks, which may be cut anywhere.

    `file` is what messages call it, `intact` whether its MD5 was right. Where delegations overlap, `blocks` is gone
    through once more, to name their lines. Raises ParseError with the line at fault when a line has the wrong form or
    belongs to another registry, but for the form of a line of ASNs; when a count of addresses does not hold, or a
    summary of addresses is missing and may be so with its records; when a range leaves its address space, when
    delegations to different countries overlap, or when the file is larger than a registry's can be.
    """
    reader = _Reader(File(file, registry, intact))
    for piece in form.pieces(blocks):
        reader.read(piece)
    return reader.finish(blocks)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Whole lines of a file, for telling a line by its position.

    `text` begins with the newline of the line `before`, and ends with a newline.
    """

    file: File
    before: int
    text: str

    @property
    def registry(self) -> str:
        return self.file.registry

    def line(self, position: int) -> int:
        """Return the number of the line that the newline at `position` begins."""
        return self.before + self.text.count("\n", 0, position + 1)

    def blame(self, kind: Resource, row: int, message: str) -> NoReturn:
        """Refuse the file for the record that is the `row`th (from 0) of its kind."""
        match = next(islice(form.record_pattern(kind, self.registry).finditer(self.text), row, None))
        self.file.refuse(self.line(match.start()), message)

    def numbered(self, matches: Iterable[re.Match[str]]) -> Iterator[tuple[int, re.Match[str]]]:
        """Yield the line of each match, which has to be behind the one before it."""
        line = self.before
        position = 0
        for match in matches:
            line += self.text.count("\n", position, match.start() + 1)
            position = match.start() + 1
            yield line, match

    def faulty_asns(self) -> list[tuple[int, str, str]]:
        """Return number, text and fault of each line of ASNs that is not as the format has it."""
        return [
            (line, match[0][1:], fault)
            for line, match in self.numbered(form.asn_pattern(self.registry).finditer(self.text))
            if (fault := form.fault(match[0][1:], self.registry))
        ]

    def blame_form(self) -> NoReturn:
        """Refuse the file for the first line that is neither a record nor a summary of this registry."""
        of_asns = form.asn_pattern(self.registry)
        for number, line in enumerate(self.text.split("\n")[1:], self.before + 1):
            fault = form.fault(line, self.registry) if line and not line.startswith("#") else ""
            if fault and not of_asns.match(f"\n{line}\n"):
                self.file.refuse(number, fault)
        raise AssertionError("the patterns of a record and form.fault disagree")

    def blame_count(self, allowed: int) -> NoReturn:
        """Refuse the file for the first record after this many."""
        patterns = [form.record_pattern(kind, self.registry) for kind in (Resource.IPV4, Resource.IPV6)]
        patterns.append(form.asn_pattern(self.registry))
        found = sorted(
            match.start()
            for pattern in patterns
            for match in pattern.finditer(self.text)
            if not form.is_summary(match[0])
        )
        self.file.refuse(self.line(found[allowed]), f"the file has more than {RECORD_CAP:,} records")


class _Reader:
    """What is known of a file after the pieces read so far."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._lines = 0
        self._header: Header | None = None
        self._counts = dict.fromkeys(Resource, 0)
        self._promises = Promises()
        self._ipv4 = Delegations(Family.IPV4, file.registry)
        self._ipv6 = Delegations(Family.IPV6, file.registry)

    def read(self, raw: bytes) -> None:
        """Take the next piece."""
        content = _CONTENT.search(raw) if self._header is None else None
        if content and content[0].lstrip(_BOM + b" \t\r\v\f").startswith(b"<"):
            message = "this is HTML, not a delegated file: an error page, or a captive portal's"
            self._refuse(raw, content.start(), message)
        text = f"\n{raw.decode('latin-1')}" if raw.endswith(b"\n") else f"\n{raw.decode('latin-1')}\n"
        self._check_bytes(raw, text)
        if self._header is None:
            if content is None:
                self._lines += raw.count(b"\n")
                return
            self._lines += raw.count(b"\n", 0, content.start()) + 1
            self._header = self._read_header(content[0].decode("latin-1"), self._lines)
            text = text[content.end() + 1 :]
        self._read_records(_Piece(self._file, self._lines, text))

    def finish(self, blocks: Iterable[bytes]) -> Snapshot:
        """Return the snapshot once all pieces are read, if what the file promises of its addresses holds."""
        if self._header is None:
            self._file.refuse(0, "the file has no header: it is empty")
        remarks = self._promises.judge(self._file, self._header, self._counts)
        for delegations in (self._ipv4, self._ipv6):
            remarks += unite(self._file, delegations, blocks)
        return Snapshot(
            registry=self._file.registry,
            serial=self._header.serial,
            end_date=self._header.end_date,
            records=sum(self._counts.values()),
            ipv4=self._ipv4,
            ipv6=self._ipv6,
            remarks=tuple(remarks),
        )

    def _refuse(self, raw: bytes, position: int, message: str) -> NoReturn:
        self._file.refuse(self._lines + raw.count(b"\n", 0, position) + 1, message)

    def _check_bytes(self, raw: bytes, text: str) -> None:
        if len(raw) > form.LINE_CAP and not raw.endswith(b"\n"):
            self._refuse(
                raw, 0, f"the line is longer than {form.LINE_CAP:,} bytes: {quote(raw[:80].decode('latin-1'))}"
            )
        if raw.isascii() and b"\0" not in raw and b"\r" not in raw:
            return
        others = form.asn_pattern(self._file.registry).sub("\n", text)
        found = _FORBIDDEN.search(others)
        if found is None:
            return
        if self._lines == 0 and raw.startswith(_BOM):
            message = "the file begins with a UTF-8 byte order mark; registries publish plain ASCII"
        elif found[0] == "\r":
            message = "the line ends in CR LF; registries publish LF alone"
        elif found[0] == "\0":
            message = "there is a NUL byte in the line"
        else:
            message = f"byte 0x{ord(found[0]):02x} is not ASCII"
        self._file.refuse(self._lines + others.count("\n", 0, found.start()), message)

    def _read_header(self, text: str, line: int) -> Header:
        try:
            return form.parse_header(text, line, self._file.registry)
        except ValueError as error:
            self._file.refuse(line, str(error))

    def _read_records(self, piece: _Piece) -> None:
        text = piece.text
        rows: dict[Resource, list[Row]] = {
            # Most pieces have one type alone, and to look for its name is quicker than to look for its records.
            kind: form.record_pattern(kind, piece.registry).findall(text) if f"|{kind}|" in text else []
            for kind in Resource
        }
        number = sum(map(len, rows.values()))
        lines = text.count("\n") - 1
        asns = self._read_others(piece, lines - number) if lines != number else 0
        allowed = RECORD_CAP - sum(self._counts.values())
        if number + asns > allowed:
            piece.blame_count(allowed)
        for kind, found in rows.items():
            self._counts[kind] += len(found)
        self._counts[Resource.ASN] += asns
        self._lines += lines
        self._check_asns(piece, rows[Resource.ASN])
        _read_ipv4(piece, rows[Resource.IPV4], self._ipv4)
        _read_ipv6(piece, rows[Resource.IPV6], self._ipv6)

    def _read_others(self, piece: _Piece, others: int) -> int:
        """Take the lines of a piece that are no well-formed records, and return how many records of ASNs they are."""
        records = 0
        for line, summary in piece.numbered(form.summary_pattern(piece.registry).finditer(piece.text)):
            self._promises.promise(Resource(summary[1]), int(summary[2]), line)
            others -= 1
        others -= len(re.findall(r"\n(?=[#\n])", piece.text))
        if not others:
            return 0
        faulty = piece.faulty_asns()
        if others != len(faulty):
            piece.blame_form()
        for line, text, fault in faulty:
            if form.is_summary(text):
                self._promises.fault_asn_summary(line, fault)
            else:
                self._promises.fault_asn_record(line, fault)
                records += 1
        return records

    def _check_asns(self, piece: _Piece, rows: Sequence[Row]) -> None:
        ends = [int(row[1]) + int(row[2]) for row in rows]
        if max(ends, default=0) <= _ASN_END:
            return
        matches = form.record_pattern(Resource.ASN, piece.registry).finditer(piece.text)
        for end, (line, match) in zip(ends, piece.numbered(matches), strict=True):
            if end > _ASN_END:
                fault = f"{match[3]} AS numbers from {match[2]} go past the end of the number space"
                self._promises.fault_asn_record(line, fault)


def _read_ipv4(piece: _Piece, rows: Sequence[Row], into: Delegations) -> None:
    if not rows:
        return
    countries, starts, values, dates, statuses = zip(*rows, strict=True)
    try:
        firsts = form.ipv4_numbers(starts)
    except KeyError:
        for index, start in enumerate(starts):
            _address(piece, Resource.IPV4, index, start)
        raise
    steps = {value: int(value) - 1 for value in set(values)}
    lasts = list(map(add, firsts, map(steps.__getitem__, values)))
    if max(lasts) > Family.IPV4.last:
        index = next(index for index, last in enumerate(lasts) if last > Family.IPV4.last)
        message = f"{values[index]} addresses from {starts[index]} go past the end of the address space"
        piece.blame(Resource.IPV4, index, message)
    delegated = [status in DELEGATED for status in statuses]
    into.extend(*(list(compress(column, delegated)) for column in (firsts, lasts, countries, statuses, dates)))


def _read_ipv6(piece: _Piece, rows: Sequence[Row], into: Delegations) -> None:
    if not form.HOST_BITS.keys() >= {row[2] for row in rows}:
        index, value = next((index, row[2]) for index, row in enumerate(rows) if row[2] not in form.HOST_BITS)
        piece.blame(Resource.IPV6, index, f"prefix length {value} is not between 0 and 128")
    delegated = [row for row in rows if row[4] in DELEGATED]
    try:
        firsts = [parse_ipv6(row[1]) for row in delegated]
        if len(delegated) < len(rows) and not all(
            map(is_network_ipv6, [row[1] for row in rows if row[4] not in DELEGATED])
        ):
            for row in rows:
                parse_ipv6(row[1])
    except ValueError:
        for index, row in enumerate(rows):
            _address(piece, Resource.IPV6, index, row[1])
        raise
    host_bits = [form.HOST_BITS[row[2]] for row in delegated]
    if any(map(and_, firsts, host_bits)):
        for index, (_country, start, value, _date, status) in enumerate(rows):
            if status in DELEGATED and parse_ipv6(start) & form.HOST_BITS[value]:
                piece.blame(Resource.IPV6, index, f"{start}/{value} has bits set behind its length")
    if delegated:
        countries, _starts, _values, dates, statuses = zip(*delegated, strict=True)
        into.extend(firsts, list(map(or_, firsts, host_bits)), countries, statuses, dates)


def _address(piece: _Piece, kind: Resource, row: int, start: str) -> int:
    try:
        return parse_ipv4(start) if kind is Resource.IPV4 else parse_ipv6(start)
    except ValueError as error:
        piece.blame(kind, row, str(error))
