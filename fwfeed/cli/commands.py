"""What each command does with the use cases, and how its result is shown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fwfeed.cli.session import Session, guarded, print_json, print_lines, say_why
from fwfeed.errors import ConfigError, ExitCode, FwfeedError

if TYPE_CHECKING:
    from fwfeed.apply import Plan
    from fwfeed.prefixes import Family


# How the half without root ends when it went on, but has something to tell: for `update`, never an exit code.
TOLD = 64


def fetch(session: Session) -> int:
    """Refresh the candidate, as user fwfeed where root asks and there is one."""
    code = without_root(session, lambda: refresh(session, show=True))
    return ExitCode.REFUSED if code == TOLD else code


def without_root(session: Session, run: Callable[[], int]) -> int:
    """Run what needs no root as user fwfeed, where root asks and there is one; return its exit code."""
    from fwfeed.privileges import without_root as run_without_root
    from fwfeed.store import cache, candidates

    paths = session.config.paths
    folders = {Path(paths.cache): cache.OURS, candidates.folder(Path(paths.state)): candidates.OURS}
    return run_without_root(lambda: guarded(run), folders)


def refresh(session: Session, *, show: bool) -> int:
    """Refresh the candidate; end with TOLD where it went on, but has said what did not."""
    from fwfeed import report
    from fwfeed.prefixes import Family
    from fwfeed.refresh import refresh as make_candidate

    refreshed = make_candidate(session.config, now=session.now, tell=session.tell, seen=session.seen)
    session.clear()
    _warn_of_name(session)
    candidate = refreshed.candidate
    if show and session.json:
        ended = refreshed.held, refreshed.verdicts, refreshed.stale, refreshed.warnings
        print_json(report.refreshed_json(candidate, *ended))
    elif show and candidate is not None:
        print_lines(report.candidate_lines(candidate, session.config, session.zone))
    for remark in refreshed.remarks:
        session.note(f"remark: {remark}")
    for warning in refreshed.warnings:
        session.note(f"warning: {warning}")
    if refreshed.stale:
        say_why(refreshed.stale, "")
    if refreshed.verdicts:
        reasons = [f"held by gate {verdict.gate}: {verdict.reason}" for verdict in refreshed.verdicts]
        say_why(reasons, "what is live stays; see the change: fwfeed diff; if it is right: fwfeed approve")
    if candidate is None:
        return ExitCode.REFUSED
    if not refreshed.changed and not refreshed.verdicts and show:
        session.note("nothing changed")
    elif refreshed.changed and not show:
        sizes = {family: len(candidate.prefixes(family)) for family in Family}
        session.note(f"new candidate: {sizes_text(session, sizes)}")
    return TOLD if refreshed.stale or refreshed.verdicts else ExitCode.DONE


def diff(session: Session) -> int:
    """Show how what is held, or not yet applied, differs."""
    from fwfeed import report
    from fwfeed.review import review

    reviewed = review(session.config)
    _warn_where_outdated(session)
    if session.json:
        print_json(report.review_json(reviewed))
    else:
        print_lines(report.review_lines(reviewed, session.config, session.zone))
        print_lines(report.verdict_lines(reviewed.verdicts))
        print_lines(report.set_change_lines(reviewed.set_changes, reviewed.redefined))
    return ExitCode.DONE


def approve(session: Session) -> int:
    """Let what is held through."""
    from fwfeed.review import approve as let_through
    from fwfeed.review import promote

    overruled = let_through(session.config, now=session.now)

    def take() -> int:
        promote(session.config, tell=session.tell)
        return ExitCode.DONE

    code = ExitCode.DONE if overruled is None else without_root(session, take)
    if session.json:
        print_json({"approved": [{"gate": verdict.gate, "reason": verdict.reason} for verdict in overruled or ()]})
    elif overruled is None:
        print_lines(["nothing is held"])
    elif code == ExitCode.DONE:
        print_lines(f"approved: {verdict.reason}" for verdict in overruled)
        print_lines(["the next apply takes it; now: fwfeed apply"])
    return code


def render(session: Session) -> int:
    """Show or write what would be installed."""
    from fwfeed.apply import plan

    output: Path | None = session.arguments.output
    root = Path(session.config.paths.firewalld)
    if output is not None and output.resolve() == root.resolve():
        raise ConfigError([f"--output {output}: that is where firewalld looks"], "run: fwfeed apply")
    planned = plan(session.config, output)
    _warn_of_name(session)
    _print_plan(session, planned, output or root)
    if output is None or session.arguments.dry_run:
        session.note(f"{_files(len(planned.target.changes))} would change; nothing was written")
        return ExitCode.DONE
    if planned.target.clashes:
        problems = [f"{output / path}: is there already, and differs" for path in planned.target.clashes]
        raise FwfeedError("\n".join(problems), "name an empty folder")
    from fwfeed.apply.activate import swap

    swap(output, planned.target.changes)
    session.note(f"{_files(len(planned.target.changes))} written below {output}")
    return ExitCode.DONE


def _print_plan(session: Session, planned: Plan, root: Path) -> None:
    from fwfeed import report

    compared = planned.comparison
    if session.json:
        changes = {
            path: "remove" if new is None else "new" if planned.target.installed[path] is None else "change"
            for path, new in planned.target.changes.items()
        }
        held = [{"gate": verdict.gate, "reason": verdict.reason} for verdict in compared.verdicts]
        print_json(
            {
                "candidate": report.candidate_json(planned.candidate),
                "set_changes": compared.changes or None,
                "changes": changes,
                "held": held,
                "held_unattended": [{"gate": each.gate, "reason": each.reason} for each in compared.redefined],
            }
        )
        return
    target = planned.target
    zone = target.default_zone
    print_lines(report.diff_lines(target.changes, target.installed, full=_is_full(session)))
    if target.changes:
        print_lines([""])
    print_lines(report.candidate_lines(planned.candidate, session.config, session.zone))
    print_lines(report.policy_lines(session.config))
    if not target.readable:
        print_lines([f"{root} cannot be read without root: every file is shown as new"])
    elif zone.changes:
        print_lines([f"default zone: {zone.configured} -> {zone.wanted}"])
    print_lines(report.verdict_lines(compared.verdicts))
    print_lines(report.set_change_lines(compared.changes, compared.redefined))
    print_lines(f"IN THE WAY: {root / path} was not written by fwfeed; apply will refuse" for path in target.clashes)
    print_lines([f"files below {root}:{'' if target.changes else ' nothing to change'}"])
    print_lines(report.change_lines(target.changes, target.installed))


def _is_full(session: Session) -> bool:
    """Return whether to print every line of a difference: as asked, or else unless a person reads it on a terminal."""
    full: bool | None = session.arguments.full
    return not sys.stdout.isatty() if full is None else full


def check(session: Session) -> int:
    """Check what would be installed."""
    from fwfeed import report
    from fwfeed.apply import check, outlook, plan
    from fwfeed.sessions import ssh_session

    planned = plan(session.config)
    check(planned)
    try:
        warnings = outlook(session.config, planned.target, ssh_session())
    except FwfeedError as error:
        warnings = [f"not looked at is what only a running firewalld tells (interfaces, sessions): {error.message}"]
    warnings = [*report.set_change_lines(planned.comparison.changes, planned.comparison.redefined), *warnings]
    _warn_of_name(session)
    for warning in warnings:
        session.note(f"warning: {warning}")
    if session.json:
        print_json({"problems": [], "warnings": warnings})
    else:
        sound = f"sound: {_files(len(planned.target.rendered.files))} rendered and checked"
        print_lines([f"{sound}, {len(planned.target.changes)} to change"])
    return ExitCode.DONE


def _warn_of_name(session: Session) -> None:
    if warning := session.config.set.warning:
        session.note(f"warning: {warning}")


def _warn_where_outdated(session: Session) -> None:
    """Say where the candidate was compiled for other settings, so that nobody takes it for what they ask for."""
    from fwfeed import query

    if differing := query.outdated(session.config):
        session.note(f"warning: the candidate was compiled for other settings than there are now: {differing}")
        session.note("way out: run: fwfeed fetch")


def list_set(session: Session) -> int:
    """Print the set."""
    from fwfeed import query
    from fwfeed.prefixes import Family

    wanted = session.arguments.family
    prefixes = query.prefixes(session.config, None if wanted is None else Family(wanted))
    if session.json:
        print_json(prefixes)
    else:
        print_lines(prefixes)
    _warn_where_outdated(session)
    return ExitCode.DONE


def lookup(session: Session) -> int:
    """Say what is known of addresses."""
    from fwfeed import query, report

    asked: list[str] = session.arguments.address
    traces = []
    if session.arguments.why:
        from fwfeed.provenance import trace

        traces = trace(session.config, asked)
        asked = [text for text in asked if "/" not in text]
    found = query.lookup(session.config, asked)
    if session.json and traces:
        print_json(
            {"addresses": [report.lookup_json(each) for each in found], "why": list(map(report.trace_json, traces))}
        )
    elif session.json:
        print_json([report.lookup_json(each) for each in found])
    else:
        print_lines(line for each in found for line in report.lookup_lines(each))
        print_lines(line for each in traces for line in report.trace_lines(each))
    _warn_where_outdated(session)
    return ExitCode.DONE


def status(session: Session) -> int:
    """Say where things stand."""
    from fwfeed import query
    from fwfeed.report import standing

    now, root = session.now, os.geteuid() == 0
    status = query.status(session.config, now=now)
    if session.json:
        print_json(standing.status_json(status, session.config, now, root=root))
    else:
        verbose = session.arguments.verbose
        print_lines(standing.status_lines(status, session.config, now, session.zone, root=root, verbose=verbose))
    return ExitCode.DONE


def sizes_text(session: Session, prefixes: Mapping[Family, int]) -> str:
    """Return how many prefixes each set has."""
    ipset = session.config.set.ipset
    return ", ".join(f"{ipset(family)} {number:,} prefixes" for family, number in prefixes.items())


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"
