"""What a provider asks for, as files: timeline, destinations, programs, configuration, provenance. Pure.

The tables are opened in spreadsheets, which take what begins with = + - or @ for a formula.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fwfeed.candidate import sources_to_json
from fwfeed.errors import printable
from fwfeed.model import Generation
from fwfeed.report.words import address_text, doer_text, service, where_text
from fwfeed.tally import Tally
from fwfeed.times import utc_text
from fwfeed.traffic import Destination, Doer, Place, Traffic

ROWS = 200_000
"""How many rows timeline.csv has at most: the newest."""

_FORMULAS = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")


@dataclass(frozen=True, slots=True)
class Hash:
    """The sha256 of a file, or why there is none."""

    sha256: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What evidence has beside the traffic. `configuration` is None where there is no file, `generation` the newest."""

    hashes: Mapping[str, Hash]
    configuration: bytes | None
    generation: Generation | None
    version: str
    host: str


def evidence(traffic: Traffic, tallies: Sequence[Tally], basis: Basis, page: bytes) -> dict[str, bytes]:
    """Return the files, by name."""
    content = {
        "README.txt": _readme(traffic, tallies, basis).encode(),
        "report.html": page,
        "timeline.csv": _timeline(
            tallies, {each.endpoint.foreign: each.place for each in (*traffic.destinations, *traffic.visitors)}
        ),
        "destinations.csv": _destinations([*traffic.destinations, *traffic.visitors]),
        "programs.csv": _programs(traffic, basis),
        "fwfeed.toml": basis.configuration if basis.configuration is not None else b"# no file: every default holds\n",
        "provenance.json": (json.dumps(_provenance(traffic, basis), indent=1) + "\n").encode(),
    }
    sums = "".join(f"{hashlib.sha256(raw).hexdigest()}  {name}\n" for name, raw in content.items())
    return {**content, "SHA256SUMS": sums.encode()}


