"""ledger.sqlite: what went abroad and who sent it, counted by the hour; bounded in age, rows and size.

WAL: whoever is killed loses what was not committed, and nothing else. What somebody scans cannot push out what was
before it: an hour has so many rows, and what is beyond them is one sum for each program. Command lines can hold
secrets, so only root reads it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Self

from fwfeed.errors import FwfeedError
from fwfeed.flow import Direction, Known, Sent
from fwfeed.store import files
from fwfeed.tally import HOUR, NO_PORT, NO_USER, NOBODY, Key, Program, Sum, Tally, fold, milliseconds, moment

NAME = "ledger.sqlite"
KEEP = timedelta(days=90)
ROWS = 1_000_000
SIZE = 256 << 20
HOUR_ROWS = 5_000
PROGRAMS = 20_000

_VERSION = 1
_BUSY_SECONDS = 10
_BATCH = 5_000
_PRUNE_EVERY = 10_000  # rows written: to count them all takes as long as to write some hundreds
_PRUNE_AFTER = timedelta(hours=6)
_LONGEST = 400
_MODE = 0o600

_SCHEMA = """
CREATE TABLE program (id INTEGER PRIMARY KEY, executable TEXT, deleted INTEGER, unit TEXT, uid INTEGER, user TEXT,
    container TEXT, known TEXT, package TEXT,
    UNIQUE (executable, deleted, unit, uid, user, container, known, package)) STRICT;
CREATE TABLE tally (hour INTEGER, address TEXT, port INTEGER, protocol TEXT, direction TEXT, origin TEXT,
    program INTEGER, command TEXT, suspects TEXT, count INTEGER, first INTEGER, last INTEGER,
    PRIMARY KEY (hour, address, port, protocol, direction, origin, program)) STRICT, WITHOUT ROWID;
CREATE TABLE lost (hour INTEGER PRIMARY KEY, count INTEGER) STRICT;
CREATE TABLE watched (first INTEGER PRIMARY KEY, last INTEGER) STRICT;
CREATE TABLE cursor (name TEXT PRIMARY KEY, position TEXT) STRICT, WITHOUT ROWID;
"""
_PUT = """
INSERT INTO tally VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count, first = min(first, excluded.first),
    last = max(last, excluded.last)
"""
_HAS = """
SELECT 1 FROM tally WHERE hour = ? AND address = ? AND port = ? AND protocol = ? AND direction = ? AND origin = ?
    AND program = ?
"""
_SELECT = """
SELECT hour, address, port, protocol, direction, origin, tally.program, command, suspects, count, first, last,
    executable, deleted, unit, uid, user, container, known, package
FROM tally LEFT JOIN program ON id = tally.program WHERE hour >= ? AND hour < ? ORDER BY hour
"""


def path(state: Path) -> Path:
    """Return the ledger's file below a state folder."""
    return state / NAME


