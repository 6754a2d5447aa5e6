"""The `fwfeed` command: arguments in, results on stdout, progress and errors on stderr, an exit code out.

What each command needs is imported when it runs, so that `--help` and `render` stay quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fwfeed import __version__
from fwfeed.errors import ConfigError, ExitCode, FwfeedError

if TYPE_CHECKING:
    from datetime import datetime

    from fwfeed.apply import Plan
    from fwfeed.config import Config

DEFAULT_CONFIG = Path("/etc/fwfeed/fwfeed.toml")

_EXIT_CODES = """\
exit codes:
  0  done, or nothing to do      4  apply failed and was rolled back
  1  failed                      5  refused: it would lock you out
  2  usage or configuration      6  apply failed, and so did the roll-back
  3  feed refused, or held by a gate
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from fwfeed.signals import interruptible

    if sys.stdout is None or sys.stderr is None:  # started with them closed; what is opened next must not become them
        sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115, PTH123 - for as long as the process lives
    # not by set_defaults: a command's own parser would put the defaults over what stood before the command
    defaults = argparse.Namespace(config=None, json=False, verbose=False, quiet=False)
    arguments = _parser().parse_args(argv, defaults)
    run: Callable[[_Session], int] = arguments.run
    try:
        with interruptible():
            code = run(_Session(arguments))
            _write()  # here and not at exit, where nobody could say what went wrong
    except FwfeedError as error:
        for line in error.message.splitlines():
            _say(f"fwfeed: {line}")
        if error.way_out:
            _say(f"fwfeed: way out: {error.way_out}")
        code = error.code
    except BrokenPipeError:
        code = ExitCode.DONE  # whoever was reading the result has seen enough
    except KeyboardInterrupt as error:
        _say(f"fwfeed: interrupted{f' by {error}' if str(error) else ''}")
        code = ExitCode.FAILED
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # said above, or not worth saying; the interpreter's exit must not try again and change the exit code
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code