def inert(value: object) -> str:
    """Write a cell that no spreadsheet takes for a formula, and no terminal for an order."""
    if isinstance(value, int):
        return str(value)
    text = printable(str(value))
    return f"'{text}" if text.lstrip(" '\"").startswith(_FORMULAS) else text


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Write a table as CSV (RFC 4180), in UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows([inert(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


_DOER = (
    "executable",
    "executable_deleted",
    "unit",
    "uid",
    "user",
    "container",
    "package",
    "known_by",
    "forwarded_from",
)


def _doer(doer: Doer) -> tuple[object, ...]:
    program = doer.program
    return (
        program.executable,
        "yes" if program.deleted else "",
        program.unit,
        "" if program.uid is None else program.uid,
        program.user,
        program.container,
        program.package,
        program.known.value,
        doer.origin,
    )


def _timeline(tallies: Iterable[Tally], places: Mapping[str, Place]) -> bytes:
    whom = ("direction", "protocol", "address", "port", "country", "purpose")
    head = ("hour_utc", "first_utc", "last_utc", "connections", *whom)
    rows = (
        (
            utc_text(each.hour),
            each.first.isoformat(timespec="milliseconds"),
            each.last.isoformat(timespec="milliseconds"),
            each.number,
            each.direction.value,
            each.protocol,
            address_text(each.foreign),
            "" if each.port is None else each.port,
            *_where(places.get(each.foreign, Place())),
            *_doer(Doer(each.program, each.origin)),
            each.command,
        )
        for each in tallies
    )
    return table((*head, *_DOER, "command"), rows)


def _where(place: Place) -> tuple[str, str]:
    return place.country, place.purpose or ""


def _destinations(destinations: Iterable[Destination]) -> bytes:
    whose = ("country", "registry", "delegated", "purpose")
    head = ("address", "name", "port", "protocol", "service", "direction", *whose)
    rows = (
        (
            address_text(each.endpoint.foreign),
            each.name,
            "" if each.endpoint.port is None else each.endpoint.port,
            each.endpoint.protocol,
            service(each.endpoint),
            each.endpoint.direction.value,
            each.place.country,
            each.place.registry,
            each.place.prefix,
            each.place.purpose or "",
            each.seen.count,
            utc_text(each.seen.first),
            utc_text(each.seen.last),
            "yes" if each.seen.new else "",
            "; ".join(f"{doer_text(doer)} ({count})" for doer, count in each.doers[:10]),
        )
        for each in destinations
    )
    return table((*head, "connections", "first_utc", "last_utc", "new_since_yesterday", "sent_by"), rows)


def _programs(traffic: Traffic, basis: Basis) -> bytes:
    nothing = Hash("", "not looked for: it is not known, was deleted, or is a container's")
    rows = []
    for each in traffic.activities:
        found = basis.hashes.get(each.doer.program.executable, nothing)
        if each.doer.program.deleted or each.doer.program.container:
            found = nothing
        rows.append(
            (
                *_doer(each.doer),
                found.sha256,
                found.why,
                each.command,
                each.suspects,
                each.seen.count,
                each.addresses,
                " ".join(where_text(where).replace(" ", "-") for where, _count in each.countries),
                utc_text(each.seen.first),
                utc_text(each.seen.last),
                "yes" if each.seen.new else "",
            )
        )
    head = ("sha256", "no_sha256_because", "command", "suspects", "connections", "addresses", "countries")
    return table((*_DOER, *head, "first_utc", "last_utc", "new_since_yesterday"), rows)


def _provenance(traffic: Traffic, basis: Basis) -> dict[str, Any]:
    generation = basis.generation
    return {
        "fwfeed": basis.version,
        "host": basis.host,
        "since": utc_text(traffic.since),
        "until": utc_text(traffic.until),
        "set": traffic.ipset,
        "candidate": {
            "compiled": None if traffic.compiled is None else utc_text(traffic.compiled),
            "sources": sources_to_json(traffic.sources),
        },
        "generation": None
        if generation is None
        else {
            "number": generation.number,
            "created": utc_text(generation.created),
            "firewalld": generation.firewalld,
            "config": generation.config,
            "files": dict(generation.files),
            "sources": sources_to_json(generation.sources),
        },
    }


def _readme(traffic: Traffic, tallies: Sequence[Tally], basis: Basis) -> str:
    cut = len(tallies) >= ROWS
    known = f"the program is known of {traffic.attributed:,} of them"
    if traffic.unattributed:
        known += f", and nothing tells who sent {traffic.unattributed.seen.count:,}"
    news = ""
    if traffic.news is None and traffic.begins is not None:
        news = f"The ledger began at {utc_text(traffic.begins)}: everything is new, and nothing is marked so.\n"
    lost = f"{traffic.lost:,} events were lost"
    if traffic.only_log:
        watched = f"{lost} while it was watched, and " if traffic.lost else ""
        lost = f"{watched}how many events were lost is not known, as the log is limited to {traffic.only_log}"
    return f"""Connections from {printable(basis.host)} to outside the set {traffic.ipset}
{utc_text(traffic.since)} to {utc_text(traffic.until)}, made by fwfeed {basis.version}

report.html       all of it to look at; it needs no network
timeline.csv      by the hour: who, where, how often{f" (the newest {ROWS:,} rows)" if cut else ""}
destinations.csv  addresses and ports abroad
programs.csv      who sent, with the sha256 of the file that is at that path now
fwfeed.toml       the configuration
provenance.json   which files of which registries told foreign from not, by serial and sha256
SHA256SUMS        check with: sha256sum -c SHA256SUMS

{traffic.left:,} connections left; {known}; {lost}.
{news}A connection is counted by its first packet; times are UTC. Cells that a spreadsheet would take for a formula have
a ' in front. Command lines and fwfeed.toml can hold secrets: look them through before you hand them out.
"""
