"""delegations.sqlite: every delegation of every registry, for `lookup` and reports.

Rows are keyed by (registry, first). The delegations of one registry do not overlap, so an address has at most
one row of each registry; two registries can both have it while a block moves from one to the other.
IPv6 addresses are 16-byte blobs, which compare like the numbers they are.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain, islice, repeat
from pathlib import Path
from typing import IO

from fwfeed import access
from fwfeed.config import REGISTRY_URLS
from fwfeed.delegation import Delegation, Snapshot
from fwfeed.errors import FwfeedError
from fwfeed.model import Source
from fwfeed.prefixes import Family
from fwfeed.store import candidates, files

NAME = "delegations.sqlite"

_MAGIC = b"SQLite format 3\0"
_PAGE = 8192
_SIZE_CAP = 384 << 20  # five registries of as many IPv6 delegations as a file may have, in pages two thirds full
_VALUE_CAP = 1 << 14
_SECONDS = 5.0

_SCHEMA = f"""
PRAGMA journal_mode = OFF;  -- the file is built aside and renamed into place, or thrown away
PRAGMA synchronous = OFF;
PRAGMA page_size = {_PAGE};
CREATE TABLE source (registry INTEGER PRIMARY KEY, name TEXT, url TEXT, serial INTEGER, end_date TEXT, sha256 TEXT)
    STRICT;
CREATE TABLE ipv4 (registry INTEGER, first INTEGER, last INTEGER, country TEXT, status TEXT, date TEXT,
    PRIMARY KEY (registry, first)) STRICT, WITHOUT ROWID;
CREATE TABLE ipv6 (registry INTEGER, first BLOB, last BLOB, country TEXT, status TEXT, date TEXT,
    PRIMARY KEY (registry, first)) STRICT, WITHOUT ROWID;
BEGIN;
"""

_TABLES = sorted(("table", " ".join(sql.split())) for sql in _SCHEMA.split(";") if sql.strip().startswith("CREATE"))


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
            full = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL
            raise FwfeedError(f"cannot write {file}: {error}", access.hint_at_database(file, full=full)) from error


def lookup(file: Path, address: int, family: Family) -> list[Delegation]:
    """Return the delegations that hold an address. Raises FwfeedError where there is no sound database."""
    return lookups(file, [(address, family)])[0]


def lookups(file: Path, asked: Iterable[tuple[int, Family]]) -> list[list[Delegation]]:
    """Return the delegations that hold each address. Raises FwfeedError where there is no sound database.

    Nothing in the file is trusted: user fwfeed made it, and root may be asking.
    """
    with _reading(file) as connection:
        registries = sorted(_sources(connection, "registry, name"), key=lambda row: str(row[1]))
        for number, name in registries:
            if type(number) is not int or not isinstance(name, str) or name not in REGISTRY_URLS:
                raise _damaged(file)
        return [list(_holding(connection, registries, address, family)) for address, family in asked]


def _holding(
    connection: sqlite3.Connection, registries: list[tuple[object, ...]], address: int, family: Family
) -> Iterator[Delegation]:
    table = "ipv4" if family is Family.IPV4 else "ipv6"
    key = address if family is Family.IPV4 else _blob(address)
    query = f"SELECT * FROM {table} WHERE registry = ? AND first <= ? ORDER BY first DESC LIMIT 1"  # noqa: S608 - one of two constants
    for number, name in registries:
        row = connection.execute(query, (number, key)).fetchone()
        if row is None:
            continue
        first, last = (_address(value, family) for value in row[1:3])
        country, status, date = map(_text, row[3:])
        if last >= address:
            yield Delegation(first, last, country, str(name), status, date)


def is_of(file: Path, sources: Iterable[Source]) -> bool:
    """Return whether this is a sound database of the registries among these sources, by content.

    Every page of it is looked at, not every row: PRAGMA quick_check takes 70 ms for what this finds in 10.
    """
    wanted = {(source.name, source.sha256) for source in sources if source.name in REGISTRY_URLS}
    try:
        with _reading(file) as connection:
            for table in ("ipv4", "ipv6"):
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - one of two constants
            rows = _sources(connection, "name, sha256")
    except FwfeedError:
        return False
    return len(rows) == len(wanted) and set(rows) == wanted


@contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a database that somebody with less rights may have made, with exactly the tables of `_SCHEMA`.

    SQLite follows links, in /proc/self/fd too, and reads a journal beside what it opens: it gets a copy in a place of
    our own, which nobody can change while it is read.
    """
    try:
        with files.explained("read", file), tempfile.NamedTemporaryFile(prefix="fwfeed-") as copy:
            _copy(file, copy)
            with closing(sqlite3.connect(f"{Path(copy.name).as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_CAP)
                deadline = time.monotonic() + _SECONDS
                connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
                objects = connection.execute("SELECT type, sql FROM sqlite_master LIMIT 4").fetchall()
                if sorted((kind, " ".join(str(sql).split())) for kind, sql in objects) != _TABLES:
                    raise _damaged(file)
                yield connection
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise _damaged(file) from error


def _copy(file: Path, to: IO[bytes]) -> None:
    """Copy a database whose first page holds that it is one, how long it is, and no more tables than ours."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FwfeedError(f"{file} does not exist yet", "run: fwfeed fetch") from None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise _damaged(file) from None
        raise
    with os.fdopen(descriptor, "rb") as source:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _SIZE_CAP:
            raise _damaged(file)
        page = source.read(_PAGE)
        pages = int.from_bytes(page[28:32], "big")
        # at 100 begins the tree of sqlite_master: a leaf, and its number of rows
        size = int.from_bytes(page[16:18], "big")
        if not page.startswith(_MAGIC) or size != _PAGE or page[100:101] + page[103:105] != b"\x0d\x00\x03":
            raise _damaged(file)
        if pages * _PAGE != status.st_size:
            raise _damaged(file)
        to.write(page)
        for _ in range(pages - 1):
            to.write(source.read(_PAGE))
        to.flush()


def _sources(connection: sqlite3.Connection, columns: str) -> list[tuple[object, ...]]:
    query = f"SELECT {columns} FROM source LIMIT {len(REGISTRY_URLS) + 1}"  # noqa: S608 - columns are constants
    rows: list[tuple[object, ...]] = connection.execute(query).fetchall()
    if len(rows) > len(REGISTRY_URLS):
        raise ValueError("more sources than there are registries")
    return rows


def _damaged(file: Path) -> FwfeedError:
    return FwfeedError(f"cannot read {file}: damaged", "run: fwfeed fetch")


def _blob(address: int) -> bytes:
    return address.to_bytes(16, "big")


def _address(value: object, family: Family) -> int:
    """Read an address as it is kept. Raises TypeError or ValueError for anything else."""
    if family is Family.IPV6:
        if type(value) is not bytes or len(value) != 16:
            raise TypeError("not an IPv6 address")
        return int.from_bytes(value, "big")
    if type(value) is not int or not 0 <= value <= family.last:
        raise TypeError("not an IPv4 address")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError("not printable text")
    return value
