"""Answer questions about what is: the candidate, what is installed, one address. Changes nothing, fetches nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from fwfeed import firewalld, gates, nflog, surroundings, units
from fwfeed.compile import recipe
from fwfeed.config import Config, Outbound
from fwfeed.definition import recipe_changes
from fwfeed.errors import ConfigError, FwfeedError, NotRunning
from fwfeed.feeds import special_purpose
from fwfeed.firewalld import Firewalld
from fwfeed.ledger import Ledger
from fwfeed.ledger import path as ledger_path
from fwfeed.model import NOTHING, Candidate, Found, Generation, Kernel
from fwfeed.prefixes import Family, Prefix, Ranges, find, format_address, format_prefix, merge
from fwfeed.proof import Content, differences, intended_sets, unreached
from fwfeed.render import exempt
from fwfeed.status import Actions, Status, Watching, read_actions
from fwfeed.store import candidates, comparison, delegations, files, generations, manifests
from fwfeed.store.generations import Generations
from fwfeed.store.journal import Journal, Phase

_DAY = timedelta(days=1)
_LEDGER_SECONDS = 1.0
_LOG = 'set it to "log", and run: fwfeed apply'
_NEEDS_ROOT = "reading what the kernel holds needs root"


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
        prefixes = " ".join(text for text in addresses if _is_prefix(text))
        way_out = f"for prefixes: fwfeed lookup --why {prefixes}" if prefixes else ""
        raise ConfigError(problems, way_out or "give single addresses, like 192.0.2.1 or 2001:db8::1")
    state = Path(config.paths.state)
    candidate = candidates.load(state)
    families = {family for _, family in parsed}
    kernel = {family: _kernel_set(config, family) for family in families}
    spared = {family: exempt(config, family) if config.outbound.action.refuses else [] for family in families}
    return [
        Found(
            address=format_address(address, family),
            family=family,
            special_purpose=find(special_purpose(family), address) is not None,
            delegations=tuple(delegations.lookup(delegations.path(state), address, family)),
            ipset=config.set.ipset(family),
            prefix=_holding(candidate.prefixes(family), candidate.ranges(family), address, family),
            exempt=find(spared[family], address) is not None and find(merge(candidate.ranges(family)), address) is None,
            kernel=_holds(kernel[family][0], address),
            unknown=kernel[family][1],
        )
        for address, family in parsed
    ]


def _is_prefix(text: str) -> bool:
    import netaddr

    try:
        return "/" in text and netaddr.IPNetwork(text) is not None
    except (netaddr.AddrFormatError, ValueError):
        return False


def status(config: Config, *, now: datetime) -> Status:
    """Return where things stand. What the kernel holds is unknown without root, or without firewalld."""
    state = Path(config.paths.state)
    store = Generations.below(state)
    candidate, held = candidates.find(state), candidates.find_held(state)
    history = store.all(Path(config.paths.firewalld))
    generation, waits = _in_force(state, history)
    if generation is not None and generation.restores == NOTHING:
        generation = None  # it took everything out
    content = store.content(generation) if generation else {}
    try:
        installed = tuple(each for each in intended_sets(content) if not each.passing)
    except ValueError as error:
        raise FwfeedError(f"{store.root}: a set of the current generation is damaged: {error}") from None
    problems, unknown, outside = None, "", None
    if generation is not None:
        try:
            daemon = _firewalld()
            problems = tuple(_problems(Path(config.paths.firewalld), generation, content, daemon))
            default = generation.default_zone
            outside = {} if default is None else unreached(daemon, default, surroundings.internal_bridges())
        except FwfeedError as error:
            unknown = error.message
    actions = _actions(generation, content)
    differing = "" if candidate is None else _outdated(candidate, config)
    redefined = () if candidate is None or differing else comparison.compare(config, candidate, history).redefined
    ranges, names = {each.family: each.ranges for each in installed}, {each.name for each in installed}
    runs, fires = units.ask()
    return Status(
        candidate=candidate,
        held=held,
        verdicts=() if held is None else tuple(gates.judge(candidate, held, config.gates)),
        refusals=candidates.refusals(state),
        generation=generation,
        waits=waits,
        held_back="" if waits else generations.why_held_back(history),
        pending=candidate is not None
        and any(
            merge(candidate.ranges(each)) != ranges.get(each) or config.set.ipset(each) not in names for each in Family
        ),
        problems=problems,
        unknown=unknown,
        installed=installed,
        last=history[-1] if history else None,
        unfinished=waits is None and Journal.below(state).exists(),
        runs=runs,
        fires=fires,
        systemd=units.is_booted(),
        actions=actions,
        watching=_watching(actions, ledger_path(state), now),
        unreached=outside,
        outdated=differing,
        redefined=redefined,
    )


def outdated(config: Config) -> str:
    """Say how the configuration differs from the one that the candidate was compiled for; empty where it does not."""
    candidate = candidates.find(Path(config.paths.state))
    return "" if candidate is None else _outdated(candidate, config)


def _outdated(candidate: Candidate, config: Config) -> str:
    wanted = recipe(config)
    return "" if candidate.recipe == wanted else recipe_changes(candidate.recipe, wanted) or "the order of names"


def history(config: Config) -> tuple[list[tuple[Generation, Actions | None]], int | None]:
    """Return every generation and what its files do, newest first, and the number of the one in force."""
    state = Path(config.paths.state)
    store = Generations.below(state)
    listed = store.all(Path(config.paths.firewalld))
    generation, _waits = _in_force(state, listed)
    told = [(each, _actions(each, store.content(each, "policies"))) for each in reversed(listed)]
    return told, None if generation is None else generation.number


def _actions(generation: Generation | None, content: Content) -> Actions | None:
    if generation is None or generation.restores == NOTHING:
        return None
    try:
        return read_actions(content, generation.default_zone)
    except ValueError:  # damaged since: the proof names the file
        return None


def _watching(actions: Actions | None, ledger_file: Path, now: datetime) -> Watching | None:
    if actions is None or not actions.groups:
        return None
    answers = {nflog.is_listened_to(group) for group in actions.groups}
    lost = None
    with suppress(FwfeedError):  # it is report that says what is wrong with it
        ledger = Ledger.find(ledger_file, patience=_LEDGER_SECONDS) if os.geteuid() == 0 else None
        if ledger is not None:
            with ledger:
                lost = sum(ledger.losses(now - _DAY, now).values())
    return Watching(listening=None if None in answers else answers == {True}, lost=lost)


def why_nothing_comes(config: Config) -> str:
    """Return why no packet comes to `fwfeed watch`, and what to do about it; empty where nothing keeps them away.

    Raises FwfeedError where that cannot be told.
    """
    group, root = config.watch.group, Path(config.paths.firewalld)
    off = '[outbound] action is "off"' if config.outbound.action is Outbound.OFF else ""
    state = Path(config.paths.state)
    store = Generations.below(state)
    generation, _waits = _in_force(state, store.all(root))
    if generation is None or generation.restores == NOTHING:
        return f"{off or 'nothing is installed'}: no packet will come; {_LOG if off else 'run: fwfeed apply'}"
    content = store.content(generation, "policies")
    actions = _actions(generation, content)
    if actions is None:
        raise FwfeedError(f"{store.root}: a policy of generation {generation.number} is damaged")
    if group not in actions.groups:
        others = " and ".join(map(str, sorted(actions.groups)))
        what = f"hands packets to NFLOG group {others}, not {group}" if others else "hands no packet to NFLOG"
        what = "has outbound off" if actions.outbound is Outbound.OFF else what
        why = off or f"generation {generation.number} {what}"
        return f"{why}: no packet will come; {_LOG if off else 'run: fwfeed apply'}"
    try:
        daemon = firewalld.connect()
        if daemon.panic():
            return "firewalld is in panic mode: no packet leaves; firewall-cmd --panic-off"
        problems = differences(daemon, content, None)
    except NotRunning as error:
        return f"{error.message}: no packet will come; {error.way_out}"
    return f"{problems[0]}: packets may not come; run: fwfeed apply" if problems else ""


def _in_force(state: Path, history: Sequence[Generation]) -> tuple[Generation | None, datetime | None]:
    """Return the generation that is installed, and until when it has to be confirmed."""
    entry = Journal.below(state).read()
    waiting = [each for each in history if entry and entry.phase is Phase.PROVED and each.number == entry.generation]
    if waiting and entry and entry.waits:
        return waiting[0], entry.waits.until
    return generations.current(list(history)), None


def _firewalld() -> Firewalld:
    if os.geteuid() != 0:
        raise FwfeedError(_NEEDS_ROOT)
    return firewalld.connect()


def _problems(root: Path, generation: Generation, content: Content, daemon: Firewalld) -> list[str]:
    changed = [
        f"{root / path} was {'removed' if raw is None else 'changed'} since"
        for path, digest in generation.files.items()
        if (raw := files.read(root / path)) is None or manifests.digest(raw) != digest
    ]
    return changed + differences(daemon, content, generation.default_zone)


def _kernel_set(config: Config, family: Family) -> tuple[Ranges | Kernel, str]:
    """Return the ranges the kernel holds, or what is known instead, and why it is not more."""
    if os.geteuid() != 0:
        return Kernel.UNKNOWN, _NEEDS_ROOT
    try:
        held = firewalld.kernel_set(config.set.ipset(family), family)
    except FwfeedError as error:
        return Kernel.UNKNOWN, error.message
    return (Kernel.NO_SET if held is None else held), ""


def _holds(held: Ranges | Kernel, address: int) -> Kernel:
    if isinstance(held, Kernel):
        return held
    return Kernel.LACKS if find(held, address) is None else Kernel.HOLDS


def _holding(prefixes: Sequence[Prefix], ranges: Ranges, address: int, family: Family) -> str | None:
    found = find(ranges, address)
    return None if found is None else format_prefix(prefixes[ranges.index(found)], family)
