"""Hold a file against what it promises of itself: how many records there are, of each type and of all.

No address can be missing, or be there unasked, where both address summaries are there and hold. What such a file says
of AS numbers, and how many records its header promises, is then remarked on and no reason to refuse it: registries have
published both wrong, with a right MD5. Where one of the two summaries is missing, the header's number alone tells
whether that part of the file is: none is where it is the sum of the summaries that are there, or all the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter

from fwfeed.delegated.form import File, Header, Resource, difference
from fwfeed.remark import Remark, RemarkKind

_ADDRESSES = (Resource.IPV4, Resource.IPV6)


@dataclass(slots=True)
class _Faults:
    """What is wrong with lines of one kind: how many, and the first with its fault."""

    count: int = 0
    line: int = 0
    text: str = ""

    def add(self, line: int, text: str) -> None:
        self.count += 1
        if self.count == 1:
            self.line, self.text = line, text


@dataclass(slots=True)
class Promises:
    """What the summaries of a file promise, and what is wrong with its lines of ASNs."""

    _numbers: dict[Resource, dict[int, int]] = field(
        default_factory=lambda: {kind: {} for kind in Resource}, init=False
    )
    _asn_records: _Faults = field(default_factory=_Faults, init=False)
    _asn_summaries: _Faults = field(default_factory=_Faults, init=False)

    def promise(self, kind: Resource, number: int, line: int) -> None:
        """Take what a summary promises."""
        numbers = self._numbers[kind]
        if len(numbers) < 2:  # of three that differ, one of the first two is wrong already
            numbers.setdefault(number, line)

    def fault_asn_record(self, line: int, fault: str) -> None:
        """Take that a record of ASNs is not as the format has it."""
        self._asn_records.add(line, fault)

    def fault_asn_summary(self, line: int, fault: str) -> None:
        """Take that a summary of ASNs is not as the format has it."""
        self._asn_summaries.add(line, fault)

    def judge(self, file: File, header: Header, counts: Mapping[Resource, int]) -> list[Remark]:
        """Return what is wrong that concerns no address. Refuses the file for what may concern one."""
        broken = sorted(each for kind in _ADDRESSES for each in self._broken(kind, counts[kind]))
        if broken:
            (line, text), *others = broken
            file.refuse(line, "; ".join([text, *(f"line {line}: {text}" for line, text in others)]))
        for kind in _ADDRESSES:
            if counts[kind] and not self._numbers[kind]:
                file.refuse(0, f"there are {kind} records, but no summary of them")
        total = header.miscount(sum(counts.values()))
        if total:
            self._require_sections(file, header, counts)
        remarks = [Remark(RemarkKind.TOTAL, f"line {header.line}: {total}")] if total else []
        return [*remarks, *self._of_asns(counts[Resource.ASN])]

    def _require_sections(self, file: File, header: Header, counts: Mapping[Resource, int]) -> None:
        """Refuse the file where the header's number allows that records of addresses and their summary are missing."""
        missing = [kind for kind in _ADDRESSES if not self._numbers[kind]]
        addresses = sum(counts[kind] for kind in _ADDRESSES)
        found = counts[Resource.ASN]
        differences = [
            header.miscount(addresses + asns, "the file has" if asns == found else "its summaries add up to")
            for asns in self._numbers[Resource.ASN] or (found,)
        ]
        if missing and all(differences):
            names = " and no ".join(missing)
            file.refuse(header.line, f"{differences[0]}; there is no {names} summary, and such records may be missing")

    def _broken(self, kind: Resource, count: int) -> Iterator[tuple[int, str]]:
        for number, line in self._numbers[kind].items():
            if text := difference(number, count, "the summary", f"{kind} records"):
                yield line, text

    def _of_asns(self, count: int) -> Iterator[Remark]:
        for line, text in sorted(self._broken(Resource.ASN, count), key=itemgetter(0)):
            yield Remark(RemarkKind.ASN_COUNT, f"line {line}: {text}")
        if count and not self._numbers[Resource.ASN] and not self._asn_summaries.count:
            yield Remark(RemarkKind.ASN_SUMMARY, f"there are {count:,} asn records, but no summary of them")
        kinds = {RemarkKind.ASN_SUMMARY: self._asn_summaries, RemarkKind.ASN_RECORD: self._asn_records}
        for kind, faults in kinds.items():
            if faults.count:
                more = f"; and {faults.count - 1:,} more like it" if faults.count > 1 else ""
                yield Remark(kind, f"line {faults.line}: {faults.text}{more}")
