"""What the commands do that change the firewall, and those that go back, and how their results are shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fwfeed.cli.commands import TOLD, refresh, sizes_text, without_root
from fwfeed.cli.session import Session, complain, print_json, print_lines, say_why
from fwfeed.errors import ExitCode, FwfeedError
from fwfeed.times import local_text, utc_text

if TYPE_CHECKING:
    from fwfeed.apply import Applied, Operator

_GOES_ON = frozenset({ExitCode.FAILED, ExitCode.REFUSED})  # as when a disk is full, or every file is bad
_NOTHING_NEW = "sources: nothing new"
_ITSELF = (sys.executable, "-P", "-m", "fwfeed")


def update(session: Session) -> int:
    """Refresh, then apply what is accepted, even where something new is held, or nothing new could be had."""
    from fwfeed.apply import apply, require_root

    require_root()  # before the candidate is replaced, not after
    before = _stamp(session)
    try:
        code = without_root(session, lambda: refresh(session, show=False))
    except FwfeedError as error:  # as where user fwfeed cannot reach a folder; what is installed is still looked after
        complain(error)
        code = int(error.code)
    without_news = code not in {ExitCode.DONE, TOLD}
    if without_news and not (code in _GOES_ON and _has_candidate(session)):  # why, was said
        return code
    applied = apply(session.config, _operator(session), unattended=True)
    done = "applied generation {}"
    if code == ExitCode.DONE and _stamp(session) == before:
        if session.json or applied.held_back or applied.generation is None:
            session.note(_NOTHING_NEW)
        else:
            done = f"{_NOTHING_NEW}; generation {{}} applied"
    _show(session, applied, done)
    if without_news:
        return code
    return ExitCode.REFUSED if code == TOLD or applied.held_back else ExitCode.DONE


def _stamp(session: Session) -> tuple[int, int] | None:
    """Return by what to know whether another candidate took the place of this one; None where there is none."""
    from fwfeed.store import candidates

    try:
        status = candidates.path(Path(session.config.paths.state)).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _has_candidate(session: Session) -> bool:
    from fwfeed.compile import recipe
    from fwfeed.store import candidates

    try:
        candidate = candidates.find(Path(session.config.paths.state))
        return candidate is not None and candidate.recipe == recipe(session.config)
    except FwfeedError:
        return False


def apply(session: Session) -> int:
    """Install the candidate."""
    from fwfeed.apply import apply

    applied = apply(session.config, _operator(session), unattended=session.arguments.unattended)
    _show(session, applied, "applied generation {}")
    return ExitCode.REFUSED if applied.held_back else ExitCode.DONE


def rollback(session: Session) -> int:
    """Go back to an older generation."""
    from fwfeed.apply import go_back_unconfirmed, rollback

    if session.arguments.unconfirmed is not None:
        go_back_unconfirmed(session.config, session.arguments.unconfirmed, tell=session.note)
        return ExitCode.DONE
    applied = rollback(session.config, _operator(session), session.arguments.generation)
    _show(session, applied, "went back: generation {}")
    if applied.generation is not None or applied.undone is not None:
        session.note("fwfeed update leaves it so; fwfeed apply installs the candidate again")
    return ExitCode.DONE


def uninstall(session: Session) -> int:
    """Take everything out."""
    from fwfeed.apply import uninstall

    applied = uninstall(session.config, _operator(session))
    if session.json:
        _show(session, applied, "uninstalled")
        return ExitCode.DONE
    if applied.generation is None:
        print_lines(["nothing of fwfeed's is installed"])
        return ExitCode.DONE
    for warning in applied.warnings:
        session.note(f"warning: {warning}")
    root = session.config.paths.firewalld
    print_lines([f"nothing of fwfeed's is below {root} or in the kernel any more"])
    return ExitCode.DONE


def confirm(session: Session) -> int:
    """Keep what waits to be confirmed."""
    from fwfeed.apply import confirm

    generation = confirm(session.config, tell=session.tell)
    if session.json:
        print_json({"generation": generation.number})
    else:
        print_lines([f"generation {generation.number} stays"])
    return ExitCode.DONE


def recover(session: Session) -> int:
    """End what a crash cut off, or nobody confirmed in time."""
    from fwfeed.apply import recover_now

    recover_now(session.config, tell=session.note)
    if session.broken is not None:
        raise session.broken
    return ExitCode.DONE


def daemon(session: Session) -> int:
    """Update at the start and every night."""
    from fwfeed.apply import require_root
    from fwfeed.daemon import serve

    require_root()
    given = session.arguments
    options = [] if given.config is None else ["--config", str(given.config)]
    options += [option for option in ("--json", "--verbose", "--quiet") if getattr(given, option.removeprefix("--"))]
    command = (*_ITSELF, *options, "update", "--unattended")
    serve(session.config, session.read_config, command, tell=session.note, complain=complain)
    return ExitCode.DONE


def history(session: Session) -> int:
    """List the generations."""
    from fwfeed import query
    from fwfeed.report import standing

    listed, current = query.history(session.config)
    if session.json:
        print_json(standing.history_json(listed, current))
    else:
        print_lines(standing.history_lines(listed, current, session.zone))
    return ExitCode.DONE


def _operator(session: Session) -> Operator:
    from fwfeed.apply import Operator
    from fwfeed.sessions import ssh_session

    attended = not getattr(session.arguments, "unattended", False)
    return Operator(
        now=session.now,
        zone=session.zone,
        attended=attended,
        ssh=ssh_session() if attended else None,
        allow_lockout=session.arguments.allow_lockout,
        confirm=getattr(session.arguments, "confirm_within", None),
        itself=_ITSELF,
        tell=session.tell,
    )


def _show(session: Session, applied: Applied, done: str) -> None:
    for warning in applied.warnings:
        session.note(f"warning: {warning}")
    if applied.held_back:
        say_why([f"held back: {applied.held_back}; fwfeed apply goes on again"], "")
    generation, waits = applied.generation, applied.waits
    if session.json:
        print_json(
            {
                "generation": generation and generation.number,
                "seconds": round(applied.seconds, 3),
                "reload": applied.reloaded or None,
                "waits_until": waits and utc_text(waits.until),
                "held_back": applied.held_back or None,
                "undone": applied.undone,
                "warnings": list(applied.warnings),
            }
        )
        return
    if applied.undone is not None:
        back = "nothing of fwfeed's is installed any more"
        if generation is not None:
            back = f"generation {generation.number} is in force again"
        print_lines([f"generation {applied.undone}, which waited to be confirmed, is undone: {back}"])
        return
    if generation is None:
        print_lines(
            [f"nothing to do: {'what is live stays' if applied.held_back else 'the kernel holds what it should'}"]
        )
        return
    sets = sizes_text(session, generation.prefixes)
    how = "by a reload" if applied.reloaded else "without a reload"
    print_lines(
        [f"{done.format(generation.number)} in {applied.seconds:.1f} s {how}; read back from the kernel: {sets}"]
    )
    if waits is not None:
        until = local_text(waits.until, session.zone)
        print_lines([f"IT WILL BE UNDONE at {until}, unless you can still say: fwfeed confirm"])
