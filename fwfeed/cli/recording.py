"""What `fwfeed watch --record` sees goes into the ledger, and so does since when all is seen.

Logs tell the same once more, and what was watched is not counted again from them. Where the ledger cannot be written,
as on a full disk, what was seen waits here, folded as it will be kept; what there is no room for is counted as lost.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from fwfeed.cli.session import complain, say
from fwfeed.errors import FwfeedError
from fwfeed.flow import Sent
from fwfeed.ledger import Ledger
from fwfeed.ledger.schema import Busy, Damaged
from fwfeed.tally import Key, Sum, fold, milliseconds, moment

_MOST = 10_000  # sums: whoever chooses the texts in them can make each some KiB long
_TRY_SECONDS = 10.0
_MOVED = timedelta(seconds=2)


class Recording:
    """Batches on their way into the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._monotonic = monotonic
        self._waiting: dict[Key, Sum] = {}
        self._lost: Counter[datetime] = Counter()  # by the hour
        self._failed: float | None = None  # since when it cannot be written
        self._tried = 0.0
        self._complained = False
        self.begin()

    def begin(self) -> None:
        """Say that from now on nothing is missed."""
        self._since = self._clock()
        self._until = self._since
        self._started = self._zero()

    def record(self, batch: Sequence[Sent], until: datetime) -> None:
        """Take in what was seen; until then, nothing is missing. Raises Damaged."""
        if abs(self._zero() - self._started) > _MOVED:
            self.begin()  # the clock was set, or the host slept: what was between was not watched
        self._until = until
        for key, each in fold((milliseconds(sent.flow.at), sent.flow, sent.sender) for sent in batch).items():
            if key in self._waiting:
                self._waiting[key].add(each)
            elif len(self._waiting) < _MOST:
                self._waiting[key] = each
            else:
                self.lost(each.count, moment(each.first))
        now = self._monotonic()
        if self._complained and now - self._tried < _TRY_SECONDS:
            return
        self._tried = now
        try:
            self._write()
        except Damaged:
            raise
        except FwfeedError as error:
            self._failed = now if self._failed is None else self._failed
            passing = isinstance(error, Busy) and now - self._failed < _TRY_SECONDS
            if not self._complained and not passing:
                complain(error)
                self._complained = True
            return
        if self._complained:
            say(f"fwfeed: {self._ledger.file}: can be written again")
        self._failed, self._complained = None, False

    def lost(self, count: int, now: datetime) -> None:
        """Count what never came; it is written with the next batch."""
        self._lost[now.replace(minute=0, second=0, microsecond=0)] += count

    def end(self) -> None:
        """Write what waits. Raises FwfeedError."""
        if self._waiting or self._lost:
            self._write()

    def _write(self) -> None:
        self._ledger.count(self._waiting, watched=(self._since, max(self._since, self._until)))
        self._waiting = {}
        for hour, count in list(self._lost.items()):
            self._ledger.lost(count, hour)
            del self._lost[hour]

    def _zero(self) -> datetime:
        """Return when the clock that nobody sets was at zero, by the one that is set."""
        return self._clock() - timedelta(seconds=self._monotonic())
