"""`fwfeed fetch` from end to end: what a good run leaves behind, and that a bad one leaves everything as it was."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwfeed.config import parse
from fwfeed.errors import FeedRefused
from fwfeed.fetch import file_name
from fwfeed.refresh import refresh
from tests.unit.builders import FWFEED, GERMANY, JAPAN, Ended, World, delegated, publish, snapshot, world

APNIC = file_name("apnic")
MORE = "JP|ipv4|198.18.0.0|64|20240101|allocated"  # as much growth as the gates let through


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def fetched(made: World) -> World:
    ended = made.run("fetch")
    assert (ended.code, ended.err) == (0, ""), ended
    return made


def test_a_good_run_leaves_the_files_the_candidate_and_the_database(made: World) -> None:
    ended = made.run("fetch")
    assert ended.code == 0
    assert ended.err == ""
    assert "set JP (IPv4):      1 prefixes,             256 addresses" in ended.out
    assert "set JP6 (IPv6):      1 prefixes," in ended.out
    assert "  apnic    serial 1, to " in ended.out
    assert ": 2 of 3 records taken\n" in ended.out
    files = {str(path.relative_to(made.root)) for path in made.cache.rglob("*") if path.is_file()}
    assert files == {
        f"cache/{registry}/{name}"
        for registry in ("apnic", "ripencc")
        for name in (file_name(registry), f"{file_name(registry)}.md5", "meta.json")
    }
    assert {path.name for path in (made.state / "candidate").iterdir()} == {
        "candidate.json",
        "delegations.sqlite",
        "lock",
    }
    candidate = json.loads((made.state / "candidate" / "candidate.json").read_text(encoding="utf-8"))
    assert candidate["ipv4"] == ["198.51.100.0/24"]
    assert candidate["ipv6"] == ["2001:db8:1::/48"]


def test_the_cache_is_a_mirror_for_another_host(made: World, tmp_path: Path) -> None:
    fetched(made)
    other = World(tmp_path / "other")
    other.root.mkdir()
    other.configure(sources=f'mirrors = ["{made.cache.as_uri()}/{{registry}}"]')  # its own URLs have nothing
    ended = other.run("fetch")
    assert ended.code == 0
    raw = delegated("apnic", JAPAN)
    assert (other.cache / "apnic" / APNIC).read_bytes() == raw
    md5 = (other.cache / "apnic" / f"{APNIC}.md5").read_text(encoding="ascii")
    assert md5 == f"{hashlib.md5(raw).hexdigest()}  {APNIC}\n"


def test_everything_left_behind_can_be_read_by_anyone_and_written_by_the_owner(made: World) -> None:
    fetched(made)
    left = [path for root in (made.cache, made.state) for path in root.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in left if path.name != "lock"} == {0o644}
    # whoever could open the lock could hold it
    assert (made.state / "candidate" / "lock").stat().st_mode & 0o777 == 0o600


def test_a_second_run_without_a_change_writes_nothing(made: World) -> None:
    fetched(made)
    before = snapshot(made.cache, made.state)
    ended = made.run("fetch")
    assert ended.code == 0
    assert ended.err == "nothing changed\n"
    assert snapshot(made.cache, made.state) == before


def test_a_change_in_one_file_changes_the_set(made: World) -> None:
    fetched(made)
    germany = (made.cache / "ripencc" / file_name("ripencc")).stat().st_mtime_ns
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], serial=2))
    assert "     2 prefixes,             320 addresses" in made.run("fetch").out
    assert made.run("list", "--family", "4").out == "198.18.0.0/26\n198.51.100.0/24\n"
    assert (made.cache / "ripencc" / file_name("ripencc")).stat().st_mtime_ns == germany, "it had not changed"


def test_a_change_of_the_configuration_alone_changes_the_set(made: World) -> None:
    fetched(made)
    made.configure(set_table='countries = ["DE"]\ninclude = []')
    assert made.run("fetch").code == 0
    assert made.run("list").out == "203.0.113.0/24\n2001:db8:2::/48\n"


@pytest.mark.parametrize(
    "lost", ["state/candidate/candidate.json", "state/candidate/delegations.sqlite", f"cache/apnic/{APNIC}"]
)
def test_what_was_lost_comes_back_though_no_file_changed(lost: str, made: World) -> None:
    fetched(made)
    before = (made.root / lost).read_bytes()
    (made.root / lost).unlink()
    assert made.run("fetch").code == 0
    assert (made.root / lost).exists()
    if lost.startswith("cache"):
        assert (made.root / lost).read_bytes() == before


def test_include_and_exclude_have_their_effect(made: World) -> None:
    made.configure(set_table='include = ["192.0.2.0/25", "2001:db8:2::/48"]\nexclude = ["198.51.100.128/25"]')
    assert made.run("fetch").code == 0
    assert made.run("list").out.split() == ["192.0.2.0/25", "198.51.100.0/25", "2001:db8:1::/48", "2001:db8:2::/48"]


def test_progress_is_told_with_v_and_never_with_q(made: World) -> None:
    ended = made.run("fetch", "-v")
    assert f" bytes, 3 records, serial 1, to {datetime.now(UTC):%Y-%m-%d}, from file://" in ended.err
    assert made.run("fetch", "-q").err == ""


Spoil = Callable[[World], None]


def cut_short(made: World) -> None:
    """The mirror itself has half a file, and an .md5 that fits it."""
    made.publish("apnic", delegated("apnic", JAPAN)[:-30])


def cut_between_lines(made: World) -> None:
    made.publish("apnic", b"".join(delegated("apnic", [*JAPAN, MORE]).splitlines(keepends=True)[:-1]))


def cut_on_the_way(made: World) -> None:
    raw = delegated("apnic", [*JAPAN, MORE])
    made.publish("apnic", raw[:-30], checksum=hashlib.md5(raw).hexdigest().encode())


def without_a_summary(made: World) -> None:
    """It was cut behind its records of IPv4, and nothing but the header says that there were others."""
    made.publish("apnic", delegated("apnic", [*JAPAN[:2], MORE], promised=4))


def miscounted_in_the_summary(made: World) -> None:
    made.publish("apnic", delegated("apnic", JAPAN).replace(b"|ipv4|*|1|", b"|ipv4|*|2|"))


def miscounted(made: World) -> None:
    made.publish("ripencc", delegated("ripencc", GERMANY).replace(b"|ipv4|*|2|", b"|ipv4|*|9|"))


def html(made: World) -> None:
    made.publish("apnic", b"<!DOCTYPE html>\n<title>Sign in</title>\n")


def empty(made: World) -> None:
    made.publish("apnic", b"")


def of_another_registry(made: World) -> None:
    made.publish("apnic", delegated("ripencc", JAPAN))


def a_bad_address(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, "JP|ipv4|198.18.0.256|256|20240101|allocated"]))


def past_the_end(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, "JP|ipv4|255.255.255.0|512|20240101|allocated"]))


def overlapping(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, "KR|ipv4|198.51.100.128|128|20240101|allocated"]))


def without_checksum(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE]))
    (made.published / f"{APNIC}.md5").unlink()


def gone(made: World) -> None:
    (made.published / APNIC).unlink()


def too_old(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], end=datetime.now(UTC).date() - timedelta(days=9)))


def from_the_future(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], end=datetime.now(UTC).date() + timedelta(days=4)))


def with_a_serial_from_the_future(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], serial=20991231))


def an_older_serial(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], serial=0))


BAD: list[tuple[Spoil, str]] = [
    (cut_short, f"{APNIC}:7: a record has at least 7 fields, this line has 4"),
    (cut_between_lines, f"{APNIC}:3: the summary promises 2 ipv4 records, the file has 1 (1 fewer)"),
    (cut_on_the_way, f"{APNIC}: MD5 is "),
    (without_a_summary, f"{APNIC}:1: the header promises 4 records, the file has 3 (1 fewer)"),
    (miscounted_in_the_summary, f"{APNIC}:3: the summary promises 2 ipv4 records, the file has 1 (1 fewer)"),
    (html, f"{APNIC}:1: this is HTML, not a delegated file"),
    (empty, f"{APNIC}: the file has no header: it is empty"),
    (of_another_registry, f"{APNIC}:1: this is the file of registry 'ripencc', not of apnic"),
    (a_bad_address, f"{APNIC}:8: '198.18.0.256' is not an IPv4 address"),
    (past_the_end, f"{APNIC}:8: 512 addresses from 255.255.255.0 go past the end of the address space"),
    (
        overlapping,
        f"{APNIC}:8: delegations to different countries overlap: 198.51.100.0-198.51.100.255 to JP (line 6) and 198.",
    ),
    (without_checksum, f"{APNIC}.md5: there is no such file, and sources.checksum is required"),
    (gone, f"{APNIC}: there is no such file"),
    (too_old, f"{APNIC}: the file ends on "),
    (from_the_future, f"{APNIC}: the file is from the future: serial 1, to "),
    (with_a_serial_from_the_future, f"{APNIC}: the file is from the future: serial 20991231, to "),
]
# what is wrong only beside the file that was accepted
WORSE: list[tuple[Spoil, str]] = [
    *((spoil, said) for spoil, said in BAD if spoil is not too_old),
    (too_old, f"{APNIC}: the end date goes backwards: serial 1, to "),
    (an_older_serial, f"{APNIC}: the serial goes backwards: serial 0, to "),
]


def named(cases: list[tuple[Spoil, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("spoil", "said"), cases, ids=[spoil.__name__ for spoil, _ in cases])


def kept(made: World) -> dict[str, tuple[bytes | None, int]]:
    """Return what a refusal must leave as it is; new files are staged beside the old ones, so folders do change.

    That something was refused is recorded, for `fwfeed status`.
    """
    left = snapshot(made.cache, made.state, folders=False)
    left.pop(str(made.state / "candidate" / "refusals.json"), None)
    return left


def refused_of(made: World) -> list[tuple[str | None, str]]:
    return [(refusal["source"], refusal["reason"]) for refusal in made.run("status", "--json").value["refused"]]


def assert_refused(ended: Ended, said: str) -> None:
    assert ended.code == 3, ended
    assert ended.out == ""
    assert said in ended.err, ended.err
    assert ended.err.splitlines()[-1].startswith("fwfeed: way out: ")
    assert "Traceback" not in ended.err


NEWS = "DE|ipv4|198.19.0.0|64|20240101|allocated"  # as much growth as the gates let through


@named(WORSE)
def test_a_bad_file_is_told_and_the_accepted_one_serves_on_beside_the_new_ones_of_others(
    spoil: Spoil, said: str, made: World
) -> None:
    made.configure(set_table='name = "JP"\ncountries = ["JP", "DE"]\ninclude = []')
    fetched(made)
    news = delegated("ripencc", [*GERMANY, NEWS], serial=2)
    made.publish("ripencc", news)
    spoil(made)
    before = snapshot(made.cache / "apnic", folders=False)
    ended = made.run("fetch")
    assert ended.code == 3
    assert ended.err.startswith("fwfeed: apnic: ")
    assert said in ended.err
    assert f"; the file accepted last, to {datetime.now(UTC):%Y-%m-%d}, serves on; way out: " in ended.err
    assert ended.err.count("\n") == 1
    assert "  apnic    serial 1, " in ended.out
    assert "  ripencc  serial 2, " in ended.out
    assert snapshot(made.cache / "apnic", folders=False) == before
    assert (made.cache / "ripencc" / file_name("ripencc")).read_bytes() == news
    assert made.run("list", "--family", "4").out == "198.19.0.0/26\n198.51.100.0/24\n203.0.113.0/24\n"
    ((source, reason),) = refused_of(made)
    assert (source, said in reason) == ("apnic", True)


@named(WORSE)
def test_a_bad_file_where_nothing_else_is_new_changes_nothing(spoil: Spoil, said: str, made: World) -> None:
    fetched(made)
    spoil(made)
    before = kept(made)
    for _ in range(2):
        ended = made.run("fetch")
        assert ended.code == 3
        assert said in ended.err
        assert kept(made) == before


@named(WORSE)
def test_a_bad_file_is_as_bad_after_a_change_of_the_configuration(spoil: Spoil, said: str, made: World) -> None:
    # the candidate is compiled anew then, out of the accepted file
    fetched(made)
    spoil(made)
    made.configure(set_table='name = "JP"\ncountries = ["JP", "DE"]\ninclude = []')
    before = snapshot(made.cache, folders=False)
    ended = made.run("fetch")
    assert ended.code == 3
    assert said in ended.err
    assert made.run("list", "--family", "4").out == "198.51.100.0/24\n203.0.113.0/24\n"
    assert snapshot(made.cache, folders=False) == before


@named(BAD)
def test_a_bad_file_at_the_first_time_refuses_all_and_leaves_no_file_behind(
    spoil: Spoil, said: str, made: World
) -> None:
    spoil(made)
    assert_refused(made.run("fetch"), said)
    left = [path for root in (made.cache, made.state) for path in root.rglob("*") if path.is_file()]
    assert sorted(path.name for path in left) == ["lock", "refusals.json"]
    ((source, reason),) = refused_of(made)
    assert (source, said in reason) == (None, True)


@named(BAD)
def test_a_bad_first_file_of_a_registry_that_is_new_in_the_configuration_refuses_all(
    spoil: Spoil, said: str, made: World
) -> None:
    # there is a candidate, and the other registry has something new: but a set without apnic is not what is asked for
    made.configure(set_table='countries = ["DE"]\ninclude = []')
    both = made.config.read_text(encoding="utf-8")
    made.config.write_text(both.replace('["apnic", "ripencc"]', '["ripencc"]'), encoding="utf-8")
    fetched(made)
    made.publish("ripencc", delegated("ripencc", [*GERMANY, NEWS], serial=2))
    spoil(made)
    made.configure(set_table='name = "JP"\ncountries = ["DE", "JP"]\ninclude = []')
    before = kept(made)
    assert_refused(made.run("fetch"), said)
    assert kept(made) == before


TWO = 'name = "HOME"\ncountries = ["JP", "DE"]\ninclude = []'


def overdue(made: World, days: int = 9) -> World:
    """Accept a file of apnic's that is past max_age by now."""
    made.publish("apnic", delegated("apnic", JAPAN, end=datetime.now(UTC).date() - timedelta(days=days)))
    made.configure(sources='max_age = "off"', set_table=TWO)
    fetched(made)
    made.configure(set_table=TWO)
    return made


