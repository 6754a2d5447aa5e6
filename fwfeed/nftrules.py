"""The rules of a policy or zone as the kernel holds them: what a file makes of them, and what nft says is there.

Both sides are read apart and to the same form, so that they can be compared. Pure.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

from fwfeed.ruleset import is_inverted


class NftRule(NamedTuple):
    """A rule: what has to be so, each as a text ("ip daddr != @JP", "limit 10/second"), and what it does then."""

    matches: frozenset[str]
    does: str


class Placed(NamedTuple):
    """A rule of a file in its chain, of which this is how the name ends; of two there, the lesser priority is first."""

    suffix: str
    priority: int
    rule: NftRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What firewalld takes a service to be: (port or first-last, protocol) pairs, and destinations by rule family.

    `whole` is False where there is more to it than these.
    """

    ports: tuple[tuple[str, str], ...]
    destinations: Mapping[str, str]
    whole: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the kernel's: the rules of each chain in their order, and the chains that packets come to first."""

    chains: Mapping[str, list[NftRule]]
    bases: frozenset[str]

    def reached(self, chain: str) -> bool:
        """Return whether a way leads from a base chain to this one."""
        seen, new = set[str](), {chain}
        while new and not new & self.bases:
            seen |= new
            ways = {f"{verb} {name}" for name in new for verb in ("jump", "goto")}
            new = {name for name, rules in self.chains.items() if any(rule.does in ways for rule in rules)} - seen
        return bool(new)


def parse_table(text: str) -> Table:
    """Read a table from nft's JSON (libnftables-json(5))."""
    chains: dict[str, list[NftRule]] = defaultdict(list)
    bases = set()
    for entry in json.loads(text)["nftables"]:
        if "hook" in entry.get("chain", {}):
            bases.add(entry["chain"]["name"])
        if "rule" in entry:
            chains[entry["rule"]["chain"]] += _parse_rule(entry["rule"].get("expr", ()))
    return Table(dict(chains), frozenset(bases))


_SUFFIXES = ("pre", "log", "deny", "allow", "post")


def rule_differences(
    path: str, tree: ET.Element, table: Table, service: Callable[[str], Service], *, zones_active: bool
) -> Iterator[str]:
    """Yield what the kernel lacks of the rich rules of a policy's or zone's file, or has otherwise.

    A policy of which all can be told has these rules and no others, in their order, and packets come to them. A zone
    may have more: bans, say. `zones_active`: whether any zone has an interface or a source.
    """
    rules, whole = placed(tree, service)
    exact = whole and path.startswith("policies/")
    asked = exact and _is_asked(tree, zones_active=zones_active)
    chain = _chain(path, tree)
    for suffix in _SUFFIXES:
        wanted = [each for each in rules if each.suffix == suffix]
        held = table.chains.get(f"{chain}_{suffix}", [])
        lacking = [each.rule for each in wanted if each.rule not in held]
        yield from (f"the kernel lacks the rule of {path} that {_said(rule)}" for rule in lacking)
        if not lacking and exact and not _in_order(wanted, held):
            yield f"the kernel has other rules than those of {path}, or has them in another order"
        if not lacking and asked and wanted and not table.reached(f"{chain}_{suffix}"):
            yield f"the kernel has the rules of {path}, but no packet comes to them"


def _chain(path: str, tree: ET.Element) -> str:
    """Return how the names of the chains begin in which firewalld puts the rules of a policy or zone."""
    folder, _, name = path.removesuffix(".xml").partition("/")
    if folder == "zones":
        return f"filter_IN_{name}"
    hook = {"ingress-zone": "OUT", "egress-zone": "IN"}.get(_sides(tree).get("HOST", ""), "FWD")
    return f"filter_{hook}_policy_{name}"


def _is_asked(tree: ET.Element, *, zones_active: bool) -> bool:
    """Return whether firewalld must have packets come to a policy.

    What is forwarded between interfaces that are in no zone goes by the default zone alone: no policy is asked (seen in
    1.3 to 2.5). Whether the zones of a policy for others than HOST and ANY are active is not told here.
    """
    sides = _sides(tree).keys()
    return sides == {"HOST", "ANY"} or (sides == {"ANY"} and zones_active)


