"""What `fwfeed watch` shows and records, with flows made by hand in place of the kernel's."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fwfeed.attribution import Attribution
from fwfeed.cli.recording import Recording
from fwfeed.errors import FwfeedError
from fwfeed.flow import Known, Sender, Sent
from fwfeed.ledger import Ledger, path
from fwfeed.ledger.schema import Damaged, explained
from fwfeed.nflog import Packet, Reader
from fwfeed.observe import Summary, _Loop
from fwfeed.tally import milliseconds
from tests.unit.builders import CHECKOUT, World, world
from tests.unit.flows import NOW, flow, record, sent


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    flow = sent(at=datetime.now(UTC))

    def observe(_group: int, show: Callable[[Sent], None], **handed: Any) -> Summary:
        handed["ready"]()
        show(flow)
        if handed["record"] is not None:
            handed["record"]([flow], flow.flow.at)
        return Summary(1, 1, 1, 0)

    monkeypatch.setattr("fwfeed.observe.observe", observe)
    return world(tmp_path)


@pytest.mark.parametrize("options", [["--quiet"], ["--record"], ["--quiet", "--json"]])
def test_flows_are_shown(made: World, options: list[str]) -> None:
    assert "203.0.113.2" in made.run("watch", *options).out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_recorder_that_is_quiet_shows_nothing(made: World, options: list[str]) -> None:
    done = made.run("watch", "--quiet", "--record", *options)
    assert (done.code, done.out, done.err) == (0, "", "")
    with Ledger.open(path(made.state)) as ledger:
        now = datetime.now(UTC)
        assert [each.number for each in ledger.select(now - timedelta(days=1), now + timedelta(days=1))] == [1]


def test_a_name_that_the_locale_cannot_write_is_escaped() -> None:
    code = (
        "import sys\nfrom fwfeed.cli import main\nsys.argv[1:] = ['--version']\n"
        "try: main()\nexcept SystemExit: print(chr(0x65E5)); print(chr(0xDC80), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        env={"PYTHONIOENCODING": "ascii:strict"},
        cwd=CHECKOUT,
    )
    assert (done.returncode, done.stderr) == (0, b"\\udc80\n")
    assert done.stdout.endswith(b"\\u65e5\n")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(path(tmp_path), clock=lambda: NOW) as opened:
        yield opened


class Clocks:
    """The time, and what nobody sets."""

    def __init__(self) -> None:
        self.now, self.ticks = NOW, 1000.0

    def go(self, seconds: float, ticks: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.ticks += ticks


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def recording(ledger: Ledger, clocks: Clocks) -> Recording:
    return Recording(ledger, lambda: clocks.now, lambda: clocks.ticks)


def spans(ledger: Ledger) -> list[tuple[float, float]]:
    """Return what was watched, in seconds since NOW."""
    return [((first - milliseconds(NOW)) / 1000, (last - milliseconds(NOW)) / 1000) for first, last in ledger.spans()]


def test_what_is_watched_goes_on_until_all_is_handed_over(ledger: Ledger, recording: Recording, clocks: Clocks) -> None:
    clocks.go(10, 10)
    recording.record([], NOW + timedelta(seconds=4))
    assert spans(ledger) == [(0, 4)]
    recording.record([], clocks.now)
    assert spans(ledger) == [(0, 10)]


@pytest.mark.parametrize(("seconds", "ticks"), [(3600, 1), (-3600, 1), (1, 4)])
def test_after_the_clock_was_set_or_the_host_slept_another_span_begins(
    ledger: Ledger, recording: Recording, clocks: Clocks, seconds: float, ticks: float
) -> None:
    clocks.go(3, 3.5)
    recording.record([], clocks.now)
    clocks.go(seconds, ticks)
    recording.record([], clocks.now - timedelta(seconds=100))
    clocks.go(5, 5)
    recording.record([], clocks.now)
    assert sorted(spans(ledger)) == sorted([(0, 3), (3 + seconds, 8 + seconds)])


def test_flows_and_their_span_are_one(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "_watched", lambda *_times: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        record(ledger, [sent(at=NOW)], watched=(NOW, NOW))
    assert not list(ledger.select(NOW - timedelta(days=1), NOW + timedelta(days=1)))


class Names(Attribution):
    """Names everybody, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def sender(self, *_flow: object) -> Sender:
        self.asked += 1
        return Sender(known=Known.SOCKET, pid=77)


class Seen:
    """A loop of `observe`, and what it hands over."""

    def __init__(self) -> None:
        self.reader = Reader.__new__(Reader)
        self.reader.lost = 0
        self.shown: list[Sent] = []
        self.records: list[tuple[int, datetime]] = []
        self.lost: list[int] = []
        self.names = Names()
        self.loop = _Loop(
            self.reader,
            self.shown.append,
            lambda: None,
            lambda batch, until: self.records.append((len(batch), until)),
            lambda count, _now: self.lost.append(count),
        )

    def name(self, **values: Any) -> None:
        self.loop._name(self.names, Packet(flow(**values), NOW.timestamp(), None, None))

    def hand_over(self, after: float) -> None:
        self.loop._recorded -= after
        self.loop._hand_over(ended=False)