@pytest.mark.parametrize("spoil", [None, html, gone, cut_short, an_older_serial])
def test_past_max_age_the_part_of_a_registry_is_kept_and_the_news_of_others_go_in(
    spoil: Spoil | None, made: World
) -> None:
    overdue(made)
    news = delegated("ripencc", [*GERMANY, NEWS], serial=2)
    made.publish("ripencc", news)
    if spoil is not None:
        spoil(made)
    before = snapshot(made.cache / "apnic", folders=False)
    ended = made.run("fetch")
    assert ended.code == 3
    told = "apnic: last good file is 9 days old, limit 7: its part of the set is kept"
    assert ended.err.startswith(f"fwfeed: {told}; {made.url('apnic')}")
    assert "; way out: " in ended.err
    assert ended.err.count("\n") == 1
    assert made.run("list", "--family", "4").out == "198.19.0.0/26\n198.51.100.0/24\n203.0.113.0/24\n"
    assert (made.cache / "ripencc" / file_name("ripencc")).read_bytes() == news
    assert snapshot(made.cache / "apnic", folders=False) == before
    (refused,) = made.run("status", "--json").value["refused"]
    assert (refused["source"], refused["overdue"]) == ("apnic", told.removeprefix("apnic: "))
    assert told in made.run("status").out
    assert 'fwfeed_source_overdue{source="apnic"} 1\n' in made.run("metrics").out
    assert 'fwfeed_source_overdue{source="ripencc"} 0\n' in made.run("metrics").out


