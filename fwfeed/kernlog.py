"""Where the kernel's log can be read: the journal, a file of syslog's, dmesg. `logline` reads its lines."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from fwfeed import access
from fwfeed.errors import FwfeedError
from fwfeed.logline import LONGEST, Line, lines_of, microseconds, of_dmesg, of_journal, of_syslog, stamp_of
from fwfeed.process import Output

_JOURNAL = Path("/run/systemd/journal")  # there while journald runs
_PERSISTENT = Path("/var/log/journal")  # there where it outlives a boot
_MESSAGES = Path("/var/log/messages")
_dated = re.compile(r".+-[0-9]{8}").fullmatch
_BLOCK = 1 << 20
_FIELDS = "--output-fields=MESSAGE,_TRANSPORT"


def of_this_host(prefixes: tuple[str, ...], *, since: datetime, now: datetime) -> Generator[Line, None, None]:
    """Yield what this host's log has: the journal, or without one syslog's file, or what the kernel remembers.

    A journal that is in memory alone, as on a host where nobody made /var/log/journal, begins with the boot: syslog's
    files have what was before. Only the journal leaves out what was before `since`. Raises FwfeedError.
    """
    if not _JOURNAL.is_dir():
        yield from of_a_file(_MESSAGES, prefixes, now) if _MESSAGES.is_file() else of_the_ring(prefixes)
        return
    if _MESSAGES.is_file() and not _PERSISTENT.is_dir():
        begins = _beginning_of_the_journal()
        if begins is None or microseconds(since) < begins:
            for file in _syslogs(since):
                yield from (line for line in of_a_file(file, prefixes, now) if begins is None or line[0] < begins)
    yield from of_the_journal(prefixes, since=since)


def _syslogs(since: datetime) -> Iterator[Path]:
    """Yield syslog's file and what logrotate has made of it, the oldest first, but what was compressed."""
    rotated = (file for file in _MESSAGES.parent.glob(f"{_MESSAGES.name}-*") if _dated(file.name))
    for file in (*sorted(rotated), _MESSAGES):
        with suppress(OSError):
            if file.stat().st_mtime >= since.timestamp():
                yield file


def _beginning_of_the_journal() -> int | None:
    """Return when the first entry was made, in microseconds since 1970; None where there is none."""
    output = Output("journalctl", "-q", "-o", "json", "--output-fields=_BOOT_ID")
    try:
        return stamp_of(next(_lines(output.fileno(), 4 * LONGEST), b""))
    finally:
        output.end()


def of_the_journal(prefixes: tuple[str, ...], *, since: datetime) -> Generator[Line, None, None]:
    """Yield what the journal has, of all boots. Raises FwfeedError."""
    # not -k, which is of this boot alone; of_journal checks it again
    output = Output("journalctl", "-q", "-o", "json", _FIELDS, "_TRANSPORT=kernel", f"--since=@{since.timestamp():.6f}")
    try:
        yield from lines_of(_lines(output.fileno(), 4 * LONGEST), of_journal(prefixes))
        output.check()
    finally:
        output.end()


def of_a_file(path: Path, prefixes: tuple[str, ...], now: datetime) -> Generator[Line, None, None]:
    """Yield what a file of syslog's has, as /var/log/messages. Raises FwfeedError."""
    with closing(_file(path)) as lines:
        yield from lines_of(lines, of_syslog(prefixes, now))


def of_the_ring(prefixes: tuple[str, ...]) -> Generator[Line, None, None]:
    """Yield what the kernel still has in its own memory. Raises FwfeedError."""
    # to the second: what was read before has to have the same time again
    booted = datetime.fromtimestamp(round(time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)), UTC)
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
        raise FwfeedError(f"{path}: {error.strerror}", access.as_root()) from None
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
