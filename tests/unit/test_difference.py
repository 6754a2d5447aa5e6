"""How a live set changes: in the end what is wanted, on the way never an overlap, and never a gap without need."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.difference import Step, steps
from fwfeed.prefixes import Family, Prefix, Range, cover, merge, parse_prefix, spans

SPACE = 64


def prefix(text: str) -> Prefix:
    return parse_prefix(text, Family.IPV4)


def span(text: str) -> Range:
    return next(spans([prefix(text)], Family.IPV4))


def of(before: list[str], after: list[str]) -> list[Step]:
    return steps([span(text) for text in before], merge(span(text) for text in after), Family.IPV4)


def test_what_is_equal_takes_no_step() -> None:
    assert of(["192.0.2.0/24", "198.51.100.0/24"], ["192.0.2.0/24", "198.51.100.0/24"]) == []
    assert of(["192.0.2.0/25", "192.0.2.128/25"], ["192.0.2.0/24"]) == []
    assert of([], []) == []


def test_a_sibling_is_added_beside_and_not_joined() -> None:
    assert of(["192.0.2.0/25"], ["192.0.2.0/24"]) == [Step(None, (prefix("192.0.2.128/25"),))]


def test_what_grows_around_an_entry_leaves_it_alone() -> None:
    assert of(["192.0.2.64/26"], ["192.0.2.0/24"]) == [
        Step(None, (prefix("192.0.2.0/26"),)),
        Step(None, (prefix("192.0.2.128/25"),)),
    ]


def test_an_entry_that_loses_addresses_goes_and_its_rest_comes_back_at_once_the_largest_part_first() -> None:
    assert of(["192.0.2.0/24"], ["192.0.2.0/26", "192.0.2.128/25"]) == [
        Step(span("192.0.2.0/24"), (prefix("192.0.2.128/25"), prefix("192.0.2.0/26")))
    ]


def test_what_is_lost_whole_is_removed_and_what_is_new_comes_first() -> None:
    assert of(["192.0.2.0/24"], ["198.51.100.0/24"]) == [
        Step(None, (prefix("198.51.100.0/24"),)),
        Step(span("192.0.2.0/24"), ()),
    ]


addresses = st.sets(st.integers(0, SPACE - 1))


@st.composite
def entries(draw: st.DrawFn) -> list[Range]:
    """Entries as a live set can have them: they do not overlap, may touch, and are in any order."""
    cuts = sorted(draw(st.sets(st.integers(0, SPACE), max_size=12)))
    found = [(first, last - 1) for first, last in pairwise(cuts) if draw(st.booleans())]
    return draw(st.permutations(found))


@given(entries(), addresses)
def test_the_steps_lead_there_without_an_overlap_or_a_needless_gap(held: list[Range], wanted: set[int]) -> None:
    live = [set(range(first, last + 1)) for first, last in held]
    before: set[int] = set().union(*live) if live else set()
    touched: set[int] = set()
    for step in steps(held, merge((address, address) for address in wanted), Family.IPV4):
        covered = set().union(*live)
        if step.removed is not None:
            entry = set(range(step.removed[0], step.removed[1] + 1))
            assert entry in live
            assert not entry <= wanted  # nothing is taken away that could have stayed
            live.remove(entry)
            touched |= entry
        for each in step.added:
            (first, last) = next(spans([each], Family.IPV4))
            entry = set(range(first, last + 1))
            assert not any(entry & other for other in live)
            live.append(entry)
        # what was there and stays is there again when the step is over
        assert covered & wanted <= set().union(*live)
    assert (set().union(*live) if live else set()) == wanted
    assert (before & wanted) - touched == {
        address
        for address in before & wanted
        if any(set(range(f, t + 1)) <= wanted for f, t in held if f <= address <= t)
    }


@pytest.mark.parametrize("family", Family)
def test_thousands_of_changes_in_tens_of_thousands_of_entries(family: Family) -> None:
    held = [(position * 512, position * 512 + 255) for position in range(30_000)]
    wanted = [(first, last - (128 if position % 3 == 0 else 0)) for position, (first, last) in enumerate(held)]
    found = steps(held, wanted, family)
    assert len(found) == 10_000
    assert found[0] == Step(held[0], tuple(cover([wanted[0]], family)))
