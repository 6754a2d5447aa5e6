"""Where the candidate is kept, and beside it the one that is held, what was refused, and what was let through."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fwfeed import candidate as codec
from fwfeed.errors import FwfeedError, printable
from fwfeed.model import Candidate, Recipe, Refusal
from fwfeed.store import files, hosts

NAME = "candidate.json"
_MADE = rf"candidate\.json|delegations\.sqlite|{files.SCRATCH}"
OURS = rf"lock|refusals\.json|{re.escape(hosts.NAME)}|{_MADE}|held/({_MADE})?"
"""What paths below the folder of candidates look like; those of folders end in /."""

_SIZE_CAP = 20 << 20  # 2 x 100,000 of the longest prefixes are 7.4 MB
_REFUSALS_CAP = 1 << 20
_APPROVAL_CAP = 1 << 12


def folder(state: Path) -> Path:
    """Return the folder of what a refresh makes: the only one below the state folder that its user need own."""
    return state / "candidate"


def held_folder(state: Path) -> Path:
    """Return the folder of what a refresh made and a gate holds."""
    return folder(state) / "held"


def path(state: Path) -> Path:
    """Return the candidate's file below a state folder."""
    return folder(state) / NAME


def find(state: Path) -> Candidate | None:
    """Return the candidate, or None where there is none yet. Raises FwfeedError for one that is damaged."""
    return _read(path(state))


def find_held(state: Path) -> Candidate | None:
    """Return the candidate that a gate holds, or None. Raises FwfeedError for one that is damaged."""
    return _read(held_folder(state) / NAME)


def load(state: Path) -> Candidate:
    """Return the candidate. Raises FwfeedError where there is none, or it is damaged."""
    candidate = find(state)
    if candidate is None:
        raise FwfeedError(f"{path(state)} does not exist yet", way_to_fetch(state))
    return candidate


def way_to_fetch(state: Path, wanted: Recipe | None = None) -> str:
    """Return the hint for where a candidate, of this recipe or any, is missing: to fetch, unless that came to nothing.

    It never raises: what it is said beside is the error.
    """
    with suppress(FwfeedError):
        held = find_held(state)
        if held is not None and wanted in (None, held.recipe):
            return "a gate holds what was fetched: see it: fwfeed diff; if it is right: fwfeed approve"
    with suppress(FwfeedError):
        refused = [each.reason for each in refusals(state) if not each.name]  # whole, and not of one source alone
        if refused:
            return f"the last fetch was refused: {'; '.join(refused[0].splitlines())}; mend that, then: fwfeed fetch"
    return "run: fwfeed fetch"


def stage(staging: files.Staging, place: Path, candidate: Candidate) -> None:
    """Write a new candidate for one of the two folders."""
    staging.write(place / NAME, codec.dump(candidate))


def refusals(state: Path) -> tuple[Refusal, ...]:
    """Return what the last refresh refused. Raises FwfeedError for a damaged record."""
    file = _refusals_path(state)
    raw = files.read_untrusted(file, _REFUSALS_CAP)
    if raw is None:
        return ()
    try:
        return tuple(
            Refusal(
                name=_printable(each["name"]),
                reason="\n".join(map(_printable, each["reason"])),
                since=_moment(each["since"]),
            )
            for each in json.loads(raw)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FwfeedError(f"{file}: not a list of refusals", "remove it") from None


def record_refusals(state: Path, found: Iterable[Refusal], now: datetime) -> None:
    """Keep what was refused, since when it is for each name; nothing is written where nothing is new."""
    before: tuple[Refusal, ...] | None
    try:
        before = refusals(state)
    except FwfeedError:  # damaged: it is about to be replaced
        before = None
    since = {refusal.name: refusal.since for refusal in before or ()}
    after = tuple(
        replace(
            refusal,
            reason="\n".join(map(printable, refusal.reason.splitlines())),
            since=since.get(refusal.name, now),
        )
        for refusal in sorted(found, key=lambda refusal: refusal.name)
    )
    if after == before:
        return
    if not after:
        files.remove(_refusals_path(state))
        return
    document = [
        {
            "name": refusal.name,
            "since": refusal.since.astimezone(UTC).isoformat(timespec="seconds"),
            "reason": refusal.reason.splitlines(),
        }
        for refusal in after
    ]
    files.replace(_refusals_path(state), (json.dumps(document, indent=1) + "\n").encode())


def approve(state: Path, candidate: Candidate, name: str, now: datetime) -> None:
    """Record that these sets may go in under this name, whatever the gates say. This file is for root to write."""
    document = {
        "sets": codec.digest(candidate),
        "name": name,
        "approved": now.astimezone(UTC).isoformat(timespec="seconds"),
    }
    files.replace(_approval_path(state), (json.dumps(document, indent=1) + "\n").encode())


def is_approved(state: Path, candidate: Candidate, *, name: str | None = None) -> bool:
    """Return whether these very sets were approved; with `name`, whether that was under this name."""
    raw = files.read_untrusted(_approval_path(state), _APPROVAL_CAP) or b""
    found = re.search(rb'"sets": "([0-9a-f]{64})"', raw)
    if found is None or found[1].decode() != codec.digest(candidate):
        return False
    return name is None or f'"name": {json.dumps(name)}'.encode() in raw


def _read(file: Path) -> Candidate | None:
    raw = files.read_untrusted(file, _SIZE_CAP)
    return None if raw is None else codec.load(raw, file=str(file))


def _refusals_path(state: Path) -> Path:
    return folder(state) / "refusals.json"


def _approval_path(state: Path) -> Path:
    return state / "approved.json"


def _printable(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError(f"{value!r} is not printable text")
    return value


def _moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment
