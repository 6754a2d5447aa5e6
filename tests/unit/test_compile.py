"""Combining delegations, listed ranges, groups and prefixes into the set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed import compile as compiling
from fwfeed.compile import PREFIX_CAP, Selection, combine, configured, recipe
from fwfeed.config import Config
from fwfeed.config.schema import SetConfig, SourcesConfig
from fwfeed.delegation import Delegation, Delegations, Snapshot
from fwfeed.errors import ExitCode, FeedRefused
from fwfeed.feeds import Feed, Format, special_purpose
from fwfeed.model import Listed, Listing, Part, Recipe
from fwfeed.prefixes import Family, count, cover, format_prefix

JP = ("apnic", "JP")
KR = ("apnic", "KR")


def ends(cidr: str) -> tuple[int, int]:
    network = ip_network(cidr)
    return int(network.network_address), int(network.broadcast_address)


def snapshot(*delegations: tuple[str, str], registry: str = "apnic") -> Snapshot:
    made: dict[Family, list[Delegation]] = {family: [] for family in Family}
    for country, cidr in delegations:
        family = Family.IPV6 if ":" in cidr else Family.IPV4
        made[family].append(Delegation(*ends(cidr), country, registry, "allocated", "20110411"))
    return Snapshot(
        registry=registry,
        serial=20181013,
        end_date=date(2018, 10, 12),
        records=len(delegations),
        ipv4=Delegations.of(Family.IPV4, registry, made[Family.IPV4]),
        ipv6=Delegations.of(Family.IPV6, registry, made[Family.IPV6]),
    )


def feed(name: str) -> Feed:
    return Feed(name=name, url=f"https://example.net/{name}", format=Format.PLAIN)


def listing(*cidrs: str) -> Listing:
    entries = [Listed(*ends(cidr), line) for line, cidr in enumerate(cidrs, 1)]
    pairs = list(zip(cidrs, entries, strict=True))
    return Listing(
        serial=None,
        made=None,
        records=len(cidrs),
        discarded=0,
        ipv4=[entry for cidr, entry in pairs if ":" not in cidr],
        ipv6=[entry for cidr, entry in pairs if ":" in cidr],
    )


def wanted(
    *countries: str,
    registries: Sequence[str] = ("apnic",),
    feeds: Sequence[str] = (),
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
) -> Recipe:
    return Recipe(
        registries=tuple(registries),
        countries=countries,
        feeds=tuple(feed(name).description for name in feeds),
        include=include,
        exclude=exclude,
    )


def selection(made_of: Recipe, *delegations: tuple[str, str]) -> Selection:
    chosen = Selection(made_of)
    chosen.add(snapshot(*delegations))
    return chosen


def combined(
    chosen: Selection, family: Family = Family.IPV4
) -> tuple[list[str], list[tuple[tuple[str, str], int, int]]]:
    """Return the set, and of each part its origin, in brackets where it was excluded, prefixes and addresses."""
    prefixes, parts = combine(chosen, family)
    assert isinstance(prefixes, tuple)
    assert all(part.family is family for part in parts)
    texts = [format_prefix(prefix, family) for prefix in prefixes]
    return texts, [
        ((part.source, f"({part.term})" if part.excluded else part.term), part.prefixes, part.addresses)
        for part in parts
    ]


def test_only_the_wanted_countries_are_taken_and_counted() -> None:
    chosen = Selection(wanted("JP", "KR"))
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
    assert combined(chosen)[0] == ["192.0.2.0/25", "203.0.113.0/24"]
    assert combined(chosen, Family.IPV6)[0] == ["2001:db8::/32"]


def test_what_two_registries_delegate_to_one_country_are_two_parts_of_one_set() -> None:
    chosen = Selection(wanted("JP", registries=("apnic", "arin")))
    assert chosen.add(snapshot(("JP", "192.0.2.128/25"), ("JP", "192.0.2.0/26"), registry="arin")) == 2
    assert chosen.add(snapshot(("JP", "192.0.2.0/25"))) == 1
    assert combined(chosen) == (["192.0.2.0/24"], [(JP, 1, 128), (("arin", "JP"), 2, 192)])


def test_the_parts_stand_in_the_order_of_the_recipe_whichever_file_came_first() -> None:
    made_of = wanted(
        "KR", "JP", registries=("apnic", "arin"), feeds=("b", "a"), include=("b", "192.0.2.0/32", "a"), exclude=("a",)
    )
    files: list[Callable[[Selection], int]] = [
        lambda chosen: chosen.add(snapshot(("JP", "198.51.100.0/25"), ("KR", "198.51.100.128/25"))),
        lambda chosen: chosen.add(snapshot(("JP", "203.0.113.0/25"), ("KR", "203.0.113.128/25"), registry="arin")),
        lambda chosen: chosen.add_listing(feed("a"), listing("198.18.0.0/24")),
        lambda chosen: chosen.add_listing(feed("b"), listing("198.19.0.0/24")),
    ]
    results = []
    for order in (files, files[::-1], files[2:] + files[:2]):
        chosen = Selection(made_of)
        for add in order:
            add(chosen)
        results.append(combine(chosen, Family.IPV4))
    assert results[0] == results[1] == results[2]
    assert [(part.source, part.term, part.excluded) for part in results[0][1]] == [
        ("apnic", "KR", False),
        ("arin", "KR", False),
        ("apnic", "JP", False),
        ("arin", "JP", False),
        ("b", "b", False),
        ("", "192.0.2.0/32", False),
        ("a", "a", False),
        ("a", "a", True),
    ]


def test_two_selections_share_nothing() -> None:
    selection(wanted("JP"), ("JP", "192.0.2.0/24"))
    assert combined(Selection(wanted("JP")))[0] == []


def test_countries_that_touch_become_one_prefix_but_stay_two_parts() -> None:
    chosen = selection(wanted("JP", "KR"), ("KR", "192.0.2.0/25"), ("JP", "192.0.2.128/25"))
    assert combined(chosen) == (["192.0.2.0/24"], [(JP, 1, 128), (KR, 1, 128)])


def test_a_country_without_records_is_no_part() -> None:
    """A country can lack IPv6 records altogether, and most registries have none of it: that is no error."""
    assert combined(selection(wanted("JP"), ("JP", "192.0.2.0/24")), Family.IPV6) == ([], [])


def test_an_included_prefix_joins_the_set() -> None:
    made_of = wanted("JP", include=("192.0.2.128/25", "198.51.100.1/32"))
    assert combined(selection(made_of, ("JP", "192.0.2.0/25"))) == (
        ["192.0.2.0/24", "198.51.100.1/32"],
        [(JP, 1, 128), (("", "192.0.2.128/25"), 1, 128), (("", "198.51.100.1/32"), 1, 1)],
    )


def test_a_part_counts_all_it_gave_even_what_the_set_already_had() -> None:
    made_of = wanted("JP", include=("192.0.2.0/26",))
    assert combined(selection(made_of, ("JP", "192.0.2.0/24"))) == (
        ["192.0.2.0/24"],
        [(JP, 1, 256), (("", "192.0.2.0/26"), 1, 64)],
    )


def test_an_excluded_prefix_is_cut_out() -> None:
    made_of = wanted("JP", exclude=("192.0.2.64/26",))
    assert combined(selection(made_of, ("JP", "192.0.2.0/24"))) == (
        ["192.0.2.0/26", "192.0.2.128/25"],
        [(JP, 1, 256), (("", "(192.0.2.64/26)"), 1, 64)],
    )


def test_exclude_wins_over_include() -> None:
    both = ("198.51.100.0/24",)
    made_of = wanted("JP", include=both, exclude=both)
    assert combined(selection(made_of, ("JP", "192.0.2.0/24"))) == (
        ["192.0.2.0/24"],
        [(JP, 1, 256), (("", "198.51.100.0/24"), 1, 256), (("", "(198.51.100.0/24)"), 1, 256)],
    )


def test_an_exclude_counts_only_what_it_took() -> None:
    made_of = wanted("JP", exclude=("192.0.0.0/16", "192.0.2.0/25", "203.0.113.0/24"))
    assert combined(selection(made_of, ("JP", "192.0.2.0/24"))) == (
        [],
        [(JP, 1, 256), (("", "(192.0.0.0/16)"), 1, 256)],
    )


def test_two_excludes_that_overlap_share_what_they_took() -> None:
    made_of = wanted("JP", exclude=("192.0.2.0/25", "192.0.2.0/24"))
    assert combined(selection(made_of, ("JP", "192.0.2.0/24")))[1][1:] == [
        (("", "(192.0.2.0/25)"), 1, 128),
        (("", "(192.0.2.0/24)"), 1, 128),
    ]


def test_an_included_feed_joins_the_set_and_its_entries_are_counted() -> None:
    chosen = selection(wanted("JP", feeds=("office",), include=("office",)), ("JP", "192.0.2.0/25"))
    taken = chosen.add_listing(
        feed("office"), listing("192.0.2.128/25", "192.0.2.128/26", "198.51.100.7/32", "2001:db8::/48")
    )
    assert taken == 4
    assert combined(chosen) == (
        ["192.0.2.0/24", "198.51.100.7/32"],
        [(JP, 1, 128), (("office", "office"), 2, 129)],
    )
    assert combined(chosen, Family.IPV6) == (["2001:db8::/48"], [(("office", "office"), 1, 2**80)])


def test_an_excluded_feed_is_cut_out_and_counts_what_it_took() -> None:
    chosen = selection(wanted("JP", feeds=("cloud",), exclude=("cloud",)), ("JP", "192.0.2.0/24"))
    chosen.add_listing(feed("cloud"), listing("192.0.2.64/26", "203.0.113.0/24"))
    assert combined(chosen) == (
        ["192.0.2.0/26", "192.0.2.128/25"],
        [(JP, 1, 256), (("cloud", "(cloud)"), 1, 64)],
    )


def test_a_feed_that_is_included_and_excluded_is_out() -> None:
    chosen = selection(wanted("JP", feeds=("cloud",), include=("cloud",), exclude=("cloud",)), ("JP", "192.0.2.0/24"))
    chosen.add_listing(feed("cloud"), listing("198.51.100.0/24"))
    assert combined(chosen) == (
        ["192.0.2.0/24"],
        [(JP, 1, 256), (("cloud", "cloud"), 1, 256), (("cloud", "(cloud)"), 1, 256)],
    )


def test_a_feed_without_entries_is_no_part_and_takes_nothing_away() -> None:
    chosen = selection(wanted("JP", feeds=("cloud",), include=("cloud",), exclude=("cloud",)), ("JP", "192.0.2.0/24"))
    assert chosen.add_listing(feed("cloud"), listing()) == 0
    assert combined(chosen) == (["192.0.2.0/24"], [(JP, 1, 256)])


def test_a_feed_that_nobody_names_gives_nothing() -> None:
    chosen = selection(wanted("JP", feeds=("office", "cloud"), include=("office",)), ("JP", "192.0.2.0/24"))
    chosen.add_listing(feed("cloud"), listing("198.51.100.0/24"))
    assert combined(chosen) == (["192.0.2.0/24"], [(JP, 1, 256)])


def test_a_registry_and_a_feed_of_one_country_are_two_parts() -> None:
    # the address can come from both, and each has to answer for its own
    chosen = selection(wanted("JP", feeds=("isp",), include=("isp",)), ("JP", "192.0.2.0/24"))
    chosen.add_listing(feed("isp"), listing("192.0.2.0/24"))
    assert combined(chosen) == (["192.0.2.0/24"], [(JP, 1, 256), (("isp", "isp"), 1, 256)])


def test_what_a_configured_term_stands_for() -> None:
    assert configured("192.0.2.0/24", Family.IPV4) == [ends("192.0.2.0/24")]
    assert configured("192.0.2.0/24", Family.IPV6) == []
    assert configured("2001:db8::/32", Family.IPV6) == [ends("2001:db8::/32")]
    assert configured("2001:db8::/32", Family.IPV4) == []
    assert configured("special-purpose", Family.IPV6) == special_purpose(Family.IPV6)


@pytest.mark.parametrize(
    ("family", "own", "other"), [(Family.IPV4, "192.0.2.0/24", "2001:db8::/32"), (Family.IPV6, "2001:db8::/32", "::/0")]
)
def test_prefixes_of_the_other_family_are_no_part_of_this_one(family: Family, own: str, other: str) -> None:
    foreign = other if family is Family.IPV4 else "0.0.0.0/0"
    delegations = (("JP", "192.0.2.0/24"), ("JP", "2001:db8::/32"))
    alone = combined(selection(wanted("JP"), *delegations), family)
    both = wanted("JP", include=(foreign,), exclude=(foreign,))
    assert combined(selection(both, *delegations), family) == alone
    assert alone[0] == [own]


@pytest.mark.parametrize("family", Family)
def test_the_whole_space_can_be_included_and_excluded(family: Family) -> None:
    delegations = (("JP", "192.0.2.0/24"), ("JP", "2001:db8::/32"))
    whole = "0.0.0.0/0" if family is Family.IPV4 else "::/0"
    assert combined(selection(wanted("JP", include=(whole,)), *delegations), family)[0] == [whole]
    assert combined(selection(wanted("JP", exclude=(whole,)), *delegations), family)[0] == []


@pytest.mark.parametrize("family", Family)
def test_the_special_purpose_group_is_a_part_by_its_name(family: Family) -> None:
    prefixes, parts = combine(Selection(wanted("JP", include=("special-purpose",))), family)
    ranges = special_purpose(family)
    assert list(prefixes) == cover(ranges, family)
    assert parts == [
        Part(
            source="",
            term="special-purpose",
            excluded=False,
            family=family,
            prefixes=len(cover(ranges, family)),
            addresses=count(ranges),
        )
    ]


def test_what_lies_next_to_a_special_purpose_block_merges_with_it() -> None:
    made_of = wanted("JP", include=("special-purpose",))
    texts, parts = combined(selection(made_of, ("JP", "11.0.0.0/8"), ("JP", "192.0.3.0/24")))
    assert "10.0.0.0/7" in texts
    assert "192.0.2.0/23" in texts
    assert not {"10.0.0.0/8", "11.0.0.0/8", "192.0.2.0/24", "192.0.3.0/24"} & set(texts)
    assert parts[0] == (JP, 2, 2**24 + 256)


def test_the_special_purpose_group_can_be_excluded() -> None:
    made_of = wanted("JP", exclude=("special-purpose",))
    assert combined(selection(made_of, ("JP", "10.0.0.0/7"))) == (
        ["11.0.0.0/8"],
        [(JP, 1, 2**25), (("", "(special-purpose)"), 1, 2**24)],
    )


def test_combining_twice_gives_the_same_and_leaves_the_selection_alone() -> None:
    made_of = wanted("JP", feeds=("x",), include=("special-purpose", "x"), exclude=("192.0.2.0/26", "x"))
    chosen = selection(made_of, ("JP", "192.0.2.0/24"), ("JP", "192.0.2.0/25"))
    chosen.add_listing(feed("x"), listing("198.18.0.0/24", "198.18.0.0/25"))
    assert combine(chosen, Family.IPV4) == combine(chosen, Family.IPV4)


def test_a_recipe_says_what_the_configuration_says() -> None:
    cloud = Feed(name="cloud", url="https://example.net/", format=Format.AWS, regions=("a", "b"), services=("EC2",))
    config = Config(
        set=SetConfig(countries=("KR", "JP"), include=("192.0.2.0/24", "office"), exclude=("198.51.100.0/24",)),
        sources=SourcesConfig(registries=("ripencc", "apnic")),
        feeds=(feed("office"), cloud),
    )
    assert recipe(config) == Recipe(
        registries=("apnic", "ripencc"),
        countries=("KR", "JP"),
        feeds=("cloud aws regions=a,b services=EC2", "office plain"),
        include=("192.0.2.0/24", "office"),
        exclude=("198.51.100.0/24",),
    )


# The cap, made so small that a test reaches it.
CAP = 40


@pytest.fixture
def small_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "PREFIX_CAP", CAP)


def apart(family: Family, number: int, first: int = 0) -> list[str]:
    """Return so many single addresses that no two of them touch."""
    if family is Family.IPV4:
        return [str(IPv4Network(0xC6120000 + 2 * at)) for at in range(first, first + number)]
    return [str(IPv6Network((0x20010DB8 << 96) + 2 * at)) for at in range(first, first + number)]


def in_japan(cidrs: list[str]) -> list[tuple[str, str]]:
    return [("JP", cidr) for cidr in cidrs]


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(FeedRefused) as caught:
        call()
    assert caught.value.code is ExitCode.REFUSED
    assert "[set]" in caught.value.way_out
    return caught.value.message


def test_the_cap_is_far_above_every_real_set_and_below_what_a_host_can_hold() -> None:
    # all five registries' records of all countries were 243,000 in 2018; the largest country had 63,000 prefixes
    assert PREFIX_CAP == 100_000


@pytest.mark.usefixtures("small_cap")
@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("more", [1, CAP, CAP + 1, 5 * CAP])
def test_a_registrys_file_over_the_cap_is_refused_and_nothing_of_it_is_taken(family: Family, more: int) -> None:
    chosen = Selection(wanted("JP", "KR", registries=("apnic", "arin")))
    chosen.add(snapshot(("KR", "203.0.113.0/24"), ("KR", "2001:db8:2::/48"), registry="arin"))
    before = [combined(chosen, each) for each in Family]
    other = [("KR", "198.51.100.0/24"), ("KR", "2001:db8:3::/48")]
    hostile = snapshot(*other, *in_japan(apart(family, CAP + more)))
    message = refused(lambda: chosen.add(hostile))
    assert message == f"apnic: with it the set would have more than {CAP} IPv{family.value} prefixes"
    assert [combined(chosen, each) for each in Family] == before
    assert chosen.add(snapshot(*other)) == 2  # and the next location's file has its chance


@pytest.mark.usefixtures("small_cap")
def test_a_hostile_file_is_not_gathered_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    gathered = []
    whole = Delegations.ranges_in

    def watched(self: Delegations, countries: Sequence[str]) -> Iterator[tuple[str, tuple[int, int]]]:
        for each in whole(self, countries):
            gathered.append(each)
            yield each

    monkeypatch.setattr(Delegations, "ranges_in", watched)
    hostile = snapshot(*in_japan(apart(Family.IPV4, 20 * CAP)))
    refused(lambda: Selection(wanted("JP")).add(hostile))
    assert len(gathered) == 2 * CAP + 1


@pytest.mark.usefixtures("small_cap")
@pytest.mark.parametrize("family", Family)
def test_a_feed_over_the_cap_is_refused_and_nothing_of_it_is_taken(family: Family) -> None:
    chosen = selection(wanted("JP", feeds=("x",), include=("x",)), ("JP", "203.0.113.0/24"), ("JP", "2001:db8:2::/48"))
    before = [combined(chosen, each) for each in Family]
    hostile = listing("198.51.100.0/24", "2001:db8:3::/48", *apart(family, CAP))
    message = refused(lambda: chosen.add_listing(feed("x"), hostile))
    assert message == f"x: with it the set would have more than {CAP} IPv{family.value} prefixes"
    assert [combined(chosen, each) for each in Family] == before


@pytest.mark.usefixtures("small_cap")
@pytest.mark.parametrize("family", Family)
def test_exactly_the_cap_is_let_through(family: Family) -> None:
    chosen = Selection(wanted("JP", feeds=("x",), include=("x",)))
    assert chosen.add(snapshot(*in_japan(apart(family, CAP - 1)))) == CAP - 1
    assert chosen.add_listing(feed("x"), listing(*apart(family, 1, first=CAP))) == 1
    assert len(combined(chosen, family)[0]) == CAP


@pytest.mark.usefixtures("small_cap")
def test_the_cap_is_for_all_sources_together_and_names_the_one_that_goes_over() -> None:
    chosen = selection(wanted("JP", feeds=("x",), include=("x",)), *in_japan(apart(Family.IPV4, CAP)))
    assert refused(lambda: chosen.add_listing(feed("x"), listing("203.0.113.0/24"))).startswith("x: with it ")
    assert len(combined(chosen)[0]) == CAP


@pytest.mark.usefixtures("small_cap")
def test_each_family_has_its_own_cap() -> None:
    chosen = selection(wanted("JP"), *in_japan(apart(Family.IPV4, CAP)), *in_japan(apart(Family.IPV6, CAP)))
    assert [len(combined(chosen, family)[0]) for family in Family] == [CAP, CAP]


@pytest.mark.usefixtures("small_cap")
@pytest.mark.parametrize("number", [CAP, 2 * CAP, 2 * CAP + 1, 10 * CAP])
def test_records_that_merge_into_few_prefixes_may_be_many(number: int) -> None:
    touching = [str(IPv4Network(0xC6120000 + at)) for at in range(number)]
    chosen = Selection(wanted("JP"))
    assert chosen.add(snapshot(*in_japan(touching))) == number
    prefixes, (part,) = combine(chosen, Family.IPV4)
    assert (part.addresses, part.prefixes) == (number, len(prefixes))
    assert len(prefixes) == number.bit_count()


@pytest.mark.usefixtures("small_cap")
def test_one_range_that_takes_many_prefixes_counts_as_many() -> None:
    # 0.0.0.1-255.255.255.254 are 62 prefixes
    hostile = Listing(
        serial=None, made=None, records=1, discarded=0, ipv4=[Listed(1, Family.IPV4.last - 1, 1)], ipv6=[]
    )
    chosen = Selection(wanted("JP", feeds=("x",), include=("x",)))
    refused(lambda: chosen.add_listing(feed("x"), hostile))


@pytest.mark.usefixtures("small_cap")
def test_an_exclude_that_leaves_more_crumbs_than_the_cap_is_refused() -> None:
    holes = apart(Family.IPV4, CAP - 10, first=1)
    chosen = selection(wanted("JP", feeds=("x",), exclude=("x",)), ("JP", "198.18.0.0/15"))
    chosen.add_listing(feed("x"), listing(*holes))
    assert refused(lambda: combine(chosen, Family.IPV4)) == f"the set would have more than {CAP} IPv4 prefixes"
    fewer = selection(wanted("JP", feeds=("x",), exclude=("x",)), ("JP", "198.18.0.0/15"))
    fewer.add_listing(feed("x"), listing(*holes[: CAP // 2]))
    assert len(combined(fewer)[0]) <= CAP


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
    return {address for first, last in map(ends, cidrs) for address in range(first, last + 1)}


REGISTRIES, COUNTRIES, FEEDS = ("apnic", "ripencc"), ("JP", "KR", "US"), ("cloud", "office")


@given(st.sampled_from(Family), st.data())
def test_the_set_is_countries_and_includes_without_excludes(family: Family, data: st.DataObject) -> None:
    several = st.lists(blocks(family), max_size=4)
    delegated = {(registry, country): data.draw(several) for registry in REGISTRIES for country in COUNTRIES}
    listed = {name: data.draw(several) for name in FEEDS}
    countries = data.draw(st.lists(st.sampled_from(COUNTRIES), unique=True, max_size=3))
    terms = st.lists(blocks(family) | st.sampled_from(FEEDS), unique=True, max_size=4).map(tuple)
    include, exclude = data.draw(terms), data.draw(terms)
    chosen = Selection(wanted(*countries, registries=REGISTRIES, feeds=FEEDS, include=include, exclude=exclude))
    for registry in REGISTRIES:
        given_to = [(country, cidr) for country in COUNTRIES for cidr in delegated[registry, country]]
        taken = chosen.add(snapshot(*given_to, registry=registry))
        assert taken == sum(country in countries for country, _cidr in given_to)
    for name in FEEDS:
        assert chosen.add_listing(feed(name), listing(*listed[name])) == len(listed[name])

    def meant(term: str) -> set[int]:
        return addresses(listed.get(term, [term]))

    expected = [((r, c), addresses(delegated[r, c])) for c in countries for r in REGISTRIES]
    expected += [((term if term in FEEDS else "", term), meant(term)) for term in include]
    total: set[int] = set().union(*(given for _origin, given in expected))
    for term in exclude:
        expected.append(((term if term in FEEDS else "", f"({term})"), total & meant(term)))
        total -= meant(term)
    texts, parts = combined(chosen, family)
    assert addresses(texts) == total
    assert sum(ip_network(text).num_addresses for text in texts) == len(total), "no address is there twice"
    assert [(origin, size) for origin, _prefixes, size in parts] == [
        (origin, len(given)) for origin, given in expected if given
    ]
