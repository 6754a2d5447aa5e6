"""Why the operating system refuses a path or a program, and what to do about it."""

from __future__ import annotations

import errno
import os
import pwd
import sys
from contextlib import suppress
from pathlib import Path

USER = "fwfeed"
"""As whom the half that reads strangers' files runs, where root asks for it."""

SELINUX = "SELinux may refuse it: ausearch -m avc -ts recent"

WITHOUT_NET_ADMIN = f"root may be without CAP_NET_ADMIN here (a container, a unit); or {SELINUX}"

SYSTEM_PYTHON = Path("/usr/bin/python3")
"""For which distributions make their packages; others, of a distribution too, are beside it."""

_DAC_OVERRIDE = 1  # capabilities(7)


def hint(error: OSError, path: Path | str) -> str:
    """Return what to do where the system refused a path, or what is called by other words."""
    path = Path(path)
    if not path.is_absolute() and isinstance(error.filename, str) and Path(error.filename).is_absolute():
        path = Path(error.filename)
    if error.errno in {errno.EACCES, errno.EPERM}:
        return _hint_at_rights(error, path)
    if error.errno == errno.EROFS:
        found = f"findmnt -T {_nearest(path)}"
        return f"its file system is read-only: {found}; in a unit of systemd's, see its ReadWritePaths="
    if error.errno == errno.EIO:
        return "its disk fails: journalctl -k"
    return "see that the path in [paths] is right, and that there is room"


def hint_at_source(error: OSError, path: Path) -> str:
    """Return what to do where the system refused what a URL of a source names: [paths] has nothing to do with it."""
    if error.errno not in {errno.EACCES, errno.EPERM} or os.geteuid() == 0 or _user() == USER:
        return hint(error, path)
    who = f"who fetches, where root asks user {USER}"
    return f"it has to be open to {who}: namei -l {_nearest(path)}; or name another URL"


def hint_at_database(file: Path, *, full: bool) -> str:
    """Return what to do where SQLite cannot write a file, `full` if it says that there is no room: it never says why.

    That the file system is read-only is asked of statvfs(3).
    """
    room = f"df {_nearest(file)}"
    if full:
        return f"make room on its file system: {room}"
    with suppress(OSError):
        if os.statvfs(_nearest(file)).f_flag & os.ST_RDONLY:
            return hint(OSError(errno.EROFS, ""), file)
    return f"there may be no room: {room}; or {hint(OSError(errno.EPERM, ''), file)}"


def as_root(otherwise: str = SELINUX) -> str:
    """Return what to do where root's rights are needed: `otherwise`, where root is who was refused."""
    return otherwise if os.geteuid() == 0 else "run it as root (sudo)"


def barred(path: Path) -> Path | None:
    """Return the outermost folder above a path that this process may not enter; None where the way is free."""
    for folder in reversed(path.absolute().parents):
        if folder.is_dir() and not os.access(folder, os.X_OK, effective_ids=True):
            return folder
    return None


def closed_to_user(folder: Path) -> str:
    """Return why it is that user fwfeed cannot do what root asked for."""
    return f"the half with the network runs as user {USER}, who may not enter {folder}"


def is_systems_python() -> bool:
    """Return whether this is the system's Python, in a virtual environment perhaps."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return sys.base_prefix == "/usr" and SYSTEM_PYTHON.resolve().name == name


def sees_systems_packages() -> bool:
    """Return whether what dnf installs for the system's Python is there for this one."""
    if sys.prefix == sys.base_prefix or not is_systems_python():
        return is_systems_python()
    try:
        settings = (Path(sys.prefix) / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "include-system-site-packages = true" in settings.lower()


def _hint_at_rights(error: OSError, path: Path) -> str:
    if os.geteuid() == 0:
        if not _overrides_rights():
            return f"root may only do here what the rights of files say (namei -l {_nearest(path)}); or {SELINUX}"
        if error.errno != errno.EPERM:
            return SELINUX
        # to make, replace or remove a file is up to its folder
        there = f"{path.absolute().parent} {path}" if _nearest(path) == path.absolute() else _nearest(path)
        return f"its attributes may forbid it: lsattr -d {there}; or {SELINUX}"
    if _user() != USER:
        return "run it as root (sudo), or name paths of your own in [paths]"
    if folder := barred(path):
        return f"{closed_to_user(folder)}: name a place outside {folder}"
    return f"user {USER} has to have the right to: namei -l {_nearest(path)}; or {SELINUX}"


def _nearest(path: Path) -> Path:
    """Return a path as far as it is there: the tools that are named find nothing out about what is not."""
    path = path.absolute()
    return next((each for each in (path, *path.parents) if os.path.lexists(each)), path)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def _overrides_rights() -> bool:
    """Return whether root may do here what the rights of files forbid: a unit or a container can take that away."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    found = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")]
    return not found or bool(int(found[0], 16) >> _DAC_OVERRIDE & 1)
