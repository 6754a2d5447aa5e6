"""The range arithmetic against Python's own sets, ipaddress and netaddr."""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    summarize_address_range,
)
from itertools import pairwise
from typing import Literal

import netaddr
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fwfeed.prefixes import (
    Family,
    Prefix,
    Range,
    Ranges,
    count,
    cover,
    find,
    format_address,
    format_prefix,
    merge,
    parse_address,
    parse_ipv4,
    parse_ipv6,
    parse_prefix,
    spans,
    subtract,
)

Network = IPv4Network | IPv6Network

SMALL = 64  # small enough that a set of single addresses is the oracle, and that ranges often touch

small_ranges = st.lists(
    st.tuples(st.integers(0, SMALL), st.integers(0, SMALL)).map(lambda pair: (min(pair), max(pair))), max_size=12
)
families = st.sampled_from(Family)


def addresses_of(family: Family) -> st.SearchStrategy[int]:
    # Uniform integers nearly never meet a boundary, so half of them lie close to one of a random size.
    near = st.builds(
        lambda block, size, step: min(max((block << size) + step, 0), family.last),
        st.integers(0, 255),
        st.integers(0, family.bits - 8),
        st.integers(-2, 2),
    )
    edges = st.sampled_from([0, 1, family.last - 1, family.last])
    return st.one_of(st.integers(0, family.last), near, edges)


def ranges_of(family: Family) -> st.SearchStrategy[list[Range]]:
    pair = st.tuples(addresses_of(family), addresses_of(family))
    return st.lists(pair.map(lambda ends: (min(ends), max(ends))), max_size=8)


families_and_ranges = families.flatmap(lambda family: st.tuples(st.just(family), ranges_of(family)))
families_and_addresses = families.flatmap(lambda family: st.tuples(st.just(family), addresses_of(family)))


def members(ranges: list[Range]) -> set[int]:
    return {address for first, last in ranges for address in range(first, last + 1)}


def assert_merged(ranges: Ranges) -> None:
    assert all(first <= last for first, last in ranges)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(ranges))


def address(number: int, family: Family) -> IPv4Address | IPv6Address:
    return IPv4Address(number) if family is Family.IPV4 else IPv6Address(number)


def summarized(first: int, last: int, family: Family) -> list[Network]:
    if family is Family.IPV4:
        return list(summarize_address_range(IPv4Address(first), IPv4Address(last)))
    return list(summarize_address_range(IPv6Address(first), IPv6Address(last)))


def texts(prefixes: list[Prefix], family: Family) -> list[str]:
    return [f"{address(prefix.first, family)}/{prefix.length}" for prefix in prefixes]


@given(small_ranges)
def test_merge_holds_the_same_addresses_in_ranges_that_do_not_touch(ranges: list[Range]) -> None:
    merged = merge(ranges)
    assert_merged(merged)
    assert members(merged) == members(ranges)


@pytest.mark.parametrize(
    ("ranges", "merged"),
    [
        ([], []),
        ([(0, 0)], [(0, 0)]),
        ([(0, 0), (1, 1)], [(0, 1)]),
        ([(0, 0), (2, 2)], [(0, 0), (2, 2)]),
        ([(5, 9), (0, 5)], [(0, 9)]),
        ([(0, 9), (2, 3), (11, 11)], [(0, 9), (11, 11)]),
        ([(3, 4), (3, 4)], [(3, 4)]),
        ([(0, Family.IPV6.last), (Family.IPV6.last, Family.IPV6.last)], [(0, Family.IPV6.last)]),
    ],
)
def test_merge_joins_what_overlaps_or_touches(ranges: list[Range], merged: Ranges) -> None:
    assert merge(ranges) == merged


@given(families_and_ranges)
def test_merge_takes_any_order_and_changes_nothing_that_is_merged(case: tuple[Family, list[Range]]) -> None:
    _family, ranges = case
    merged = merge(ranges)
    assert merge(reversed(ranges)) == merged
    assert merge(merged) == merged


@given(small_ranges, small_ranges)
def test_subtract_is_the_difference_of_the_sets(ranges: list[Range], holes: list[Range]) -> None:
    left = subtract(merge(ranges), merge(holes))
    assert_merged(left)
    assert members(left) == members(ranges) - members(holes)


@given(families_and_ranges, st.data())
def test_what_is_subtracted_and_what_is_left_make_up_the_whole(
    case: tuple[Family, list[Range]], data: st.DataObject
) -> None:
    family, ranges = case
    holes = merge(data.draw(ranges_of(family)))
    whole = merge(ranges)
    left = subtract(whole, holes)
    taken = subtract(whole, left)
    assert merge([*left, *taken]) == whole
    assert count(left) + count(taken) == count(whole)
    assert subtract(taken, holes) == []


