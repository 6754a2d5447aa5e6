"""The values that pass between the stages: candidates, generations, answers.

Only data and what follows from it alone. How each is read from or written to bytes is the business of
`delegated` (registry files) and `candidate` (our own).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from fwfeed.delegation import Delegation
from fwfeed.prefixes import Family, Prefix, Ranges, spans
from fwfeed.remark import Remark


class Listed(NamedTuple):
    """One range of a feed, and the line of the feed's file that gave it."""

    first: int
    last: int
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What one feed's file lists, after the feed's own filter; ranges in file order, they may overlap.

    `serial` and `made` are what the file says of itself, None where its format has no such thing. `records` counts all
    entries before the filter, `discarded` the lines that the format's rules say to pass over (RFC 8805, 2.1.3).
    """

    serial: int | None
    made: date | None
    records: int
    discarded: int
    ipv4: list[Listed]
    ipv6: list[Listed]

    def listed(self, family: Family) -> list[Listed]:
        """Return the ranges of one family."""
        return self.ipv4 if family is Family.IPV4 else self.ipv6


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a part of a candidate comes from: one registry's or feed's file, by content.

    `end_date` is the last day it speaks of; where its format has none, the day on which it came with this content.
    `taken` counts the records of `records` that the set is made of; a range that is delegated twice counts once.
    """

    name: str
    url: str
    serial: int | None
    end_date: date
    sha256: str
    records: int
    taken: int
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one origin gave to a set before the parts were merged, or, `excluded`, took away from it.

    `source` is a registry or feed, empty for what the configuration itself holds; `term` is a country, or the element
    of set.include or set.exclude.
    """

    source: str
    term: str
    excluded: bool
    family: Family
    prefixes: int
    addresses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a set is made of, as the configuration said when the candidate was compiled.

    `feeds` has a description of each feed: what decides which of its addresses are taken.
    """

    registries: tuple[str, ...]
    countries: tuple[str, ...]
    feeds: tuple[str, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    @property
    def feed_names(self) -> frozenset[str]:
        """The names of the feeds, with which their descriptions begin."""
        return frozenset(description.split(" ")[0] for description in self.feeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The prefixes of the set in both families, and where they come from.

    Prefixes are the minimal cover, ascending. `compiled` is an aware UTC time.
    """

    compiled: datetime
    recipe: Recipe
    sources: tuple[Source, ...]
    parts: tuple[Part, ...]
    ipv4: tuple[Prefix, ...]
    ipv6: tuple[Prefix, ...]

    def prefixes(self, family: Family) -> tuple[Prefix, ...]:
        """Return the prefixes of one family."""
        return self.ipv4 if family is Family.IPV4 else self.ipv6

    def ranges(self, family: Family) -> Ranges:
        """Return the prefixes of one family as ranges; sorted and disjoint, but neighbours may touch."""
        return list(spans(self.prefixes(family), family))


PASSING = "-pass"
"""How the name of a set ends that has, beside the addresses of the set it is named after, those exempt from a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntendedSet:
    """An ipset as the kernel has to hold it."""

    name: str
    family: Family
    ranges: Ranges

    @property
    def passing(self) -> bool:
        """Whether it is the set of what outbound = reject or drop lets pass, and not the country's."""
        return self.name.endswith(PASSING)


NOTHING = 0
"""In the place of the number of the generation to which somebody went back: to before the first one."""


class Outcome(StrEnum):
    """How far a generation came."""

    PENDING = "pending"
    APPLIED = "applied"
    ROLLED_BACK = "rolled back"
    UNCONFIRMED = "not confirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a manifest says.

    `root` is the folder it was made for, /etc/firewalld; `files` maps paths below it to sha256, `prefixes` counts those
    of the set, and `addresses` what can move (gates.moving). `default_zone` is the zone this generation made the
    default, and `replaced_zone` the one that was default before fwfeed ever changed it; both None where fwfeed has not
    touched it. `restores` is the number of the generation that a rollback brought back with it, NOTHING for that of an
    uninstall. `config` is the sha256 of the configuration, empty where there was no file.
    """

    number: int
    root: str
    created: datetime
    outcome: Outcome
    reason: str
    restores: int | None
    config: str
    firewalld: str
    recipe: Recipe
    sources: tuple[Source, ...]
    prefixes: Mapping[Family, int]
    addresses: Mapping[Family, int]
    files: Mapping[str, str]
    default_zone: str | None
    replaced_zone: str | None


class Gate(StrEnum):
    """The gates, by the names their settings have, where they have any."""

    EMPTY = "empty"
    MAX_SHRINK = "max_shrink"
    MAX_GROWTH = "max_growth"
    MAX_SPACE = "max_space"
    MAX_AGE = "max_age"
    BACKWARDS = "backwards"
    FUTURE = "future"
    SET_CHANGED = "set_changed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate found wrong."""

    gate: Gate
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """How one family of a set differs from another: the fewest prefixes of what was added and removed."""

    family: Family
    before: Ranges
    after: Ranges
    added: tuple[Prefix, ...]
    removed: tuple[Prefix, ...]


OriginKey = tuple[str, str, bool]
"""What tells one part of a set from another: source, term, excluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """How one set differs from another, and what the gates say to it.

    `before` and `after` are what each is called, and when it was compiled where it is a candidate. `parts` has how many
    addresses each origin gave, before and after; empty where that is not known of both.
    """

    before: tuple[str, datetime | None]
    after: tuple[str, datetime | None]
    deltas: tuple[Delta, ...]
    parts: Mapping[OriginKey, tuple[Mapping[Family, int], Mapping[Family, int]]]
    verdicts: tuple[Verdict, ...]
    set_changes: str = ""
    redefined: tuple[Verdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a source's file, or all of a refresh (`name` empty), was refused, and since when it has been."""

    name: str
    reason: str
    since: datetime


class Kernel(StrEnum):
    """What is known of the kernel's side of a question."""

    HOLDS = "holds"
    LACKS = "lacks"
    NO_SET = "no set"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of one address: delegations (more than one while a block moves), and who holds it.

    `exempt` is whether connections to it would pass, though it is not in the set and others are refused. `unknown` says
    why, where it is unknown whether the kernel does.
    """

    address: str
    family: Family
    special_purpose: bool
    delegations: tuple[Delegation, ...]
    ipset: str
    prefix: str | None
    exempt: bool
    kernel: Kernel
    unknown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Something that a set is made of and that has a given address: a record of a file, or a term of the configuration.

    `place` is file:line, and `text` that line; both and `url` are empty for a term. `excluded`: it takes away.
    """

    source: str
    term: str
    excluded: bool
    place: str
    serial: int | None
    url: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Why an address, or some address of a prefix, is in a set or is not."""

    asked: str
    ipset: str
    inside: bool
    origins: tuple[Origin, ...]
