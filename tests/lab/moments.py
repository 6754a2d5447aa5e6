"""Stop a command at a chosen moment, so that what happens then happens then and not by chance."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.lab.world import World, wait_until

# The command itself, but for one function that stops the process (SIGSTOP) when it is called, or has ended, for the
# nth time; and where `patience` is given, that is for how long it waits for firewalld and for the lock, from then on.
_PROGRAM = """
import importlib, json, os, signal, sys
moment, patience, arguments = json.loads(sys.argv[1])
from fwfeed import apply, firewalld
from fwfeed.cli import main
def lose_patience():
    if patience:
        firewalld.Firewalld._call.__kwdefaults__["timeout"] = firewalld._RELOAD_SECONDS = patience
        apply.LOCK_SECONDS = apply.activate.COMING_BACK_SECONDS = patience
if not moment:
    lose_patience()
else:
    when, place, nth = moment
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    real, calls = getattr(owner, name), 0
    def stopping(*positional, **named):
        global calls
        calls += 1
        mine = calls == nth
        if mine and when == "before":
            lose_patience()
            os.kill(os.getpid(), signal.SIGSTOP)
        result = real(*positional, **named)
        if mine and when == "after":
            lose_patience()
            os.kill(os.getpid(), signal.SIGSTOP)
        return result
    setattr(owner, name, stopping)
sys.exit(main(arguments))
"""


class Moment(NamedTuple):
    """A moment in the life of a command: before or after the nth call of a function."""

    when: str
    place: str
    nth: int = 1


JOURNAL = Moment("before", "fwfeed.apply.transaction:install")
"""The undo is on disk, and no file has moved."""
FILES = Moment("before", "fwfeed.apply.transaction:_activate")
"""The files have moved; firewalld knows nothing of them."""
ENTRY = Moment("after", "fwfeed.firewalld:Firewalld.add_entry")
"""The first entry is in, and more are to come."""
RELOAD = Moment("before", "fwfeed.firewalld:Firewalld.reload")
RELOADED = Moment("after", "fwfeed.firewalld:Firewalld.reload")
PROOF = Moment("before", "fwfeed.apply.transaction:verify")
COMMIT = Moment("before", "fwfeed.store.generations:Generations.close")
"""All is proved, and the manifest does not say so yet."""


@dataclass
class Stopped:
    """A command that was stopped at a moment; made by `stopped`."""

    process: subprocess.Popen[str]
    code: int = 0
    stdout: str = ""
    stderr: str = field(default="")

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def end(self, seconds: float = 120) -> None:
        """Let it go on to its end."""
        self.go_on()
        self.stdout, self.stderr = self.process.communicate(timeout=seconds)
        self.code = self.process.returncode


def command(lab: World, *arguments: str, moment: Moment | None = None, patience: float = 0) -> list[str]:
    """Return the command line of fwfeed on the host; with `patience`, firewalld has that many seconds to answer."""
    given = json.dumps([moment, patience, [f"--config={lab.folder}/fwfeed.toml", *arguments]])
    return ["ip", "netns", "exec", lab.namespace("host"), "at-home", sys.executable, "-P", "-c", _PROGRAM, given]


def impatient(lab: World, *arguments: str, patience: float = 1) -> subprocess.CompletedProcess[str]:
    """Run a command that does not wait for long where firewalld does not answer."""
    return subprocess.run(
        command(lab, *arguments, patience=patience),
        env=lab.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def stopped(lab: World, moment: Moment, *arguments: str, patience: float = 0) -> Iterator[Stopped]:
    """Start a command and stop it at a moment; after the block it goes on to its end, if it was not let go before."""
    process = subprocess.Popen(
        command(lab, *arguments, moment=moment, patience=patience),
        env=lab.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    held = Stopped(process)
    try:

        def is_stopped() -> bool:
            assert process.poll() is None, process.communicate()
            return state(process.pid) == "T"

        wait_until(is_stopped, f"fwfeed {' '.join(arguments)} to come to {moment}")
        yield held
        if process.poll() is None:
            held.end()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def state(pid: int) -> str:
    """Return the state of a process as proc(5) has it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
