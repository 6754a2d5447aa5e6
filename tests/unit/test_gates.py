"""Where each gate closes: on the last address, on the last day, on the last second."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from ipaddress import ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fwfeed.config.schema import GatesConfig
from fwfeed.config.texts import percentage
from fwfeed.definition import Definition
from fwfeed.gates import (
    judge,
    judge_age,
    judge_applied,
    judge_definition,
    judge_moves,
    judge_order,
    judge_size,
    moving,
)
from fwfeed.model import Candidate, Gate, OriginKey, Part, Recipe, Source, Verdict
from fwfeed.prefixes import Family, cover, merge

LIMITS = GatesConfig(max_shrink=Fraction(10, 100), max_growth=Fraction(25, 100), max_space=Fraction(60, 100))
LOOSE = GatesConfig(max_shrink=Fraction(1), max_growth=Fraction(10**9), max_space=Fraction(1))
OTHER = {Family.IPV4: Family.IPV6, Family.IPV6: Family.IPV4}
IPV4, IPV6 = Family


def judged(family: Family, old: int, new: int, limits: GatesConfig = LIMITS) -> list[Gate]:
    """Judge a change in one family while the other stands still."""
    other = OTHER[family]
    return [verdict.gate for verdict in judge_moves({family: old, other: 1000}, {family: new, other: 1000}, limits)]


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
    assert judge_moves({family: 0, OTHER[family]: 10}, {family: 0, OTHER[family]: 10}, LIMITS) == []


def test_each_family_is_judged_by_itself() -> None:
    """Together they would hide each other: IPv6 counts are so large that IPv4 could vanish unseen."""
    verdicts = judge_moves(counts(1000, 2**96), counts(10, 2**97), LIMITS)
    assert [(verdict.gate, verdict.reason[:5]) for verdict in verdicts] == [
        (Gate.MAX_SHRINK, "IPv4:"),
        (Gate.MAX_GROWTH, "IPv6:"),
    ]


def test_a_reason_tells_by_how_much_from_what_to_what_and_what_is_allowed() -> None:
    assert judge_moves(counts(2000, 1000), counts(1000, 1500), LIMITS) == [
        Verdict(
            Gate.MAX_SHRINK, "IPv4: the set would shrink by 50.0%, from 2,000 to 1,000 addresses; allowed is 10.0%"
        ),
        Verdict(Gate.MAX_GROWTH, "IPv6: the set would grow by 50.0%, from 1,000 to 1,500 addresses; allowed is 25.0%"),
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
    assert judge_moves(counts(old, 1), counts(new, 1), limits) == []


def moved(old: int, new: int, limits: GatesConfig) -> list[Gate]:
    """Judge a move without fwfeed: the oracle."""
    gates = []
    if old and Fraction(old - new, old) > limits.max_shrink:
        gates.append(Gate.MAX_SHRINK)
    if old and Fraction(new - old, old) > limits.max_growth:
        gates.append(Gate.MAX_GROWTH)
    return gates


@given(st.integers(0, 2**32), st.integers(0, 2**33), st.integers(0, 64), st.integers(0, 64))
def test_the_gates_close_where_exact_fractions_say(old: int, new: int, shrink: int, growth: int) -> None:
    limits = GatesConfig(max_shrink=Fraction(shrink, 64), max_growth=Fraction(growth, 64))
    assert judged(Family.IPV4, old, new, limits) == moved(old, new, limits)


RECIPE = Recipe(
    registries=("apnic", "arin"),
    countries=("JP", "KR"),
    feeds=("cloud aws", "office plain"),
    include=("cloud", "office"),
    exclude=("office", "cloud"),
)


def candidate(
    ipv4: Sequence[tuple[int, int]] = (),
    ipv6: Sequence[tuple[int, int]] = (),
    *,
    recipe: Recipe = RECIPE,
    parts: Sequence[Part] = (),
) -> Candidate:
    """Return a candidate of these ranges."""
    return Candidate(
        compiled=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        recipe=recipe,
        sources=(),
        parts=tuple(parts),
        ipv4=tuple(cover(merge(ipv4), Family.IPV4)),
        ipv6=tuple(cover(merge(ipv6), Family.IPV6)),
    )


def sized(ipv4: int, ipv6: int, *, recipe: Recipe = RECIPE, parts: Sequence[Part] = ()) -> Candidate:
    """Return a candidate of so many addresses."""
    return candidate([(0, ipv4 - 1)] * (ipv4 > 0), [(0, ipv6 - 1)] * (ipv6 > 0), recipe=recipe, parts=parts)


def part(addresses: int, source: str, term: str = "", *, family: Family = IPV4, excluded: bool = False) -> Part:
    return Part(source=source, term=term or source, excluded=excluded, family=family, prefixes=1, addresses=addresses)


def told(verdicts: Sequence[Verdict]) -> list[tuple[Gate, str]]:
    """Return each verdict's gate, and the family and the thing that it speaks of."""
    found = [re.match(r"(IPv[46]: .*?|the set) (would|is) ", verdict.reason) for verdict in verdicts]
    assert all(found), verdicts
    return [(verdict.gate, match[1]) for verdict, match in zip(verdicts, found, strict=True) if match]