def test_past_max_age_with_no_news_nothing_is_written_and_a_new_file_ends_it(made: World) -> None:
    overdue(made)
    before = kept(made)
    for _ in range(2):
        assert made.run("fetch").code == 3
        assert kept(made) == before
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], serial=2))
    assert made.run("fetch").code == 0
    assert "198.18.0.0/26" in made.run("list").out
    assert 'fwfeed_source_overdue{source="apnic"} 0\n' in made.run("metrics").out


def test_a_registry_without_any_accepted_file_refuses_the_first_compile_whatever_it_would_give(made: World) -> None:
    made.publish("ripencc", delegated("ripencc", GERMANY, end=datetime.now(UTC).date() - timedelta(days=9)))
    assert_refused(made.run("fetch"), f"{file_name('ripencc')}: the file ends on ")
    assert not (made.state / "candidate" / "candidate.json").exists()


@pytest.mark.parametrize("days", [0, 9])
def test_a_registry_that_gives_the_set_nothing_is_a_warning(days: int, made: World) -> None:
    made.publish("ripencc", delegated("ripencc", GERMANY, end=datetime.now(UTC).date() - timedelta(days=days)))
    made.configure(sources='max_age = "off"')
    fetched(made)
    made.configure()
    miscounted(made)
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], serial=2))
    ended = made.run("fetch")
    assert ended.code == 0
    assert ended.err.startswith("warning: ripencc: ")
    assert "is kept" not in ended.err
    assert "serves on" not in ended.err
    assert ("last good file is 9 days old, limit 7" in ended.err) is (days == 9)
    assert "; it gives the set nothing; " in ended.err
    assert "; way out: " in ended.err
    assert ended.err.count("\n") == 1
    assert "198.18.0.0/26" in made.run("list").out
    assert [source for source, _reason in refused_of(made)] == ["ripencc"]
    value = made.run("fetch", "--json").value
    assert (value["stale"], len(value["warnings"])) == ([], 1)


