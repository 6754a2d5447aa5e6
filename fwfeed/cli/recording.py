"""What `fwfeed watch --record` sees goes into the ledger, and so does since when all is seen.

Logs tell the same once more, and what was watched is not counted again from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from fwfeed.flow import Sent
from fwfeed.ledger import Ledger

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
        self.begin()

    def begin(self) -> None:
        """Say that from now on nothing is missed."""
        self._since = self._clock()
        self._started = self._zero()

    def record(self, batch: Sequence[Sent], until: datetime) -> None:
        """Take in what was seen; until then, nothing is missing."""
        if abs(self._zero() - self._started) > _MOVED:
            self.begin()  # the clock was set, or the host slept: what was between was not watched
        self._ledger.record(batch, watched=(self._since, max(self._since, until)))

    def lost(self, count: int, now: datetime) -> None:
        """Count what never came."""
        self._ledger.lost(count, now)

    def _zero(self) -> datetime:
        """Return when the clock that nobody sets was at zero, by the one that is set."""
        return self._clock() - timedelta(seconds=self._monotonic())
