"""Delegations in columns: what goes in comes out, and those that overlap are found and made one."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.delegation import Delegation, Delegations, Overlap
from fwfeed.prefixes import Family


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


def naive_overlaps(rows: list[Delegation]) -> list[Overlap]:
    """Join rows that share an address until none is left to join."""
    groups = [[row] for row in range(len(rows))]

    def share(one: list[int], other: list[int]) -> bool:
        return any(rows[a].first <= rows[b].last and rows[b].first <= rows[a].last for a in one for b in other)

    while pair := next((pair for pair in combinations(groups, 2) if share(*pair)), None):
        groups = [*(group for group in groups if group not in pair), sorted(pair[0] + pair[1])]
    ends = [(min(rows[row].first for row in group), max(rows[row].last for row in group)) for group in groups]
    return sorted(Overlap(*pair, group) for pair, group in zip(ends, groups, strict=True) if len(group) > 1)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("most", [12, 60, None])
@given(data=st.data())
def test_delegations_that_share_addresses_are_found(family: Family, most: int | None, data: st.DataObject) -> None:
    rows = data.draw(delegations(family, most))
    assert Delegations.of(family, "apnic", rows).overlaps() == naive_overlaps(rows)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("most", [12, 60, None])
@given(data=st.data())
def test_two_countries_in_an_overlap_are_found_and_one_is_made_one(
    family: Family, most: int | None, data: st.DataObject
) -> None:
    rows = data.draw(delegations(family, most))
    made = Delegations.of(family, "apnic", rows)
    united = []
    for overlap in made.overlaps():
        pair = made.conflict(overlap)
        assert (pair is None) is (len({rows[row].country for row in overlap.rows}) == 1)
        if pair is None:
            united.append(overlap)
            continue
        one, other = pair
        assert {one, other} <= {rows[row] for row in overlap.rows}
        assert one.first <= other.last
        assert other.first <= one.last
        assert one.country != other.country
    made.unite(united)
    joined = {row for overlap in united for row in overlap.rows}
    expected = {row: rows[row] for row in range(len(rows)) if row not in joined}
    for overlap in united:
        largest = max(overlap.rows, key=lambda row: rows[row].last - rows[row].first)
        expected[largest] = rows[largest]._replace(first=overlap.first, last=overlap.last)
    assert list(made) == [delegation for _row, delegation in sorted(expected.items())]
