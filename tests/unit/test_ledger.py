"""The ledger counts each flow once, keeps what was committed, and stays within its bounds."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.errors import FwfeedError
from fwfeed.flow import Direction, Flow, Kind, Known, Sender, Sent
from fwfeed.ledger import Ledger
from fwfeed.ledger.importing import import_lines
from fwfeed.ledger.schema import Busy
from fwfeed.logline import Line
from fwfeed.tally import NOBODY, Sum, Tally, fold, milliseconds
from tests.unit.builders import CHECKOUT
from tests.unit.flows import NOW, counted, flow, flow_of, logged, record, sender, sent, week

LONG_AGO = NOW - timedelta(days=4000)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state/ledger.sqlite"


def opened(file: Path, **bounds: Any) -> Ledger:
    return Ledger.open(file, clock=lambda: NOW, **bounds)


def rows(ledger: Ledger) -> list[Tally]:
    return list(ledger.select(LONG_AGO, NOW + timedelta(days=1)))


def test_flows_that_are_alike_are_counted_together(file: Path) -> None:
    hour = NOW.replace(minute=0, second=0)
    with opened(file) as ledger:
        record(ledger, [sent(at=hour + timedelta(minutes=minute), source_port=40000 + minute) for minute in (5, 3, 9)])
        record(ledger, [sent(at=hour + timedelta(minutes=1)), sent(at=hour - timedelta(minutes=1))])
        earlier, later = rows(ledger)
    assert (earlier.number, later.number) == (1, 4)
    assert (later.hour, later.first, later.last) == (hour, hour + timedelta(minutes=1), hour + timedelta(minutes=9))
    assert later.program.executable == "/usr/bin/curl"
    assert later.program.uid == 1000


@pytest.mark.parametrize(
    "other",
    [
        sent(destination="203.0.113.3"),
        sent(destination_port=444),
        sent(destination_port=None),
        sent(protocol="UDP"),
        sent(direction=Direction.FORWARDED),
        sent(uid=None),
        sent(sender("/usr/bin/wget")),
        sent(sender(unit="evil.service")),
        sent(sender(user="apache")),
        sent(sender(container="nextcloud")),
        sent(sender(known=Known.USER)),
        sent(sender(deleted=True)),
    ],
)
def test_flows_that_differ_in_what_matters_are_not(other: Sent, file: Path) -> None:
    with opened(file) as ledger:
        record(ledger, [sent(), other])
        assert len(rows(ledger)) == 2


def test_what_came_in_is_counted_by_where_it_came_from(file: Path) -> None:
    coming = [sent(direction=Direction.IN, source="203.0.113.9", destination="198.51.100.1", destination_port=22)]
    with opened(file) as ledger:
        record(ledger, coming)
        (row,) = rows(ledger)
    assert (row.foreign, row.port, row.origin) == ("203.0.113.9", 22, "")


def test_forwarded_flows_are_told_apart_by_where_they_come_from(file: Path) -> None:
    with opened(file) as ledger:
        record(ledger, [sent(direction=Direction.FORWARDED, source=f"10.88.0.{end}") for end in (2, 3, 3)])
        assert sorted((row.origin, row.number) for row in rows(ledger)) == [("10.88.0.2", 1), ("10.88.0.3", 2)]


SENDERS = st.sampled_from([sender(), sender("/usr/bin/wget"), Sender(known=Known.NOT), sender(unit="evil.service")])
FLOWS = st.builds(
    lambda who, minutes, end, port, direction: sent(
        who,
        at=NOW - timedelta(minutes=minutes),
        destination=f"203.0.113.{end}",
        destination_port=port,
        direction=direction,
    ),
    SENDERS,
    st.integers(0, 300),
    st.integers(1, 3),
    st.sampled_from([None, 53, 443]),
    st.sampled_from(list(Direction)),
)


@given(st.lists(st.lists(FLOWS, max_size=12), max_size=4))
def test_it_counts_as_one_who_counts_on_fingers(batches: list[list[Sent]]) -> None:
    def naive(each: Sent) -> tuple[object, ...]:
        flow, who = each.flow, each.sender
        foreign = flow.source if flow.direction is Direction.IN else flow.destination
        hour = flow.at.replace(minute=0, second=0, microsecond=0)
        return (hour, foreign, flow.destination_port, flow.direction, who.executable, who.unit, who.known)

    flows = [each for batch in batches for each in batch]
    connection_file = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"fwfeed-ledger-{os.getpid()}.sqlite"
    try:
        with opened(connection_file) as ledger:
            for batch in batches:
                record(ledger, batch)
            found = rows(ledger)
    finally:
        for path in connection_file.parent.glob(f"{connection_file.name}*"):
            path.unlink()
    counted = Counter(map(naive, flows))
    assert {
        (row.hour, row.foreign, row.port, row.direction, row.program.executable, row.program.unit, row.program.known): (
            row.number,
            row.first,
            row.last,
        )
        for row in found
    } == {
        key: (
            number,
            min(each.flow.at for each in flows if naive(each) == key),
            max(each.flow.at for each in flows if naive(each) == key),
        )
        for key, number in counted.items()
    }


def imported(ledger: Ledger, log: Iterable[Line]) -> int:
    """Import what is new of a log."""
    position = ledger.cursor("journal")
    since = datetime(1970, 1, 1, tzinfo=UTC) if position is None else datetime.fromisoformat(position)
    return import_lines(ledger, log, "journal", lambda _uid: sender(), since=since, until=NOW)


def test_a_log_that_is_imported_twice_is_counted_once(file: Path) -> None:
    log = [logged(flow(at=NOW - timedelta(minutes=minute), source_port=minute)) for minute in range(300, 0, -1)]
    with opened(file) as ledger:
        assert imported(ledger, log) == 300
    with opened(file) as ledger:
        assert ledger.cursor("journal") == (NOW - timedelta(minutes=1)).isoformat()
        assert ledger.cursor("other") is None
        assert imported(ledger, log) == 0
        assert sum(row.number for row in rows(ledger)) == 300


def test_an_import_that_is_cut_off_goes_on_where_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fwfeed.ledger.importing._BATCH", 10)
    log = [logged(flow(at=NOW - timedelta(minutes=100 - at), source_port=at)) for at in range(100)]

    def breaking() -> Iterator[Line]:
        yield from log[:37]
        raise KeyboardInterrupt

    with opened(file) as ledger:
        with pytest.raises(KeyboardInterrupt):
            imported(ledger, breaking())
        assert ledger.cursor("journal") == (NOW - timedelta(minutes=100 - 29)).isoformat()
        assert sum(row.number for row in rows(ledger)) == 30
        assert imported(ledger, log) == 70
        assert sum(row.number for row in rows(ledger)) == 100


LOGGED = st.builds(
    lambda end, minutes, uid, port, direction: logged(
        flow(
            destination=f"203.0.113.{end}",
            source=f"198.51.100.{end}",
            at=NOW - timedelta(minutes=minutes),
            uid=uid,
            source_port=port,
            direction=direction,
        )
    ),
    st.integers(0, 2),
    st.integers(0, 200),
    st.sampled_from([None, 48]),
    st.integers(1, 60000),
    st.sampled_from(list(Direction)),
)


@given(st.lists(LOGGED, max_size=40))
def test_lines_that_share_what_they_have_in_common_count_as_those_that_do_not(lines: list[Line]) -> None:
    shared: dict[Kind, Kind] = {}
    senders = {None: sender(), 48: sender("/usr/sbin/httpd")}

    def kept(each: Flow) -> Kind:
        kind = Kind(**{field.name: getattr(each, field.name) for field in fields(Kind)})
        return shared.setdefault(kind, kind)

    apart = fold((at // 1000, kind, replace(senders[kind.uid])) for at, _port, kind in lines)
    together = fold((at // 1000, kept(flow_of(line)), senders[line[2].uid]) for line in lines for at in line[:1])
    assert set(apart) == set(together)
    for key, each in apart.items():
        assert [getattr(each, name) for name in Sum.__slots__] == [
            getattr(together[key], name) for name in Sum.__slots__
        ]


def test_what_was_watched_is_not_counted_again_from_the_log(file: Path) -> None:
    with opened(file) as ledger:
        ledger.watched(NOW - timedelta(minutes=30), NOW - timedelta(minutes=20))
        ledger.watched(NOW - timedelta(minutes=30), NOW - timedelta(minutes=10))
        log = [logged(flow(at=NOW - timedelta(minutes=minute), source_port=minute)) for minute in range(40, 0, -1)]
        assert imported(ledger, log) == 40 - 21


def test_what_was_seen_and_since_when_are_kept_together_or_not_at_all(file: Path) -> None:
    span = (NOW - timedelta(minutes=5), NOW)
    with opened(file) as ledger:
        with pytest.raises(AttributeError):
            record(ledger, [sent()], watched=(NOW, object()))  # type: ignore[arg-type]
        assert (rows(ledger), ledger.spans()) == ([], [])
        record(ledger, [sent()], watched=span)
        assert ledger.spans() == [tuple(map(milliseconds, span))]
        assert len(rows(ledger)) == 1


def test_what_came_in_while_it_was_watched_is_counted_from_the_log(file: Path) -> None:
    with opened(file) as ledger:
        ledger.watched(NOW - timedelta(minutes=30), NOW)
        at = NOW - timedelta(minutes=20)
        values = [{"direction": direction, "source_port": port} for port, direction in enumerate(Direction)]
        log = [logged(flow(at=at, source="203.0.113.9", **each)) for each in values]
        assert imported(ledger, log) == 1
        assert [row.direction for row in rows(ledger)] == [Direction.IN]


def test_lost_events_are_counted_by_the_hour(file: Path) -> None:
    with opened(file) as ledger:
        ledger.lost(3, NOW)
        ledger.lost(4, NOW)
        ledger.lost(5, NOW - timedelta(hours=2))
        hour = NOW.replace(minute=0, second=0)
        assert ledger.losses(LONG_AGO, NOW) == {hour - timedelta(hours=2): 5, hour: 7}
        assert ledger.losses(NOW - timedelta(hours=1), NOW) == {hour: 7}


def test_only_the_hours_asked_for_are_selected(file: Path) -> None:
    with opened(file) as ledger:
        record(ledger, [sent(at=NOW - timedelta(hours=back)) for back in range(10)])
        chosen = list(ledger.select(NOW - timedelta(hours=3), NOW - timedelta(hours=1)))
        assert [(NOW.hour - row.hour.hour) for row in chosen] == [3, 2, 1]


_WRITER = """
import sys
from pathlib import Path
from tests.unit.flows import NOW, counted, sent
from datetime import timedelta
from fwfeed.ledger import Ledger
with Ledger.open(Path(sys.argv[1]), keep=timedelta(days=40000)) as ledger:
    for number in range(100000):
        flows = [sent(destination=f"203.0.113.{number % 250}", at=NOW - timedelta(hours=at)) for at in range(50)]
        ledger.count(counted(flows), cursors={"number": str(number)})
        print(number, flush=True)
