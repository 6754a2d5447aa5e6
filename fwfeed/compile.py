"""Make the candidate's set out of the registries' delegations and the configured groups and prefixes: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fwfeed.config import Config
from fwfeed.feeds import SPECIAL_PURPOSE, special_purpose
from fwfeed.model import Part, Recipe, Snapshot
from fwfeed.prefixes import Family, Prefix, Range, Ranges, count, cover, merge, parse_prefix, spans, subtract


@dataclass(frozen=True, slots=True)
class Selection:
    """The ranges of the wanted countries, gathered one snapshot at a time so that none has to be kept."""

    countries: tuple[str, ...]
    ranges: Mapping[Family, dict[str, list[Range]]] = field(
        default_factory=lambda: {family: {} for family in Family}, init=False
    )

    def add(self, snapshot: Snapshot) -> int:
        """Take what is delegated to the countries, and return how many delegations that were."""
        taken = 0
        for family in Family:
            for country, ends in snapshot.delegations(family).ranges_in(self.countries):
                self.ranges[family].setdefault(country, []).append(ends)
                taken += 1
        return taken


def recipe(config: Config) -> Recipe:
    """Return what a candidate for this configuration is made of."""
    return Recipe(
        registries=tuple(sorted(config.sources.registries)),
        countries=config.set.countries,
        include=config.set.include,
        exclude=config.set.exclude,
    )


def combine(selection: Selection, wanted: Recipe, family: Family) -> tuple[tuple[Prefix, ...], list[Part]]:
    """Return the set's prefixes in one family, and what each origin gave; exclude wins over include."""
    parts = []
    total: Ranges = []
    for country in wanted.countries:
        ranges = merge(selection.ranges[family].get(country, ()))
        parts.append(_part(country, family, ranges))
        total = merge([*total, *ranges])
    for term in wanted.include:
        if ranges := _term(term, family):
            parts.append(_part(term, family, ranges))
            total = merge([*total, *ranges])
    for term in wanted.exclude:
        left = subtract(total, _term(term, family))
        if left != total:
            parts.append(_part(f"exclude {term}", family, subtract(total, left)))
            total = left
    return tuple(cover(total, family)), parts


def _term(term: str, family: Family) -> Ranges:
    """Return the ranges of a group or a canonical CIDR in one family."""
    if term == SPECIAL_PURPOSE:
        return special_purpose(family)
    if (":" in term) is not (family is Family.IPV6):
        return []
    return list(spans([parse_prefix(term, family)], family))


def _part(origin: str, family: Family, ranges: Ranges) -> Part:
    return Part(origin=origin, family=family, prefixes=len(cover(ranges, family)), addresses=count(ranges))
