"""Decide whether a change is believable before it goes live: pure judgements, each with its reason.

Addresses are counted, not lines or prefixes: re-aggregation changes lines without changing anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fwfeed.config import GatesConfig
from fwfeed.model import Source
from fwfeed.prefixes import Family


class Gate(StrEnum):
    """The gates, by the names their settings have."""

    EMPTY = "empty"
    MAX_SHRINK = "max_shrink"
    MAX_GROWTH = "max_growth"
    MAX_AGE = "max_age"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one gate found wrong."""

    gate: Gate
    reason: str


def judge_addresses(
    before: Mapping[Family, int] | None, after: Mapping[Family, int], limits: GatesConfig
) -> list[Verdict]:
    """Judge a set's addresses by family against those applied last; an empty list lets it through.

    `before` is None where there is nothing to compare with: at the first time, or when the configuration asks for
    another set than before.
    """
    if not any(after.values()):
        return [Verdict(Gate.EMPTY, "the set is empty: every address would be foreign")]
    verdicts = []
    for family in Family:
        old, new = (before or after)[family], after[family]
        if new < old * (1 - limits.max_shrink):
            reason = f"IPv{family.value} would shrink by {_share(old - new, old)}, from {old:,} to {new:,} addresses"
            verdicts.append(Verdict(Gate.MAX_SHRINK, f"{reason}; allowed is {float(limits.max_shrink):.1%}"))
        if old and new > old * (1 + limits.max_growth):
            reason = f"IPv{family.value} would grow by {_share(new - old, old)}, from {old:,} to {new:,} addresses"
            verdicts.append(Verdict(Gate.MAX_GROWTH, f"{reason}; allowed is {float(limits.max_growth):.1%}"))
    return verdicts


def judge_age(source: Source, max_age: timedelta | None, now: datetime) -> Verdict | None:
    """Judge how long ago the last day was that a registry's file speaks of."""
    age = now.date() - source.end_date
    if max_age is None or age <= max_age:
        return None
    reason = f"{source.registry}: the file ends on {source.end_date}, {age.days} days ago"
    return Verdict(Gate.MAX_AGE, f"{reason}; allowed are {max_age.total_seconds() / 86400:.4g}")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}"
