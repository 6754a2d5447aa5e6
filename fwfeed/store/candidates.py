"""Where the candidate is kept."""

from __future__ import annotations

from pathlib import Path

from fwfeed import candidate as codec
from fwfeed.errors import FwfeedError
from fwfeed.model import Candidate
from fwfeed.store import files

_SIZE_CAP = 64 << 20


def folder(state: Path) -> Path:
    """Return the folder of what a refresh makes: the only one below the state folder that its user need own."""
    return state / "candidate"


def path(state: Path) -> Path:
    """Return the candidate's file below a state folder."""
    return folder(state) / "candidate.json"


def find(state: Path) -> Candidate | None:
    """Return the candidate, or None where there is none yet. Raises FwfeedError for one that is damaged."""
    file = path(state)
    raw = files.read_untrusted(file, _SIZE_CAP)
    return None if raw is None else codec.load(raw, file=str(file))


def load(state: Path) -> Candidate:
    """Return the candidate. Raises FwfeedError where there is none, or it is damaged."""
    candidate = find(state)
    if candidate is None:
        raise FwfeedError(f"{path(state)} does not exist yet", "run: fwfeed fetch")
    return candidate


def stage(staging: files.Staging, state: Path, candidate: Candidate) -> None:
    """Write a new candidate beside the old one."""
    staging.write(path(state), codec.dump(candidate))
