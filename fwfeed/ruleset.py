"""Read firewalld's own words - its XML, its settings over D-Bus, its rich rules - as what decides over connections.

The reader knows nothing of how a file was rendered, so what it says of a generation holds for overridden templates and
for old generations as well. Pure; what the rules mean for a connection is the business of `lockout`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_address, ip_network
from xml.etree import ElementTree as ET

from fwfeed.model import IntendedSet
from fwfeed.prefixes import Family, Range, merge

Content = Mapping[str, bytes | None]
"""Files by their path below /etc/firewalld; None where there is none."""

Settings = Mapping[str, Sequence[str]]
"""A zone or policy as firewalld tells it over D-Bus: plain texts, by its own keys."""

_FAMILIES = {"ipv4": Family.IPV4, "ipv6": Family.IPV6}
_MAC = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_ADDRESS_SETS = frozenset({"hash:ip", "hash:net"})


class Action(StrEnum):
    """What a rule does with a connection; `DIVERT` sends it elsewhere (forward-port)."""

    ACCEPT = "accept"
    REJECT = "reject"
    DROP = "drop"
    DIVERT = "divert"


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a rule or a zone speaks of: `kind` is ipset, address or mac, and `name` which."""

    kind: str
    name: str
    inverted: bool


@dataclass(frozen=True, slots=True)
class Element:
    """What a rule speaks of: `kind` is firewalld's word, `name` a service, a port or ports, or a protocol."""

    kind: str
    name: str
    protocol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule that decides; those that only log or mark are left out. `limited`: beyond a rate it decides nothing."""

    action: Action
    priority: int = 0
    family: Family | None = None
    source: Peer | None = None
    destination: Peer | None = None
    element: Element | None = None
    limited: bool = False

    @property
    def place(self) -> tuple[int, bool]:
        """Its place in firewalld's order: by priority; at 0, first what denies."""
        return self.priority, self.priority == 0 and self.action is Action.ACCEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A zone: whom it is for beside its interfaces, its rules in the order in which they are asked, and its target."""

    sources: tuple[Peer, ...]
    rules: tuple[Rule, ...]
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy: between which zones, its rules in the order in which they are asked, and its target."""

    ingress: frozenset[str]
    egress: frozenset[str]
    priority: int
    rules: tuple[Rule, ...]
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """All zones, policies and sets, by name; a set that is not of addresses alone is missing."""

    zones: Mapping[str, Zone]
    policies: Mapping[str, Policy]
    sets: Mapping[str, IntendedSet]

    @property
    def services(self) -> set[str]:
        """The names of the services that rules speak of."""
        rules = [rule for zone in self.zones.values() for rule in zone.rules]
        rules += [rule for policy in self.policies.values() for rule in policy.rules]
        return {rule.element.name for rule in rules if rule.element is not None and rule.element.kind == "service"}


def read(content: Content, zones: Mapping[str, Settings], policies: Mapping[str, Settings]) -> Ruleset:
    """Read files, with the zones and policies that firewalld has beside them. Raises ValueError for broken files."""
    read_zones = {name: zone_of(as_xml("zone", settings)) for name, settings in zones.items()}
    read_policies = {name: policy_of(as_xml("policy", settings)) for name, settings in policies.items()}
    read_zones |= {name: zone_of(parse(content[f"zones/{name}.xml"])) for name in names(content, "zones")}
    read_policies |= {name: policy_of(parse(content[f"policies/{name}.xml"])) for name in names(content, "policies")}
    sets = {}
    for name in names(content, "ipsets"):
        raw = content[f"ipsets/{name}.xml"]
        if parse(raw).get("type") in _ADDRESS_SETS:
            sets[name] = intended_set(name, raw)
    return Ruleset(zones=read_zones, policies=read_policies, sets=sets)


def zone_of(tree: ET.Element) -> Zone:
    """Read a zone."""
    sources = tuple(peer for source in tree.findall("source") if (peer := _peer(source)) is not None)
    return Zone(sources=sources, rules=_rules(tree), target=tree.get("target", "default"))


def policy_of(tree: ET.Element) -> Policy:
    """Read a policy. Raises ValueError."""
    return Policy(
        ingress=frozenset(each.get("name", "") for each in tree.findall("ingress-zone")),
        egress=frozenset(each.get("name", "") for each in tree.findall("egress-zone")),
        priority=int(tree.get("priority", "-1")),
        rules=_rules(tree),
        target=tree.get("target", "CONTINUE"),
    )


def as_xml(tag: str, settings: Settings) -> ET.Element:
    """Turn the settings of a zone or policy into the element that would stand in its file."""
    tree = ET.Element(tag, {key: settings[key][0] for key in ("target", "priority") if settings.get(key)})
    for key, child in (("ingress_zones", "ingress-zone"), ("egress_zones", "egress-zone"), ("services", "service")):
        for name in settings.get(key, ()):
            ET.SubElement(tree, child, name=name)
    for key, child in (("ports", "port"), ("source_ports", "source-port"), ("forward_ports", "forward-port")):
        for text in settings.get(key, ()):
            port, protocol = text.split()[:2]
            ET.SubElement(tree, child, port=port, protocol=protocol)
    for protocol in settings.get("protocols", ()):
        ET.SubElement(tree, "protocol", value=protocol)
    for source in settings.get("sources", ()):
        kind = "ipset" if source.startswith("ipset:") else "mac" if _MAC.fullmatch(source) else "address"
        ET.SubElement(tree, "source", {kind: source.removeprefix("ipset:")})
    tree.extend(rich_rule(text) for key in ("rules_str", "rich_rules") for text in settings.get(key, ()))
    return tree


