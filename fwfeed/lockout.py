"""Foretell what a ruleset does with a new connection: it passes, it is cut, or that cannot be told.

As firewalld has it in nftables (1.3 to 2.5): a connection that comes in belongs to the zone of its source address, else
to that of its interface; it meets the policies to HOST with a priority below 0, the zone's rules, the other policies,
and the zone's target. One that goes out meets the policies from HOST, and passes. A rule that may match or may not
leaves both ways open; where they end differently, the answer is unknown, and never that it passes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network
from itertools import groupby

from fwfeed.prefixes import Family, Range, Ranges, subtract
from fwfeed.ruleset import Action, Element, Peer, Policy, Rule, Ruleset


@dataclass(frozen=True, slots=True)
class Service:
    """A service's (port or first-last, protocol) pairs.

    `narrowed`: it is of some destinations only. `wider`: it has more than ports.
    """

    ports: tuple[tuple[str, str], ...]
    narrowed: bool = False
    wider: bool = False


Services = Mapping[str, Service]


class Answer(Enum):
    """What becomes of a connection; in the order from good to bad."""

    PASSES = 0
    UNKNOWN = 1
    CUT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A new connection with any of some addresses at its other end.

    `protocol` empty stands for all of them, `port` 0 for any: what decides over some of them only, may decide.
    """

    family: Family
    span: Range
    protocol: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer, and what gave it: "zone public", say; for UNKNOWN, what may cut."""

    answer: Answer
    by: str


class _Match(Enum):
    NO = 0
    MAYBE = 1
    YES = 2


_Step = tuple[bool, bool, str]  # whether it is certain that it decides, whether it lets pass, and what it is of

_TARGETS = {"ACCEPT": True, "DROP": False, "REJECT": False, "%%REJECT%%": False}


def inbound(ruleset: Ruleset, connection: Connection, zones: Collection[str], services: Services) -> Finding:
    """Say what becomes of a connection that comes in; `zones` are those that its interface may be in."""
    matches = {name: _among(zone.sources, connection, ruleset) for name, zone in ruleset.zones.items()}
    possible = [name for name, match in matches.items() if match is not _Match.NO]
    if _Match.YES not in matches.values():
        possible += [zone for zone in sorted(zones) if zone not in possible]
    return _agreed([_settled(_incoming(ruleset, connection, zone, services)) for zone in possible])


def outbound(ruleset: Ruleset, connection: Connection, services: Services) -> Finding:
    """Say what becomes of a connection that this host begins."""
    return _settled(_outgoing(ruleset, connection, services))


def covers(pairs: Iterable[tuple[str, str]], protocol: str, port: int) -> bool:
    """Return whether (port or first-last, protocol) pairs hold a port."""
    for ports, spoken in pairs:
        first, _, last = ports.partition("-")
        if spoken == protocol and first.isdecimal() and int(first) <= port <= int(last or first):
            return True
    return False


def _incoming(ruleset: Ruleset, connection: Connection, zone: str, services: Services) -> Iterator[_Step]:
    def steps(policies: Iterable[tuple[str, Policy]]) -> Iterator[_Step]:
        for name, policy in policies:
            if policy.egress & {"HOST"} and policy.ingress & {"ANY", zone}:
                yield from _of_policy(ruleset, connection, name, policy, services, _Match.YES, outgoing=False)

    ordered = _ordered(ruleset)
    yield from steps(pair for pair in ordered if pair[1].priority < 0)
    if zone not in ruleset.zones:
        yield from ((False, passes, f"zone {zone}, of which nothing is known") for passes in (True, False))
        return
    rules = ruleset.zones[zone].rules
    yield from _of_rules(ruleset, connection, rules, services, f"zone {zone}", _Match.YES, outgoing=False)
    yield from steps(pair for pair in ordered if pair[1].priority >= 0)
    yield True, _TARGETS.get(ruleset.zones[zone].target, False), f"zone {zone}"


def _outgoing(ruleset: Ruleset, connection: Connection, services: Services) -> Iterator[_Step]:
    for name, policy in _ordered(ruleset):
        if policy.ingress & {"HOST"} and policy.egress:
            # which zone the way out belongs to is not asked
            reached = _Match.YES if "ANY" in policy.egress else _Match.MAYBE
            yield from _of_policy(ruleset, connection, name, policy, services, reached, outgoing=True)
    yield True, True, ""


def _ordered(ruleset: Ruleset) -> list[tuple[str, Policy]]:
    return sorted(ruleset.policies.items(), key=lambda pair: (pair[1].priority, pair[0]))


def _of_policy(
    ruleset: Ruleset,
    connection: Connection,
    name: str,
    policy: Policy,
    services: Services,
    reached: _Match,
    *,
    outgoing: bool,
) -> Iterator[_Step]:
    yield from _of_rules(ruleset, connection, policy.rules, services, f"policy {name}", reached, outgoing=outgoing)
    if policy.target in _TARGETS:
        yield reached is _Match.YES, _TARGETS[policy.target], f"policy {name}"


def _of_rules(
    ruleset: Ruleset,
    connection: Connection,
    rules: Iterable[Rule],
    services: Services,
    of: str,
    reached: _Match,
    *,
    outgoing: bool,
) -> Iterator[_Step]:
    """Yield what rules may do; which one of those in one place comes first depends on firewalld's version."""
    for _place, equal in groupby(rules, key=lambda rule: rule.place):
        steps = [
            step
            for rule in equal
            for step in _of_rule(ruleset, connection, rule, services, of, reached, outgoing=outgoing)
        ]
        steps.sort(key=lambda step: step[0])  # the uncertain ones first, as they may come first
        for step in steps[:-1]:
            yield False, *step[1:]
        yield from steps[-1:]


