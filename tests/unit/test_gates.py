"""Where each gate closes: on the last address, on the last day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.config.schema import GatesConfig
from fwfeed.config.texts import percentage
from fwfeed.gates import Gate, Verdict, judge_addresses, judge_age
from fwfeed.model import Source
from fwfeed.prefixes import Family

LIMITS = GatesConfig(max_shrink=Fraction(10, 100), max_growth=Fraction(25, 100))
OTHER = {Family.IPV4: Family.IPV6, Family.IPV6: Family.IPV4}


def judged(family: Family, old: int, new: int, limits: GatesConfig = LIMITS) -> list[Gate]:
    """Judge a change in one family while the other stands still."""
    other = OTHER[family]
    return [verdict.gate for verdict in judge_addresses({family: old, other: 1000}, {family: new, other: 1000}, limits)]


def counts(ipv4: int, ipv6: int) -> dict[Family, int]:
    return {Family.IPV4: ipv4, Family.IPV6: ipv6}


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    ("old", "new", "gates"),
    [
        (1000, 1000, []),
        (1000, 900, []),
        (1000, 899, [Gate.MAX_SHRINK]),
        (1000, 0, [Gate.MAX_SHRINK]),
        (1000, 1250, []),
        (1000, 1251, [Gate.MAX_GROWTH]),
        (1, 1, []),
        (1, 0, [Gate.MAX_SHRINK]),
        (1, 2, [Gate.MAX_GROWTH]),
        (0, 0, []),
        (204_071_680, 183_664_512, []),
        (204_071_680, 183_664_511, [Gate.MAX_SHRINK]),
        (204_071_680, 255_089_600, []),
        (204_071_680, 255_089_601, [Gate.MAX_GROWTH]),
        (2**100, 2**100 + 2**98, []),
        (2**100, 2**100 + 2**98 + 1, [Gate.MAX_GROWTH]),
    ],
)
def test_a_family_may_move_as_far_as_its_limit_and_no_address_further(
    family: Family, old: int, new: int, gates: list[Gate]
) -> None:
    assert judged(family, old, new) == gates


@pytest.mark.parametrize("family", Family)
def test_a_family_that_had_nothing_may_grow_to_anything(family: Family) -> None:
    """A country's first IPv6 delegation is no forgery, and there is no share of nothing."""
    assert judged(family, 0, 10**9) == []


@pytest.mark.parametrize("family", Family)
def test_one_family_may_be_empty_if_it_always_was(family: Family) -> None:
    assert judge_addresses({family: 0, OTHER[family]: 10}, {family: 0, OTHER[family]: 10}, LIMITS) == []


def test_each_family_is_judged_by_itself() -> None:
    """Together they would hide each other: IPv6 counts are so large that IPv4 could vanish unseen."""
    verdicts = judge_addresses(counts(1000, 2**96), counts(10, 2**97), LIMITS)
    assert [(verdict.gate, verdict.reason[:4]) for verdict in verdicts] == [
        (Gate.MAX_SHRINK, "IPv4"),
        (Gate.MAX_GROWTH, "IPv6"),
    ]


@pytest.mark.parametrize("before", [None, counts(0, 0), counts(1000, 1000)])
def test_an_empty_set_is_always_held(before: dict[Family, int] | None) -> None:
    assert judge_addresses(before, counts(0, 0), GatesConfig(max_shrink=Fraction(1), max_growth=Fraction(1))) == [
        Verdict(Gate.EMPTY, "the set is empty: every address would be foreign")
    ]


@pytest.mark.parametrize("after", [counts(1, 0), counts(0, 1), counts(10**9, 2**100)])
def test_without_anything_before_all_but_the_empty_set_passes(after: dict[Family, int]) -> None:
    assert judge_addresses(None, after, GatesConfig(max_shrink=Fraction(0), max_growth=Fraction(0))) == []


def test_a_reason_tells_by_how_much_from_what_to_what_and_what_is_allowed() -> None:
    assert judge_addresses(counts(2000, 1000), counts(1000, 1500), LIMITS) == [
        Verdict(Gate.MAX_SHRINK, "IPv4 would shrink by 50.0%, from 2,000 to 1,000 addresses; allowed is 10.0%"),
        Verdict(Gate.MAX_GROWTH, "IPv6 would grow by 50.0%, from 1,000 to 1,500 addresses; allowed is 25.0%"),
    ]


