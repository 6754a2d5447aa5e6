"""Repair, before anything else, what a command left that was killed, and go back where nobody confirmed in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fwfeed.apply.transaction import is_partly_undone, sweep, undo
from fwfeed.config import Config
from fwfeed.errors import Busy, FwfeedError
from fwfeed.model import Outcome
from fwfeed.signals import undisturbed
from fwfeed.store.generations import Generations
from fwfeed.store.journal import Entry, Journal, Phase
from fwfeed.store.lock import locked

Tell = Callable[[str], None]


def recover(state: Path, tell: Tell) -> Entry | None:
    """Bring what the journal speaks of to its end, and say so; return it where it waits to be confirmed.

    The lock must be held. Raises FwfeedError where it cannot be repaired now; the journal stays then.
    """
    journal = Journal.below(state)
    entry = journal.read()
    if entry is None:
        return None
    generation = Generations.below(state).find(entry.generation)
    if generation is not None and generation.outcome is not Outcome.PENDING:
        sweep(entry)
        journal.end()
        return None
    stands = generation is not None and not is_partly_undone(entry, generation)
    if entry.phase is Phase.PROVED and entry.waits is not None and stands:
        if not entry.waits.is_over:
            sweep(entry)
            return entry
        outcome, reason = Outcome.UNCONFIRMED, "nobody confirmed it in time"
    else:
        outcome = Outcome.ROLLED_BACK
        reason = "it was cut off (fwfeed was killed, or the power went), or could not be put back then"
    with undisturbed():
        remark = undo(state, entry, outcome, reason, lambda _line: None)
    back = "what was installed before is back" + (f"; {remark}" if remark else ", and read back from the kernel")
    if entry.phase is Phase.PREPARED:
        back = "nothing had been changed yet"
    tell(f"generation {entry.generation}: {reason}; {back}")
    return None


def recover_first(config: Config, tell: Tell) -> None:
    """Recover before a command of any kind; where another command holds the lock, that one is at it, and it is said.

    Never raises.
    """
    state = Path(config.paths.state)
    try:
        with locked(Path(config.paths.run), wait=0, waiting=tell):
            recover(state, tell)
    except Busy:
        tell("another fwfeed command is changing the firewall right now")
    except FwfeedError as error:
        tell(f"an apply was cut off, and cannot be repaired now: {error.message}")