@pytest.mark.parametrize("days", [10, 12])
def test_a_newer_file_past_max_age_takes_the_place_of_an_older_one_and_is_told(days: int, made: World) -> None:
    overdue(made, days=20)
    news = delegated("apnic", [*JAPAN, MORE], serial=2, end=datetime.now(UTC).date() - timedelta(days=days))
    made.publish("apnic", news)
    ended = made.run("fetch")
    assert ended.code == 3
    told = f"apnic: last good file is {days} days old, limit 7"
    assert ended.err.startswith(f"fwfeed: {told}; it is new, as the one before is older still; {made.url('apnic')}")
    assert ended.err.count("\n") == 1
    assert (made.cache / "apnic" / APNIC).read_bytes() == news
    assert "198.18.0.0/26" in made.run("list").out
    assert f"CRITICAL: {told}: its part of the set is kept" in made.run("status").out
    assert 'fwfeed_source_overdue{source="apnic"} 1\n' in made.run("metrics").out
    before = kept(made)
    again = made.run("fetch")
    assert (again.code, again.err.startswith(f"fwfeed: {told}: its part of the set is kept; ")) == (3, True)
    assert kept(made) == before


def test_such_a_file_of_a_registry_that_gives_the_set_nothing_is_a_warning(made: World) -> None:
    day = datetime.now(UTC).date()
    made.publish("ripencc", delegated("ripencc", GERMANY, end=day - timedelta(days=20)))
    made.configure(sources='max_age = "off"')
    fetched(made)
    made.configure()
    made.publish("ripencc", delegated("ripencc", [*GERMANY, NEWS], serial=2, end=day - timedelta(days=9)))
    ended = made.run("fetch")
    assert ended.code == 0
    assert ended.err.startswith("warning: ripencc: last good file is 9 days old, limit 7; ")
    assert "; it gives the set nothing; " in ended.err