class _Session:
    """What every command shares: its arguments, the configuration, the clock, and where lines go."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.json: bool = arguments.json
        self.config = _load_config(arguments.config)

    @property
    def now(self) -> datetime:
        from datetime import UTC, datetime

        return datetime.now(UTC)

    def tell(self, line: str) -> None:
        """Show progress: on a terminal or with -v, and never with -q."""
        if not self.arguments.quiet and (self.arguments.verbose or sys.stderr.isatty()):
            _say(line)

    def note(self, line: str) -> None:
        """Say on stderr how it ended, unless -q."""
        if not self.arguments.quiet:
            _say(line)


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
        raise ConfigError([f"{file}: {error.strerror}"], "name a file that can be read with --config") from None


def _fetch(session: _Session) -> int:
    from fwfeed import report
    from fwfeed.refresh import refresh

    refreshed = refresh(session.config, now=session.now, tell=session.tell)
    if session.json:
        _print_json(report.candidate_json(refreshed.candidate))
    else:
        _print(report.candidate_lines(refreshed.candidate, session.config))
    if refreshed.candidate is refreshed.previous:
        session.note("no registry's file has changed")
    return ExitCode.DONE


def _render(session: _Session) -> int:
    from fwfeed.apply import plan

    output: Path | None = session.arguments.output
    root = Path(session.config.paths.firewalld)
    if output is not None and output.resolve() == root.resolve():
        raise ConfigError([f"--output {output}: that is where firewalld looks"], "run: fwfeed apply")
    planned = plan(session.config, output)
    _print_plan(session, planned, output or root)
    if output is None or session.arguments.dry_run:
        session.note(f"{_files(len(planned.changes))} would change; nothing was written")
        return ExitCode.DONE
    if planned.clashes:
        problems = [f"{output / path}: is there already, and differs" for path in planned.clashes]
        raise FwfeedError("\n".join(problems), "name an empty folder")
    from fwfeed.apply.activate import swap

    swap(output, planned.changes)
    session.note(f"{_files(len(planned.changes))} written below {output}")
    return ExitCode.DONE


def _print_plan(session: _Session, planned: Plan, root: Path) -> None:
    from fwfeed import report

    if session.json:
        changes = {
            path: "remove" if new is None else "new" if planned.installed[path] is None else "change"
            for path, new in planned.changes.items()
        }
        held = [{"gate": verdict.gate, "reason": verdict.reason} for verdict in planned.verdicts]
        _print_json({"candidate": report.candidate_json(planned.candidate), "changes": changes, "held": held})
        return
    _print(report.candidate_lines(planned.candidate, session.config))
    _print(report.policy_lines(session.config))
    zone = planned.default_zone
    if not planned.readable:
        _print([f"{root} cannot be read without root: every file is shown as new"])
    elif zone.changes:
        _print([f"default zone: {zone.configured} -> {zone.wanted}"])
    _print(report.verdict_lines(planned.verdicts))
    _print(f"IN THE WAY: {root / path} was not written by fwfeed; apply will refuse" for path in planned.clashes)
    _print([f"files below {root}:{'' if planned.changes else ' nothing to change'}"])
    _print(report.change_lines(planned.changes, planned.installed))
    _print([""])
    _print(report.diff_lines(planned.changes, planned.installed))


def _apply(session: _Session) -> int:
    from fwfeed.apply import apply
    from fwfeed.sessions import ssh_session

    applied = apply(session.config, now=session.now, ssh=ssh_session(), tell=session.tell)
    for warning in applied.warnings:
        session.note(f"warning: {warning}")
    generation = applied.generation
    if session.json:
        seconds = round(applied.seconds, 3)
        number = generation and generation.number
        _print_json({"generation": number, "seconds": seconds, "warnings": list(applied.warnings)})
    elif generation is None:
        _print(["nothing to do: the kernel holds what it should"])
    else:
        sets = ", ".join(f"{nft_set.name} {len(nft_set.ranges):,} prefixes" for nft_set in applied.plan.rendered.sets)
        done = f"applied generation {generation.number} in {applied.seconds:.1f} s"
        _print([f"{done}; read back from the kernel: {sets}"])
    return ExitCode.DONE


def _update(session: _Session) -> int:
    from fwfeed.apply import require_root
    from fwfeed.refresh import refresh

    require_root()  # before the candidate is replaced, not after
    refresh(session.config, now=session.now, tell=session.tell)
    return _apply(session)


def _check(session: _Session) -> int:
    from fwfeed.apply import check, plan

    planned = plan(session.config)
    check(session.config, planned)
    if session.json:
        _print_json({"problems": []})
    else:
        sound = f"sound: {_files(len(planned.rendered.files))} rendered and checked"
        _print([f"{sound}, {len(planned.changes)} to change"])
    return ExitCode.DONE


def _list(session: _Session) -> int:
    from fwfeed import query
    from fwfeed.prefixes import Family

    wanted = session.arguments.family
    prefixes = query.prefixes(session.config, None if wanted is None else Family(wanted))
    if session.json:
        _print_json(prefixes)
    else:
        _print(prefixes)
    return ExitCode.DONE


def _lookup(session: _Session) -> int:
    from fwfeed import query, report

    found = query.lookup(session.config, session.arguments.address)
    if session.json:
        _print_json([report.lookup_json(each) for each in found])
    else:
        for each in found:
            _print(report.lookup_lines(each))
    return ExitCode.DONE


def _status(session: _Session) -> int:
    from fwfeed import query, report

    status = query.status(session.config)
    if session.json:
        _print_json(report.status_json(status))
    else:
        _print(report.status_lines(status, session.config, session.now))
    return ExitCode.DONE


def _say(line: str) -> None:
    """Write a line to stderr. That it cannot be written must not stop what is being done, least of all a rollback."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        _write(f"{line}\n")


def _print_json(value: Any) -> None:
    import json

    _write(json.dumps(value, indent=2) + "\n")


def _write(text: str = "") -> None:
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


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--config", type=Path, metavar="FILE", help=f"configuration (default: {DEFAULT_CONFIG})")
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    loudness = common.add_mutually_exclusive_group()
    loudness.add_argument("-v", "--verbose", action="store_true", help="show progress even where there is no terminal")
    loudness.add_argument("-q", "--quiet", action="store_true", help="no progress and no closing remark")

    parser = argparse.ArgumentParser(
        prog="fwfeed",
        description="Keep a country's address set current inside firewalld, and prove that the kernel holds it.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"fwfeed {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[_Session], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common])
        added.set_defaults(run=run)
        return added

    command("update", _update, "fetch, then apply (root)")
    command("fetch", _fetch, "fetch and verify the registries' files, and compile them into the candidate")
    rendering = command("render", _render, "show what the candidate would change below /etc/firewalld")
    rendering.add_argument("--dry-run", action="store_true", help="write nothing (the default without --output)")
    rendering.add_argument("--output", type=Path, metavar="DIR", help="write the files below this folder instead")
    command("apply", _apply, "install the candidate, and prove that the kernel holds it (root)")
    command("status", _status, "show the candidate, what is installed, and whether the kernel agrees")
    command("check", _check, "check what would be installed, by fwfeed's rules and firewalld's (root)")
    listing = command("list", _list, "print the candidate's set, one prefix a line")
    listing.add_argument("--family", type=int, choices=(4, 6), help="only IPv4 or only IPv6")
    looking = command("lookup", _lookup, "say whose an address is, and whether set and kernel hold it")
    looking.add_argument("address", nargs="+", metavar="ADDRESS")
    return parser
