"""The files in which cloud providers publish their ranges: JSON of AWS and of Google.

AWS: "AWS IP address ranges" in the Amazon VPC user guide, https://ip-ranges.amazonaws.com/ip-ranges.json. Google:
"Obtain Google IP address ranges", https://www.gstatic.com/ipranges/cloud.json and goog.json; the latter's prefixes
have neither service nor scope. A document that differs from these in what is read of it is refused whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import NamedTuple

from fwfeed.errors import ParseError, quote
from fwfeed.feeds import document
from fwfeed.feeds.document import Document
from fwfeed.feeds.ranges import LIMIT, Span, read_prefix
from fwfeed.model import Listed, Listing
from fwfeed.prefixes import Family

_WAY_OUT_FILTER = "correct the feed's filter in the configuration, or take it out"

_AWS_TIME = r"([0-9]{4})-([0-9]{2})-([0-9]{2})-([0-9]{2})-([0-9]{2})-([0-9]{2})"
_GCP_TIME = (
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)
_GCP_FAMILIES = {"ipv4Prefix": Family.IPV4, "ipv6Prefix": Family.IPV6}

# Values of the file that may be named as they are, and how many: difflib compares each with what is wanted.
_is_name = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,58}[A-Za-z0-9])?").fullmatch
_NAMES = 1000
_SOME = 8


class _Record(NamedTuple):
    """One prefix: its place in the document, the key it stands under, and a label for each of the format's filters."""

    place: str
    key: str
    prefix: str
    labels: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class _Filter:
    """What the configuration wants of one label; `word` is what the label is called."""

    word: str
    wanted: tuple[str, ...]

    def passes(self, label: str | None) -> bool:
        return not self.wanted or label in self.wanted


def parse_aws(raw: bytes, *, file: str, regions: tuple[str, ...], services: tuple[str, ...]) -> Listing:
    """Read AWS's ip-ranges.json, and keep the prefixes of these regions and of these services; empty: of all.

    Raises ParseError for another document, a prefix that is none, more than 200,000 prefixes, and for a filter that
    names what no prefix has, or that no prefix satisfies.
    """
    source = document.read(raw, file=file)
    serial = source.serial("syncToken")
    made = source.day("createDate", _AWS_TIME, "YYYY-MM-DD-HH-MM-SS")
    records = {Family.IPV4: ("prefixes", "ip_prefix"), Family.IPV6: ("ipv6_prefixes", "ipv6_prefix")}
    of_family = {
        family: [
            _Record(
                place,
                key,
                source.string(entry, key, place),
                (source.string(entry, "region", place), source.string(entry, "service", place)),
            )
            for place, entry in source.objects(name)
        ]
        for family, (name, key) in records.items()
    }
    return _listing(source, serial, made, of_family, (_Filter("region", regions), _Filter("service", services)))


def parse_gcp(raw: bytes, *, file: str, scopes: tuple[str, ...]) -> Listing:
    """Read Google's cloud.json or goog.json, and keep the prefixes of these scopes; empty: all.

    A prefix without a scope has none of them. Raises ParseError as `parse_aws` does.
    """
    source = document.read(raw, file=file)
    serial = source.serial("syncToken")
    made = source.day("creationTime", _GCP_TIME, "YYYY-MM-DDTHH:MM:SS")
    of_family: dict[Family, list[_Record]] = {family: [] for family in Family}
    for place, entry in source.objects("prefixes"):
        keys = [key for key in _GCP_FAMILIES if key in entry]
        if len(keys) != 1:
            source.refuse(
                f"{place} has {'both' if keys else 'neither'} ipv4Prefix {'and' if keys else 'nor'} ipv6Prefix"
            )
        scope = source.string(entry, "scope", place) if "scope" in entry else None
        record = _Record(place, keys[0], source.string(entry, keys[0], place), (scope,))
        of_family[_GCP_FAMILIES[keys[0]]].append(record)
    return _listing(source, serial, made, of_family, (_Filter("scope", scopes),))


def _listing(
    source: Document,
    serial: int,
    made: date,
    of_family: dict[Family, list[_Record]],
    filters: tuple[_Filter, ...],
) -> Listing:
    entries: dict[Family, list[Listed]] = {}
    count = 0
    for family, records in of_family.items():
        entries[family] = []
        lines = source.lines(records[0].key, (record.prefix for record in records)) if records else iter(())
        for record, line in zip(records, lines, strict=True):
            count += 1
            if count > LIMIT:
                source.refuse(f"{record.place}: more than the {LIMIT:,} entries a feed may have", line)
            span = _read(source, record, family, line)
            if all(map(_Filter.passes, filters, record.labels)):
                entries[family].append(Listed(span.first, span.last, line))
    if count:
        _check_filters(source, [record for records in of_family.values() for record in records], filters)
        if not any(entries.values()):
            wanted = ", ".join(f"{one.word} {' or '.join(map(quote, one.wanted))}" for one in filters if one.wanted)
            raise ParseError(source.file, 0, f"no prefix is of {wanted} at once", _WAY_OUT_FILTER)
    return Listing(
        serial=serial,
        made=made,
        records=count,
        discarded=0,
        ipv4=entries[Family.IPV4],
        ipv6=entries[Family.IPV6],
    )


def _read(source: Document, record: _Record, family: Family, line: int) -> Span:
    try:
        span = read_prefix(record.prefix)
    except ValueError as error:
        source.refuse(f"{record.place}.{record.key}: {error}", line)
    if span.family is not family:
        source.refuse(f"{record.place}.{record.key}: {quote(record.prefix)} is not of IPv{family.value}", line)
    return span


def _check_filters(source: Document, records: list[_Record], filters: tuple[_Filter, ...]) -> None:
    """Refuse the file for a filter that names what no prefix has: that is a slip in the configuration."""
    for index, one in enumerate(filters):
        labels = {label for record in records if (label := record.labels[index]) is not None}
        for wanted in one.wanted:
            if wanted not in labels:
                names = sorted(filter(_is_name, labels))[:_NAMES]
                message = f"no prefix of {one.word} {quote(wanted)}; {_hint(one.word, wanted, names)}"
                raise ParseError(source.file, 0, message, _WAY_OUT_FILTER)


def _hint(word: str, wanted: str, names: list[str]) -> str:
    folded = {name.casefold(): name for name in names}
    if near := get_close_matches(wanted.casefold(), folded, n=1):
        return f"did you mean {folded[near[0]]}?"
    if not names:
        return f"no prefix has a {word}"
    more = ", ..." if len(names) > _SOME else ""
    return f"there are {', '.join(names[:_SOME])}{more}"