@pytest.mark.parametrize("family", Family)
def test_subtract_works_at_both_ends_of_the_address_space(family: Family) -> None:
    whole = [(0, family.last)]
    assert subtract(whole, [(0, 0), (family.last, family.last)]) == [(1, family.last - 1)]
    assert subtract(whole, whole) == []
    assert subtract(whole, []) == whole
    assert subtract([], whole) == []


def test_one_hole_can_cut_two_ranges() -> None:
    assert subtract([(0, 4), (6, 10)], [(3, 7)]) == [(0, 2), (8, 10)]


def test_subtract_leaves_its_arguments_alone() -> None:
    ranges, holes = [(0, 9), (20, 29)], [(5, 24)]
    subtract(ranges, holes)
    assert (ranges, holes) == ([(0, 9), (20, 29)], [(5, 24)])


@given(small_ranges)
def test_count_is_the_number_of_addresses(ranges: list[Range]) -> None:
    assert count(merge(ranges)) == len(members(ranges))


@pytest.mark.parametrize("family", Family)
def test_the_whole_space_counts_two_to_the_width_of_an_address(family: Family) -> None:
    assert count([(0, family.last)]) == 2**family.bits
    assert (family.bits, family.last) == {4: (32, 2**32 - 1), 6: (128, 2**128 - 1)}[family.value]


@given(small_ranges, st.integers(0, SMALL + 2))
def test_find_returns_the_range_that_holds_the_address(ranges: list[Range], wanted: int) -> None:
    merged = merge(ranges)
    holding = [(first, last) for first, last in merged if first <= wanted <= last]
    assert find(merged, wanted) == (holding[0] if holding else None)


@given(families_and_ranges)
def test_cover_is_what_collapse_addresses_makes(case: tuple[Family, list[Range]]) -> None:
    family, ranges = case
    naive = [network for first, last in ranges for network in summarized(first, last, family)]
    expected = [str(network) for network in collapse_addresses(naive)]  # type: ignore[type-var]
    assert texts(cover(merge(ranges), family), family) == expected


@given(families_and_ranges)
@settings(deadline=None)
def test_cover_is_what_netaddr_makes(case: tuple[Family, list[Range]]) -> None:
    family, ranges = case
    version: Literal[4, 6] = 4 if family is Family.IPV4 else 6
    expected = netaddr.cidr_merge(
        [netaddr.IPRange(netaddr.IPAddress(first, version), netaddr.IPAddress(last, version)) for first, last in ranges]
    )
    assert cover(merge(ranges), family) == [(network.first, network.prefixlen) for network in expected]


@given(small_ranges)
def test_no_two_prefixes_of_a_cover_could_be_one(ranges: list[Range]) -> None:
    """A minimal cover has no two halves of one block, none inside another, and exactly the addresses asked for."""
    prefixes = cover(merge(ranges), Family.IPV4)
    assert prefixes == sorted(prefixes)
    assert members(list(spans(prefixes, Family.IPV4))) == members(ranges)
    assert sum(2 ** (32 - prefix.length) for prefix in prefixes) == len(members(ranges))
    halves = {(prefix.first >> (32 - prefix.length), prefix.length) for prefix in prefixes}
    assert not any((block ^ 1, length) in halves for block, length in halves)


@pytest.mark.parametrize("family", Family)
def test_the_whole_space_is_one_prefix(family: Family) -> None:
    assert cover([(0, family.last)], family) == [(0, 0)]
    assert list(spans([Prefix(0, 0)], family)) == [(0, family.last)]


@pytest.mark.parametrize("family", Family)
def test_the_first_and_the_top_address_are_single_prefixes(family: Family) -> None:
    assert cover([(0, 0), (family.last, family.last)], family) == [(0, family.bits), (family.last, family.bits)]


@pytest.mark.parametrize("family", Family)
def test_the_worst_range_takes_two_prefixes_a_bit_less_two(family: Family) -> None:
    prefixes = cover([(1, family.last - 1)], family)
    assert len(prefixes) == 2 * family.bits - 2
    assert list(spans(prefixes, family))[-1][1] == family.last - 1


def test_nothing_has_no_prefixes() -> None:
    assert cover([], Family.IPV4) == []


def test_768_addresses_off_their_alignment_are_two_prefixes_and_none_before_them() -> None:
    start = parse_ipv4("91.216.83.0")
    prefixes = cover([(start, start + 767)], Family.IPV4)
    assert [format_prefix(prefix, Family.IPV4) for prefix in prefixes] == ["91.216.83.0/24", "91.216.84.0/23"]


