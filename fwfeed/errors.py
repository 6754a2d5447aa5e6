"""The errors fwfeed raises on purpose, and the one mapping from errors to exit codes.

Everything that can go wrong in a way a user can understand is a FwfeedError: its text names the place
(file, line, key) and its `way_out` says what to do. Anything else that surfaces is a bug.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the `fwfeed` command tells its caller; the numbers are a public interface."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    ROLLED_BACK = 4
    LOCKOUT = 5
    ROLLBACK_FAILED = 6

    @property
    def meaning(self) -> str:
        """What it says, in a few words."""
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done, or nothing to do",
    ExitCode.FAILED: "failed",
    ExitCode.USAGE: "usage or configuration",
    ExitCode.REFUSED: "feed refused, or held by a gate",
    ExitCode.ROLLED_BACK: "apply failed and was rolled back",
    ExitCode.LOCKOUT: "refused: it would lock you out",
    ExitCode.ROLLBACK_FAILED: "apply failed, and so did the roll-back",
}


class FwfeedError(Exception):
    """A failure with a place and a way out."""

    code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str, way_out: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.way_out = way_out


class ConfigError(FwfeedError):
    """The configuration is wrong; `problems` has every error found, not just the first."""

    code = ExitCode.USAGE

    def __init__(self, problems: list[str], way_out: str = "") -> None:
        super().__init__("\n".join(problems), way_out)
        self.problems = tuple(problems)


class TemplateFault(FwfeedError):
    """A template cannot be rendered."""

    code = ExitCode.USAGE


class FeedRefused(FwfeedError):
    """A feed could not be fetched or did not keep its format's promises; nothing of it was used."""

    code = ExitCode.REFUSED


class ParseError(FeedRefused):
    """A file breaks its format. `line` counts from 1; 0 stands for the file as a whole. `text` is without the place."""

    def __init__(self, file: str, line: int, message: str, way_out: str = "") -> None:
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place}: {message}", way_out)
        self.file = file
        self.line = line
        self.text = message


class Held(FwfeedError):
    """A gate holds the candidate back; what is live stays live."""

    code = ExitCode.REFUSED


class CheckFailed(FwfeedError):
    """What would be installed is not sound; `problems` has all of them."""

    def __init__(self, problems: list[str], way_out: str = "") -> None:
        super().__init__("\n".join(problems), way_out)
        self.problems = tuple(problems)


class Busy(FwfeedError):
    """Somebody else holds a lock, and did not let go of it in time."""


class NotRunning(FwfeedError):
    """firewalld does not run; when it starts, it reads its files."""


class NotAnswering(FwfeedError):
    """firewalld runs, but did not answer in time; it may yet do what it was asked to."""


class RolledBack(FwfeedError):
    """An apply failed; the files and the runtime are what they were before it."""

    code = ExitCode.ROLLED_BACK


class LockoutRefused(FwfeedError):
    """An apply would have cut the operator's own session; nothing was changed."""

    code = ExitCode.LOCKOUT


class RollbackFailed(FwfeedError):
    """An apply failed, and so did putting things back; the text says what is in which state."""

    code = ExitCode.ROLLBACK_FAILED


def printable(text: str) -> str:
    """Return what of a line is fit for a terminal and a log: a server can have a word in a message."""
    if text.isprintable():  # nearly every one is, and it is asked of every flow
        return text
    return "".join(character if character.isprintable() else "?" for character in text)


def quote(text: str) -> str:
    """Quote a piece of a hostile file for a message: escaped, and cut to a readable length."""
    return ascii(text if len(text) <= 60 else text[:60] + "...")
