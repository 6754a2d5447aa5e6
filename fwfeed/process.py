"""Start other programs: the only place that does, without a shell, bounded in time, in a fixed locale."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from fwfeed.errors import FwfeedError


@dataclass(frozen=True, slots=True)
class Completed:
    """How a program ended, and what it printed."""

    code: int
    stdout: str
    stderr: str


def run(*command: str, timeout: float) -> Completed:
    """Run a command to its end; `timeout` is in seconds.

    Raises FwfeedError when it is not installed or does not end in time. Its exit code is the caller's to judge.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            encoding="utf-8",
            errors="backslashreplace",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except FileNotFoundError:
        raise FwfeedError(
            f"the program {command[0]} is not installed", f"dnf install {_PACKAGES[command[0]]}"
        ) from None
    except subprocess.TimeoutExpired:
        raise FwfeedError(f"{' '.join(command)} did not end within {timeout:g} s") from None
    return Completed(done.returncode, done.stdout, done.stderr)


_PACKAGES = {"nft": "nftables", "firewall-offline-cmd": "firewalld"}
