"""One command at a time: a lock that the kernel lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fwfeed.errors import FwfeedError
from fwfeed.store.files import FILE_MODE, explained, make_folder

_POLL_SECONDS = 0.1


@contextmanager
def locked(run: Path, *, wait: float, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a run folder.

    Waits up to `wait` seconds for another command, after telling `waiting` so once. Raises FwfeedError when the
    other command does not end in time.
    """
    make_folder(run)
    path = run / "lock"
    with explained("open the lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    try:
        deadline = time.monotonic() + wait
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "?"
                    message = f"another fwfeed command (process {holder}) has held {path} for {wait:g} s"
                    raise FwfeedError(message, f"wait for it, or look at it: ps -fp {holder}") from None
            if not told:
                waiting(f"waiting for another fwfeed command to end ({path})")
                told = True
            time.sleep(_POLL_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