WAITS = Packet(flow(), NOW.timestamp(), None, None)


def test_an_idle_loop_says_that_it_watches() -> None:
    seen = Seen()
    seen.hand_over(0.5)
    assert seen.records == []
    seen.hand_over(0.6)
    ((count, until),) = seen.records
    assert count == 0
    assert abs(datetime.now(UTC) - until) < timedelta(seconds=5)


def test_while_flows_wait_nothing_is_missing_but_up_to_the_last_that_was_named() -> None:
    seen = Seen()
    for number in range(1000):
        seen.name(at=NOW + timedelta(seconds=number), source_port=number)
    seen.loop._waiting.append(WAITS)
    seen.hand_over(0)
    assert seen.records == [(1000, NOW + timedelta(seconds=999))]


def test_what_waits_for_ever_keeps_nothing_from_being_told() -> None:
    seen = Seen()
    seen.loop._waiting.append(WAITS)
    for _ in range(3):
        seen.name()
    seen.reader.lost = 5
    seen.hand_over(9)
    assert (seen.records, seen.lost) == ([], [])
    seen.hand_over(1.1)
    assert ([count for count, _until in seen.records], seen.lost) == ([1], [5])


def test_what_was_named_a_moment_ago_is_not_asked_about_again() -> None:
    seen = Seen()
    for _ in range(50):
        seen.name()
    assert (seen.names.asked, len(seen.shown)) == (1, 1)
    seen.name(uid=0)
    assert seen.names.asked == 2
    for key in seen.loop._asked:
        seen.loop._asked[key] -= 1.1
    seen.name()
    assert (seen.names.asked, len(seen.shown)) == (3, 1)


def test_what_has_no_ports_is_always_asked_about() -> None:
    seen = Seen()
    for _ in range(3):
        seen.name(protocol="ICMP", source_port=None, destination_port=None)
    assert (seen.names.asked, len(seen.shown)) == (3, 3)


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    """Have somebody else write to it."""
    ledger._connection.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(ledger.file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


def number(ledger: Ledger) -> int:
    return sum(each.number for each in ledger.select(NOW - timedelta(days=1), NOW + timedelta(days=1)))


def test_what_cannot_be_written_waits(
    ledger: Ledger, recording: Recording, clocks: Clocks, capsys: pytest.CaptureFixture[str]
) -> None:
    def record(*flows: Sent) -> None:
        clocks.go(1, 1)
        recording.record(flows, clocks.now)

    with locked(ledger):
        for _ in range(10):
            record(sent(at=NOW))
        assert capsys.readouterr().err == ""  # a report that takes the log in does not take longer
        for _ in range(15):
            record(sent(at=NOW))
        recording.lost(3, NOW)
        assert capsys.readouterr().err.count("in use by somebody else") == 1
    assert number(ledger) == 0
    clocks.go(9, 9)
    record()
    assert (number(ledger), spans(ledger), ledger.losses(NOW - timedelta(days=1), NOW)) == (
        25,
        [(0, 35)],
        {NOW.replace(minute=0, second=0): 3},
    )
    assert capsys.readouterr().err == f"fwfeed: {ledger.file}: can be written again\n"
    record(sent(at=NOW))
    assert number(ledger) == 26


def test_who_writes_for_a_moment_is_waited_for_in_silence(
    ledger: Ledger, recording: Recording, clocks: Clocks, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        with locked(ledger):
            clocks.go(6, 6)
            recording.record([sent(at=NOW)], clocks.now)
        clocks.go(1, 1)
        before = number(ledger)
        recording.record([], clocks.now)
        assert number(ledger) == before + 1
    assert capsys.readouterr().err == ""


def test_what_waits_is_bounded_and_the_rest_is_lost(
    ledger: Ledger, recording: Recording, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fwfeed.cli.recording._MOST", 10)
    with locked(ledger):
        for start in (0, 7):
            recording.record([sent(at=NOW, destination_port=port) for port in range(start, start + 7)], NOW)
        with pytest.raises(FwfeedError, match="in use"):
            recording.end()
    recording.end()
    assert (number(ledger), sum(ledger.losses(NOW - timedelta(days=1), NOW).values())) == (10, 4)


def test_a_ledger_that_is_damaged_ends_the_watch(ledger: Ledger, recording: Recording) -> None:
    ledger._connection.execute("DROP TABLE watched")
    with pytest.raises(Damaged):
        recording.record([], NOW)


def test_what_is_counted_is_not_counted_again_where_only_the_old_cannot_be_forgotten(
    ledger: Ledger, recording: Recording, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        with explained(ledger.file):
            raise error

    monkeypatch.setattr(Ledger, "prune", full)
    for _ in range(3):
        clocks.go(10, 10)
        recording.record([sent(at=NOW)], clocks.now)
    assert number(ledger) == 3
