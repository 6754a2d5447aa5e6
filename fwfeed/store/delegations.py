"""delegations.sqlite: every delegation of every registry, for `lookup` and reports.

Rows are keyed by (registry, first). The delegations of one registry do not overlap, so an address has at most
one row of each registry; two registries can both have it while a block moves from one to the other.
IPv6 addresses are 16-byte blobs, which compare like the numbers they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain, islice, repeat
from pathlib import Path

from fwfeed.delegation import Delegation
from fwfeed.errors import FwfeedError
from fwfeed.model import Snapshot, Source
from fwfeed.prefixes import Family
from fwfeed.store import candidates, files

NAME = "delegations.sqlite"

_SCHEMA = """
PRAGMA journal_mode = OFF;  -- the file is built aside and renamed into place, or thrown away
PRAGMA synchronous = OFF;
PRAGMA page_size = 8192;
CREATE TABLE source (registry INTEGER PRIMARY KEY, name TEXT, url TEXT, serial INTEGER, end_date TEXT, sha256 TEXT)
    STRICT;
CREATE TABLE ipv4 (registry INTEGER, first INTEGER, last INTEGER, country TEXT, status TEXT, date TEXT,
    PRIMARY KEY (registry, first)) STRICT, WITHOUT ROWID;
CREATE TABLE ipv6 (registry INTEGER, first BLOB, last BLOB, country TEXT, status TEXT, date TEXT,
    PRIMARY KEY (registry, first)) STRICT, WITHOUT ROWID;
BEGIN;
"""


def path(state: Path) -> Path:
    """Return the database's file below a state folder."""
    return candidates.folder(state) / NAME


_ROWS = 40


class Writer:
    """Fills a new database; made by `building`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, number: int, snapshot: Snapshot, source: Source) -> None:
        """Add a registry's delegations; `number` is its key in this database."""
        self._connection.execute(
            "INSERT INTO source VALUES (?, ?, ?, ?, ?, ?)",
            (number, source.name, source.url, source.serial, source.end_date.isoformat(), source.sha256),
        )
        self._insert("ipv4", zip(repeat(number), *snapshot.ipv4.columns(), strict=False))
        firsts, lasts, *labels = snapshot.ipv6.columns()
        self._insert("ipv6", zip(repeat(number), map(_blob, firsts), map(_blob, lasts), *labels, strict=False))

    def _insert(self, table: str, rows: Iterator[tuple[object, ...]]) -> None:
        """Insert rows of six values, many in a statement: that takes half the time of a statement a row."""
        row = "(?, ?, ?, ?, ?, ?)"
        insert = f"INSERT INTO {table} VALUES "  # noqa: S608 - table is a constant
        last: list[tuple[object, ...]] = []

        def whole() -> Iterator[list[object]]:
            while len(batch := list(islice(rows, _ROWS))) == _ROWS:
                yield list(chain.from_iterable(batch))
            last.extend(batch)

        self._connection.executemany(insert + ", ".join([row] * _ROWS), whole())
        self._connection.executemany(insert + row, last)


@contextmanager
def building(file: Path) -> Iterator[Writer]:
    """Build a new database, finished when the block ends."""
    with files.explained("write", file):
        try:
            with closing(sqlite3.connect(file, isolation_level=None)) as connection:
                connection.executescript(_SCHEMA)
                yield Writer(connection)
                connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise FwfeedError(f"cannot write {file}: {error}", "check the folder's rights and free space") from error


def lookup(file: Path, address: int, family: Family) -> list[Delegation]:
    """Return the delegations that hold an address. Raises FwfeedError where there is no database."""
    if not file.exists():
        raise FwfeedError(f"{file} does not exist yet", "run: fwfeed fetch")
    table = "ipv4" if family is Family.IPV4 else "ipv6"
    key = address if family is Family.IPV4 else _blob(address)
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = []
            for number, name in connection.execute("SELECT registry, name FROM source ORDER BY name").fetchall():
                query = f"SELECT * FROM {table} WHERE registry = ? AND first <= ? ORDER BY first DESC LIMIT 1"  # noqa: S608 - one of two constants
                row = connection.execute(query, (number, key)).fetchone()
                if row is not None and row[2] >= key:
                    found.append(Delegation(_number(row[1]), _number(row[2]), row[3], name, row[4], row[5]))
            return found
    except sqlite3.Error as error:
        raise FwfeedError(f"cannot read {file}: {error}", "run: fwfeed fetch") from error


def _blob(address: int) -> bytes:
    return address.to_bytes(16, "big")


def _number(value: int | bytes) -> int:
    return value if isinstance(value, int) else int.from_bytes(value, "big")
