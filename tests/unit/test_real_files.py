"""The five real files of 2018-10-13, against four programs and libraries that have nothing in common with fwfeed."""

from __future__ import annotations

import hashlib
import lzma
import subprocess
import sys
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Network,
    collapse_addresses,
    summarize_address_range,
)
from pathlib import Path

import pytest

from fwfeed.compile import Selection, combine
from fwfeed.countries import CODES
from fwfeed.delegated import parse
from fwfeed.delegation import Snapshot
from fwfeed.errors import ParseError
from fwfeed.model import Part, Recipe
from fwfeed.prefixes import Family, Prefix, format_prefix
from tests import needs
from tests.skipping import require

DATA = Path(__file__).parents[1] / "data" / "rir-2018-10-13"
NAME = "delegated-{}-extended-latest"
REGISTRIES = ("afrinic", "apnic", "arin", "lacnic", "ripencc")
WANTED = [("JP",), ("FR",), ("US",), ("JP", "KR")]


@pytest.fixture(scope="module")
def raw() -> dict[str, bytes]:
    return {name: lzma.decompress((DATA / f"{NAME.format(name)}.xz").read_bytes()) for name in REGISTRIES}


@pytest.fixture(scope="module")
def snapshots(raw: dict[str, bytes]) -> dict[str, Snapshot]:
    return {name: parse([text], file=NAME.format(name), registry=name) for name, text in raw.items()}


@pytest.fixture(scope="module")
def lines(raw: dict[str, bytes]) -> list[list[str]]:
    """Return every line that is about addresses, split at its bars: all that the oracles start from."""
    whole = b"".join(raw.values()).decode().splitlines()
    return [line.split("|") for line in whole if "|ipv4|" in line or "|ipv6|" in line]


def compiled(
    snapshots: dict[str, Snapshot], countries: tuple[str, ...], family: Family
) -> tuple[tuple[Prefix, ...], list[Part], int]:
    selection = Selection(Recipe(registries=REGISTRIES, countries=countries, feeds=(), include=(), exclude=()))
    taken = sum(selection.add(snapshot) for snapshot in snapshots.values())
    return *combine(selection, family), taken


def texts(snapshots: dict[str, Snapshot], countries: tuple[str, ...], family: Family) -> list[str]:
    return [format_prefix(prefix, family) for prefix in compiled(snapshots, countries, family)[0]]


def extracted(lines: Iterable[list[str]], countries: tuple[str, ...], kind: str) -> list[list[str]]:
    return [
        fields
        for fields in lines
        if fields[1] in countries and fields[2] == kind and fields[6] in {"allocated", "assigned"}
    ]


def ipv4_ends(lines: Iterable[list[str]], countries: tuple[str, ...]) -> list[tuple[IPv4Address, IPv4Address]]:
    records = extracted(lines, countries, "ipv4")
    return [(IPv4Address(fields[3]), IPv4Address(fields[3]) + int(fields[4]) - 1) for fields in records]


def test_the_files_are_the_ones_that_were_published(raw: dict[str, bytes]) -> None:
    sums = {name: digest for digest, name in map(str.split, (DATA / "SHA256SUMS").read_text().splitlines())}
    assert {NAME.format(name): hashlib.sha256(text).hexdigest() for name, text in raw.items()} == sums
    for name, text in raw.items():
        published = (DATA / f"{NAME.format(name)}.md5").read_text()
        assert hashlib.md5(text).hexdigest() in published


def test_the_five_files_hold_512_252_records(snapshots: dict[str, Snapshot]) -> None:
    assert sum(snapshot.records for snapshot in snapshots.values()) == 512_252


def test_every_allocated_or_assigned_line_is_a_delegation_and_no_other(
    snapshots: dict[str, Snapshot], lines: list[list[str]]
) -> None:
    delegated = [fields for fields in lines if len(fields) > 6 and fields[6] in {"allocated", "assigned"}]
    for family, kind in ((Family.IPV4, "ipv4"), (Family.IPV6, "ipv6")):
        expected = [(fields[0], fields[1], fields[6], fields[5]) for fields in delegated if fields[2] == kind]
        found = [
            (delegation.registry, delegation.country, delegation.status, delegation.date)
            for snapshot in snapshots.values()
            for delegation in snapshot.delegations(family)
        ]
        assert found == expected


def test_the_headers_are_read(raw: dict[str, bytes], snapshots: dict[str, Snapshot]) -> None:
    for name, snapshot in snapshots.items():
        header = next(line for line in raw[name].decode().splitlines() if line and not line.startswith("#")).split("|")
        assert (snapshot.registry, str(snapshot.serial), str(snapshot.records)) == tuple(header[1:4])
        assert snapshot.end_date.strftime("%Y%m%d") == header[5]


