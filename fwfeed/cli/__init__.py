"""The `fwfeed` command: arguments in, results on stdout, progress and errors on stderr, an exit code out.

What each command needs is imported when it runs, so that `--help` and `render` stay quick. `commands` has what they do.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path

from fwfeed import __version__
from fwfeed.cli import changes, monitoring, observing, reporting
from fwfeed.cli import commands as do
from fwfeed.cli.session import DEFAULT_CONFIG, Session, guarded
from fwfeed.cli.usage import Parser
from fwfeed.errors import ConfigError, ExitCode


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    if sys.stdout is None or sys.stderr is None:  # started with them closed; what is opened next must not become them
        sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115, PTH123 - for as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file may have a name that the locale cannot write
            stream.reconfigure(errors="backslashreplace")
    # not by set_defaults: a command's own parser would put the defaults over what stood before the command
    defaults = argparse.Namespace(config=None, json=False, verbose=False, quiet=False, whole=_whole)
    arguments = monitoring.parse(parser(), argv, defaults)
    code = arguments.whole(arguments)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # said above, or not worth saying; the interpreter's exit must not try again and change the exit code
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return int(code)


def _whole(arguments: argparse.Namespace) -> int:
    return guarded(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    try:
        session = Session(arguments)
    except ConfigError:
        # what a timer runs has its configuration in the journal: confirmed or undone in the meantime, both are gone
        if getattr(arguments, "unconfirmed", None) is None or os.path.lexists(arguments.config or DEFAULT_CONFIG):
            raise
        return ExitCode.DONE
    # watch runs for days, may begin in mid-apply, and has no business with the firewall
    if arguments.run not in (changes.recover, observing.watch):
        session.recover()
    return int(arguments.run(session))


def _duration(text: str) -> timedelta:
    from fwfeed.config.texts import duration

    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _age(text: str) -> timedelta:
    from fwfeed.config.texts import age

    try:
        return age(text) or timedelta.max
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _exit_codes() -> str:
    told = [f"  {code.value}  {code.meaning}" for code in ExitCode]
    rows = zip_longest(told[:4], told[4:], fillvalue="")
    return "\n".join(["exit codes:", *(f"{left:<31}{right}".rstrip() for left, right in rows)])


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments; manual page and completion are made of it, too."""
    common = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--config", type=Path, metavar="FILE", help=f"configuration (default: {DEFAULT_CONFIG})")
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    loudness = common.add_mutually_exclusive_group()
    loudness.add_argument("-v", "--verbose", action="store_true", help="show progress even where there is no terminal")
    loudness.add_argument("-q", "--quiet", action="store_true", help="no progress and no closing remark")

    whole = Parser(
        prog="fwfeed",
        description="Keep a country's address set current inside firewalld, and prove that the kernel holds it.",
        epilog=_exit_codes(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    whole.add_argument("--version", action="version", version=f"fwfeed {__version__}")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[Session], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common])
        added.set_defaults(run=run)
        return added

    updating = command("update", changes.update, "fetch, then apply (root)")
    command(
        "fetch", do.fetch, "fetch and verify the files of registries and feeds, and compile them into the candidate"
    )
    command("diff", do.diff, "show what is held, or not yet applied, prefix by prefix")
    command("approve", do.approve, "let through what a gate holds (root)")
    rendering = command("render", do.render, "show what the candidate would change below /etc/firewalld")
    rendering.add_argument("--dry-run", action="store_true", help="write nothing (the default without --output)")
    rendering.add_argument("--output", type=Path, metavar="DIR", help="write the files below this folder instead")
    rendering.add_argument(
        "--full",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="show every line that would change, and not the first ten of each file (default: unless on a terminal)",
    )
    applying = command("apply", changes.apply, "install the candidate, and prove that the kernel holds it (root)")
    for each in (updating, applying):
        each.add_argument(
            "--confirm-within",
            type=_duration,
            metavar="TIME",
            help="undo it unless `fwfeed confirm` comes in time, as in 90s or 2m",
        )
        each.add_argument(
            "--unattended",
            action="store_true",
            help="nobody asks, but a timer: leave what somebody has gone back to as it is, and leave another set out",
        )
    text = "go on where it would cut an SSH session or what this host needs, this once; what it cuts is told"
    command("confirm", changes.confirm, "keep what --confirm-within would undo (root)")
    going_back = command("rollback", changes.rollback, "go back to an older generation (root)")
    going_back.add_argument("generation", nargs="?", type=int, metavar="N", help="its number (default: the last one)")
    going_back.add_argument("--unconfirmed", type=int, help=argparse.SUPPRESS)  # what a timer of apply's runs
    taking_out = command("uninstall", changes.uninstall, "take out all of fwfeed's below /etc/firewalld (root)")
    for each in (updating, applying, going_back, taking_out):
        each.add_argument("--allow-lockout", action="store_true", help=text)
    recovering = command(
        "recover", changes.recover, "end what was cut off or not confirmed in time, as every command first does (root)"
    )
    recovering.set_defaults(whatever_is_configured=True)
    command("daemon", changes.daemon, "update at the start and every night, on a host without systemd (root)")
    command("history", changes.history, "list what was installed, and how it ended")
    command("status", do.status, "say whether all is well and what is in force; -v shows the rest")
    checking = command("check", do.check, "check what would be installed, by fwfeed's rules and firewalld's (root)")
    checking.add_argument(
        "--nagios",
        dest="whole",
        action="store_const",
        const=monitoring.probe,
        default=argparse.SUPPRESS,
        help="check what is installed instead, and answer as a plugin of Nagios, Icinga or NRPE; repairs nothing",
    )
    for name, text in (("warning", "half of its max_age"), ("critical", "a day short of its max_age")):
        checking.add_argument(
            f"--{name}", type=_age, metavar="AGE", help=f'{name} when a source is older, as in 3d, or "off" ({text})'
        )
    checking.add_argument("--timeout", type=_duration, metavar="TIME", help="how long it may take (default: 10s)")
    measuring = command("metrics", monitoring.metrics, "say where things stand in Prometheus' text format (root)")
    measuring.add_argument("--output", type=Path, metavar="FILE", help="put it there, at one stroke, as root")
    measuring.set_defaults(whole=monitoring.metrics_always)
    watching = command("watch", observing.watch, "show foreign connections as they begin, and who sends them (root)")
    watching.add_argument("--record", action="store_true", help="into the ledger, too; with --quiet nowhere else")
    listing = command("list", do.list_set, "print the candidate's set, one prefix a line")
    listing.add_argument("--family", type=int, choices=(4, 6), help="only IPv4 or only IPv6")
    looking = command("lookup", do.lookup, "say whose an address is, and whether set and kernel hold it")
    looking.add_argument("--why", action="store_true", help="say what put it there: feed, file, serial and line")
    looking.add_argument("address", nargs="+", metavar="ADDRESS", help="an address; with --why a prefix, too")
    reporting.arguments(
        command("report", reporting.report, "say what went abroad, where to, and who sent it"),
        command("preview", reporting.preview, 'say what outbound = "reject" would have cut, and what would spare it'),
        _age,
    )
    return whole
