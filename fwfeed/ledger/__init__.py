"""ledger.sqlite: what went abroad and who sent it, counted by the hour; bounded in age, rows and size.

WAL: whoever is killed loses what was not committed, and nothing else. What somebody scans cannot push out what was
before it: an hour has so many rows, and what is beyond them is one sum for each program. Command lines can hold
secrets, so only root reads it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

from fwfeed import access
from fwfeed.errors import FwfeedError
from fwfeed.flow import Direction, Known
from fwfeed.ledger.clock import believed
from fwfeed.ledger.programs import Programs
from fwfeed.ledger.schema import (
    HAS,
    HOURS,
    LOST,
    PUT,
    SELECT,
    TOTALS,
    WATCHED,
    Damaged,
    behind,
    cut,
    explained,
    prepare,
    tallies,
)
from fwfeed.store import files
from fwfeed.tally import HOUR, NO_PORT, NOBODY, Key, Sum, Tally, milliseconds, moment

NAME = "ledger.sqlite"
KEEP = timedelta(days=90)
ROWS = 1_000_000
SIZE = 256 << 20
HOUR_ROWS = 5_000
SUMS = 1_000
"""How many sums of what there was no room for an hour has beside its rows, before they are of nobody."""

_BUSY_SECONDS = 10
_PRUNE_EVERY = 10_000  # rows written: to count them all takes as long as to write some hundreds
_PRUNE_AFTER = timedelta(hours=6)
_MODE = 0o600


def path(state: Path) -> Path:
    """Return the ledger's file below a state folder."""
    return state / NAME


class Bounds(NamedTuple):
    """How much is kept."""

    keep: timedelta
    rows: int
    size: int
    hour_rows: int


