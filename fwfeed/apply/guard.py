"""What must be so before an apply may change anything: it ends in an error, or in warnings to pass on."""

from __future__ import annotations

import os

from fwfeed.apply.plan import Plan
from fwfeed.config import Config, Inbound
from fwfeed.errors import FwfeedError, LockoutRefused
from fwfeed.firewalld import Firewalld, Kind, covers
from fwfeed.prefixes import Family, find, merge
from fwfeed.sessions import Session


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


def require_way_in(config: Config, planned: Plan, daemon: Firewalld, ssh: Session | None) -> None:
    """Refuse to shut out the administrator who is logged in over SSH right now.

    Raises LockoutRefused when zones of ours, or the default zone given back, would not admit the session's peer to its
    port again, or when that cannot be told.
    """
    restrict = config.inbound.action is Inbound.RESTRICT
    given_back = planned.default_zone.wanted
    if ssh is None or (not restrict and given_back is None):
        return
    import netaddr

    try:
        address = netaddr.IPAddress(ssh.peer)
        family = Family(address.version)
    except (netaddr.AddrFormatError, ValueError):
        raise LockoutRefused(
            f"you are logged in over SSH, but SSH_CONNECTION does not say from where ({ssh.peer!r}): "
            "whether the zones would let you in again cannot be told",
            "run it from the console, or from a session over TCP",
        ) from None
    who = f"you are logged in from {ssh.peer} to port {ssh.port}"
    if not restrict:
        if given_back is not None and not daemon.admits(given_back, ssh.port):
            raise LockoutRefused(
                f"{who}, and zone {given_back}, the default zone again, would not let you in",
                f"firewall-cmd --permanent --zone={given_back} --add-port={ssh.port}/tcp && firewall-cmd --reload",
            )
        return
    inside = find(merge(planned.candidate.ranges(family)), int(address)) is not None
    where, key = ("inside", "services") if inside else ("outside", "foreign_services")
    services = config.inbound.services if inside else config.inbound.foreign_services
    if not covers([pair for name in services for pair in daemon.service_ports(name)], ssh.port):
        raise LockoutRefused(
            f'{who}, {where} the set {config.set.name}, and inbound.action = "restrict" would not let you in again',
            f"add a service with that port to inbound.{key}" + ("" if inside else f", or {ssh.peer} to set.include"),
        )


def runtime_only(planned: Plan, daemon: Firewalld) -> list[tuple[str, str]]:
    """Return what only firewalld's runtime admits and a reload would drop, as (setting, description) pairs."""
    return [
        (setting, f"{kind.interface} {name}: {element}")
        for kind in Kind
        for name in sorted(daemon.names(kind))
        if kind is Kind.ZONE or f"{kind.folder}/{name}.xml" not in planned.installed
        for setting, element in daemon.runtime_only(kind, name)
    ]


def require_nothing_dropped(dropped: list[tuple[str, str]], ssh: Session | None) -> None:
    """Refuse a reload that would drop what only the runtime admits, where somebody may be connected through it.

    Sources do not count: container engines put theirs there, and put them back.
    """
    needed = [description for setting, description in dropped if setting != "sources"]
    if needed and ssh is not None:
        raise LockoutRefused(
            "the reload of firewalld would drop what only its runtime has, and your session may need it:\n"
            + "\n".join(needed),
            "keep it: firewall-cmd --runtime-to-permanent; or drop it first, by yourself: firewall-cmd --reload",
        )


def unrestricted(config: Config, daemon: Firewalld) -> list[str]:
    """Return a warning for each interface that inbound = restrict does not reach: one bound to another zone."""
    if config.inbound.action is not Inbound.RESTRICT:
        return []
    default = daemon.default_zone()
    return [
        f"interface {name} is bound to zone {zone}: what comes in there from outside {config.set.name} "
        f"is judged by that zone, not by {default}"
        for name, zone in sorted(daemon.bound_interfaces().items())
        if zone != default
    ]
