"""Where the kernel's log can be read: the journal, a file of syslog's, dmesg. `logline` reads its lines."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fwfeed.errors import FwfeedError
from fwfeed.logline import LONGEST, Line, lines_of, of_dmesg, of_journal, of_syslog
from fwfeed.process import Output

_JOURNAL = Path("/run/systemd/journal")  # there while journald runs
_MESSAGES = Path("/var/log/messages")
_BLOCK = 1 << 20
_FIELDS = "--output-fields=MESSAGE,_TRANSPORT"


def of_this_host(prefixes: tuple[str, ...], *, since: datetime, now: datetime) -> Generator[Line, None, None]:
    """Yield what this host's log has: the journal, or without one syslog's file, or what the kernel remembers.

    Only the journal leaves out what was before `since`. Raises FwfeedError.
    """
    if _JOURNAL.is_dir():
        return of_the_journal(prefixes, since=since)
    return of_a_file(_MESSAGES, prefixes, now) if _MESSAGES.is_file() else of_the_ring(prefixes)


def of_the_journal(
    prefixes: tuple[str, ...], *, since: datetime | None = None, follow: bool = False
) -> Generator[Line, None, None]:
    """Yield what the journal has, of all boots, and with `follow` what comes. Raises FwfeedError."""
    # not -k, which is of this boot alone; of_journal checks it again
    command = ["journalctl", "-q", "-o", "json", _FIELDS, "_TRANSPORT=kernel"]
    command += [f"--since=@{since.timestamp():.6f}"] if since is not None else []
    command += ["--follow", "--no-tail" if since is not None else "--lines=0"] if follow else []
    output = Output(*command)
    try:
        yield from lines_of(_lines(output.fileno(), 4 * LONGEST), of_journal(prefixes))
        output.check()
    finally:
        output.end()


def of_an_export(path: Path, prefixes: tuple[str, ...]) -> Generator[Line, None, None]:
    """Yield what a file has that `journalctl -o json` has written. Raises FwfeedError."""
    with closing(_file(path)) as lines:
        yield from lines_of(lines, of_journal(prefixes))


def of_a_file(path: Path, prefixes: tuple[str, ...], now: datetime) -> Generator[Line, None, None]:
    """Yield what a file of syslog's has, as /var/log/messages. Raises FwfeedError."""
    with closing(_file(path)) as lines:
        yield from lines_of(lines, of_syslog(prefixes, now))


def of_the_ring(prefixes: tuple[str, ...]) -> Generator[Line, None, None]:
    """Yield what the kernel still has in its own memory. Raises FwfeedError."""
    booted = datetime.now(UTC) - timedelta(seconds=time.clock_gettime(time.CLOCK_MONOTONIC))
    output = Output("dmesg", "--color=never", "--facility=kern")
    try:
        yield from lines_of(_lines(output.fileno(), LONGEST), of_dmesg(prefixes, booted))
        output.check()
    finally:
        output.end()


def _file(path: Path) -> Generator[bytes, None, None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise FwfeedError(f"{path}: {error.strerror}", "name a file that can be read") from None
    try:
        yield from _lines(descriptor, LONGEST)
    except OSError as error:
        raise FwfeedError(f"{path}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _lines(descriptor: int, longest: int) -> Generator[bytes, None, None]:
    """Yield the lines of a descriptor without their ends; of one that is longer nothing is kept."""
    rest, skipping = b"", False
    while block := os.read(descriptor, _BLOCK):
        *whole, rest = (rest + block).split(b"\n")
        if skipping and whole:
            del whole[0]
            skipping = False
        yield from whole
        if len(rest) > longest:
            rest, skipping = b"", True
    if rest and not skipping:
        yield rest