def _of_rule(
    ruleset: Ruleset,
    connection: Connection,
    rule: Rule,
    services: Services,
    of: str,
    reached: _Match,
    *,
    outgoing: bool,
) -> Iterator[_Step]:
    """Yield what a rule may do; nothing where it does not match."""
    if rule.family not in (None, connection.family):
        return
    far, near = (rule.destination, rule.source) if outgoing else (rule.source, rule.destination)
    matches = [reached, _speaks_of(rule.element, connection, services)]
    matches += [] if far is None else [_is(far, connection, ruleset)]
    matches += [] if near is None else [_Match.MAYBE]  # this host's own addresses are not asked
    match = min(matches, key=lambda each: each.value)
    if match is _Match.NO:
        return
    if rule.action is Action.DIVERT:
        yield from ((False, passes, of) for passes in (True, False))
    else:
        yield match is _Match.YES and not rule.limited, rule.action is Action.ACCEPT, of


def _settled(steps: Iterable[_Step]) -> Finding:
    """Return where the steps end: the first certain one, or an uncertain one before it."""
    ends: dict[bool, str] = {}
    for certain, passes, of in steps:
        ends.setdefault(passes, of)
        if certain:
            break
    if len(ends) == 1:
        ((passes, of),) = ends.items()
        return Finding(Answer.PASSES if passes else Answer.CUT, of)
    return Finding(Answer.UNKNOWN, ends.get(False, ""))


def _agreed(findings: Sequence[Finding]) -> Finding:
    """Return what all say, or that it cannot be told."""
    if not findings:
        return Finding(Answer.UNKNOWN, "no zone that is known")
    if len({finding.answer for finding in findings}) == 1:
        return findings[0]
    worst = max(findings, key=lambda finding: finding.answer.value)
    return Finding(Answer.UNKNOWN, worst.by)


def _among(peers: Iterable[Peer], connection: Connection, ruleset: Ruleset) -> _Match:
    matches = [_is(peer, connection, ruleset) for peer in peers]
    return max(matches, key=lambda each: each.value, default=_Match.NO)


def _is(peer: Peer, connection: Connection, ruleset: Ruleset) -> _Match:
    """Return whether the other end is one that a rule or zone speaks of."""
    family, ranges = _ranges(peer, ruleset)
    if family is None:
        return _Match.MAYBE
    if family is not connection.family:
        return _Match.NO  # nor is it one that is not in the set: nftables asks for the family first
    first, last = connection.span
    left = subtract([(first, last)], ranges)
    match = _Match.YES if not left else _Match.NO if left == [(first, last)] else _Match.MAYBE
    return {_Match.YES: _Match.NO, _Match.NO: _Match.YES}.get(match, match) if peer.inverted else match


def _ranges(peer: Peer, ruleset: Ruleset) -> tuple[Family | None, Ranges]:
    """Return the addresses of a peer; no family: they are not known."""
    if peer.kind == "ipset" and peer.name in ruleset.sets:
        known = ruleset.sets[peer.name]
        return known.family, known.ranges
    if peer.kind != "address":
        return None, []
    try:
        network = ip_network(peer.name, strict=False)
    except ValueError:
        return None, []
    return Family(network.version), [(int(network.network_address), int(network.broadcast_address))]


def _speaks_of(element: Element | None, connection: Connection, services: Services) -> _Match:
    """Return whether a rule about a service, a port, a protocol speaks of a connection."""
    if element is None:
        return _Match.YES
    if not connection.protocol:
        return _Match.MAYBE
    if element.kind == "icmp-type":
        return _Match.MAYBE if connection.protocol.startswith("icmp") else _Match.NO
    if element.kind == "protocol":
        return _Match.YES if element.name == connection.protocol else _Match.NO
    if element.kind == "source-port":
        return _Match.MAYBE if element.protocol == connection.protocol else _Match.NO
    if element.kind in {"port", "forward-port"}:
        service = Service(((element.name, element.protocol),))
    elif element.kind == "service" and element.name in services:
        service = services[element.name]
    else:
        return _Match.MAYBE
    if not any(protocol == connection.protocol for _, protocol in service.ports):
        return _Match.MAYBE if service.wider else _Match.NO
    if not connection.port:
        return _Match.MAYBE
    if covers(service.ports, connection.protocol, connection.port):
        return _Match.MAYBE if service.narrowed else _Match.YES
    return _Match.MAYBE if service.wider else _Match.NO
