"""What reports are made of, from flows, without a ledger's file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from fwfeed.flow import Direction, Sent
from fwfeed.model import Source
from fwfeed.tally import HOUR, Tally, moment
from fwfeed.traffic import Gathered, Lore, Note, Place, Traffic, Window, gather
from fwfeed.traffic.summary import summarize
from tests.unit.flows import NOW, counted

CODES = (("US", "arin"), ("DE", "ripencc"), ("KR", "apnic"), ("??", ""))


def tallies(flows: Sequence[Sent]) -> list[Tally]:
    """Return what the ledger makes of flows."""
    return [
        Tally(
            moment(key.hour * HOUR),
            key.foreign,
            None if key.port < 0 else key.port,
            key.protocol,
            key.direction,
            key.origin,
            key.program,
            each.command,
            each.suspects,
            each.count,
            moment(each.first),
            moment(each.last),
        )
        for key, each in counted(flows).items()
    ]


def gathered(flows: Sequence[Sent]) -> Gathered:
    """Return flows folded over their hours."""
    made = tallies(flows)
    return gather(made, ((each.hour, each.direction, each.program.known, each.number) for each in made))


def places(addresses: Iterable[str]) -> dict[str, Place]:
    """Return a country for each address, always the same."""
    return {
        each: Place(*CODES[sum(each.encode()) % len(CODES)], "2001:db8:2::/48" if ":" in each else "203.0.113.0/24")
        for each in addresses
    }


def traffic(
    flows: Sequence[Sent],
    *,
    names: Mapping[str, str] | None = None,
    lost: Mapping[datetime, int] | None = None,
    since: timedelta = timedelta(days=7),
    remarks: Sequence[str] = (),
    only_log: str | None = None,
) -> Traffic:
    """Return what a report says of flows."""
    yesterday = NOW - timedelta(days=1)
    found = gathered(flows)
    lore = Lore(
        places=places(found.addresses),
        names=names or {},
        before=frozenset(
            (each.flow.source, True) if each.flow.direction is Direction.IN else (each.flow.destination, False)
            for each in flows
            if each.flow.at < yesterday
        ),
        programs_before=frozenset(
            (each.sender.executable, each.sender.unit) for each in flows if each.flow.at < yesterday
        ),
        lost={hour.replace(minute=0, second=0): count for hour, count in (lost or {}).items()},
        sources=(
            Source(
                name="apnic",
                url="https://example.net/apnic",
                serial=20261125,
                end_date=date(2026, 11, 24),
                sha256="3f" * 32,
                records=10,
                taken=3,
            ),
        ),
        compiled=NOW - timedelta(hours=4),
        remarks=tuple(Note(each, each) for each in remarks),
        only_log=only_log,
    )
    begins = min((each.flow.at for each in flows), default=None)
    return summarize(found, lore, Window((NOW - since).replace(minute=0, second=0), NOW, begins))
