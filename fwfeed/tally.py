"""What the ledger holds: flows that are alike, counted by the hour. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from fwfeed.flow import Direction, Known, Sent

HOUR = 3_600_000
"""Milliseconds of an hour: moments are kept as milliseconds since 1970."""

NO_PORT = -1
NO_USER = -1


class Program(NamedTuple):
    """Who sent flows: what of a Sender tells one program from another. Empty texts and None are not known."""

    executable: str
    deleted: bool
    unit: str
    uid: int | None
    user: str
    container: str
    known: Known
    package: str


NOBODY = Program("", False, "", None, "", "", Known.NOT, "")  # noqa: FBT003 - a row


class Tally(NamedTuple):
    """Flows of one hour that are alike.

    `foreign` is the address abroad: the destination, or the source of what came in; empty for the sum of all that there
    was no room for. `port` is the destination's. `origin` is where forwarded flows come from, else empty. `command` and
    `suspects` are of one of the flows.
    """

    hour: datetime
    foreign: str
    port: int | None
    protocol: str
    direction: Direction
    origin: str
    program: Program
    command: str
    suspects: str
    number: int
    first: datetime
    last: datetime


class Key(NamedTuple):
    """What flows of a tally have in common, as it is kept."""

    hour: int
    foreign: str
    port: int
    protocol: str
    direction: Direction
    origin: str
    program: Program


class Sum:
    """What is counted of them."""

    __slots__ = ("command", "count", "first", "last", "suspects")

    def __init__(self, moment: int, command: str, suspects: str) -> None:
        self.count = 0
        self.first = self.last = moment
        self.command = command
        self.suspects = suspects


_Row = tuple[str, bool, str, int | None, str, str, Known, str]


def fold(flows: Iterable[Sent]) -> dict[Key, Sum]:
    """Count flows that are alike."""
    sums: dict[tuple[int, str, int, str, Direction, str, _Row], Sum] = {}
    for sent in flows:
        flow, sender = sent.flow, sent.sender
        moment = int(flow.at.timestamp() * 1000)
        direction = flow.direction
        port = flow.destination_port
        # a plain tuple, as it is hashed and compared as a Key is, and made in a third of the time
        key = (
            moment // HOUR,
            flow.source if direction is Direction.IN else flow.destination,
            NO_PORT if port is None else port,
            flow.protocol,
            direction,
            flow.source if direction is Direction.FORWARDED else "",
            (
                sender.executable,
                sender.deleted,
                sender.unit,
                flow.uid,
                sender.user,
                sender.container,
                sender.known,
                sender.package,
            ),
        )
        found = sums.get(key)
        if found is None:
            found = sums[key] = Sum(moment, sender.command, ", ".join(sender.suspects))
        found.count += 1
        if moment < found.first:
            found.first = moment
        elif moment > found.last:
            found.last = moment
    programs = {row: Program(*row) for row in {key[6] for key in sums}}
    return {Key(*key[:6], programs[key[6]]): found for key, found in sums.items()}


def milliseconds(moment: datetime) -> int:
    """Return a moment as it is kept."""
    return int(moment.timestamp() * 1000)


def moment(milliseconds: int) -> datetime:
    """Return a kept moment."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
