"""What outbound = "reject" would have cut, by program, and what would spare each. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePath

from fwfeed.flow import Direction
from fwfeed.traffic import UNKNOWN, Doer, Endpoint, Gathered, Mass, Place, Window


class Role(StrEnum):
    """What breaks in a way that is not seen at once."""

    UPDATES = "system updates"
    CERTIFICATES = "certificates"
    TIME = "time"
    NAMES = "name resolution"
    FEEDS = "fwfeed's own feeds"


_PORTS = {53: Role.NAMES, 853: Role.NAMES, 123: Role.TIME, 4460: Role.TIME}
_NAMES = {
    Role.UPDATES: ("dnf", "dnf-3", "dnf4", "dnf5", "dnf5daemon-server", "yum", "microdnf", "packagekitd", "rpm-ostree"),
    Role.CERTIFICATES: ("certbot", "acme.sh", "lego", "dehydrated", "certmonger"),
    Role.TIME: ("chronyd", "ntpd", "ntpdate", "systemd-timesyncd"),
    Role.NAMES: ("named", "unbound", "dnsmasq", "systemd-resolved", "pdns_recursor", "kresd", "stubby"),
    Role.FEEDS: ("fwfeed",),
}
_ROLES = {name: role for role, names in _NAMES.items() for name in names}
_OF_ROOT = re.compile(r"/(usr/(local/)?)?(s?bin|lib(64|exec)?)/")
_INTERPRETER = re.compile(r"(python[\d.]*|platform-python[\d.]*|bash|sh|dash|perl[\d.]*)")
_UNITS = (
    (re.compile(r"dnf|yum|packagekit"), Role.UPDATES),
    (re.compile(r"certbot|acme|lego|dehydrated|certmonger"), Role.CERTIFICATES),
    (re.compile(r"fwfeed-"), Role.FEEDS),
)


@dataclass(frozen=True, slots=True)
class Named:
    """A role; `sure` where a file or a unit of root's says so: anybody can call a script dnf, or use port 53."""

    role: Role
    sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What would be cut of one address: how often, and what would spare it, alone or with its delegation.

    `spare` is empty where a container sent it, or another mount namespace: there a path says nothing of the file.
    """

    foreign: str
    place: Place
    ports: tuple[tuple[str, int | None], ...]
    count: int
    last: datetime
    spare: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """A program that would be cut. `named` says what it is for, None where that is not known."""

    doer: Doer
    command: str
    named: Named | None
    count: int
    first: datetime
    last: datetime
    cuts: tuple[Cut, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would be cut. `spared` counts what would go on, being in the set or exempt by now.

    `unattributed` is what has no known sender, and is no victim. `unnamed` counts what the ledger had no room to name
    the addresses of. `allowed` is always_allow as it is.
    """

    since: datetime
    until: datetime
    begins: datetime | None
    whole: bool
    refuses: bool
    forwarded: bool
    allowed: tuple[str, ...]
    count: int
    spared: int
    unnamed: int
    victims: tuple[Victim, ...]
    unattributed: Victim | None
    remarks: tuple[str, ...]


def preview(
    gathered: Gathered,
    places: Mapping[str, Place],
    passes: Callable[[str], bool],
    window: Window,
    *,
    refuses: bool,
    forwarded: bool,
    allowed: tuple[str, ...] = (),
    remarks: tuple[str, ...] = (),
) -> Preview:
    """Return what would be cut; `passes` is whether connections to an address would go on."""
    parts: dict[Doer, list[tuple[Endpoint, Mass]]] = {}
    spared = unnamed = 0
    for (endpoint, doer), mass in gathered.pairs.items():
        if endpoint.direction is Direction.IN or (endpoint.direction is Direction.FORWARDED and not forwarded):
            continue
        if not endpoint.foreign:
            unnamed += mass.count
        elif passes(endpoint.foreign):
            spared += mass.count
        else:
            parts.setdefault(doer if doer.is_known else UNKNOWN, []).append((endpoint, mass))
    nobodys = parts.pop(UNKNOWN, None)
    unattributed = _victim(UNKNOWN, nobodys, places) if nobodys else None
    victims = sorted(
        (_victim(doer, found, places) for doer, found in parts.items()),
        key=lambda victim: (_rank(victim), -victim.count, victim.doer.program[0]),
    )
    return Preview(
        since=window.since,
        until=window.until,
        begins=window.begins,
        whole=window.whole,
        refuses=refuses,
        forwarded=forwarded,
        allowed=allowed,
        count=sum(victim.count for victim in (*victims, *([unattributed] if unattributed else []))),
        spared=spared,
        unnamed=unnamed,
        victims=tuple(victims),
        unattributed=unattributed,
        remarks=remarks,
    )


def named(doer: Doer, command: str, ports: Iterable[int | None]) -> Named | None:
    """Return what a program is for, as far as its file, its unit, its command line, or all its ports say."""
    program = doer.program
    name = PurePath(program.executable).name
    sound = bool(_OF_ROOT.match(program.executable)) and not program.deleted and not program.container
    if sound:
        if name in _ROLES:
            return Named(_ROLES[name], sure=True)
        if _INTERPRETER.fullmatch(name) or not name:
            for pattern, role in _UNITS:
                if program.unit.endswith(".service") and pattern.match(program.unit):
                    return Named(role, sure=program.uid == 0 or role is Role.FEEDS)
    of_ports = {_PORTS.get(port) if port is not None else None for port in ports}
    if len(of_ports) == 1 and (role_of_port := of_ports.pop()) is not None:
        return Named(role_of_port, sure=False)
    for word in command.split()[:4]:
        if (said := _ROLES.get(PurePath(word).name)) is not None:
            return Named(said, sure=False)
    return None


def _rank(victim: Victim) -> int:
    if victim.named is None:
        return 2
    return 0 if victim.named.sure else 1


def _victim(doer: Doer, parts: list[tuple[Endpoint, Mass]], places: Mapping[str, Place]) -> Victim:
    latest = max((mass for _endpoint, mass in parts), key=lambda mass: (bool(mass.command), mass.last))
    by_address: dict[str, list[tuple[Endpoint, Mass]]] = {}
    for endpoint, mass in parts:
        by_address.setdefault(endpoint.foreign, []).append((endpoint, mass))
    cuts = [
        Cut(
            foreign=foreign,
            place=places.get(foreign, Place()),
            ports=tuple(sorted({(each.protocol, each.port) for each, _mass in found}, key=str)),
            count=sum(mass.count for _endpoint, mass in found),
            last=max(mass.last for _endpoint, mass in found if mass.last),
            spare="" if doer.program.container else f"{foreign}/{128 if ':' in foreign else 32}",
        )
        for foreign, found in by_address.items()
    ]
    return Victim(
        doer=doer,
        command=latest.command,
        named=named(doer, latest.command, (endpoint.port for endpoint, _mass in parts)),
        count=sum(cut.count for cut in cuts),
        first=min(mass.first for _endpoint, mass in parts if mass.first),
        last=max(cut.last for cut in cuts),
        cuts=tuple(sorted(cuts, key=lambda cut: (-cut.count, cut.foreign))),
    )
