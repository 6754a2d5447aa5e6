"""Decide whether a change is believable before it goes live: pure judgements, each with its reason.

Addresses are counted, not lines or prefixes: re-aggregation changes lines without changing anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import takewhile

from fwfeed.compile import configured
from fwfeed.config import GatesConfig
from fwfeed.definition import Definition, changes
from fwfeed.model import Candidate, Gate, OriginKey, Recipe, Source, Verdict
from fwfeed.prefixes import Family, Ranges, count, merge, subtract

# All IPv4 addresses; of IPv6, the space from which registries delegate (2000::/3, RFC 4291, 2.4).
_SPACE = {Family.IPV4: 1 << 32, Family.IPV6: 1 << 125}

# A registry can have a handful of a country's records, and one of them coming or going is half of its part. What moves
# less than this of all that the set's sources gave is left to the judgement of the set.
_NEGLIGIBLE = Fraction(1, 1000)

# Registries date their files in their own time zones, and clocks differ.
_AHEAD = timedelta(days=2)


def judge(before: Candidate | None, after: Candidate, limits: GatesConfig) -> list[Verdict]:
    """Judge a candidate against the one accepted last (None: there is none); an empty list lets it through.

    Whole sets are comparable when both candidates have one recipe. What one registry gave for one country, or one feed
    gave, is comparable when both recipes ask for it, so that a change of the configuration is no blind spot.
    """
    verdicts = judge_size(after, limits)
    if before is None:
        return verdicts
    totals = moving(before)
    if before.recipe == after.recipe:
        verdicts += judge_moves(totals, moving(after), limits)
    comparable = _comparable(before.recipe, after.recipe)
    for family in Family:
        old, new = (_given(candidate, family) for candidate in (before, after))
        for origin in sorted(old.keys() | new.keys()):
            one, other = old.get(origin, 0), new.get(origin, 0)
            # a list that shrinks to nothing can be small beside the set, and all that somebody relies on
            shrinks = origin[0] == origin[1] and other < one
            if origin in comparable and (shrinks or abs(other - one) > totals[family] * _NEGLIGIBLE):
                verdicts += _judge_move(_name(*origin), one, other, family, limits)
    return verdicts


def judge_applied(before: Mapping[Family, int] | None, after: Candidate, limits: GatesConfig) -> list[Verdict]:
    """Judge a candidate against the `moving` addresses of a set of its recipe that was applied; None: there is none."""
    return judge_size(after, limits) + (judge_moves(before, moving(after), limits) if before is not None else [])


def judge_definition(
    before: Definition, installed: Mapping[Family, Ranges], after: Definition, candidate: Candidate, limits: GatesConfig
) -> list[Verdict]:
    """Judge a set against the `installed` addresses of another definition: for when nobody is there to read of it.

    Another name, or other countries, is another set. Of any other change it is the addresses that count, those that
    would go and those that would come, beyond what either definition spells out itself.
    """
    what = f"the set changes: {changes(before, after)}"
    if before.is_of_another_kind(after):
        return [Verdict(Gate.SET_CHANGED, what)]
    terms = _configured_terms(before.recipe) | _configured_terms(after.recipe)
    shares = []
    for family in Family:
        spelled_out = merge(span for term in terms for span in configured(term, family))
        old = subtract(merge(installed.get(family, ())), spelled_out)
        new = subtract(merge(candidate.ranges(family)), spelled_out)
        moves = (("go", subtract(old, new), limits.max_shrink), ("come", subtract(new, old), limits.max_growth))
        for verb, moved, limit in moves:
            if old and count(moved) > count(old) * limit:
                share = f"IPv{family.value}: {_share(count(moved), count(old))} of the addresses would {verb}"
                shares.append(f"{share}, allowed is {float(limit):.1%}")
    return [Verdict(Gate.SET_CHANGED, "; ".join([what, *shares]))] if shares else []


def judge_size(candidate: Candidate, limits: GatesConfig) -> list[Verdict]:
    """Judge a set by itself: whether there is anything in it, and not too much."""
    sizes = {family: count(candidate.ranges(family)) for family in Family}
    if not any(sizes.values()):
        return [Verdict(Gate.EMPTY, "the set is empty: every address would be foreign")]
    verdicts = []
    for family, size in sizes.items():
        if size > _SPACE[family] * limits.max_space:
            reason = f"IPv{family.value}: the set would hold {_share(size, _SPACE[family])} of the address space"
            verdicts.append(Verdict(Gate.MAX_SPACE, f"{reason}; allowed is {float(limits.max_space):.1%}"))
    return verdicts


def judge_moves(before: Mapping[Family, int], after: Mapping[Family, int], limits: GatesConfig) -> list[Verdict]:
    """Judge how far a set's `moving` addresses go, by family, between two sets of one recipe."""
    return [
        verdict
        for family in Family
        for verdict in _judge_move("the set", before[family], after[family], family, limits)
    ]


def moving(candidate: Candidate) -> dict[Family, int]:
    """Return how many addresses of each family a set has beyond what the configuration itself puts in.

    That part never moves, and so would only hide how far the rest does: the special-purpose ranges alone are three
    times the addresses of Japan.
    """
    terms = _configured_terms(candidate.recipe)
    return {
        family: count(
            subtract(
                merge(candidate.ranges(family)), merge(span for term in terms for span in configured(term, family))
            )
        )
        for family in Family
    }