@given(st.integers(0, Family.IPV4.last))
def test_ipv4_is_written_and_read_as_ipaddress_does(number: int) -> None:
    text = str(IPv4Address(number))
    assert format_address(number, Family.IPV4) == text
    assert parse_ipv4(text) == number
    assert parse_address(text, Family.IPV4) == number


MAPPED = 0xFFFF << 32


@given(addresses_of(Family.IPV6))
@example(MAPPED - 1)
@example(MAPPED + (1 << 32))
def test_ipv6_is_written_as_ipaddress_does_but_for_the_mapped_block(number: int) -> None:
    text = format_address(number, Family.IPV6)
    assert parse_ipv6(text) == number
    if number >> 32 != 0xFFFF:
        assert text == str(IPv6Address(number))


@given(st.integers(0, 2**32 - 1))
@example(0)
@example(0xFFFFFFFF)
@example(0x10000)
@example(0xC0000201)
def test_the_mapped_block_is_always_written_in_hex_groups(low: int) -> None:
    """Python 3.13 writes ::ffff:192.0.2.1 where 3.11 writes ::ffff:c000:201; candidates must not depend on it."""
    text = format_address(MAPPED + low, Family.IPV6)
    assert text == f"::ffff:{low >> 16:x}:{low & 0xFFFF:x}"
    assert int(IPv6Address(text)) == MAPPED + low
    assert format_prefix(Prefix(MAPPED + low, 128), Family.IPV6) == f"{text}/128"
    assert parse_prefix(f"{text}/128", Family.IPV6) == (MAPPED + low, 128)


