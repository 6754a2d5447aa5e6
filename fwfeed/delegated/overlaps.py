"""What becomes of delegations that share addresses: one, where they are of one country, and else a refusal.

APNIC had the same range in its file twice for three nights of 2019, allocated and assigned. Nobody could say which of
two countries an address is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NoReturn

from fwfeed.delegated import form
from fwfeed.delegated.form import DELEGATED, File
from fwfeed.delegated.search import find_lines
from fwfeed.delegation import Delegation, Delegations, Overlap
from fwfeed.prefixes import Family, Range, format_address, parse_address
from fwfeed.remark import Remark, RemarkKind


def unite(file: File, delegations: Delegations, blocks: Iterable[bytes]) -> list[Remark]:
    """Make one delegation of those that share addresses. Refuses the file where they are of different countries.

    `blocks` is the file they were read from, to name their lines.
    """
    overlaps = delegations.overlaps()
    for overlap in overlaps:
        if pair := delegations.conflict(overlap):
            _refuse(file, delegations.family, pair, blocks)
    if not overlaps:
        return []
    delegations.unite(overlaps)
    more = f"; and {len(overlaps) - 1:,} more like it" if len(overlaps) > 1 else ""
    return [Remark(RemarkKind.REPEATED, f"{_text(delegations.family, overlaps[0], blocks)}{more}")]


def _refuse(file: File, family: Family, pair: tuple[Delegation, Delegation], blocks: Iterable[bytes]) -> NoReturn:
    lines: dict[tuple[Range, str], int] = {}
    wanted = {((each.first, each.last), each.country) for each in pair}
    for line, ends, country in _lines(
        blocks, family, max(each.first for each in pair), min(each.last for each in pair)
    ):
        if (ends, country) in wanted:
            lines.setdefault((ends, country), line)
    places = [lines.get(((each.first, each.last), each.country), 0) for each in pair]
    one, other = (
        f"{_range_text((each.first, each.last), family)} to {each.country or 'no country'} (line {line})"
        for each, line in zip(pair, places, strict=True)
    )
    file.refuse(max(places), f"delegations to different countries overlap: {one} and {other}")


def _text(family: Family, overlap: Overlap, blocks: Iterable[bytes]) -> str:
    found = [(line, country) for line, _ends, country in islice(_lines(blocks, family, *overlap[:2]), 2)]
    lines = " and ".join(f"{line}" for line, _country in found)
    more = f" (and {len(overlap.rows) - 2:,} more)" if len(overlap.rows) > 2 else ""
    country = next((country for _line, country in found if country), "no country")
    return f"lines {lines}{more} delegate the same addresses to {country}, in {_range_text(overlap[:2], family)}"


def _lines(blocks: Iterable[bytes], family: Family, first: int, last: int) -> Iterator[tuple[int, Range, str]]:
    """Yield the line, the range and the country of each delegation that shares an address with a range."""
    for line, text in find_lines(blocks, family=family, first=first, last=last):
        _registry, country, _type, start, value, _date, status, *_ = text.split("|", 7)
        if status in DELEGATED:
            low = parse_address(start, family)
            high = low + int(value) - 1 if family is Family.IPV4 else low | form.HOST_BITS[value]
            yield line, (low, high), country


def _range_text(ends: Range, family: Family) -> str:
    return "-".join(format_address(end, family) for end in ends)
