"""Where the candidate is kept."""

from __future__ import annotations

from pathlib import Path

from fwfeed import candidate as codec
from fwfeed.errors import FwfeedError
from fwfeed.model import Candidate
from fwfeed.store import files

_SIZE_CAP = 64 << 20


def path(state: Path) -> Path:
    """Return the candidate's file below a state folder."""
    return state / "candidate.json"


def find(state: Path) -> Candidate | None:
    """Return the candidate, or None where there is none yet. Raises FwfeedError for one that is damaged."""
    file = path(state)
    with files.explained("read", file):
        if file.exists() and file.stat().st_size > _SIZE_CAP:
            raise FwfeedError(f"{file}: larger than a candidate can be", "remove it and run: fwfeed fetch")
    raw = files.read(file)
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
