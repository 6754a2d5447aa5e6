"""Replace a file so that every reader sees the old or the new content, and a crash leaves one of them."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Self

from fwfeed import access
from fwfeed.errors import FwfeedError
from fwfeed.signals import deferred

SCRATCH = r"\.[^/]+\.fwfeed-(new|old)"
"""The names of files that are on their way."""

FOLDER_MODE = 0o755
FILE_MODE = 0o644


@contextmanager
def explained(action: str, path: Path | str) -> Iterator[None]:
    """Turn an OSError into a FwfeedError that says what could not be done, and where."""
    try:
        yield
    except shutil.Error as error:
        source, _target, reason = error.args[0][0]
        raise FwfeedError(f"cannot {action} {source}: {reason}") from error
    except OSError as error:
        reason = "permission denied" if error.errno == errno.EACCES else error.strerror or error
        raise FwfeedError(f"cannot {action} {path}: {reason}", access.hint(error, path)) from error


def read(path: Path) -> bytes | None:
    """Return a file's bytes, or None where there is none."""
    with explained("read", path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def read_untrusted(path: Path, cap: int) -> bytes | None:
    """Return the bytes of a file that somebody with less rights may have made, or None where there is none.

    Raises FwfeedError for a link, for anything but a regular file (a pipe would block), and over `cap` bytes.
    """
    with explained("read", path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            raw = file.read(cap + 1) if regular else b""
    if not regular or len(raw) > cap:
        raise FwfeedError(f"{path}: not a regular file of at most {cap:,} bytes", "remove it and run: fwfeed fetch")
    return raw


def require_own(path: Path) -> None:
    """Refuse a folder that somebody else could have filled: for what root is to trust. Raises FwfeedError."""
    if os.geteuid() != 0:
        return
    for folder in (path, path.parent):
        try:
            status = folder.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            message = f"{folder} must be a folder of root's that nobody else can write"
            raise FwfeedError(message, f"chown root: {folder}; chmod go-w {folder}")


def make_folder(path: Path) -> None:
    """Make a folder and its parents, which others can look into whatever the umask."""
    with explained("make the folder", path):
        for folder in (*reversed(path.parents), path):
            if not folder.is_dir():
                folder.mkdir(exist_ok=True)
                folder.chmod(FOLDER_MODE)


class Staging:
    """New files written beside the ones they will replace, so that all take their places, or none does.

    Used as a context manager: without `commit` every new file is removed again. Because they are written in the
    folder of the file they replace, they are on its file system and, below /etc/firewalld, get the SELinux label of
    that folder.
    """

    def __init__(self) -> None:
        self._scratches: list[Path] = []
        self._assigned: dict[Path, Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for scratch in self._scratches:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)

    def write(self, path: Path, content: bytes) -> None:
        """Write the file that `commit` puts in place of `path`."""
        scratch = self.scratch(path)
        with explained("write", path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(scratch, flags, FILE_MODE), "wb") as file:
                file.write(content)
        self.assign(scratch, path)

    def scratch(self, path: Path) -> Path:
        """Return where to write a file that may replace `path`, or another on the same file system, with `assign`."""
        scratch = _temporary(path)
        make_folder(path.parent)
        with explained("write", path):
            scratch.unlink(missing_ok=True)
        self._scratches.append(scratch)
        return scratch

    def assign(self, scratch: Path, path: Path) -> None:
        """Have `commit` put a finished file in place of `path`."""
        make_folder(path.parent)
        with explained("write", path):
            scratch.chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else FILE_MODE)
            sync(scratch)
        self._assigned[path] = scratch

    def commit(self) -> None:
        """Put all files in their places, in the order they were asked for, durably; or none, when one cannot be."""
        with deferred():
            self._commit()

    def _commit(self) -> None:
        done: list[Path] = []
        try:
            for path, scratch in self._assigned.items():
                with explained("write", path):
                    _keep(path)
                    scratch.replace(path)
                done.append(path)
            for folder in {path.parent: None for path in self._assigned}:
                with explained("sync", folder):
                    sync(folder)
        except BaseException:
            for path in done:
                kept = _kept(path)
                with explained("put back", path):
                    if os.path.lexists(kept):
                        kept.replace(path)
                    else:
                        path.unlink()
            raise
        finally:
            for path in self._assigned:
                with suppress(OSError):
                    _kept(path).unlink(missing_ok=True)
        self._assigned.clear()


def replace(path: Path, content: bytes) -> None:
    """Put one file in place of another, durably."""
    with Staging() as staging:
        staging.write(path, content)
        staging.commit()


def remove(path: Path) -> None:
    """Remove a file, durably."""
    with explained("remove", path):
        path.unlink(missing_ok=True)
        sync(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a folder of ours with all that is in it, if it is there."""
    if path.exists():
        with explained("remove", path):
            shutil.rmtree(path)


def build(folder: Path, content: Mapping[str, bytes]) -> None:
    """Make a new folder with files, durably: whole, or not at all."""
    building = _temporary(folder)
    try:
        remove_tree(building)
        for path, raw in content.items():
            replace(building / path, raw)
        with explained("write", folder):
            for parent in {parent for path in content for parent in PurePath(path).parents}:
                sync(building / parent)
            building.rename(folder)
            sync(folder.parent)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def dismantle(folder: Path) -> None:
    """Remove a folder at one stroke, if it is there: half of it would be a damaged one."""
    leaving = _kept(folder)
    remove_tree(leaving)
    with explained("remove", folder):
        if folder.exists():
            folder.rename(leaving)
            sync(folder.parent)
    remove_tree(leaving)


def sync(path: Path) -> None:
    """Make a finished file, or the renames and removals in a folder, durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def scratches(path: Path) -> tuple[Path, Path]:
    """Return where files on their way to a place can have been left by a command that was killed."""
    return _temporary(path), _kept(path)


def _temporary(path: Path) -> Path:
    """Return where the new file is written; firewalld does not read files that end so."""
    return path.with_name(f".{path.name}.fwfeed-new")


def _keep(path: Path) -> None:
    """Give the file at `path`, if there is one, a second name to come back from."""
    kept = _kept(path)
    kept.unlink(missing_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    try:
        os.link(path, kept, follow_symlinks=False)  # Path.hardlink_to follows a link since Python 3.14
    except FileNotFoundError:
        return
    except OSError:  # a file system without links, or somebody else's file (fs.protected_hardlinks)
        shutil.copy2(path, kept, follow_symlinks=False)


def _kept(path: Path) -> Path:
    return path.with_name(f".{path.name}.fwfeed-old")
