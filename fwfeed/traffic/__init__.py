"""What a report says of traffic - countries, destinations, programs, hours - and tallies folded for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from fwfeed.feeds import Purpose
from fwfeed.flow import Direction, Known
from fwfeed.model import Source
from fwfeed.tally import NOBODY, Program, Tally

NOWHERE = "??"
"""In the place of a country nobody knows."""
NO_COUNTRIES = frozenset({NOWHERE, "ZZ"})

PAIRS = 100_000
"""How many addresses and ports a report tells apart, by program: the first ones."""

NAMED = frozenset({Known.SOCKET, Known.NAMESPACE})


class Window(NamedTuple):
    """Of which time a report is, and when the ledger begins, None where it is empty; `whole`: of all of the ledger."""

    since: datetime
    until: datetime
    begins: datetime | None
    whole: bool = False

    @property
    def yesterday(self) -> datetime:
        """When what counts as new began."""
        return self.until - timedelta(days=1)

    @property
    def first_day(self) -> bool:
        """Whether the ledger is so young that everything in it would count as new."""
        return self.begins is not None and self.begins >= self.yesterday


class Where(NamedTuple):
    """The country of an address or NOWHERE, and what it is for where no country has it."""

    country: str
    purpose: Purpose | None


class Place(NamedTuple):
    """Whose an address is: a country or NOWHERE, a registry, and the smallest prefix of its delegation around it.

    `purpose` is what a special-purpose address is for that no country has.
    """

    country: str = NOWHERE
    registry: str = ""
    prefix: str = ""
    purpose: Purpose | None = None

    @property
    def where(self) -> Where:
        """What its traffic is counted under."""
        return Where(self.country, self.purpose)


class Endpoint(NamedTuple):
    """What flows went to: an address and a port."""

    foreign: str
    port: int | None
    protocol: str
    direction: Direction


class Doer(NamedTuple):
    """Who sent flows: a program, or for what is forwarded, where it came from."""

    program: Program
    origin: str

    @property
    def is_known(self) -> bool:
        """Whether anything at all tells who it was."""
        program = self.program
        told = program.executable or program.container or program.unit or program.user or self.origin
        return bool(told) or program.uid is not None or program.known is Known.SUSPECTS


UNKNOWN = Doer(NOBODY, "")
"""In the place of all of whom nothing is known."""


@dataclass(slots=True)
class Mass:
    """What is counted of flows."""

    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    command: str = ""
    suspects: str = ""

    def add(self, tally: Tally) -> None:
        """Count a tally."""
        self.count += tally.number
        if self.first is None or tally.first < self.first:
            self.first = tally.first
        if self.last is None or tally.last >= self.last:
            self.last = tally.last
            self.command, self.suspects = tally.command, tally.suspects


@dataclass(slots=True)
class Gathered:
    """Tallies, folded over their hours."""

    pairs: dict[tuple[Endpoint, Doer], Mass] = field(default_factory=dict)
    hours: dict[datetime, list[int]] = field(default_factory=dict)  # attributed, not attributed, came in
    unnamed: int = 0  # flows to addresses for which there was no room here

    @property
    def addresses(self) -> dict[str, int]:
        """How many flows each address abroad had."""
        counts: dict[str, int] = {}
        for (endpoint, _doer), mass in self.pairs.items():
            if endpoint.foreign:
                counts[endpoint.foreign] = counts.get(endpoint.foreign, 0) + mass.count
        return counts


def gather(tallies: Iterable[Tally], hours: Iterable[tuple[datetime, Direction, Known, int]] = ()) -> Gathered:
    """Fold tallies over their hours, and what each hour had by direction and how it is known who sent it."""
    gathered = Gathered()
    for tally in tallies:
        doer = Doer(tally.program, tally.origin)
        pair = (Endpoint(tally.foreign, tally.port, tally.protocol, tally.direction), doer)
        mass = gathered.pairs.get(pair)
        if mass is None and len(gathered.pairs) >= PAIRS:  # a scan; the ledger's own sums look like this
            pair = (Endpoint("", None, tally.protocol, tally.direction), doer)
            mass = gathered.pairs.get(pair)
            gathered.unnamed += tally.number
        if mass is None:
            mass = gathered.pairs[pair] = Mass()
        mass.add(tally)
    for hour, direction, known, number in hours:
        kind = 2 if direction is Direction.IN else 0 if known in NAMED else 1
        gathered.hours.setdefault(hour, [0, 0, 0])[kind] += number
    return gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How often something was seen, and when.

    `new`: not before yesterday, as far as the ledger goes back; None where it does not go back that far.
    """

    count: int
    first: datetime
    last: datetime
    new: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """An address and port abroad, and who sent there, most first. For what came in, who came."""

    endpoint: Endpoint
    place: Place
    name: str
    doers: tuple[tuple[Doer, int], ...]
    seen: Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What one program sent, and where to, most first."""

    doer: Doer
    command: str
    suspects: str
    addresses: int
    countries: tuple[tuple[Where, int], ...]
    endpoints: tuple[tuple[Endpoint, int], ...]
    seen: Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """What went to one country, or to addresses of one purpose."""

    where: Where
    count: int
    addresses: int


@dataclass(frozen=True, slots=True)
class Hour:
    """What one hour had."""

    start: datetime
    attributed: int
    others: int
    came_in: int
    lost: int


@dataclass(frozen=True, slots=True)
class Note:
    """What a report says of itself, not yet printable; what failed, and why, is in English in both languages."""

    english: str
    japanese: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What a report says. `begins` is when the ledger does, None where it is empty; `whole`: it is of all of it.

    `sources` and `compiled` are of what told foreign from not. `unattributed` is what has no known sender, and is in no
    activity. `only_log` is the limit of the log where nobody watched for a part of the time: what was lost then is not
    known, and `lost` is what was lost while somebody did.
    """

    since: datetime
    until: datetime
    begins: datetime | None
    whole: bool
    counts: Mapping[Direction, int]
    attributed: int
    lost: int
    addresses: int
    countries: tuple[Country, ...]
    destinations: tuple[Destination, ...]
    visitors: tuple[Destination, ...]
    activities: tuple[Activity, ...]
    unattributed: Activity | None
    hours: tuple[Hour, ...]
    ipset: str
    sources: tuple[Source, ...]
    compiled: datetime | None
    remarks: tuple[Note, ...]
    only_log: str | None

    @property
    def window(self) -> Window:
        """Of which time it is."""
        return Window(self.since, self.until, self.begins, self.whole)

    @property
    def left(self) -> int:
        """How many connections left, the host's own and forwarded."""
        return self.counts[Direction.OUT] + self.counts[Direction.FORWARDED]

    @property
    def known_countries(self) -> int:
        """How many countries connections went to, as far as they are known."""
        return sum(each.where.country not in NO_COUNTRIES for each in self.countries)

    @property
    def news(self) -> int | None:
        """How many destinations are new; None where the ledger is so young that all would be."""
        return (
            None
            if self.window.first_day
            else len({each.endpoint.foreign for each in self.destinations if each.seen.new})
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lore:
    """What is known besides the tallies: places and names of addresses, and what was there before yesterday.

    `before` are addresses, and whether they came in: who came in yesterday is news where something goes to him today.
    """

    places: Mapping[str, Place]
    names: Mapping[str, str]
    before: frozenset[tuple[str, bool]]
    programs_before: frozenset[tuple[str, str]]
    lost: Mapping[datetime, int]
    ipset: str = "JP"
    sources: tuple[Source, ...] = ()
    compiled: datetime | None = None
    remarks: tuple[Note, ...] = ()
    only_log: str | None = None
