"""From a log into the ledger, each flow once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from fwfeed.flow import Direction, Sender
from fwfeed.ledger import Ledger
from fwfeed.logline import Line, microseconds, moment_of
from fwfeed.prefixes import Ranges, find, merge
from fwfeed.tally import fold

AGAIN = timedelta(seconds=65)
"""The longest that Linux waits between two of its first six tries to connect."""

_SEEN = 16_384
_BATCH = 25_000  # several hours of a busy host: an hour that is cut in two is written twice
_AGAIN = AGAIN // timedelta(microseconds=1)


def import_lines(
    ledger: Ledger,
    lines: Iterable[Line],
    name: str,
    sender: Callable[[int | None], Sender],
    *,
    since: datetime,
    until: datetime,
) -> int:
    """Count what a log tells of the time behind `since`, to `until`; return how many flows that were.

    `sender` says who it is of whom the kernel gives a number or none. What was watched as it happened is counted
    already, but nobody watches what comes in. `cursor(name)` is how far it is, where the next import goes on.
    """
    spans = merge(ledger.spans())
    number = 0
    first, last = microseconds(since), microseconds(until)
    read = first
    stream = (line for line in _once(lines) if first < line[0] <= last)
    while batch := list(islice(stream, _BATCH)):
        news = list(_not_watched(batch, spans)) if spans else batch
        read = max(read, *(line[0] for line in batch))  # a clock that was set back may have given some twice
        sums = fold((at // 1000, kind, sender(kind.uid)) for at, _port, kind in news)
        ledger.count(sums, cursors={name: moment_of(read).isoformat()})
        number += len(news)
    return number


def _once(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield each connection once: unanswered, each packet of it is new to the kernel, and so in the log again."""
    seen: dict[tuple[int, str, str, str, int | None], int] = {}
    before = seen
    for line in lines:
        at, port, kind = line
        if port is None:  # nothing tells one from another
            yield line
            continue
        ends = port, kind.destination, kind.source, kind.protocol, kind.destination_port
        last = seen.get(ends)
        if last is None:
            last = before.get(ends)
            if len(seen) >= _SEEN:
                before, seen = seen, {}
        seen[ends] = at
        if last is None or abs(at - last) >= _AGAIN:
            yield line


def _not_watched(lines: Iterable[Line], spans: Ranges) -> Iterator[Line]:
    for line in lines:
        if line[2].direction is Direction.IN or find(spans, line[0] // 1000) is None:
            yield line
