"""The journal: how to undo what is being done to /etc/firewalld, on disk before the first of it is done.

A folder that is there whole or not at all: `journal.json`, and in `before/` each file as it was. It is removed when
the generation it speaks of has an end. What it is used for is the business of `apply`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from fwfeed.errors import FwfeedError
from fwfeed.store import files, manifests

_ENTRY = "journal.json"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Phase(StrEnum):
    """How far it has come."""

    PREPARED = "prepared"  # nothing below /etc/firewalld has been replaced
    BEGUN = "begun"
    PROVED = "proved"  # all is in, read back from the kernel, and waits to be confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """Until when a generation waits to be confirmed: by the clock of one boot, which nobody sets, and to be shown."""

    boot: str
    seconds: float
    until: datetime

    @property
    def left(self) -> float:
        """How many seconds are left; none after a boot, as whoever would have gone back in time is gone."""
        return 0.0 if self.boot != boot() else max(0.0, self.seconds - time.clock_gettime(time.CLOCK_BOOTTIME))

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.left == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the journal says.

    `root` is /etc/firewalld; `before` has every path of ours below it, None where there was no file. `reloads` is
    whether firewalld may have read its files again. `waits` is None where nobody has to confirm.
    """

    generation: int
    root: str
    phase: Phase
    reloads: bool
    zone_before: str
    zone_after: str | None
    waits: Deadline | None
    before: Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of a state folder."""

    folder: Path

    @classmethod
    def below(cls, state: Path) -> Journal:
        """Return the journal of a state folder."""
        return cls(state / "journal")

    def exists(self) -> bool:
        """Return whether something is under way, was cut off, or waits to be confirmed."""
        return self.folder.exists()

    def begin(self, entry: Entry, extra: Mapping[str, bytes]) -> None:
        """Write the journal, whole and durably, with files of the caller's own beside it."""
        before = {f"before/{path}": raw for path, raw in entry.before.items() if raw is not None}
        files.build(self.folder, {**before, **extra, _ENTRY: _dump(entry)})

    def advance(self, entry: Entry, phase: Phase) -> Entry:
        """Record how far it has come."""
        entry = replace(entry, phase=phase)
        files.replace(self.folder / _ENTRY, _dump(entry))
        return entry

    def read(self) -> Entry | None:
        """Return what the journal says, None where there is none. Raises FwfeedError for a damaged one."""
        files.require_own(self.folder)
        raw = files.read(self.folder / _ENTRY)
        if raw is None and not self.folder.exists():
            return None
        try:
            if raw is None:
                raise ValueError("it is missing")
            entry = self._load(json.loads(raw))
            if _dump(entry) != raw:
                raise ValueError("it has more or other values than fwfeed writes")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            message = f"{self.folder / _ENTRY}: not a journal: {error}"
            raise FwfeedError(message, f"see that /etc/firewalld is right, then remove {self.folder}") from None
        return entry

    def end(self) -> None:
        """Remove the journal, at one stroke."""
        files.dismantle(self.folder)

    def _load(self, document: Any) -> Entry:
        waits = document["waits"]
        before = {path: self._content(path, known) for path, known in document["before"].items()}
        return Entry(
            generation=int(document["generation"]),
            root=str(document["root"]),
            phase=Phase(document["phase"]),
            reloads=bool(document["reloads"]),
            zone_before=str(document["zone_before"]),
            zone_after=document["zone_after"],
            waits=None if waits is None else _deadline(waits),
            before=before,
        )

    def _content(self, path: str, known: str | None) -> bytes | None:
        if not manifests.PATH.fullmatch(path):
            raise ValueError("it names files that fwfeed does not write")
        if known is None:
            return None
        raw = files.read(self.folder / "before" / path)
        if raw is None or manifests.digest(raw) != known:
            raise ValueError(f"before/{path} is not what it was")
        return raw


def _deadline(document: Any) -> Deadline:
    return Deadline(
        boot=str(document["boot"]),
        seconds=float(document["seconds"]),
        until=datetime.fromisoformat(document["until"]),
    )


def boot() -> str:
    """Return what tells this boot of the machine from all others."""
    with files.explained("read", _BOOT):
        return _BOOT.read_text(encoding="ascii").strip()


def deadline(within: timedelta) -> Deadline:
    """Return the moment that is so far away."""
    at = time.clock_gettime(time.CLOCK_BOOTTIME) + within.total_seconds()
    return Deadline(boot=boot(), seconds=at, until=datetime.now(UTC) + within)


def _dump(entry: Entry) -> bytes:
    waits = entry.waits
    document = {
        "generation": entry.generation,
        "root": entry.root,
        "phase": entry.phase,
        "reloads": entry.reloads,
        "zone_before": entry.zone_before,
        "zone_after": entry.zone_after,
        "waits": waits and {"boot": waits.boot, "seconds": waits.seconds, "until": waits.until.isoformat()},
        "before": {path: None if raw is None else manifests.digest(raw) for path, raw in entry.before.items()},
    }
    return (json.dumps(document, indent=1) + "\n").encode()
