"""Files that their owner alone reads from their first byte on: what a report says can hold secrets.

Folders of any kind can be named for them, so no link is followed, and no mode is set by a path.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fwfeed.store import files

_MODE = 0o600


def replace(path: Path, content: bytes) -> None:
    """Put one file in place of another, durably; a file of ours keeps its mode, a new one is for us alone."""
    files.make_folder(path.parent)
    scratch, _kept = files.scratches(path)
    with files.explained("write", path):
        scratch.unlink(missing_ok=True)
        try:
            _write(scratch, content, _mode(path))
            scratch.replace(path)
        except BaseException:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)
            raise
        files.sync(path.parent)


def build(folder: Path, content: Mapping[str, bytes]) -> None:
    """Make a new folder with files, durably: whole, or not at all."""
    files.make_folder(folder.parent)
    building, _kept = files.scratches(folder)
    files.remove_tree(building)
    with files.explained("write", folder):
        building.mkdir(0o700)  # refused where somebody else was quicker
        try:
            for name, raw in content.items():
                _write(building / name, raw, _MODE)
            files.sync(building)
            building.rename(folder)
        except BaseException:
            with suppress(Exception):
                files.remove_tree(building)
            raise
        files.sync(folder.parent)


def _mode(path: Path) -> int:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return _MODE
    own = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
    return status.st_mode & 0o777 if own else _MODE


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
