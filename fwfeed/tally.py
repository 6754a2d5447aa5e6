"""What the ledger holds: flows that are alike, counted by the hour. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from fwfeed.flow import Direction, Kind, Known, Sender

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

    def add(self, other: Sum) -> None:
        """Count what another one has counted."""
        self.count += other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)


def fold(flows: Iterable[tuple[int, Kind, Sender]]) -> dict[Key, Sum]:
    """Count flows that are alike, each given with its moment."""
    # by what is the same object first, which is soon told: of a long log it is most
    alike: dict[tuple[int, int, int], tuple[Kind, Sender, Sum]] = {}
    for moment, kind, sender in flows:
        same = moment // HOUR, id(kind), id(sender)
        row = alike.get(same)
        if row is None:
            row = alike[same] = kind, sender, Sum(moment, sender.command, ", ".join(sender.suspects))
        found = row[2]
        found.count += 1
        if moment < found.first:
            found.first = moment
        elif moment > found.last:
            found.last = moment
    sums: dict[Key, Sum] = {}
    for (hour, _kind, _sender), (kind, sender, each) in alike.items():
        key = _key(hour, kind, sender)
        if key in sums:
            sums[key].add(each)
        else:
            sums[key] = each
    return sums


def _key(hour: int, kind: Kind, sender: Sender) -> Key:
    return Key(
        hour,
        kind.source if kind.direction is Direction.IN else kind.destination,
        NO_PORT if kind.destination_port is None else kind.destination_port,
        kind.protocol,
        kind.direction,
        kind.source if kind.direction is Direction.FORWARDED else "",
        Program(
            sender.executable,
            sender.deleted,
            sender.unit,
            kind.uid,
            sender.user,
            sender.container,
            sender.known,
            sender.package,
        ),
    )


def milliseconds(moment: datetime) -> int:
    """Return a moment as it is kept."""
    return int(moment.timestamp() * 1000)


def moment(milliseconds: int) -> datetime:
    """Return a kept moment."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
