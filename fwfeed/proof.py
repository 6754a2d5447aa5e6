"""Prove that firewalld's runtime and the kernel hold what the files say.

What was intended is read from the files themselves, by a reader that knows nothing of how they were rendered; what is
held is read from the kernel. Nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Collection

from fwfeed.firewalld import Firewalld, Kind, kernel_rules, kernel_set
from fwfeed.model import IntendedSet
from fwfeed.nftrules import rule_differences
from fwfeed.prefixes import Family, Ranges, count, subtract
from fwfeed.ruleset import Content, entry_range, intended_set, intended_sets, names, parse, set_form

__all__ = [
    "FAILED",
    "Content",
    "differences",
    "entry_range",
    "installed_ranges",
    "intended_sets",
    "set_form",
    "unreached",
]

FAILED = "firewalld is in state FAILED: it could not load its configuration"


def differences(daemon: Firewalld, content: Content, default_zone: str | None) -> list[str]:
    """Say where runtime and kernel are not what these files say; an empty list is the proof that they are.

    `default_zone` None stands for any. A file that cannot be read is a difference too.
    """
    state = daemon.state()
    problems = [] if state == "RUNNING" else [FAILED if state == "FAILED" else f"firewalld is in state {state}"]
    for name in names(content, "ipsets"):
        try:
            problems += _set_differences(intended_set(name, content[f"ipsets/{name}.xml"]))
        except ValueError as error:
            problems.append(f"ipsets/{name}.xml cannot be read: {error}")
    table, zones_active = kernel_rules(), daemon.zones_active()
    for kind in Kind:
        known = daemon.names(kind)
        for name in names(content, kind.folder):
            path = f"{kind.folder}/{name}.xml"
            if name not in known:
                problems.append(f"firewalld does not have {path}")
                continue
            if daemon.drifted(kind, name):
                problems.append(f"firewalld's runtime has other settings than {path}")
            try:
                tree = parse(content[path])
            except ValueError as error:
                problems.append(f"{path} cannot be read: {error}")
                continue
            problems += rule_differences(path, tree, table, daemon.service, zones_active=zones_active)
    active = daemon.default_zone()
    if default_zone not in (None, active):
        problems.append(f"the default zone is {active}, not {default_zone}")
    return problems


def unreached(daemon: Firewalld, default: str, internal: Collection[str]) -> dict[str, str]:
    """Return the zone of each interface that a default zone does not reach, as it is bound to another one.

    `default` is the default zone, or what it is going to be; what is in the one of now by default moves with it.
    `internal` are interfaces by which nobody from outside comes: they are left out.
    """
    current = daemon.default_zone()
    return {
        name: zone
        for name, zone in sorted(daemon.bound_interfaces().items())
        if zone != default and name not in internal and (zone != current or daemon.intended_zone(name))
    }


def installed_ranges(content: Content) -> dict[Family, Ranges]:
    """Return the addresses of the country's sets, without what a block lets pass beside them. Raises ValueError."""
    return {each.family: each.ranges for each in intended_sets(content) if not each.passing}


def _set_differences(intended: IntendedSet) -> list[str]:
    held = kernel_set(intended.name, intended.family)
    if held is None:
        return [f"the kernel has no set {intended.name}"]
    if held == intended.ranges:
        return []
    missing, extra = count(subtract(intended.ranges, held)), count(subtract(held, intended.ranges))
    return [f"the kernel's set {intended.name} lacks {missing:,} addresses and has {extra:,} too many"]
