"""Two layouts side by side, what is installed and what would be, with the facts of this host to judge both by."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from fwfeed.config import Config
from fwfeed.errors import FwfeedError
from fwfeed.firewalld import Firewalld, Kind
from fwfeed.lockout import Answer, Connection, Finding, Service, Services, inbound, outbound
from fwfeed.ruleset import Action, Content, Policy, Ruleset, Zone, names, read
from fwfeed.store import files

_CUTTING = frozenset({Action.REJECT, Action.DROP})
_DENYING = frozenset({"DROP", "REJECT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What is installed, or would be: the files of ours, and the default zone."""

    content: Content
    default_zone: str


class Judged:
    """Both layouts as rulesets, and the facts about the host that they are judged with."""

    def __init__(self, config: Config, daemon: Firewalld, after: Layout, before: Layout) -> None:
        self.config = config
        self.after, self.zone = after.content, after.default_zone
        self.zone_before = before.default_zone
        ours = {path for content in (after.content, before.content) for path in content}
        others = {
            kind: {
                name: daemon.intended(kind, name)
                for name in sorted(daemon.names(kind))
                if f"{kind.folder}/{name}.xml" not in ours
            }
            for kind in Kind
        }
        sets = _other_sets(Path(config.paths.firewalld), ours)

        def ruleset(content: Content) -> Ruleset:
            return read({**content, **sets}, others[Kind.ZONE], others[Kind.POLICY])

        self.new = ruleset(after.content)
        try:
            self.old = ruleset(before.content)
        except ValueError:  # edited since, and broken: nothing is known of before
            self.old = Ruleset(zones={}, policies={}, sets={})
        self.services: Services = {
            name: service
            for name in sorted(self.new.services | self.old.services)
            if (service := _service(daemon, name)) is not None
        }
        self.bound = daemon.bound_interfaces()
        self._daemon = daemon
        self.own_zones = frozenset(names(after.content, "zones"))
        self.zones_changed = _rules_in(self.new, after.content) != _rules_in(self.old, before.content) or (
            after.default_zone != before.default_zone
        )
        self.policies_changed = _rules_out(self.new, after.content) != _rules_out(self.old, before.content)

    def comes_in(self, connection: Connection, interface: str) -> Finding | None:
        """Return what cuts a connection that comes in, or None where nothing is wrong with it."""
        if interface == "lo":
            return None
        new = inbound(self.new, connection, self._zones(interface, self.zone, self.new), self.services)
        old = inbound(self.old, connection, self._zones(interface, self.zone_before, self.old), self.services)
        return new if _is_worse(old, new, strict=self.zones_changed and self._is_ours(new)) else None

    def is_leaning(self, connection: Connection, interface: str) -> bool:
        """Return whether the files alone would not admit a connection, before the change or after it."""
        zones = self._zones(interface, self.zone, self.new)
        return interface != "lo" and inbound(self.new, connection, zones, self.services).answer is not Answer.PASSES

    @property
    def cuts_out(self) -> bool:
        """Whether anything of ours would cut what goes out."""
        policies = _rules_out(self.new, self.after).values()
        return any(each.target in _DENYING or any(r.action in _CUTTING for r in each.rules) for each in policies)

    def goes_out(self, *connections: Connection) -> Finding | None:
        """Return what cuts all of these connections out, or None where one is left of which nothing is wrong."""
        old, new = (
            min((outbound(each, connection, self.services) for connection in connections), key=_badness)
            for each in (self.old, self.new)
        )
        return new if _is_worse(old, new, strict=self.policies_changed and self._is_ours(new)) else None

    def _is_ours(self, finding: Finding) -> bool:
        kind, _, name = finding.by.partition(" ")
        return f"{'zones' if kind == 'zone' else 'policies'}/{name}.xml" in self.after

    def _zones(self, interface: str, default: str, ruleset: Ruleset) -> set[str]:
        """Return the zones that an interface may be in; all there are where the interface is not known."""
        if not interface:
            return {*self.bound.values(), default} & {*ruleset.zones, default}
        if zone := self._daemon.intended_zone(interface):
            return {zone if zone in ruleset.zones else default}
        bound = self.bound.get(interface, default)
        # a reload drops what only the runtime has; NetworkManager and container engines put theirs back, others do not
        return {bound if bound in ruleset.zones else default, default}


def _badness(finding: Finding) -> int:
    return finding.answer.value


def _is_worse(old: Finding, new: Finding, *, strict: bool) -> bool:
    if new.answer is Answer.UNKNOWN:
        return old.answer is Answer.PASSES
    return new.answer is Answer.CUT and (strict or old.answer is not Answer.CUT)


def _service(daemon: Firewalld, name: str) -> Service | None:
    try:
        known = daemon.service(name)
    except FwfeedError:  # there is no such service: nothing is known of it
        return None
    return Service(ports=known.ports, narrowed=bool(known.destinations), wider=not known.whole)


def _other_sets(root: Path, ours: Collection[str]) -> dict[str, bytes | None]:
    """Return the files of sets that are not ours and that can be read as sets of addresses."""
    paths = {f"ipsets/{path.name}": path for path in root.glob("ipsets/*.xml")}
    found: dict[str, bytes | None] = {}
    for name, path in paths.items():
        if name in ours:
            continue
        content = {name: files.read(path)}
        try:
            read(content, {}, {})
        except ValueError:
            continue
        found |= content
    return found


def _rules_in(ruleset: Ruleset, content: Content) -> tuple[dict[str, Zone], dict[str, Policy]]:
    """Return what of ours decides over connections that come in."""
    zones = {name: ruleset.zones[name] for name in names(content, "zones") if name in ruleset.zones}
    return zones, _deciding(ruleset, content, lambda policy: "HOST" in policy.egress)


def _rules_out(ruleset: Ruleset, content: Content) -> dict[str, Policy]:
    """Return what of ours decides over connections that go out."""
    return _deciding(ruleset, content, lambda policy: "HOST" in policy.ingress)


def _deciding(ruleset: Ruleset, content: Content, of: Callable[[Policy], bool]) -> dict[str, Policy]:
    ours = {name: ruleset.policies[name] for name in names(content, "policies") if name in ruleset.policies}
    return {name: policy for name, policy in ours.items() if of(policy) and (policy.rules or policy.target in _DENYING)}
