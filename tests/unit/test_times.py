"""Times as the clock of the host shows them, with the zone. Zones are written as in tzset(3), which needs no file."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path

import pytest

from fwfeed.ledger import Ledger, path
from fwfeed.model import Refusal, Review
from fwfeed.preview import preview
from fwfeed.report import candidate_lines, review_json, review_lines
from fwfeed.report.flows import flow_json, flow_line
from fwfeed.report.page import page
from fwfeed.report.preview import preview_json, preview_lines
from fwfeed.report.standing import history_json, history_lines, status_json, status_lines
from fwfeed.report.traffic import traffic_json, traffic_lines
from fwfeed.times import abbreviation, local_text, minute_text, offset_text, span_text, utc_text
from fwfeed.traffic import Window
from fwfeed.zone import HostZone
from tests.unit.builders import world
from tests.unit.flows import NOW as NOW_OF_FLOWS
from tests.unit.flows import record, sent, week
from tests.unit.standings import CANDIDATE, CONFIG, GENERATION, JST, NOW, standing
from tests.unit.summaries import gathered, traffic

NIGHT = datetime(2026, 11, 30, 18, 40, 51, tzinfo=UTC)
WEDNESDAY = NOW_OF_FLOWS - timedelta(hours=4)
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


def cells(made: str, name: str) -> list[str]:
    """Return what a page has as its elements of a name."""
    return re.findall(rf"<{name}[^>]*>([^<]*)</{name}>", made)


def test_a_report_tells_times_in_the_zone_and_to_machines_in_utc() -> None:
    shown = traffic([sent(at=at) for at in (WEDNESDAY, WEDNESDAY + timedelta(hours=1))])
    text = "\n".join(traffic_lines(shown, IST))
    assert text.startswith("foreign connections, 2026-11-18 12:30 to 2026-11-25 13:08 IST\n")
    assert "the ledger began 4 hours ago, at 2026-11-25 09:08:33 IST: everything is new\n" in text
    assert "  2026-11-25 09:08  2026-11-25 10:08  " in text
    assert "UTC" not in text
    value = traffic_json(shown)
    assert (value["since"], value["until"]) == ("2026-11-18T07:00:00+00:00", "2026-11-25T07:38:33+00:00")
    assert value["hours"][0]["hour"] == "2026-11-25T03:00:00+00:00"


def test_a_report_over_the_end_of_summer_time_tells_the_hours_apart(set_zone: SetZone) -> None:
    set_zone(BERLIN)
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    shown = traffic([sent(at=first + timedelta(hours=each)) for each in range(2)], since=timedelta(days=40))
    text = "\n".join(traffic_lines(shown, HostZone()))
    assert "  2026-10-25 02:30 CEST  2026-10-25 02:30  " in text
    assert text.startswith("foreign connections, 2026-10-16 09:00 CEST to 2026-11-25 08:38 CET\n")
    made = page(shown, language="en", host="www1", version="1.0", zone=HostZone()).decode()
    assert "10-25 02:30 CEST" in cells(made, "time")
    assert "10-25 02:30" in cells(made, "time")


@pytest.mark.parametrize(("zone", "name"), [(JST, "JST, UTC+09:00"), (IST, "IST, UTC+05:30"), (UTC, "UTC")])
def test_the_page_says_of_which_zone_its_times_are(zone: tzinfo, name: str) -> None:
    shown = traffic(week(200))
    made = page(shown, language="en", host="www1", version="1.0", zone=zone).decode()
    assert f"</b> ({name})." in made
    assert f"Times are {name}." in made
    assert f"時刻は {name} です。" in made
    assert f"compiled at {local_text(shown.compiled or NOW, zone)} from" in made
    titles = cells(made, "title")[1:]
    assert titles
    assert all(f" {abbreviation(NOW, zone)}: " in each for each in titles)
    assert set(re.findall('<time datetime="[^"]*(.{6})">', made)) == {"+00:00"}


def days(flows: Sequence[datetime], zone: tzinfo, since: timedelta) -> list[str]:
    """Return what the page's timeline shows of moments: a text for each bar."""
    shown = traffic([sent(at=at) for at in flows], since=since)
    return cells(page(shown, language="en", host="www1", version="1.0", zone=zone).decode(), "title")[1:]


