"""From gathered flows to what a report says. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from fwfeed.flow import Direction
from fwfeed.traffic import (
    NAMED,
    UNKNOWN,
    Activity,
    Country,
    Destination,
    Doer,
    Endpoint,
    Gathered,
    Hour,
    Lore,
    Mass,
    Place,
    Seen,
    Traffic,
    Where,
    Window,
)

_HOUR = timedelta(hours=1)


def summarize(gathered: Gathered, lore: Lore, window: Window) -> Traffic:
    """Return what a report says."""
    pairs = gathered.pairs
    by_endpoint: dict[Endpoint, list[tuple[Doer, Mass]]] = {}
    by_doer: dict[Doer, list[tuple[Endpoint, Mass]]] = {}
    for (endpoint, doer), mass in pairs.items():
        by_endpoint.setdefault(endpoint, []).append((doer, mass))
        if endpoint.direction is not Direction.IN:
            by_doer.setdefault(doer if doer.is_known else UNKNOWN, []).append((endpoint, mass))
    destinations = sorted(
        (_destination(endpoint, parts, lore, window) for endpoint, parts in by_endpoint.items()),
        key=lambda each: (-each.seen.count, each.endpoint.foreign, each.endpoint.port or 0, each.endpoint.protocol),
    )
    leaving = tuple(each for each in destinations if each.endpoint.direction is not Direction.IN)
    counts = dict.fromkeys(Direction, 0)
    attributed = 0
    for (endpoint, doer), mass in pairs.items():
        counts[endpoint.direction] += mass.count
        if endpoint.direction is not Direction.IN and doer.program.known in NAMED:
            attributed += mass.count
    unattributed = by_doer.pop(UNKNOWN, None)
    activities = (_activity(doer, parts, lore, window) for doer, parts in by_doer.items())
    return Traffic(
        since=window.since,
        until=window.until,
        begins=window.begins,
        whole=window.whole,
        counts=counts,
        attributed=attributed,
        lost=sum(lore.lost.values()),
        addresses=len({each.endpoint.foreign for each in leaving if each.endpoint.foreign}),
        countries=_countries(leaving),
        destinations=leaving,
        visitors=tuple(each for each in destinations if each.endpoint.direction is Direction.IN),
        activities=tuple(sorted(activities, key=lambda each: (-each.seen.count, each.doer.program[0]))),
        unattributed=_activity(UNKNOWN, unattributed, lore, window) if unattributed else None,
        hours=_hours(gathered, lore, window),
        ipset=lore.ipset,
        sources=lore.sources,
        compiled=lore.compiled,
        remarks=lore.remarks,
        only_log=lore.only_log,
    )


def _destination(endpoint: Endpoint, parts: Sequence[tuple[Doer, Mass]], lore: Lore, window: Window) -> Destination:
    ordered = sorted(parts, key=lambda part: -part[1].count)
    return Destination(
        endpoint=endpoint,
        place=lore.places.get(endpoint.foreign, Place()),
        name=lore.names.get(endpoint.foreign, ""),
        doers=tuple((doer, mass.count) for doer, mass in ordered),
        seen=_seen(
            parts,
            window,
            known=not endpoint.foreign or (endpoint.foreign, endpoint.direction is Direction.IN) in lore.before,
        ),
    )


def _activity(doer: Doer, parts: Sequence[tuple[Endpoint, Mass]], lore: Lore, window: Window) -> Activity:
    ordered = sorted(parts, key=lambda part: -part[1].count)
    countries: Counter[Where] = Counter()
    for endpoint, mass in parts:
        countries[lore.places.get(endpoint.foreign, Place()).where] += mass.count
    latest = max((mass for _endpoint, mass in parts), key=lambda mass: (bool(mass.command), mass.last))
    identity = (doer.program.executable, doer.program.unit)
    return Activity(
        doer=doer,
        command=latest.command,
        suspects=latest.suspects,
        addresses=len({endpoint.foreign for endpoint, _mass in parts if endpoint.foreign}),
        countries=tuple(countries.most_common()),
        endpoints=tuple((endpoint, mass.count) for endpoint, mass in ordered),
        seen=_seen(parts, window, known=not any(identity) or identity in lore.programs_before),
    )


def _seen(parts: Sequence[tuple[object, Mass]], window: Window, *, known: bool) -> Seen:
    first = min(mass.first for _what, mass in parts if mass.first)
    return Seen(
        count=sum(mass.count for _what, mass in parts),
        first=first,
        last=max(mass.last for _what, mass in parts if mass.last),
        # a ledger that begins today has nothing but news
        new=None if window.first_day else not known and first >= window.yesterday,
    )


def _countries(destinations: Sequence[Destination]) -> tuple[Country, ...]:
    counts: Counter[Where] = Counter()
    addresses: dict[Where, set[str]] = {}
    for each in destinations:
        counts[each.place.where] += each.seen.count
        addresses.setdefault(each.place.where, set()).update({each.endpoint.foreign} - {""})
    return tuple(
        Country(where=where, count=count, addresses=len(addresses[where])) for where, count in counts.most_common()
    )


def _hours(gathered: Gathered, lore: Lore, window: Window) -> tuple[Hour, ...]:
    """Return every hour of the time, those without traffic, too; none before the ledger begins."""
    start = window.since if window.begins is None else max(window.since, window.begins)
    start = start.replace(minute=0, second=0, microsecond=0)
    hours = []
    while start < window.until:
        attributed, others, came_in = gathered.hours.get(start, (0, 0, 0))
        hours.append(Hour(start, attributed, others, came_in, lore.lost.get(start, 0)))
        start += _HOUR
    return tuple(hours)
