"""Say which file of a source the set is made of where its publisher has none that is good, and why. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from fwfeed import gates
from fwfeed.errors import FeedRefused
from fwfeed.refresh.acquire import Stale


def together(refusals: Iterable[FeedRefused]) -> list[str]:
    """Return the messages, each of which begins with the name of a source; what several have in common, once."""
    names: dict[str, list[str]] = {}
    for name, _colon, reason in (each.message.partition(": ") for each in refusals):
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(sorted(each))}: {reason}" for reason, each in names.items()]


def served(stale: Iterable[Stale], idle: Collection[str]) -> tuple[list[str], list[str]]:
    """Return what serves in whose place, and why; and the same of `idle` sources, which give the set nothing.

    Of sources that have one and the same reason it is said once.
    """
    groups: dict[tuple[str, str], list[Stale]] = {}
    for each in stale:
        groups.setdefault((each.refusal.message.partition(": ")[2], each.refusal.way_out), []).append(each)
    told: list[str] = []
    warnings: list[str] = []
    for group in groups.values():
        is_idle = all(each.accepted.source.name in idle for each in group)
        lines = [_serving(group[0], idle=is_idle)] if len(group) == 1 else _serving_together(group, idle)
        (warnings if is_idle else told).extend(lines)
    return told, warnings


def _serving_together(group: Sequence[Stale], idle: Collection[str]) -> Iterator[str]:
    for each in group:
        name = each.accepted.source.name
        if each.overdue:
            yield f"{name}: {gates.kept(each.overdue, idle=name in idle)}"
    refusal = group[0].refusal
    sources = sorted((each.accepted.source.name, each.accepted.source.end_date) for each in group)
    names, oldest = ", ".join(name for name, _date in sources), min(date for _name, date in sources)
    reason = refusal.message.partition(": ")[2]
    verb = "stay; they give the set nothing" if all(name in idle for name, _date in sources) else "serve on"
    yield _with_way_out(f"{names}: {reason}; the files accepted last, the oldest to {oldest}, {verb}", refusal)


def _serving(stale: Stale, *, idle: bool) -> str:
    source, reasons = stale.accepted.source, stale.refusal.message
    if stale.overdue:
        served = f"{source.name}: {gates.kept(stale.overdue, idle=idle)}; {reasons.removeprefix(f'{source.name}: ')}"
    else:
        verb = "stays; it gives the set nothing" if idle else "serves on"
        served = f"{reasons}; the file accepted last, to {source.end_date}, {verb}"
    return _with_way_out(served, stale.refusal)


def late(name: str, overdue: str, refusal: FeedRefused, *, idle: bool) -> str:
    """Say that a source's new file is taken though it is `overdue`, and why; `idle`: it gives the set nothing."""
    nothing = "; it gives the set nothing" if idle else ""
    reasons = refusal.message.removeprefix(f"{name}: ")
    return _with_way_out(f"{name}: {overdue}; it is new, as the one before is older still{nothing}; {reasons}", refusal)


def _with_way_out(text: str, refusal: FeedRefused) -> str:
    return f"{text}; way out: {refusal.way_out}" if refusal.way_out else text
