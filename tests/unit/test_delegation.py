"""Delegations in columns: what goes in comes out, and two that overlap are found."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.delegation import Delegation, Delegations
from fwfeed.prefixes import Family, Range


@st.composite
def delegations(draw: st.DrawFn, family: Family, most: int | None = None) -> list[Delegation]:
    ends = st.integers(0, family.last if most is None else most)
    return [
        Delegation(
            *draw(st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair)))),
            draw(st.sampled_from(["", "JP", "KR", "AA", "ZZ"])),
            "apnic",
            draw(st.sampled_from(["allocated", "assigned"])),
            draw(st.sampled_from(["", "00000000", "00000001", "20110411", "99999999"])),
        )
        for _ in range(draw(st.integers(0, 6)))
    ]


@pytest.mark.parametrize("family", Family)
@given(data=st.data())
def test_what_goes_in_comes_out(family: Family, data: st.DataObject) -> None:
    rows = data.draw(delegations(family))
    packed = Delegations.of(family, "apnic", rows)
    assert list(packed) == rows
    assert all(type(row) is Delegation for row in packed)
    assert len(packed) == len(rows)
    for wanted in (["JP"], ["KR", "JP"], [""], []):
        expected = [(row.country, (row.first, row.last)) for row in rows if row.country in wanted]
        assert list(packed.ranges_in(wanted)) == expected


@given(st.lists(st.dates().map(lambda day: f"{day:%Y%m%d}".rjust(8, "0")), max_size=50))
def test_every_date_comes_out_as_it_went_in(dates: list[str]) -> None:
    rows = [Delegation(number, number, "JP", "apnic", "assigned", date) for number, date in enumerate(dates)]
    assert [row.date for row in Delegations.of(Family.IPV4, "apnic", rows)] == dates


def test_adding_in_parts_is_adding_at_once() -> None:
    rows = [Delegation(number, number + 1, "JP", "apnic", "assigned", "20110411") for number in range(0, 20, 2)]
    parts = Delegations(Family.IPV4, "apnic")
    for row in rows:
        parts.extend([row.first], [row.last], [row.country], [row.status], [row.date])
    assert parts == Delegations.of(Family.IPV4, "apnic", rows)
    assert parts != Delegations.of(Family.IPV4, "apnic", rows[1:])


def naive_overlap(rows: list[Delegation]) -> tuple[Range, Range] | None:
    ends = sorted((row.first, row.last) for row in rows)
    return next(((one, other) for one, other in pairwise(ends) if other[0] <= one[1]), None)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("most", [12, 60, None])
@given(data=st.data())
def test_the_lowest_overlap_is_found(family: Family, most: int | None, data: st.DataObject) -> None:
    rows = data.draw(delegations(family, most))
    assert Delegations.of(family, "apnic", rows).overlap() == naive_overlap(rows)