@pytest.mark.parametrize(
    "news",
    [
        delegated("apnic", JAPAN, serial=0, end=datetime.now(UTC).date() - timedelta(days=9)),
        delegated("apnic", JAPAN, serial=2, end=datetime.now(UTC).date() - timedelta(days=21)),
        delegated("apnic", JAPAN, serial=2, end=datetime.now(UTC).date() - timedelta(days=9))[:-9],
    ],
    ids=["serial", "date", "cut"],
)
def test_such_a_file_is_judged_by_all_else_as_ever(news: bytes, made: World) -> None:
    overdue(made, days=20)
    made.publish("apnic", news)
    before = kept(made)
    ended = made.run("fetch")
    assert ended.code == 3
    assert "last good file is 20 days old, limit 7: its part of the set is kept" in ended.err
    assert kept(made) == before


def test_registries_with_one_reason_are_told_together_and_each_with_its_age(made: World) -> None:
    day = datetime.now(UTC).date()
    made.configure(sources='max_age = "off"', set_table=TWO)
    for number, (name, records) in enumerate({"apnic": JAPAN, "ripencc": GERMANY}.items()):
        made.publish(name, delegated(name, records, end=day - timedelta(days=9 + number)))
    fetched(made)
    made.configure(set_table=TWO)
    config = made.config.read_text(encoding="utf-8")
    for name in ("apnic", "ripencc"):
        config = config.replace(made.url(name), "file:///nowhere")
    made.config.write_text(config, encoding="utf-8")
    before = kept(made)
    ended = made.run("fetch")
    assert ended.code == 3
    kept_from = "days old, limit 7: its part of the set is kept\n"
    assert f"fwfeed: apnic: last good file is 9 {kept_from}" in ended.err
    assert f"fwfeed: ripencc: last good file is 10 {kept_from}" in ended.err
    assert ended.err.count("file:///nowhere: there is no such file") == 1
    assert kept(made) == before


def test_a_lost_registry_and_one_that_could_be_stood_in_for_are_both_told(made: World) -> None:
    fetched(made)
    html(made)
    miscounted(made)
    (made.cache / "apnic" / APNIC).unlink()
    before = kept(made)
    ended = made.run("fetch")
    assert_refused(ended, f"{APNIC}:1: this is HTML")
    assert_refused(ended, f"{file_name('ripencc')}:2: the summary promises 9 ipv4 records")
    assert kept(made) == before


def test_both_registries_can_be_stood_in_for(made: World) -> None:
    made.configure(set_table=TWO)
    fetched(made)
    html(made)
    miscounted(made)
    before = kept(made)
    ended = made.run("fetch")
    assert ended.code == 3
    assert ended.err.count("serves on; way out: ") == 2
    assert [source for source, _reason in refused_of(made)] == ["apnic", "ripencc"]
    assert kept(made) == before


ODD = (b"|asn|*|1|", b"|asn|*|3|")
REMARK = "line 2: the summary promises 3 asn records, the file has 1 (2 fewer)"


