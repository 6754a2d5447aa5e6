"""`lookup --why`: from an address back to the file, the line and the very text that put it into the set."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network, summarize_address_range
from pathlib import Path
from typing import Any

import pytest

from fwfeed.fetch import file_name, origins
from tests.unit.builders import CHECKOUT, GERMANY, JAPAN, Ended, World, delegated, snapshot, to_toml, world

APNIC = file_name("apnic")
SAMPLES = CHECKOUT / "tests/data/feeds"
Network = IPv4Network | IPv6Network


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def feed(name: str, url: str, *lines: str) -> str:
    """Write the table of a feed."""
    return "\n".join(["[[feed]]", f'name = "{name}"', f'url = "{url}"', *lines, ""])


def sample(name: str, file: str, *lines: str) -> str:
    return feed(name, (SAMPLES / file).as_uri(), *lines)


def fetched(made: World, include: Iterable[str] = (), exclude: Iterable[str] = (), more: str = "") -> World:
    """Configure, and fetch."""
    terms = {"include": list(include), "exclude": list(exclude)}
    made.configure(set_table=to_toml(terms), more=more)
    ended = made.run("fetch")
    assert ended.code == 0, ended
    return made


def why(made: World, *asked: str) -> Any:
    """Return what is said of the only address or prefix that was asked about."""
    ended = made.run("lookup", "--why", "--json", *asked)
    assert ended.code == 0, ended
    traces = ended.value["why"]
    assert [trace["asked"] for trace in traces] == list(asked)
    return traces[0] if len(asked) == 1 else traces


def line_at(place: str) -> str:
    """Return the line that a place, path:line or URL:line, names."""
    path, _, number = place.removeprefix("file://").rpartition(":")
    return Path(path).read_text(encoding="utf-8").split("\n")[int(number) - 1]


def networks_in(text: str) -> list[Network]:
    """Return what a line of any format gives, read in the plainest way."""
    if "|" in text:
        _, _, kind, start, size, *_ = text.split("|")
        if kind == "ipv6":
            return [IPv6Network(f"{start}/{size}")]
        first = IPv4Address(start)
        return list(summarize_address_range(first, first + int(size) - 1))
    text = re.split("[#;]", text)[0]
    if ends := re.fullmatch(r"\s*([0-9a-fA-F.:]+)\s*-\s*([0-9a-fA-F.:]+)\s*", text):
        return list(summarize_address_range(ip_address(ends[1]), ip_address(ends[2])))
    # a JSON line has its address between quotes, a row of a geofeed before the first comma
    quoted = re.search(r':\s*"([^"]*)"', text)
    return [ip_network(quoted[1] if quoted else text.split(",")[0].strip())]


def check_line(each: Mapping[str, Any], asked: str) -> None:
    """Check an origin against its file: the line is there, is the one that is shown, and has some of the addresses."""
    assert each["text"] == line_at(each["place"]).strip()
    wanted = ip_network(asked)
    assert any(
        network.version == wanted.version and network.overlaps(wanted) for network in networks_in(each["text"])
    ), each


# Registries


def test_an_address_of_a_registry_names_the_record_and_shows_it(made: World) -> None:
    fetched(made)
    path = made.cache / "apnic" / APNIC
    found = why(made, "198.51.100.7")
    assert found == {
        "asked": "198.51.100.7",
        "inside": True,
        "origins": [
            {
                "excluded": False,
                "source": "apnic",
                "term": "JP",
                "place": f"{path}:6",
                "serial": 1,
                "url": made.url("apnic"),
                "text": "apnic|JP|ipv4|198.51.100.0|256|20100101|allocated",
            }
        ],
    }
    check_line(found["origins"][0], "198.51.100.7")


def test_it_is_told_in_words_behind_what_lookup_says_anyway(made: World) -> None:
    fetched(made)
    plain = made.run("lookup", "198.51.100.7").out
    ended = made.run("lookup", "--why", "198.51.100.7")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == plain + (
        "  why 198.51.100.7 is in set JP:\n"
        "    include JP, apnic\n"
        f"      {made.cache}/apnic/{APNIC}:6, serial 1, from {made.url('apnic')}\n"
        "      apnic|JP|ipv4|198.51.100.0|256|20100101|allocated\n"
    )


def test_ipv6_too(made: World) -> None:
    fetched(made)
    found = why(made, "2001:db8:1:2::3")
    assert found["inside"]
    (only,) = found["origins"]
    assert only["text"] == "apnic|JP|ipv6|2001:db8:1::|48|20100101|allocated"
    check_line(only, "2001:db8:1:2::3")
    assert "is in set JP6:" in made.run("lookup", "--why", "2001:db8:1:2::3").out


def test_an_address_that_two_registries_have_names_both(made: World) -> None:
    moved = "JP|ipv4|198.51.100.128|64|20200101|assigned"
    made.publish("ripencc", delegated("ripencc", [*GERMANY, moved], serial=20200102))
    fetched(made)
    found = why(made, "198.51.100.130")
    assert [(each["source"], each["serial"], each["text"]) for each in found["origins"]] == [
        ("apnic", 1, f"apnic|{JAPAN[1]}"),
        ("ripencc", 20200102, f"ripencc|{moved}"),
    ]
    for each in found["origins"]:
        check_line(each, "198.51.100.130")


def test_records_of_other_countries_or_delegated_to_nobody_are_no_reason(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, "JP|ipv4|198.18.0.0|256||reserved"]))
    fetched(made, exclude=["198.51.100.0/32"])
    for address in ("203.0.113.1", "192.0.2.1", "198.18.0.1", "8.8.8.8", "2001:db8:2::1"):
        found = why(made, address)
        assert (found["inside"], found["origins"]) == (False, [])
    assert "    nothing that the set is made of has it\n" in made.run("lookup", "--why", "203.0.113.1").out
    assert "  why 203.0.113.1 is not in set JP:\n" in made.run("lookup", "--why", "203.0.113.1").out


def test_a_prefix_of_the_set_names_every_record_it_is_made_of(made: World) -> None:
    records = [f"JP|ipv4|198.18.0.{start}|{size}|20100101|allocated" for start, size in ((0, 48), (48, 80), (128, 128))]
    made.publish("apnic", delegated("apnic", records))
    made.publish("ripencc", delegated("ripencc", ["JP|ipv4|198.18.1.0|256|20100101|assigned", *GERMANY]))
    fetched(made)
    assert made.run("list").out == "198.18.0.0/23\n"
    found = why(made, "198.18.0.0/23")
    assert found["inside"]
    assert [each["text"].split("|")[3] for each in found["origins"]] == [
        "198.18.0.0",
        "198.18.0.48",
        "198.18.0.128",
        "198.18.1.0",
    ]
    for each in found["origins"]:
        check_line(each, "198.18.0.0/23")
    # a prefix inside it has fewer; the last address of the first record, and the first of the second
    assert [each["text"].split("|")[3] for each in why(made, "198.18.0.46/31")["origins"]] == ["198.18.0.0"]
    assert [each["text"].split("|")[3] for each in why(made, "198.18.0.48/31")["origins"]] == ["198.18.0.48"]


def test_a_prefix_that_is_partly_in_the_set_is_not_in_it_but_names_what_is(made: World) -> None:
    fetched(made)
    found = why(made, "198.51.0.0/16")
    assert not found["inside"]
    assert [each["text"] for each in found["origins"]] == [f"apnic|{JAPAN[1]}"]


def test_all_that_is_asked_is_answered_in_its_order(made: World) -> None:
    fetched(made)
    asked = ("2001:db8:1::/48", "198.51.100.1", "198.51.100.0/24", "203.0.113.0/24")
    ended = made.run("lookup", "--why", "--json", *asked)
    assert [trace["asked"] for trace in ended.value["why"]] == list(asked)
    assert [trace["inside"] for trace in ended.value["why"]] == [True, True, True, False]
    assert [found["address"] for found in ended.value["addresses"]] == ["198.51.100.1"], "a prefix has no delegation"


# What the configuration itself gives or takes


def test_a_cidr_and_a_group_are_named_as_the_configuration_has_them(made: World) -> None:
    fetched(made, include=["special-purpose", "192.0.2.0/25", "2001:db8:7::/48"])
    none = {"source": None, "place": None, "serial": None, "url": None, "text": None, "excluded": False}
    assert why(made, "192.0.2.1")["origins"] == [{"term": "special-purpose", **none}, {"term": "192.0.2.0/25", **none}]
    assert why(made, "192.0.2.128")["origins"] == [{"term": "special-purpose", **none}]
    assert why(made, "10.0.0.0/8")["origins"] == [{"term": "special-purpose", **none}]
    assert [each["term"] for each in why(made, "2001:db8:7::1")["origins"]] == ["special-purpose", "2001:db8:7::/48"]
    assert "    include special-purpose\n    include 192.0.2.0/25\n" in made.run("lookup", "--why", "192.0.2.1").out


def test_what_is_excluded_names_what_gave_it_and_what_takes_it(made: World) -> None:
    fetched(made, exclude=["198.51.100.0/25"])
    found = why(made, "198.51.100.7")
    assert not found["inside"]
    assert [(each["term"], each["excluded"]) for each in found["origins"]] == [("JP", False), ("198.51.100.0/25", True)]
    assert made.run("lookup", "--why", "198.51.100.7").out.endswith("    exclude 198.51.100.0/25\n")
    assert why(made, "198.51.100.128")["inside"]
    assert not why(made, "198.51.100.0/24")["inside"], "half of it is out"


def test_what_a_feed_excludes_names_the_line_that_takes_it(made: World) -> None:
    bad = made.root / "bad"
    bad.write_text("# of all things\n\n198.51.100.7 # that one\n")
    fetched(made, exclude=["bad"], more=feed("bad", bad.as_uri()))
    found = why(made, "198.51.100.7")
    assert not found["inside"]
    assert [(each["source"], each["excluded"]) for each in found["origins"]] == [("apnic", False), ("bad", True)]
    assert found["origins"][1]["place"] == f"{made.cache}/bad/bad:3"
    check_line(found["origins"][1], "198.51.100.7")
    assert made.run("lookup", "--why", "198.51.100.7").out.endswith(
        f"    exclude bad\n      {made.cache}/bad/bad:3, from {bad.as_uri()}\n      198.51.100.7 # that one\n"
    )


# Feeds


@pytest.mark.parametrize(
    ("file", "lines", "address", "numbers", "serial"),
    [
        ("plain.txt", (), "192.0.2.9", [4], None),
        ("plain.txt", (), "198.51.100.1", [5], None),
        ("plain.txt", (), "198.18.2.2", [6], None),
        ("plain.txt", (), "2001:db8:3::99", [11], None),
        ("aws.json", ('format = "aws"', 'regions = ["eu-central-1"]'), "203.0.113.9", [18, 36], 1700000000),
        ("aws.json", ('format = "aws"', 'services = ["S3"]'), "203.0.113.9", [36], 1700000000),
        ("aws.json", ('format = "aws"',), "2001:db8:2:55::1", [50], 1700000000),
        ("gcp.json", ('format = "gcp"', 'scopes = ["europe-west3"]'), "203.0.113.9", [17], 1700000000000),
        ("gcp.json", ('format = "gcp"',), "2001:db8:1::1", [9], 1700000000000),
        ("geofeed.csv", ('format = "geofeed"',), "192.0.2.1", [3], None),
        ("geofeed.csv", ('format = "geofeed"',), "192.0.2.129", [4], None),
        ("geofeed.csv", ('format = "geofeed"',), "192.0.2.81", [6], None),
        ("geofeed.csv", ('format = "geofeed"', 'countries = ["DE"]'), "192.0.2.65", [5], None),
        ("geofeed.csv", ('format = "geofeed"',), "2001:db8:1:2::", [14], None),
    ],
)
def test_a_feed_of_any_format_names_its_lines(
    file: str, lines: tuple[str, ...], address: str, numbers: list[int], serial: int | None, made: World
) -> None:
    made.publish("apnic", delegated("apnic", ["JP|asn|64496|1|20100101|allocated"]))
    fetched(made, include=["samples"], more=sample("samples", file, *lines))
    found = why(made, address)
    assert found["inside"]
    assert [each["place"] for each in found["origins"]] == [f"{made.cache}/samples/samples:{n}" for n in numbers]
    for each in found["origins"]:
        assert (each["source"], each["term"], each["excluded"]) == ("samples", "samples", False)
        assert (each["serial"], each["url"]) == (serial, (SAMPLES / file).as_uri())
        check_line(each, address)


@pytest.mark.parametrize(
    ("file", "lines", "address"),
    [
        ("aws.json", ('format = "aws"', 'regions = ["ap-northeast-1"]'), "203.0.113.9"),
        ("gcp.json", ('format = "gcp"', 'scopes = ["asia-northeast1"]'), "203.0.113.9"),
        ("geofeed.csv", ('format = "geofeed"',), "198.51.100.9"),
        ("geofeed.csv", ('format = "geofeed"',), "192.0.2.65"),
        ("geofeed.csv", ('format = "geofeed"',), "198.18.1.1"),
        ("geofeed.csv", ('format = "geofeed"',), "2001:db8:1:1::1"),
    ],
)
def test_what_the_filter_leaves_out_is_no_reason(file: str, lines: tuple[str, ...], address: str, made: World) -> None:
    made.publish("apnic", delegated("apnic", ["JP|asn|64496|1|20100101|allocated"]))
    fetched(made, include=["samples"], more=sample("samples", file, *lines))
    found = why(made, address)
    assert (found["inside"], found["origins"]) == (False, [])


def test_a_folder_of_lists_names_the_very_file_and_its_own_line(made: World) -> None:
    lists = made.root / "my lists"
    lists.mkdir()
    (lists / "a b.txt").write_text("# first\n198.18.1.0/24")  # without an end of line
    (lists / "b").write_bytes(b"\xef\xbb\xbf198.18.2.1\r\n\r\n2001:db8:9::/48 ; six\r\n")
    (lists / "c").write_text("")
    (lists / "d").write_text("# of file 'a b.txt'\n# of file servers, and no name\n198.18.3.0-198.18.3.9\n198.18.1.7\n")
    fetched(made, include=["lists"], more=feed("lists", lists.as_uri()))
    places = {
        "198.18.1.1": ["a b.txt:2"],
        "198.18.2.1": ["b:1"],
        "2001:db8:9::1": ["b:3"],
        "198.18.3.9": ["d:3"],
        "198.18.1.7": ["a b.txt:2", "d:4"],
    }
    for address, expected in places.items():
        found = why(made, address)
        assert found["inside"]
        assert [each["place"] for each in found["origins"]] == [f"{lists.as_uri()}/{place}" for place in expected]
        for each, place in zip(found["origins"], expected, strict=True):
            file, _, number = place.rpartition(":")
            line = (lists / file).read_text(encoding="utf-8-sig").split("\n")[int(number) - 1]
            assert each["text"] == line.strip()
            assert each["url"] == lists.as_uri()


def test_a_comment_cannot_write_to_the_terminal(made: World) -> None:
    mine = made.root / "mine"
    mine.write_text("198.18.1.0/24 # \x1b[2J\x07 \u202e東京\n")
    fetched(made, include=["mine"], more=feed("mine", mine.as_uri()))
    shown = made.run("lookup", "--why", "198.18.1.0/24").out
    assert shown.endswith("\n      198.18.1.0/24 # ?[2J? ?東京\n")
    assert why(made, "198.18.1.0/24")["origins"][0]["text"] == "198.18.1.0/24 # ?[2J? ?東京"


def test_a_key_that_is_spelled_with_escapes_names_the_file_alone(made: World) -> None:
    escaped = made.root / "aws.json"
    text = (SAMPLES / "aws.json").read_text().rstrip()
    escaped.write_text(text.replace('"ip_prefix"', '"ip\\u005fprefix"'))
    fetched(made, include=["aws"], more=feed("aws", escaped.as_uri(), 'format = "aws"'))
    each = why(made, "203.0.113.9")["origins"][0]
    assert (each["place"], each["text"]) == (f"{made.cache}/aws/aws", None)


def test_asking_for_everything_in_a_large_list_does_not_take_long(made: World) -> None:
    lists = made.root / "lists"
    lists.mkdir()
    for number in range(2):
        (lists / str(number)).write_text("".join(f"198.{18 + number}.{n >> 7}.{2 * n & 255}\n" for n in range(1 << 14)))
    fetched(made, include=["lists"], more=feed("lists", lists.as_uri()))
    started = time.monotonic()
    found = why(made, "198.18.0.0/15")
    assert time.monotonic() - started < 30  # seconds on a busy machine; without care it is many minutes
    assert len(found["origins"]) == 2 << 14
    assert {each["place"].rpartition("/")[2] for each in found["origins"][-2:]} == {"1:16383", "1:16384"}


def test_the_marks_of_files_are_read_back() -> None:
    raw = b"# of file a\n1\n2\n# of file b%20%22c\n3\n"
    place = origins(raw, "file:///lists.d")
    assert [place(line) for line in (2, 3, 5, 6)] == [("a", 1), ("a", 2), ('b "c', 1), ('b "c', 2)]
    assert place(0) == ("", 0), "no line: the file as a whole"
    assert origins(b"1\n# of file a\n2\n", "file:///lists.d")(3) == ("", 3), "a file that is no folder"


@pytest.mark.parametrize("mark", [b"a", b"(", b"'/etc/passwd'", b"[" + b"1," * 10_000, b"%00"])
def test_what_a_server_writes_is_no_mark(mark: bytes) -> None:
    assert origins(b"# of file " + mark + b"\nnonsense\n", "https://example.net/list")(2) == ("", 2)


# What cannot be answered


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "10",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.1/33",
        "192.0.2.1/",
        "/24",
        " 192.0.2.1",
        "010.0.0.1",
        "192.0.2.0-192.0.2.9",
        "2001:db8::/129",
        "fe80::1%eth0",
        "3221225985",
        "example.net",
    ],
)
def test_what_is_no_address_is_said_and_nothing_else(wrong: str, made: World) -> None:
    fetched(made)
    before = snapshot(made.root)
    ended = made.run("lookup", "--why", "198.51.100.1", wrong)
    assert ended == Ended(
        2,
        "",
        f"fwfeed: {wrong!r} is neither an IP address nor a prefix\n"
        "fwfeed: way out: give addresses or prefixes, like 192.0.2.1 or 2001:db8::/32\n",
    )
    assert snapshot(made.root) == before


def test_all_that_is_wrong_is_said_at_once(made: World) -> None:
    ended = fetched(made).run("lookup", "--why", "x", "192.0.2.1", "y/8")
    assert ended.code == 2
    assert [line.split()[1] for line in ended.err.splitlines()] == ["'x'", "'y/8'", "way"]


def test_without_why_a_prefix_is_no_address(made: World) -> None:
    ended = fetched(made).run("lookup", "198.51.100.0/24")
    assert ended.code == 2
    assert "'198.51.100.0/24' is not an IP address" in ended.err


def test_before_the_first_fetch_the_way_out_is_named(made: World) -> None:
    ended = made.run("lookup", "--why", "198.51.100.1")
    assert ended.code == 1
    assert ended.err.endswith("does not exist yet\nfwfeed: way out: run: fwfeed fetch\n")


@pytest.mark.parametrize("change", ["altered", "gone", "link", "pipe"])
def test_a_file_that_is_not_the_one_the_set_was_made_of_is_not_taken_for_it(change: str, made: World) -> None:
    fetched(made)
    path = made.cache / "apnic" / APNIC
    raw = path.read_bytes()
    path.unlink()
    if change == "altered":
        path.write_bytes(raw.replace(b"20100101", b"20100102"))
    elif change == "link":
        path.symlink_to(made.published / APNIC)
    elif change == "pipe":
        os.mkfifo(path)
    ended = made.run("lookup", "--why", "198.51.100.1")
    assert ended.code == 1
    assert ended.out == ""
    assert str(path) in ended.err
    assert "Traceback" not in ended.err
    if change in {"altered", "gone"}:
        assert ended.err == (
            f"fwfeed: {path} is not the file that the candidate was made of\nfwfeed: way out: run: fwfeed fetch\n"
        )
        assert made.run("fetch").code == 0, "that is the way out"
        assert why(made, "198.51.100.1")["inside"]


def test_what_is_held_changes_no_answer(made: World) -> None:
    fetched(made)
    before = made.run("lookup", "--why", "198.51.100.0/24", "198.18.0.1")
    made.publish("apnic", delegated("apnic", ["JP|ipv4|198.18.0.0|16|20100101|allocated"], serial=2))
    assert made.run("fetch").code == 3
    assert made.run("lookup", "--why", "198.51.100.0/24", "198.18.0.1") == before


@pytest.mark.parametrize("change", ["gone", "filter"])
def test_a_feed_that_the_configuration_has_otherwise_by_now_is_not_guessed_at(change: str, made: World) -> None:
    fetched(made, include=["geo"], more=sample("geo", "geofeed.csv", 'format = "geofeed"'))
    if change == "gone":
        made.configure()
    else:
        made.configure(
            set_table='include = ["geo"]',
            more=sample("geo", "geofeed.csv", 'format = "geofeed"', 'countries = ["DE"]'),
        )
    ended = made.run("lookup", "--why", "192.0.2.1")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "fwfeed: feed geo is no longer in the configuration as it was when the candidate was compiled\n"
        "fwfeed: way out: run: fwfeed fetch\n"
    )


# The law: whatever is in the set has an origin


@pytest.mark.parametrize("seed", range(12))
def test_every_prefix_of_the_set_has_its_lines_and_every_line_an_address_of_it(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    made = world(tmp_path)
    slots = [f"198.18.{number >> 2}.{(number & 3) * 64}" for number in range(24)]
    slots6 = [f"2001:db8:1:{number * 16:x}::" for number in range(1, 12)]
    lines: dict[str, list[str]] = {}
    for name in ("apnic", "ripencc"):
        country4 = {at: dice.choice(["JP", "JP", "DE"]) for at in sorted(dice.sample(slots, 10), key=ip_address)}
        country6 = {at: dice.choice(["JP", "JP", "DE"]) for at in sorted(dice.sample(slots6, 4), key=ip_address)}
        status = ["allocated", "assigned", "assigned"]
        records = [
            f"{of}|ipv4|{at}|{dice.randrange(1, 65)}|20100101|{dice.choice(status)}" for at, of in country4.items()
        ]
        records += (
            f"{of}|ipv6|{at}|{dice.randrange(60, 65)}|20100101|{dice.choice(status)}" for at, of in country6.items()
        )
        made.publish(name, delegated(name, records))
        lines[name] = [f"{name}|{record}" for record in records if record.startswith("JP")]
    for name in ("more", "less"):
        entries = [f"{at}/{dice.randrange(26, 33)}" for at in dice.sample(slots, 6)]
        entries += [f"{at}/{dice.randrange(60, 65)} # six" for at in dice.sample(slots6, 3)]
        entries += [f"{(start := dice.choice(slots))}-{IPv4Address(start) + dice.randrange(1, 90)}" for _ in range(3)]
        (made.root / name).write_text("".join(f"{entry}\n" for entry in entries))
        lines[name] = entries
    include = ["more", "192.0.2.0/27", "2001:db8:1:30::/60"]
    fetched(
        made,
        include=include,
        exclude=["less", "198.18.1.0/26"],
        more=feed("more", (made.root / "more").as_uri()) + feed("less", (made.root / "less").as_uri()),
    )
    listed = made.run("list").out.split()
    assert len(listed) > 10
    for prefix, found in zip(listed, why(made, *listed), strict=True):
        network = ip_network(prefix)
        assert found["inside"]
        given = [each for each in found["origins"] if not each["excluded"]]
        assert given, "all that is in the set has an origin"
        # no address of it may be taken away by anything, and all of it is given by something
        assert [each for each in found["origins"] if each["excluded"]] == []
        gave: list[Network] = []
        for each in given:
            if each["source"] is None:
                assert each["term"] in include
                assert ip_network(each["term"]).overlaps(network)
                gave.append(ip_network(each["term"]))
            else:
                check_line(each, prefix)
                gave += networks_in(each["text"])
        assert all(any(_has(one, address) for one in gave) for address in _sample(network, dice))
        # and no line that has some of it is left out
        naive = {
            (name, line)
            for name in ("apnic", "ripencc", "more")
            for line in lines[name]
            if any(one.version == network.version and one.overlaps(network) for one in networks_in(line))
        }
        assert {(each["source"], each["text"]) for each in given if each["source"]} == naive


def _has(network: Network, address: object) -> bool:
    return address in network


def _sample(network: Network, dice: random.Random) -> list[object]:
    """Return the first and last address, and some between."""
    offsets = {0, network.num_addresses - 1, *(dice.randrange(network.num_addresses) for _ in range(20))}
    return [network.network_address + offset for offset in offsets]
