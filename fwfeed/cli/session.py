"""What every command shares: its arguments, the configuration, the clock, and where lines go."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fwfeed.errors import ConfigError, ExitCode, FwfeedError
from fwfeed.zone import HostZone

if TYPE_CHECKING:
    from fwfeed.config import Config

DEFAULT_CONFIG = Path("/etc/fwfeed/fwfeed.toml")


class Session:
    """One run of a command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.json: bool = arguments.json
        self.broken: ConfigError | None = None
        try:
            self.config = self.read_config()
        except ConfigError as error:
            # what undoes a change at boot must not hang on a mistake that somebody has made since
            if arguments.config is not None or not getattr(arguments, "whatever_is_configured", False):
                raise
            from fwfeed.config import Config

            self.broken, self.config = error, Config()
        self._progress = _Progress() if not arguments.quiet and sys.stderr.isatty() else None

    @property
    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    @property
    def zone(self) -> tzinfo:
        """The zone of the times that are shown."""
        return HostZone()

    def read_config(self) -> Config:
        """Read the configuration as it is now. Raises ConfigError."""
        return _load_config(self.arguments.config)

    def recover(self) -> None:
        """Repair what a command left that was cut off, before anything else."""
        journal = Path(self.config.paths.state) / "journal"
        if not os.path.lexists(journal):  # asked here, as it nearly always is so and the answer should cost nothing
            return
        if os.geteuid() != 0:
            self.note("an apply is under way, was cut off, or waits to be confirmed: sudo fwfeed status")
            return
        from fwfeed.apply import recover_first

        recover_first(self.config, self.note)

    def tell(self, line: str) -> None:
        """Show progress: on a terminal or with -v, and never with -q."""
        if not self.arguments.quiet and (self.arguments.verbose or self._progress is not None):
            self.clear()
            say(line)

    def seen(self, name: str, size: int, total: int) -> None:
        """Show how far a file has come, on a terminal."""
        if self._progress is not None:
            self._progress.update(name, size, total)

    def clear(self) -> None:
        """Take away what shows how far files have come."""
        if self._progress is not None:
            self._progress.clear()

    def note(self, line: str) -> None:
        """Say on stderr how it ended, unless -q."""
        self.clear()
        if not self.arguments.quiet:
            with suppress(OSError):  # whoever reads both streams as one reads the remark last; an error comes up again
                sys.stdout.flush()
            say(line)


class _Progress:
    """One line on a terminal, of the files under way."""

    def __init__(self) -> None:
        self._files: dict[str, str] = {}
        self._last = 0.0
        self._shown = False

    def update(self, name: str, size: int, total: int) -> None:
        if size == total:
            self._files.pop(name, None)
        else:
            self._files[name] = f"{name} {size * 100 // total} %" if total else f"{name} {size >> 10:,} KiB"
        if time.monotonic() - self._last > 0.1:
            self._last = time.monotonic()
            self._shown = True
            _write_error("\r\033[K" + "  ".join(sorted(dict(self._files).values()))[:120])

    def clear(self) -> None:
        if self._shown:
            self._shown = False
            _write_error("\r\033[K")


def guarded(run: Callable[[], int]) -> int:
    """Run a command, say what went wrong, and return its exit code."""
    from fwfeed.signals import interruptible

    code = int(ExitCode.DONE)
    try:
        with interruptible():
            code = run()
            write()  # here and not at exit, where nobody could say what went wrong
    except FwfeedError as error:
        complain(error)
        code = error.code
    except BrokenPipeError:
        pass  # whoever was reading the result has seen enough
    except OSError as error:
        if error.filename is None:
            raise
        from fwfeed.access import hint

        reason = error.strerror or type(error).__name__
        complain(FwfeedError(f"{os.fsdecode(error.filename)}: {reason}", hint(error, error.filename)))
        code = ExitCode.FAILED
    except KeyboardInterrupt as error:
        say_why([f"interrupted{f' by {error}' if str(error) else ''}"], "")
        code = ExitCode.FAILED
    return code


def complain(error: FwfeedError) -> None:
    """Say what went wrong, and the way out."""
    say_why(error.message.splitlines(), error.way_out)


def say(line: str) -> None:
    """Write a line to stderr. That it cannot be written must not stop what is being done, least of all a rollback."""
    _write_error(f"{line}\n")


def say_why(reasons: Sequence[str], way_out: str) -> None:
    """Say why something was not done: a line for each reason, and in a journal one for all of them, as an error."""
    lines = [*reasons, *([f"way out: {way_out}"] if way_out else [])]
    if is_journal(sys.stderr):
        say(f"<3>fwfeed: {'; '.join(lines)}")  # the prefix is that of sd-daemon(3)
    else:
        for line in lines:
            say(f"fwfeed: {line}")


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout."""
    for line in lines:
        write(f"{line}\n")


def print_json(value: Any) -> None:
    """Write a value to stdout."""
    import json

    write(json.dumps(value, indent=2) + "\n")


def write(text: str = "") -> None:
    """Write to stdout; without text, what is still in its buffer."""
    try:
        if text:
            sys.stdout.write(text)
        else:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FwfeedError(f"cannot write the result: {error.strerror}", "make room, or send it elsewhere") from None


def is_journal(stream: TextIO) -> bool:
    """Return whether a stream is the journal's: systemd.exec(5), JOURNAL_STREAM."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _write_error(text: str) -> None:
    with suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _load_config(path: Path | None) -> Config:
    from fwfeed import config

    file = DEFAULT_CONFIG if path is None else path
    try:
        return config.parse(file.read_text(encoding="utf-8"), file=str(file))
    except FileNotFoundError:
        if path is None:
            return config.Config()
        raise ConfigError([f"{file}: there is no such file"], "correct --config") from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{file}: not UTF-8: {error.reason}"]) from None
    except OSError as error:
        from fwfeed.access import as_root

        otherwise = f"{as_root()}; or " if isinstance(error, PermissionError) else ""
        way_out = f"{otherwise}name a file that can be read with --config"
        raise ConfigError([f"{file}: {error.strerror}"], way_out) from None