def test_what_concerns_no_address_is_told_once_and_stands_in_status_and_metrics(made: World) -> None:
    made.publish("apnic", delegated("apnic", JAPAN, promised=5).replace(*ODD))
    ended = made.run("fetch", "--json")
    assert ended.code == 0
    total = "line 1: the header promises 5 records, the file has 3 (2 fewer)"
    assert ended.err.splitlines() == [f"remark: apnic: {total}", f"remark: apnic: {REMARK}"]
    again = made.run("fetch")
    assert (REMARK in again.out, again.err) == (False, "nothing changed\n")
    assert REMARK not in made.run("render", "--dry-run").out
    expected = [{"kind": "total", "text": total}, {"kind": "asn-count", "text": REMARK}]
    assert ended.value["sources"][0]["remarks"] == expected
    assert ended.value["sources"][1]["remarks"] == []
    assert made.run("fetch", "--json").err == "nothing changed\n"
    assert f"  remark: apnic: {REMARK}\n" in made.run("status").out
    assert made.run("status", "-v").out.count(REMARK) == 1
    assert made.run("status", "--json").value["candidate"]["sources"][0]["remarks"] == expected
    assert 'fwfeed_source_remarks{source="apnic"} 2\n' in made.run("metrics").out
    assert made.run("list").out == "198.51.100.0/24\n2001:db8:1::/48\n"
    made.publish("apnic", delegated("apnic", JAPAN, serial=2))
    assert made.run("fetch", "--json").err == ""
    assert 'fwfeed_source_remarks{source="apnic"} 0\n' in made.run("metrics").out


def test_a_remark_stays_where_the_candidate_is_compiled_anew_from_the_same_file(made: World) -> None:
    made.publish("apnic", delegated("apnic", JAPAN).replace(*ODD))
    assert made.run("fetch").code == 0
    made.publish("ripencc", delegated("ripencc", GERMANY, serial=2))
    ended = made.run("fetch", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert [each["text"] for each in ended.value["sources"][0]["remarks"]] == [REMARK]


@pytest.mark.parametrize("again", ["JP|ipv4|198.51.100.0|256|20190401|assigned", "JP|ipv4|198.51.100.128|64||assigned"])
def test_addresses_that_are_delegated_twice_to_one_country_are_there_once(again: str, made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, again]))
    ended = made.run("fetch")
    assert ended.code == 0
    assert made.run("list", "--family", "4").out == "198.51.100.0/24\n"
    assert ended.err.startswith("remark: apnic: lines 6 and 8 delegate the same addresses to JP, in ")
    assert "remark" not in ended.out
    for host in (0, 127, 128, 255):
        (found,) = made.run("lookup", f"198.51.100.{host}", "--json").value
        (only,) = found["delegations"]
        assert (only["country"], only["status"], only["date"]) == ("JP", "allocated", "2010-01-01")
    places = [line.partition(",")[0][-2:] for line in made.run("lookup", "--why", "198.51.100.129").out.splitlines()]
    assert [place for place in places if place in {":6", ":8"}] == [":6", ":8"], "both lines are why"


@pytest.mark.parametrize("harm", [bytes.upper, lambda raw: raw[:-1], lambda _raw: b""], ids=["other", "cut", "empty"])
def test_an_accepted_file_that_was_harmed_does_not_serve_on(harm: Callable[[bytes], bytes], made: World) -> None:
    fetched(made)
    html(made)
    path = made.cache / "apnic" / APNIC
    path.write_bytes(harm(path.read_bytes()))
    before = kept(made)
    ended = made.run("fetch")
    assert_refused(ended, f"{APNIC}:1: this is HTML")
    assert kept(made) == before
    made.publish("apnic", delegated("apnic", JAPAN))
    assert made.run("fetch").code == 0
    assert path.read_bytes() == delegated("apnic", JAPAN)


def test_as_json_the_reasons_and_what_serves_on_are_told_too(made: World) -> None:
    fetched(made)
    html(made)
    ended = made.run("fetch", "--json")
    assert ended.code == 3
    (line,) = ended.value["stale"]
    assert f"{APNIC}:1: this is HTML" in line
    assert [source["name"] for source in ended.value["sources"]] == ["apnic", "ripencc"]
    assert ended.err == f"fwfeed: {line}\nnothing changed\n"


def test_the_reasons_of_all_bad_registries_are_told(made: World) -> None:
    html(made)
    miscounted(made)
    ended = made.run("fetch")
    assert_refused(ended, f"{APNIC}:1: this is HTML")
    assert_refused(ended, f"{file_name('ripencc')}:2: the summary promises 9 ipv4 records")


def test_a_file_that_cannot_be_had_and_a_bad_one_are_both_told(made: World) -> None:
    gone(made)
    miscounted(made)
    ended = made.run("fetch")
    assert_refused(ended, f"{APNIC}: there is no such file")
    assert_refused(ended, f"{file_name('ripencc')}:2: the summary promises 9 ipv4 records")


def test_an_old_file_is_accepted_when_age_is_off(made: World) -> None:
    too_old(made)
    made.configure(sources='max_age = "off"')
    assert made.run("fetch").code == 0


