"""From a log into the ledger, each flow once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from fwfeed.flow import Direction, Sent
from fwfeed.ledger import Ledger
from fwfeed.prefixes import find, merge
from fwfeed.tally import milliseconds

_BATCH = 25_000  # several hours of a busy host: an hour that is cut in two is written twice


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
