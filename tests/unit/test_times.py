"""Times as the clock of the host shows them, with the zone. Zones are written as in tzset(3), which needs no file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from fwfeed.model import Refusal
from fwfeed.report import candidate_lines, held_lines, refusal_lines
from fwfeed.report.standing import history_json, history_lines, status_json, status_lines
from fwfeed.times import abbreviation, local_text, minute_text, offset_text, span_text, utc_text
from fwfeed.zone import HostZone
from tests.unit.builders import world
from tests.unit.standings import CANDIDATE, CONFIG, GENERATION, JST, NOW, standing

NIGHT = datetime(2026, 11, 30, 18, 40, 51, tzinfo=UTC)
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
IST = timezone(timedelta(hours=5, minutes=30), "IST")

SetZone = Callable[[str | None], None]


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetZone]:
    def set_it(name: str | None) -> None:
        if name is None:
            monkeypatch.delenv("TZ", raising=False)
        else:
            monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_it
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "text", "offset"),
    [
        ("JST-9", "2026-12-01 03:40:51 JST", "UTC+09:00"),
        ("IST-5:30", "2026-12-01 00:10:51 IST", "UTC+05:30"),
        ("<+0545>-5:45", "2026-12-01 00:25:51 +0545", "UTC+05:45"),
        ("<-03>3", "2026-11-30 15:40:51 -03", "UTC-03:00"),
        ("NST3:30", "2026-11-30 15:10:51 NST", "UTC-03:30"),
        (BERLIN, "2026-11-30 19:40:51 CET", "UTC+01:00"),
        ("GMT0BST,M3.5.0/1,M10.5.0", "2026-11-30 18:40:51 GMT", "UTC"),
        ("UTC0", "2026-11-30 18:40:51 UTC", "UTC"),
        ("", "2026-11-30 18:40:51 UTC", "UTC"),
    ],
)
def test_a_moment_is_told_as_the_clock_of_the_host_shows_it(
    set_zone: SetZone, zone: str, text: str, offset: str
) -> None:
    set_zone(zone)
    assert local_text(NIGHT, HostZone()) == text
    assert offset_text(NIGHT, HostZone()) == offset


@pytest.mark.parametrize("zone", ["Asia/Tokio", "JST", "Nowhere", ":/no/such/file", "JST+", "Asia/Tokyo;"])
def test_a_zone_that_cannot_be_read_is_utc_and_called_so(set_zone: SetZone, zone: str) -> None:
    set_zone(zone)
    assert local_text(NIGHT, HostZone()) == "2026-11-30 18:40:51 UTC"


def test_without_tz_the_zone_is_that_of_etc_localtime(set_zone: SetZone) -> None:
    set_zone(None)
    shown = time.localtime(NIGHT.timestamp())
    assert local_text(NIGHT, HostZone()).startswith(time.strftime("%Y-%m-%d %H:%M:%S ", shown))
    assert NIGHT.astimezone(HostZone()).utcoffset() == timedelta(seconds=shown.tm_gmtoff)


def test_the_hour_that_the_end_of_summer_time_brings_twice_is_told_apart(set_zone: SetZone) -> None:
    set_zone(BERLIN)
    zone = HostZone()
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    second = first + timedelta(hours=1)
    assert local_text(first, zone) == "2026-10-25 02:30:00 CEST"
    assert local_text(second, zone) == "2026-10-25 02:30:00 CET"
    assert [minute_text(each, zone, second) for each in (first, second)] == [
        "2026-10-25 02:30 CEST",
        "2026-10-25 02:30",
    ]
    assert span_text(first, second, zone) == "2026-10-25 02:30 CEST to 2026-10-25 02:30 CET"
    assert first.astimezone(zone) < second.astimezone(zone)


def test_the_hour_that_summer_time_leaves_out_is_none(set_zone: SetZone) -> None:
    set_zone(BERLIN)
    before = datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)
    shown = [local_text(before + timedelta(seconds=each), HostZone()) for each in (0, 1)]
    assert shown == ["2026-03-29 01:59:59 CET", "2026-03-29 03:00:00 CEST"]


def test_the_zone_of_the_host_answers_for_what_its_clock_shows(set_zone: SetZone) -> None:
    set_zone(BERLIN)
    shown = datetime(2026, 7, 1, 12, 0, tzinfo=HostZone())
    assert (shown.utcoffset(), shown.tzname()) == (timedelta(hours=2), "CEST")
    assert shown.astimezone(UTC) == datetime(2026, 7, 1, 10, 0, tzinfo=UTC)
    assert datetime(2026, 1, 1, 12, 0, tzinfo=HostZone()).astimezone(UTC).hour == 11


@pytest.mark.parametrize("year", [1, 9999])
def test_a_moment_at_the_end_of_all_years_is_told_in_utc(set_zone: SetZone, year: int) -> None:
    moment = datetime(year, 1, 1, tzinfo=UTC) if year == 1 else datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    set_zone("JST-9" if year == 9999 else "NST3:30")
    assert local_text(moment, HostZone()).endswith(" UTC")


def test_a_span_has_the_zone_once() -> None:
    until = NIGHT + timedelta(hours=1)
    assert span_text(NIGHT, until, IST) == "2026-12-01 00:10 to 2026-12-01 01:10 IST"
    assert (minute_text(NIGHT, IST, until), abbreviation(until, IST)) == ("2026-12-01 00:10", "IST")


def test_for_machines_a_moment_is_in_utc_and_says_so() -> None:
    assert utc_text(NIGHT.astimezone(JST)) == "2026-11-30T18:40:51+00:00"


def test_where_things_stand_is_told_in_the_zone_and_to_machines_in_utc() -> None:
    status = standing(
        waits=NOW + timedelta(minutes=2),
        held=CANDIDATE,
        refusals=(Refusal(name="apnic", reason="404", since=NOW),),
    )
    generation = [(GENERATION, None)]
    told = [
        *candidate_lines(CANDIDATE, CONFIG, JST),
        *held_lines(CANDIDATE, (), JST),
        *refusal_lines(status.refusals, JST),
        *history_lines(generation, 3, JST),
        *status_lines(status, CONFIG, NOW, JST, root=True, verbose=True),
    ]
    assert "it will be undone at 2026-01-02 21:02:00 JST" in "\n".join(told)
    assert "2026-01-02 12:05:00 JST" in "\n".join(told)
    assert not [line for line in told if "+00:00" in line or "UTC" in line]
    machines = json.dumps([status_json(status, CONFIG, NOW, root=True), history_json(generation, 3)])
    assert "2026-01-02T12:02:00+00:00" in machines
    assert "2026-01-02T03:05:00+00:00" in machines
    assert "JST" not in machines


def test_a_command_knows_the_zone_of_the_host(tmp_path: Path, set_zone: SetZone) -> None:
    set_zone("JST-9")
    made = world(tmp_path)
    fetched = made.run("fetch")
    assert (fetched.code, " JST from\n" in fetched.out) == (0, True)
    assert made.run("fetch", "--json").value["compiled"].endswith("+00:00")
