"""What `fwfeed watch` shows and records, with flows made by hand in place of the kernel's."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fwfeed.attribution import Attribution
from fwfeed.cli.listening import Listening
from fwfeed.cli.observing import _Table
from fwfeed.cli.recording import Recording
from fwfeed.config import Config, parse
from fwfeed.errors import FwfeedError, NotRunning
from fwfeed.flow import Direction, Known, Sender, Sent
from fwfeed.ledger import Ledger, path
from fwfeed.ledger.schema import Damaged, explained
from fwfeed.model import NOTHING
from fwfeed.nflog import Packet, Reader
from fwfeed.observe import Summary, _Loop
from fwfeed.query import why_nothing_comes
from fwfeed.store.generations import Generations
from fwfeed.store.manifests import digest
from fwfeed.tally import milliseconds
from fwfeed.times import length_text
from tests.unit.builders import CHECKOUT, World, snapshot, world
from tests.unit.flows import NOW, flow, record, sent
from tests.unit.standings import GENERATION, JST


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


def stopped(err: str) -> str:
    """Return the closing words without how long it took."""
    found = re.fullmatch(r"stopped after \d seconds?: (.*)", err.splitlines()[-1])
    assert found is not None, err
    return found[1]


@pytest.mark.parametrize("options", [[], ["--json"], ["--record"]])
def test_it_says_that_it_listens_and_how_it_ended(made: World, options: list[str]) -> None:
    done = made.run("watch", *options)
    assert done.err.splitlines()[0] == "listening; nothing foreign yet"
    assert stopped(done.err) == "1 connection to 1 address, sender known of 100.0 %, 0 events lost"


def test_in_a_journal_it_says_nothing(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fwfeed.cli.observing.is_journal", lambda _stream: True)
    assert made.run("watch", "--verbose").err == ""


def test_the_closing_words_tell_both_ways_and_what_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = Listening(Config(), lambda _sent: None)
    assert stopped(listening.told(Summary())) == "no connection, 0 events lost"
    for end in (2, 2, 3):
        listening.add(sent(destination=f"203.0.113.{end}"))
    listening.add(sent(direction=Direction.IN))
    said = stopped(listening.told(Summary(4, 3, 1, 1)))
    assert said == "3 connections to 2 addresses, 1 came in, sender known of 33.3 %, 1 event lost"
    monkeypatch.setattr("fwfeed.cli.listening._ADDRESSES", 2)
    listening.add(sent(destination="203.0.113.4"))
    assert ": 4 connections to more than 2 addresses, " in listening.told(Summary(5, 4, 1, 0))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 seconds"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (3599, "59 minutes"),
        (3600, "1 hour"),
        (7300, "2 hours"),
        (86400, "1 day"),
        (86400 * 2000, "2,000 days"),
        (-5, "0 seconds"),
    ],
)
def test_a_length_is_told_in_its_largest_unit(seconds: float, text: str) -> None:
    assert length_text(timedelta(seconds=seconds)) == text


def policy(group: int | None) -> bytes:
    nflog = "" if group is None else f'<nflog group="{group}" prefix="x" queue-size="1"/>'
    return f'<policy target="CONTINUE"><rule>{nflog}</rule></policy>'.encode()


class Daemon:
    """A firewalld that runs."""

    def __init__(self, *, panics: bool = False) -> None:
        self.panics = panics

    def panic(self) -> bool:
        return self.panics


def why(
    made: World,
    monkeypatch: pytest.MonkeyPatch,
    *,
    more: str = "",
    policy: bytes | None = None,
    files: Mapping[str, bytes] | None = None,
    restores: int | None = None,
    firewalld: Daemon | FwfeedError | None = None,
    problems: Sequence[str] = (),
) -> str:
    """Return why nothing comes, with what is installed, and with what firewalld and the kernel are said to be."""

    def connect() -> Daemon:
        if isinstance(firewalld, FwfeedError):
            raise firewalld
        return firewalld or Daemon()

    monkeypatch.setattr("fwfeed.query.firewalld.connect", connect)
    monkeypatch.setattr("fwfeed.query.differences", lambda *_asked: list(problems))
    made.configure(more=more)
    if policy is not None:
        files = {"policies/fwfeed-outbound.xml": policy}
    if files is not None:
        digests = {path: digest(raw) for path, raw in files.items()}
        generation = replace(GENERATION, root=str(made.firewalld), files=digests, restores=restores)
        Generations.below(made.state).write(generation, files)
    before = snapshot(made.root)
    said = why_nothing_comes(parse(made.config.read_text(), file="fwfeed.toml"))
    assert snapshot(made.root) == before
    return said


OFF = '[outbound]\naction = "off"'
REASONS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing installed": ({}, "nothing is installed: no packet will come; run: fwfeed apply"),
    "off, nothing installed": (
        {"more": OFF},
        '[outbound] action is "off": no packet will come; set it to "log", and run: fwfeed apply',
    ),
    "off": (
        {"more": OFF, "policy": policy(None)},
        '[outbound] action is "off": no packet will come; set it to "log", and run: fwfeed apply',
    ),
    "taken out": (
        {"policy": policy(243), "restores": NOTHING},
        "nothing is installed: no packet will come; run: fwfeed apply",
    ),
    "log since": (
        {"files": {}},
        "generation 3 has outbound off: no packet will come; run: fwfeed apply",
    ),
    "no group installed": (
        {"policy": policy(None)},
        "generation 3 hands no packet to NFLOG: no packet will come; run: fwfeed apply",
    ),
    "another group installed": (
        {"policy": policy(7)},
        "generation 3 hands packets to NFLOG group 7, not 243: no packet will come; run: fwfeed apply",
    ),
    "another group configured": (
        {"policy": policy(243), "more": "[watch]\ngroup = 8"},
        "generation 3 hands packets to NFLOG group 243, not 8: no packet will come; run: fwfeed apply",
    ),
    "firewalld not running": (
        {"policy": policy(243), "firewalld": NotRunning("firewalld is not running", "systemctl start firewalld")},
        "firewalld is not running: no packet will come; systemctl start firewalld",
    ),
    "panic": (
        {"policy": policy(243), "firewalld": Daemon(panics=True)},
        "firewalld is in panic mode: no packet leaves; firewall-cmd --panic-off",
    ),
    "rules gone": (
        {"policy": policy(243), "problems": ["the kernel lacks a rule"]},
        "the kernel lacks a rule: packets may not come; run: fwfeed apply",
    ),
    "well": ({"policy": policy(243)}, ""),
    "off by now, but installed": ({"policy": policy(243), "more": OFF}, ""),
}


@pytest.mark.parametrize("name", REASONS)
def test_every_reason_why_nothing_comes_is_told(made: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given, reason = REASONS[name]
    assert why(made, monkeypatch, **given) == reason


def test_where_it_cannot_be_told_the_error_says_why(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FwfeedError, match="the bus is hung"):
        why(made, monkeypatch, policy=policy(243), firewalld=FwfeedError("the bus is hung"))


def test_a_damaged_generation_is_an_error(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FwfeedError, match="a policy of generation 3 is damaged"):
        why(made, monkeypatch, policy=b"<policy>")


def test_while_nothing_comes_the_reason_is_told_once_and_again_when_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = "nothing is installed"
    answers: Iterator[str | FwfeedError] = iter(["", nothing, nothing, FwfeedError("hung"), ""])
    asked = threading.Event()
    listening = Listening(Config(), lambda _sent: None)

    def ask(_config: Config) -> str:
        answer = next(answers, None)
        if answer is None:
            listening.end()
            asked.set()
            return "too late"
        if isinstance(answer, FwfeedError):
            raise answer
        return answer

    monkeypatch.setattr("fwfeed.query.why_nothing_comes", ask)
    monkeypatch.setattr("fwfeed.cli.listening._AGAIN_SECONDS", 0.0)
    noted: list[str] = []
    listening.start(noted.append)
    assert asked.wait(60)
    assert noted == [
        "listening; nothing foreign yet",
        nothing,
        "listening; nothing foreign yet; not known whether anything will come: hung",
        "listening; nothing foreign yet",
    ]
    assert listening.remark == "listening; nothing foreign yet"


def drawn(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines of what was drawn last."""
    return re.sub("\033\\[[?0-9]*[A-Za-z]", "", capsys.readouterr().out).splitlines()


def test_a_table_says_what_is_the_matter_until_something_comes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fwfeed.cli.observing._DRAWN_SECONDS", -1.0)
    monkeypatch.setenv("COLUMNS", "60")
    table = _Table(JST)
    table.draw("listening; nothing foreign yet")
    head = "fwfeed watch: 0 foreign connections; Ctrl-C ends it"
    assert drawn(capsys) == [head, "listening; nothing foreign yet"]
    table.draw("nothing is installed: no packet will come; run: fwfeed apply, or wait for it")
    assert drawn(capsys) == [head, "nothing is installed: no packet will come; run: fwfeed", "apply, or wait for it"]
    table.draw("nothing is installed: no packet will come; run: fwfeed apply, or wait for it")
    assert drawn(capsys) == []
    table.add(sent(at=NOW))
    table.draw("nothing is installed")
    shown = drawn(capsys)
    assert shown[0].startswith("fwfeed watch: 1 foreign connections;")
    assert shown[1].startswith("LAST (JST)   COUNT WAY ")
    assert shown[2].startswith("16:38:33         1 out ")


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