def test_a_file_that_grew_old_without_a_change_is_told(made: World) -> None:
    overdue(made)
    before = kept(made)
    ended = made.run("fetch")
    assert ended.code == 3
    assert f"{APNIC}: the file ends on " in ended.err
    assert kept(made) == before


def test_a_clock_that_was_never_set_refuses_all_and_moves_nothing(made: World) -> None:
    fetched(made)
    before = snapshot(made.root)
    config = parse(made.config.read_text(), file="fwfeed.toml")
    with pytest.raises(FeedRefused) as caught:
        refresh(config, now=datetime(1970, 1, 1, 0, 3, tzinfo=UTC), tell=lambda _line: None)
    message = "this host's clock says 1970-01-01: by that no file and no certificate can be judged"
    assert (caught.value.message, caught.value.way_out.partition(":")[0]) == (message, "set the clock")
    assert snapshot(made.root) == before


def test_after_a_refusal_a_good_file_is_taken(made: World) -> None:
    fetched(made)
    html(made)
    assert made.run("fetch").code == 3
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], serial=2))
    assert made.run("fetch").code == 0
    assert "198.18.0.0/26" in made.run("list").out
    assert not (made.state / "candidate" / "refusals.json").exists()


@pytest.mark.parametrize("name", ["cache", "state"])
def test_a_file_in_the_place_of_a_folder_fails_with_a_way_out(name: str, made: World) -> None:
    # the tests run as root too, whom no mode keeps out
    (made.root / name).write_text("not a folder", encoding="utf-8")
    made.publish("apnic", delegated("apnic", JAPAN))
    before = snapshot(made.cache, made.published, folders=False)
    ended = made.run("fetch")
    assert ended.code == 1
    assert re.search(rf"^fwfeed: cannot [a-z ]+ {made.root / name}", ended.err)
    assert "Traceback" not in ended.err
    assert (made.root / name).read_text(encoding="utf-8") == "not a folder"
    assert snapshot(made.cache, made.published, folders=False) == before
    assert "fwfeed: way out: " in ended.err


@pytest.mark.parametrize("name", ["cache", "state"])
def test_a_folder_where_none_can_be_made_fails_with_a_way_out(name: str, made: World) -> None:
    made.configure(paths=f'{name} = "/proc/fwfeed/{name}"')
    ended = made.run("fetch")
    assert ended.code == 1
    assert "fwfeed: cannot make the folder /proc/fwfeed" in ended.err
    assert "Traceback" not in ended.err
    assert "fwfeed: way out: " in ended.err


@pytest.mark.parametrize("name", ["candidate.json", "delegations.sqlite"])
def test_a_folder_in_the_place_of_a_file_fails_and_leaves_the_other_files(name: str, made: World) -> None:
    fetched(made)
    (made.state / "candidate" / name).unlink()
    (made.state / "candidate" / name).mkdir()
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], serial=2))
    before = kept(made)
    ended = made.run("fetch")
    assert ended.code == 1
    assert str(made.state / "candidate" / name) in ended.err
    assert kept(made) == before


def test_a_damaged_candidate_is_told_by_who_reads_it_and_mended_by_the_next_fetch(made: World) -> None:
    fetched(made)
    (made.state / "candidate" / "candidate.json").write_text("{}", encoding="utf-8")
    ended = made.run("list")
    assert ended.code == 1
    assert f"fwfeed: {made.state / 'candidate/candidate.json'}: not a candidate: " in ended.err
    assert "way out: remove it and run: fwfeed fetch" in ended.err
    assert made.run("fetch").code == 0
    assert made.run("list").out == "198.51.100.0/24\n2001:db8:1::/48\n"


def test_a_set_that_would_be_empty_is_refused_and_nothing_changes(made: World) -> None:
    fetched(made)
    made.configure(set_table='countries = ["KR"]\ninclude = []')
    before = kept(made)
    assert_refused(made.run("fetch"), "the set is empty: nothing is delegated to KR")
    assert kept(made) == before


def test_a_journal_gets_the_reasons_and_the_way_out_as_one_line_and_an_error(made: World, tmp_path: Path) -> None:
    made.publish("apnic", b"nonsense\n")
    made.publish("ripencc", b"nonsense\n")
    command = [str(FWFEED), "--config", str(made.config), "fetch"]
    with (tmp_path / "journal").open("w+") as journal:
        status = os.fstat(journal.fileno())
        stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=journal, env={**os.environ, **stream}, check=False
        )
        journal.seek(0)
        (line,) = journal.read().splitlines()
    assert done.returncode == 3
    assert re.fullmatch(r"<3>fwfeed: (apnic|ripencc): .*; (apnic|ripencc): .*; way out: .*", line)
    # what is inherited from a service says nothing of a stream that goes elsewhere
    done = subprocess.run(command, capture_output=True, env={**os.environ, **stream}, check=False)
    assert done.stderr.count(b"\n") == 3
    assert b"<3>" not in done.stderr