def _sides(tree: ET.Element) -> dict[str, str]:
    """Return which end of a policy ("ingress-zone" or "egress-zone") each of its zones is."""
    return {each.get("name", ""): each.tag for each in tree if each.tag in {"ingress-zone", "egress-zone"}}


def _in_order(wanted: Sequence[Placed], held: Sequence[NftRule]) -> bool:
    """Return whether these are the rules, by priority; how firewalld orders those of one priority is its own affair."""
    priority = {each.rule: each.priority for each in wanted}
    return [priority.get(rule) for rule in held] == sorted(each.priority for each in wanted)


def _said(rule: NftRule) -> str:
    verb, _, rest = rule.does.partition(" ")
    conditions = " and ".join(sorted(match for match in rule.matches if not match.startswith("limit ")))
    return f"{verb}s {rest}" if verb == "log" else f"{verb}s {conditions or 'everything'}"


_SILENT = frozenset({"counter"})
_ADDRESSES = frozenset({"saddr", "daddr"})
_FAMILY_SAID = ("ip ", "ip6 ", "icmp ", "icmpv6 ")
_DISCOVERY = "icmpv6 type == nd-"
_NO_CODE = frozenset({"icmpv6 code == no-route", "icmpv6 code == 0"})


def _parse_rule(expressions: Any) -> Iterator[NftRule]:
    """Yield what a rule does, each with the matches before it."""
    matches: list[str] = []
    for expression in expressions:
        ((kind, content),) = expression.items()
        if kind == "match":
            matches.append(_match(content))
        elif kind == "limit":
            matches.append(f"limit {content.get('rate')}/{content.get('per')}")
        elif kind not in _SILENT:
            yield NftRule(
                frozenset(match for match in matches if match and not _is_implied(match, matches)), _does(kind, content)
            )


def _is_implied(match: str, matches: Sequence[str]) -> bool:
    """Return whether other matches of a rule say it already: what some versions of nft or firewalld add, others not."""
    if match.startswith("meta nfproto "):
        return any(other.startswith(_FAMILY_SAID) for other in matches)
    # neighbour discovery has no other code (RFC 4861, 4); firewalld 2.5 asks for it all the same
    return match in _NO_CODE and any(other.startswith(_DISCOVERY) for other in matches)


def _match(content: Any) -> str:
    left, right = content["left"], content["right"]
    payload = left.get("payload", {}) if isinstance(left, dict) else {}
    if "field" in payload:
        value = _value(right)
        if payload["field"] in _ADDRESSES and not value.startswith(("@", "{")):
            value = _network(value)
        return f"{payload['protocol']} {payload['field']} {content['op']} {value}"
    if isinstance(left, dict) and "meta" in left:
        return f"meta {left['meta'].get('key')} {content['op']} {_value(right)}"
    if isinstance(left, dict) and left.get("ct") == {"key": "state"}:
        # firewalld says "new" where all else is already accepted
        states = right.get("set", ()) if isinstance(right, dict) else right if isinstance(right, list) else (right,)
        if set(states) <= {"new", "untracked"}:
            return ""
    return json.dumps(content, sort_keys=True)


def _value(right: Any) -> str:
    if not isinstance(right, dict):
        return str(right)
    if "prefix" in right:
        return f"{right['prefix']['addr']}/{right['prefix']['len']}"
    if "range" in right:
        return "-".join(map(str, right["range"]))
    if "set" in right:
        return "{" + ", ".join(sorted(map(_value, right["set"]))) + "}"
    return json.dumps(right, sort_keys=True)


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        return text


def _does(kind: str, content: Any) -> str:
    if kind == "log":
        content = content or {}
        return _logs(content.get("prefix", ""), content.get("group"), content.get("queue-threshold", 0))
    if kind == "reject":
        answer = " ".join(str(part) for part in (content or {}).values())
        return "reject" if re.fullmatch(r"(icmpx?|icmpv6) port-unreachable", answer) else f"reject {answer}".rstrip()
    if kind in {"jump", "goto"}:
        return f"{kind} {content['target']}"
    return kind


def _logs(prefix: str, group: int | None = None, queue: int = 0) -> str:
    """Say how a rule logs: into the kernel's log, or to a group of nflog, so many at a time."""
    to = "" if group is None else f" to group {group}"
    return f"log {prefix!r}{to}{f', {queue} at a time' if queue else ''}"


