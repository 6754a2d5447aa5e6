"""The tables of ledger.sqlite, what is asked of them, and what SQLite says in other words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from fwfeed import access
from fwfeed.errors import FwfeedError
from fwfeed.flow import Direction, Known
from fwfeed.tally import HOUR, NO_PORT, NO_USER, NOBODY, Program, Tally, milliseconds, moment


class Busy(FwfeedError):
    """Somebody else writes; it will not be long."""


class Damaged(FwfeedError):
    """The file is no ledger any more; to try again does not help."""


_VERSION = 1
_LONGEST = 400

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
PUT = """
INSERT INTO tally VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count, first = min(first, excluded.first),
    last = max(last, excluded.last)
"""
WATCHED = "INSERT INTO watched VALUES (?, ?) ON CONFLICT DO UPDATE SET last = max(last, excluded.last)"
LOST = "INSERT INTO lost VALUES (?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count"
HAS = """
SELECT 1 FROM tally WHERE hour = ? AND address = ? AND port = ? AND protocol = ? AND direction = ? AND origin = ?
    AND program = ?
"""
SELECT = """
SELECT hour, address, port, protocol, direction, origin, tally.program, command, suspects, count, first, last,
    executable, deleted, unit, uid, user, container, known, package
FROM tally LEFT JOIN program ON id = tally.program WHERE hour >= ? AND hour < ? ORDER BY hour
"""
TOTALS = """
SELECT folded.*, executable, deleted, unit, uid, user, container, known, package
FROM (SELECT min(hour), address, port, protocol, direction, origin, program AS number, max(command), max(suspects),
    sum(count), min(first), max(last) FROM tally WHERE hour >= ? AND hour < ?
    GROUP BY address, port, protocol, direction, origin, program) AS folded LEFT JOIN program ON id = number
ORDER BY 10 DESC
"""
HOURS = """
SELECT hour, direction, known, sum(number) FROM (SELECT hour, direction, program AS key, sum(count) AS number FROM tally
    WHERE hour >= ? AND hour < ? GROUP BY hour, direction, program) LEFT JOIN program ON id = key
GROUP BY hour, direction, known
"""
INSERT = """
INSERT INTO program (executable, deleted, unit, uid, user, container, known, package) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
RETURNING id
"""
FIND = """
SELECT id FROM program WHERE executable = ? AND deleted = ? AND unit = ? AND uid = ? AND user = ? AND container = ?
    AND known = ? AND package = ?
"""
FOLD = """
INSERT INTO tally SELECT hour, address, port, protocol, direction, origin, ?, max(command), max(suspects), sum(count),
    min(first), max(last) FROM tally WHERE program IN (SELECT id FROM victim) GROUP BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO UPDATE SET count = count + excluded.count, first = min(first, excluded.first),
    last = max(last, excluded.last)
"""


def behind(until: datetime) -> int:
    """Return the first hour that is not before a moment."""
    return -(-milliseconds(until) // HOUR)


def prepare(file: Path, connection: sqlite3.Connection) -> None:
    """Make the tables, where there are none; refuse those of another version, and of anybody else."""
    # at one stroke: somebody may make them meanwhile
    version, there = connection.execute(
        "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
    ).fetchone()
    if version == 0 and there:
        raise FwfeedError(f"{file}: a database that fwfeed did not make", way_out(file))
    if version not in {0, _VERSION}:
        raise FwfeedError(f"{file}: a ledger of another version of fwfeed ({version})", way_out(file))
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


def program(row: Sequence[object]) -> Program:
    """Return a row of `program`, whose columns are empty where it is gone."""
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


def cut(value: object) -> object:
    """Bound a text, and make it one that SQLite takes: a name in Python can have halves of surrogate pairs."""
    if not isinstance(value, str):
        return value
    cut = value if len(value) <= _LONGEST else value[: _LONGEST - 3] + "..."
    return cut if cut.isascii() else cut.encode(errors="backslashreplace").decode()


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Turn what SQLite says into a FwfeedError."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise Busy(f"{file}: in use by somebody else", "try again") from error
        if code in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            way = access.hint_at_database(file, full=code == sqlite3.SQLITE_FULL)
            raise FwfeedError(f"cannot write {file}: {error}", way) from error
        raise Damaged(f"{file}: damaged: {error}", way_out(file)) from error
    except (ValueError, TypeError, OverflowError) as error:
        raise Damaged(f"{file}: damaged: {error}", way_out(file)) from error


def way_out(file: Path) -> str:
    """Return what to do with a file nobody can use."""
    moving = f"for f in {file}*; do mv $f /root/; done; systemctl restart fwfeed-watch"
    return f"move it aside (a new one is begun then): {moving}"


def tallies(rows: Iterator[tuple[Any, ...]]) -> Iterator[Tally]:
    """Yield rows of SELECT or TOTALS as tallies."""
    programs: dict[int, Program] = {}
    for row in rows:
        hour, address, port, protocol, direction, origin, key, command, suspects, count, first, last = row[:12]
        known = programs.get(key)
        if known is None:
            known = programs[key] = program(row[12:])
        yield Tally(
            moment(hour * HOUR),
            address,
            None if port == NO_PORT else port,
            protocol,
            Direction(direction),
            origin,
            known,
            command,
            suspects,
            count,
            moment(first),
            moment(last),
        )
