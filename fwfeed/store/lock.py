"""One command at a time: a lock that the kernel lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fwfeed.errors import Busy
from fwfeed.store.files import explained, make_folder

_MODE = 0o600  # whoever can open it can hold it
_POLL_SECONDS = 0.1


@contextmanager
def locked(folder: Path, *, wait: float, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a folder.

    Waits up to `wait` seconds for another command, after telling `waiting` so once. Raises Busy when the
    other command does not end in time.
    """
    make_folder(folder)
    path = folder / "lock"
    with explained("open the lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        deadline = time.monotonic() + wait
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    message = f"another fwfeed command has held {path} for {wait:g} s"
                    raise Busy(message, "wait for it, or see who it is: lslocks") from None
            if not told:
                waiting(f"waiting for another fwfeed command to end ({path})")
                told = True
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)
