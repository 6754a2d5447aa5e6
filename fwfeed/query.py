"""Answer questions about what is: the candidate, what is installed, one address. Changes nothing, fetches nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fwfeed import firewalld
from fwfeed.config import Config
from fwfeed.errors import ConfigError, FwfeedError
from fwfeed.feeds import special_purpose
from fwfeed.model import Found, Kernel, SetStatus, Status
from fwfeed.prefixes import Family, Prefix, Ranges, find, format_address, format_prefix, merge
from fwfeed.store import candidates, delegations, generations
from fwfeed.store.generations import Generations


def prefixes(config: Config, family: Family | None) -> list[str]:
    """Return the candidate's prefixes as text, ascending; of both families, IPv4 first, when `family` is None."""
    candidate = candidates.load(Path(config.paths.state))
    families = list(Family) if family is None else [family]
    return [format_prefix(prefix, each) for each in families for prefix in candidate.prefixes(each)]


def lookup(config: Config, addresses: Sequence[str]) -> list[Found]:
    """Return what is known of addresses as people type them. Raises ConfigError naming each that is none."""
    import netaddr

    parsed, problems = [], []
    for text in addresses:
        try:
            address = netaddr.IPAddress(text)
            parsed.append((int(address), Family(address.version)))
        except (netaddr.AddrFormatError, ValueError):
            problems.append(f"{text!r} is not an IP address")
    if problems:
        raise ConfigError(problems, "give single addresses, like 192.0.2.1 or 2001:db8::1")
    state = Path(config.paths.state)
    candidate = candidates.load(state)
    kernel = {family: _kernel_set(config, family)[0] for family in {family for _, family in parsed}}
    return [
        Found(
            address=format_address(address, family),
            family=family,
            special_purpose=find(special_purpose(family), address) is not None,
            delegations=tuple(delegations.lookup(delegations.path(state), address, family)),
            ipset=config.set.ipset(family),
            prefix=_holding(candidate.prefixes(family), candidate.ranges(family), address, family),
            kernel=_holds(kernel[family], address),
        )
        for address, family in parsed
    ]


def status(config: Config) -> Status:
    """Return where things stand. The kernel's side needs root; without, it is unknown."""
    state = Path(config.paths.state)
    candidate = candidates.find(state)
    sets, notes = [], set()
    for family in Family:
        held, note = _kernel_set(config, family)
        notes.add(note)
        wanted = merge(candidate.ranges(family)) if candidate else []
        agrees = Kernel.HOLDS if held == wanted else Kernel.LACKS
        kernel = held if isinstance(held, Kernel) else agrees
        count = len(candidate.prefixes(family)) if candidate else 0
        sets.append(SetStatus(ipset=config.set.ipset(family), family=family, prefixes=count, kernel=kernel))
    return Status(
        candidate=candidate,
        generation=generations.current(Generations.below(state).all()),
        sets=tuple(sets),
        kernel_note="; ".join(sorted(notes - {""})),
    )


def _kernel_set(config: Config, family: Family) -> tuple[Ranges | Kernel, str]:
    """Return the ranges the kernel holds, or why they are not known."""
    if os.geteuid() != 0:
        return Kernel.UNKNOWN, "reading the kernel's sets needs root"
    try:
        held = firewalld.kernel_set(config.set.ipset(family), family)
    except FwfeedError as error:
        return Kernel.UNKNOWN, error.message
    return (Kernel.NO_SET, "") if held is None else (held, "")


def _holds(held: Ranges | Kernel, address: int) -> Kernel:
    if isinstance(held, Kernel):
        return held
    return Kernel.LACKS if find(held, address) is None else Kernel.HOLDS


def _holding(prefixes: Sequence[Prefix], ranges: Ranges, address: int, family: Family) -> str | None:
    found = find(ranges, address)
    return None if found is None else format_prefix(prefixes[ranges.index(found)], family)
