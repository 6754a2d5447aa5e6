"""Which RPM package a file is of; slow, and so asked for by a human alone."""

from __future__ import annotations

from functools import lru_cache

from fwfeed.errors import FwfeedError, printable
from fwfeed.process import run

_SECONDS = 20.0


@lru_cache(maxsize=1024)
def owner(executable: str) -> str:
    """Return the name, version and release of the package that owns a file, empty where none does."""
    if not executable.startswith("/"):
        return ""
    try:
        done = run(
            "rpm", "-qf", "--queryformat", "%{NAME}-%{VERSION}-%{RELEASE}\\n", "--", executable, timeout=_SECONDS
        )
    except FwfeedError:  # a host without rpm
        return ""
    lines = done.stdout.splitlines()
    return printable(lines[0])[:256] if done.code == 0 and lines else ""
