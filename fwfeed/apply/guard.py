"""What must be so before an apply may change anything: it ends in an error, or in warnings to pass on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from fwfeed import surroundings
from fwfeed.apply.plan import Target
from fwfeed.config import Config, Inbound
from fwfeed.errors import FwfeedError, LockoutRefused
from fwfeed.firewalld import Firewalld, Kind
from fwfeed.proof import unreached
from fwfeed.sessions import Session
from fwfeed.status import unreached_text

_SHOWN = 5


def require_root() -> None:
    """Raise FwfeedError unless run as root."""
    if os.geteuid() != 0:
        raise FwfeedError("this changes the firewall and needs root", "run it with sudo")


def require_ready(daemon: Firewalld) -> None:
    """Raise FwfeedError unless firewalld runs with its own configuration loaded, and lets packets through."""
    state = daemon.state()
    if state == "INIT":
        raise FwfeedError("firewalld is still starting", "try again in a moment")
    if state != "RUNNING":
        message = f"firewalld is in state {state}: its own configuration did not load"
        raise FwfeedError(message, "see journalctl -u firewalld, correct it, and: systemctl restart firewalld")
    if daemon.panic():
        raise FwfeedError("firewalld is in panic mode and drops every packet", "firewall-cmd --panic-off")


@dataclass(frozen=True, slots=True)
class Dropped:
    """What only firewalld's runtime has and a reload would drop; `entries` are those of an ipset, if it is one."""

    setting: str
    description: str
    entries: tuple[str, ...] = ()


def runtime_only(planned: Target, daemon: Firewalld) -> list[Dropped]:
    """Return what only firewalld's runtime has and a reload would drop."""
    found = [
        Dropped(setting, f"{kind.interface} {name}: {element}")
        for kind in Kind
        for name in sorted(daemon.names(kind))
        if kind is Kind.ZONE or f"{kind.folder}/{name}.xml" not in planned.installed
        for setting, element in daemon.runtime_only(kind, name)
    ]
    for name, entries in sorted(daemon.runtime_entries().items()):
        if entries and f"ipsets/{name}.xml" not in planned.installed:
            more = f" and {len(entries) - _SHOWN:,} more" if len(entries) > _SHOWN else ""
            found.append(Dropped("entries", f"ipset {name}: {', '.join(entries[:_SHOWN])}{more}", tuple(entries)))
    return found


def require_nothing_dropped(dropped: Sequence[Dropped], needing: Sequence[Session], *, allow: bool) -> None:
    """Refuse a reload that would drop what only the runtime admits, where somebody may be connected through it.

    Sources do not count: container engines put theirs there, and put them back. Of an ipset it is the entries around
    whoever is connected that count: others are mostly bans.
    """
    peers = [session.peer for session in needing]
    needed = [
        each.description
        for each in dropped
        if each.setting != "sources" and (not each.entries or any(_around(peer, each.entries) for peer in peers))
    ]
    if needed and needing and not allow:
        who = ", ".join(f"that from {session.peer} to port {session.port}" for session in needing)
        raise LockoutRefused(
            f"the reload of firewalld would drop what only its runtime has, and an SSH session may need it, {who}:\n"
            + "\n".join(needed),
            "keep it: firewall-cmd --runtime-to-permanent; drop it first, by yourself: firewall-cmd --reload; "
            "or, for this once: --allow-lockout",
        )


def _around(peer: str, entries: Sequence[str]) -> bool:
    """Return whether an address is in one of an ipset's entries, or could be: a range, or no address at all."""
    for entry in entries:
        try:
            if ip_address(peer) in ip_network(entry.partition(",")[0], strict=False):
                return True
        except ValueError:
            return True
    return False


def unrestricted(config: Config, daemon: Firewalld, default: str) -> list[str]:
    """Return a warning for each interface that inbound = restrict does not reach, with `default` as default zone."""
    if config.inbound.action is not Inbound.RESTRICT:
        return []
    found = unreached(daemon, default, surroundings.internal_bridges())
    return [unreached_text(name, zone, config.set.name, default) for name, zone in found.items()]
