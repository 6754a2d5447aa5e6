"""The privileged half: recover, gate, render, check, swap, activate, verify, and commit or roll back.

`plan` works out what to do and changes nothing (`render --dry-run` and `fwfeed check` are made of it), `guard` says
whether it may be done now, and `change` has it done: whole or not at all by `transaction`, in the steps of `activate`.
`recovery` ends what a crash cut off, and `confirming` what nobody confirms. Nothing here reaches the network: what is
installed is the candidate, and that is checked again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path

from fwfeed.apply.change import Applied, Descent, Operator, Tell, make, outlook
from fwfeed.apply.guard import require_root
from fwfeed.apply.plan import Plan, check, plan, plan_back, plan_nothing
from fwfeed.apply.recovery import recover, recover_first
from fwfeed.apply.transaction import finish, undo
from fwfeed.config import Config
from fwfeed.errors import FwfeedError, Held, RollbackFailed, RolledBack
from fwfeed.model import Generation, Outcome
from fwfeed.signals import undisturbed
from fwfeed.store import generations
from fwfeed.store.generations import Generations
from fwfeed.store.journal import Entry, Journal
from fwfeed.store.lock import locked
from fwfeed.times import local_text

__all__ = [
    "Applied",
    "Operator",
    "Plan",
    "apply",
    "check",
    "confirm",
    "go_back_unconfirmed",
    "outlook",
    "plan",
    "recover_first",
    "recover_now",
    "require_root",
    "rollback",
    "uninstall",
]

LOCK_SECONDS = 60.0
_LAST_LOCK_SECONDS = 600.0
_PERSISTENCE_SECONDS = 3600.0
_AGAIN_SECONDS = 5.0
_EARLY_SECONDS = 2.0  # by which a timer may go off before its time


def apply(config: Config, operator: Operator, *, unattended: bool) -> Applied:
    """Make firewalld hold the candidate, and prove that the kernel does.

    Where somebody has gone back since, an `unattended` apply keeps what is installed, and only mends it; so does one
    that nobody attends where the set is defined anew since. Raises CheckFailed, Held, LockoutRefused or another
    FwfeedError with nothing changed; RolledBack when it failed half way and what was installed before is back;
    RollbackFailed when putting it back failed too.
    """
    require_root()
    with locked(Path(config.paths.run), wait=LOCK_SECONDS, waiting=operator.tell):
        _recover(config, operator, unattended=unattended)
        store = Generations.below(Path(config.paths.state))
        history = store.all(Path(config.paths.firewalld))
        why = generations.why_held_back(history)
        if unattended and why:
            current = generations.current(history)
            if current is None:  # it was the very first that was not confirmed
                return Applied(generation=None, reloaded="", waits=None, held_back=why, warnings=(), seconds=0.0)
            applied = make(config, operator, plan_back(config, current), Descent.of_generation(current))
            return replace(applied, held_back=why)
        planned = plan(config)
        compared = planned.comparison
        current = generations.current(history)
        if current is not None and compared.redefined and not operator.attended:
            # what is mended is no going back: ordinary news is to go in again once the set is what it was
            same = replace(Descent.of_generation(current), restores=current.restores)
            applied = make(config, operator, plan_back(config, current), same)
            return replace(applied, held_back="; ".join(each.reason for each in compared.redefined))
        descent = Descent.of_candidate(planned.candidate, config)
        # somebody says to go on again, though what is to be installed may be what somebody went back to
        applied = make(config, operator, planned.target, descent, compared.verdicts, afresh=bool(why))
        if applied.generation is None or not compared.changes:
            return applied
        return replace(applied, warnings=(f"the set changed: {compared.changes}", *applied.warnings))


def rollback(config: Config, operator: Operator, number: int | None) -> Applied:
    """Go back to an older generation, the one before the current one when `number` is None.

    A generation that still waits to be confirmed is undone instead when `number` is None. Raises as `apply` does.
    """
    require_root()
    state, root = Path(config.paths.state), Path(config.paths.firewalld)
    with locked(Path(config.paths.run), wait=LOCK_SECONDS, waiting=operator.tell):
        started = time.monotonic()
        waiting = recover(state, operator.tell)
        store = Generations.below(state)
        if waiting is not None and number is None:
            try:
                with undisturbed():
                    reason = "rolled back before it was confirmed"
                    remark = undo(state, waiting, Outcome.UNCONFIRMED, reason, operator.tell)
            except FwfeedError as error:
                message = f"generation {waiting.generation} could not be put back whole: {error.message}"
                raise RollbackFailed(message, f"{error.way_out or 'correct it'}; then: fwfeed status") from error
            warnings = (remark,) if remark else ()
            current = generations.current(store.all(root))
            return Applied(
                generation=current,
                reloaded="its rules were others" if waiting.reloads else "",
                waits=None,
                held_back="",
                undone=waiting.generation,
                warnings=warnings,
                seconds=time.monotonic() - started,
            )
        _require_none_waiting(waiting, operator.zone)
        history = store.all(root)
        chosen = _chosen(history, number)
        return make(config, operator, plan_back(config, chosen), Descent.of_generation(chosen))


def uninstall(config: Config, operator: Operator) -> Applied:
    """Take out everything of ours that is below /etc/firewalld, and give the default zone back. Raises as `apply`."""
    require_root()
    with locked(Path(config.paths.run), wait=LOCK_SECONDS, waiting=operator.tell):
        _recover(config, operator)
        current = generations.current(Generations.below(Path(config.paths.state)).all(Path(config.paths.firewalld)))
        if current is None:
            return Applied(generation=None, reloaded="", waits=None, held_back="", warnings=(), seconds=0.0)
        # it waits for nobody: whoever would have to confirm may have taken away what would undo it
        at_once = replace(config, apply=replace(config.apply, confirm=None))
        return make(at_once, operator, plan_nothing(config), Descent.of_nothing(current))


def confirm(config: Config, *, tell: Tell) -> Generation:
    """Keep the generation that waits to be confirmed. Raises FwfeedError where none does, RolledBack when too late."""
    require_root()
    state, root = Path(config.paths.state), Path(config.paths.firewalld)
    store = Generations.below(state)
    with locked(Path(config.paths.run), wait=LOCK_SECONDS, waiting=tell):
        waiting = recover(state, tell)
        if waiting is None:
            last = next(reversed(store.all(root)), None)
            if last is not None and last.outcome is Outcome.UNCONFIRMED:
                raise RolledBack(f"generation {last.number} is not there any more: {last.reason}", "run: fwfeed apply")
            raise FwfeedError("no generation waits to be confirmed", "see fwfeed history")
        generation = store.find(waiting.generation)
        if generation is None:
            raise FwfeedError(f"generation {waiting.generation}, which waits to be confirmed, is gone")
        with undisturbed():
            store.close(generation, Outcome.APPLIED)
            finish(config, generation, Journal.below(state), waiting)
        return generation


def recover_now(config: Config, *, tell: Tell) -> None:
    """Do what every command begins with, and nothing else. Raises FwfeedError where it cannot be done now."""
    require_root()
    with locked(Path(config.paths.run), wait=LOCK_SECONDS, waiting=tell):
        recover(Path(config.paths.state), tell)


def go_back_unconfirmed(config: Config, number: int, *, tell: Tell) -> None:
    """Undo a generation that nobody has confirmed when its time is up; another one, or none, is left alone.

    Where it cannot be undone, it is tried again for a while: whoever could do it by hand may be locked out.
    """
    require_root()
    until = time.monotonic() + _PERSISTENCE_SECONDS
    while True:
        try:
            with locked(Path(config.paths.run), wait=_LAST_LOCK_SECONDS, waiting=tell):
                waiting = recover(Path(config.paths.state), tell)
        except FwfeedError as error:
            if time.monotonic() > until:
                raise
            tell(f"generation {number} cannot be undone now, and will be tried again: {error.message}")
            time.sleep(_AGAIN_SECONDS)
            continue
        # one that came to nothing has left its number to another, which has its own time
        if waiting is None or waiting.generation != number or waiting.waits is None:
            return
        if waiting.waits.left > _EARLY_SECONDS:
            return
        time.sleep(waiting.waits.left)


def _recover(config: Config, operator: Operator, *, unattended: bool = False) -> None:
    waiting = recover(Path(config.paths.state), operator.tell)
    _require_none_waiting(waiting, operator.zone, unattended=unattended)


def _require_none_waiting(waiting: Entry | None, zone: tzinfo, *, unattended: bool = False) -> None:
    if waiting is not None and waiting.waits is not None:
        raise (Held if unattended else FwfeedError)(  # for a timer it is no failure: somebody is at it
            f"generation {waiting.generation} waits to be confirmed until {local_text(waiting.waits.until, zone)}",
            "keep it: fwfeed confirm; or go back: fwfeed rollback",
        )


def _chosen(history: list[Generation], number: int | None) -> Generation:
    """Return the generation to go back to. Raises FwfeedError where there is none."""
    if number is None:
        current = generations.current(history)
        # one that a rollback brought back stands in the place of the one it restored: again is further back
        since = current and (current.restores or current.number)
        older = [each for each in history if each.outcome is Outcome.APPLIED and each.number < (since or 0)]
        others = [each for each in older if current and each.files != current.files]
        if not others:
            raise FwfeedError("there is no older generation that differs from the current one", "see fwfeed history")
        return others[-1]
    chosen = next((each for each in history if each.number == number), None)
    if chosen is None:
        raise FwfeedError(f"there is no generation {number}", "see fwfeed history")
    if chosen.outcome is not Outcome.APPLIED:
        message = f"generation {number} is none to go back to: {chosen.outcome}"
        raise FwfeedError(message, "see fwfeed history")
    return chosen
