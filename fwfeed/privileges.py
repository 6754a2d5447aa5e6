"""Do without root what needs no root: in a child process, as the user fwfeed, where that user exists."""

from __future__ import annotations

import os
import pwd
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from fwfeed.errors import FwfeedError

USER = "fwfeed"


def without_root(function: Callable[[], int], folders: Sequence[Path]) -> int:
    """Return what `function` returns, 0 to 255; it has to deal with its own errors.

    As root, and where there is a user fwfeed, it runs in a child process as that user. `folders` are made his where
    they do not exist yet, or are root's: only root can have put something into those. Raises FwfeedError where they
    belong to somebody else, or the child was killed.
    """
    try:
        user = pwd.getpwnam(USER) if os.geteuid() == 0 else None
    except KeyError:
        user = None
    if user is None:
        return function()
    for folder in folders:
        _give(folder, user)
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


def _be(user: pwd.struct_passwd, function: Callable[[], int]) -> NoReturn:
    code = 1
    try:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
        code = function()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)  # not sys.exit: what the parent has open and registered is not the child's to end


def _give(folder: Path, user: pwd.struct_passwd) -> None:
    try:
        mask = os.umask(0o022)  # the way to it has to be open to him
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        finally:
            os.umask(mask)
        owner = folder.lstat().st_uid
        if owner == user.pw_uid:
            return
        if owner != 0:
            message = f"{folder} belongs to user {owner}, and {USER} has to write there"
            raise FwfeedError(message, f"chown -R {USER}: {folder}")
        for each, _folders, files in os.walk(folder):
            for name in (".", *files):
                os.chown(Path(each, name), user.pw_uid, user.pw_gid, follow_symlinks=False)
    except OSError as error:
        raise FwfeedError(f"cannot give {folder} to user {USER}: {error.strerror}") from error
