"""Move files, have firewalld take them up, and prove it: the steps of an apply and of its undoing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

from fwfeed.apply.plan import Content
from fwfeed.errors import FwfeedError
from fwfeed.firewalld import Firewalld, kernel_set
from fwfeed.prefixes import Family, Ranges, count, merge, parse_prefix, spans, subtract
from fwfeed.render import IntendedSet
from fwfeed.store import files

_POLL_SECONDS = 0.05
_SETTLE_SECONDS = 30.0
_ENTRIES_A_SECOND = 500  # the slowest filling measured was 30,000 entries in 4 s; a small VPS may need longer


def swap(root: Path, content: Content) -> None:
    """Write and remove files below /etc/firewalld."""
    with files.Staging() as staging:
        stage(staging, root, content)
        install(staging, root, content)


def stage(staging: files.Staging, root: Path, content: Content) -> None:
    """Write all new files beside their places: what can run out of space does so before anything has changed."""
    for path, new in content.items():
        if new is not None:
            staging.write(root / path, new)


def install(staging: files.Staging, root: Path, content: Content) -> None:
    """Move the staged files to their places, and remove what is to go."""
    staging.commit()
    for path, new in content.items():
        if new is None:
            files.remove(root / path)


def activate(daemon: Firewalld, default_zone: str) -> None:
    """Have firewalld read its files again, with this default zone.

    A zone that is about to go must not be the default one when the reload comes, and one that is yet to come cannot
    be before it.
    """
    if default_zone in daemon.zones():
        _set_default_zone(daemon, default_zone)
        daemon.reload()
    else:
        daemon.reload()
        _set_default_zone(daemon, default_zone)


def verify(daemon: Firewalld, content: Content, default_zone: str) -> None:
    """Wait until runtime and kernel hold what these files say. Raises FwfeedError, with what is missing, if in vain."""
    sets = intended_sets(content)
    deadline = time.monotonic() + _SETTLE_SECONDS + sum(len(s.ranges) for s in sets) / _ENTRIES_A_SECOND
    while problems := differences(daemon, content, default_zone):
        if daemon.state() == "FAILED" or time.monotonic() > deadline:
            raise FwfeedError("\n".join(problems))
        time.sleep(_POLL_SECONDS)


def differences(daemon: Firewalld, content: Content, default_zone: str) -> list[str]:
    """Say where runtime and kernel are not what these files say; an empty list is the proof that they are."""
    state = daemon.state()
    problems = [] if state == "RUNNING" else [f"firewalld is in state {state}"]
    for intended in intended_sets(content):
        held = kernel_set(intended.name, intended.family)
        if held is None:
            problems.append(f"the kernel has no set {intended.name}")
        elif held != intended.ranges:
            missing, extra = count(subtract(intended.ranges, held)), count(subtract(held, intended.ranges))
            problems.append(f"the kernel's set {intended.name} lacks {missing:,} addresses and has {extra:,} too many")
    for kind, known in (("policies", daemon.policies()), ("zones", daemon.zones())):
        problems += (f"firewalld does not have {kind}/{name}" for name in _names(content, kind) if name not in known)
    active = daemon.default_zone()
    if active != default_zone:
        problems.append(f"the default zone is {active}, not {default_zone}")
    return problems


def intended_sets(content: Content) -> list[IntendedSet]:
    """Return the sets that ipset files describe, as the kernel has to hold them."""
    return [_intended_set(name, content[f"ipsets/{name}.xml"] or b"") for name in _names(content, "ipsets")]


def _intended_set(name: str, raw: bytes) -> IntendedSet:
    tree = ET.fromstring(raw)  # noqa: S314 - a file of ours, which `check` has seen
    options = {option.get("name"): option.get("value") for option in tree.iter("option")}
    family = Family.IPV6 if options.get("family") == "inet6" else Family.IPV4
    prefixes = (parse_prefix(entry.text or "", family) for entry in tree.iter("entry"))
    ranges: Ranges = merge(spans(prefixes, family))
    return IntendedSet(name=name, family=family, ranges=ranges)


def _names(content: Content, folder: str) -> Iterable[str]:
    return [
        path.removeprefix(f"{folder}/").removesuffix(".xml")
        for path, raw in content.items()
        if raw is not None and path.startswith(f"{folder}/")
    ]


def _set_default_zone(daemon: Firewalld, zone: str) -> None:
    if daemon.default_zone() != zone:
        daemon.set_default_zone(zone)
