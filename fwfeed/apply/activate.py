"""Move files, have firewalld take them up, and prove it: the steps of an apply and of its undoing."""

from __future__ import annotations

import time
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path

from fwfeed.difference import Step, steps
from fwfeed.errors import FwfeedError, NotAnswering, NotRunning
from fwfeed.firewalld import Firewalld, Kind, connect, kernel_set
from fwfeed.model import IntendedSet
from fwfeed.prefixes import format_prefix, merge
from fwfeed.proof import FAILED, Content, differences, entry_range, intended_sets, set_form
from fwfeed.store import files

COMING_BACK_SECONDS = 10.0

_POLL_SECONDS = 0.05
_SETTLE_SECONDS = 30.0
_MEND_SECONDS = 1.0
_ENTRIES_A_SECOND = 500  # the slowest filling measured was 30,000 entries in 4 s; a small VPS may need longer
_ATTEMPTS = 3

# Measured on firewalld 1.3.3: adding looks at every entry there is, 21 ms with 3,000 and 0.2 s with 30,000.
_CALL_SECONDS = 0.001
_ADD_SECONDS_AN_ENTRY = 7e-6
_REMOVE_SECONDS_AN_ENTRY = 3e-6
_PATIENCE_SECONDS = 60.0


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
    """Move the staged files to their places, and remove what is to go: a set after all that names it."""
    staging.commit()
    for path, new in sorted(content.items(), reverse=True):
        if new is None:
            files.remove(root / path)


def why_reload(daemon: Firewalld, before: Content, after: Content, default_zone: str | None) -> str:
    """Say why firewalld has to reload to get from these files to those; nothing where changing entries does it.

    A reload drops what only the runtime has and leaves sets half empty for a while, so it is for what nothing else can
    do: files that come, go or have other rules, a runtime that is not what its files say but for the entries of sets,
    and differences that would take longer than a minute. Up to there, slower and whole is better than faster and not.
    """
    for path, new in after.items():
        old = before.get(path)
        if old is None or new is None:
            if old != new:
                return f"{path} {'goes' if new is None else 'is new'}"
        elif old != new and not (path.startswith("ipsets/") and _is_of_one_form(old, new)):
            return f"{path} has other rules"
    others = {path: raw for path, raw in after.items() if not path.startswith("ipsets/")}
    if problems := differences(daemon, others, default_zone):
        return problems[0]
    seconds = 0.0
    for intended in intended_sets(after):
        if daemon.set_form(intended.name) != set_form(after[f"ipsets/{intended.name}.xml"] or b""):
            return f"firewalld's set {intended.name} is of another form than its file"
        texts = _entries(daemon, intended)
        if kernel_set(intended.name, intended.family) != merge(texts):
            return f"the kernel's set {intended.name} is not what firewalld takes it to be"
        planned = _steps(texts, intended)
        for removed in (texts[step.removed] for step in planned if step.removed is not None):
            # firewalld looks for it as Python writes it, which is not always as it was written
            if "/" in removed and str(ip_network(removed, strict=False)) != removed:
                return f"firewalld cannot remove {removed} from its set {intended.name}"
        seconds += sum(_seconds(step, len(texts)) for step in planned)
    return "too many entries change to do it one by one" if seconds > _PATIENCE_SECONDS else ""


def change_entries(daemon: Firewalld, content: Content) -> None:
    """Have the live sets of these files get their entries, one call at a time. Raises FwfeedError.

    Where a call fails, somebody else may have changed the set, or reloaded: what there is to do is worked out anew.
    """
    try:
        sets = intended_sets(content)
    except ValueError as error:
        raise FwfeedError(f"the file of a set cannot be read: {error}") from None
    for intended in sets:
        for attempt in range(_ATTEMPTS):
            try:
                texts = _entries(daemon, intended)
                for step in _steps(texts, intended):
                    if step.removed is not None:
                        daemon.remove_entry(intended.name, texts[step.removed])
                    for prefix in step.added:
                        daemon.add_entry(intended.name, format_prefix(prefix, intended.family))
                break
            except (NotRunning, NotAnswering):
                raise
            except FwfeedError:
                if attempt == _ATTEMPTS - 1:
                    raise


