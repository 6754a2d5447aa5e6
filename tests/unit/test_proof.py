"""What files intend, and what nft says the kernel holds: read apart, and to be compared."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwfeed.config import Config, Outbound, OutboundConfig
from fwfeed.errors import FwfeedError
from fwfeed.firewalld import kernel_rules, kernel_set, parse_nft_set
from fwfeed.model import IntendedSet
from fwfeed.prefixes import Family, Range, Ranges, cover, format_address, format_prefix, merge
from fwfeed.proof import installed_ranges, intended_sets
from fwfeed.render import render
from tests.unit.builders import candidate, templates


def number(text: str) -> int:
    return int(ip_address(text))


def span(first: str, last: str) -> Range:
    return number(first), number(last)


def ipset(*entries: str, family: str | None = "inet") -> bytes:
    """Write an ipset file as the shipped template does; without `family` as firewalld writes one without options."""
    option = "" if family is None else f'\n  <option name="family" value="{family}"/>'
    lines = "".join(f"\n  <entry>{entry}</entry>" for entry in entries)
    head = '<?xml version="1.0" encoding="utf-8"?>\n<ipset type="hash:net">\n  <short>JP</short>'
    return f'{head}{option}\n  <option name="maxelem" value="65536"/>{lines}\n</ipset>\n'.encode()


def intended(*entries: str, family: str | None = "inet") -> Ranges:
    (found,) = intended_sets({"ipsets/JP.xml": ipset(*entries, family=family)})
    return found.ranges


def test_what_is_rendered_is_read_back_as_what_was_meant() -> None:
    config = Config()
    rendered = render(candidate(config), config, templates())
    assert tuple(intended_sets(rendered.files)) == rendered.sets
    assert [each.ranges for each in rendered.sets] == [
        [span("192.0.2.0", "192.0.2.255"), span("198.51.100.0", "198.51.100.127")],
        [
            span("2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff"),
            span("2001:db8:3::", "2001:db8:3:7fff:ffff:ffff:ffff:ffff"),
        ],
    ]


def test_each_set_has_its_name_and_family_and_other_files_are_none() -> None:
    content = {
        "policies/fwfeed-outbound.xml": b"not looked at",
        "ipsets/JP6.xml": ipset("2001:db8:1::/48", family="inet6"),
        "ipsets/JP.xml": ipset("198.51.100.0/24"),
        "ipsets/Gone.xml": None,
        "zones/east.xml": b"not looked at",
        "zones/gone.xml": None,
    }
    assert intended_sets(content) == [
        IntendedSet(
            name="JP6", family=Family.IPV6, ranges=[span("2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff")]
        ),
        IntendedSet(name="JP", family=Family.IPV4, ranges=[span("198.51.100.0", "198.51.100.255")]),
    ]
    assert intended_sets({}) == []


def test_the_countrys_set_comes_before_what_a_block_lets_pass_and_is_alone_in_what_is_installed() -> None:
    config = Config(outbound=OutboundConfig(action=Outbound.REJECT))
    rendered = render(candidate(config), config, templates())
    content = dict(sorted(rendered.files.items()))
    assert [each.name for each in intended_sets(content)] == ["JP", "JP6", "JP-pass", "JP6-pass"]
    assert installed_ranges(content) == {each.family: each.ranges for each in rendered.sets[:2]}


@pytest.mark.parametrize(
    ("entries", "family", "ranges"),
    [
        ((), "inet", []),
        (("192.0.2.0/24",), "inet", [("192.0.2.0", "192.0.2.255")]),
        (("192.0.2.0/24",), None, [("192.0.2.0", "192.0.2.255")]),
        (("192.0.2.7/32",), "inet", [("192.0.2.7", "192.0.2.7")]),
        (("192.0.2.7",), "inet", [("192.0.2.7", "192.0.2.7")]),
        ((" 192.0.2.7\n ",), "inet", [("192.0.2.7", "192.0.2.7")]),
        (("192.0.2.3-192.0.2.9",), "inet", [("192.0.2.3", "192.0.2.9")]),
        (("0.0.0.0/0",), "inet", [("0.0.0.0", "255.255.255.255")]),
        (("192.0.2.0/25", "192.0.2.128/25"), "inet", [("192.0.2.0", "192.0.2.255")]),
        (("192.0.2.128/25", "192.0.2.0-192.0.2.127"), "inet", [("192.0.2.0", "192.0.2.255")]),
        (("192.0.2.0/24", "192.0.2.64/26", "192.0.2.0/24"), "inet", [("192.0.2.0", "192.0.2.255")]),
        (("198.51.100.0/24", "192.0.2.1"), "inet", [("192.0.2.1", "192.0.2.1"), ("198.51.100.0", "198.51.100.255")]),
        (("2001:db8::/127",), "inet6", [("2001:db8::", "2001:db8::1")]),
        (("2001:db8::7",), "inet6", [("2001:db8::7", "2001:db8::7")]),
        (("2001:DB8:0::7-2001:db8::9", "2001:db8::a"), "inet6", [("2001:db8::7", "2001:db8::a")]),
        (("::/0",), "inet6", [("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")]),
    ],
)
def test_entries_are_what_the_kernel_makes_of_them(
    entries: tuple[str, ...], family: str | None, ranges: list[tuple[str, str]]
) -> None:
    assert intended(*entries, family=family) == [span(*ends) for ends in ranges]


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "JP",
        "192.0.2.0/33",
        "192.0.2.1/24",
        "192.0.2.0/24/24",
        "192.0.02.1",
        "192.0.2.256",
        "192.0.2.1-",
        "-192.0.2.1",
        "192.0.2.1-192.0.2.3-192.0.2.5",
        "192.0.2.0/25-192.0.2.128/25",
        "192.0.2.1,tcp:22",
        "00:00:5e:00:53:01",
        "2001:db8::1/64",
        "2001:db8::/129",
    ],
)
def test_an_entry_that_is_none_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError):
        intended("192.0.2.0/24", entry)


@pytest.mark.parametrize("raw", [b"", b"not XML", b"<ipset>", ipset("192.0.2.0/24")[:-4]])
def test_a_file_that_is_no_xml_is_an_error_of_the_same_kind(raw: bytes) -> None:
    """`differences` says it raises ValueError for a file of a set that is none."""
    with pytest.raises(ValueError):
        intended_sets({"ipsets/JP.xml": raw})


def drawn_ranges(family: Family) -> st.SearchStrategy[list[Range]]:
    ends = st.integers(0, family.last)
    return st.lists(st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair))), max_size=4)


@given(st.sampled_from(Family).flatmap(lambda family: st.tuples(st.just(family), drawn_ranges(family))))
@settings(deadline=None)
def test_prefixes_and_ranges_say_the_same_to_files_and_to_nft(drawn: tuple[Family, list[Range]]) -> None:
    family, pairs = drawn
    ranges = merge(pairs)
    inet = "inet" if family is Family.IPV4 else "inet6"
    prefixes = cover(ranges, family)
    texts = [[format_address(first, family), format_address(last, family)] for first, last in ranges]
    assert intended(*(format_prefix(prefix, family) for prefix in prefixes), family=inet) == ranges
    assert intended(*("-".join(pair) for pair in texts), family=inet) == ranges
    assert parse_nft_set(nft_set([{"range": pair} for pair in texts], f"ipv{family.value}_addr"), family) == ranges
    elements = [{"prefix": {"addr": format_address(p.first, family), "len": p.length}} for p in prefixes]
    assert parse_nft_set(nft_set(elements, f"ipv{family.value}_addr"), family) == ranges


def test_what_nft_says_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nft = tmp_path / "nft"
    nft.write_text("#!/bin/sh\nprintf 'internal: Error: not permitted\\n\\nnetlink: Error: failed\\n' >&2\nexit 1\n")
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    questions: list[Callable[[], object]] = [lambda: kernel_set("JP", Family.IPV4), kernel_rules]
    for asked in questions:
        with pytest.raises(FwfeedError) as caught:
            asked()
        assert caught.value.message.endswith(": internal: Error: not permitted; netlink: Error: failed")


def nft_set(elements: list[Any] | None, kind: str | list[str] = "ipv4_addr") -> str:
    """Write what `nft --json list set inet firewalld JP` prints (nftables 1.0)."""
    body: dict[str, Any] = {
        "family": "inet",
        "name": "JP",
        "table": "firewalld",
        "type": kind,
        "handle": 120,
        "flags": ["interval"],
    }
    if elements is not None:
        body["elem"] = elements
    version = {"version": "1.0.9", "release_name": "Old Doc Yak #3", "json_schema_version": 1}
    return json.dumps({"nftables": [{"metainfo": version}, {"set": body}]})


NFT_PRINTS = """{"nftables": [{"metainfo": {"version": "1.0.9", "release_name": "Old Doc Yak #3",
"json_schema_version": 1}}, {"set": {"family": "inet", "name": "JP", "table": "firewalld", "type": "ipv4_addr",
"handle": 120, "flags": ["interval"], "elem": [{"prefix": {"addr": "192.0.2.0", "len": 25}}, "192.0.2.128",
{"range": ["198.51.100.3", "198.51.100.9"]}, {"elem": {"val": "203.0.113.1", "counter": {"packets": 0, "bytes": 0}}},
{"elem": {"val": {"prefix": {"addr": "203.0.113.2", "len": 31}}, "comment": "touches the one before"}},
{"elem": {"val": {"range": ["203.0.113.8", "203.0.113.9"]}, "timeout": 60}}]}}]}
"""


def test_addresses_prefixes_and_ranges_of_the_kernel_are_read_with_and_without_what_hangs_on_them() -> None:
    assert parse_nft_set(NFT_PRINTS, Family.IPV4) == [
        span("192.0.2.0", "192.0.2.128"),
        span("198.51.100.3", "198.51.100.9"),
        span("203.0.113.1", "203.0.113.3"),
        span("203.0.113.8", "203.0.113.9"),
    ]


def test_ipv6_elements_are_read() -> None:
    elements = [
        {"prefix": {"addr": "2001:db8:1::", "len": 48}},
        {"range": ["2001:db8:3::1", "2001:db8:3::9"]},
        "2001:db8:3::a",
    ]
    assert parse_nft_set(nft_set(elements, "ipv6_addr"), Family.IPV6) == [
        span("2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff"),
        span("2001:db8:3::1", "2001:db8:3::a"),
    ]


@pytest.mark.parametrize("elements", [None, []], ids=["no key", "an empty list"])
def test_a_set_without_elements_is_empty(elements: list[Any] | None) -> None:
    for family in Family:
        assert parse_nft_set(nft_set(elements, f"ipv{family.value}_addr"), family) == []


@pytest.mark.parametrize("kind", ["ipv6_addr", "ether_addr", ["ipv4_addr", "inet_service"]])
def test_an_empty_set_of_another_kind_is_an_error_too(kind: str | list[str]) -> None:
    with pytest.raises(ValueError, match="a set of "):
        parse_nft_set(nft_set([], kind), Family.IPV4)


def test_the_whole_of_a_family_is_read() -> None:
    assert parse_nft_set(nft_set([{"prefix": {"addr": "0.0.0.0", "len": 0}}]), Family.IPV4) == [(0, 2**32 - 1)]
    assert parse_nft_set(nft_set([{"prefix": {"addr": "::", "len": 0}}], "ipv6_addr"), Family.IPV6) == [(0, 2**128 - 1)]


@pytest.mark.parametrize(
    "element",
    [
        {"concat": ["192.0.2.1", "tcp", 22]},
        {"concat": [{"prefix": {"addr": "192.0.2.0", "len": 24}}, 22]},
        {"elem": {"val": {"concat": ["192.0.2.1", 22]}, "counter": {"packets": 0, "bytes": 0}}},
        "00:00:5e:00:53:01",
        "eth0",
        "",
        22,
        None,
        {"range": [22, 80]},
        {"prefix": {"addr": "192.0.2.0", "len": 33}},
        {"prefix": {"addr": "192.0.2.0"}},
        ["192.0.2.1", "accept"],
    ],
    ids=json.dumps,
)
def test_a_set_of_anything_but_addresses_is_an_error(element: object) -> None:
    for elements in ([element], ["192.0.2.1", element]):
        with pytest.raises((ValueError, KeyError, TypeError)):
            parse_nft_set(nft_set(elements), Family.IPV4)


@pytest.mark.parametrize(
    ("element", "family"),
    [
        ("2001:db8::1", Family.IPV4),
        ("192.0.2.1", Family.IPV6),
        ({"prefix": {"addr": "2001:db8::", "len": 32}}, Family.IPV4),
        ({"prefix": {"addr": "192.0.2.0", "len": 24}}, Family.IPV6),
        ({"range": ["192.0.2.1", "192.0.2.9"]}, Family.IPV6),
    ],
)
def test_a_set_of_the_other_family_is_an_error(element: object, family: Family) -> None:
    with pytest.raises(ValueError):
        parse_nft_set(nft_set([element]), family)


@pytest.mark.parametrize(
    "text", ["", "nftables", "{}", '{"nftables": []}', '{"nftables": [{"metainfo": {}}]}', '{"nftables": 5}', "[]"]
)
def test_an_answer_without_one_set_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        parse_nft_set(text, Family.IPV4)
