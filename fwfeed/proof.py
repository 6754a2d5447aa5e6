"""Prove that firewalld's runtime and the kernel hold what the files say.

What was intended is read from the files themselves, by a reader that knows nothing of how they were rendered; what is
held is read from the kernel. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from xml.etree import ElementTree as ET

from fwfeed.firewalld import Firewalld, Kind, LogRule, kernel_log_rules, kernel_set
from fwfeed.model import IntendedSet
from fwfeed.prefixes import Family, Range, count, merge, subtract

Content = Mapping[str, bytes | None]
"""Files by their path below /etc/firewalld; None where there is none."""

FAILED = "firewalld is in state FAILED: it could not load its configuration"

_FIELDS = {"source": "saddr", "destination": "daddr"}
_TRUE = frozenset({"yes", "true"})  # as firewalld reads it


def differences(daemon: Firewalld, content: Content, default_zone: str | None) -> list[str]:
    """Say where runtime and kernel are not what these files say; an empty list is the proof that they are.

    `default_zone` None stands for any. A file that cannot be read is a difference too.
    """
    state = daemon.state()
    problems = [] if state == "RUNNING" else [FAILED if state == "FAILED" else f"firewalld is in state {state}"]
    for name in _names(content, "ipsets"):
        try:
            problems += _set_differences(_intended_set(name, content[f"ipsets/{name}.xml"] or b""))
        except ValueError as error:
            problems.append(f"ipsets/{name}.xml cannot be read: {error}")
    rules = kernel_log_rules()
    for kind in Kind:
        known = daemon.names(kind)
        for name in _names(content, kind.folder):
            path = f"{kind.folder}/{name}.xml"
            if name not in known:
                problems.append(f"firewalld does not have {path}")
                continue
            if daemon.drifted(kind, name):
                problems.append(f"firewalld's runtime has other settings than {path}")
            in_kernel = [rule for chain, rule in rules if f"_{name}_" in chain]
            try:
                lacking = [rule for rule in _log_rules(content[path] or b"") if rule not in in_kernel]
            except ValueError as error:
                problems.append(f"{path} cannot be read: {error}")
                continue
            problems += (f"the kernel lacks the rule of {path} that logs {rule.prefix!r}" for rule in lacking)
    active = daemon.default_zone()
    if default_zone not in (None, active):
        problems.append(f"the default zone is {active}, not {default_zone}")
    return problems


def intended_sets(content: Content) -> list[IntendedSet]:
    """Return the sets that ipset files describe, as the kernel has to hold them. Raises ValueError."""
    return [_intended_set(name, content[f"ipsets/{name}.xml"] or b"") for name in _names(content, "ipsets")]


def _set_differences(intended: IntendedSet) -> list[str]:
    held = kernel_set(intended.name, intended.family)
    if held is None:
        return [f"the kernel has no set {intended.name}"]
    if held == intended.ranges:
        return []
    missing, extra = count(subtract(intended.ranges, held)), count(subtract(held, intended.ranges))
    return [f"the kernel's set {intended.name} lacks {missing:,} addresses and has {extra:,} too many"]


def _intended_set(name: str, raw: bytes) -> IntendedSet:
    tree = _tree(raw)
    options = {option.get("name"): option.get("value") for option in tree.iter("option")}
    family = Family.IPV6 if options.get("family") == "inet6" else Family.IPV4
    entries = (_entry(entry.text or "") for entry in tree.iter("entry"))
    return IntendedSet(name=name, family=family, ranges=merge(entries))


def _entry(text: str) -> Range:
    """Read an entry as firewalld takes it: more than fwfeed writes, for files that were edited since."""
    first, dash, last = text.strip().partition("-")
    if dash:
        return int(ip_address(first)), int(ip_address(last))
    network = ip_network(first)
    return int(network.network_address), int(network.broadcast_address)


def _log_rules(raw: bytes) -> Iterator[LogRule]:
    """Yield the rules of a policy or zone file that log."""
    for rule in _tree(raw).iter("rule"):
        log = rule.find("log")
        if log is None:
            continue
        prefix = log.get("prefix", "")
        peers = [(peer, field) for tag, field in _FIELDS.items() if (peer := rule.find(tag)) is not None]
        sets = [(peer, field) for peer, field in peers if peer.get("ipset")]
        if not sets:
            yield LogRule("", "", "", inverted=False, prefix=prefix)
        for peer, field in sets:
            protocol = "ip6" if rule.get("family") == "ipv6" else "ip"
            inverted = peer.get("invert", "").lower() in _TRUE
            yield LogRule(protocol, field, peer.get("ipset", ""), inverted, prefix)


def _tree(raw: bytes) -> ET.Element:
    try:
        return ET.fromstring(raw)  # noqa: S314 - a file below /etc/firewalld, which is root's
    except (ET.ParseError, LookupError) as error:
        raise ValueError(f"not well-formed XML: {error}") from None


def _names(content: Content, folder: str) -> list[str]:
    return [
        path.removeprefix(f"{folder}/").removesuffix(".xml")
        for path, raw in content.items()
        if raw is not None and path.startswith(f"{folder}/")
    ]
