"""What went abroad, as text and for JSON. Pure.

Whoever sends traffic chooses names and arguments: no text of theirs reaches a terminal unless it is printable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import tzinfo
from typing import Any

from fwfeed.errors import printable
from fwfeed.flow import Direction, Known
from fwfeed.report.words import (
    EMPTY,
    TOP,
    At,
    address_text,
    doer_json,
    doer_text,
    minutes,
    more,
    numbered,
    place_json,
    port_text,
    senders_text,
    share,
    table,
    user_text,
    where_text,
    window_text,
)
from fwfeed.times import length_text, local_text, utc_text
from fwfeed.traffic import Activity, Country, Destination, Endpoint, Seen, Traffic

_BAR = 24


def traffic_lines(traffic: Traffic, zone: tzinfo, top: int = TOP) -> Iterator[str]:
    """Yield a report, with times in a zone."""
    at = minutes(traffic.until, zone)
    span = window_text(traffic.since, traffic.until, traffic.begins, zone, whole=traffic.whole)
    if traffic.begins is None:
        yield f"{span}:"
        yield from EMPTY
        yield from (printable(remark.english) for remark in traffic.remarks)
        return
    yield f"foreign connections, {span}"
    forwarded = traffic.counts[Direction.FORWARDED]
    yield (
        f"  {traffic.left:,} left to {numbered(traffic.addresses, 'address', 'addresses')} in "
        f"{numbered(traffic.known_countries, 'country', 'countries')}"
        + (f" ({forwarded:,} of them forwarded)" if forwarded else "")
        + (f", sent by {senders_text(each.doer for each in traffic.activities)}" if traffic.activities else "")
    )
    if traffic.counts[Direction.IN]:
        yield f"  {traffic.counts[Direction.IN]:,} came in"
    known = share(traffic.attributed, traffic.left)
    lost = f"{numbered(traffic.lost, 'event', 'events')} lost"
    if traffic.only_log:
        watched = f"{lost} while watched, else " if traffic.lost else "events lost: "
        lost = f"{watched}not known, the log is limited to {traffic.only_log}"
    unknown = traffic.unattributed
    yield f"  program known of {known}; {_unattributed(unknown, traffic.left)}{lost}"
    if traffic.news is None:
        age = length_text(traffic.until - traffic.begins)
        yield f"  the ledger began {age} ago, at {local_text(traffic.begins, zone)}: everything is new"
    else:
        yield f"  {numbered(traffic.news, 'destination', 'destinations')} new since yesterday"
        if traffic.begins > traffic.since and not traffic.whole:
            yield f"  the ledger begins at {local_text(traffic.begins, zone)}"
    yield from (f"  {printable(remark.english)}" for remark in traffic.remarks)
    if traffic.countries:
        yield from ("", "countries")
        yield from _country_lines(traffic.countries[:top], traffic.left)
    for title, found in (("destinations", traffic.destinations), ("came in from", traffic.visitors)):
        if found:
            yield from ("", title)
            yield from table(_DESTINATION_HEAD, [_destination_row(each, at) for each in found[:top]])
            yield from more(len(found) - top)
    if traffic.activities or unknown:
        yield from ("", "programs")
        for activity in traffic.activities[:top]:
            yield from _activity_lines(activity, at)
        yield from more(len(traffic.activities) - top)
    if unknown:
        part = share(unknown.seen.count, traffic.left)
        yield f"  {unknown.seen.count:,}  not attributed: who sent it is not known ({part})"
        yield _targets_line(unknown, at)


def _country_lines(countries: Sequence[Country], whole: int) -> Iterator[str]:
    most = countries[0].count
    wide = max(3, *(len(where_text(each.where)) + 1 for each in countries))
    for each in countries:
        bar = "#" * max(1, round(_BAR * each.count / most))
        addresses = numbered(each.addresses, "address", "addresses")
        where = printable(where_text(each.where))
        yield f"  {where:<{wide}}{each.count:>11,} {share(each.count, whole):>6}  {bar:<{_BAR}}  {addresses}"


_DESTINATION_HEAD = ("COUNT", "ADDRESS", "COUNTRY", "PORT", "FIRST", "LAST", "BY")


def _destination_row(each: Destination, at: At) -> tuple[str, ...]:
    others = f" and {len(each.doers) - 1} more" if len(each.doers) > 1 else ""
    new = " NEW" if each.seen.new else ""
    name = f" {each.name}" if each.name else ""
    forwarded = " forwarded" if each.endpoint.direction is Direction.FORWARDED else ""
    return (
        f"{each.seen.count:,}",
        f"{address_text(each.endpoint.foreign)}{name}{new}",
        f"{where_text(each.place.where)} {each.place.registry}".strip(),
        f"{port_text(each.endpoint)}{forwarded}",
        at(each.seen.first),
        at(each.seen.last),
        f"{doer_text(each.doers[0][0])}{others}",
    )


def _activity_lines(each: Activity, at: At) -> Iterator[str]:
    program = each.doer.program
    new = " NEW" if each.seen.new else ""
    yield printable(f"  {each.seen.count:,}  {doer_text(each.doer)}{new}")
    facts = [
        f"unit {program.unit}" if program.unit else "",
        f"user {user_text(each.doer)}" if user_text(each.doer) else "",
        f"package {program.package}" if program.package else "",
        "" if program.known in {Known.SOCKET, Known.NAMESPACE, Known.NOT} else f"known by: {program.known}",
    ]
    if any(facts):
        yield printable(f"      {', '.join(filter(None, facts))}")
    if each.command:
        yield printable(f"      {each.command[:160]}")
    if each.suspects:
        yield printable(f"      who could have been it: {each.suspects[:160]}")
    yield _targets_line(each, at)


def _unattributed(unknown: Activity | None, left: int) -> str:
    return f"nothing known of who sent {share(unknown.seen.count, left)}; " if unknown else ""


def _targets_line(each: Activity, at: At) -> str:
    countries = ", ".join(where_text(where) for where, _count in each.countries[:6])
    targets = ", ".join(f"{address_text(to.foreign)} {port_text(to)}" for to, _count in each.endpoints[:3])
    others = f" and {len(each.endpoints) - 3} more" if len(each.endpoints) > 3 else ""
    return printable(f"      to {targets}{others} ({countries}), {at(each.seen.first)} to {at(each.seen.last)}")


def traffic_json(traffic: Traffic) -> dict[str, Any]:
    """Return a report for JSON: all of it."""
    return {
        "since": utc_text(traffic.since),
        "until": utc_text(traffic.until),
        "ledger_begins": None if traffic.begins is None else utc_text(traffic.begins),
        "left": traffic.left,
        "directions": {direction.value: count for direction, count in traffic.counts.items()},
        "attributed": traffic.attributed,
        "lost": traffic.lost if traffic.lost or not traffic.only_log else None,
        "lost_is_all": not traffic.only_log,
        "new_destinations": traffic.news,
        "everything_is_new": traffic.news is None,
        "countries": [
            {
                "country": each.where.country,
                "purpose": each.where.purpose,
                "count": each.count,
                "addresses": each.addresses,
            }
            for each in traffic.countries
        ],
        "destinations": [_destination_json(each) for each in traffic.destinations],
        "came_in_from": [_destination_json(each) for each in traffic.visitors],
        "programs": [_activity_json(each) for each in traffic.activities],
        "not_attributed": traffic.unattributed and _sent_json(traffic.unattributed),
        "hours": [
            {
                "hour": utc_text(hour.start),
                "attributed": hour.attributed,
                "not_attributed": hour.others,
                "came_in": hour.came_in,
                "lost": hour.lost,
            }
            for hour in traffic.hours
        ],
        "remarks": [remark.english for remark in traffic.remarks],
    }


def _destination_json(each: Destination) -> dict[str, Any]:
    return {
        **_endpoint_json(each.endpoint),
        **place_json(each.place),
        "name": each.name,
        **_seen_json(each.seen),
        "new": each.seen.new,
        "by": [{**doer_json(doer), "count": count} for doer, count in each.doers],
    }


def _activity_json(each: Activity) -> dict[str, Any]:
    return {
        **doer_json(each.doer),
        "command": each.command,
        "suspects": each.suspects,
        "new": each.seen.new,
        **_sent_json(each),
    }


def _sent_json(each: Activity) -> dict[str, Any]:
    return {
        **_seen_json(each.seen),
        "addresses": each.addresses,
        "countries": _by_country(each),
        "to": [{**_endpoint_json(endpoint), "count": count} for endpoint, count in each.endpoints],
    }


def _by_country(each: Activity) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for where, count in each.countries:
        counts[where.country] += count
    return dict(counts)


def _endpoint_json(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "address": endpoint.foreign,
        "port": endpoint.port,
        "protocol": endpoint.protocol,
        "direction": endpoint.direction.value,
    }


def _seen_json(seen: Seen) -> dict[str, Any]:
    return {
        "count": seen.count,
        "first": utc_text(seen.first),
        "last": utc_text(seen.last),
    }
