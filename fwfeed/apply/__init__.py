"""The privileged half: gate, render, check, swap, activate, verify, and commit or roll back.

`plan` works out what to do and changes nothing (`render --dry-run` and `fwfeed check` are made of it), `guard` says
whether it may be done now, and `activate` has the steps. Nothing here reaches the network: what is installed is the
candidate, and that is checked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from fwfeed import firewalld
from fwfeed.apply.activate import activate, install, stage, swap, verify, wait_until_running
from fwfeed.apply.guard import (
    require_nothing_dropped,
    require_ready,
    require_root,
    require_way_in,
    runtime_only,
    unrestricted,
)
from fwfeed.apply.plan import FALLBACK_ZONE, Plan, check, plan
from fwfeed.config import Config
from fwfeed.errors import FwfeedError, RollbackFailed, RolledBack
from fwfeed.firewalld import Firewalld, Kind
from fwfeed.gates import moving
from fwfeed.model import Generation, Outcome
from fwfeed.proof import differences
from fwfeed.sessions import Session
from fwfeed.signals import undisturbed
from fwfeed.store import files, generations
from fwfeed.store.generations import Generations
from fwfeed.store.lock import locked

__all__ = ["Applied", "Plan", "apply", "check", "plan", "require_root"]

LOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How an apply ended; `generation` is None where there was nothing to do."""

    plan: Plan
    generation: Generation | None
    warnings: tuple[str, ...]
    seconds: float


def apply(config: Config, *, now: datetime, ssh: Session | None, tell: Callable[[str], None]) -> Applied:
    """Make firewalld hold the candidate, and prove that the kernel does.

    `ssh` is the session of whoever asks for it; `tell` gets lines of progress. Raises CheckFailed, Held,
    LockoutRefused or another FwfeedError with nothing changed; RolledBack when it failed half way and what was
    installed before is back; RollbackFailed when putting it back failed too.
    """
    require_root()
    started = time.monotonic()
    with locked(Path(config.paths.run), wait=LOCK_SECONDS, waiting=tell):
        planned = plan(config)
        daemon = firewalld.connect()
        require_ready(daemon)
        generation = None
        warnings = []
        if not _is_settled(planned) or differences(daemon, planned.rendered.files, planned.default_zone.wanted):
            planned, lost_zone = _with_existing_zone(planned, daemon)
            check(config, planned)
            require_way_in(config, planned, daemon, ssh)
            dropped = runtime_only(planned, daemon)
            require_nothing_dropped(dropped, ssh)
            generation = _carry_out(config, planned, daemon, now, tell)
            warnings = [*lost_zone, *(f"the reload dropped what only the runtime had: {each}" for _, each in dropped)]
        warnings += unrestricted(config, daemon)
        seconds = time.monotonic() - started
        return Applied(plan=planned, generation=generation, warnings=tuple(warnings), seconds=seconds)


def _is_settled(planned: Plan) -> bool:
    """Return whether the current generation is on disk as it should be, and no crash lies between."""
    current = generations.current(planned.generations)
    digests = {path: generations.digest(content) for path, content in planned.rendered.files.items()}
    unfinished = generations.unfinished(planned.generations)
    settled = not planned.changes and not planned.default_zone.changes and not unfinished
    return settled and current is not None and current.files == digests


def _with_existing_zone(planned: Plan, daemon: Firewalld) -> tuple[Plan, list[str]]:
    """Return the plan with a default zone that there is, and a warning where the one to give back is gone."""
    wanted = planned.default_zone.wanted
    if wanted is None or f"zones/{wanted}.xml" in planned.rendered.files or wanted in daemon.names(Kind.ZONE):
        return planned, []
    zone = replace(planned.default_zone, wanted=FALLBACK_ZONE)
    return replace(planned, default_zone=zone), [
        f"zone {wanted}, the default before fwfeed, is gone: {FALLBACK_ZONE} takes its place"
    ]


def _carry_out(
    config: Config, planned: Plan, daemon: Firewalld, now: datetime, tell: Callable[[str], None]
) -> Generation:
    root = Path(config.paths.firewalld)
    store = Generations.below(Path(config.paths.state))
    zone_before = daemon.default_zone()
    generation = _new_generation(planned, root, store, now)
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
            with undisturbed():
                reason = f"interrupted by {error}" if isinstance(error, KeyboardInterrupt) else str(error)
                _roll_back(root, planned, daemon, zone_before, store, generation, reason)
            if isinstance(error, FwfeedError | KeyboardInterrupt):
                way_out = error.way_out if isinstance(error, FwfeedError) else ""
                raise RolledBack(f"{reason}\nrolled back: what was installed before is back", way_out) from error
            raise
    return generation


def _roll_back(
    root: Path,
    planned: Plan,
    daemon: Firewalld,
    zone_before: str,
    store: Generations,
    generation: Generation,
    reason: str,
) -> None:
    try:
        swap(root, {path: planned.installed[path] for path in planned.changes})
        wait_until_running(daemon)
        activate(daemon, zone_before)
        verify(daemon, planned.installed, zone_before)
        store.close(generation, Outcome.ROLLED_BACK, reason)
    except Exception as error:
        message = f"the apply failed: {reason}\nand so did putting things back: {error or type(error).__name__}"
        raise RollbackFailed(message, "see journalctl -u firewalld, correct it, then: fwfeed apply") from error


def _new_generation(planned: Plan, root: Path, store: Generations, now: datetime) -> Generation:
    return Generation(
        number=store.next_number(),
        root=str(root),
        created=now,
        outcome=Outcome.PENDING,
        reason="",
        recipe=planned.candidate.recipe,
        addresses=moving(planned.candidate),
        files={path: generations.digest(content) for path, content in planned.rendered.files.items()},
        default_zone=planned.rendered.default_zone,
        replaced_zone=planned.default_zone.replaced,
    )
