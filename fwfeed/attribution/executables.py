"""What is at the path of an executable now: its RPM package, its hash. Slow, and so asked for by a human alone.

Whoever sent the traffic may have named it, and moved it since.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from functools import lru_cache

from fwfeed.errors import FwfeedError, printable
from fwfeed.process import run

_SECONDS = 20.0
_HASH_CAP = 1 << 30
_BLOCK = 1 << 20


@lru_cache(maxsize=1024)
def owner(executable: str) -> str:
    """Return the name, version and release of the package that owns a file, empty where none does."""
    if not executable.startswith("/") or not _is_itself(executable):
        return ""
    try:
        done = run(
            "rpm", "-qf", "--queryformat", "%{NAME}-%{VERSION}-%{RELEASE}\\n", "--", executable, timeout=_SECONDS
        )
    except FwfeedError:  # a host without rpm
        return ""
    lines = done.stdout.splitlines()
    return printable(lines[0])[:256] if done.code == 0 and lines else ""


def digest(executable: str) -> tuple[str, str]:
    """Return the sha256 of a file, or nothing, and why there is none.

    Nothing is opened before it is known to be a file: to open a watchdog, a tape or a pipe does something.
    """
    if not _is_itself(executable):
        return "", "a link leads elsewhere from there by now"
    try:
        held = os.open(executable, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        return "", f"cannot be read: {getattr(error, 'strerror', None) or 'no path'}"
    try:
        status = os.fstat(held)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _HASH_CAP:
            return "", f"not a regular file of at most {_HASH_CAP >> 20:,} MiB"
        if status.st_size == 0 and os.major(status.st_dev) == 0:  # the kernel's: to read it can do something
            return "", "empty, or no file of a disk"
        made = hashlib.sha256()
        with open(f"/proc/self/fd/{held}", "rb") as file:  # noqa: PTH123 - no path of anybody's
            for block in _blocks(file.read):
                made.update(block)
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    finally:
        os.close(held)
    return made.hexdigest(), ""


def _is_itself(executable: str) -> bool:
    """Return whether a path has no link in it, as those that the kernel gives have none."""
    try:
        return os.path.realpath(executable) == executable
    except (OSError, ValueError):
        return False


def _blocks(read: Callable[[int], bytes]) -> Iterable[bytes]:
    total = 0
    while total <= _HASH_CAP and (block := read(_BLOCK)):
        total += len(block)
        yield block
