"""Carry a change out so that it is whole or undone, whatever happens in between.

The journal has the undo before the first file moves. The manifest's outcome is the commit: while it is pending, the
journal is followed, by this command when something fails, and by the next one when this one was killed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fwfeed import checks
from fwfeed.apply import confirming
from fwfeed.apply.activate import change_entries, install, reach, reload, stage, swap, verify
from fwfeed.apply.plan import CONF, Target
from fwfeed.config import Config
from fwfeed.errors import FwfeedError, NotRunning, RollbackFailed, RolledBack
from fwfeed.firewalld import Firewalld
from fwfeed.model import Generation, Outcome
from fwfeed.proof import Content
from fwfeed.signals import undisturbed
from fwfeed.store import files, manifests
from fwfeed.store.generations import Generations
from fwfeed.store.journal import Entry, Journal, Phase

Tell = Callable[[str], None]


def carry_out(
    config: Config,
    target: Target,
    daemon: Firewalld,
    generation: Generation,
    entry: Entry,
    waiting: confirming.Wait | None,
    tell: Tell,
) -> None:
    """Install what is wanted, and prove it; where `waiting` is given, it then waits to be confirmed.

    Raises FwfeedError with nothing changed, RolledBack where it failed half way, and RollbackFailed.
    """
    state = Path(config.paths.state)
    store, journal = Generations.below(state), Journal.below(state)
    try:
        journal.begin(entry, {} if waiting is None else waiting.files)
        store.write(generation, target.rendered.files)
        if waiting is not None:
            waiting.arm(journal.folder)
        with files.Staging() as staging:
            stage(staging, target.root, target.changes)
            entry = journal.advance(entry, Phase.BEGUN)
            install(staging, target.root, target.changes)
        _activate(daemon, target.rendered.files, target.default_zone.wanted, reloads=entry.reloads)
        tell("waiting for the kernel to hold it all")
        verify(daemon, target.rendered.files, target.default_zone.wanted)
        if waiting is None:
            with undisturbed():
                store.close(generation, Outcome.APPLIED)
        else:
            if waiting.deadline.is_over:
                raise FwfeedError("it took longer to prove than there was to confirm it")
            journal.advance(entry, Phase.PROVED)
    except BaseException as error:
        with undisturbed():
            _give_up(state, error, tell)
        raise
    if waiting is None:
        with undisturbed():
            finish(config, generation, journal, entry)


def finish(config: Config, generation: Generation, journal: Journal, entry: Entry) -> None:
    """Tidy up after a commit: what cannot be done now is done by the next command, or the next apply."""
    store = Generations.below(journal.folder.parent)
    with suppress(FwfeedError):
        sweep(entry)
        journal.end()
        confirming.disarm(entry)
        store.prune(Path(generation.root), config.apply.keep)
        store.sweep()


def undo(state: Path, entry: Entry, outcome: Outcome, reason: str, tell: Tell) -> str:
    """Put back what the journal has, prove it, and end the generation; return what could not be proved, if anything.

    Raises FwfeedError where files or runtime cannot be put back; the journal stays then, for the next command.
    """
    store, journal = Generations.below(state), Journal.below(state)
    generation = store.find(entry.generation)
    remark = ""
    sweep(entry)
    if entry.phase is not Phase.PREPARED:
        _put_files_back(entry, generation)
        try:
            _put_runtime_back(reach(), entry, tell)
        except NotRunning:
            remark = "firewalld does not run; it will read its files when it starts"
        _put_zone_back(entry)
    if generation is not None and generation.outcome is Outcome.PENDING:
        if entry.phase is Phase.PREPARED:
            store.discard(generation)
        else:
            # what was to be confirmed is not for a timer to try again
            store.close(generation, outcome if entry.waits is None else Outcome.UNCONFIRMED, reason)
    journal.end()
    confirming.disarm(entry)
    with suppress(FwfeedError):
        sweep(entry)
        store.sweep()
    return remark


def _give_up(state: Path, error: BaseException, tell: Tell) -> None:
    """Undo a change that failed. Raises RolledBack or RollbackFailed where something had been changed."""
    reason = f"interrupted by {error}" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
    recorded = Journal.below(state).read()
    generation = recorded and Generations.below(state).find(recorded.generation)
    if recorded is None or (generation and generation.outcome is Outcome.APPLIED):
        return  # it had not begun, or was done
    try:
        remark = undo(state, recorded, Outcome.ROLLED_BACK, reason, tell)
    except Exception as second:
        message = f"the apply failed: {reason}\nand so did putting things back: {second or type(second).__name__}"
        cause = second.way_out if isinstance(second, FwfeedError) else ""
        way_out = f"{cause or 'see journalctl -u firewalld, and correct it'}; then, to put the rest back: fwfeed status"
        raise RollbackFailed(message, way_out) from second
    if recorded.phase is not Phase.PREPARED and isinstance(error, FwfeedError | KeyboardInterrupt):
        back = "rolled back: what was installed before is back" + (f"; {remark}" if remark else "")
        way_out = error.way_out if isinstance(error, FwfeedError) else ""
        if isinstance(error, NotRunning) and not remark:
            way_out = "somebody restarted firewalld; try again"
        raise RolledBack(f"{reason}\n{back}", way_out) from error


def _activate(daemon: Firewalld, content: Content, default_zone: str | None, *, reloads: bool) -> None:
    if reloads:
        reload(daemon, default_zone)
    else:
        change_entries(daemon, content)


def is_partly_undone(entry: Entry, generation: Generation) -> bool:
    """Return whether some file is back as it was before the generation; one edited since tells nothing."""
    for path, raw in entry.before.items():
        known = None if raw is None else manifests.digest(raw)
        if known != generation.files.get(path) and files.read(Path(entry.root) / path) == raw:
            return True
    return False


def sweep(entry: Entry) -> None:
    """Remove the files that were on their way when a command was killed."""
    for path in entry.before:
        for scratch in files.scratches(Path(entry.root) / path):
            if os.path.lexists(scratch):  # where nothing is to be done, a read-only file system is no obstacle
                with files.explained("remove", scratch):
                    scratch.unlink(missing_ok=True)


def _put_files_back(entry: Entry, generation: Generation | None) -> None:
    root = Path(entry.root)
    content = {}
    for path, raw in entry.before.items():
        # edited since, it goes all the same: a zone that stays and names a set that goes keeps firewalld from loading
        ours = generation is not None and path in generation.files
        if files.read(root / path) != raw and (raw is not None or ours):
            content[path] = raw
    swap(root, content)


def _put_runtime_back(daemon: Firewalld, entry: Entry, tell: Tell) -> None:
    zone = entry.zone_before if entry.zone_after is not None else None
    if not entry.reloads:
        try:
            change_entries(daemon, entry.before)
            verify(daemon, entry.before, zone)
        except NotRunning:
            raise
        except FwfeedError as error:
            tell(f"{error.message}; a reload has to help")
        else:
            return
    reload(daemon, zone)
    verify(daemon, entry.before, zone)


def _put_zone_back(entry: Entry) -> None:
    """Give firewalld.conf its default zone back, where firewalld has not.

    One that does not run cannot; and one that has started without the zone has another default zone in its runtime
    already, and leaves the file as it is.
    """
    path = Path(entry.root) / CONF
    conf = (files.read(path) or b"").decode(errors="surrogateescape")
    changed = entry.zone_after not in (None, entry.zone_before)
    if changed and checks.parse_conf(conf).get("DefaultZone") == entry.zone_after:
        files.replace(path, checks.with_default_zone(conf, entry.zone_before).encode(errors="surrogateescape"))