def judge_age(source: Source, max_age: timedelta | None, now: datetime) -> Verdict | None:
    """Judge how long ago the last day was that a source's file speaks of."""
    age = now.date() - source.end_date
    if max_age is None or age <= max_age:
        return None
    reason = f"{source.name}: the file ends on {source.end_date}, {age.days} days ago"
    return Verdict(Gate.MAX_AGE, f"{reason}; allowed are {max_age.total_seconds() / 86400:.4g}")


def overdue(source: Source, max_age: timedelta | None, now: datetime) -> str:
    """Say how old the file is that a source's part of the set is made of, where it is too old; else say nothing."""
    if judge_age(source, max_age, now) is None or max_age is None:
        return ""
    age = _days((now.date() - source.end_date).days)
    return f"last good file is {age} old, limit {max_age / timedelta(days=1):.4g}"


def kept(overdue: str, *, idle: bool) -> str:
    """Say of an `overdue` source what becomes of its part of the set; `idle`: it has none."""
    return f"{overdue}; it gives the set nothing" if idle else f"{overdue}: its part of the set is kept"


def judge_order(source: Source, accepted: Source | None, now: datetime) -> Verdict | None:
    """Judge whether a file's serial or end date goes backwards against those accepted last, or lies in the future.

    A file from the future would make every true one after it go backwards. Serials are compared where they have one
    form, that is one number of digits: a registry that changes its form is no forger, and a forger could use another
    form to the same end. A file without a serial has no date of its own either.
    """
    told = f"serial {source.serial}, to {source.end_date}"
    if accepted is not None and source.serial is not None and accepted.serial is not None:
        one_form = len(str(source.serial)) == len(str(accepted.serial))
        after = f"after serial {accepted.serial}, to {accepted.end_date}"
        if one_form and source.serial < accepted.serial:
            return Verdict(Gate.BACKWARDS, f"{source.name}: the serial goes backwards: {told}, {after}")
        if source.end_date < accepted.end_date:
            return Verdict(Gate.BACKWARDS, f"{source.name}: the end date goes backwards: {told}, {after}")
    end = datetime(source.end_date.year, source.end_date.month, source.end_date.day, tzinfo=UTC)
    if max(end, _serial_time(source.serial) or end) > now + _AHEAD:
        return Verdict(
            Gate.FUTURE, f"{source.name}: the file is from the future: {told}; now it is {now:%Y-%m-%d} in UTC"
        )
    return None


def _configured_terms(recipe: Recipe) -> frozenset[str]:
    """Return what of an include is no feed, but spelled out in the configuration."""
    return frozenset(recipe.include) - recipe.feed_names


def _judge_move(what: str, old: int, new: int, family: Family, limits: GatesConfig) -> Iterator[Verdict]:
    numbers = f"from {old:,} to {new:,} addresses; allowed is"
    if new < old * (1 - limits.max_shrink):
        reason = f"IPv{family.value}: {what} would shrink by {_share(old - new, old)}, {numbers}"
        yield Verdict(Gate.MAX_SHRINK, f"{reason} {float(limits.max_shrink):.1%}")
    if old and new > old * (1 + limits.max_growth):
        reason = f"IPv{family.value}: {what} would grow by {_share(new - old, old)}, {numbers}"
        yield Verdict(Gate.MAX_GROWTH, f"{reason} {float(limits.max_growth):.1%}")


def _serial_time(serial: int | None) -> datetime | None:
    """Return the moment a serial stands for, None where it has none of the registries' forms."""
    digits = str(serial)
    try:
        if len(digits) == 8:
            return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC)
        if len(digits) in {10, 13}:
            return datetime.fromtimestamp(int(digits[:10]), UTC)
    except ValueError:
        pass
    return None


def _given(candidate: Candidate, family: Family) -> dict[OriginKey, int]:
    """Return how many addresses each source gave or, excluded, took, by (source, term, excluded)."""
    return {
        (part.source, part.term, part.excluded): part.addresses
        for part in candidate.parts
        if part.source and part.family is family
    }


def _comparable(before: Recipe, after: Recipe) -> set[OriginKey]:
    """Return the origins that both recipes ask for in the same way."""
    feeds = {description.split(" ")[0] for description in set(before.feeds) & set(after.feeds)}
    registries, countries = (
        set(getattr(before, name)) & set(getattr(after, name)) for name in ("registries", "countries")
    )
    same = {(registry, country, False) for registry in registries for country in countries}
    same |= {(name, name, False) for name in feeds & set(before.include) & set(after.include)}
    if replace(before, exclude=()) == replace(after, exclude=()):
        # what an exclude takes depends on all that was gathered, and on the excludes before it
        pairs = takewhile(lambda pair: pair[0] == pair[1], zip(before.exclude, after.exclude, strict=False))
        same |= {(name, name, True) for name, _ in pairs if name in feeds}
    return same


def _name(source: str, term: str, excluded: bool) -> str:  # noqa: FBT001 - the three parts of a key
    given = f"feed {source}" if source == term else f"what {source} delegates to {term}"
    return f"{given}, excluded," if excluded else given


def _days(number: int) -> str:
    return f"{number} day" if number == 1 else f"{number} days"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}"
