"""What monitoring asks: metrics for Prometheus, and a probe for Nagios. Both answer in every state."""

from __future__ import annotations

import argparse
import io
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

from fwfeed import __version__
from fwfeed.cli.session import Session, guarded, print_json, write
from fwfeed.errors import ExitCode, FwfeedError

if TYPE_CHECKING:
    from fwfeed.report.monitoring import Metric
    from fwfeed.report.probe import Level

_SECONDS = 10.0
_PROBES = ("warning", "critical", "timeout")


def metrics(session: Session) -> int:
    """Print or write where things stand, as metrics."""
    from fwfeed import query
    from fwfeed.report import monitoring

    now = session.now
    status = query.status(session.config, now=now)
    _put(session.arguments, monitoring.metrics(status, session.config, __version__, now))
    return ExitCode.DONE


def metrics_always(arguments: argparse.Namespace) -> int:
    """Run `metrics`; where it fails, say fwfeed_up 0 in its place, so that nobody goes on reading what was."""

    def run() -> int:
        from fwfeed.report import monitoring

        try:
            session = Session(arguments)
            session.recover()
            return int(arguments.run(session))
        except Exception:
            _put(arguments, monitoring.down(__version__))
            raise

    return guarded(run)


def _put(arguments: argparse.Namespace, found: list[Metric]) -> None:
    from fwfeed.report import monitoring

    output: Path | None = arguments.output
    if output is not None:
        from fwfeed.store import files

        files.replace(output, monitoring.exposition(found).encode())
    elif arguments.json:
        print_json(monitoring.metrics_json(found))
    else:
        write(monitoring.exposition(found))


def probe(arguments: argparse.Namespace) -> int:
    """Answer as a plugin does, whatever happens: one line on stdout, nothing on stderr, an exit code of its own.

    Unlike every other command it does not repair first: it may run without root and be ended after some seconds, and
    whoever asks how things stand must not be what changes them.
    """
    from fwfeed.report.probe import Level

    level, text = _answer(arguments)
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError:
        return Level.UNKNOWN
    return level


def _answer(arguments: argparse.Namespace) -> tuple[Level, str]:
    from fwfeed.signals import interruptible

    answers: list[tuple[Level, str]] = []
    # in a thread: a call over D-Bus that hangs cannot be interrupted otherwise
    asking = threading.Thread(target=lambda: answers.append(_judged(arguments)), daemon=True)
    seconds = _SECONDS if arguments.timeout is None else arguments.timeout.total_seconds()
    try:
        with interruptible():
            asking.start()
            asking.join(seconds)
    except KeyboardInterrupt as error:
        return _unknown(f"interrupted by {error}")
    return answers[0] if answers else _unknown(f"no answer from firewalld or the kernel within {seconds:g} s")


def _judged(arguments: argparse.Namespace) -> tuple[Level, str]:
    from fwfeed import query
    from fwfeed.report.probe import Limits, probe

    try:
        session = Session(arguments)
        limits = Limits(arguments.warning, arguments.critical)
        status = query.status(session.config, now=session.now)
        return probe(status, session.config, limits, session.now, session.zone, root=os.geteuid() == 0)
    except FwfeedError as error:
        return _unknown(f"{error.message}; way out: {error.way_out}" if error.way_out else error.message)
    except Exception as error:  # noqa: BLE001 - an exit code of Python's would be taken for a warning
        return _unknown(f"fwfeed failed: {type(error).__name__}: {error}")


def _unknown(text: str) -> tuple[Level, str]:
    from fwfeed.report.probe import Finding, Level, line

    return line([Finding(Level.UNKNOWN, text)])


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, defaults: argparse.Namespace
) -> argparse.Namespace:
    """Parse the arguments; an error of usage ends a probe as a plugin ends."""
    given = sys.argv[1:] if argv is None else argv
    as_plugin = any(each.partition("=")[0] == "--nagios" for each in given)
    said = io.StringIO()
    try:
        if not as_plugin:
            return _checked(parser, parser.parse_args(given, defaults))
        with redirect_stderr(said):
            return _checked(parser, parser.parse_args(given, defaults))
    except SystemExit as ended:
        if not as_plugin or not ended.code:  # --help
            raise
        level, text = _unknown(said.getvalue().rpartition("error: ")[2])
        write(f"{text}\n")
        raise SystemExit(int(level)) from None


def _checked(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> argparse.Namespace:
    if arguments.whole is not probe and any(getattr(arguments, name, None) is not None for name in _PROBES):
        parser.error("--warning, --critical and --timeout go with --nagios")
    return arguments