@pytest.mark.parametrize("before", [None, sized(0, 0), sized(1000, 1000)])
def test_an_empty_set_is_always_held(before: Candidate | None) -> None:
    empty = Verdict(Gate.EMPTY, "the set is empty: every address would be foreign")
    assert judge_size(sized(0, 0), LOOSE) == [empty]
    assert judge(before, sized(0, 0), LOOSE) == [empty]
    assert judge_applied(None if before is None else moving(before), sized(0, 0), LOOSE) == [empty]


@pytest.mark.parametrize("after", [sized(1, 0), sized(0, 1), sized(10**9, 2**100)])
def test_without_anything_before_all_but_the_empty_set_passes(after: Candidate) -> None:
    nothing = replace(LIMITS, max_shrink=Fraction(0), max_growth=Fraction(0))
    assert judge(None, after, nothing) == []
    assert judge_applied(None, after, nothing) == []


@pytest.mark.parametrize(
    ("family", "most"), [(IPV4, 2**32 * 60 // 100), (IPV6, 2**125 * 60 // 100)], ids=["IPv4", "IPv6"]
)
def test_a_set_may_have_as_much_of_a_familys_space_as_its_limit_and_no_address_more(family: Family, most: int) -> None:
    other = OTHER[family]

    def of(number: int) -> Candidate:
        numbers = {family: number, other: 1}
        return sized(numbers[IPV4], numbers[IPV6])

    assert judge_size(of(most), LIMITS) == []
    (verdict,) = judge_size(of(most + 1), LIMITS)
    reason = f"IPv{family.value}: the set would hold 60.0% of the address space; allowed is 60.0%"
    assert verdict == Verdict(Gate.MAX_SPACE, reason)
    assert judge(None, of(most + 1), LIMITS) == [verdict]
    assert judge(of(most + 1), of(most + 1), LIMITS) == [verdict], "it is too much even where nothing moved"
    assert judge_applied(None, of(most + 1), LIMITS) == [verdict]


@given(st.integers(0, 2**32), st.integers(0, 2**126), st.integers(0, 128))
@example(2**32, 2**125, 128)
@example(2**31, 2**124, 64)
@example(2**31 + 1, 2**124 + 1, 64)
def test_the_space_is_measured_by_exact_fractions(ipv4: int, ipv6: int, share: int) -> None:
    limits = replace(LIMITS, max_space=Fraction(share, 128))
    expected = [
        f"IPv{family.value}: the set"
        for family, size, space in ((IPV4, ipv4, 2**32), (IPV6, ipv6, 2**125))
        if Fraction(size, space) > limits.max_space
    ]
    if ipv4 or ipv6:
        assert told(judge_size(sized(ipv4, ipv6), limits)) == [(Gate.MAX_SPACE, what) for what in expected]


def ranges(*cidrs: str) -> list[tuple[int, int]]:
    networks = map(ip_network, cidrs)
    return [(int(network.network_address), int(network.broadcast_address)) for network in networks]


def test_what_the_configuration_itself_puts_in_does_not_move() -> None:
    recipe = replace(RECIPE, include=("special-purpose", "198.18.4.0/24", "2001:db8::/32", "cloud"))
    inside = candidate(
        ranges("10.0.0.0/8", "198.18.4.0/24", "11.0.0.0/24"), ranges("2001:db8::/32", "2400::/64"), recipe=recipe
    )
    assert moving(inside) == counts(256, 2**64)
    assert moving(replace(inside, recipe=replace(recipe, include=("cloud",)))) == counts(2**24 + 512, 2**96 + 2**64)


def test_what_comes_from_a_feed_moves() -> None:
    recipe = replace(RECIPE, include=("cloud", "office"))
    assert moving(candidate(ranges("192.0.2.0/24"), recipe=recipe)) == counts(256, 0)


def test_what_a_source_gives_of_a_configured_prefix_does_not_move_either() -> None:
    recipe = replace(RECIPE, include=("192.0.2.0/24",))
    parts = [part(256, "apnic", "JP")]
    assert moving(candidate(ranges("192.0.2.0/24"), recipe=recipe, parts=parts)) == counts(0, 0)


blocks = st.builds(lambda size, at: (at >> size << size, size), st.integers(0, 5), st.integers(0, 31))


@given(st.lists(blocks, max_size=4), st.lists(blocks, max_size=3), st.sampled_from(Family))
def test_what_moves_is_the_set_without_the_configured_terms(
    held: list[tuple[int, int]], terms: list[tuple[int, int]], family: Family
) -> None:
    base = 0xC6120000 if family is IPV4 else 0x20010DB8 << 96
    bits = family.bits

    def addresses(drawn: list[tuple[int, int]]) -> set[int]:
        return {base + first + at for first, size in drawn for at in range(1 << size)}

    include = tuple(str(ip_network((base + first, bits - size))) for first, size in terms)
    own = [(base + first, base + first + (1 << size) - 1) for first, size in held]
    recipe = replace(RECIPE, include=("cloud", *include))
    made = candidate(own if family is IPV4 else (), own if family is IPV6 else (), recipe=recipe)
    assert moving(made) == {family: len(addresses(held) - addresses(terms)), OTHER[family]: 0}


def test_the_special_purpose_ranges_do_not_hide_how_far_the_rest_moves() -> None:
    # they are three times the addresses of Japan: a third of it could go, and the set would shrink by 8 %
    recipe = replace(RECIPE, include=("special-purpose",))
    special = ranges("10.0.0.0/8")
    before = candidate([*special, *ranges("11.0.0.0/22")], recipe=recipe)
    for gone, gates in ((102, []), (103, [Gate.MAX_SHRINK])):
        (first, last), *_ = ranges("11.0.0.0/22")
        after = candidate([*special, (first, last - gone)], recipe=recipe)
        assert [verdict.gate for verdict in judge(before, after, LIMITS)] == gates
        assert [verdict.gate for verdict in judge_applied(moving(before), after, LIMITS)] == gates


def test_a_set_may_move_in_what_nobody_can_compare_when_the_recipe_is_another() -> None:
    other = replace(RECIPE, countries=("JP",))
    assert judge(sized(1000, 0), sized(10, 0, recipe=other), LIMITS) == []
    assert told(judge(sized(1000, 0), sized(10, 0), LIMITS)) == [(Gate.MAX_SHRINK, "IPv4: the set")]


def test_a_new_part_is_for_the_judgement_of_the_set() -> None:
    """A registry's first delegation to a country is no growth of anything, but the set grows by it."""
    before = sized(1000, 0, parts=[part(1000, "apnic", "JP")])
    after = sized(1251, 0, parts=[part(1000, "apnic", "JP"), part(251, "arin", "JP")])
    assert told(judge(before, after, LIMITS)) == [(Gate.MAX_GROWTH, "IPv4: the set")]
    assert judge(before, sized(1250, 0, parts=after.parts), LIMITS) == []


NAMES = {
    ("apnic", "JP", False): "what apnic delegates to JP",
    ("arin", "KR", False): "what arin delegates to KR",
    ("cloud", "cloud", False): "feed cloud",
    ("cloud", "cloud", True): "feed cloud, excluded,",
}


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(("origin", "name"), NAMES.items(), ids=NAMES.values())
@pytest.mark.parametrize(
    ("old", "new", "gates"),
    [
        (1000, 1000, []),
        (1000, 900, []),
        (1000, 899, [Gate.MAX_SHRINK]),
        (1000, 1250, []),
        (1000, 1251, [Gate.MAX_GROWTH]),
        (0, 1000, []),
    ],
)
def test_each_part_may_move_as_far_as_its_limit_and_no_address_further(
    origin: OriginKey, name: str, family: Family, old: int, new: int, gates: list[Gate]
) -> None:
    # the set does not move at all: one registry's loss is another's gain
    source, term, excluded = origin
    sets = [
        sized(5000, 5000, parts=[part(addresses, source, term, family=family, excluded=excluded)] if addresses else [])
        for addresses in (old, new)
    ]
    assert told(judge(sets[0], sets[1], LIMITS)) == [(gate, f"IPv{family.value}: {name}") for gate in gates]


def test_a_part_that_is_gone_shrank_by_all_it_was() -> None:
    before = sized(5000, 0, parts=[part(1000, "apnic", "JP"), part(1000, "arin", "JP")])
    after = sized(5000, 0, parts=[part(1000, "apnic", "JP")])
    reason = "IPv4: what arin delegates to JP would shrink by 100.0%, from 1,000 to 0 addresses; allowed is 10.0%"
    assert judge(before, after, LIMITS) == [Verdict(Gate.MAX_SHRINK, reason)]


def test_parts_that_swap_are_told_though_the_set_stays() -> None:
    # 240 addresses that apnic delegated to Japan are delegated by arin to Korea now: nothing that a sum would show
    before = sized(2000, 0, parts=[part(1000, "apnic", "JP"), part(1000, "arin", "KR")])
    after = sized(2000, 0, parts=[part(740, "apnic", "JP"), part(1260, "arin", "KR")])
    assert told(judge(before, after, LIMITS)) == [
        (Gate.MAX_SHRINK, "IPv4: what apnic delegates to JP"),
        (Gate.MAX_GROWTH, "IPv4: what arin delegates to KR"),
    ]


def test_one_part_is_judged_in_each_family_by_itself() -> None:
    before = sized(1000, 2**100, parts=[part(1000, "apnic", "JP"), part(2**100, "apnic", "JP", family=IPV6)])
    after = sized(1000, 2**100, parts=[part(10, "apnic", "JP"), part(2**100, "apnic", "JP", family=IPV6)])
    assert told(judge(before, after, LIMITS)) == [(Gate.MAX_SHRINK, "IPv4: what apnic delegates to JP")]


def test_what_the_configuration_gives_or_takes_is_no_part_to_judge() -> None:
    before = sized(1000, 0, parts=[part(900, "", "192.0.2.0/24"), part(900, "", "192.0.2.0/25", excluded=True)])
    assert judge(before, sized(1000, 0), LIMITS) == []


@pytest.mark.parametrize("origin", [origin for origin in NAMES if origin[0] == origin[1]])
def test_a_feed_that_shrinks_is_judged_however_small_it_is(origin: OriginKey) -> None:
    # a list that somebody relies on can be lost without a trace in the set
    source, term, excluded = origin
    before = sized(100_000, 0, parts=[part(1, source, term, excluded=excluded)])
    assert [verdict.gate for verdict in judge(before, sized(100_000, 0), LIMITS)] == [Gate.MAX_SHRINK]
    before, within, over = (
        sized(10**9, 0, parts=[part(addresses, source, term, excluded=excluded)]) for addresses in (10, 9, 8)
    )
    assert judge(before, within, LIMITS) == []
    assert [verdict.gate for verdict in judge(before, over, LIMITS)] == [Gate.MAX_SHRINK]


@pytest.mark.parametrize("origin", NAMES)
@pytest.mark.parametrize(("moved", "held"), [(100, False), (101, True)])
def test_what_grows_by_a_thousandth_of_all_is_left_to_the_judgement_of_the_set(
    origin: OriginKey,
    moved: int,
    held: bool,  # noqa: FBT001
) -> None:
    source, term, excluded = origin
    less, more = (
        sized(100_000, 0, parts=[part(addresses, source, term, excluded=excluded)]) for addresses in (50, moved + 50)
    )
    assert [verdict.gate for verdict in judge(less, more, LIMITS)] == [Gate.MAX_GROWTH] * held


@pytest.mark.parametrize("origin", [origin for origin in NAMES if origin[0] != origin[1]])
@pytest.mark.parametrize(("gone", "held"), [(100, False), (101, True)])
def test_what_moves_by_a_thousandth_of_all_is_left_to_the_judgement_of_the_set(
    origin: OriginKey,
    gone: int,
    held: bool,  # noqa: FBT001
) -> None:
    # a registry can have two records of a country, and when one goes that is half of its part
    source, term, excluded = origin
    before = sized(100_000, 0, parts=[part(gone, source, term, excluded=excluded)])
    verdicts = judge(before, sized(100_000, 0), LIMITS)
    assert [verdict.gate for verdict in verdicts] == [Gate.MAX_SHRINK] * held
    # and so with what grows
    after = sized(100_000, 0, parts=[part(gone + 50, source, term, excluded=excluded)])
    before = sized(100_000, 0, parts=[part(50, source, term, excluded=excluded)])
    assert [verdict.gate for verdict in judge(before, after, LIMITS)] == [Gate.MAX_GROWTH] * held


def test_a_thousandth_is_of_what_moves_and_not_of_the_special_purpose_ranges() -> None:
    recipe = replace(RECIPE, include=("special-purpose",))
    own = [*ranges("10.0.0.0/8"), *ranges("11.0.0.0/22")]
    before = candidate(own, recipe=recipe, parts=[part(2, "apnic", "JP")])
    assert told(judge(before, candidate(own, recipe=recipe), LIMITS)) == [
        (Gate.MAX_SHRINK, "IPv4: what apnic delegates to JP")
    ]


CHANGES: Mapping[str, tuple[Recipe, set[OriginKey]]] = {
    # what of NAMES is comparable after each change of the configuration
    "nothing": (RECIPE, set(NAMES)),
    "a registry more": (
        replace(RECIPE, registries=("afrinic", "apnic", "arin")),
        set(NAMES) - {("cloud", "cloud", True)},
    ),
    "a registry less": (
        replace(RECIPE, registries=("apnic",)),
        {("apnic", "JP", False), ("cloud", "cloud", False)},
    ),
    "a country more": (replace(RECIPE, countries=("JP", "KR", "TW")), set(NAMES) - {("cloud", "cloud", True)}),
    "a country less": (replace(RECIPE, countries=("JP",)), {("apnic", "JP", False), ("cloud", "cloud", False)}),
    "a feed with another filter": (
        replace(RECIPE, feeds=("cloud aws regions=x", "office plain")),
        {("apnic", "JP", False), ("arin", "KR", False)},
    ),
    "a feed less": (
        replace(RECIPE, feeds=("office plain",), include=("office",), exclude=("office",)),
        {("apnic", "JP", False), ("arin", "KR", False)},
    ),
    "a feed more": (
        replace(RECIPE, feeds=("cloud aws", "isp geofeed", "office plain"), include=("cloud", "isp", "office")),
        set(NAMES) - {("cloud", "cloud", True)},
    ),
    "a feed no longer included": (
        replace(RECIPE, include=("office",)),
        {("apnic", "JP", False), ("arin", "KR", False)},
    ),
    "a feed no longer excluded": (replace(RECIPE, exclude=("office",)), set(NAMES) - {("cloud", "cloud", True)}),
    "a prefix more to exclude behind it": (
        replace(RECIPE, exclude=("office", "cloud", "192.0.2.0/24")),
        set(NAMES),
    ),
    "a prefix more to exclude before it": (
        replace(RECIPE, exclude=("192.0.2.0/24", "office", "cloud")),
        set(NAMES) - {("cloud", "cloud", True)},
    ),
    "another to exclude before it": (
        replace(RECIPE, exclude=("192.0.2.0/24", "cloud")),
        set(NAMES) - {("cloud", "cloud", True)},
    ),
    "a prefix more to include": (
        replace(RECIPE, include=("cloud", "office", "192.0.2.0/24")),
        set(NAMES) - {("cloud", "cloud", True)},
    ),
}


@pytest.mark.parametrize(("recipe", "comparable"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("origin", NAMES)
def test_a_change_of_the_configuration_is_no_blind_spot_for_what_it_left_alone(
    recipe: Recipe, comparable: set[OriginKey], origin: OriginKey
) -> None:
    source, term, excluded = origin
    before = sized(5000, 0, parts=[part(1000, source, term, excluded=excluded)])
    after = sized(5000, 0, parts=[part(10, source, term, excluded=excluded)], recipe=recipe)
    assert bool(judge(before, after, LIMITS)) is (origin in comparable)
    back = [replace(after, parts=before.parts), replace(before, parts=after.parts)]
    assert bool(judge(back[0], back[1], LIMITS)) is (origin in comparable)


def test_a_feed_that_moves_from_include_to_exclude_did_not_shrink() -> None:
    before = sized(5000, 0, recipe=replace(RECIPE, exclude=()), parts=[part(1000, "cloud")])
    moved_over = replace(RECIPE, include=("office",), exclude=("cloud",))
    after = sized(5000, 0, recipe=moved_over, parts=[part(10, "cloud", excluded=True)])
    assert judge(before, after, LIMITS) == []


origins = st.sampled_from(
    [
        *((registry, country, False) for registry in ("afrinic", "apnic", "arin") for country in ("JP", "KR", "TW")),
        *((feed, feed, excluded) for feed in ("cloud", "isp", "office") for excluded in (False, True)),
        *(("", "192.0.2.0/24", excluded) for excluded in (False, True)),
    ]
)
FEEDS = {
    "cloud": ("cloud aws", "cloud gcp"),
    "isp": ("isp geofeed", "isp geofeed countries=JP"),
    "office": ("office plain",),
}


def some(values: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sets(st.sampled_from(values)).map(lambda drawn: tuple(sorted(drawn)))


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    feeds = tuple(draw(st.sampled_from(FEEDS[name])) for name in draw(some(list(FEEDS))))
    terms = [*(text.split(" ")[0] for text in feeds), "198.18.0.0/31"]
    return Recipe(
        registries=draw(some(["afrinic", "apnic", "arin"])),
        countries=draw(some(["JP", "KR", "TW"])),
        feeds=feeds,
        include=draw(some(terms)),
        exclude=draw(some(terms)),
    )


sizes = st.integers(0, 20) | st.integers(0, 20_000)


@st.composite
def candidates(draw: st.DrawFn, recipe: Recipe) -> Candidate:
    """Return a candidate whose parts are what its recipe asks for, as combine makes them."""
    parts = []
    feeds = [text.split(" ")[0] for text in recipe.feeds]
    for family in Family:
        for source, term, excluded in draw(st.lists(origins, unique=True, max_size=6)):
            terms = recipe.exclude if excluded else recipe.include
            if term in terms if source in ("", *feeds) else source in recipe.registries and term in recipe.countries:
                parts.append(part(draw(sizes), source, term, family=family, excluded=excluded))
    base = 0xC6120000  # so that the included prefix is inside
    first, second = draw(sizes), draw(sizes)
    return candidate(
        [(base, base + first - 1)] * (first > 0), [(0, second - 1)] * (second > 0), recipe=recipe, parts=parts
    )


def expected(before: Candidate | None, after: Candidate, limits: GatesConfig) -> list[tuple[Gate, str]]:
    """Judge a candidate without fwfeed, naively: the oracle. All numbers are far from max_space."""

    def naive_moving(made: Candidate, family: Family) -> int:
        held = {address for first, last in made.ranges(family) for address in range(first, last + 1)}
        if family is IPV4 and "198.18.0.0/31" in made.recipe.include:
            held -= {0xC6120000, 0xC6120001}
        return len(held)

    verdicts = [] if after.ipv4 or after.ipv6 else [(Gate.EMPTY, "the set")]
    if before is None:
        return verdicts
    one, other = before.recipe, after.recipe
    for family in Family:
        if one == other:
            old, new = naive_moving(before, family), naive_moving(after, family)
            verdicts += [(gate, f"IPv{family.value}: the set") for gate in moved(old, new, limits)]
    for family in Family:
        total = naive_moving(before, family)
        numbers = [
            {(each.source, each.term, each.excluded): each.addresses for each in made.parts if each.family is family}
            for made in (before, after)
        ]
        for origin in sorted(set(numbers[0]) | set(numbers[1])):
            source, term, excluded = origin
            old, new = (number.get(origin, 0) for number in numbers)
            if source in FEEDS:
                # each recipe has at most one description of it
                same = {t for t in one.feeds if t.split(" ")[0] == source} == {
                    t for t in other.feeds if t.split(" ")[0] == source
                }
                if excluded:
                    places = [r.exclude.index(term) if term in r.exclude else -1 for r in (one, other)]
                    same &= (
                        (one.registries, one.countries, one.feeds, one.include)
                        == (other.registries, other.countries, other.feeds, other.include)
                        and -1 not in places
                        and one.exclude[: places[0]] == other.exclude[: places[1]]
                    )
                else:
                    same &= term in one.include and term in other.include
                name = f"feed {source}" + ", excluded," * excluded
            else:
                same = source in one.registries and source in other.registries
                same &= term in one.countries and term in other.countries
                name = f"what {source} delegates to {term}"
            far = Fraction(abs(new - old)) > Fraction(total, 1000) or (source in FEEDS and new < old)
            if source and same and far:
                verdicts += [(gate, f"IPv{family.value}: {name}") for gate in moved(old, new, limits)]
    return verdicts


@given(st.data(), st.integers(0, 64), st.integers(0, 64), st.booleans())
def test_a_candidate_is_judged_as_the_rules_say(
    data: st.DataObject,
    shrink: int,
    growth: int,
    first: bool,  # noqa: FBT001
) -> None:
    limits = GatesConfig(max_shrink=Fraction(shrink, 64), max_growth=Fraction(growth, 64))
    recipe, other = data.draw(recipes()), data.draw(recipes())
    changed = data.draw(st.sets(st.sampled_from(["registries", "countries", "feeds", "include", "exclude"])))
    before = None if first else data.draw(candidates(recipe))
    after = data.draw(candidates(replace(recipe, **{name: getattr(other, name) for name in changed})))
    assert told(judge(before, after, limits)) == expected(before, after, limits)


def source(end_date: date, serial: int | None = 20181013, name: str = "apnic") -> Source:
    return Source(
        name=name,
        url="https://example.net/delegated-apnic-extended-latest",
        serial=serial,
        end_date=end_date,
        sha256="0" * 64,
        records=1,
        taken=0,
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


TODAY = NOW.date()
YESTERDAY = TODAY - timedelta(days=1)


@pytest.mark.parametrize(
    ("new", "accepted", "backwards"),
    [
        ((TODAY, 20181013), (TODAY, 20181013), ""),
        ((TODAY, 20181014), (TODAY, 20181013), ""),
        ((TODAY, 20181012), (TODAY, 20181013), "serial"),
        ((TODAY, 1), (TODAY, 0), ""),
        ((TODAY, 0), (TODAY, 1), "serial"),
        ((TODAY, 20181013), (YESTERDAY, 20181013), ""),
        ((YESTERDAY, 20181013), (TODAY, 20181013), "end date"),
        ((YESTERDAY, 20181014), (TODAY, 20181013), "end date"),
        ((YESTERDAY, 20181012), (TODAY, 20181013), "serial"),
        ((TODAY, None), (TODAY, None), ""),
        # without a serial a file has no date of its own, but that of the day on which it came
        ((YESTERDAY, None), (TODAY, None), ""),
        # a feed's format can change, and then one of the two has no serial
        ((TODAY, None), (TODAY, 20181013), ""),
        ((TODAY, 1), (TODAY, None), ""),
        ((YESTERDAY, None), (TODAY, 1), ""),
        ((YESTERDAY, 1), (TODAY, None), ""),
        # a registry can change the form of its serials; then the end date decides
        ((TODAY, 20181014), (TODAY, 1539406814230), ""),
        ((TODAY, 1539406814), (TODAY, 1539406814230), ""),
        ((YESTERDAY, 20181014), (TODAY, 1539406814230), "end date"),
    ],
)
def test_neither_serial_nor_end_date_may_go_backwards(
    new: tuple[date, int | None], accepted: tuple[date, int | None], backwards: str
) -> None:
    verdict = judge_order(source(*new), source(*accepted), NOW)
    if backwards:
        reason = f"apnic: the {backwards} goes backwards: serial {new[1]}, to {new[0]}"
        reason += f", after serial {accepted[1]}, to {accepted[0]}"
        assert verdict == Verdict(Gate.BACKWARDS, reason)
    else:
        assert verdict is None
    assert judge_order(source(*new), None, NOW) is None, "there is nothing before the first"


IN_TWO_DAYS = int((NOW + timedelta(days=2)).timestamp())


@pytest.mark.parametrize("accepted", [None, source(date(2018, 10, 13), 1)])
@pytest.mark.parametrize(
    ("end_date", "serial", "future"),
    [
        (date(2018, 10, 22), None, False),
        (date(2018, 10, 23), None, True),
        (date(2018, 10, 22), 20181013, False),
        (date(2018, 10, 23), 20181013, True),
        (TODAY, 20181022, False),
        (TODAY, 20181023, True),
        (TODAY, IN_TWO_DAYS, False),
        (TODAY, IN_TWO_DAYS + 1, True),
        (TODAY, IN_TWO_DAYS * 1000, False),
        (TODAY, IN_TWO_DAYS * 1000 + 999, False),  # of a second's parts nothing depends
        (TODAY, (IN_TWO_DAYS + 1) * 1000, True),
        # no time in any of the three forms
        (TODAY, 20181399, False),
        (TODAY, 99999999, False),
        (TODAY, 999999999, False),
        (TODAY, 99999999999, False),
        (TODAY, 10**17, False),
        (TODAY, 9999999999, True),
        (TODAY, 9999999999999, True),
        (date.max, None, True),
    ],
)
def test_a_file_may_be_two_days_ahead_and_no_moment_more(
    end_date: date,
    serial: int | None,
    future: bool,  # noqa: FBT001
    accepted: Source | None,
) -> None:
    verdict = judge_order(source(end_date, serial), accepted, NOW)
    reason = f"apnic: the file is from the future: serial {serial}, to {end_date}; now it is 2018-10-20 in UTC"
    assert verdict == (Verdict(Gate.FUTURE, reason) if future else None)


@pytest.mark.parametrize(("seconds", "future"), [(-1, True), (0, False), (1, False)])
def test_the_moment_at_which_a_day_is_no_longer_too_far_ahead(seconds: int, future: bool) -> None:  # noqa: FBT001
    now = datetime(2018, 10, 20, tzinfo=UTC) + timedelta(seconds=seconds)
    for ahead in (source(date(2018, 10, 22), None), source(date(2018, 10, 19), 20181022)):
        assert (judge_order(ahead, None, now) is not None) is future


def test_a_file_that_goes_backwards_is_told_so_even_if_it_is_from_the_future() -> None:
    verdict = judge_order(source(date(2018, 11, 1), 1), source(TODAY, 2), NOW)
    assert verdict is not None
    assert verdict.gate is Gate.BACKWARDS


days = st.dates(date(2018, 10, 1), date(2018, 11, 10))
stamps = st.integers(int(datetime(2018, 10, 18, tzinfo=UTC).timestamp()), IN_TWO_DAYS + 100_000)
serials = (
    st.none()
    | days.map(lambda day: int(f"{day:%Y%m%d}"))
    | stamps
    | st.tuples(stamps, st.integers(0, 999)).map(lambda pair: pair[0] * 1000 + pair[1])
    | st.integers(0, 10**18)
)


@given(days, serials, st.none() | st.tuples(days, serials))
def test_order_is_judged_as_the_rules_say(
    end_date: date, serial: int | None, before: tuple[date, int | None] | None
) -> None:
    verdict = judge_order(source(end_date, serial), None if before is None else source(*before), NOW)
    limit = NOW + timedelta(days=2)
    times = [datetime.combine(end_date, datetime.min.time(), UTC)]
    text = "" if serial is None else str(serial)
    if len(text) == 8 and "19" <= text[:2] <= "20":
        with suppress(ValueError):
            times.append(datetime(int(text[:4]), int(text[4:6]), int(text[6:]), tzinfo=UTC))
    elif len(text) == 8:
        return  # years that no file has
    elif len(text) in (10, 13):
        times.append(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(text[:10])))
    wanted = None
    if (
        before is not None
        and serial is not None
        and before[1] is not None
        and (end_date < before[0] or (serial < before[1] and len(text) == len(str(before[1]))))
    ):
        wanted = Gate.BACKWARDS
    elif any(time > limit for time in times):
        wanted = Gate.FUTURE
    assert (verdict.gate if verdict else None) is wanted


# A set that is defined anew

DEFINED = Definition(name="EAST", recipe=RECIPE)
FEWER = Definition(name="EAST", recipe=replace(RECIPE, exclude=("cloud",)))
THOUSAND = {IPV4: [(1000, 1999)], IPV6: [(1000, 1999)]}


def redefined(family: Family, new: tuple[int, int], after: Definition = FEWER) -> list[str]:
    """Judge a set whose addresses of one family are these, after a thousand others or the same."""
    ranges = {each: [new] if each is family else THOUSAND[each] for each in Family}
    verdicts = judge_definition(
        DEFINED, THOUSAND, after, candidate(ranges[IPV4], ranges[IPV6], recipe=after.recipe), LIMITS
    )
    assert all(verdict.gate is Gate.SET_CHANGED for verdict in verdicts)
    return [verdict.reason for verdict in verdicts]


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    ("new", "shares"),
    [
        ((1000, 1999), []),
        ((1100, 1999), []),
        ((1101, 1999), ["10.1% of the addresses would go, allowed is 10.0%"]),
        ((1000, 2249), []),
        ((1000, 2250), ["25.1% of the addresses would come, allowed is 25.0%"]),
        ((1100, 2249), []),
        # as many as before, and others: it is not the numbers that count
        (
            (5000, 5999),
            [
                "100.0% of the addresses would go, allowed is 10.0%",
                "100.0% of the addresses would come, allowed is 25.0%",
            ],
        ),
    ],
)
def test_addresses_may_come_and_go_as_far_as_their_limits_when_a_set_is_defined_anew(
    family: Family, new: tuple[int, int], shares: Sequence[str]
) -> None:
    said = "; ".join(["the set changes: exclude -office", *(f"IPv{family.value}: {share}" for share in shares)])
    assert redefined(family, new) == ([said] if shares else [])


@pytest.mark.parametrize(
    "after",
    [
        Definition(name="WEST", recipe=RECIPE),
        Definition(name="EAST", recipe=replace(RECIPE, countries=("JP",))),
        Definition(name="EAST", recipe=replace(RECIPE, countries=())),
    ],
)
def test_another_name_or_country_is_another_set_though_no_address_moves(after: Definition) -> None:
    assert len(redefined(IPV4, (1000, 1999), after)) == 1


def test_what_a_definition_spells_out_itself_may_come_and_go() -> None:
    spelled = replace(RECIPE, include=(*RECIPE.include, "0.0.16.0/20", "special-purpose"))
    ranges = merge([(1000, 1999), (4096, 8191)])
    assert (
        judge_definition(
            DEFINED,
            THOUSAND,
            Definition(name="EAST", recipe=spelled),
            candidate(ranges, [(1000, 1999)], recipe=spelled),
            LIMITS,
        )
        == []
    )
    installed = {IPV4: ranges, IPV6: [(1000, 1999)]}
    back = candidate([(1000, 1999)], [(1000, 1999)])
    assert judge_definition(Definition(name="EAST", recipe=spelled), installed, DEFINED, back, LIMITS) == []


def test_a_family_that_had_nothing_may_come_with_a_new_definition() -> None:
    after = candidate([(1000, 1999)], [(0, 10**9)], recipe=FEWER.recipe)
    assert judge_definition(DEFINED, {IPV4: [(1000, 1999)]}, FEWER, after, LIMITS) == []
