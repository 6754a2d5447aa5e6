"""[[feed]] from end to end: what each format adds to a set and takes from it, and that a bad list changes nothing."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from netaddr import IPNetwork, IPSet

from fwfeed import config
from fwfeed.refresh import Refreshed, refresh
from fwfeed.store import candidates
from tests.unit.builders import CHECKOUT, JAPAN, Ended, World, delegated, snapshot, to_toml, world

SAMPLES = CHECKOUT / "tests/data/feeds"
OF_REGISTRIES = ["198.51.100.0/24", "2001:db8:1::/48"]  # what Japan is without any feed


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def configure(made: World, *tables: str, include: Iterable[str] = (), exclude: Iterable[str] = (), **rest: Any) -> None:
    """Configure a set of these terms; `tables` are TOML, `rest` further keys of [set]."""
    chosen = {"include": list(include), "exclude": list(exclude), **rest}
    made.configure(set_table=to_toml(chosen), more="\n".join(tables))


def feed(name: str, path: Path, **keys: Any) -> str:
    return "[[feed]]\n" + to_toml({"name": name, "url": path.as_uri(), **keys})


def fetch(made: World) -> Ended:
    ended = made.run("fetch")
    assert ended.code == 0, ended
    return ended


def listed(made: World) -> list[str]:
    return made.run("list").out.split()


def union(*texts: str, without: Iterable[str] = ()) -> list[str]:
    """Return the fewest prefixes of all these, IPv4 first, as netaddr has them."""
    left = IPSet(texts) - IPSet(without)
    return [str(network) for network in sorted(left.iter_cidrs(), key=lambda each: (each.version, each.first))]


def accepted(made: World) -> dict[str, tuple[bytes | None, int]]:
    """Return all that a refused refresh may not move: everything but the note that it was refused."""
    notes = {str(candidates.folder(made.state) / name) for name in ("refusals.json", "lock")}
    everything = snapshot(made.cache, made.state, folders=False)
    return {path: what for path, what in everything.items() if path not in notes}


def assert_refused(made: World, *said: str) -> Ended:
    """Check that a fetch is refused for these reasons, and changes nothing."""
    before, was = accepted(made), listed(made)
    ended = made.run("fetch")
    assert ended.code == 3, ended
    for text in said:
        assert text in ended.err
    assert "\nfwfeed: way out: " in ended.err
    assert ended.out == ""
    assert (accepted(made), listed(made)) == (before, was)
    return ended


# Every format

CASES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "plain": (
        "plain.txt",
        {},
        [
            "192.0.2.0/24",
            "198.51.100.1",
            "198.18.0.0/22",
            "203.0.113.16/28",
            "2001:db8:1::/48",
            "2001:db8:2::1",
            "2001:db8:3::/112",
        ],
    ),
    "aws": (
        "aws.json",
        {"format": "aws", "regions": ["ap-northeast-1"], "services": ["EC2"]},
        ["192.0.2.0/24", "2001:db8:1::/48"],
    ),
    "gcp": (
        "gcp.json",
        {"format": "gcp", "scopes": ["asia-northeast1", "europe-west3"]},
        ["192.0.2.0/25", "203.0.113.0/24", "2001:db8:1::/48", "2001:db8:2::/48"],
    ),
    "goog": ("goog.json", {"format": "gcp"}, ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/36"]),
    "geofeed": (
        "geofeed.csv",
        {"format": "geofeed", "countries": ["DE"]},
        # what lies inside but in another country is not of it, nor is what lies nowhere
        union(
            *("192.0.2.64/26", "198.51.100.0/24", "2001:db8::/32"),
            without=["192.0.2.80/28", "198.51.100.7", "2001:db8:1::/48"],
        ),
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_what_a_feed_of_any_format_lists_is_in_the_set(kind: str, made: World) -> None:
    file, keys, ranges = CASES[kind]
    configure(made, feed("more", SAMPLES / file, **keys), include=["more"])
    ended = fetch(made)
    assert listed(made) == union(*OF_REGISTRIES, *ranges)
    size = sum(IPNetwork(each).size for each in union(*ranges) if ":" not in each)
    assert any(line.startswith("  more ") and f" {size:,} addresses" in line for line in ended.out.splitlines())


@pytest.mark.parametrize("kind", CASES)
def test_what_a_feed_of_any_format_excludes_is_not_in_the_set(kind: str, made: World) -> None:
    file, keys, ranges = CASES[kind]
    configure(made, feed("less", SAMPLES / file, **keys), include=["192.0.2.0/23", "2001:db8::/44"], exclude=["less"])
    ended = fetch(made)
    assert listed(made) == union(*OF_REGISTRIES, "192.0.2.0/23", "2001:db8::/44", without=ranges)
    assert "  exclude less " in ended.out


def test_exclude_wins_over_include_even_for_one_and_the_same_feed(made: World) -> None:
    lines = made.root / "lines"
    lines.write_text("198.51.100.0/25\n198.18.0.0/24\n")
    configure(made, feed("lines", lines), include=["lines", "198.51.100.7"], exclude=["lines"])
    fetch(made)
    assert listed(made) == ["198.51.100.128/25", "2001:db8:1::/48"]


def test_two_feeds_and_the_registries_make_one_set(made: World) -> None:
    one, other = made.root / "one", made.root / "other"
    one.write_text("198.51.101.0/24\n198.18.0.0-198.18.0.9\n")
    other.write_text("198.18.0.5-198.18.0.15\n198.51.100.128/25\n")
    configure(made, feed("one", one), feed("other", other), include=["other", "one"])
    fetch(made)
    assert listed(made) == ["198.18.0.0/28", "198.51.100.0/23", "2001:db8:1::/48"]


def test_a_set_can_be_made_of_feeds_alone(made: World) -> None:
    configure(made, feed("more", SAMPLES / "plain.txt"), include=["more"], name="LISTS", countries=[])
    fetch(made)
    assert listed(made) == union(*CASES["plain"][2])


def test_a_geofeed_without_countries_is_asked_for_those_of_the_set(made: World) -> None:
    geo = feed("geo", SAMPLES / "geofeed.csv", format="geofeed")
    configure(made, geo, include=["geo"])
    fetch(made)
    japan = listed(made)
    assert "192.0.2.0/26" in japan
    assert "192.0.2.96/27" not in japan
    configure(made, geo, include=["geo"], name="BOTH", countries=["JP", "DE"])
    fetch(made)
    assert "192.0.2.0/24" in listed(made), "both countries together have all of it"


def test_a_packed_list_is_unpacked(made: World) -> None:
    packed = made.root / "list.txt.gz"
    packed.write_bytes(gzip.compress(b"198.18.0.0/24\n"))
    configure(made, feed("packed", packed), include=["packed"])
    fetch(made)
    assert "198.18.0.0/24" in listed(made)
    assert (made.cache / "packed/packed").read_bytes() == b"198.18.0.0/24\n"
    assert fetch(made).err == "nothing changed\n"


def test_lines_that_a_format_says_to_pass_over_are_counted(made: World) -> None:
    configure(made, feed("geo", SAMPLES / "geofeed.csv", format="geofeed"), include=["geo"])
    ended = made.run("-v", "fetch")
    assert ended.code == 0
    assert "geo: 483 bytes, 12 records (1 lines discarded), to " in ended.err


# Folders


@pytest.fixture
def lists(made: World) -> Path:
    """A folder of lists, which is a feed of the set."""
    folder = made.root / "lists"
    folder.mkdir()
    (folder / "a").write_text("198.18.1.0/24")
    (folder / "b.txt").write_text("# nothing yet\n")
    (folder / "c").write_text("")
    (folder / "d").write_bytes(b"\xef\xbb\xbf198.18.2.0/24\r\n")
    configure(made, feed("lists", folder), include=["lists"])
    return folder


def test_a_folder_of_lists_is_one_feed_with_empty_lists_too(lists: Path, made: World) -> None:
    for name in (".hidden", "a~", "a.bak", "a.rpmsave", ".a.swp"):
        (lists / name).write_text("not a list")
    (lists / "below").mkdir()
    (lists / "below" / "e").write_text("198.18.9.0/24\n")
    fetch(made)
    assert listed(made) == ["198.18.1.0/24", "198.18.2.0/24", *OF_REGISTRIES]
    assert fetch(made).err == "nothing changed\n"


def test_a_new_list_in_the_folder_changes_the_set(lists: Path, made: World) -> None:
    fetch(made)
    (lists / "e").write_text("198.18.3.0/26\n")
    fetch(made)
    assert listed(made) == ["198.18.1.0/24", "198.18.2.0/24", "198.18.3.0/26", *OF_REGISTRIES]


def test_an_empty_folder_is_an_empty_list(made: World) -> None:
    (made.root / "none").mkdir()
    configure(made, feed("none", made.root / "none"), include=["none"])
    fetch(made)
    assert listed(made) == OF_REGISTRIES
    assert fetch(made).err == "nothing changed\n"


@pytest.mark.parametrize(
    ("name", "raw", "line"),
    [
        ("a", b"198.18.1.0/24\n198.18.1.1/24\n", 2),
        ("b.txt", b"# fine\n\nhost.example\n", 3),
        ("c", b"0.0.0.0/0\n", 1),
        ("d", b"198.18.2.0/24\n\xff\n", 2),
        ("z", b"198.18.1.0/24\n198.18.1.9-198.18.1.8", 2),
        ("z", b"\x00", 1),
    ],
)
def test_a_broken_list_in_a_folder_is_named_with_its_own_line(
    name: str, raw: bytes, line: int, lists: Path, made: World
) -> None:
    fetch(made)
    (lists / name).write_bytes(raw)
    before, was = accepted(made), listed(made)
    ended = made.run("fetch")
    assert ended.code == 3
    assert f"fwfeed: lists: {lists.as_uri()}/{name}:{line}: " in ended.err
    assert "; the file accepted last, to " in ended.err
    assert (accepted(made), listed(made)) == (before, was)


# What is refused


@pytest.mark.parametrize(
    ("file", "keys", "hint"),
    [
        ("aws.json", {"format": "aws", "regions": ["ap-northeast-l"]}, "ap-northeast-1"),
        ("aws.json", {"format": "aws", "services": ["CLOUDFRONTS"]}, "CLOUDFRONT"),
        ("gcp.json", {"format": "gcp", "scopes": ["europe-vest3"]}, "europe-west3"),
    ],
)
@pytest.mark.parametrize("before", ["nothing", "registries", "feed"])
def test_a_filter_with_a_typo_is_refused_with_a_hint_and_what_is_live_stays(
    file: str, keys: dict[str, Any], hint: str, before: str, made: World
) -> None:
    if before == "registries":
        fetch(made)
    elif before == "feed":
        configure(made, feed("cloud", SAMPLES / file, format=keys["format"]), include=["cloud"])
        fetch(made)
    was = listed(made)
    configure(made, feed("cloud", SAMPLES / file, **keys), include=["cloud"])
    (typo,) = keys.get("regions") or keys.get("services") or keys["scopes"]
    ended = assert_refused(made, repr(typo), f"did you mean {hint}?")
    assert ended.err.endswith("fwfeed: way out: correct the feed's filter in the configuration, or take it out\n"), (
        "the one way out that helps"
    )
    assert listed(made) == was
    assert (was == OF_REGISTRIES) is (before == "registries")
    refused = made.run("status", "--json").value["refused"]
    assert [each["source"] for each in refused] == [None]
    assert "  WARNING: the refresh is refused since " in made.run("status").out
    configure(
        made,
        feed("cloud", SAMPLES / file, **{**keys, next(k for k in keys if k != "format"): [hint]}),
        include=["cloud"],
    )
    fetch(made)
    assert made.run("status", "--json").value["refused"] == []


def way_out(ended: Ended) -> str:
    assert ended.code == 1, ended
    return ended.err.rpartition("fwfeed: way out: ")[2].rstrip()


@pytest.mark.parametrize("first", [True, False])
def test_after_a_fetch_that_was_refused_no_hint_is_to_fetch_again(made: World, *, first: bool) -> None:
    if not first:
        configure(made)
        fetch(made)
    bad = feed("cloud", SAMPLES / "aws.json", format="aws", regions=["mars"])
    configure(made, bad, include=["cloud"])
    assert way_out(made.run("render")) == "run: fwfeed fetch"
    refused = made.run("fetch")
    assert refused.code == 3
    before = snapshot(made.root)
    for command in (["render"], ["check"], *([["diff"], ["list"], ["lookup", "192.0.2.1"]] if first else [])):
        hint = way_out(made.run(*command))
        assert hint.startswith(f"the last fetch was refused: cloud: {(SAMPLES / 'aws.json').as_uri()}: no prefix of ")
        assert hint.endswith("; mend that, then: fwfeed fetch")
    nagios = made.run("check", "--nagios").out
    if first:
        shown = made.run("status", "-v").out
        assert "candidate: none yet\n" in shown
        assert "run: fwfeed fetch" not in shown + nagios
        assert "no prefix of region 'mars'" in nagios
    assert snapshot(made.root) == before
    configure(made, bad.replace("mars", "eu-central-1"), include=["cloud"])
    fetch(made)
    assert made.run("render").code == 0


def test_after_a_fetch_that_is_held_the_hint_is_to_look_at_it(made: World) -> None:
    configure(made)
    text = made.config.read_text()
    made.config.write_text(f'{text}[gates]\nmax_space = "0%"\n')
    assert made.run("fetch").code == 3
    hint = "a gate holds what was fetched: see it: fwfeed diff; if it is right: fwfeed approve"
    assert way_out(made.run("render")) == way_out(made.run("list")) == hint
    configure(made, include=["192.0.2.0/24"])
    assert way_out(made.run("approve")) == "run: fwfeed fetch", "what is held is for other settings"


def test_one_source_that_was_refused_does_not_keep_a_fetch_from_being_the_hint(made: World) -> None:
    configure(made)
    fetch(made)
    (made.published / "delegated-apnic-extended-latest").unlink()
    assert made.run("fetch").code == 3
    configure(made, include=["192.0.2.0/24"])
    assert way_out(made.run("render")) == "run: fwfeed fetch"
    assert made.run("fetch").code == 3
    assert made.run("render").code == 0, "the way out is one"


def test_a_feed_that_was_never_there_refuses_all(made: World) -> None:
    fetch(made)
    configure(made, feed("gone", made.root / "gone"), include=["gone"])
    assert_refused(made, f"gone: {(made.root / 'gone').as_uri()}: there is no such file")
    assert not (made.cache / "gone").exists() or not list((made.cache / "gone").iterdir())


def test_without_its_feed_no_first_set_is_made(made: World) -> None:
    """Never a partial union: what the registries gave is not taken without the rest."""
    configure(made, feed("gone", made.root / "gone"), include=["gone"])
    ended = made.run("fetch")
    assert ended.code == 3
    assert not [path for path in made.cache.rglob("*") if path.is_file()]
    assert candidates.find(made.state) is None


def test_a_feed_that_fails_later_serves_on_as_it_was_and_is_told(made: World) -> None:
    offices = made.root / "offices"
    offices.write_text("198.18.1.0/24\n")
    configure(made, feed("offices", offices), include=["offices"])
    fetch(made)
    before, was = accepted(made), listed(made)
    offices.rename(made.root / "away")
    ended = made.run("fetch")
    assert ended.code == 3
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    missing = f"offices: {offices.as_uri()}: there is no such file"
    assert ended.err.startswith(f"fwfeed: {missing}; the file accepted last, to {today}, serves on; way out: ")
    assert ended.err.endswith("\nnothing changed\n")
    assert (accepted(made), listed(made)) == (before, was)
    refused_since = rf"^  WARNING: offices: refused since [^:]+:\d\d:\d\d \S+: {re.escape(offices.as_uri())}: "
    assert re.search(refused_since, made.run("status").out, re.MULTILINE)
    refused = made.run("status", "--json").value["refused"]
    assert [each["source"] for each in refused] == ["offices"]
    # and a registry's change is taken meanwhile
    made.publish("apnic", delegated("apnic", [*JAPAN, "JP|ipv4|198.18.0.0|32|20240101|allocated"], serial=2))
    assert made.run("fetch").code == 3
    assert listed(made) == ["198.18.0.0/27", "198.18.1.0/24", *OF_REGISTRIES]
    assert made.run("status", "--json").value["refused"] == refused, "since then, not since now"
    (made.root / "away").rename(offices)
    ended = made.run("fetch")
    assert (ended.code, ended.err) == (0, "nothing changed\n")
    assert made.run("status", "--json").value["refused"] == []


def test_a_sync_token_that_goes_backwards_is_refused(made: World) -> None:
    document = made.root / "aws.json"
    shutil.copy(SAMPLES / "aws.json", document)
    configure(made, feed("aws", document, format="aws"), include=["aws"])
    fetch(made)
    before = accepted(made)
    good = document.read_text()
    document.write_text(good.replace('"1700000000"', '"1699999999"'))
    ended = made.run("fetch")
    assert ended.code == 3
    told = "the serial goes backwards: serial 1699999999, to 2023-11-14, after serial 1700000000, to 2023-11-14"
    assert told in ended.err
    assert accepted(made) == before
    document.write_text(good.replace('"1700000000"', '"1700000001"'))
    fetch(made)
    assert made.run("status", "--json").value["candidate"]["sources"][1]["serial"] == 1700000001


def test_a_date_that_goes_backwards_or_lies_ahead_is_refused(made: World) -> None:
    document = made.root / "gcp.json"
    shutil.copy(SAMPLES / "gcp.json", document)
    configure(made, feed("gcp", document, format="gcp"), include=["gcp"])
    fetch(made)
    before = accepted(made)
    good = document.read_text()
    ahead = datetime.now(UTC) + timedelta(days=3)
    for day, said in (("2023-11-13", "the end date goes backwards"), (f"{ahead:%Y-%m-%d}", "is from the future")):
        document.write_text(good.replace("2023-11-14", day))
        ended = made.run("fetch")
        assert ended.code == 3
        assert said in ended.err
        assert accepted(made) == before


# Ages


def refreshed(made: World, *, days: int) -> Refreshed:
    """Refresh so many days from now, with registries that publish every day."""
    now = datetime.now(UTC) + timedelta(days=days)
    made.publish("apnic", delegated("apnic", JAPAN, end=now.date(), serial=100 + days))
    settings = config.parse(made.config.read_text(), file="fwfeed.toml")
    return refresh(settings, now=now, tell=lambda _: None)


def test_a_feed_that_dates_itself_is_refused_when_it_is_too_old(made: World) -> None:
    configure(made, feed("aws", SAMPLES / "aws.json", format="aws", max_age="7d"), include=["aws"])
    days = (datetime.now(UTC).date() - datetime(2023, 11, 14, tzinfo=UTC).date()).days
    assert_refused(made, f"the file ends on 2023-11-14, {days} days ago; allowed are 7")
    configure(made, feed("aws", SAMPLES / "aws.json", format="aws", max_age=f"{days}d"), include=["aws"])
    fetch(made)


def test_without_max_age_a_feed_may_be_as_old_as_it_is(made: World) -> None:
    configure(made, feed("aws", SAMPLES / "aws.json", format="aws"), include=["aws"])
    fetch(made)


def test_a_clock_that_ran_ahead_for_a_night_does_not_freeze_a_list_without_a_date(made: World) -> None:
    mine = made.root / "mine"
    mine.write_text("198.18.1.0/24\n")
    made.configure(set_table='include = ["mine"]', sources='max_age = "off"', more=feed("mine", mine))
    refreshed(made, days=400)
    mine.write_text("198.18.1.0/24\n# looked at\n")
    assert not [line for line in refreshed(made, days=0).stale if line.startswith("mine:")]
    assert (made.cache / "mine" / "mine").read_text() == mine.read_text()


def test_a_feed_that_cannot_be_reached_serves_on_however_old_it_is(made: World) -> None:
    mine = made.root / "mine"
    created = f"{datetime.now(UTC):%Y-%m-%d}-00-00-00"
    prefixes = [{"ip_prefix": "198.18.1.0/24", "region": "", "service": ""}]
    document = {"syncToken": "1", "createDate": created, "prefixes": prefixes, "ipv6_prefixes": []}
    mine.write_text(json.dumps(document))
    table = feed("mine", mine, format="aws", max_age="2d")
    made.configure(set_table='include = ["mine"]', sources='max_age = "off"', more=table)
    refreshed(made, days=0)
    mine.unlink()
    refreshed(made, days=1)
    (first,) = candidates.refusals(made.state)
    (line,) = refreshed(made, days=2).stale
    assert candidates.refusals(made.state) == (first,), "since the first time, not the last"
    assert line.startswith(f"mine: {mine.as_uri()}: there is no such file; the file accepted last, to ")
    before = snapshot(made.cache / "mine")
    (line,) = refreshed(made, days=3).stale
    kept = "last good file is 3 days old, limit 2: its part of the set is kept"
    assert line.startswith(f"mine: {kept}; {mine.as_uri()}: there is no such file; way out: ")
    (refusal,) = candidates.refusals(made.state)
    assert refusal.since == first.since
    assert snapshot(made.cache / "mine") == before
    assert "198.18.1.0/24" in made.run("list").out


# Quiet nights, and changes of the configuration


def test_a_second_run_writes_nothing(made: World, tmp_path: Path) -> None:
    folder = made.root / "lists"
    folder.mkdir()
    (folder / "a").write_text("198.18.1.0/24\n")
    tables = [
        feed("lists", folder),
        feed("plain", SAMPLES / "plain.txt"),
        feed("aws", SAMPLES / "aws.json", format="aws"),
        feed("gcp", SAMPLES / "gcp.json", format="gcp"),
        feed("geo", SAMPLES / "geofeed.csv", format="geofeed"),
    ]
    configure(made, *tables, include=["lists", "plain", "aws", "gcp"], exclude=["geo"])
    fetch(made)
    before = snapshot(made.root)
    ended = fetch(made)
    assert ended.err == "nothing changed\n"
    assert snapshot(made.root) == before


def test_a_feed_that_is_taken_out_or_asked_in_another_way_is_compiled_anew(made: World) -> None:
    aws = feed("aws", SAMPLES / "aws.json", format="aws", regions=["eu-central-1"])
    configure(made, aws, include=["aws"])
    fetch(made)
    assert listed(made) == union(*OF_REGISTRIES, "203.0.113.0/26", "2001:db8:2::/56")
    configure(made, feed("aws", SAMPLES / "aws.json", format="aws", services=["S3"]), include=["aws"])
    fetch(made)
    assert listed(made) == union(*OF_REGISTRIES, "203.0.113.0/26")
    configure(made, aws, exclude=["aws"], include=["203.0.113.0/24"])
    fetch(made)
    assert listed(made) == ["198.51.100.0/24", "203.0.113.64/26", "203.0.113.128/25", "2001:db8:1::/48"]
    configure(made)
    ended = fetch(made)
    assert ended.err == ""
    assert listed(made) == OF_REGISTRIES
    assert [each["name"] for each in made.run("status", "--json").value["candidate"]["sources"]] == ["apnic", "ripencc"]
    assert fetch(made).err == "nothing changed\n"


def test_a_feed_that_moves_to_another_url_with_the_same_content_changes_nothing(made: World) -> None:
    one, other = made.root / "one", made.root / "other"
    one.write_text("198.18.1.0/24\n")
    configure(made, feed("mine", one), include=["mine"])
    fetch(made)
    shutil.copy(one, other)
    one.unlink()
    configure(made, feed("mine", other), include=["mine"])
    before = accepted(made)
    assert fetch(made).err == "nothing changed\n"
    assert accepted(made) == before