class Ledger:
    """An open ledger; `open` makes one. It is a context manager, and for one thread."""

    def __init__(
        self, file: Path, connection: sqlite3.Connection, bounds: Bounds, clock: Callable[[], datetime]
    ) -> None:
        self.file = file
        self._connection = connection
        self._bounds = bounds
        self._clock = clock
        self._programs = Programs(connection)
        self._filled: dict[int, int] = {}  # hour: rows it has at most
        self._written = 0
        self._most = 0
        self._pruned = datetime.min.replace(tzinfo=UTC)
        self._seen = -1

    @classmethod
    def open(
        cls,
        file: Path,
        *,
        keep: timedelta = KEEP,
        rows: int = ROWS,
        size: int = SIZE,
        hour_rows: int = HOUR_ROWS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        patience: float = _BUSY_SECONDS,
    ) -> Self:
        """Open a ledger, made if it is not there. Raises FwfeedError where it is damaged or cannot be written.

        `patience` is how many seconds to wait while somebody else writes, before it is Busy.
        """
        files.make_folder(file.parent)
        with files.explained("write", file):
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE))
        with explained(file):
            connection = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                prepare(file, connection)
                connection.execute(f"PRAGMA busy_timeout = {patience * 1000:.0f}")
            except BaseException:
                connection.close()
                raise
        return cls(file, connection, Bounds(keep, rows, size, hour_rows), clock)

    @classmethod
    def find(cls, file: Path, *, patience: float = _BUSY_SECONDS) -> Self | None:
        """Open a ledger, or return None where there is none yet. Raises FwfeedError as `open` does."""
        if not os.path.lexists(file) and access.barred(file) is None:
            return None
        if not os.access(file, os.R_OK | os.W_OK, effective_ids=True) and os.geteuid() != 0:
            message = f"{file}: the ledger cannot be read: it is for root alone, as command lines can hold secrets"
            raise FwfeedError(message, "run it with sudo")
        return cls.open(file, patience=patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def count(
        self,
        sums: Mapping[Key, Sum],
        *,
        cursors: Mapping[str, str] | None = None,
        watched: tuple[datetime, datetime] | None = None,
    ) -> None:
        """Add what was counted, and keep how far its sources were read, or since when all was seen: all, or nothing."""
        with self._writing():
            self._put(sums)
            for name, position in (cursors or {}).items():
                self._connection.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (name, position))
            if watched is not None:
                self._watched(*watched)
        self._written += len(sums)
        now = self._clock()  # not the flows' own time: a log of the future would have all forgotten
        try:
            with explained(self.file):
                full = self._written >= _PRUNE_EVERY and self._may_be_too_large()
                if full or abs(now - self._pruned) > _PRUNE_AFTER:
                    self.prune(now)
        except Damaged:
            raise
        except FwfeedError:
            pass  # what is counted is counted, and whoever tried again would count it twice

    def cursor(self, name: str) -> str | None:
        """Return how far a source was read."""
        with explained(self.file):
            row = self._connection.execute("SELECT position FROM cursor WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def lost(self, count: int, now: datetime) -> None:
        """Count events that never came: somebody was too slow, or a limit was reached."""
        with self._writing():
            self._connection.execute(LOST, (milliseconds(now) // HOUR, count))

    def watched(self, since: datetime, until: datetime) -> None:
        """Say that all of this time was watched as it happened: what logs tell of it is not counted again."""
        with self._writing():
            self._watched(since, until)

    def select(self, since: datetime, until: datetime) -> Iterator[Tally]:
        """Yield the tallies of the hours from that of `since` on, to that of `until`, in order."""
        with explained(self.file):
            yield from tallies(self._connection.execute(SELECT, (milliseconds(since) // HOUR, behind(until))))

    def totals(self, since: datetime, until: datetime) -> Iterator[Tally]:
        """Yield what `select` does, folded over the hours, what was most first; `hour` is the first."""
        with explained(self.file):
            yield from tallies(self._connection.execute(TOTALS, (milliseconds(since) // HOUR, behind(until))))

    def hours(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, Direction, Known, int]]:
        """Yield how many flows an hour had, by their direction and how it is known who sent them."""
        with explained(self.file):
            for hour, direction, known, count in self._connection.execute(
                HOURS, (milliseconds(since) // HOUR, behind(until))
            ):
                yield moment(hour * HOUR), Direction(direction), Known(known or Known.NOT), count

    def losses(self, since: datetime, until: datetime) -> dict[datetime, int]:
        """Return how many events were lost, by the hour."""
        with explained(self.file):
            query = "SELECT hour, count FROM lost WHERE hour >= ? AND hour < ? ORDER BY hour"
            rows = self._connection.execute(query, (milliseconds(since) // HOUR, behind(until)))
            return {moment(hour * HOUR): count for hour, count in rows}

    def begins(self) -> datetime | None:
        """Return when the first flow of all was seen."""
        with explained(self.file):
            (first,) = self._connection.execute("SELECT min(first) FROM tally").fetchone()
        return None if first is None else moment(first)

    def newest(self, until: datetime) -> datetime | None:
        """Return when the last flow was seen that is not behind a moment."""
        with explained(self.file):
            (last,) = self._connection.execute(
                "SELECT max(last) FROM tally WHERE last <= ?", (milliseconds(until),)
            ).fetchone()
        return None if last is None else moment(last)

    def seen_before(self, when: datetime) -> Iterator[tuple[str, str, str, bool]]:
        """Yield the address, executable and unit of all that was seen before a moment, and whether it came in."""
        query = """SELECT DISTINCT address, executable, unit, direction = 'in' FROM tally
            LEFT JOIN program ON id = tally.program WHERE hour <= ? AND first < ?"""
        with explained(self.file):
            kept = milliseconds(when)
            for *who, came_in in self._connection.execute(query, (kept // HOUR, kept)):
                yield (*who, bool(came_in))

    def spans(self) -> list[tuple[int, int]]:
        """Return when it was watched, in milliseconds."""
        with explained(self.file):
            return self._connection.execute("SELECT first, last FROM watched ORDER BY first").fetchall()

    def prune(self, now: datetime) -> None:
        """Forget what is too old, and the oldest hours where there are too many rows or bytes.

        A clock that jumped ahead is believed a day each time: what it calls old is gone in days, and not at once.
        """
        self._written = 0
        self._pruned = now
        with self._writing():
            time = believed(self._connection, milliseconds(now))
            before = self._connection.total_changes
            self._forget((time - self._bounds.keep // timedelta(milliseconds=1)) // HOUR)
            while self._is_too_large():
                self._forget(self._middle())
            if self._connection.total_changes > before:
                self._programs.forget_unused()
        with explained(self.file):
            # a script is run to its end; by execute() the first would give back one page. PASSIVE waits for no reader
            self._connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(PASSIVE);")

    def _watched(self, since: datetime, until: datetime) -> None:
        self._connection.execute(WATCHED, (milliseconds(since), milliseconds(until)))

    def _put(self, sums: Mapping[Key, Sum]) -> None:
        self._programs.make_room({key.program for key in sums})
        rows: dict[int, list[tuple[object, ...]]] = {}
        for key, each in sums.items():
            alike = key.hour, cut(key.foreign), key.port, cut(key.protocol), key.direction.value, cut(key.origin)
            counted = cut(each.command), cut(each.suspects), each.count, each.first, each.last
            rows.setdefault(key.hour, []).append((*alike, self._programs.number(key.program), *counted))
        for hour, added in rows.items():
            self._connection.executemany(PUT, self._within_bounds(hour, added))

    def _within_bounds(self, hour: int, rows: list[tuple[object, ...]]) -> Iterable[tuple[object, ...]]:
        """Return the rows as they are, or, where an hour has no room, some of them as part of a sum."""
        if self._filled.get(hour, self._bounds.hour_rows) + len(rows) <= self._bounds.hour_rows:
            self._filled[hour] += len(rows)
            return rows
        query = "SELECT count(*) FROM tally WHERE hour = ?"
        (there,) = self._connection.execute(query, (hour,)).fetchone()
        if len(self._filled) > 1000:
            self._filled.clear()
        self._filled[hour] = there + len(rows)
        if there + len(rows) <= self._bounds.hour_rows:
            return rows
        room = max(0, self._bounds.hour_rows - there)
        query = "SELECT protocol, direction, program FROM tally WHERE hour = ? AND address = ''"
        others = set(self._connection.execute(query, (hour,)))
        placed = []
        for row in rows:
            if self._connection.execute(HAS, row[:7]).fetchone():
                placed.append(row)
            elif room:
                room -= 1
                placed.append(row)
            else:
                other = (*row[3:5], row[6])
                if other not in others and len(others) >= SUMS:
                    other = (*row[3:5], self._programs.number(NOBODY))
                others.add(other)
                placed.append((hour, "", NO_PORT, *other[:2], "", other[2], "", "", *row[9:]))
        self._filled[hour] = self._bounds.hour_rows
        return placed

    def _forget(self, hour: int) -> None:
        for table in ("tally", "lost"):
            self._connection.execute(f"DELETE FROM {table} WHERE hour < ?", (hour,))  # noqa: S608 - one of two constants
        self._connection.execute("DELETE FROM watched WHERE last < ?", (hour * HOUR,))

    def _may_be_too_large(self) -> bool:
        """Return whether it could be: how many rows there are takes long to ask."""
        self._most += self._written
        self._written = 0
        return self._most > self._bounds.rows or self._bytes() > self._bounds.size

    def _bytes(self) -> int:
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _is_too_large(self) -> bool:
        (self._most,) = self._connection.execute("SELECT count(*) FROM tally").fetchone()
        # at least the newest hour stays
        return self._most > self._bounds.hour_rows and (
            self._most > self._bounds.rows or self._bytes() > self._bounds.size
        )

    def _middle(self) -> int:
        """Return the hour before which there is a twentieth of the rows, or the second hour."""
        query = "SELECT hour FROM tally ORDER BY hour LIMIT 1 OFFSET (SELECT count(*) / 20 FROM tally)"
        (hour,) = self._connection.execute(query).fetchone()
        (first,) = self._connection.execute("SELECT min(hour) FROM tally").fetchone()
        return int(hour if hour > first else first + 1)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with explained(self.file):
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
