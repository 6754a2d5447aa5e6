"""`fwfeed fetch` from end to end: what a good run leaves behind, and that a bad one leaves everything as it was."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwfeed.fetch import file_name
from tests.unit.builders import FWFEED, GERMANY, JAPAN, Ended, World, delegated, snapshot, world

APNIC = file_name("apnic")
MORE = "JP|ipv4|198.18.0.0|65536|20240101|allocated"


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
    assert "2 delegations taken of 3 records" in ended.out
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
    assert ended.err == "no registry's file has changed\n"
    assert snapshot(made.cache, made.state) == before


def test_a_change_in_one_file_changes_the_set(made: World) -> None:
    fetched(made)
    germany = (made.cache / "ripencc" / file_name("ripencc")).stat().st_mtime_ns
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], serial=2))
    assert "     2 prefixes,          65,792 addresses" in made.run("fetch").out
    assert made.run("list", "--family", "4").out == "198.18.0.0/16\n198.51.100.0/24\n"
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


def miscounted(made: World) -> None:
    made.publish("apnic", delegated("apnic", JAPAN, promised=4))


def miscounted_in_the_summary(made: World) -> None:
    made.publish("apnic", delegated("apnic", JAPAN).replace(b"|ipv4|*|1|", b"|ipv4|*|2|"))


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
    made.publish("apnic", delegated("apnic", [*JAPAN, "JP|ipv4|198.51.100.128|128|20240101|allocated"]))


def without_checksum(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE]))
    (made.published / f"{APNIC}.md5").unlink()


def gone(made: World) -> None:
    (made.published / APNIC).unlink()


def too_old(made: World) -> None:
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], end=datetime.now(UTC).date() - timedelta(days=9)))


BAD: list[tuple[Spoil, str]] = [
    (cut_short, f"{APNIC}:7: a record has at least 7 fields, this line has 4"),
    (cut_between_lines, f"{APNIC}:1: the header promises 4 records, the file has 3"),
    (cut_on_the_way, f"{APNIC}: MD5 is "),
    (miscounted, f"{APNIC}:1: the header promises 4 records, the file has 3"),
    (miscounted_in_the_summary, f"{APNIC}:3: the summary promises 2 ipv4 records, the file has 1"),
    (html, f"{APNIC}:1: this is HTML, not a delegated file"),
    (empty, f"{APNIC}: the file has no header: it is empty"),
    (of_another_registry, f"{APNIC}:1: this is the file of registry 'ripencc', not of apnic"),
    (a_bad_address, f"{APNIC}:8: '198.18.0.256' is not an IPv4 address"),
    (past_the_end, f"{APNIC}:8: 512 addresses from 255.255.255.0 go past the end of the address space"),
    (overlapping, f"{APNIC}: delegations overlap: 198.51.100.0-198.51.100.255 and 198.51.100.128-198.51.100.255"),
    (without_checksum, f"{APNIC}.md5: there is no such file, and sources.checksum is required"),
    (gone, f"{APNIC}: there is no such file"),
    (too_old, "apnic: the file ends on "),
]
bad = pytest.mark.parametrize(("spoil", "said"), BAD, ids=[spoil.__name__ for spoil, _ in BAD])


def kept(made: World) -> dict[str, tuple[bytes | None, int]]:
    """Return what a refusal must leave as it is; new files are staged beside the old ones, so folders do change."""
    return snapshot(made.cache, made.state, folders=False)


def assert_refused(ended: Ended, said: str) -> None:
    assert ended.code == 3, ended
    assert ended.out == ""
    assert said in ended.err, ended.err
    assert ended.err.splitlines()[-1].startswith("fwfeed: way out: ")
    assert "Traceback" not in ended.err


@bad
def test_a_bad_file_is_refused_and_nothing_changes(spoil: Spoil, said: str, made: World) -> None:
    fetched(made)
    # the other registry has something new and good, which must not go in alone
    made.publish("ripencc", delegated("ripencc", [*GERMANY, "DE|ipv4|198.19.0.0|256|20240101|allocated"], serial=2))
    spoil(made)
    before = kept(made)
    assert_refused(made.run("fetch"), said)
    assert kept(made) == before


@bad
def test_a_bad_file_at_the_first_time_leaves_no_file_behind(spoil: Spoil, said: str, made: World) -> None:
    spoil(made)
    assert_refused(made.run("fetch"), said)
    left = [path for root in (made.cache, made.state) for path in root.rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["lock"]


def test_the_reasons_of_all_bad_registries_are_told(made: World) -> None:
    html(made)
    made.publish("ripencc", delegated("ripencc", GERMANY, promised=9))
    ended = made.run("fetch")
    assert_refused(ended, f"{APNIC}:1: this is HTML")
    assert_refused(ended, f"{file_name('ripencc')}:1: the header promises 9 records")


def test_a_file_that_cannot_be_had_and_a_bad_one_are_both_told(made: World) -> None:
    gone(made)
    made.publish("ripencc", delegated("ripencc", GERMANY, promised=9))
    ended = made.run("fetch")
    assert_refused(ended, f"{APNIC}: there is no such file")
    assert_refused(ended, f"{file_name('ripencc')}:1: the header promises 9 records")


def test_an_old_file_is_accepted_when_age_is_off(made: World) -> None:
    too_old(made)
    made.configure(sources='max_age = "off"')
    assert made.run("fetch").code == 0


def test_a_file_that_grew_old_without_a_change_is_refused(made: World) -> None:
    too_old(made)
    made.configure(sources='max_age = "off"')
    fetched(made)
    made.configure()
    before = kept(made)
    assert_refused(made.run("fetch"), "apnic: the file ends on ")
    assert kept(made) == before


def test_after_a_refusal_a_good_file_is_taken(made: World) -> None:
    fetched(made)
    html(made)
    assert made.run("fetch").code == 3
    made.publish("apnic", delegated("apnic", [*JAPAN, MORE], serial=2))
    assert made.run("fetch").code == 0
    assert "198.18.0.0/16" in made.run("list").out


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
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        os.killpg(holder.pid, signal.SIGKILL)  # flock and its sleep both have the lock open
    assert made.run("fetch").code == 0


def test_two_commands_at_once_both_end_well(made: World) -> None:
    command: list[str | Path] = [FWFEED, "--config", made.config, "fetch"]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in both]
    assert [code for _, code in ended] == [0, 0], ended
    assert sorted(said for said, _ in ended) == ["", "no registry's file has changed\n"]


def test_the_installed_command_does_the_same(made: World) -> None:
    ended = made.spawn("fetch")
    assert (ended.code, ended.err) == (0, "")
    html(made)
    assert_refused(made.spawn("fetch"), f"{APNIC}:1: this is HTML")
