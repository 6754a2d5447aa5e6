"""Talk with systemd: how fwfeed's units ended last, when its timer fires next, and that a service is ready.

Without systemd nothing is known, and nobody is told.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from fwfeed.errors import FwfeedError
from fwfeed.process import run
from fwfeed.status import Run

SERVICES = ("fwfeed-refresh.service", "fwfeed-apply.service")
TIMER = "fwfeed.timer"

_BOOTED = Path("/run/systemd/system")  # sd_booted(3)
_SECONDS = 5.0
_PROPERTIES = ("Id", "ExecMainCode", "ExecMainStatus", "ExecMainExitTimestamp", "NextElapseUSecRealtime")
_EXITED = "1"  # CLD_EXITED; the status is a signal's number otherwise


def is_booted() -> bool:
    """Whether systemd is what runs this host."""
    return _BOOTED.is_dir()


def notify(*states: str) -> None:
    """Tell the service manager, where one listens: `READY=1`, or `STATUS=` and a text (sd_notify(3)). Never raises.

    A manager that does not hear of it says so itself, and ends what is not ready in time.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    name = os.fsencode(address)
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        # @ stands for the NUL byte that names in the abstract namespace begin with (unix(7))
        manager.sendto("\n".join(states).encode(), b"\0" + name[1:] if address[0] == "@" else name)


def ask() -> tuple[tuple[Run, ...], datetime | None]:
    """Return how the units ended last, without those that have not yet, and when the timer fires next. Never raises."""
    if not is_booted():
        return (), None
    command = ("systemctl", "show", "--timestamp=unix", f"--property={','.join(_PROPERTIES)}", *SERVICES, TIMER)
    try:
        done = run(*command, timeout=_SECONDS)
    except FwfeedError:
        return (), None
    return read(done.stdout) if done.code == 0 else ((), None)


def read(text: str) -> tuple[tuple[Run, ...], datetime | None]:
    """Read what `systemctl show` prints: a block of NAME=VALUE lines for each unit."""
    runs, fires = [], None
    for block in text.split("\n\n"):
        shown = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        unit, ended = shown.get("Id", ""), _moment(shown.get("ExecMainExitTimestamp", ""))
        code, status = shown.get("ExecMainCode", ""), shown.get("ExecMainStatus", "")
        if unit in SERVICES and ended is not None and status.isdecimal():
            runs.append(Run(unit, int(status) + (0 if code == _EXITED else 128), ended))
        elif unit == TIMER:
            fires = _moment(shown.get("NextElapseUSecRealtime", ""))
    return tuple(runs), fires


def _moment(text: str) -> datetime | None:
    """Read a time; --timestamp=unix has an effect on some of them, and on more of them in newer versions."""
    try:
        if found := re.fullmatch(r"@([0-9]{1,11})", text):
            return datetime.fromtimestamp(int(found[1]), UTC)
        return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
