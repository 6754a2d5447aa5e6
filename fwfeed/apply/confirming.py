"""Have a generation undone that nobody confirms, even where nobody can reach this host any more.

What waits is not this process, which may be killed with the terminal it was started from, but a transient systemd
timer, or where there is no systemd a process of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from fwfeed.config import PathsConfig
from fwfeed.errors import FwfeedError
from fwfeed.process import run, start
from fwfeed.store.journal import Deadline, Entry, deadline
from fwfeed.units import is_booted

_CONFIG = "fwfeed.toml"
_SECONDS = 20.0

_EXEC_FAILED = 203  # EXIT_EXEC of systemd.exec(5)
_SCRIPT = 'sleep "$1"; shift; exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long a generation waits to be confirmed, and what undoes it then: fwfeed, started as in `itself`."""

    generation: int
    within: timedelta
    deadline: Deadline
    itself: tuple[str, ...]
    paths: PathsConfig

    @property
    def files(self) -> Mapping[str, bytes]:
        """What the undoing needs beside the journal: a configuration that nobody edits in the meantime."""
        paths = {name: getattr(self.paths, name) for name in ("cache", "state", "run", "firewalld", "templates")}
        lines = ["[paths]", *(f"{name} = {json.dumps(path)}" for name, path in paths.items())]
        return {_CONFIG: ("\n".join(lines) + "\n").encode()}

    def arm(self, journal: Path) -> None:
        """Have it undone when the time is up. Raises FwfeedError."""
        config = str(journal / _CONFIG)
        seconds = self.within.total_seconds()
        command = [*self.itself, "--config", config, "rollback", "--unconfirmed", str(self.generation)]
        if not is_booted():
            start("/bin/sh", "-c", _SCRIPT, "fwfeed-rollback", f"{seconds:g}", *command)
            return
        path = os.environ.get("PYTHONPATH")
        # fwfeed itself, and no shell: under SELinux that would be another domain, and its name would be in the journal
        options = ["--quiet", "--collect", "--property=SyslogIdentifier=fwfeed"]
        options += [f"--setenv=PYTHONPATH={path}"] if path else []
        _run_systemd(*options, "--wait", "--", *self.itself, "--version")  # a way back that cannot be gone is none
        timer = [f"--unit={_unit(self.generation)}", f"--on-active={seconds:g}s", "--timer-property=AccuracySec=100ms"]
        _run_systemd(*options, *timer, "--", *command)


def wait_for(generation: int, within: timedelta | None, *, itself: tuple[str, ...], paths: PathsConfig) -> Wait | None:
    """Return what waits for a generation to be confirmed, None where nothing has to."""
    if within is None:
        return None
    return Wait(generation=generation, within=within, deadline=deadline(within), itself=itself, paths=paths)


def disarm(entry: Entry) -> None:
    """Take the timer away; one that goes off all the same finds nothing to undo."""
    if entry.waits is not None and is_booted():
        with suppress(FwfeedError):
            run("systemctl", "stop", f"{_unit(entry.generation)}.timer", timeout=_SECONDS)


def _run_systemd(*arguments: str) -> None:
    done = run("systemd-run", *arguments, timeout=_SECONDS)
    if done.code != 0:
        message = f"systemd cannot start what would go back: {done.stderr.strip() or f'exit code {done.code}'}"
        below = "install fwfeed in /opt, as SELinux lets no unit start a program below /root or /home; "
        hint = "see journalctl -n 20, or apply without waiting to be confirmed"
        raise FwfeedError(message, f"{below if done.code == _EXEC_FAILED else ''}{hint}")


def _unit(generation: int) -> str:
    return f"fwfeed-rollback-{generation:06d}"
