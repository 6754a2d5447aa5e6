"""The ways in and out that a change must leave open: who is logged in, and what this host needs others for.

What is judged is what is about to be installed, whatever rendered it and whenever. A way counts as cut by a change
where the change makes it worse: what passed does not any more, or that cannot be told any more. Where the change is one
of rules and not of entries alone, it has to leave open even what was cut before: whoever asks for it is there to say
--allow-lockout. An update of entries that comes by night is not kept out for what was cut on purpose weeks ago.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

from fwfeed import surroundings
from fwfeed.apply.layouts import Judged, Layout
from fwfeed.config import Config
from fwfeed.errors import FwfeedError, LockoutRefused
from fwfeed.firewalld import Firewalld
from fwfeed.lockout import Answer, Connection, Finding
from fwfeed.prefixes import Family, find
from fwfeed.sessions import Session, established
from fwfeed.store import candidates, hosts
from fwfeed.surroundings import Need, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A way that a change would cut, or may: what it is, why, and the setting that keeps it open."""

    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}, and {self.why}: {self.remedy}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What a change would cut, and what could not be looked at and why.

    `leaning` has the sessions that the files would not admit: where they go on, it is by something of the runtime's.
    """

    cuts: tuple[Cut, ...]
    unknown: tuple[str, ...]
    leaning: tuple[Session, ...]


def require_ways(ways: Ways, *, allow: bool) -> list[str]:
    """Refuse a change that would cut something, unless that is allowed; return what to warn of."""
    cut = [str(each) for each in ways.cuts]
    if cut and not allow:
        raise LockoutRefused("\n".join(cut), "change the settings named there; or, for this once: --allow-lockout")
    return [*cut, *ways.unknown]


def judge(config: Config, daemon: Firewalld, *, after: Layout, before: Layout, ssh: Session | None) -> Ways:
    """Find what a change from one layout to another would cut. `ssh` is the session of whoever asks for it."""
    judged = Judged(config, daemon, after, before)
    leaning: list[Session] = []
    found = [*_of_sessions(judged, ssh, leaning), *_of_allowed(judged), *_of_needs(judged)]
    return Ways(
        cuts=tuple(each for each in found if isinstance(each, Cut)),
        unknown=tuple(each for each in found if isinstance(each, str)),
        leaning=tuple(leaning),
    )


def _of_sessions(judged: Judged, ssh: Session | None, leaning: list[Session]) -> Iterator[Cut | str]:
    """Judge every SSH session, first the one of whoever asks; `leaning` gets those that the files would not admit."""
    try:
        sessions = [each for each in established()[0] if ssh is None or (each.peer, each.port) != (ssh.peer, ssh.port)]
    except FwfeedError as error:
        sessions = []
        yield f"who else is logged in over SSH is not known: {error.message}"
    if ssh is not None and not surroundings.is_address(ssh.peer):
        if judged.zones_changed or judged.own_zones:
            yield Cut(
                what=f"you are logged in over SSH, but SSH_CONNECTION does not say from where ({ssh.peer!r})",
                why="whether the zones would let you in again cannot be told",
                remedy="run it from the console, or from a session over TCP",
            )
        ssh = None
    for session in (*([] if ssh is None else [ssh]), *sessions):
        who = "you are" if session is ssh else "somebody is"
        connection, interface = _to(session.peer, "tcp", session.port), session.interface or _device(session.peer)
        if judged.is_leaning(connection, interface):
            leaning.append(session)
        finding = judged.comes_in(connection, interface)
        if finding is not None:
            you = "you" if session is ssh else "them"
            yield _session_cut(judged, session, finding, f"{who} logged in from {session.peer}", you)


def _session_cut(judged: Judged, session: Session, finding: Finding, who: str, you: str) -> Cut:
    config = judged.config
    address = ip_address(session.peer)
    family = Family(address.version)
    known = judged.new.sets.get(config.set.ipset(family))
    inside = known is not None and find(known.ranges, int(address)) is not None
    kind, _, name = finding.by.partition(" ")
    given_back = kind == "zone" and name not in judged.own_zones and name == judged.zone != judged.zone_before
    by = f"{finding.by}, the default zone again," if given_back else finding.by
    if kind == "policy":
        remedy = f"correct that policy, or its template in {config.paths.templates}"
    elif name not in judged.own_zones:
        remedy = f"firewall-cmd --permanent --zone={name} --add-port={session.port}/tcp && firewall-cmd --reload"
    elif inside:
        remedy = "add a service with that port to inbound.services"
    else:
        remedy = (
            "add a service with that port to inbound.foreign_services, "
            f"or {session.peer} to set.include or apply.always_allow"
        )
    return Cut(
        what=f"{who} to port {session.port}, {'inside' if inside else 'outside'} the set {config.set.name}",
        why=f"{by} {_verb(finding)} not let {you} in again",
        remedy=remedy,
    )


def _of_allowed(judged: Judged) -> Iterator[Cut | str]:
    """Judge the addresses that nothing of fwfeed's may cut; a template of the administrator's may."""
    if not judged.config.apply.always_allow:
        return
    try:
        ports = established()[1]
    except FwfeedError:  # said of the sessions
        ports = []
    remedy = f"correct the templates in {judged.config.paths.templates}, or apply.always_allow"
    for cidr in judged.config.apply.always_allow:
        network = ip_network(cidr)
        family = Family(network.version)
        span = int(network.network_address), int(network.broadcast_address)
        interface = _device(str(network.network_address))
        for protocol, port in [("tcp", port) for port in ports] or [("", 0)]:
            connection = Connection(family=family, span=span, protocol=protocol, port=port)
            if finding := judged.comes_in(connection, interface):
                to = f" to port {port}" if port else ""
                why = f"{finding.by} {_verb(finding)} not let it in{to}"
                yield Cut(what=f"{cidr} is in apply.always_allow", why=why, remedy=remedy)
        if finding := judged.goes_out(Connection(family=family, span=span)):
            why = f"{finding.by} {_verb(finding)} not let this host out to it"
            yield Cut(what=f"{cidr} is in apply.always_allow", why=why, remedy=remedy)


def _of_needs(judged: Judged) -> Iterator[Cut | str]:
    """Judge what this host needs of others, where anything of ours cuts what goes out."""
    if not judged.cuts_out:
        return
    config = judged.config
    needs: list[Need] = []
    routed: set[Family] = set()
    own: set[str] = set()
    try:
        needs += surroundings.gateways()
        routed = {Family(ip_address(need.name).version) for need in needs}
        own = surroundings.own_addresses()
    except FwfeedError as error:
        yield f"the default gateways are not known: {error.message}"
    needs += surroundings.resolvers()
    needs += surroundings.time_servers()
    needs += surroundings.repositories()
    needs += surroundings.sources(config)
    folder = candidates.folder(Path(config.paths.state))
    try:
        known = hosts.load(folder)
    except FwfeedError as error:
        known = {}
        yield error.message
    for need in needs:
        yield from _of_need(judged, need, known, routed, own)


def _of_need(
    judged: Judged, need: Need, known: Mapping[str, tuple[str, ...]], routed: set[Family], own: set[str]
) -> Iterator[Cut | str]:
    """Judge one need: it is met where one of its addresses can be reached, of a family that leads out at all."""
    reached: list[tuple[str, int]] = []
    unresolved = []
    for host, port in need.hosts:
        addresses = [host] if surroundings.is_address(host) else list(known.get(host, ()))
        if not addresses:
            unresolved.append(host)
        reached += ((address, port) for address in addresses)
    if any(address in own for address, _ in reached):
        return
    usable = [each for each in reached if Family(ip_address(each[0]).version) in routed] or reached
    finding = judged.goes_out(*(_to(address, need.protocol, port) for address, port in usable)) if usable else None
    called = need.role.value if need.role in {Role.GATEWAY, Role.RESOLVER} else f"{need.role.value} {need.name}"
    if unresolved and (finding is not None or not usable):
        lacking = ", ".join(unresolved)
        told = f"{lacking} was not resolved yet; fwfeed fetch records it"
        yield f"whether the {called} can be reached is not known: {told}"
    elif finding is not None:
        addresses = list(dict.fromkeys(address for address, _ in usable))
        yield Cut(
            what=f"this host needs the {called} at {', '.join(addresses)}",
            why=f"{finding.by} {_verb(finding)} cut it",
            remedy=f"add {'it' if len(addresses) == 1 else 'one of them'} to set.include or apply.always_allow",
        )


def _verb(finding: Finding) -> str:
    return "would" if finding.answer is Answer.CUT else "may"


def _to(address: str, protocol: str, port: int) -> Connection:
    known = ip_address(address)
    return Connection(family=Family(known.version), span=(int(known), int(known)), protocol=protocol, port=port)


def _device(address: str) -> str:
    try:
        return surroundings.device(address)
    except FwfeedError:
        return ""
