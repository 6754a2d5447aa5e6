"""Why the operating system refuses a path or a program, and what to do about it."""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

USER = "fwfeed"
"""As whom the half that reads strangers' files runs, where root asks for it."""

SELINUX = "SELinux may refuse it: ausearch -m avc -ts recent"

WITHOUT_NET_ADMIN = f"root may be without CAP_NET_ADMIN here (a container, a unit); or {SELINUX}"

_DAC_OVERRIDE = 1  # capabilities(7)


def hint(error: OSError, path: Path | str) -> str:
    """Return what to do where the system refused a path."""
    if error.errno in {errno.EACCES, errno.EPERM}:
        return _hint_at_rights(error, Path(path))
    if error.errno == errno.EROFS:
        return f"its file system is read-only: findmnt -T {path}; in a unit of systemd's, see its ReadWritePaths="
    if error.errno == errno.EIO:
        return "its disk fails: journalctl -k"
    return "see that the path in [paths] is right, and that there is room"


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


def _hint_at_rights(error: OSError, path: Path) -> str:
    if os.geteuid() == 0:
        if not _overrides_rights():
            return f"root may only do here what the rights of files say (namei -l {path}); or {SELINUX}"
        attributes = f"its attributes may forbid it: lsattr -d {path}; or " if error.errno == errno.EPERM else ""
        return f"{attributes}{SELINUX}"
    if _user() != USER:
        return "run it as root (sudo), or name paths of your own in [paths]"
    if folder := barred(path):
        return f"{closed_to_user(folder)}: name a place outside {folder}"
    return f"user {USER} has to have the right to: namei -l {path}; or {SELINUX}"


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