_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_PROTOCOLS = {"ipv4": "ip", "ipv6": "ip6"}
_FIELDS = {"source": "saddr", "destination": "daddr"}
_ICMP_TYPES = {
    "neighbour-advertisement": "nd-neighbor-advert",
    "neighbour-solicitation": "nd-neighbor-solicit",
    "router-advertisement": "nd-router-advert",
    "router-solicitation": "nd-router-solicit",
}
_VERDICTS = frozenset({"accept", "reject", "drop"})
_LOGS = frozenset({"log", "nflog"})
_CHAINS = {"accept": "allow", "reject": "deny", "drop": "deny"}


def placed(tree: ET.Element, service: Callable[[str], Service]) -> tuple[list[Placed], bool]:
    """Return what the rich rules of a policy's or zone's file are in the kernel, and whether these are all of them.

    What cannot be told here, as templates of the administrator's may have it, is left out.
    """
    found: list[Placed] = []
    whole = {child.tag for child in tree} <= {"short", "description", "ingress-zone", "egress-zone", "rule"}
    for rule in tree.findall("rule"):
        try:
            rules, all_told = _placed(rule, service)
        except (KeyError, ValueError):
            rules, all_told = [], False
        found += rules
        whole = whole and all_told
    return found, whole


def _placed(rule: ET.Element, service: Callable[[str], Service]) -> tuple[list[Placed], bool]:
    priority = int(rule.get("priority", "0"))
    family = rule.get("family", "")
    peers = frozenset(_peer(child, family) for child in rule if child.tag in _FIELDS)
    elements = [child for child in rule if child.tag not in {*_FIELDS, *_VERDICTS, *_LOGS}]
    matches, whole = [frozenset[str]()], True
    for element in elements:  # firewalld allows one
        matches, whole = _element(element, family, service)
    found = []
    for verb in (child for child in rule if child.tag in {*_VERDICTS, *_LOGS}):
        limits = frozenset(_limit(limit) for limit in verb.findall("limit"))
        if verb.tag == "log":
            does = _logs(verb.get("prefix", ""))
        elif verb.tag == "nflog":
            does = _logs(verb.get("prefix", ""), int(verb.get("group", "0")), int(verb.get("queue-size", "0")))
        elif kind := verb.get("type"):
            does = {"tcp-reset": "reject tcp reset"}[kind]
        else:
            does = verb.tag
        suffix = "pre" if priority < 0 else "post" if priority > 0 else _CHAINS.get(verb.tag, "log")
        for each in matches:
            said = peers | each
            if family and not any(match.startswith(_FAMILY_SAID) for match in said):
                said |= {f"meta nfproto == {family}"}
            found.append(Placed(suffix, priority, NftRule(said | limits, does)))
    return found, whole


def _peer(peer: ET.Element, family: str) -> str:
    ipset, address = peer.get("ipset"), peer.get("address")
    operator = "!=" if is_inverted(peer) else "=="
    if ipset is None and address is None:
        raise ValueError("neither a set nor an address")
    value = f"@{ipset}" if ipset is not None else str(ip_network(address or ""))
    return f"{_PROTOCOLS[family]} {_FIELDS[peer.tag]} {operator} {value}"


def _element(element: ET.Element, family: str, service: Callable[[str], Service]) -> tuple[list[frozenset[str]], bool]:
    """Return the matches of each rule that the element makes, and whether these are all."""
    if element.tag == "protocol":
        return [frozenset({f"meta l4proto == {element.get('value')}"})], True
    if element.tag == "icmp-type":
        return [frozenset({f"icmpv6 type == {_ICMP_TYPES[element.get('name', '')]}"})], True
    if element.tag == "port":
        return [frozenset({f"{element.get('protocol')} dport == {element.get('port')}"})], True
    if element.tag != "service":
        raise ValueError(f"a rule about <{element.tag}>")
    known = service(element.get("name", ""))
    if known.destinations and family not in known.destinations:
        return [], known.whole
    where = [
        f"{_PROTOCOLS[of]} daddr == {ip_network(address)}" for of, address in known.destinations.items() if of == family
    ]
    return [frozenset({f"{protocol} dport == {ports}", *where}) for ports, protocol in known.ports], known.whole


def _limit(limit: ET.Element) -> str:
    rate, _, per = limit.get("value", "").partition("/")
    return f"limit {rate}/{_PER[per[:1]]}"
