"""The special-purpose group against what netaddr and ipaddress know of IANA's registries."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import netaddr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.feeds import Purpose, purpose, special_purpose
from fwfeed.prefixes import Family, count, find, format_address, merge, parse_address

# Blocks and the addresses around them, whole: (block, is it in the group). From IANA's registries of 2025.
BLOCKS = [
    ("0.0.0.0/8", True),
    ("10.0.0.0/8", True),
    ("100.64.0.0/10", True),
    ("127.0.0.0/8", True),
    ("169.254.0.0/16", True),
    ("172.16.0.0/12", True),
    ("192.0.0.0/29", True),
    ("192.0.0.8/32", True),
    ("192.0.0.9/32", False),
    ("192.0.0.10/32", False),
    ("192.0.0.11/32", True),
    ("192.0.0.170/31", True),
    ("192.0.2.0/24", True),
    ("192.31.196.0/24", False),
    ("192.52.193.0/24", False),
    ("192.88.99.0/24", False),
    ("192.168.0.0/16", True),
    ("192.175.48.0/24", False),
    ("198.18.0.0/15", True),
    ("198.51.100.0/24", True),
    ("203.0.113.0/24", True),
    ("224.0.0.0/4", True),
    ("240.0.0.0/4", True),
    ("255.255.255.255/32", True),
    ("::/128", True),
    ("::1/128", True),
    ("::ffff:0:0/96", True),
    ("64:ff9b::/96", False),
    ("64:ff9b:1::/48", True),
    ("100::/64", True),
    ("100:0:0:1::/64", True),
    ("2001::/32", False),
    ("2001:1::1/128", False),
    ("2001:1::2/128", False),
    ("2001:1::3/128", False),
    ("2001:1::4/128", True),
    ("2001:2::/48", True),
    ("2001:3::/32", False),
    ("2001:4:111::/48", True),
    ("2001:4:112::/48", False),
    ("2001:4:113::/48", True),
    ("2001:10::/28", True),
    ("2001:20::/28", False),
    ("2001:30::/28", False),
    ("2001:40::/28", True),
    ("2001:db8::/32", True),
    ("2002::/16", False),
    ("2620:4f:8000::/48", False),
    ("3fff::/20", True),
    ("5f00::/16", True),
    ("fc00::/7", True),
    ("fe80::/10", True),
    ("ff00::/8", True),
    ("ff02::1/128", True),
]

# Where an oracle is older than the registry, or the group differs from it on purpose.
UNKNOWN_TO_THE_ORACLES = [
    ("100:0:0:1::/64", "RFC 9780, of 2025"),
    ("2001::/32", "Teredo is N/A in the registry: it carries traffic abroad"),
    ("2001:1::3/128", "RFC 9665, of 2025"),
    ("2002::/16", "6to4 is N/A in the registry: it carries traffic abroad"),
    ("3fff::/20", "RFC 9637, of 2024"),
    ("5f00::/16", "RFC 9602, of 2024"),
]


def holds(text: str) -> bool:
    family = Family.IPV6 if ":" in text else Family.IPV4
    return find(special_purpose(family), parse_address(text, family)) is not None


def oracle(text: str) -> bool:
    """Say whether IANA calls an address not globally reachable, or it is multicast, by netaddr."""
    address = netaddr.IPAddress(text)
    return not address.is_global() or address.is_multicast()


def is_known(text: str) -> bool:
    return not any(ip_address(text) in ip_network(block) for block, _reason in UNKNOWN_TO_THE_ORACLES)


@pytest.mark.parametrize(("block", "inside"), BLOCKS)
def test_a_block_of_ianas_registries_is_in_or_out_as_a_whole(block: str, inside: bool) -> None:  # noqa: FBT001
    network = ip_network(block)
    assert holds(str(network.network_address)) is inside
    assert holds(str(network.broadcast_address)) is inside
    ranges = special_purpose(Family(network.version))
    within = [
        (first, last)
        for first, last in ranges
        if first <= int(network.broadcast_address) and last >= int(network.network_address)
    ]
    covered = [(max(first, int(network[0])), min(last, int(network[-1]))) for first, last in within]
    assert count(covered) == (network.num_addresses if inside else 0)


@pytest.mark.parametrize(
    "address",
    [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.0.1.255",
        "192.0.3.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.99.255",
        "198.51.101.0",
        "203.0.112.255",
        "203.0.114.0",
        "223.255.255.255",
        "::2",
        "::fffe:ffff:ffff",
        "::1:0:0:0",
        "64:ff9b::ffff:ffff",
        "64:ff9b:0:ffff:ffff:ffff:ffff:ffff",
        "64:ff9b:2::",
        "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "100:0:0:2::",
        "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:200::",
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::",
        "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff:1000::",
        "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "5f01::",
        "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe00::",
        "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fec0::",
        "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    ],
)
def test_the_address_just_outside_a_block_is_not_in_the_group(address: str) -> None:
    assert not holds(address)


@pytest.mark.parametrize("family", Family)
def test_the_group_is_a_merged_list_of_ranges_of_the_family(family: Family) -> None:
    ranges = special_purpose(family)
    assert ranges == merge(ranges)
    assert ranges[-1][1] == family.last
    assert 0 < count(ranges) < 2**family.bits


@pytest.mark.parametrize("family", Family)
def test_netaddr_agrees_at_both_sides_of_every_boundary(family: Family) -> None:
    """Its own lists of blocks are the boundaries, and the group's ends: neither can have one the other lacks."""
    ends = {end for first, last in special_purpose(family) for end in (first - 1, first, last, last + 1)}
    for block, _inside in BLOCKS:
        network = ip_network(block)
        if network.version == family.value:
            first, last = int(network.network_address), int(network.broadcast_address)
            ends |= {first - 1, first, last, last + 1}
    texts = [format_address(end, family) for end in sorted(ends) if 0 <= end <= family.last]
    compared = [text for text in texts if is_known(text)]
    assert len(compared) > 40
    assert [text for text in compared if holds(text) != oracle(text)] == []