@pytest.mark.parametrize("family", Family)
def test_a_limit_of_nothing_lets_only_the_same_number_through(family: Family) -> None:
    limits = GatesConfig(max_shrink=Fraction(0), max_growth=Fraction(0))
    assert judged(family, 1000, 1000, limits) == []
    assert judged(family, 1000, 999, limits) == [Gate.MAX_SHRINK]
    assert judged(family, 1000, 1001, limits) == [Gate.MAX_GROWTH]


@pytest.mark.parametrize("family", Family)
def test_a_limit_of_everything_lets_a_family_vanish_or_double(family: Family) -> None:
    limits = GatesConfig(max_shrink=Fraction(1), max_growth=Fraction(1))
    assert judged(family, 1000, 0, limits) == []
    assert judged(family, 1000, 2000, limits) == []
    assert judged(family, 1000, 2001, limits) == [Gate.MAX_GROWTH]


@pytest.mark.parametrize(
    ("percent", "old", "new"),
    [("15%", 100, 115), ("13%", 100, 113), ("36%", 1000, 1360), ("18%", 1000, 820), ("41%", 100, 59)],
)
def test_what_is_exactly_at_the_limit_passes_whatever_binary_fractions_make_of_it(
    percent: str, old: int, new: int
) -> None:
    limits = GatesConfig(max_shrink=percentage(percent), max_growth=percentage(percent))
    assert judge_addresses(counts(old, 1), counts(new, 1), limits) == []


@given(st.integers(1, 2**32), st.integers(0, 2**33), st.integers(0, 64), st.integers(0, 64))
def test_the_gates_close_where_exact_fractions_say(old: int, new: int, shrink: int, growth: int) -> None:
    limits = GatesConfig(max_shrink=Fraction(shrink, 64), max_growth=Fraction(growth, 64))
    expected = []
    if Fraction(old - new, old) > Fraction(shrink, 64):
        expected.append(Gate.MAX_SHRINK)
    if Fraction(new - old, old) > Fraction(growth, 64):
        expected.append(Gate.MAX_GROWTH)
    assert judged(Family.IPV4, old, new, limits) == expected


def source(end_date: date) -> Source:
    return Source(
        registry="apnic",
        url="https://example.net/delegated-apnic-extended-latest",
        serial=20181013,
        end_date=end_date,
        sha256="0" * 64,
        records=1,
        delegations=1,
    )


NOW = datetime(2018, 10, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("end_date", "max_age", "held"),
    [
        (date(2018, 10, 13), timedelta(days=7), ""),
        (date(2018, 10, 12), timedelta(days=7), "8 days ago; allowed are 7"),
        (date(2018, 10, 20), timedelta(0), ""),
        (date(2018, 10, 19), timedelta(0), "1 days ago; allowed are 0"),
        (date(2018, 10, 19), timedelta(hours=36), ""),
        (date(2018, 10, 18), timedelta(hours=36), "2 days ago; allowed are 1.5"),
        (date(2018, 10, 21), timedelta(days=7), ""),  # registries east of Greenwich are a day ahead
        (date(1970, 1, 1), timedelta(days=7), "17824 days ago; allowed are 7"),
        (date(1970, 1, 1), None, ""),
    ],
)
def test_a_file_may_be_as_old_as_its_limit_and_no_day_older(
    end_date: date, max_age: timedelta | None, held: str
) -> None:
    verdict = judge_age(source(end_date), max_age, NOW)
    reason = f"apnic: the file ends on {end_date}, {held}"
    assert verdict == (Verdict(Gate.MAX_AGE, reason) if held else None)


@pytest.mark.parametrize("time", [(0, 0, 0), (23, 59, 59)])
def test_the_hour_of_the_day_does_not_matter(time: tuple[int, int, int]) -> None:
    now = datetime(2018, 10, 20, *time, tzinfo=UTC)
    assert judge_age(source(date(2018, 10, 13)), timedelta(days=7), now) is None
    assert judge_age(source(date(2018, 10, 12)), timedelta(days=7), now) is not None
