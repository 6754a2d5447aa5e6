"""Start other programs: the only place that does, without a shell, bounded in time, in a fixed locale and time zone."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from fwfeed import access
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
            env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        )
    except FileNotFoundError:
        raise FwfeedError(
            f"the program {command[0]} is not installed", f"dnf install {_PACKAGES[command[0]]}"
        ) from None
    except subprocess.TimeoutExpired:
        raise FwfeedError(f"{' '.join(command)} did not end within {timeout:g} s") from None
    except OSError as error:
        raise FwfeedError(f"cannot start {command[0]}: {error.strerror}", _way_to_start(error)) from error
    return Completed(done.returncode, done.stdout, done.stderr)


def start(*command: str) -> None:
    """Start a program that outlives this one and its terminal. Raises FwfeedError."""
    silence = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in range(3)]
    try:
        os.posix_spawn(command[0], command, os.environ, file_actions=silence, setsid=True)
    except OSError as error:
        raise FwfeedError(f"cannot start {command[0]}: {error.strerror}", _way_to_start(error)) from error


class Child:
    """A program that runs beside this one, and whose output goes where this one's goes.

    It has a session of its own: the signals of a terminal, or for this program's group, are not for it.
    """

    def __init__(self, *command: str) -> None:
        """Start it. Raises FwfeedError."""
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        except OSError as error:
            raise FwfeedError(f"cannot start {command[0]}: {error.strerror}", _way_to_start(error)) from error

    def stop(self) -> None:
        """Tell it to end (SIGTERM); how long it takes is its own business."""
        self._process.terminate()

    def wait(self) -> int:
        """Wait until it has ended; return its exit code, or the negative number of the signal that killed it."""
        return self._process.wait()


class Output:
    """The output of a program that runs beside this one, as it comes; its errors go where this one's go."""

    def __init__(self, *command: str) -> None:
        """Start it. Raises FwfeedError."""
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
            )
        except FileNotFoundError:
            raise FwfeedError(
                f"the program {command[0]} is not installed", f"dnf install {_PACKAGES[command[0]]}"
            ) from None
        except OSError as error:
            raise FwfeedError(f"cannot start {command[0]}: {error.strerror}", _way_to_start(error)) from error
        self._command = command
        assert self._process.stdout is not None  # noqa: S101 - as was asked for
        self._stdout = self._process.stdout

    def fileno(self) -> int:
        """Return where its output can be read."""
        return self._stdout.fileno()

    def end(self) -> None:
        """Have it end, if it has not, and forget about it."""
        self._process.terminate()
        self._stdout.close()
        self._process.wait()

    def check(self) -> None:
        """Wait for its end after all was read. Raises FwfeedError where it failed."""
        if code := self._process.wait():
            raise FwfeedError(f"{' '.join(self._command)} ended with {code}", "what it said stands above")


def _way_to_start(error: OSError) -> str:
    return access.as_root() if isinstance(error, PermissionError) else ""


_PACKAGES = {
    "nft": "nftables",
    "firewall-offline-cmd": "firewalld",
    "ip": "iproute",
    "ss": "iproute",
    "rpm": "rpm",
    "journalctl": "systemd",
    "dmesg": "util-linux",
    "systemctl": "systemd",
    "systemd-run": "systemd",
}
