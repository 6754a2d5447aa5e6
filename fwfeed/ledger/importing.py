"""From a log into the ledger, each flow once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice

from fwfeed.flow import Direction, Flow, Sent
from fwfeed.ledger import Ledger
from fwfeed.prefixes import find, merge
from fwfeed.tally import milliseconds

AGAIN = timedelta(seconds=65)
"""The longest that Linux waits between two of its first six tries to connect."""

_SEEN = 16_384
_BATCH = 25_000  # several hours of a busy host: an hour that is cut in two is written twice


def once(flows: Iterable[Flow]) -> Iterator[Flow]:
    """Yield each connection once: unanswered, each packet of it is new to the kernel, and so in the log again."""
    seen: OrderedDict[tuple[str, str, int | None, str, int | None], datetime] = OrderedDict()
    for flow in flows:
        if flow.source_port is None:  # nothing tells one from another
            yield flow
            continue
        ends = (flow.protocol, flow.source, flow.source_port, flow.destination, flow.destination_port)
        last = seen.pop(ends, None)
        seen[ends] = flow.at
        if len(seen) > _SEEN:
            seen.popitem(last=False)
        if last is None or abs(flow.at - last) >= AGAIN:
            yield flow


def import_flows(ledger: Ledger, flows: Iterable[tuple[Sent, str]], name: str) -> int:
    """Count what a log tells, each flow with the position behind it; return how many there were.

    What was watched as it happened is counted already, but nobody watches what comes in. After it was
    cut off, the next import goes on at `cursor(name)`.
    """
    spans = merge(ledger.spans())
    number = 0
    stream = iter(flows)
    while batch := list(islice(stream, _BATCH)):
        news = [
            sent
            for sent, _position in batch
            if sent.flow.direction is Direction.IN or find(spans, milliseconds(sent.flow.at)) is None
        ]
        ledger.record(news, cursors={name: batch[-1][1]})
        number += len(news)
    return number
