"""What blocking would cut, as text and for JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Any

from fwfeed.errors import printable
from fwfeed.preview import Cut, Preview, Victim
from fwfeed.report.words import (
    EMPTY,
    TOP,
    At,
    doer_json,
    doer_text,
    minutes,
    more,
    numbered,
    place_json,
    senders_text,
    share,
    table,
    user_text,
    where_text,
    window_text,
)
from fwfeed.times import local_text, utc_text

_SPARED = 8


def preview_lines(preview: Preview, zone: tzinfo) -> Iterator[str]:
    """Yield what blocking would cut, with times in a zone."""
    at = minutes(preview.until, zone)
    span = window_text(preview.since, preview.until, preview.begins, zone, whole=preview.whole)
    if preview.begins is None:
        yield f"{span}:"
        yield from EMPTY
        yield from map(printable, preview.remarks)
        return
    verb = (
        'what outbound = "reject" refused, or would have' if preview.refuses else 'outbound = "reject" would have cut'
    )
    yield f"{span}, {verb}:"
    of = f" of {senders_text(victim.doer for victim in preview.victims)}" if preview.victims else ""
    yield f"  {numbered(preview.count, 'connection', 'connections')}{of}"
    unknown = preview.unattributed
    if unknown:
        yield f"  of {unknown.count:,} of them ({share(unknown.count, preview.count)}) nothing tells who sent them"
    if preview.spared:
        yield f"  not among them: {preview.spared:,} to what is in the set or exempt by now"
    if preview.unnamed:
        yield f"  and {preview.unnamed:,} to addresses that the ledger had no room for"
    if preview.begins > preview.since and not preview.whole:
        yield f"  the ledger begins at {local_text(preview.begins, zone)}: what runs seldom may not be in it"
    yield from (f"  {printable(remark)}" for remark in preview.remarks)
    for victim in preview.victims[:TOP]:
        yield ""
        yield from _victim_lines(victim, at)
    yield from more(len(preview.victims) - TOP)
    if unknown:
        yield from ("", f"not attributed: who sent it is not known{_role(unknown)}")
        yield f"  {numbered(unknown.count, 'connection', 'connections')}, last {at(unknown.last)}"
        yield from _cut_lines(unknown)
    if any(cut.spare for victim in (*preview.victims, *([unknown] if unknown else [])) for cut in victim.cuts):
        # whose address would be pasted in is for the reader to say: the busiest may be the intruder's
        known = [victim for victim in preview.victims if victim.named is not None and victim.named.sure]
        spares = [cut.spare for victim in known for cut in victim.cuts[:1] if cut.spare]
        yield ""
        yield "to spare an address, name it, or all that it is delegated with, in fwfeed.toml; then: fwfeed apply"
        yield "  [apply]"
        kept = "".join(f'"{each}", ' for each in preview.allowed)
        yield f'  always_allow = [{kept}"{printable(spares[0]) if spares else "ADDRESS"}"]'


def _victim_lines(victim: Victim, at: At) -> Iterator[str]:
    program = victim.doer.program
    yield printable(f"{doer_text(victim.doer)}{_role(victim)}")
    unit = f"unit {program.unit}, " if program.unit else ""
    user = f"user {user_text(victim.doer)}, " if user_text(victim.doer) else ""
    yield printable(f"  {unit}{user}{numbered(victim.count, 'connection', 'connections')}, last {at(victim.last)}")
    if victim.command:
        yield printable(f"  {victim.command[:160]}")
    yield from _cut_lines(victim)


def _cut_lines(victim: Victim) -> Iterator[str]:
    rows = [_cut_row(cut) for cut in victim.cuts[:_SPARED]]
    yield from table(("COUNT", "ADDRESS", "COUNTRY", "PORT", "ALWAYS_ALLOW", "OR ALL OF"), rows)
    yield from more(len(victim.cuts) - _SPARED)


def _role(victim: Victim) -> str:
    if victim.named is None:
        return ""
    role = victim.named.role
    return f"  [{role.upper()}]" if victim.named.sure else f"  [seems to be {role}]"


def _cut_row(cut: Cut) -> tuple[str, ...]:
    ports = ", ".join(
        protocol.lower() if port is None else f"{port}/{protocol.lower()}" for protocol, port in cut.ports
    )
    spare = cut.spare and f'"{cut.spare}"'
    delegated = spare and cut.place.prefix and f'"{cut.place.prefix}"'
    return (f"{cut.count:,}", cut.foreign, where_text(cut.place.where), ports, spare, delegated)


def preview_json(preview: Preview) -> dict[str, Any]:
    """Return what blocking would cut for JSON: all of it."""
    return {
        "since": utc_text(preview.since),
        "until": utc_text(preview.until),
        "ledger_begins": None if preview.begins is None else utc_text(preview.begins),
        "count": preview.count,
        "spared": preview.spared,
        "unnamed": preview.unnamed,
        "programs": [
            {
                **doer_json(victim.doer),
                "command": victim.command,
                "role": None if victim.named is None else victim.named.role.value,
                "role_is_sure": victim.named is not None and victim.named.sure,
                **_cuts_json(victim),
            }
            for victim in preview.victims
        ],
        "not_attributed": preview.unattributed and _cuts_json(preview.unattributed),
        "remarks": list(preview.remarks),
    }


def _cuts_json(victim: Victim) -> dict[str, Any]:
    return {
        "count": victim.count,
        "first": utc_text(victim.first),
        "last": utc_text(victim.last),
        "addresses": [
            {
                "address": cut.foreign,
                **place_json(cut.place),
                "ports": [{"protocol": protocol, "port": port} for protocol, port in cut.ports],
                "count": cut.count,
                "always_allow": cut.spare,
            }
            for cut in victim.cuts
        ],
    }