class Ledger:
    """An open ledger; `open` makes one. It is a context manager, and for one thread."""

    def __init__(
        self, file: Path, connection: sqlite3.Connection, keep: timedelta, rows: int, size: int, hour_rows: int
    ) -> None:
        self.file = file
        self._connection = connection
        self._keep = keep
        self._rows = rows
        self._size = size
        self._hour_rows = hour_rows
        self._programs: dict[Program, int] = {}
        self._filled: dict[int, int] = {}  # hour: rows it has at most
        self._written = 0
        self._pruned = datetime.min.replace(tzinfo=UTC)
        self._seen = -1

    @classmethod
    def open(
        cls, file: Path, *, keep: timedelta = KEEP, rows: int = ROWS, size: int = SIZE, hour_rows: int = HOUR_ROWS
    ) -> Self:
        """Open a ledger, made if it is not there. Raises FwfeedError where it is damaged or cannot be written."""
        files.make_folder(file.parent)
        with files.explained("write", file):
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE))
        with _explained(file):
            connection = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                _prepare(file, connection)
            except BaseException:
                connection.close()
                raise
        return cls(file, connection, keep, rows, size, hour_rows)

    @classmethod
    def find(cls, file: Path) -> Self | None:
        """Open a ledger, or return None where there is none yet."""
        return cls.open(file) if os.path.lexists(file) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def record(self, flows: Sequence[Sent], *, cursors: Mapping[str, str] | None = None) -> None:
        """Count flows, and keep how far their sources were read: all of it, or nothing."""
        sums = fold(flows)
        with self._writing():
            self._put(sums)
            for name, position in (cursors or {}).items():
                self._connection.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (name, position))
        self._written += len(sums)
        now = datetime.now(UTC)  # not the flows' own time: a log of the future would have all forgotten
        if self._written >= _PRUNE_EVERY or now - self._pruned > _PRUNE_AFTER:
            self.prune(now)

    def cursor(self, name: str) -> str | None:
        """Return how far a source was read."""
        with _explained(self.file):
            row = self._connection.execute("SELECT position FROM cursor WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_cursor(self, name: str, position: str) -> None:
        """Keep how far a source was read, where there was nothing to count."""
        self.record((), cursors={name: position})

    def lost(self, count: int, now: datetime) -> None:
        """Count events that never came: somebody was too slow, or a limit was reached."""
        with self._writing():
            self._connection.execute(
                "INSERT INTO lost VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count",
                (milliseconds(now) // HOUR, count),
            )

    def watched(self, since: datetime, until: datetime) -> None:
        """Say that all of this time was watched as it happened: what logs tell of it is not counted again."""
        with self._writing():
            self._connection.execute(
                "INSERT INTO watched VALUES (?, ?) ON CONFLICT DO UPDATE SET last = max(last, excluded.last)",
                (milliseconds(since), milliseconds(until)),
            )

    def select(self, since: datetime, until: datetime) -> Iterator[Tally]:
        """Yield the tallies of the hours from that of `since` on, to that of `until`, in order."""
        programs: dict[int, Program] = {}
        with _explained(self.file):
            for row in self._connection.execute(_SELECT, (milliseconds(since) // HOUR, _behind(until))):
                hour, address, port, protocol, direction, origin, key, command, suspects, count, first, last = row[:12]
                program = programs.get(key)
                if program is None:
                    program = programs[key] = _program(row[12:])
                yield Tally(
                    moment(hour * HOUR),
                    address,
                    None if port == NO_PORT else port,
                    protocol,
                    Direction(direction),
                    origin,
                    program,
                    command,
                    suspects,
                    count,
                    moment(first),
                    moment(last),
                )

    def losses(self, since: datetime, until: datetime) -> dict[datetime, int]:
        """Return how many events were lost, by the hour."""
        with _explained(self.file):
            query = "SELECT hour, count FROM lost WHERE hour >= ? AND hour < ? ORDER BY hour"
            rows = self._connection.execute(query, (milliseconds(since) // HOUR, _behind(until)))
            return {moment(hour * HOUR): count for hour, count in rows}

    def begins(self) -> datetime | None:
        """Return when the first flow of all was seen."""
        with _explained(self.file):
            (first,) = self._connection.execute("SELECT min(first) FROM tally").fetchone()
        return None if first is None else moment(first)

    def seen_before(self, when: datetime) -> Iterator[tuple[str, str, str]]:
        """Yield the address, executable and unit of all that was seen before a moment."""
        query = """SELECT DISTINCT address, executable, unit FROM tally LEFT JOIN program ON id = tally.program
            WHERE hour <= ? AND first < ?"""
        with _explained(self.file):
            kept = milliseconds(when)
            yield from self._connection.execute(query, (kept // HOUR, kept))

    def spans(self) -> list[tuple[int, int]]:
        """Return when it was watched, in milliseconds."""
        with _explained(self.file):
            return self._connection.execute("SELECT first, last FROM watched ORDER BY first").fetchall()

    def prune(self, now: datetime) -> None:
        """Forget what is too old, and the oldest hours where there are too many rows or bytes."""
        self._written = 0
        self._pruned = now
        with self._writing():
            self._forget(milliseconds(now - self._keep) // HOUR)
            while self._is_too_large():
                self._forget(self._middle())
            self._connection.execute("DELETE FROM program WHERE id NOT IN (SELECT program FROM tally)")
            self._programs.clear()
        with _explained(self.file):
            # a script is run to its end; by execute() the first would give back one page
            self._connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")

    def _put(self, sums: Mapping[Key, Sum]) -> None:
        rows: dict[int, list[tuple[object, ...]]] = {}
        for key, each in sums.items():
            row = (*map(_cut, key[:6]), self._number(key.program), _cut(each.command), _cut(each.suspects))
            rows.setdefault(key.hour, []).append((*row, each.count, each.first, each.last))
        for hour, added in rows.items():
            self._connection.executemany(_PUT, self._within_bounds(hour, added))

    def _within_bounds(self, hour: int, rows: list[tuple[object, ...]]) -> Iterable[tuple[object, ...]]:
        """Return the rows as they are, or, where an hour has no room, some of them as part of a sum."""
        if self._filled.get(hour, self._hour_rows) + len(rows) <= self._hour_rows:
            self._filled[hour] += len(rows)
            return rows
        query = "SELECT count(*) FROM tally WHERE hour = ?"
        (there,) = self._connection.execute(query, (hour,)).fetchone()
        if len(self._filled) > 1000:
            self._filled.clear()
        self._filled[hour] = there + len(rows)
        if there + len(rows) <= self._hour_rows:
            return rows
        room = max(0, self._hour_rows - there)
        placed = []
        for row in rows:
            if self._connection.execute(_HAS, row[:7]).fetchone():
                placed.append(row)
            elif room:
                room -= 1
                placed.append(row)
            else:
                placed.append((hour, "", NO_PORT, *row[3:5], "", row[6], "", "", *row[9:]))
        self._filled[hour] = self._hour_rows
        return placed

    def _number(self, program: Program) -> int:
        number = self._programs.get(program)
        if number is not None:
            return number
        kept = (*(_cut(each) for each in program[:3]), NO_USER if program.uid is None else program.uid)
        kept = (*kept, *(_cut(each) for each in program[4:]))
        query = """SELECT id FROM program WHERE executable = ? AND deleted = ? AND unit = ? AND uid = ? AND user = ?
            AND container = ? AND known = ? AND package = ?"""
        row = self._connection.execute(query, kept).fetchone()
        if row is None and program != NOBODY:
            (there,) = self._connection.execute("SELECT count(*) FROM program").fetchone()
            if there >= PROGRAMS:
                return self._number(NOBODY)
        if row is None:
            names = "executable, deleted, unit, uid, user, container, known, package"
            insert = f"INSERT INTO program ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"  # noqa: S608 - constants
            row = self._connection.execute(insert, kept).fetchone()
        self._programs[program] = int(row[0])
        return int(row[0])

    def _forget(self, hour: int) -> None:
        for table in ("tally", "lost"):
            self._connection.execute(f"DELETE FROM {table} WHERE hour < ?", (hour,))  # noqa: S608 - one of two constants
        self._connection.execute("DELETE FROM watched WHERE last < ?", (hour * HOUR,))

    def _is_too_large(self) -> bool:
        (rows,) = self._connection.execute("SELECT count(*) FROM tally").fetchone()
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        # at least the newest hour stays
        return bool(rows > self._hour_rows and (rows > self._rows or (pages - free) * size > self._size))

    def _middle(self) -> int:
        """Return the hour before which there is a twentieth of the rows, or the second hour."""
        query = "SELECT hour FROM tally ORDER BY hour LIMIT 1 OFFSET (SELECT count(*) / 20 FROM tally)"
        (hour,) = self._connection.execute(query).fetchone()
        (first,) = self._connection.execute("SELECT min(hour) FROM tally").fetchone()
        return int(hour if hour > first else first + 1)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with _explained(self.file):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                (version,) = self._connection.execute("PRAGMA data_version").fetchone()
                if version != self._seen:  # somebody else wrote, and may have forgotten programs
                    self._programs.clear()
                    self._filled.clear()
                    self._seen = version
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._programs.clear()
                self._filled.clear()
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def import_flows(ledger: Ledger, flows: Iterable[tuple[Sent, str]], name: str) -> int:
    """Count what a log tells, each flow with the position behind it; return how many there were.

    What was watched as it happened is counted already. After it was cut off, the next import goes on at `cursor(name)`.
    """
    spans = ledger.spans()
    number = 0
    stream = iter(flows)
    while batch := list(islice(stream, _BATCH)):
        news = [sent for sent, _position in batch if not _within(spans, milliseconds(sent.flow.at))]
        ledger.record(news, cursors={name: batch[-1][1]})
        number += len(news)
    return number


def _within(spans: Sequence[tuple[int, int]], kept: int) -> bool:
    return any(first <= kept <= last for first, last in spans)


def _behind(until: datetime) -> int:
    return -(-milliseconds(until) // HOUR)


def _prepare(file: Path, connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version not in {0, _VERSION}:
        raise FwfeedError(f"{file}: a ledger of another version of fwfeed ({version})", _way_out(file))
    if version == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {16 << 20}")
    if version == 0:
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:  # nobody else made it meanwhile
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")


def _program(row: Sequence[object]) -> Program:
    executable, deleted, unit, uid, user, container, known, package = row
    if executable is None:
        return NOBODY
    return Program(
        str(executable),
        bool(deleted),
        str(unit),
        None if uid == NO_USER else int(str(uid)),
        str(user),
        str(container),
        Known(str(known)),
        str(package),
    )


def _cut(value: object) -> object:
    """Bound a text, and make it one that SQLite takes: a name in Python can have halves of surrogate pairs."""
    if not isinstance(value, str):
        return value
    cut = value if len(value) <= _LONGEST else value[: _LONGEST - 3] + "..."
    return cut if cut.isascii() else cut.encode(errors="backslashreplace").decode()


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Turn what SQLite says into a FwfeedError."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise FwfeedError(f"{file}: in use by somebody else", "try again") from error
        if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise FwfeedError(f"cannot write {file}: {error}", "check the folder's rights and free space") from error
        raise FwfeedError(f"{file}: damaged: {error}", _way_out(file)) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise FwfeedError(f"{file}: damaged: {error}", _way_out(file)) from error


def _way_out(file: Path) -> str:
    return f"move it aside (a new one is begun then): for f in {file}*; do mv $f /root/; done"
