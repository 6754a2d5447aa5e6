"""Combining delegations, groups and prefixes into the set."""

from __future__ import annotations

from datetime import date
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.compile import Selection, combine, recipe
from fwfeed.config import Config
from fwfeed.config.schema import SetConfig, SourcesConfig
from fwfeed.delegation import Delegation, Delegations
from fwfeed.feeds import special_purpose
from fwfeed.model import Part, Recipe, Snapshot
from fwfeed.prefixes import Family, count, cover, format_prefix


def delegation(country: str, cidr: str) -> Delegation:
    network = ip_network(cidr)
    return Delegation(
        int(network.network_address), int(network.broadcast_address), country, "apnic", "allocated", "20110411"
    )


def snapshot(*delegations: tuple[str, str]) -> Snapshot:
    made = [delegation(country, cidr) for country, cidr in delegations]
    return Snapshot(
        registry="apnic",
        serial=20181013,
        end_date=date(2018, 10, 12),
        records=len(made),
        ipv4=Delegations.of(
            Family.IPV4,
            "apnic",
            [one for one, (_country, cidr) in zip(made, delegations, strict=True) if ":" not in cidr],
        ),
        ipv6=Delegations.of(
            Family.IPV6, "apnic", [one for one, (_country, cidr) in zip(made, delegations, strict=True) if ":" in cidr]
        ),
    )


def selection(*delegations: tuple[str, str], countries: tuple[str, ...] = ("JP",)) -> Selection:
    chosen = Selection(countries)
    chosen.add(snapshot(*delegations))
    return chosen