"""


@pytest.mark.parametrize("milliseconds", [0, 3, 7, 11])
def test_what_was_committed_outlives_kill_9_in_mid_write(milliseconds: int, file: Path) -> None:
    command = [sys.executable, "-c", _WRITER, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 20:
                break
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGKILL)
        said = [int(line) for line in process.stdout.read().splitlines() if line.isdecimal()]
    committed = said[-1] if said else 20
    with opened(file, keep=timedelta(days=40000)) as ledger:
        # whole transactions: 50 flows and the cursor, and at least all that were said to be done
        last = int(ledger.cursor("number") or -1)
        assert last >= committed - 1
        assert sum(row.number for row in rows(ledger)) == 50 * (last + 1)
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_whoever_fails_in_mid_record_leaves_nothing(file: Path) -> None:
    with opened(file) as ledger:
        with pytest.raises(FwfeedError):
            ledger.count(counted([sent()]), cursors={"journal": object()})  # type: ignore[dict-item]
        assert rows(ledger) == []
        record(ledger, [sent()])
        assert len(rows(ledger)) == 1


def test_what_is_old_is_forgotten(file: Path) -> None:
    with opened(file, keep=timedelta(days=3)) as ledger:
        record(ledger, [sent(sender(f"/usr/bin/{days}"), at=NOW - timedelta(days=days)) for days in range(6)])
        ledger.lost(1, NOW - timedelta(days=5))
        ledger.prune(NOW)
        assert [row.program.executable for row in rows(ledger)] == [f"/usr/bin/{days}" for days in (3, 2, 1, 0)]
        assert ledger.losses(LONG_AGO, NOW) == {}


def test_a_clock_that_jumps_ahead_erases_nothing_at_once(file: Path) -> None:
    with opened(file) as ledger:
        record(ledger, [sent()])
    for _again in range(2):
        for ahead in (timedelta(days=4000), timedelta()):
            with Ledger.open(file, clock=lambda ahead=ahead: NOW + ahead) as ledger:  # type: ignore[misc]
                record(ledger, [sent(at=NOW + ahead)])
                assert rows(ledger)[0].first == NOW - timedelta(hours=1)
    with opened(file, keep=timedelta(minutes=30)) as ledger:  # but less to keep is less at once
        ledger.prune(NOW)
        assert [row.first for row in rows(ledger)] == [NOW]


@pytest.mark.parametrize("first", [timedelta(), -timedelta(days=20000)])
def test_where_the_clock_goes_on_or_is_put_right_what_is_old_is_forgotten(first: timedelta, file: Path) -> None:
    with opened(file, keep=timedelta(days=3)) as ledger:
        record(ledger, [sent()])
        ledger.prune(NOW)
        ledger.prune(NOW + first)
        for hours in range(6, 24 * 3 + 6, 6):
            assert len(rows(ledger)) == 1
            ledger.prune(NOW + timedelta(hours=hours))
        assert rows(ledger) == []


def test_rows_are_bounded_and_the_oldest_hours_go_first(file: Path) -> None:
    flows = [
        sent(at=NOW - timedelta(hours=hour), destination=f"203.0.113.{end}") for hour in range(50) for end in range(20)
    ]
    with opened(file, rows=400, hour_rows=30) as ledger:
        record(ledger, flows)
        ledger.prune(NOW)
        kept = rows(ledger)
    assert 300 < len(kept) <= 400
    hours = sorted({row.hour for row in kept})
    assert hours[-1] == NOW.replace(minute=0, second=0)
    assert all(later - earlier == timedelta(hours=1) for earlier, later in pairwise(hours))


def test_bytes_are_bounded(file: Path) -> None:
    with opened(file, size=1 << 20, hour_rows=100) as ledger:
        for hour in range(60):
            record(
                ledger,
                [
                    sent(sender(command="x" * 5000), at=NOW - timedelta(hours=hour), destination=f"203.0.113.{end}")
                    for end in range(90)
                ],
            )
        ledger.prune(NOW)
        assert rows(ledger)
    assert file.stat().st_size <= 1 << 20


def test_a_scan_does_not_push_out_what_was_before_it(file: Path) -> None:
    with opened(file, rows=500, hour_rows=100) as ledger:
        record(ledger, [sent(at=NOW - timedelta(hours=5))])
        for start in range(0, 3000, 500):
            record(ledger, [sent(destination_port=port) for port in range(start, start + 500)])
        record(ledger, [sent(destination_port=7)])
        ledger.prune(NOW)
        found = rows(ledger)
        assert len(found) <= 102
        assert sum(row.number for row in found) == 3002
        assert found[0].hour < NOW - timedelta(hours=5)
        (others,) = (row for row in found if not row.foreign)
        assert others.program.executable == "/usr/bin/curl"
        assert next(row.number for row in found if row.port == 7) == 2


def test_who_pretends_to_be_many_programs_takes_the_names_of_his_own(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fwfeed.ledger.programs.PROGRAMS", 20)
    with opened(file) as ledger:
        record(ledger, [sent(sender("/usr/sbin/chronyd", user="chrony"), uid=995)])
        for number in range(200):
            record(ledger, [sent(sender(f"/tmp/{number}", user="eve", command=f"/tmp/{number} -x"), uid=1000)])
        record(ledger, [sent(sender("/tmp/miner", user="apache"), uid=48)])
        found = rows(ledger)
    assert len(found) <= 22
    assert sum(row.number for row in found) == 202
    assert {"/usr/sbin/chronyd", "/tmp/199", "/tmp/miner"} <= {row.program.executable for row in found}
    (nameless,) = (row for row in found if not row.program.executable)
    assert (nameless.program.uid, nameless.program.user, nameless.program.known) == (1000, "eve", Known.SOCKET)
    assert nameless.number > 170
    assert nameless.command.startswith("/tmp/")


def test_more_programs_at_once_than_there_is_room_for_are_known_by_their_user(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fwfeed.ledger.programs.PROGRAMS", 10)
    with opened(file) as ledger:
        record(ledger, [sent(sender(f"/tmp/{number}")) for number in range(30)])
        record(ledger, [sent(sender(f"/tmp/{number}"), uid=number) for number in range(5000, 5030)])
        found = rows(ledger)
    assert sum(row.number for row in found) == 60
    assert len({row.program for row in found}) <= 12
    assert 0 < next(row.number for row in found if row.program == NOBODY) <= 40


def test_what_an_hour_has_no_room_for_is_bounded_too(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fwfeed.ledger.SUMS", 5)
    with opened(file, hour_rows=10) as ledger:
        for part in range(4):
            record(ledger, [sent(sender(f"/tmp/{part}/{number}")) for number in range(30)])
        found = rows(ledger)
    assert sum(row.number for row in found) == 120
    assert len(found) == 16


def test_texts_are_bounded_and_can_be_anything(file: Path) -> None:
    names = ("\udce3\udc81", "a\0b", "' OR 1=1; --", "日本", "y" * 100_000)
    with opened(file) as ledger:
        for name in names:
            record(ledger, [sent(sender(f"/tmp/{name}", command=name, unit=name))])
        found = rows(ledger)
    assert len(found) == len(names)
    assert all(len(row.program.executable) <= 400 and len(row.command) <= 400 for row in found)
    assert {row.program.unit for row in found} >= {"a\0b", "' OR 1=1; --", "日本", "\\udce3\\udc81"}


def test_two_can_write_side_by_side(file: Path) -> None:
    with opened(file) as one, opened(file) as other:
        record(one, [sent(sender("/usr/bin/old"), at=NOW - timedelta(days=89, hours=9)), sent()])
        record(other, [sent()])
        other.prune(NOW + timedelta(days=1))  # forgets a program that the other one has a number of
        record(one, [sent(sender("/usr/bin/old"))])
        assert sorted((row.program.executable, row.number) for row in rows(one)) == [
            ("/usr/bin/curl", 2),
            ("/usr/bin/old", 1),
        ]


def test_only_its_owner_reads_it(file: Path) -> None:
    with opened(file) as ledger:
        record(ledger, [sent()])
        modes = {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert modes == {0o600}


def test_none_is_found_and_none_is_made(file: Path) -> None:
    assert Ledger.find(file) is None
    assert not file.exists()


@pytest.mark.parametrize("raw", [b"nonsense" * 1000, b"SQLite format 3\0" + b"\xff" * 9000])
def test_a_damaged_one_is_told_with_the_way_out_and_left_alone(raw: bytes, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(raw)
    with pytest.raises(FwfeedError, match=r"ledger\.sqlite: damaged") as caught:
        opened(file)
    assert "move it aside" in caught.value.way_out
    assert file.read_bytes() == raw


def test_damage_further_in_is_told_too(file: Path) -> None:
    with opened(file) as ledger:
        record(ledger, week(3000))
    raw = bytearray(file.read_bytes())
    raw[4096 * 8 :] = b"\xee" * (len(raw) - 4096 * 8)
    file.write_bytes(raw)
    with opened(file) as ledger, pytest.raises(FwfeedError, match="damaged"):
        rows(ledger)


def test_values_that_fwfeed_does_not_write_are_damage(file: Path) -> None:
    with opened(file) as ledger:
        record(ledger, [sent()])
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE tally SET direction = 'sideways'")
    connection.close()
    with opened(file) as ledger, pytest.raises(FwfeedError, match="damaged: 'sideways'"):
        rows(ledger)


def test_one_of_another_version_is_refused(file: Path) -> None:
    opened(file).close()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(FwfeedError, match="another version"):
        opened(file)


def test_a_database_of_somebody_else_is_refused_and_left_alone(file: Path) -> None:
    file.parent.mkdir()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE mine (what TEXT)")
    connection.close()
    raw = file.read_bytes()
    with pytest.raises(FwfeedError, match="did not make") as caught:
        opened(file)
    assert caught.value.way_out.endswith("systemctl restart fwfeed-watch")
    assert file.read_bytes() == raw


def test_a_link_in_its_place_is_refused(file: Path, tmp_path: Path) -> None:
    file.parent.mkdir()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FwfeedError, match="cannot write"):
        opened(file)
    assert not (tmp_path / "elsewhere").exists()


def test_one_that_somebody_else_holds_is_told(file: Path) -> None:
    with opened(file, patience=0.1) as ledger:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(Busy, match="in use by somebody else"):
            record(ledger, [sent()])
        assert time.monotonic() - began < 5
        other.execute("ROLLBACK")
        other.close()
        record(ledger, [sent()])
        assert len(rows(ledger)) == 1


def test_who_reads_for_long_does_not_hold_up_who_forgets(file: Path) -> None:
    with opened(file) as ledger, opened(file) as reader:
        record(ledger, week(300))
        reading = reader.select(LONG_AGO, NOW)
        next(reading)
        record(ledger, [sent()])
        began = time.monotonic()
        ledger.prune(NOW)
        assert time.monotonic() - began < 3
        assert next(reading)


def test_what_was_seen_before_is_known(file: Path) -> None:
    def seen(ledger: Ledger, when: datetime) -> Sequence[tuple[str, str, str, bool]]:
        return sorted(ledger.seen_before(when))

    with opened(file) as ledger:
        assert ledger.begins() is None
        record(ledger, [sent(at=NOW - timedelta(hours=30)), sent(at=NOW, destination="203.0.113.7")])
        assert ledger.begins() == NOW - timedelta(hours=30)
        assert seen(ledger, NOW - timedelta(hours=24)) == [("203.0.113.2", "/usr/bin/curl", "", False)]
        assert seen(ledger, NOW - timedelta(hours=30)) == []
