"""Locations in turn until one is good, the accepted file asked about first, and what each end of it is."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from fwfeed.config import REGISTRY_URLS, Checksum, Config, SourcesConfig
from fwfeed.delegation import Snapshot
from fwfeed.errors import FeedRefused, FwfeedError
from fwfeed.feeds import Feed, Format
from fwfeed.fetch import orders
from fwfeed.refresh.acquire import Acquired, Fresh, Lost, Same, Stale, acquire
from fwfeed.store import files
from fwfeed.store.cache import Cache
from tests.unit.builders import GERMANY, JAPAN, delegated, publish, snapshot
from tests.unit.server import Answer, Server, server_context, serving
from tests.unit.test_packing import PACKERS

pytestmark = pytest.mark.usefixtures("loopback")

RAW = delegated("apnic", JAPAN)
MD5 = hashlib.md5(RAW).hexdigest()
NAME = "delegated-apnic-extended-latest"
NOW = datetime.now(UTC)


def config(
    url: str, *mirrors: str, checksum: Checksum = Checksum.REQUIRED, max_age: timedelta | None = timedelta(days=7)
) -> Config:
    sources = SourcesConfig(
        registries=("apnic",),
        mirrors=mirrors,
        checksum=checksum,
        max_age=max_age,
        retries=0,
        urls={**REGISTRY_URLS, "apnic": url},
    )
    return Config(sources=sources)


def feed(url: str, *, max_age: timedelta | None = None) -> Config:
    """Return a configuration of a feed alone."""
    listed = Feed(name="office", url=url, format=Format.PLAIN, max_age=max_age)
    return Config(sources=SourcesConfig(registries=(), max_age=timedelta(0), retries=0), feeds=(listed,))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def ask(wanted: Config, cache: Cache, *, now: datetime = NOW, accept: bool = False) -> Acquired:
    """Get the one file that a configuration asks for; `accept` keeps it, as a refresh does."""
    with files.Staging() as staging:
        (outcome,) = acquire(orders(wanted), wanted, cache, staging, now, lambda *_: None)
        if accept:
            assert isinstance(outcome, Fresh), outcome
            cache.stage(staging, outcome.file.scratch, outcome.file.digests, outcome.file.accepted, now)
            staging.commit()
    return outcome


def fresh(wanted: Config, cache: Cache, *, now: datetime = NOW) -> Fresh:
    outcome = ask(wanted, cache, now=now)
    assert isinstance(outcome, Fresh), outcome
    return outcome


def lost(wanted: Config, cache: Cache, *, now: datetime = NOW) -> FeedRefused:
    outcome = ask(wanted, cache, now=now)
    assert isinstance(outcome, Lost), outcome
    assert outcome.name == "apnic"
    assert outcome.refusal.message.startswith("apnic: ")
    assert outcome.refusal.way_out, "there is always a way out"
    return outcome.refusal


def stale(wanted: Config, cache: Cache, *, now: datetime = NOW) -> FeedRefused:
    outcome = ask(wanted, cache, now=now)
    assert isinstance(outcome, Stale), outcome
    assert outcome.accepted == cache.accepted(outcome.accepted.source.name)
    return outcome.refusal


def test_a_good_file_is_fresh_with_all_that_is_known_of_it(tmp_path: Path, cache: Cache) -> None:
    url = publish(tmp_path, "apnic", RAW)
    outcome = fresh(config(url), cache)
    source = outcome.file.accepted.source
    assert (source.name, source.url, source.serial, source.end_date) == ("apnic", url, 1, NOW.date())
    assert (source.sha256, source.records, source.taken) == (hashlib.sha256(RAW).hexdigest(), 3, 0)
    assert outcome.file.digests.md5 == MD5
    assert isinstance(outcome.reading.content, Snapshot)


def test_the_first_mirror_that_is_good_is_used(tmp_path: Path, cache: Cache) -> None:
    publish(tmp_path / "b" / "apnic", "apnic", RAW)
    own = publish(tmp_path / "own", "apnic", RAW)
    outcome = fresh(config(own, (tmp_path / "a").as_uri(), f"{tmp_path.as_uri()}/b/{{registry}}"), cache)
    assert outcome.file.accepted.source.url == f"{tmp_path.as_uri()}/b/apnic/{NAME}"


BAD = {
    "a wrong .md5": (RAW, b"0" * 32),
    "an .md5 that is none": (RAW, b"<html>"),
    "html": (b"<html>", None),
    "the file of another registry": (delegated("ripencc", GERMANY), None),
    "an old file": (delegated("apnic", JAPAN, end=NOW.date() - timedelta(days=8)), None),
    "a file from the future": (delegated("apnic", JAPAN, end=NOW.date() + timedelta(days=4)), None),
}


@pytest.mark.parametrize(("raw", "checksum"), BAD.values(), ids=BAD)
def test_a_bad_mirror_falls_through_to_the_next(
    raw: bytes, checksum: bytes | None, tmp_path: Path, cache: Cache
) -> None:
    publish(tmp_path / "a", "apnic", raw, checksum=checksum)
    own = publish(tmp_path / "own", "apnic", RAW)
    assert fresh(config(own, (tmp_path / "a").as_uri()), cache).file.accepted.source.url == own


def test_a_mirror_that_is_behind_what_was_accepted_falls_through_to_the_next(tmp_path: Path, cache: Cache) -> None:
    own = publish(tmp_path / "own", "apnic", delegated("apnic", JAPAN, serial=2))
    mirrored = config(own, (tmp_path / "a").as_uri())
    ask(mirrored, cache, accept=True)
    publish(tmp_path / "a", "apnic", RAW)
    assert isinstance(ask(mirrored, cache), Same)
    publish(tmp_path / "own", "apnic", delegated("apnic", JAPAN, serial=3))
    assert fresh(mirrored, cache).file.accepted.source.serial == 3
    (tmp_path / "own" / NAME).unlink()
    message = stale(mirrored, cache).message
    assert "the serial goes backwards: serial 1, to " in message
    assert "there is no such file" in message


def test_when_no_location_is_good_every_reason_is_told(tmp_path: Path, cache: Cache) -> None:
    wrong = publish(tmp_path / "a", "apnic", RAW, checksum=b"0" * 32)
    own = (tmp_path / "own" / NAME).as_uri()
    refusal = lost(config(own, (tmp_path / "a").as_uri()), cache)
    assert refusal.message == (
        f"apnic: {wrong}: MD5 is {MD5}, but the .md5 file says {'0' * 32}; {own}: there is no such file"
    )


def test_the_file_that_was_accepted_is_the_same_and_nothing_is_written(tmp_path: Path, cache: Cache) -> None:
    wanted = config(publish(tmp_path / "own", "apnic", RAW))
    ask(wanted, cache, accept=True)
    before = snapshot(cache.root)
    outcome = ask(wanted, cache)
    assert isinstance(outcome, Same)
    assert outcome.accepted == cache.accepted("apnic")
    assert snapshot(cache.root) == before


def test_the_same_content_at_another_location_is_the_same_file(tmp_path: Path, cache: Cache) -> None:
    ask(config(publish(tmp_path / "own", "apnic", RAW)), cache, accept=True)
    before = snapshot(cache.root, folders=False)
    assert isinstance(ask(config(publish(tmp_path / "other", "apnic", RAW)), cache), Same)
    assert snapshot(cache.root, folders=False) == before


def test_a_file_that_grew_old_is_told_though_it_is_the_same(tmp_path: Path, cache: Cache) -> None:
    wanted = config(publish(tmp_path / "own", "apnic", RAW))
    ask(wanted, cache, accept=True)
    before = snapshot(cache.root, folders=False)
    assert isinstance(ask(wanted, cache, now=NOW + timedelta(days=7)), Same)
    assert "the file ends on " in stale(wanted, cache, now=NOW + timedelta(days=8)).message
    assert snapshot(cache.root, folders=False) == before


def test_a_file_that_grew_old_is_the_same_where_a_mirror_has_none_that_is_newer(tmp_path: Path, cache: Cache) -> None:
    wanted = config(publish(tmp_path / "own", "apnic", RAW), (tmp_path / "mirror").as_uri())
    ask(wanted, cache, accept=True)
    newer = delegated("apnic", JAPAN, serial=2, end=(NOW + timedelta(days=9)).date())
    mirrored = publish(tmp_path / "mirror", "apnic", newer)
    assert fresh(wanted, cache, now=NOW + timedelta(days=9)).file.accepted.source.url == mirrored


@pytest.mark.parametrize(("days", "overdue"), [(7, ""), (8, "last good file is 8 days old, limit 7")])
def test_the_accepted_file_serves_on_and_says_when_it_is_too_old(
    days: int, overdue: str, tmp_path: Path, cache: Cache
) -> None:
    wanted = config(publish(tmp_path / "own", "apnic", RAW))
    ask(wanted, cache, accept=True)
    (tmp_path / "own" / NAME).unlink()
    before = snapshot(cache.root, folders=False)
    outcome = ask(wanted, cache, now=NOW + timedelta(days=days))
    assert isinstance(outcome, Stale)
    assert outcome.overdue == overdue
    unlimited = replace(wanted, sources=replace(wanted.sources, max_age=None))
    outcome = ask(unlimited, cache, now=NOW + timedelta(days=days))
    assert isinstance(outcome, Stale)
    assert outcome.overdue == ""
    assert snapshot(cache.root, folders=False) == before


def dated(days: int, serial: int) -> bytes:
    return delegated("apnic", JAPAN, serial=serial, end=(NOW - timedelta(days=days)).date())


@pytest.mark.parametrize(
    ("own", "mirror", "taken"),
    [(9, 8, "mirror"), (8, 9, "own"), (9, 3, "mirror"), (3, 9, "own"), (None, 9, "mirror"), (9, None, "own")],
)
def test_of_files_past_max_age_the_newest_is_taken_where_no_location_has_a_better_one(
    own: int | None, mirror: int | None, taken: str, tmp_path: Path, cache: Cache
) -> None:
    wanted = config(publish(tmp_path / "own", "apnic", dated(20, 1)), (tmp_path / "mirror").as_uri())
    ask(replace(wanted, sources=replace(wanted.sources, max_age=None)), cache, accept=True)
    (tmp_path / "own" / NAME).unlink()
    ages = {"own": own, "mirror": mirror}
    urls = {
        place: publish(tmp_path / place, "apnic", dated(days, 100 - days))
        for place, days in ages.items()
        if days is not None
    }
    before = snapshot(cache.root, folders=False)
    outcome = fresh(wanted, cache)
    days = ages[taken] or 0
    assert outcome.file.accepted.source.url == urls[taken]
    assert outcome.file.accepted.source.end_date == (NOW - timedelta(days=days)).date()
    assert outcome.overdue == (f"last good file is {days} days old, limit 7" if days > 7 else "")
    assert (outcome.refusal is not None) is (days > 7)
    assert snapshot(cache.root, folders=False) == before


def test_a_file_past_max_age_is_not_taken_where_none_was_accepted(tmp_path: Path, cache: Cache) -> None:
    url = publish(tmp_path / "own", "apnic", dated(9, 1))
    assert "the file ends on " in lost(config(url), cache).message


@pytest.mark.parametrize(("days", "limit", "said"), [(2, 36, "2 days old, limit 1.5"), (1, 12, "1 day old, limit 0.5")])
def test_limits_in_hours_are_told_in_days(days: int, limit: int, said: str, tmp_path: Path, cache: Cache) -> None:
    wanted = config(publish(tmp_path / "own", "apnic", RAW), max_age=timedelta(hours=limit))
    ask(wanted, cache, accept=True)
    outcome = ask(wanted, cache, now=NOW + timedelta(days=days))
    assert isinstance(outcome, Stale)
    assert outcome.overdue == f"last good file is {said}"


@pytest.mark.parametrize("checksum", [True, False])
def test_what_is_said_of_a_bad_file_depends_on_whether_its_md5_is_right(
    checksum: bool,  # noqa: FBT001
    tmp_path: Path,
    cache: Cache,
) -> None:
    raw = delegated("apnic", JAPAN).replace(b"|ipv4|*|1|", b"|ipv4|*|3|")
    url = publish(tmp_path, "apnic", raw)
    if not checksum:
        (tmp_path / f"{NAME}.md5").unlink()
    refusal = lost(config(url, checksum=Checksum.OPTIONAL), cache)
    assert f"{url}:3: the summary promises 3 ipv4 records, the file has 1 (2 fewer)" in refusal.message
    claims = [word for word in ("cut short", "altered") if word in refusal.message + refusal.way_out]
    assert claims == ([] if checksum else ["cut short", "altered"])
    assert ("its MD5 is right" in refusal.way_out) is checksum


def test_a_feed_is_as_old_as_its_own_limit_says_and_not_the_registries(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "list"
    path.write_text("192.0.2.0/24\n")
    old = NOW + timedelta(days=10_000)
    ask(feed(path.as_uri()), cache, accept=True)
    assert isinstance(ask(feed(path.as_uri()), cache, now=old), Same)
    limited = feed(path.as_uri(), max_age=timedelta(days=90))
    assert isinstance(ask(limited, cache, now=NOW + timedelta(days=90)), Same)
    for there in (True, False):
        if not there:
            path.unlink()
            assert isinstance(ask(feed(path.as_uri()), cache, now=old), Stale)
        outcome = ask(limited, cache, now=NOW + timedelta(days=91))
        assert isinstance(outcome, Stale)
        assert outcome.overdue == "last good file is 91 days old, limit 90"


def test_a_feed_without_a_date_is_dated_by_the_day_it_came(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "list"
    path.write_text("192.0.2.0/24\n")
    source = fresh(feed(path.as_uri()), cache).file.accepted.source
    assert (source.serial, source.end_date) == (None, NOW.date())
    path.write_text("192.0.2.0/33\n")
    outcome = ask(feed(path.as_uri()), cache)
    assert isinstance(outcome, Lost)
    assert f"{path.as_uri()}:1: " in outcome.refusal.message


def test_a_bad_line_of_a_folder_is_named_by_its_own_file(tmp_path: Path, cache: Cache) -> None:
    folder = tmp_path / "lists.d"
    folder.mkdir()
    (folder / "a").write_text("192.0.2.0/24\n198.51.100.0/24\n")
    (folder / "b").write_text("# ours\n203.0.113.0/33\n")
    outcome = ask(feed(folder.as_uri()), cache)
    assert isinstance(outcome, Lost)
    assert outcome.refusal.message.startswith(f"office: {folder.as_uri()}/b:2: ")


def test_a_file_that_is_ahead_of_its_md5_is_good_on_the_second_try(https: Server, cache: Cache) -> None:
    url = https.publish(RAW, b"0" * 32, MD5.encode())
    assert fresh(config(url), cache).file.digests.md5 == MD5
    assert https.asked == ["/f", "/f.md5", "/f", "/f.md5"]


def test_there_is_no_third_try(https: Server, cache: Cache) -> None:
    url = https.publish(RAW, b"0" * 32, b"1" * 32, MD5.encode())
    assert lost(config(url), cache).message.endswith(f"but the .md5 file says {'1' * 32}")
    assert len(https.asked) == 4


def test_each_location_has_its_own_second_try(https: Server, cache: Cache) -> None:
    for path in (f"/a/{NAME}", "/own"):
        https.answers[path] = [Answer(RAW)]
        https.answers[f"{path}.md5"] = [Answer(b"0" * 32), Answer(b"1" * 32)]
    https.answers["/own.md5"] = [Answer(b"0" * 32), Answer(MD5.encode())]
    outcome = fresh(config(f"{https.url}/own", f"{https.url}/a"), cache)
    assert outcome.file.accepted.source.url == f"{https.url}/own"
    assert len(https.asked) == 8


SENT = {"ETag": '"one"', "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}


def test_the_location_of_the_accepted_file_is_asked_whether_it_has_another(https: Server, cache: Cache) -> None:
    https.answers = {
        "/f": [Answer(RAW, headers=SENT), Answer(status=304, length=False)],
        "/f.md5": [Answer(MD5.encode())],
    }
    wanted = config(f"{https.url}/f")
    ask(wanted, cache, accept=True)
    before = snapshot(cache.root)
    assert isinstance(ask(wanted, cache), Same)
    assert https.asked == ["/f", "/f.md5", "/f"]
    assert https.headers[-1]["If-None-Match"] == '"one"'
    assert snapshot(cache.root) == before


def test_another_location_is_not_asked_with_what_the_first_one_said(https: Server, cache: Cache) -> None:
    https.publish(RAW, MD5.encode())
    https.answers["/f"] = [Answer(RAW, headers=SENT)]
    ask(config(f"{https.url}/f"), cache, accept=True)
    https.answers["/g"], https.answers["/g.md5"] = https.answers["/f"], https.answers["/f.md5"]
    assert isinstance(ask(config(f"{https.url}/g"), cache), Same)
    assert "If-None-Match" not in https.headers[-2]


@pytest.mark.parametrize("harmed", ["the file", "meta.json"])
def test_nothing_is_asked_about_a_file_that_was_harmed(harmed: str, https: Server, cache: Cache) -> None:
    # the server would answer that it has not changed, and what was lost would never come back
    https.publish(RAW, MD5.encode())
    https.answers["/f"] = [Answer(RAW, headers=SENT)]
    wanted = config(f"{https.url}/f")
    ask(wanted, cache, accept=True)
    path = cache.path("apnic") if harmed == "the file" else cache.path("apnic").with_name("meta.json")
    path.write_bytes(path.read_bytes()[:-10])
    fresh(wanted, cache)
    assert "If-None-Match" not in https.headers[-2]


def test_a_second_try_does_not_ask_about_the_accepted_file(https: Server, cache: Cache) -> None:
    # or the answer could be that nothing has changed since the file whose .md5 did not match
    wanted = config(f"{https.url}/f")
    newer = delegated("apnic", JAPAN, serial=2)
    https.answers = {
        "/f": [Answer(RAW, headers=SENT), Answer(newer)],
        "/f.md5": [Answer(MD5.encode()), Answer(MD5.encode()), Answer(hashlib.md5(newer).hexdigest().encode())],
    }
    ask(wanted, cache, accept=True)
    assert fresh(wanted, cache).file.accepted.source.serial == 2
    assert ["If-None-Match" in headers for headers in https.headers[2::2]] == [True, False]


def test_what_the_disk_refuses_is_no_fault_of_the_location(tmp_path: Path, cache: Cache) -> None:
    own = publish(tmp_path / "own", "apnic", RAW)
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(FwfeedError) as caught:
        ask(config(own, (tmp_path / "a").as_uri()), cache)
    assert not isinstance(caught.value, FeedRefused)


@pytest.fixture
def hanging(authority: trustme.CA) -> Iterator[tuple[Server, threading.Event]]:
    """A server that says nothing to whoever asks for a file of the registry ripencc until it is told to go on."""
    go_on = threading.Event()
    with serving(server_context(authority)) as server:
        answer = server.answer

        def hang(path: str, headers: dict[str, str]) -> Answer:
            if path == "/hangs":
                go_on.wait(30)
            return answer(path, headers)

        server.answer = hang  # type: ignore[method-assign, assignment]
        yield server, go_on
        go_on.set()


def both(url: str, hangs: str) -> Config:
    sources = SourcesConfig(
        registries=("apnic", "ripencc"), retries=0, urls={**REGISTRY_URLS, "apnic": url, "ripencc": hangs}
    )
    return Config(sources=sources)


def test_closing_cuts_what_is_still_under_way_and_leaves_nothing(
    hanging: tuple[Server, threading.Event],
    tmp_path: Path,
    cache: Cache,
) -> None:
    server, _go_on = hanging
    wanted = both(publish(tmp_path / "own", "apnic", RAW), f"{server.url}/hangs")
    with files.Staging() as staging:
        running = acquire(orders(wanted), wanted, cache, staging, NOW, lambda *_: None)
        assert isinstance(next(running), Fresh), "who is done does not wait for who is not"
        began = time.monotonic()
        running.close()
        assert time.monotonic() - began < 5
    assert [path for path in cache.root.rglob("*") if path.is_file()] == []


def test_a_location_that_hangs_gives_way_to_the_next_when_its_time_is_over(
    hanging: tuple[Server, threading.Event],
    tmp_path: Path,
    cache: Cache,
) -> None:
    server, _go_on = hanging
    server.answers[f"/{NAME}"] = [Answer(status=302, location="/hangs")]
    own = publish(tmp_path / "own", "apnic", RAW)
    wanted = config(own, server.url)
    wanted = replace(wanted, sources=replace(wanted.sources, deadline=timedelta(seconds=0.5)))
    assert fresh(wanted, cache).file.accepted.source.url == own


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_a_packed_file_is_kept_as_the_plain_one(suffix: str, tmp_path: Path, cache: Cache) -> None:
    url = publish(tmp_path / "own", "apnic", PACKERS[suffix](RAW), suffix=suffix, checksum=MD5.encode())
    ask(config(url), cache, accept=True)
    assert cache.path("apnic").read_bytes() == RAW
    assert sorted(path.name for path in cache.path("apnic").parent.iterdir()) == [NAME, f"{NAME}.md5", "meta.json"]
    assert isinstance(ask(config(url), cache), Same)
