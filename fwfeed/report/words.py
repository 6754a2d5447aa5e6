"""The words of reports on traffic: who, where, which port, when. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Any

from fwfeed.errors import printable
from fwfeed.flow import Known
from fwfeed.times import abbreviation, minute_text, span_text
from fwfeed.traffic import Doer, Endpoint, Place, Where

TOP = 20
"""How many rows of a table are shown as text."""

_WIDTH = 44

At = Callable[[datetime], str]
"""What writes a moment."""

OFTEN_MINING = "often mining"

SERVICES = {
    ("TCP", 22): "ssh",
    ("TCP", 25): "smtp",
    ("UDP", 53): "dns",
    ("TCP", 53): "dns",
    ("TCP", 80): "http",
    ("UDP", 123): "ntp",
    ("TCP", 443): "https",
    ("UDP", 443): "quic",
    ("TCP", 465): "smtps",
    ("TCP", 587): "submission",
    ("TCP", 853): "dns over tls",
    ("TCP", 993): "imaps",
    ("TCP", 3306): "mysql",
    ("TCP", 3333): OFTEN_MINING,
    ("TCP", 5432): "postgresql",
    ("TCP", 6379): "redis",
    ("TCP", 6667): "irc",
    ("UDP", 51820): "wireguard",
}

EMPTY = (
    "nothing is in the ledger yet",
    "  to fill it as it happens:    systemctl enable --now fwfeed-watch.service",
    '  it needs outbound.action = "log", "reject" or "drop", and: fwfeed apply',
    "  as root, fwfeed report also reads what the kernel log still has",
)


def port_text(endpoint: Endpoint) -> str:
    """Write a port: 443/tcp."""
    return endpoint.protocol.lower() if endpoint.port is None else f"{endpoint.port}/{endpoint.protocol.lower()}"


def service(endpoint: Endpoint) -> str:
    """Return what usually listens there."""
    return SERVICES.get((endpoint.protocol.upper(), endpoint.port or 0), "")


def doer_text(doer: Doer) -> str:
    """Write who sent something, in short: the file, or else the best there is."""
    program = doer.program
    who = program.executable + (" (deleted)" if program.deleted else "")
    if program.known is Known.SUSPECTS:
        who = "a raw socket"
    where = program.container and f"container {program.container}"
    if not who:
        who = where or (f"from {doer.origin}" if doer.origin else "")
    elif where:
        who = f"{who} in {where}"
    if not who and program.unit:
        who = f"unit {program.unit}"
    return who or (f"user {user_text(doer)}" if user_text(doer) else "not known")


def senders_text(doers: Iterable[Doer]) -> str:
    """Write how many programs sent something, and how many others whose program is not known."""
    found = list(doers)
    programs = sum(bool(doer.program.executable) for doer in found)
    text = numbered(programs, "program", "programs")
    others = len(found) - programs
    return f"{text} and {numbered(others, 'sender', 'senders')} whose program is not known" if others else text


def user_text(doer: Doer) -> str:
    """Write whose it was."""
    program = doer.program
    return program.user or ("" if program.uid is None else str(program.uid))


def where_text(where: Where) -> str:
    """Write a country, by its code, or what an address is for that no country has."""
    return where.purpose or where.country


def address_text(foreign: str) -> str:
    """Write an address, or what stands for those there was no room for."""
    return foreign or "(others)"


def share(part: int, whole: int) -> str:
    """Write a percentage."""
    return f"{part / whole:.1%}" if whole else "-"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield a table, its first column to the right."""
    clean = [tuple(cut(printable(cell)) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *clean, strict=True)]
    for first, *others in (head, *clean):
        cells = (f"{cell:<{width}}" for cell, width in zip(others, widths[1:], strict=True))
        yield f"  {first:>{widths[0]}}  {'  '.join(cells)}".rstrip()


def doer_json(doer: Doer) -> dict[str, Any]:
    """Return who sent something for JSON."""
    program = doer.program
    return {
        "executable": program.executable,
        "deleted": program.deleted,
        "unit": program.unit,
        "uid": program.uid,
        "user": program.user,
        "container": program.container,
        "package": program.package,
        "known": program.known.value,
        "forwarded_from": doer.origin,
    }


def place_json(place: Place) -> dict[str, Any]:
    """Return whose an address is for JSON."""
    return {
        "country": place.country,
        "registry": place.registry,
        "delegated": place.prefix,
        "purpose": place.purpose,
    }


def more(number: int) -> Iterator[str]:
    """Yield how many rows are left out."""
    if number > 0:
        yield f"  and {number:,} more (--json has all)"


def window_text(since: datetime, until: datetime, begins: datetime | None, zone: tzinfo, *, whole: bool) -> str:
    """Write of which time a report is; `whole`: of all that the ledger has."""
    if not whole:
        return span_text(since, until, zone)
    if begins is None:
        return f"the whole ledger, to {minute_text(until, zone, until)} {abbreviation(until, zone)}"
    return f"since the ledger began ({span_text(begins, until, zone)})"


def minutes(until: datetime, zone: tzinfo) -> At:
    """Return what writes the moments of a report that ends at `until`."""
    return lambda moment: minute_text(moment, zone, until)


def numbered(number: int, one: str, more: str) -> str:
    """Write a number of things."""
    return f"{number:,} {one if number == 1 else more}"


def cut(text: str) -> str:
    """Bound the width of a cell."""
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."
