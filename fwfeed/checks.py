"""Find, before firewalld sees it, what firewalld's own --check-config lets pass.

Pure: files and the daemon's configuration come in as text, problems go out as text. firewalld exits 0 for a
dangling set, a /0, an entry that is no address, overlapping entries and too many of them (firewalld#1280), and
some of these leave it FAILED at the next reload (firewalld#1343, #1344). Templates can be overridden, so it is the
rendered files that are read here, not what they were meant to be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from xml.etree import ElementTree as ET

from fwfeed.model import IntendedSet
from fwfeed.prefixes import Family, Ranges, merge, parse_prefix, spans
from fwfeed.render import Rendered

_FAMILIES = {"inet": Family.IPV4, "inet6": Family.IPV6}
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
            problems += (f"{path}: no rule names the set {name}" for name in families if name not in named)
        problems += (f"{path}: {problem}" for problem in _check_references(tree, families, other_sets))
    return problems


def parse_conf(conf: str) -> dict[str, str]:
    """Read firewalld.conf as firewalld does: of a setting that is there twice, the first counts."""
    settings: dict[str, str] = {}
    for line in conf.splitlines():
        key, equals, value = line.partition("=")
        if equals and not key.lstrip().startswith(("#", ";")):
            settings.setdefault(key.strip(), value.strip())
    return settings


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