@given(addresses_of(Family.IPV6))
def test_every_form_of_an_ipv6_address_is_read(number: int) -> None:
    whole = IPv6Address(number)
    groups = [f"{number >> shift & 0xFFFF:x}" for shift in range(112, -1, -16)]
    dotted = ":".join([*groups[:6], str(IPv4Address(number & 0xFFFFFFFF))])
    forms = [whole.exploded, whole.compressed, str(whole).upper(), ":".join(groups), dotted]
    gaps = [(start, end) for start in range(8) for end in range(start + 1, 9) if set(groups[start:end]) == {"0"}]
    forms += [":".join(groups[:start]) + "::" + ":".join(groups[end:]) for start, end in gaps]
    for form in forms:
        assert parse_ipv6(form) == number == int(IPv6Address(form)), form


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=7), st.sampled_from(["x", "X", "04x", "04X"]))
def test_a_network_written_with_a_trailing_gap_is_read(groups: list[int], style: str) -> None:
    form = ":".join(format(group, style) for group in groups) + "::"
    assert parse_ipv6(form) == int(IPv6Address(form))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "192.0.2",
        "192.0.2.",
        ".192.0.2.1",
        "192.0.2.1.1",
        "192.0..1",
        "192.0.2.256",
        "192.0.2.1000",
        "192.0.2.01",
        "192.0.2.00",
        "0300.0.2.1",
        "0xc0.0.2.1",
        "192.0.2.+1",
        "192.0.2.-1",
        "-192.0.2.1",
        "192.0.2.1_0",
        " 192.0.2.1",
        "192.0.2.1 ",
        "192.0.2. 1",
        "192.0.2.1\n",
        "192.0.2.1\0",
        "192,0,2,1",
        "192.0.2.1/32",
        "3221225985",
        "2001:db8::",
        "192.0.2.\u0661",  # Arabic-Indic one: int() reads it
        "192.0.2.\uff11",  # fullwidth one
        "192.0.2.\u00b2",  # superscript two: isdigit() says yes
        "192\u30020\u30022\u30021",  # ideographic full stops
    ],
)
def test_what_is_not_a_plain_dotted_quad_is_no_ipv4_address(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_ipv4(text)
    assert str(caught.value) == f"{text!r} is not an IPv4 address"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":::",
        "2001:db8",
        "2001:db8:",
        ":2001:db8::",
        "2001::db8::",
        "2001:db8:::",
        "12001:db8::",
        "2001:db8::g",
        "2001:db8::%eth0",
        "2001:db8::%",
        "2001:db8::/32",
        "2001:db8:: ",
        " 2001:db8::",
        "2001:db8::\n",
        "2001:_db8::",
        "2001:+db8::",
        "2001:-db8::",
        "0x2001:db8::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:",
        "1:2:3:4:5:6:7:8::",
        "1:2:3:4:5:6:7:8:9",
        "::192.0.2.256",
        "::192.0.2.01",
        "::192.0.2",
        "192.0.2.1",
        "2001:db8::\u0661",
        "\uff12001:db8::",
    ],
)
def test_what_rfc_4291_does_not_allow_is_no_ipv6_address(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_ipv6(text)
    assert str(caught.value) == f"{text!r} is not an IPv6 address"


@given(st.text(alphabet="0123456789abcfF.:/%+-_ \n\u0661", max_size=24))
def test_any_text_is_read_as_ipaddress_reads_it_or_refused_with_a_value_error(text: str) -> None:
    for family, oracle in ((Family.IPV4, IPv4Address), (Family.IPV6, IPv6Address)):
        try:
            expected = int(oracle(text)) if "%" not in text else None
        except ValueError:
            expected = None
        try:
            found = parse_address(text, family)
        except ValueError:
            found = None
        assert found == expected


@given(families_and_addresses, st.data())
def test_a_prefix_is_written_as_ipaddress_does_and_read_back(case: tuple[Family, int], data: st.DataObject) -> None:
    family, number = case
    length = data.draw(st.integers(0, family.bits))
    first = number >> (family.bits - length) << (family.bits - length)
    prefix = Prefix(first, length)
    text = format_prefix(prefix, family)
    assert parse_prefix(text, family) == prefix
    network = IPv4Network((first, length)) if family is Family.IPV4 else IPv6Network((first, length))
    if family is Family.IPV4 or first >> 32 != 0xFFFF:
        assert text == str(network)
    assert list(spans([prefix], family)) == [(int(network.network_address), int(network.broadcast_address))]


@given(families_and_addresses, st.data())
def test_a_prefix_with_host_bits_is_refused(case: tuple[Family, int], data: st.DataObject) -> None:
    family, number = case
    length = data.draw(st.integers(0, family.bits - 1))
    if number & ((1 << (family.bits - length)) - 1) == 0:
        number |= 1
    text = format_prefix(Prefix(number, length), family)
    with pytest.raises(ValueError) as caught:
        parse_prefix(text, family)
    assert str(caught.value) == f"{text!r} has bits set behind its length"


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("192.0.2.0", Family.IPV4),
        ("192.0.2.0/", Family.IPV4),
        ("192.0.2.0/33", Family.IPV4),
        ("192.0.2.0/-1", Family.IPV4),
        ("192.0.2.0/+24", Family.IPV4),
        ("192.0.2.0/024", Family.IPV4),
        ("192.0.2.0/2_4", Family.IPV4),
        ("192.0.2.0/ 24", Family.IPV4),
        ("192.0.2.0/24 ", Family.IPV4),
        ("192.0.2.0/24\n", Family.IPV4),
        ("192.0.2.0/24/24", Family.IPV4),
        ("192.0.2.0/255.255.255.0", Family.IPV4),
        ("192.0.2.0/\u0662\u0664", Family.IPV4),
        ("192.0.2.0/\u00b2", Family.IPV4),
        ("192.0.2.0/" + "9" * 5000, Family.IPV4),
        ("192.0.2/24", Family.IPV4),
        ("192.0.02.0/24", Family.IPV4),
        ("2001:db8::/32", Family.IPV4),
        ("/24", Family.IPV4),
        ("", Family.IPV4),
        ("2001:db8::/129", Family.IPV6),
        ("2001:db8::/-1", Family.IPV6),
        ("2001:db8::/032", Family.IPV6),
        ("2001:DB8::/32", Family.IPV6),
        ("2001:0db8::/32", Family.IPV6),
        ("2001:db8:0::/32", Family.IPV6),
        ("2001:db8:0:0:0:0:0:0/32", Family.IPV6),
        ("2001:db8::1:0:0:0/128", Family.IPV6),
        ("::ffff:192.0.2.0/120", Family.IPV6),
        ("::ffff:0.0.0.0/96", Family.IPV6),
        ("2001:db8::%1/32", Family.IPV6),
        ("192.0.2.0/24", Family.IPV6),
        ("", Family.IPV6),
    ],
)
def test_a_prefix_not_written_as_fwfeed_writes_it_is_refused(text: str, family: Family) -> None:
    with pytest.raises(ValueError):
        parse_prefix(text, family)


def test_a_single_address_keeps_its_length() -> None:
    assert format_prefix(parse_prefix("192.0.2.1/32", Family.IPV4), Family.IPV4) == "192.0.2.1/32"
    assert format_prefix(parse_prefix("2001:db8::1/128", Family.IPV6), Family.IPV6) == "2001:db8::1/128"
