"""Do without root what needs no root: in a child process, as the user fwfeed, where that user exists."""

from __future__ import annotations

import errno
import os
import pwd
import re
import signal
import stat
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from fwfeed import access
from fwfeed.errors import FwfeedError

USER = access.USER


def without_root(function: Callable[[], int], folders: Mapping[Path, str]) -> int:
    """Return what `function` returns, 0 to 255; it has to deal with its own errors.

    As root, and where there is a user fwfeed, it runs in a child process as that user. `folders` are made his where
    they do not exist yet, or are root's and hold only paths that their patterns match (those of folders end in /).
    Raises FwfeedError where they belong to somebody else or hold something else, where he may not enter a folder above
    them or above fwfeed itself, or the child was killed.
    """
    try:
        user = pwd.getpwnam(USER) if os.geteuid() == 0 else None
    except KeyError:
        user = None
    if user is None:
        return function()
    _require_reachable(folders, user)
    for folder, ours in folders.items():
        _give(folder, ours, user)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be(user, function)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise FwfeedError(f"the part of this that runs as user {USER} was killed by signal {-code}")
    return code


def _require_reachable(folders: Iterable[Path], user: pwd.struct_passwd) -> None:
    """Refuse what user fwfeed would be refused, before anything is made or given away."""
    code = Path(__file__)
    asked = [*folders, Path(sysconfig.get_path("purelib"), "any"), code]
    number, at = _as(user, lambda: _first_barred(asked))
    if number is None:
        return
    place, folder = asked[number], Path(at)
    if place in folders:
        raise FwfeedError(
            f"{place}: {access.closed_to_user(folder)}", f"in [paths], name a folder that is not below {folder}"
        )
    message = f"fwfeed is installed in {place.parent}: {access.closed_to_user(folder)}"
    if folder == code:
        message = f"user {USER}, as whom the half with the network runs, may not read {code}"
    raise FwfeedError(message, "install it where everybody may read it, as in /opt/fwfeed, with umask 022")


def _first_barred(paths: Sequence[Path]) -> tuple[int, Path] | None:
    for number, path in enumerate(paths):
        if folder := access.barred(path):
            return number, folder
    return None if os.access(paths[-1], os.R_OK, effective_ids=True) else (len(paths) - 1, paths[-1])


def _as(user: pwd.struct_passwd, ask: Callable[[], tuple[int, Path] | None]) -> tuple[int | None, str]:
    """Ask as another user, in a child process: only the kernel knows all rights, and this one keeps its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            _become(user)
            if found := ask():
                os.write(writing, os.fsencode(f"{found[0]} {found[1]}"))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = os.fsdecode(answer.read())
    os.waitpid(child, 0)
    number, _space, path = said.partition(" ")
    return (int(number) if number else None), path


def _be(user: pwd.struct_passwd, function: Callable[[], int]) -> NoReturn:
    code = 1
    try:
        _become(user)
        code = function()
    except FwfeedError as error:
        sys.stderr.write(f"fwfeed: {error.message}\n")
    except BaseException:
        traceback.print_exc()  # nobody above could say it
        raise
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)  # not sys.exit: what the parent has open and registered is not the child's to end


def _become(user: pwd.struct_passwd) -> None:
    try:
        os.setsid()  # the terminal's signals come to root alone, who passes them on; and its terminal is not his to use
        os.initgroups(user.pw_name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    except OSError as error:
        raise FwfeedError(f"cannot become user {USER}: {error.strerror}") from error
    os.umask(0o022)  # a web server may serve the cache, and root's umask can be for root's eyes only
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


def _give(folder: Path, ours: str, user: pwd.struct_passwd) -> None:
    try:
        _make(folder)
        place = folder.resolve()
        status = place.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if status.st_uid == user.pw_uid:
            return
        if status.st_uid != 0 or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            owner = f"belongs to user {status.st_uid}" if status.st_uid else "can be written by others"
            raise FwfeedError(f"{folder} {owner}, and {USER} has to write there", f"chown -R {USER}: {folder}")
        for path in sorted(place.rglob("*")):
            relative = f"{path.relative_to(place)}{'/' if path.is_dir() and not path.is_symlink() else ''}"
            if not re.fullmatch(ours, relative):
                message = f"{path} is not of fwfeed, and {folder} would be given to user {USER} with all that it holds"
                raise FwfeedError(message, "move it elsewhere, or name a folder in [paths] that is fwfeed's alone")
        # from the leaves to the root: what is his already is not entered any more, as he could move a link in its place
        for _path, folders, files, descriptor in os.fwalk(place, topdown=False):
            for name in (*folders, *files):
                os.chown(name, user.pw_uid, user.pw_gid, dir_fd=descriptor, follow_symlinks=False)
        os.chown(place, user.pw_uid, user.pw_gid, follow_symlinks=False)
    except OSError as error:
        refused = error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}
        way_out = access.hint(error, folder) if refused else ""
        raise FwfeedError(f"cannot give {folder} to user {USER}: {error.strerror}", way_out) from error


def _make(folder: Path) -> None:
    """Make a folder that others can reach, whatever the umask."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir()
            each.chmod(0o755)
