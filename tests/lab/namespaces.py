"""Network namespaces by the names of one test, which go when it ends, and with the next one if it was killed."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import string
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.needs import LOG_ALL, kernel_log, networking

_SHARED = Path("/run/fwfeed-lab")  # one place for all checkouts on this machine
_CLAIMS = _SHARED / "claims"
_FOUND = _SHARED / "found"


@contextmanager
def tagged() -> Iterator[str]:
    """Claim a tag that nobody else has; namespaces called fwfeed-TAG-... are taken down in the end.

    Meanwhile the kernel logs for namespaces too: the last one to end puts back what the first one found.
    """
    # five characters: with the longest neighbour's name a device's has the 15 that the kernel allows
    tag = "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(5))
    _CLAIMS.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        with _alone():
            _sweep()
            claim = files.enter_context((_CLAIMS / tag).open("x"))
            fcntl.flock(claim, fcntl.LOCK_EX)
            if not _FOUND.exists():
                _FOUND.write_text(LOG_ALL.read_text())
            LOG_ALL.write_text("1")
        try:
            yield tag
        finally:
            _take_down(tag)
            with _alone():
                (_CLAIMS / tag).unlink()
                _sweep()


def sweep() -> None:
    """Take down what killed tests have left."""
    if _CLAIMS.exists() and not (networking() or kernel_log()):
        with _alone():
            _sweep()


def batch(*lines: str, namespace: str = "") -> None:
    """Have one `ip` do many things."""
    options = ["-n", namespace] if namespace else []
    command = ["ip", *options, "-batch", "-"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True, capture_output=True, timeout=60)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep all others from coming and going meanwhile."""
    with (_SHARED / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _sweep() -> None:
    for path in _CLAIMS.iterdir():
        with path.open() as claim, suppress(BlockingIOError):
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _take_down(path.name, killed=True)
            path.unlink()
    if _FOUND.exists() and not any(_CLAIMS.iterdir()):
        LOG_ALL.write_text(_FOUND.read_text())
        _FOUND.unlink()


def _take_down(tag: str, *, killed: bool = False) -> None:
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True, timeout=60).stdout
    names = [line.split()[0] for line in listed.splitlines() if line.startswith(f"fwfeed-{tag}-")]
    for name in names if killed else ():
        inside = subprocess.run(["ip", "netns", "pids", name], check=True, capture_output=True, text=True, timeout=60)
        for pid in inside.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    batch(*(f"netns delete {name}" for name in names))