def test_a_second_command_waits_for_the_first_and_says_so(made: World) -> None:
    (made.state / "candidate").mkdir(parents=True)
    with (made.state / "candidate" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        release = threading.Timer(1.0, fcntl.flock, (lock, fcntl.LOCK_UN))
        started = time.monotonic()
        release.start()
        ended = made.run("fetch", "-v")
        took = time.monotonic() - started
        release.join()
    assert ended.code == 0
    assert f"waiting for another fwfeed command to end ({made.state}/candidate/lock)" in ended.err
    assert ended.err.count("waiting for another") == 1
    assert took >= 0.9


def test_the_lock_goes_with_its_holder(made: World) -> None:
    (made.state / "candidate").mkdir(parents=True)
    path = made.state / "candidate" / "lock"
    command = ["flock", str(path), "-c", "echo held; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
        finally:
            os.killpg(holder.pid, signal.SIGKILL)  # flock and its sleep both have the lock open
    assert made.run("fetch").code == 0


def test_two_commands_at_once_both_end_well(made: World) -> None:
    command: list[str | Path] = [FWFEED, "--config", made.config, "fetch"]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in both]
    assert [code for _, code in ended] == [0, 0], ended
    assert sorted(said for said, _ in ended) == ["", "nothing changed\n"]


def test_the_installed_command_does_the_same(made: World) -> None:
    ended = made.spawn("fetch")
    assert (ended.code, ended.err) == (0, "")
    html(made)
    ended = made.spawn("fetch")
    assert ended.code == 3
    assert f"{APNIC}:1: this is HTML" in ended.err
    assert "serves on; way out: " in ended.err
    (made.cache / "apnic" / "meta.json").unlink()
    assert_refused(made.spawn("fetch"), f"{APNIC}:1: this is HTML")


def test_a_damaged_database_is_made_anew_though_no_file_changed(made: World) -> None:
    fetched(made)
    database = made.state / "candidate" / "delegations.sqlite"
    good = database.read_bytes()
    database.write_bytes(good[: len(good) // 2])
    assert made.run("lookup", "198.51.100.1").code == 1
    assert made.run("fetch").code == 0
    assert "JP, apnic" in made.run("lookup", "198.51.100.1").out


def test_a_file_that_would_leave_the_set_without_bounds_costs_its_location_alone(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fwfeed.compile.PREFIX_CAP", 3)
    crumbs = [f"JP|ipv4|198.51.100.{2 * number}|1|20100101|allocated" for number in range(4)]
    mirror = made.root / "mirror"
    publish(mirror, "apnic", delegated("apnic", crumbs))
    made.configure(sources=f'mirrors = ["{mirror.as_uri()}"]')
    fetched(made)
    assert made.run("list", "--family", "4").out == "198.51.100.0/24\n"


def test_a_bug_that_one_file_reaches_is_a_refusal_of_that_file(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched(made)
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], serial=2))
    before = kept(made)

    def broken(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(
        sys.modules["fwfeed.refresh.acquire"], "read", broken
    )  # the package has a function of that name
    ended = made.run("fetch")
    assert ended.code == 3
    assert f"apnic: {made.url('apnic')}: fwfeed failed on it: ZeroDivisionError: a bug; the file accepted" in ended.err
    assert kept(made) == before


def test_addresses_of_what_the_host_needs_are_recorded_and_never_fail_a_refresh(
    made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"time.example.net": ["192.0.2.1"]}
    monkeypatch.setattr("fwfeed.surroundings.names", lambda _config: ["time.example.net"])
    monkeypatch.setattr("fwfeed.surroundings.resolve", lambda _wanted, _seconds: known)
    record = made.state / "candidate" / "hosts.json"
    fetched(made)
    assert json.loads(record.read_text()) == known
    before = snapshot(made.root)
    assert made.run("fetch").code == 0
    assert snapshot(made.root) == before
    known["time.example.net"] = ["192.0.2.2"]
    assert made.run("fetch").code == 0
    assert json.loads(record.read_text()) == {"time.example.net": ["192.0.2.2", "192.0.2.1"]}
    record.unlink()
    record.mkdir()
    ended = made.run("fetch", "-v")
    assert ended.code == 0
    assert "the addresses of hosts could not be recorded: " in ended.err


def test_with_outbound_off_no_name_is_asked_for(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made.configure(more='[outbound]\naction = "off"')
    monkeypatch.setattr("fwfeed.surroundings.names", lambda _config: pytest.fail("a name was asked for"))
    fetched(made)
    assert not (made.state / "candidate" / "hosts.json").exists()
