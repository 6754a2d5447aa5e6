"""Make the candidate's set out of delegations, listed ranges and the configured groups and prefixes: pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, islice

from fwfeed.config import Config
from fwfeed.delegation import Snapshot
from fwfeed.errors import FeedRefused
from fwfeed.feeds import SPECIAL_PURPOSE, Feed, special_purpose
from fwfeed.model import Listing, Part, Recipe
from fwfeed.prefixes import Family, Prefix, Range, Ranges, count, cover, covering, merge, parse_prefix, spans, subtract

PREFIX_CAP = 100_000
"""The most prefixes the parts of a set may have in a family: far more than firewalld loads in reasonable time."""

_Origin = tuple[str, str]  # (registry, country) or (feed, feed)


@dataclass(frozen=True, slots=True)
class Selection:
    """The ranges that are wanted, gathered one source at a time so that none has to be kept."""

    recipe: Recipe
    _ranges: dict[Family, dict[_Origin, Ranges]] = field(
        default_factory=lambda: {family: {} for family in Family}, init=False
    )

    def add(self, snapshot: Snapshot) -> int:
        """Take what is delegated to the countries, and return how many delegations that were.

        Raises FeedRefused, with nothing taken, where a set of it all would have no bounds.
        """
        taken = 0
        found: dict[Family, dict[_Origin, list[Range]]] = {family: {} for family in Family}
        for family in Family:
            for country, ends in snapshot.delegations(family).ranges_in(self.recipe.countries):
                ranges = found[family].setdefault((snapshot.registry, country), [])
                ranges.append(ends)
                taken += 1
                if len(ranges) > 2 * PREFIX_CAP:
                    ranges[:] = merge(ranges)
                    self._require_bounds(snapshot.registry, family, [ranges])
        self._take(snapshot.registry, found)
        return taken

    def add_listing(self, feed: Feed, listing: Listing) -> int:
        """Take what a feed lists, and return how many entries that were. Raises FeedRefused as `add` does."""
        pairs = {family: [entry[:2] for entry in listing.listed(family)] for family in Family}
        self._take(feed.name, {family: {(feed.name, feed.name): ranges} for family, ranges in pairs.items()})
        return sum(map(len, pairs.values()))

    def _take(self, name: str, found: dict[Family, dict[_Origin, list[Range]]]) -> None:
        merged = {family: {origin: merge(found[family][origin]) for origin in found[family]} for family in Family}
        for family in Family:
            self._require_bounds(name, family, [*self._ranges[family].values(), *merged[family].values()])
        for family in Family:
            self._ranges[family].update(merged[family])

    def _require_bounds(self, name: str, family: Family, parts: list[Ranges]) -> None:
        prefixes = chain.from_iterable(covering(ranges, family) for ranges in parts)
        if next(islice(prefixes, PREFIX_CAP, None), None) is not None:
            message = f"{name}: with it the set would have more than {PREFIX_CAP:,} IPv{family.value} prefixes"
            raise FeedRefused(message, "see what the file has become, or ask for less in [set]")

    def ranges(self, family: Family, source: str, term: str) -> Ranges:
        """Return what one source gave for one country, or a feed for itself."""
        return self._ranges[family].get((source, term), [])


def recipe(config: Config) -> Recipe:
    """Return what a candidate for this configuration is made of."""
    return Recipe(
        registries=tuple(sorted(config.sources.registries)),
        countries=config.set.countries,
        feeds=tuple(sorted(feed.description for feed in config.feeds)),
        include=config.set.include,
        exclude=config.set.exclude,
    )


def combine(selection: Selection, family: Family) -> tuple[tuple[Prefix, ...], list[Part]]:
    """Return the set's prefixes in one family, and what each origin gave; exclude wins over include.

    Raises FeedRefused where what is excluded leaves more crumbs than a set may have.
    """
    recipe = selection.recipe
    parts: list[Part] = []
    pieces: list[Range] = []
    for country in recipe.countries:
        for registry in recipe.registries:
            if ranges := selection.ranges(family, registry, country):
                parts.append(_part(registry, country, family, ranges))
                pieces += ranges
    for term in recipe.include:
        source, ranges = _term(selection, term, family)
        if ranges:
            parts.append(_part(source, term, family, ranges))
            pieces += ranges
    total = merge(pieces)
    for term in recipe.exclude:
        source, ranges = _term(selection, term, family)
        left = subtract(total, ranges)
        if left != total:
            parts.append(_part(source, term, family, subtract(total, left), excluded=True))
            total = left
    prefixes = tuple(islice(covering(total, family), PREFIX_CAP + 1))
    if len(prefixes) > PREFIX_CAP:
        message = f"the set would have more than {PREFIX_CAP:,} IPv{family.value} prefixes"
        raise FeedRefused(message, "see what the feeds in set.exclude have become, or ask for less in [set]")
    return prefixes, parts


def configured(term: str, family: Family) -> Ranges:
    """Return the ranges of a group or a canonical CIDR, a term that names no feed, in one family."""
    if term == SPECIAL_PURPOSE:
        return special_purpose(family)
    if (":" in term) is not (family is Family.IPV6):
        return []
    return list(spans([parse_prefix(term, family)], family))


def _term(selection: Selection, term: str, family: Family) -> tuple[str, Ranges]:
    """Return the source, if it is one, and the ranges of a feed, a group or a canonical CIDR in one family."""
    if term in selection.recipe.feed_names:
        return term, selection.ranges(family, term, term)
    return "", configured(term, family)


def _part(source: str, term: str, family: Family, ranges: Ranges, *, excluded: bool = False) -> Part:
    return Part(
        source=source,
        term=term,
        excluded=excluded,
        family=family,
        prefixes=len(cover(ranges, family)),
        addresses=count(ranges),
    )