def rich_rule(text: str) -> ET.Element:
    """Turn a rich rule (firewalld.richlanguage(5)) into the element that would stand in a file.

    One that cannot be read becomes one that nobody knows.
    """
    rule = ET.Element("rule")
    try:
        words = shlex.split(text)[1:]
    except ValueError:
        words = ["unreadable"]
    current = rule
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            current.set(key, value)
        elif word.upper() == "NOT":
            current.set("invert", "True")
        else:
            current = ET.SubElement(current if word == "limit" else rule, word)
    return rule


def intended_sets(content: Content) -> list[IntendedSet]:
    """Return the sets that ipset files describe, the country's first, as the kernel has to hold them.

    Raises ValueError.
    """
    sets = [intended_set(name, content[f"ipsets/{name}.xml"]) for name in names(content, "ipsets")]
    return sorted(sets, key=lambda each: each.passing)


def intended_set(name: str, raw: bytes | None) -> IntendedSet:
    """Return the set that an ipset file describes. Raises ValueError."""
    tree = parse(raw)
    options = {option.get("name"): option.get("value") for option in tree.iter("option")}
    family = Family.IPV6 if options.get("family") == "inet6" else Family.IPV4
    entries = (entry_range(entry.text or "") for entry in tree.iter("entry"))
    return IntendedSet(name=name, family=family, ranges=merge(entries))


def set_form(raw: bytes | None) -> tuple[str, dict[str, str]]:
    """Return the type and options of an ipset file. Raises ValueError."""
    tree = parse(raw)
    return tree.get("type", ""), {str(each.get("name")): each.get("value", "") for each in tree.iter("option")}


def entry_range(text: str) -> Range:
    """Read an entry as firewalld takes it, which is more than fwfeed writes. Raises ValueError."""
    first, dash, last = text.strip().partition("-")
    if dash:
        return int(ip_address(first)), int(ip_address(last))
    network = ip_network(first)
    return int(network.network_address), int(network.broadcast_address)


def names(content: Content, folder: str) -> list[str]:
    """Return the names that the files of one folder have."""
    return [
        path.removeprefix(f"{folder}/").removesuffix(".xml")
        for path, raw in content.items()
        if raw is not None and path.startswith(f"{folder}/")
    ]


def parse(raw: bytes | None) -> ET.Element:
    """Read XML. Raises ValueError."""
    try:
        return ET.fromstring(raw or b"")  # noqa: S314 - a file below /etc/firewalld, which is root's
    except (ET.ParseError, LookupError) as error:
        raise ValueError(f"not well-formed XML: {error}") from None


def is_inverted(peer: ET.Element) -> bool:
    """Return whether a source or destination stands for all others, as firewalld reads it."""
    return peer.get("invert", "").lower() in {"yes", "true"}


def _rules(tree: ET.Element) -> tuple[Rule, ...]:
    """Return the rules of a zone or policy in firewalld's order."""
    rules = [rule for child in tree if (rule := _rule(child) if child.tag == "rule" else _plain(child)) is not None]
    return tuple(sorted(rules, key=lambda rule: rule.place))


def _plain(child: ET.Element) -> Rule | None:
    """Read what stands in a zone or policy beside its rules and admits: a service, ports, a protocol."""
    element = _element(child)
    return None if element is None else _deciding(element, Rule(action=Action.ACCEPT, element=element))


def _rule(tree: ET.Element) -> Rule | None:
    children = list(tree)
    elements = [element for child in children if (element := _element(child)) is not None]
    actions = [child for child in children if child.tag in {"accept", "reject", "drop"}]
    source, destination = tree.find("source"), tree.find("destination")
    element = elements[0] if elements else None
    if not actions and (element is None or element.kind in _KNOWN - {"forward-port"}):
        return None  # it logs or marks; or it is of ICMP or of forwarding alone
    rule = Rule(
        action=Action(actions[0].tag) if actions else Action.DIVERT,
        priority=int(tree.get("priority", "0")),
        family=_FAMILIES.get(tree.get("family", "")),
        source=None if source is None else _peer(source),
        destination=None if destination is None else _peer(destination),
        element=element,
        limited=any(action.find("limit") is not None for action in actions),
    )
    return rule if element is None else _deciding(element, rule)


def _deciding(element: Element, rule: Rule) -> Rule | None:
    if element.kind in _UNDECIDING:
        return None
    return replace(rule, action=Action.DIVERT) if element.kind == "forward-port" else rule


_UNDECIDING = frozenset({"masquerade", "icmp-block", "icmp-block-inversion", "tcp-mss-clamp", "forward"})
_KNOWN = _UNDECIDING | {"service", "port", "protocol", "source-port", "forward-port", "icmp-type"}
_NOT_ELEMENTS = frozenset(
    {
        *("short", "description", "interface", "source", "destination", "ingress-zone", "egress-zone"),
        *("log", "nflog", "audit", "accept", "reject", "drop", "mark"),
    }
)


def _element(child: ET.Element) -> Element | None:
    """Read what a rule speaks of; a tag that nobody knows is one, so that nothing is concluded from it."""
    if child.tag in _NOT_ELEMENTS:
        return None
    name = child.get("name") or child.get("port") or child.get("value") or ""
    return Element(child.tag, name, child.get("protocol", ""))


def _peer(tree: ET.Element) -> Peer | None:
    for kind in ("ipset", "address", "mac"):
        if name := tree.get(kind):
            return Peer(kind, name, is_inverted(tree))
    return None