def wanted(*countries: str, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> Recipe:
    return Recipe(registries=("apnic",), countries=countries, include=include, exclude=exclude)


def combined(
    chosen: Selection, made_of: Recipe, family: Family = Family.IPV4
) -> tuple[list[str], list[tuple[str, int, int]]]:
    prefixes, parts = combine(chosen, made_of, family)
    assert isinstance(prefixes, tuple)
    assert all(part.family is family for part in parts)
    texts = [format_prefix(prefix, family) for prefix in prefixes]
    return texts, [(part.origin, part.prefixes, part.addresses) for part in parts]


def test_only_the_wanted_countries_are_taken_and_counted() -> None:
    chosen = Selection(("JP", "KR"))
    taken = chosen.add(
        snapshot(
            ("JP", "192.0.2.0/25"),
            ("US", "198.51.100.0/24"),
            ("KR", "203.0.113.0/24"),
            ("", "192.0.2.128/26"),
            ("JP", "2001:db8::/32"),
        )
    )
    assert taken == 3
    assert combined(chosen, wanted("JP", "KR"))[0] == ["192.0.2.0/25", "203.0.113.0/24"]
    assert combined(chosen, wanted("JP", "KR"), Family.IPV6)[0] == ["2001:db8::/32"]


def test_two_snapshots_of_one_country_are_one_part() -> None:
    chosen = selection(("JP", "192.0.2.0/25"))
    assert chosen.add(snapshot(("JP", "192.0.2.128/25"), ("JP", "192.0.2.0/26"))) == 2
    assert combined(chosen, wanted("JP")) == (["192.0.2.0/24"], [("JP", 1, 256)])


def test_two_selections_share_nothing() -> None:
    selection(("JP", "192.0.2.0/24"))
    assert combined(Selection(("JP",)), wanted("JP"))[0] == []


def test_countries_that_touch_become_one_prefix_but_stay_two_parts() -> None:
    chosen = selection(("KR", "192.0.2.0/25"), ("JP", "192.0.2.128/25"), countries=("JP", "KR"))
    assert combined(chosen, wanted("JP", "KR")) == (["192.0.2.0/24"], [("JP", 1, 128), ("KR", 1, 128)])


def test_a_country_without_records_is_a_part_of_nothing() -> None:
    """A country can lack IPv6 records altogether; the part shows it, and it is no error."""
    assert combined(selection(("JP", "192.0.2.0/24")), wanted("JP"), Family.IPV6) == ([], [("JP", 0, 0)])


def test_an_included_prefix_joins_the_set() -> None:
    made_of = wanted("JP", include=("192.0.2.128/25", "198.51.100.1/32"))
    assert combined(selection(("JP", "192.0.2.0/25")), made_of) == (
        ["192.0.2.0/24", "198.51.100.1/32"],
        [("JP", 1, 128), ("192.0.2.128/25", 1, 128), ("198.51.100.1/32", 1, 1)],
    )


def test_a_part_counts_all_it_gave_even_what_the_set_already_had() -> None:
    made_of = wanted("JP", include=("192.0.2.0/26",))
    assert combined(selection(("JP", "192.0.2.0/24")), made_of) == (
        ["192.0.2.0/24"],
        [("JP", 1, 256), ("192.0.2.0/26", 1, 64)],
    )


def test_an_excluded_prefix_is_cut_out() -> None:
    made_of = wanted("JP", exclude=("192.0.2.64/26",))
    assert combined(selection(("JP", "192.0.2.0/24")), made_of) == (
        ["192.0.2.0/26", "192.0.2.128/25"],
        [("JP", 1, 256), ("exclude 192.0.2.64/26", 1, 64)],
    )


def test_exclude_wins_over_include() -> None:
    both = ("198.51.100.0/24",)
    made_of = wanted("JP", include=both, exclude=both)
    assert combined(selection(("JP", "192.0.2.0/24")), made_of) == (
        ["192.0.2.0/24"],
        [("JP", 1, 256), ("198.51.100.0/24", 1, 256), ("exclude 198.51.100.0/24", 1, 256)],
    )


def test_an_exclude_counts_only_what_it_took() -> None:
    made_of = wanted("JP", exclude=("192.0.0.0/16", "192.0.2.0/25", "203.0.113.0/24"))
    assert combined(selection(("JP", "192.0.2.0/24")), made_of) == (
        [],
        [("JP", 1, 256), ("exclude 192.0.0.0/16", 1, 256)],
    )


def test_two_excludes_that_overlap_share_what_they_took() -> None:
    made_of = wanted("JP", exclude=("192.0.2.0/25", "192.0.2.0/24"))
    assert combined(selection(("JP", "192.0.2.0/24")), made_of)[1][1:] == [
        ("exclude 192.0.2.0/25", 1, 128),
        ("exclude 192.0.2.0/24", 1, 128),
    ]


@pytest.mark.parametrize(
    ("family", "own", "other"), [(Family.IPV4, "192.0.2.0/24", "2001:db8::/32"), (Family.IPV6, "2001:db8::/32", "::/0")]
)
def test_prefixes_of_the_other_family_are_no_part_of_this_one(family: Family, own: str, other: str) -> None:
    foreign = other if family is Family.IPV4 else "0.0.0.0/0"
    chosen = selection(("JP", "192.0.2.0/24"), ("JP", "2001:db8::/32"))
    alone = combined(chosen, wanted("JP"), family)
    assert combined(chosen, wanted("JP", include=(foreign,), exclude=(foreign,)), family) == alone
    assert alone[0] == [own]


@pytest.mark.parametrize("family", Family)
def test_the_whole_space_can_be_included_and_excluded(family: Family) -> None:
    chosen = selection(("JP", "192.0.2.0/24"), ("JP", "2001:db8::/32"))
    whole = "0.0.0.0/0" if family is Family.IPV4 else "::/0"
    assert combined(chosen, wanted("JP", include=(whole,)), family)[0] == [whole]
    assert combined(chosen, wanted("JP", exclude=(whole,)), family)[0] == []


@pytest.mark.parametrize("family", Family)
def test_the_special_purpose_group_is_a_part_by_its_name(family: Family) -> None:
    prefixes, parts = combine(Selection(("JP",)), wanted("JP", include=("special-purpose",)), family)
    ranges = special_purpose(family)
    assert list(prefixes) == cover(ranges, family)
    assert parts[1] == Part(
        origin="special-purpose", family=family, prefixes=len(cover(ranges, family)), addresses=count(ranges)
    )


def test_what_lies_next_to_a_special_purpose_block_merges_with_it() -> None:
    chosen = selection(("JP", "11.0.0.0/8"), ("JP", "192.0.3.0/24"))
    texts, parts = combined(chosen, wanted("JP", include=("special-purpose",)))
    assert "10.0.0.0/7" in texts
    assert "192.0.2.0/23" in texts
    assert not {"10.0.0.0/8", "11.0.0.0/8", "192.0.2.0/24", "192.0.3.0/24"} & set(texts)
    assert parts[0] == ("JP", 2, 2**24 + 256)


def test_the_special_purpose_group_can_be_excluded() -> None:
    chosen = selection(("JP", "10.0.0.0/7"))
    assert combined(chosen, wanted("JP", exclude=("special-purpose",))) == (
        ["11.0.0.0/8"],
        [("JP", 1, 2**25), ("exclude special-purpose", 1, 2**24)],
    )


def test_combining_twice_gives_the_same_and_leaves_the_selection_alone() -> None:
    chosen = selection(("JP", "192.0.2.0/24"), ("JP", "192.0.2.0/25"))
    made_of = wanted("JP", include=("special-purpose",), exclude=("192.0.2.0/26",))
    assert combine(chosen, made_of, Family.IPV4) == combine(chosen, made_of, Family.IPV4)


def test_a_recipe_says_what_the_configuration_says() -> None:
    config = Config(
        set=SetConfig(countries=("KR", "JP"), include=("192.0.2.0/24",), exclude=("198.51.100.0/24",)),
        sources=SourcesConfig(registries=("ripencc", "apnic")),
    )
    assert recipe(config) == Recipe(
        registries=("apnic", "ripencc"),
        countries=("KR", "JP"),
        include=("192.0.2.0/24",),
        exclude=("198.51.100.0/24",),
    )


# All inside one /24 or one /120, so that a Python set of addresses is the oracle.
lengths = st.integers(0, 8)


@st.composite
def blocks(draw: st.DrawFn, family: Family) -> str:
    size = draw(lengths)
    start = draw(st.integers(0, 255)) >> size << size
    if family is Family.IPV4:
        return str(IPv4Network((0xC0000200 + start, 32 - size)))
    return str(IPv6Network(((0x20010DB8 << 96) + start, 128 - size)))


def addresses(cidrs: list[str]) -> set[int]:
    return {
        address
        for network in map(ip_network, cidrs)
        for address in range(int(network.network_address), int(network.broadcast_address) + 1)
    }


@given(st.sampled_from(Family), st.data())
def test_the_set_is_countries_and_includes_without_excludes(family: Family, data: st.DataObject) -> None:
    jp, kr, include, exclude = (data.draw(st.lists(blocks(family), max_size=5)) for _ in range(4))
    chosen = selection(*[("JP", cidr) for cidr in jp], *[("KR", cidr) for cidr in kr], countries=("JP", "KR"))
    texts, parts = combined(chosen, wanted("JP", "KR", include=tuple(include), exclude=tuple(exclude)), family)
    assert addresses(texts) == addresses([*jp, *kr, *include]) - addresses(exclude)
    given_by = [len(addresses(jp)), len(addresses(kr)), *(len(addresses([cidr])) for cidr in include)]
    assert [part[2] for part in parts[: len(given_by)]] == given_by
    taken = sum(part[2] for part in parts[len(given_by) :])
    assert taken == len(addresses([*jp, *kr, *include]) & addresses(exclude))