def test_a_day_of_the_timeline_is_one_of_the_zone() -> None:
    first = datetime(2026, 11, 1, tzinfo=UTC)
    evening = datetime(2026, 11, 10, 14, 30, tzinfo=UTC)  # 23:30 in Japan, where the day is over half an hour later
    moments = [first, evening, evening + timedelta(hours=1)]
    assert days(moments, JST, timedelta(days=30))[1:] == ["2026-11-10 18:00 JST: 1", "2026-11-11 00:00 JST: 1"]
    assert days(moments, UTC, timedelta(days=30))[1:] == ["2026-11-10 12:00 UTC: 2"]
    long_ago = datetime(2026, 7, 1, tzinfo=UTC)
    assert days([long_ago, *moments[1:]], JST, timedelta(days=150))[1:] == [
        "2026-11-10 00:00 JST: 1",
        "2026-11-11 00:00 JST: 1",
    ]


def test_every_day_has_one_mark_where_clocks_are_off_by_half_an_hour() -> None:
    shown = traffic([sent(at=NOW_OF_FLOWS - timedelta(days=each, minutes=1)) for each in range(6)])
    made = page(shown, language="en", host="www1", version="1.0", zone=IST).decode()
    marks = [each for each in cells(made, "text") if re.fullmatch(r"\d\d-\d\d", each)]
    assert marks == ["11-21", "11-22", "11-23", "11-24", "11-25"]


def test_a_comparison_names_candidates_by_their_time() -> None:
    review = Review(
        before=("generation 3", None), after=("the held candidate", NIGHT), deltas=(), parts={}, verdicts=()
    )
    assert (
        next(review_lines(review, CONFIG, JST)) == "the held candidate of 2026-12-01 03:40:51 JST against generation 3"
    )
    said = review_json(review)
    assert (said["after"], said["before"]) == ("the held candidate of 2026-11-30T18:40:51+00:00", "generation 3")


def test_a_flow_is_told_with_the_zone_and_to_machines_in_utc() -> None:
    seen = sent(at=NIGHT + timedelta(milliseconds=7))
    assert flow_line(seen, JST).startswith("2026-12-01 03:40:51.007 JST out TCP ")
    assert flow_json(seen)["at"] == "2026-11-30T18:40:51.007000+00:00"


def test_a_preview_tells_times_in_the_zone_and_to_machines_in_utc() -> None:
    flows = [sent(at=WEDNESDAY)]
    window = Window(WEDNESDAY - timedelta(hours=1), NOW_OF_FLOWS, WEDNESDAY)
    found = preview(gathered(flows), {}, lambda _address: False, window, refuses=False, forwarded=False)
    text = "\n".join(preview_lines(found, JST))
    assert text.startswith("2026-11-25 11:38 to 2026-11-25 16:38 JST, ")
    assert "the ledger begins at 2026-11-25 12:38:33 JST: " in text
    assert ", last 2026-11-25 12:38\n" in text
    assert "UTC" not in text
    assert preview_json(found)["programs"][0]["last"] == "2026-11-25T03:38:33+00:00"


@pytest.mark.parametrize("since", ["off", "999999d"])
def test_of_all_of_the_ledger_a_report_says_since_when_that_is(tmp_path: Path, set_zone: SetZone, since: str) -> None:
    set_zone("JST-9")
    made = world(tmp_path)
    nothing = made.run("report", "--since", since)
    assert nothing.out.startswith("the whole ledger, to ")
    assert "1970" not in made.run("report", "--json", "--since", since).out + nothing.out
    begins = datetime.now(UTC) - timedelta(days=10)
    with Ledger.open(path(made.state)) as ledger:
        record(ledger, [sent(at=begins)])
    shown = minute_text(begins, JST, begins)
    report = made.run("report", "--since", since, "--html", tmp_path / "page.html", "--evidence", tmp_path / "case")
    assert report.code == 0
    assert made.run("report", "--since", since).out.startswith(
        f"foreign connections, since the ledger began ({shown} to "
    )
    assert made.run("preview", "--since", since).out.startswith(f"since the ledger began ({shown} to ")
    assert made.run("report", "--json", "--since", since).value["since"] == f"{begins:%Y-%m-%dT%H}:00:00+00:00"
    page = (tmp_path / "page.html").read_text()
    assert f"<b>{shown}</b> &ndash; <b>" in page
    assert "(JST, UTC+09:00). <span" in page
    readme = (tmp_path / "case/README.txt").read_text()
    assert f"\n{begins:%Y-%m-%dT%H}:00:00+00:00 to " in readme
    evidence = (tmp_path / "case/report.html").read_text()
    assert "Times are UTC." in evidence
    assert not [text for text in (page, evidence, readme) if "1970" in text]


def test_a_command_knows_the_zone_of_the_host(tmp_path: Path, set_zone: SetZone) -> None:
    set_zone("JST-9")
    made = world(tmp_path)
    fetched = made.run("fetch")
    assert (fetched.code, " JST from\n" in fetched.out) == (0, True)
    assert made.run("fetch", "--json").value["compiled"].endswith("+00:00")