def reload(daemon: Firewalld, default_zone: str | None) -> None:
    """Have firewalld read its files again, with this default zone, or the one it has.

    A zone that is about to go must not be the default one when the reload comes, and one that is yet to come cannot
    be before it.
    """
    if default_zone is None:
        _read_again(daemon)
    elif default_zone in daemon.names(Kind.ZONE):
        _set_default_zone(daemon, default_zone)
        _read_again(daemon)
        _set_default_zone(daemon, default_zone)  # firewalld.conf may have had another one than the runtime
    else:
        _read_again(daemon)
        _set_default_zone(daemon, default_zone)


def verify(daemon: Firewalld, content: Content, default_zone: str | None) -> None:
    """Wait until runtime and kernel hold what these files say. Raises FwfeedError, with what is missing, if in vain.

    Entries that somebody else adds or removes in the meantime are set right again.
    """
    entries = sum(raw.count(b"<entry>") for raw in content.values() if raw)
    deadline = time.monotonic() + _SETTLE_SECONDS + entries / _ENTRIES_A_SECOND
    seen = mended = time.monotonic()
    while True:
        try:
            problems = differences(daemon, content, default_zone)
            seen = time.monotonic()
        except NotRunning as error:
            if time.monotonic() > seen + COMING_BACK_SECONDS:
                raise
            problems = [error.message]
        except FwfeedError as error:  # it may be about to answer again
            problems = [error.message]
        if not problems:
            return
        if time.monotonic() > deadline or problems[0] == FAILED:
            raise FwfeedError("\n".join(problems))
        if time.monotonic() > mended + _MEND_SECONDS:
            mended = time.monotonic()
            with suppress(FwfeedError):  # it is seen above
                change_entries(daemon, content)
        time.sleep(_POLL_SECONDS)


def reach() -> Firewalld:
    """Reach firewalld; one that starts, or that somebody restarts, gets time to come back, and so does the bus.

    Raises NotRunning where it has not come by then, and FwfeedError.
    """
    deadline = time.monotonic() + COMING_BACK_SECONDS
    while True:
        try:
            daemon = connect()
            if daemon.state() != "INIT":
                return daemon
            problem = FwfeedError("firewalld is still starting", "try again in a moment")
        except NotAnswering:
            raise
        except FwfeedError as error:
            problem = error
        if time.monotonic() > deadline:
            raise problem
        time.sleep(_POLL_SECONDS)


def _is_of_one_form(old: bytes, new: bytes) -> bool:
    try:
        return set_form(old) == set_form(new)
    except ValueError:  # somebody has broken the old one
        return False


def _entries(daemon: Firewalld, intended: IntendedSet) -> dict[tuple[int, int], str]:
    """Return the entries of firewalld's set as it writes them, by their ranges."""
    try:
        return {entry_range(text): text for text in daemon.set_entries(intended.name)}
    except ValueError as error:
        raise FwfeedError(f"firewalld's set {intended.name} cannot be read: {error}") from None


def _steps(texts: dict[tuple[int, int], str], intended: IntendedSet) -> list[Step]:
    return steps(list(texts), merge(intended.ranges), intended.family)


def _seconds(step: Step, entries: int) -> float:
    """Return how long a step takes, about, in a set of so many entries."""
    added, removed = len(step.added), step.removed is not None
    return (added + removed) * _CALL_SECONDS + entries * (
        added * _ADD_SECONDS_AN_ENTRY + removed * _REMOVE_SECONDS_AN_ENTRY
    )


def _read_again(daemon: Firewalld) -> None:
    try:
        daemon.reload()
    except FwfeedError as error:
        if "No such file or directory" not in error.message:
            raise
        daemon.reload()  # firewalld 1.3 that finds its table gone fails, and takes notice


def _set_default_zone(daemon: Firewalld, zone: str) -> None:
    if daemon.default_zone() != zone:
        daemon.set_default_zone(zone)
