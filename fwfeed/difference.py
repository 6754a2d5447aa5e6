"""How a set that is live gets from the entries it has to the addresses it should have, one call at a time.

firewalld refuses an entry that overlaps another, and changes one entry a call. So the entries that are right stay
as they are, whether or not they are the fewest: what was added beside one is added as its neighbour, never by taking it
away first. An entry that has lost addresses has to go; what remains of it comes back in the very next calls.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from fwfeed.prefixes import Family, Prefix, Range, Ranges, cover, merge, subtract


@dataclass(frozen=True, slots=True)
class Step:
    """One stretch of calls: the entry to remove, None where there is none, and what to add right after it."""

    removed: Range | None
    added: tuple[Prefix, ...]


def steps(entries: Sequence[Range], wanted: Ranges, family: Family) -> list[Step]:
    """Return how to change a set of these entries, which do not overlap, into one of the wanted addresses.

    No address that is in both the old and the new set is uncovered, but for those of an entry that loses some others:
    these are, from its removal until their part of it is added, the largest part first. Additions come first.
    """
    held = merge(entries)
    lost = subtract(held, wanted)
    new = [Step(None, (prefix,)) for prefix in cover(subtract(wanted, held), family)]
    cut = [
        Step(entry, tuple(sorted(cover(left, family), key=lambda prefix: prefix.length)))
        for entry in entries
        if (holes := _within(lost, entry))
        for left in [subtract([entry], holes)]
    ]
    return new + cut


def _within(ranges: Ranges, entry: Range) -> Ranges:
    """Return the ranges that have an address of the entry."""
    begin = bisect_left(ranges, entry[0], key=lambda pair: pair[1])
    return ranges[begin : bisect_right(ranges, entry[1], key=lambda pair: pair[0])]
