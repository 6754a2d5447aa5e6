"""What time it may be: a clock that jumps ahead must not have the ledger forget everything at once."""

from __future__ import annotations

import sqlite3

_NAME = "clock"  # a row of cursor: the latest time that was believed
_STEP = 86_400_000


def believed(connection: sqlite3.Connection, now: int) -> int:
    """Return what time it may be, in milliseconds: at most a day more than when this was asked before."""
    row = connection.execute("SELECT position FROM cursor WHERE name = ?", (_NAME,)).fetchone()
    latest = now if row is None else int(row[0])
    time = min(now, latest + _STEP)
    # never back: a clock that begins at 1970 would be in the way for years
    connection.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (_NAME, str(max(latest, time))))
    return time
