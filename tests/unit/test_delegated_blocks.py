"""Reading a delegated file in blocks: where they are cut does not matter, and what they cost is bounded."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwfeed import delegated
from fwfeed.delegated import RECORD_CAP, find_lines, form, parse
from fwfeed.delegation import Snapshot
from fwfeed.errors import ParseError
from fwfeed.prefixes import Family
from tests.unit.builders import CHECKOUT
from tests.unit.test_delegated import FILE, GOOD, RECORDS, build, files, interesting, refusal


def outcome(blocks: list[bytes]) -> Snapshot | str:
    try:
        return parse(blocks, file=FILE, registry="apnic")
    except ParseError as error:
        return str(error)


def cut(raw: bytes, at: set[int]) -> list[bytes]:
    return [raw[low:high] for low, high in pairwise([0, *sorted(at), len(raw)])]


# Where the blocks are cut


@pytest.fixture
def line_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the cap to the longest line of the small files, so that even they are read in many pieces."""
    monkeypatch.setattr(form, "LINE_CAP", 120)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a file with nothing or a few bytes wrong, or a line of any length in it."""
    raw = draw(files())
    for _ in range(draw(st.integers(0, 2))):
        position = draw(st.integers(0, len(raw)))
        raw = raw[:position] + bytes([draw(interesting)]) + raw[position + draw(st.integers(0, 1)) :]
    position = draw(st.integers(0, len(raw)))
    return raw[:position] + b"#" * draw(st.sampled_from([0, 0, 0, 121, 300])) + raw[position:]


@given(damaged(), st.data())
@settings(deadline=None, max_examples=300)
def test_any_cutting_into_blocks_gives_what_one_block_gives(raw: bytes, data: st.DataObject) -> None:
    at = data.draw(st.sets(st.integers(0, len(raw)), max_size=8))
    assert outcome(cut(raw, at)) == outcome([raw])


@given(raw=damaged(), data=st.data())
@settings(deadline=None, max_examples=300)
def test_any_cutting_gives_the_same_where_a_file_is_read_in_many_pieces(raw: bytes, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(form, "LINE_CAP", 120)
        at = data.draw(st.sets(st.integers(0, len(raw)), max_size=8))
        assert outcome(cut(raw, at)) == outcome([raw])


@given(files())
@settings(deadline=None)
def test_a_file_read_in_many_pieces_gives_what_it_gives_in_one(raw: bytes) -> None:
    whole = outcome([raw])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(form, "LINE_CAP", 120)
        assert outcome([raw]) == whole


@pytest.mark.usefixtures("line_cap")
def test_the_line_at_fault_is_named_in_whatever_piece_it_is() -> None:
    records = [f"apnic|JP|ipv4|10.0.{number}.0|256||allocated" for number in range(200)]
    for number in (0, 1, 99, 198, 199):
        broken = [*records]
        broken[number] = "apnic|jp|ipv4|192.0.2.0|256||allocated"
        assert refusal(build(broken)).line == 6 + number
        broken[number] = "apnic|JP|ipv4|255.255.255.0|257||allocated"
        assert refusal(build(broken)).line == 6 + number
        broken[number] = "# caf\xe9"
        assert refusal(build(broken)).line == 6 + number
        broken[number] = "apnic|*|ipv4|*|7|summary"
        summaries = [
            f"apnic|*|{kind}|*|{records}|summary" for kind, records in (("asn", 0), ("ipv4", 199), ("ipv6", 0))
        ]
        assert refusal(build(broken, records_promised=199, summaries=summaries)).line == 6 + number


@pytest.mark.usefixtures("line_cap")
def test_the_header_may_stand_behind_many_pieces_of_comments() -> None:
    raw = build(comments=[f"# comment {number}" for number in range(100)])
    assert outcome([raw]) == outcome([GOOD])
    error = refusal(raw.replace(b"|ipv4|*|3|", b"|ipv4|*|4|"))
    assert error.line == 103


def test_every_single_byte_can_be_a_block_and_blocks_can_be_empty() -> None:
    assert outcome([bytes([byte]) for byte in GOOD]) == outcome([GOOD])
    assert outcome([b"", GOOD, b""]) == outcome([GOOD])
    assert outcome([]) == outcome([b""])


# What a file may have


def test_a_line_of_the_most_bytes_is_read_and_one_more_is_refused() -> None:
    for tail, line in (("", 8), ("\n", 8)):
        longest = RECORDS[2].ljust(form.LINE_CAP, "x")
        raw = build([*RECORDS[:2], longest], summaries=["apnic|*|asn|*|1|summary", "apnic|*|ipv4|*|2|summary"])
        raw = raw.removesuffix(b"\n") + tail.encode()
        snapshot = outcome([raw])
        assert isinstance(snapshot, Snapshot)
        assert snapshot.records == 3
        error = refusal(raw.replace(b"xx", b"xxx", 1))
        assert error.line == line - 1
        assert "the line is longer than 65,536 bytes: 'apnic|JP|ipv4|198.51.100.0|256|20110411|assigned" in str(error)


@pytest.mark.parametrize("before", [b"", GOOD, b"#\n" * 100_000])
def test_a_line_without_an_end_is_refused_before_the_rest_is_read(before: bytes) -> None:
    read = 0

    def blocks() -> Iterator[bytes]:
        nonlocal read
        yield before
        while True:
            read += 1
            assert read < 10
            yield b"x" * 20_000

    with pytest.raises(ParseError, match="longer than 65,536 bytes") as caught:
        parse(blocks(), file=FILE, registry="apnic")
    assert caught.value.line == before.count(b"\n") + 1


def test_the_first_record_past_the_cap_is_refused_and_nothing_after_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delegated, "RECORD_CAP", 7)
    assert isinstance(outcome([GOOD]), Snapshot)

    def blocks() -> Iterator[bytes]:
        yield GOOD + b"#\n\napnic|*|asn|*|1|summary\napnic|JP|asn|64500|1||allocated\n#\nsomething else\n"
        yield b"#" * form.LINE_CAP
        raise AssertionError

    with pytest.raises(ParseError, match="something else"):
        parse(blocks(), file=FILE, registry="apnic")
    error = refusal(GOOD + b"#\n\napnic|*|asn|*|1|summary\napnic|JP|asn|64500|1||allocated\n#\n" + RECORDS[1].encode())
    assert error.line == 16
    assert "the file has more than 7 records" in str(error)


def test_the_cap_counts_across_pieces() -> None:
    record = b"apnic|JP|asn|1|1||allocated\n"

    def blocks() -> Iterator[bytes]:
        yield b"2|apnic|1|600000||20260101|\n"
        for _ in range(610):
            yield record * 1000
        raise AssertionError

    with pytest.raises(ParseError, match="the file has more than 600,000 records") as caught:
        parse(blocks(), file=FILE, registry="apnic")
    assert caught.value.line == RECORD_CAP + 2


def test_the_first_wrong_summary_of_many_is_named() -> None:
    summaries = [
        *("apnic|*|asn|*|1|summary",) * 3,
        "apnic|*|ipv6|*|3|summary",
        *(f"apnic|*|ipv4|*|{number}|summary" for number in (3, 9, 8, 7)),
        "apnic|*|ipv6|*|1|summary",
    ]
    error = refusal(build(summaries=summaries))
    assert error.line == 8
    assert "the summary promises 9 ipv4 records, the file has 3" in str(error)


# What it costs

PEAK = """
import re, sys
from pathlib import Path
from fwfeed import delegated
from fwfeed.errors import ParseError