@given(st.sampled_from(Family), st.data())
def test_netaddr_agrees_everywhere(family: Family, data: st.DataObject) -> None:
    # A random prefix of a block's first bits, or the whole space would hardly ever be left for the blocks.
    block = ip_network(
        data.draw(st.sampled_from([block for block, _inside in BLOCKS if ip_network(block).version == family.value]))
    )
    flipped = data.draw(st.integers(0, family.bits))
    number = int(block.network_address) ^ data.draw(st.integers(0, (1 << flipped) - 1))
    text = format_address(number, family)
    if is_known(text):
        assert holds(text) is oracle(text)


@given(st.integers(0, Family.IPV4.last))
def test_what_ipaddress_calls_private_or_multicast_is_in_the_group(number: int) -> None:
    address = ip_address(number)
    if str(address) not in {"192.0.0.9", "192.0.0.10"} and (address.is_private or address.is_multicast):
        assert holds(str(address))


@pytest.mark.parametrize(
    "address",
    [
        *(
            "64:ff9b::",
            "64:ff9b::c000:201",
            "192.88.99.0",
            "192.88.99.1",
            "192.88.99.255",
            "2002::",
            "2002:c000:201::1",
        ),
        *("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "192.0.0.9", "192.0.0.10"),
    ],
)
def test_what_can_carry_traffic_abroad_stays_out(address: str) -> None:
    assert not holds(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.251"),
        *("239.255.255.250", "255.255.255.255", "0.0.0.0", "::1", "::", "fe80::1", "fd00::1", "ff02::fb"),
    ],
)
def test_what_never_leaves_the_site_is_in(address: str) -> None:
    assert holds(address)


def called(text: str) -> Purpose | None:
    family = Family.IPV6 if ":" in text else Family.IPV4
    return purpose(parse_address(text, family), family)


@pytest.mark.parametrize(
    ("addresses", "name"),
    [
        ("0.0.0.0 0.255.255.255", Purpose.THIS_NETWORK),
        ("10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255", Purpose.PRIVATE),
        ("100.64.0.0 100.127.255.255", Purpose.SHARED),
        ("127.0.0.1 127.255.255.255 ::1", Purpose.LOOPBACK),
        ("169.254.0.0 169.254.255.255 fe80:: febf:ffff::", Purpose.LINK_LOCAL),
        ("192.0.0.0 192.0.0.255 2001:4:111:: 2001:1::4", Purpose.PROTOCOLS),
        ("192.0.2.0 198.51.100.255 203.0.113.1 2001:db8:: 3fff:fff::", Purpose.DOCUMENTATION),
        ("198.18.0.0 198.19.255.255 2001:2::1", Purpose.BENCHMARKING),
        ("224.0.0.0 239.255.255.255 ff00:: ff02::1", Purpose.MULTICAST),
        ("240.0.0.0 255.255.255.254", Purpose.RESERVED),
        ("255.255.255.255", Purpose.BROADCAST),
        ("::", Purpose.UNSPECIFIED),
        ("::ffff:10.0.0.1", Purpose.IPV4_MAPPED),
        ("64:ff9b::8.8.8.8 64:ff9b:1::", Purpose.TRANSLATION),
        ("100::1", Purpose.DISCARD),
        ("100:0:0:1::1", Purpose.DUMMY),
        ("5f00::1", Purpose.SEGMENT_ROUTING),
        ("fc00:: fdff:ffff::", Purpose.UNIQUE_LOCAL),
        ("fec0::1", Purpose.SITE_LOCAL),
        ("192.0.0.9 192.0.0.10 2001:1::1 2001:1::2 2001:1::3", Purpose.ANYCAST),
        ("2001::1", Purpose.TEREDO),
        ("192.88.99.1 2002::1", Purpose.SIX_TO_FOUR),
        ("192.52.193.1 2001:3::1", Purpose.AMT),
        ("192.31.196.1 192.175.48.1 2001:4:112::1 2620:4f:8000::1", Purpose.AS112),
        ("2001:10::1 2001:20::1", Purpose.ORCHID),
        ("2001:30::1", Purpose.DRONES),
        ("1.1.1.1 9.255.255.255 11.0.0.0 100.128.0.0 172.32.0.0 223.255.255.255 2001:200::1 2a00::1 2001:db9::", None),
    ],
)
def test_each_block_has_its_name(addresses: str, name: Purpose | None) -> None:
    assert {text: called(text) for text in addresses.split()} == dict.fromkeys(addresses.split(), name)


@given(st.sampled_from(list(Family)), st.data())
def test_all_that_is_never_foreign_has_a_name(family: Family, data: st.DataObject) -> None:
    first, last = data.draw(st.sampled_from(special_purpose(family)))
    assert purpose(data.draw(st.integers(first, last)), family) is not None


@pytest.mark.parametrize(("block", "_inside"), BLOCKS)
def test_every_block_of_ianas_registries_has_a_name(block: str, _inside: bool) -> None:  # noqa: FBT001
    assert called(str(ip_network(block)[0])) is not None
