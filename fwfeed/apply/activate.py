"""Move files, have firewalld take them up, and prove it: the steps of an apply and of its undoing."""

from __future__ import annotations

import time
from pathlib import Path

from fwfeed.errors import FwfeedError
from fwfeed.firewalld import Firewalld, Kind
from fwfeed.proof import FAILED, Content, differences
from fwfeed.store import files

_POLL_SECONDS = 0.05
_SETTLE_SECONDS = 30.0
_ENTRIES_A_SECOND = 500  # the slowest filling measured was 30,000 entries in 4 s; a small VPS may need longer


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
    """Move the staged files to their places, and remove what is to go."""
    staging.commit()
    for path, new in content.items():
        if new is None:
            files.remove(root / path)


def activate(daemon: Firewalld, default_zone: str | None) -> None:
    """Have firewalld read its files again, with this default zone, or the one it has.

    A zone that is about to go must not be the default one when the reload comes, and one that is yet to come cannot
    be before it.
    """
    if default_zone is None:
        daemon.reload()
    elif default_zone in daemon.names(Kind.ZONE):
        _set_default_zone(daemon, default_zone)
        daemon.reload()
        _set_default_zone(daemon, default_zone)  # firewalld.conf may have had another one than the runtime
    else:
        daemon.reload()
        _set_default_zone(daemon, default_zone)


def verify(daemon: Firewalld, content: Content, default_zone: str | None) -> None:
    """Wait until runtime and kernel hold what these files say. Raises FwfeedError, with what is missing, if in vain."""
    entries = sum(raw.count(b"<entry>") for raw in content.values() if raw)
    deadline = time.monotonic() + _SETTLE_SECONDS + entries / _ENTRIES_A_SECOND
    while problems := _problems(daemon, content, default_zone):
        if time.monotonic() > deadline or problems[0] == FAILED:
            raise FwfeedError("\n".join(problems))
        time.sleep(_POLL_SECONDS)


def wait_until_running(daemon: Firewalld) -> None:
    """Give a firewalld that somebody is restarting the time to come back; whether it did shows in what follows."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline:
        try:
            if daemon.state() != "INIT":
                return
        except FwfeedError:
            pass
        time.sleep(_POLL_SECONDS)


def _problems(daemon: Firewalld, content: Content, default_zone: str | None) -> list[str]:
    """Return the differences; a firewalld that does not answer is one, as it may be about to come back."""
    try:
        return differences(daemon, content, default_zone)
    except FwfeedError as error:
        return [error.message]


def _set_default_zone(daemon: Firewalld, zone: str) -> None:
    if daemon.default_zone() != zone:
        daemon.set_default_zone(zone)
