"""Find, before firewalld sees it, what firewalld's own --check-config lets pass.

Pure: files and the daemon's configuration come in as text, problems go out as text. firewalld exits 0 for a
dangling set, a /0, an entry that is no address, overlapping entries and too many of them (firewalld#1280), and
some of these leave it FAILED at the next reload (firewalld#1343, #1344). Templates can be overridden, so it is the
rendered files that are read here, not what they were meant to be.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from xml.etree import ElementTree as ET

from fwfeed.model import IntendedSet
from fwfeed.prefixes import Family, Ranges, merge, parse_prefix, spans
from fwfeed.render import Block, Rendered
from fwfeed.ruleset import is_inverted

_FAMILIES = {"inet": Family.IPV4, "inet6": Family.IPV6}
_REFUSING = ("reject", "drop")
_SELECTING = frozenset({"source", "destination"})
_VERBS = frozenset({"accept", "reject", "drop", "mark", "log", "nflog", "audit"})
_NAME_LENGTHS = {"ipsets": 32, "policies": 18, "zones": 17}


def check_files(rendered: Rendered, other_sets: Collection[str]) -> list[str]:
    """Return every problem of the rendered files; `other_sets` names the ipsets that firewalld has beside ours."""
    problems: list[str] = []
    trees: dict[str, ET.Element] = {}
    for path, content in rendered.files.items():
        folder, name = path.removesuffix(".xml").split("/")
        if len(name) > _NAME_LENGTHS[folder]:
            problems.append(f"{path}: firewalld allows names of {_NAME_LENGTHS[folder]} characters at most")
        try:
            trees[path] = ET.fromstring(content)  # noqa: S314 - our own rendering; templates are root's
        except (ET.ParseError, ValueError, LookupError) as error:  # the latter two for encodings
            problems.append(f"{path}: not well-formed XML: {error}")
    families: dict[str, Family] = {}
    for intended in rendered.sets:
        path = f"ipsets/{intended.name}.xml"
        if path in trees:
            problems += (f"{path}: {problem}" for problem in _check_ipset(trees[path], intended))
            families[intended.name] = intended.family
    for path, tree in trees.items():
        if path.startswith("policies/"):
            named = {element.get("ipset") for rule in tree.iter("rule") for element in rule}
            logged = [each.name for each in rendered.sets if not each.passing and each.name in families]
            problems += (f"{path}: no rule names the set {name}" for name in logged if name not in named)
            policy = path.removeprefix("policies/").removesuffix(".xml")
            if (group := rendered.watched.get(policy)) is not None:
                problems += (f"{path}: {problem}" for problem in _check_watched(tree, logged, group))
            block = rendered.blocks.get(policy)
            problems += (f"{path}: {problem}" for problem in _check_policy(tree, rendered.sets, block))
        elif path.startswith("zones/"):
            problems += (f"{path}: {problem}" for problem in _check_zone(tree))
        problems += (f"{path}: {problem}" for problem in _check_references(tree, families, other_sets))
    return problems


def check_others(others: Mapping[str, bytes], removed: Collection[str]) -> list[str]:
    """Return where files of others name sets that are about to be removed; firewalld could not load them any more."""
    problems: list[str] = []
    for path, content in others.items():
        try:
            tree = ET.fromstring(content)  # noqa: S314 - what firewalld reads itself; only root writes there
        except (ET.ParseError, ValueError, LookupError):
            continue  # firewalld passes over it, and so its references are none
        named = {(element.tag, element.get("ipset")) for element in tree.iter() if element.get("ipset") in removed}
        problems += (f"{path}: <{tag}> names ipset {name!r}, which would be removed" for tag, name in sorted(named))
    return problems


def parse_conf(conf: str) -> dict[str, str]:
    """Read firewalld.conf as firewalld does: of a setting that is there twice, the first counts."""
    settings: dict[str, str] = {}
    for line in conf.splitlines():
        key, equals, value = line.partition("=")
        if equals and not key.lstrip().startswith(("#", ";")):
            settings.setdefault(key.strip(), value.strip())
    return settings


def with_default_zone(conf: str, zone: str) -> str:
    """Return firewalld.conf with another default zone."""
    line = f"DefaultZone={zone}"
    changed, found = re.subn(r"^[ \t]*DefaultZone[ \t]*=.*$", line, conf, count=1, flags=re.MULTILINE)
    return changed if found else f"{conf}\n{line}\n"


def check_daemon(conf: str) -> list[str]:
    """Return what in firewalld.conf keeps fwfeed from applying safely."""
    settings = {key: value.lower() for key, value in parse_conf(conf).items()}
    problems = []
    if settings.get("FlushAllOnReload", "yes") in {"no", "false"}:
        problems.append(
            "FlushAllOnReload=no: a reload over changed sets can end with every packet dropped; set it to yes"
        )
    if settings.get("FirewallBackend", "nftables") != "nftables":
        problems.append("FirewallBackend is not nftables: the kernel's sets could not be read back; set it to nftables")
    return problems


def _check_ipset(tree: ET.Element, intended: IntendedSet) -> Iterator[str]:
    if tree.tag != "ipset" or tree.get("type") != "hash:net":
        yield 'the root is not <ipset type="hash:net">'
        return
    options = {option.get("name"): option.get("value", "") for option in tree.iter("option")}
    if _FAMILIES.get(options.get("family", "inet")) is not intended.family:
        yield f"the family option does not say IPv{intended.family.value}"
        return
    entries = [entry.text or "" for entry in tree.iter("entry")]
    room = options.get("maxelem", "65536")
    if not room.isdecimal() or int(room) < len(entries):
        yield f"{len(entries)} entries do not fit into maxelem {room}"
    ranges: Ranges = []
    for entry in entries:
        try:
            prefix = parse_prefix(entry, intended.family)
        except ValueError as error:
            yield f"entry {error}"
            continue
        if prefix.length == 0:
            yield f"entry {entry} is the whole address space"
        ranges.extend(spans([prefix], intended.family))
    ranges.sort()
    if any(later[0] <= earlier[1] for earlier, later in pairwise(ranges)):
        yield "entries overlap: firewalld would fail to load the set"
    elif merge(ranges) != merge(intended.ranges):
        yield "the entries are not those of the candidate"


def _check_watched(tree: ET.Element, names: Collection[str], group: int) -> Iterator[str]:
    """Find what fwfeed watch would not be told of."""
    handed = set()
    for rule in tree.iter("rule"):
        nflog, peer = rule.find("nflog"), rule.find("destination")
        if nflog is None or peer is None or not is_inverted(peer) or not _is_whole(rule, nflog):
            continue
        if nflog.get("group", "0") == str(group):
            handed.add(peer.get("ipset"))
    for name in names:
        if name not in handed:
            yield f"no rule hands all that goes outside {name} to NFLOG group {group}, where fwfeed watch listens"


def _check_policy(tree: ET.Element, sets: Sequence[IntendedSet], block: Block | None) -> Iterator[str]:
    """Find what refuses more, or less, than what goes outside the set: firewalld loads either."""
    if tree.get("target", "CONTINUE") != "CONTINUE":
        yield f"its target is {tree.get('target')}, not CONTINUE: it would decide on every packet"
    spared = {f"ipv{each.family.value}": each.name for each in sets}  # the last of a family has the most
    refused: set[str] = set()
    for rule in tree.iter("rule"):
        verdict = next((rule.find(name) for name in _REFUSING if rule.find(name) is not None), None)
        if rule.find("accept") is not None and _is_for_all(rule):
            yield "a rule accepts everything: nothing after it, of this policy or another, would be asked"
        if verdict is None:
            continue
        peer = rule.find("destination")
        name = spared.get(rule.get("family", ""))
        if peer is None or peer.get("ipset") != name or not is_inverted(peer):
            where = name or "a set of its family"
            yield f"a rule that {verdict.tag}s is not for what goes outside {where} alone"
        elif block is not None and verdict.tag == block.verdict and _is_whole(rule, verdict):
            refused.add(name or "")
        sides = [{each.get("name") for each in tree.iter(tag)} for tag in ("ingress-zone", "egress-zone")]
        if sides not in ([{"HOST"}, {"ANY"}], [{"ANY"}, {"ANY"}]):
            yield f"a rule {verdict.tag}s, and the policy is not for what leaves: HOST to ANY, or ANY to ANY"
        if block is not None and rule.get("family") == "ipv6":
            yield from (
                f"a rule {verdict.tag}s {each} of IPv6" for each in block.discovery if not _spares(tree, rule, each)
            )
    if block is not None:
        yield from (
            f"no rule {block.verdict}s all that goes outside {name}" for name in block.ipsets if name not in refused
        )


def _check_zone(tree: ET.Element) -> Iterator[str]:
    for rule in tree.iter("rule"):
        for verb in ("accept", *_REFUSING):
            if rule.find(verb) is not None and _is_for_all(rule):
                yield f"a rule {verb}s everything, wherever it comes from"


def _spares(tree: ET.Element, refusing: ET.Element, icmp_type: str) -> bool:
    """Return whether a rule before another one accepts all ICMPv6 messages of a type."""
    return any(
        [child.tag for child in rule] == ["icmp-type", "accept"]
        and rule.find(f"icmp-type[@name='{icmp_type}']") is not None
        and _priority(rule) < _priority(refusing)
        for rule in tree.iter("rule")
    )


def _priority(rule: ET.Element) -> int:
    try:
        return int(rule.get("priority", "0"))
    except ValueError:
        return 0  # firewalld's own check finds it


def _is_for_all(rule: ET.Element) -> bool:
    """Return whether a rule asks for nothing but perhaps a family, or for what is outside a set or address."""
    peers = [child for child in rule if child.tag in _SELECTING]
    others = [child for child in rule if child.tag not in _SELECTING | _VERBS]
    return not others and all(is_inverted(peer) for peer in peers)


def _is_whole(rule: ET.Element, verdict: ET.Element) -> bool:
    """Return whether a rule is for every packet of its peer: no part of them, no limit, no other peer."""
    parts = [child for child in rule if child.tag not in _VERBS]
    return [part.tag for part in parts] == ["destination"] and verdict.find("limit") is None


def _check_references(tree: ET.Element, families: dict[str, Family], other_sets: Collection[str]) -> Iterator[str]:
    for parent in tree.iter():
        for element in parent:
            name = element.get("ipset")
            if name is None:
                continue
            if name not in families and name not in other_sets:
                yield f"<{element.tag}> names ipset {name!r}, which does not exist"
            elif parent.tag == "rule" and name in families and parent.get("family") != f"ipv{families[name].value}":
                yield f"a rule of family {parent.get('family')} names ipset {name!r} of IPv{families[name].value}"
