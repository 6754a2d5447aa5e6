"""The programs of ledger.sqlite: who they are by number, and who loses his name where there are too many.

Who pretends to be many takes the room of his own: of the user with the most programs the oldest lose their names, and
what is kept of them is whose they were.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from fwfeed.flow import Known
from fwfeed.ledger.schema import FIND, FOLD, INSERT, cut
from fwfeed.tally import NO_USER, NOBODY, Program

PROGRAMS = 20_000

_SHARE = 10  # of all programs this part goes at once: to look for their rows takes long


def nameless(program: Program) -> Program:
    """Return what is kept of a program there is no room for."""
    return NOBODY._replace(uid=program.uid, user=program.user, known=program.known)


class Programs:
    """The numbers of programs, within one transaction: `clear` before the next, where somebody else wrote between."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._numbers: dict[Program, int] = {}

    def clear(self) -> None:
        """Forget the numbers."""
        self._numbers.clear()

    def number(self, program: Program) -> int:
        """Return a program's number: a new one, or, where it is too late to `make_room`, that of the nameless."""
        number = self._numbers.get(program)
        if number is not None:
            return number
        kept = (*(cut(each) for each in program[:3]), NO_USER if program.uid is None else program.uid)
        kept = (*kept, *(cut(each) for each in program[4:]))
        row = self._connection.execute(FIND, kept).fetchone()
        if row is None and program != NOBODY:
            there = self._count()
            if there >= PROGRAMS and program != nameless(program):
                return self.number(nameless(program))
            if there >= PROGRAMS + PROGRAMS // _SHARE:  # even too many users
                return self.number(NOBODY)
        if row is None:
            row = self._connection.execute(INSERT, kept).fetchone()
        self._numbers[program] = int(row[0])
        return int(row[0])

    def make_room(self, programs: Collection[Program]) -> None:
        """See that there is room for all of these, before the first of them has a number."""
        if len(self._numbers) > PROGRAMS:
            self._numbers.clear()
        fresh = sum(program not in self._numbers for program in programs)
        if not fresh or self._count() + fresh <= PROGRAMS:
            return
        self.forget_unused()
        excess = self._count() + min(fresh, PROGRAMS // 2) - PROGRAMS
        if excess > 0:
            self._take_names(max(excess, PROGRAMS // _SHARE))

    def forget_unused(self) -> None:
        """Forget the programs of which there is no row any more."""
        self._connection.execute("DELETE FROM program WHERE id NOT IN (SELECT program FROM tally)")
        self._numbers.clear()

    def _take_names(self, number: int) -> None:
        uid, user, known, most = self._connection.execute(
            "SELECT uid, user, known, count(*) FROM program GROUP BY uid, user, known ORDER BY 4 DESC LIMIT 1"
        ).fetchone()
        heir = NOBODY
        oldest = "SELECT id FROM program ORDER BY id LIMIT ?"
        given: tuple[object, ...] = (number,)
        if most > PROGRAMS // _SHARE:
            heir = NOBODY._replace(uid=None if uid == NO_USER else uid, user=user, known=Known(known))
            oldest = "SELECT id FROM program WHERE uid = ? AND user = ? AND known = ? ORDER BY id LIMIT ?"
            given = (uid, user, known, number)
        victims = [row[0] for row in self._connection.execute(oldest, given)]
        to = self._heir(heir)
        self._connection.execute("CREATE TEMP TABLE IF NOT EXISTS victim (id INTEGER PRIMARY KEY)")
        self._connection.execute("DELETE FROM victim")
        self._connection.executemany("INSERT INTO victim VALUES (?)", [(each,) for each in victims if each != to])
        self._connection.execute(FOLD, (to,))
        self._connection.execute("DELETE FROM tally WHERE program IN (SELECT id FROM victim)")
        self._connection.execute("DELETE FROM program WHERE id IN (SELECT id FROM victim)")
        self._numbers.clear()

    def _heir(self, heir: Program) -> int:
        kept = (*heir[:3], NO_USER if heir.uid is None else heir.uid, *heir[4:])
        row = self._connection.execute(FIND, kept).fetchone() or self._connection.execute(INSERT, kept).fetchone()
        return int(row[0])

    def _count(self) -> int:
        (there,) = self._connection.execute("SELECT count(*) FROM program").fetchone()
        return int(there)