def test_japan_is_2795_and_455_prefixes_from_4205_and_565_records(
    snapshots: dict[str, Snapshot], lines: list[list[str]]
) -> None:
    prefixes4, parts4, taken = compiled(snapshots, ("JP",), Family.IPV4)
    prefixes6, parts6, _taken = compiled(snapshots, ("JP",), Family.IPV6)
    assert parts4 == [
        Part(source="apnic", term="JP", excluded=False, family=Family.IPV4, prefixes=2783, addresses=203_951_104),
        Part(source="arin", term="JP", excluded=False, family=Family.IPV4, prefixes=12, addresses=120_576),
    ]
    assert sum(part.addresses for part in parts4) == 204_071_680
    assert (len(prefixes4), len(prefixes6)) == (2795, 455)
    assert [(part.source, part.term, part.prefixes) for part in parts6] == [("apnic", "JP", 455)]
    assert (len(extracted(lines, ("JP",), "ipv4")), len(extracted(lines, ("JP",), "ipv6"))) == (4205, 565)
    assert taken == 4205 + 565


@pytest.mark.parametrize("countries", WANTED, ids="+".join)
def test_ipv4_is_what_ipaddress_collapses_the_lines_to(
    countries: tuple[str, ...], snapshots: dict[str, Snapshot], lines: list[list[str]]
) -> None:
    networks = [part for ends in ipv4_ends(lines, countries) for part in summarize_address_range(*ends)]
    assert texts(snapshots, countries, Family.IPV4) == [str(network) for network in collapse_addresses(networks)]


@pytest.mark.parametrize("countries", WANTED, ids="+".join)
def test_ipv6_is_what_ipaddress_collapses_the_lines_to(
    countries: tuple[str, ...], snapshots: dict[str, Snapshot], lines: list[list[str]]
) -> None:
    networks = [IPv6Network(f"{fields[3]}/{fields[4]}") for fields in extracted(lines, countries, "ipv6")]
    assert texts(snapshots, countries, Family.IPV6) == [str(network) for network in collapse_addresses(networks)]


@pytest.mark.parametrize("countries", WANTED, ids="+".join)
def test_ipv4_is_to_the_byte_what_iprange_prints(
    countries: tuple[str, ...], snapshots: dict[str, Snapshot], lines: list[list[str]]
) -> None:
    require(needs.program("iprange", hint="tests/setup lab, as root"))
    ends = "".join(f"{first}-{last}\n" for first, last in ipv4_ends(lines, countries))
    printed = subprocess.run(["iprange"], input=ends.encode(), stdout=subprocess.PIPE, check=True).stdout
    # The one difference of form: iprange leaves the /32 off a single address.
    single = b"".join(
        line if b"/" in line else line.replace(b"\n", b"/32\n") for line in printed.splitlines(keepends=True)
    )
    assert "".join(f"{text}\n" for text in texts(snapshots, countries, Family.IPV4)).encode() == single


@pytest.mark.parametrize("countries", WANTED, ids="+".join)
def test_ipv6_is_to_the_byte_what_aggregate6_prints(
    countries: tuple[str, ...], snapshots: dict[str, Snapshot], lines: list[list[str]]
) -> None:
    aggregate6 = Path(sys.executable).parent / "aggregate6"
    require(needs.program(str(aggregate6)))
    records = "".join(f"{fields[3]}/{fields[4]}\n" for fields in extracted(lines, countries, "ipv6"))
    printed = subprocess.run([aggregate6, "-6"], input=records.encode(), stdout=subprocess.PIPE, check=True).stdout
    assert "".join(f"{text}\n" for text in texts(snapshots, countries, Family.IPV6)).encode() == printed


def test_the_french_768_addresses_are_a_24_and_a_23_and_not_the_23_before_them(
    snapshots: dict[str, Snapshot], lines: list[list[str]]
) -> None:
    (record,) = [fields for fields in lines if fields[3] == "91.216.83.0"]
    assert (record[1], record[4]) == ("FR", "768")
    holds = [IPv4Network(text) for text in texts(snapshots, ("FR",), Family.IPV4)]
    for address, french in (("91.216.82.255", False), ("91.216.83.0", True), ("91.216.85.255", True)):
        assert any(IPv4Address(address) in network for network in holds) is french, address


def test_every_country_of_the_files_is_known_or_none(raw: dict[str, bytes]) -> None:
    split = [line.split("|") for text in raw.values() for line in text.decode().splitlines()]
    records = [fields for fields in split if len(fields) > 6 and fields[2] in {"asn", "ipv4", "ipv6"}]
    published = {fields[1] for fields in records}
    assert len(records) == 512_252
    assert published - CODES <= {"ZZ", ""}
    assert {"JP", "EU", "ZZ", ""} <= published


def test_every_registry_file_cut_in_half_is_refused(raw: dict[str, bytes]) -> None:
    for name, text in raw.items():
        half = text[: len(text) // 2]
        for cut in (half, half[: half.rindex(b"\n") + 1]):
            with pytest.raises(ParseError):
                parse([cut], file=NAME.format(name), registry=name)