def blocks():
    with open(sys.argv[1], "rb") as file:
        while block := file.read(1 << 20):
            yield block

try:
    snapshot = delegated.parse(blocks(), file="f", registry="apnic")
    print(len(snapshot.ipv4) + len(snapshot.ipv6))
except ParseError as error:
    print(error)
print(re.search(r"VmHWM:\\s*([0-9]+) kB", Path("/proc/self/status").read_text())[1])
"""
"""Not ru_maxrss: a process begins with that of the one that started it."""


def peak(path: Path) -> tuple[str, float]:
    """Parse the file in a process of its own; return what it said, and the most MiB it had resident."""
    done = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    said, kibibytes = done.stdout.splitlines()
    return said, int(kibibytes) / 1024


def write_worst(path: Path, kind: str, *, overlapping: bool, country: str = "") -> None:
    """Write 600,000 records in no order and nothing in them twice, with opaque ids that make it 64 MiB.

    They are of all countries there can be, but for one country that is given.
    """
    numbers = list(range(RECORD_CAP))
    random.Random(1).shuffle(numbers)
    with path.open("w") as file:
        file.write(f"2|apnic|1|{RECORD_CAP}||20260101|\napnic|*|{kind}|*|{RECORD_CAP}|summary\n")
        for number in numbers:
            if kind == "ipv4":
                ends = f"{IPv4Address((1 << 31) + number * 3000)}|{number % 3000 + 1 + 3000 * overlapping}"
            else:
                length = 56 if overlapping and number == 0 else 128
                ends = f"{IPv6Address((0xFEDC << 112) + number * 0x100000001000300071)}|{length}"
            each = country or chr(65 + number % 26) + chr(65 + number // 26 % 26)
            line = f"apnic|{each}|{kind}|{ends}|{10_000_000 + number * 97}|{('allocated', 'assigned')[number % 2]}"
            file.write(f"{line}|".ljust(110, "x") + "\n")


@pytest.mark.parametrize(
    ("kind", "overlapping", "country", "expected"),
    [
        ("ipv4", False, "", str(RECORD_CAP)),
        ("ipv6", False, "", str(RECORD_CAP)),
        ("ipv6", True, "", "delegations to different countries overlap"),
        ("ipv4", True, "JP", "1"),
        ("ipv6", True, "JP", ""),
    ],
)
def test_the_largest_file_a_server_can_send_is_read_in_less_than_170_mib(
    kind: str, country: str, expected: str, tmp_path: Path, *, overlapping: bool
) -> None:
    path = tmp_path / "worst"
    write_worst(path, kind, overlapping=overlapping, country=country)
    assert path.stat().st_size > 63 << 20
    said, mebibytes = peak(path)
    assert expected in said
    assert mebibytes < 170


@pytest.mark.parametrize("line", [b"\n", b"#\n", b"apnic|*|asn|*|%d|summary\n", b"apnic||ipv6|::|0||reserved|\n"])
def test_a_file_full_of_lines_that_are_no_delegations_costs_no_more(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "worst"
    with path.open("wb") as file:
        file.write(b"2|apnic|1|7||20260101|\n")
        for number in range((16 << 20) // len(line)):
            file.write(line % number if b"%" in line else line)
    said, mebibytes = peak(path)
    assert "promises" in said or "no summary of them" in said
    assert mebibytes < 60


# Finding the lines of an address

LINE = re.compile(
    r"[a-z]+\|(?:[A-Z]{2})?\|(ipv[46])\|([^|]*)\|([0-9]{1,10})\|(?:[0-9]{8})?"
    r"\|(?:allocated|assigned|available|reserved)(?:\|[ -~]*)?"
)


def naive_lines(raw: bytes, family: Family, first: int, last: int) -> list[tuple[int, str]]:
    found = []
    for number, line in enumerate(raw.decode("ascii", "replace").split("\n"), 1):
        match = LINE.fullmatch(line)
        if not match or match[1] != f"ipv{family.value}":
            continue
        try:
            if family is Family.IPV4:
                low = int(IPv4Address(match[2]))
                high = low + int(match[3]) - 1
                if match[3].startswith("0"):
                    continue
            elif "%" in match[2] or str(int(match[3])) != match[3]:
                continue
            else:
                network = IPv6Network((match[2], int(match[3])), strict=False)
                low, high = int(network[0]), int(network[-1])
        except ValueError:
            continue
        if low <= last and high >= first:
            found.append((number, line))
    return found


@given(damaged(), st.data())
@settings(deadline=None, max_examples=300)
def test_lines_are_found_as_a_naive_reader_finds_them(raw: bytes, data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(Family))
    ends = st.integers(0, family.last)
    first, last = sorted(data.draw(st.tuples(ends, ends)))
    first = data.draw(st.sampled_from([first, last, 0]))
    at = data.draw(st.sets(st.integers(0, len(raw)), max_size=4))
    found = list(find_lines(cut(raw, at), family=family, first=first, last=last))
    assert found == naive_lines(raw, family, first, last)


@given(st.binary(max_size=300), st.sampled_from(Family))
def test_no_bytes_break_the_search(raw: bytes, family: Family) -> None:
    assert list(find_lines([raw], family=family, first=0, last=family.last)) == []


@pytest.mark.usefixtures("line_cap")
def test_lines_are_found_with_their_numbers_in_whatever_piece_they_are() -> None:
    def found(text: str) -> list[int]:
        family = Family.IPV6 if ":" in text else Family.IPV4
        address = int(IPv6Address(text) if ":" in text else IPv4Address(text))
        lines = list(find_lines([GOOD], family=family, first=address, last=address))
        assert all(line == GOOD.decode().split("\n")[number - 1] for number, line in lines)
        return [number for number, _line in lines]

    assert [found(f"192.0.2.{host}") for host in (0, 255)] == [[7], [7]]
    assert found("198.51.100.7") == [8]
    assert found("203.0.113.1") == [9]  # available: not delegated, and still a record
    assert found("203.0.114.0") == []
    assert found("2001:db8:8001::") == []
    assert found("2001:db8:7fff:ffff::1") == [10]
    assert found("3fff::") == [12]
    whole = list(find_lines([GOOD], family=Family.IPV4, first=0, last=Family.IPV4.last))
    assert [number for number, _line in whole] == [7, 8, 9]


def test_a_search_passes_over_what_is_no_record() -> None:
    rubbish = [
        "apnic|JP|ipv4|192.0.256.0|256||allocated",
        "apnic|JP|ipv4|192.0.02.0|256||allocated",
        "# apnic|JP|ipv4|192.0.2.0|256||allocated",
        "apnic|JP|ipv4|192.0.2.0|0||allocated",
        "apnic|JP|ipv6|2001::db8::|32||allocated",
        "apnic|JP|ipv6|2001:db8::|129||allocated",
        "apnic|JP|ipv4|192.0.2.0|256||legacy",
        "caf\xe9|JP|ipv4|192.0.2.0|256||allocated",
        "x" * 200_000,
        *RECORDS[1:2],
    ]
    raw = build(rubbish)
    assert list(find_lines([raw], family=Family.IPV4, first=0, last=Family.IPV4.last)) == [(15, RECORDS[1])]
    assert list(find_lines([raw], family=Family.IPV6, first=0, last=Family.IPV6.last)) == []
