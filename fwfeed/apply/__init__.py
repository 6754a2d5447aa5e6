"""The privileged half: gate, render, check, swap, activate, verify, and commit or roll back.

`plan` works out what to do and changes nothing (`render --dry-run` and `fwfeed check` are made of it), `activate` has
the steps. Nothing here reaches the network: what is installed is the candidate, and that is checked again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fwfeed import firewalld
from fwfeed.apply.activate import activate, install, stage, swap, verify
from fwfeed.apply.plan import Plan, addresses, check, plan
from fwfeed.config import Config, Inbound
from fwfeed.errors import FwfeedError, LockoutRefused, RollbackFailed, RolledBack
from fwfeed.firewalld import Firewalld
from fwfeed.model import Candidate, Generation, Outcome
from fwfeed.prefixes import Family, find, merge
from fwfeed.proof import differences
from fwfeed.store import files, generations
from fwfeed.store.generations import Generations
from fwfeed.store.lock import locked

__all__ = ["Applied", "Plan", "apply", "check", "plan"]

LOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How an apply ended; `generation` is None where there was nothing to do."""

    plan: Plan
    generation: Generation | None
    seconds: float


def apply(config: Config, *, now: datetime, ssh_peer: str | None, tell: Callable[[str], None]) -> Applied:
    """Make firewalld hold the candidate, and prove that the kernel does.

    `ssh_peer` is the address the operator is logged in from; `tell` gets lines of progress. Raises CheckFailed, Held,
    LockoutRefused or another FwfeedError with nothing changed; RolledBack when it failed half way and all is as
    before; RollbackFailed when putting things back failed too.
    """
    if os.geteuid() != 0:
        raise FwfeedError("this changes the firewall and needs root", "sudo fwfeed apply")
    started = time.monotonic()
    with locked(Path(config.paths.run), wait=LOCK_SECONDS, waiting=tell):
        planned = plan(config)
        daemon = firewalld.connect()
        _require_ready(daemon)
        wanted = planned.default_zone.wanted
        if not planned.changes and not differences(daemon, planned.rendered.files, wanted):
            return Applied(plan=planned, generation=None, seconds=time.monotonic() - started)
        check(config, planned)
        _require_way_in(config, planned.candidate, ssh_peer)
        generation = _carry_out(config, planned, daemon, now, tell)
        return Applied(plan=planned, generation=generation, seconds=time.monotonic() - started)


def _require_ready(daemon: Firewalld) -> None:
    state = daemon.state()
    if state == "INIT":
        raise FwfeedError("firewalld is still starting", "try again in a moment")
    if state != "RUNNING":
        message = f"firewalld is in state {state}: its own configuration did not load"
        raise FwfeedError(message, "see journalctl -u firewalld, correct it, and: systemctl restart firewalld")
    if daemon.panic():
        raise FwfeedError("firewalld is in panic mode and drops every packet", "firewall-cmd --panic-off")


def _require_way_in(config: Config, candidate: Candidate, ssh_peer: str | None) -> None:
    """Refuse to shut out the administrator who is logged in over SSH right now."""
    if config.inbound.action is not Inbound.RESTRICT or ssh_peer is None:
        return
    import netaddr

    peer = netaddr.IPAddress(ssh_peer)
    family = Family(peer.version)
    inside = find(merge(candidate.ranges(family)), int(peer)) is not None
    where, key = ("inside", "services") if inside else ("outside", "foreign_services")
    admitted = config.inbound.services if inside else config.inbound.foreign_services
    if "ssh" not in admitted:
        raise LockoutRefused(
            f"you are logged in from {peer}, {where} the set {config.set.name}, "
            'and inbound.action = "restrict" would not let you in again',
            f'add {peer} to set.include, or "ssh" to inbound.{key}',
        )


def _carry_out(
    config: Config, planned: Plan, daemon: Firewalld, now: datetime, tell: Callable[[str], None]
) -> Generation:
    root = Path(config.paths.firewalld)
    store = Generations.below(Path(config.paths.state))
    zone_before = daemon.default_zone()
    generation = _new_generation(planned, now)
    with files.Staging() as staging:
        stage(staging, root, planned.changes)
        store.write(generation, planned.rendered.files)
        try:
            tell(f"generation {generation.number}: {len(planned.changes)} files to change, then a reload")
            install(staging, root, planned.changes)
            activate(daemon, planned.default_zone.wanted)
            tell("waiting for the kernel to hold it all")
            verify(daemon, planned.rendered.files, planned.default_zone.wanted)
            store.close(generation, Outcome.APPLIED)
        except BaseException as error:
            tell("that failed; putting back what was there before")
            try:
                swap(root, {path: planned.installed[path] for path in planned.changes})
                activate(daemon, zone_before)
                verify(daemon, planned.installed, zone_before)
                store.close(generation, Outcome.ROLLED_BACK, str(error))
            except FwfeedError as second:
                message = f"the apply failed: {error}\nand so did putting things back: {second}"
                raise RollbackFailed(message, "see journalctl -u firewalld, then: fwfeed apply") from error
            if isinstance(error, FwfeedError):
                raise RolledBack(f"{error.message}\nrolled back: all is as before", error.way_out) from error
            raise
    return generation


def _new_generation(planned: Plan, now: datetime) -> Generation:
    return Generation(
        number=max((generation.number for generation in planned.generations), default=0) + 1,
        created=now,
        outcome=Outcome.PENDING,
        reason="",
        recipe=planned.candidate.recipe,
        addresses=addresses(planned.candidate),
        files={path: generations.digest(content) for path, content in planned.rendered.files.items()},
        default_zone=planned.rendered.default_zone,
        replaced_zone=planned.default_zone.replaced,
    )
