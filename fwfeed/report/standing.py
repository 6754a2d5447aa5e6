"""Say where things stand, and how they came to stand so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from typing import Any

from fwfeed.config import Config
from fwfeed.model import NOTHING, Generation, Status
from fwfeed.report import candidate_json, candidate_lines, held_json, held_lines, refusal_lines
from fwfeed.times import local_text, utc_text


def status_lines(status: Status, config: Config, now: datetime, zone: tzinfo) -> Iterator[str]:
    """Yield where things stand."""
    yield from _standing_lines(status, config, now, zone)
    for run in status.runs:
        when = f"{_age(run.ended, now)} ago, at {local_text(run.ended, zone)}"
        yield f"{run.unit}: ended {when}, with exit code {run.exit_code}"
    if status.fires is not None:
        yield f"the timer fires next at {local_text(status.fires, zone)}"


def _standing_lines(status: Status, config: Config, now: datetime, zone: tzinfo) -> Iterator[str]:
    if status.candidate is None:
        yield "candidate: none yet; run: fwfeed fetch"
    else:
        yield from candidate_lines(status.candidate, config, zone)
    yield from refusal_lines(status.refusals, zone)
    if status.held is not None:
        yield from held_lines(status.held, status.verdicts, zone)
    generation = status.generation
    if generation is None:
        yield f"installed: nothing{'' if status.held_back else ' yet; run: fwfeed apply'}"
        yield from _held_back(status)
        return
    newer = "; the candidate has another set: run fwfeed apply" if status.pending else ""
    yield f"installed: generation {generation.number}, {_age(generation.created, now)} ago{newer}"
    if status.waits is not None and status.waits > now:
        yield f"  IT WILL BE UNDONE at {local_text(status.waits, zone)}, unless you say: fwfeed confirm"
    elif status.waits is not None:
        yield f"  IT WAS TO BE UNDONE at {local_text(status.waits, zone)}, and is as soon as that can be done"
    yield from _held_back(status)
    if status.problems is None:
        yield f"  not known whether the kernel holds it: {status.unknown}"
    elif not status.problems:
        yield "  proved: files, firewalld and the kernel hold exactly this"
    else:
        yield from (f"  NOT SO: {problem}" for problem in status.problems)
        yield "  way out: fwfeed apply"


def status_json(status: Status) -> dict[str, Any]:
    """Return where things stand for JSON; `proved` is null where it is not known."""
    candidate, generation = status.candidate, status.generation
    installed = generation and {
        "generation": generation.number,
        "waits_until": status.waits and utc_text(status.waits),
        "held_back": status.held_back or None,
        "created": utc_text(generation.created),
        "proved": None if status.problems is None else not status.problems,
        "problems": list(status.problems or ()),
    }
    refused = [
        {"source": refusal.name or None, "since": utc_text(refusal.since), "reason": refusal.reason}
        for refusal in status.refusals
    ]
    return {
        "candidate": candidate and candidate_json(candidate),
        "held": status.held and held_json(status.held, status.verdicts),
        "refused": refused,
        "installed": installed,
        "pending": status.pending,
        "units": {run.unit: {"exit_code": run.exit_code, "ended": utc_text(run.ended)} for run in status.runs},
        "timer_next": status.fires and utc_text(status.fires),
    }


def history_lines(history: Iterable[Generation], current: int | None, zone: tzinfo) -> Iterator[str]:
    """Yield a line for each generation, newest first, with a star at the one in force."""
    found = False
    for generation in history:
        found = True
        star = "*" if generation.number == current else " "
        prefixes = " + ".join(f"{number:,}" for number in generation.prefixes.values())
        restored = "" if generation.restores is None else f", generation {generation.restores} again"
        restored = ", nothing any more" if generation.restores == NOTHING else restored
        reason = f": {' '.join(generation.reason.split())}" if generation.reason else ""
        yield (
            f"{star} {generation.number:>4}  {local_text(generation.created, zone)}  {prefixes} prefixes, "
            f"firewalld {generation.firewalld}  {generation.outcome}{restored}{reason}"
        )
    if not found:
        yield "nothing was installed yet; run: fwfeed apply"


def history_json(history: Iterable[Generation], current: int | None) -> list[dict[str, Any]]:
    """Return the generations for JSON, newest first."""
    return [
        {
            "generation": generation.number,
            "in_force": generation.number == current,
            "created": utc_text(generation.created),
            "outcome": generation.outcome,
            "reason": generation.reason,
            "restores": generation.restores,
            "firewalld": generation.firewalld,
            "config": generation.config,
            "prefixes": {str(family.value): number for family, number in generation.prefixes.items()},
            "files": dict(generation.files),
            "sources": [
                {"name": source.name, "serial": source.serial, "sha256": source.sha256} for source in generation.sources
            ],
        }
        for generation in history
    ]


def _held_back(status: Status) -> Iterator[str]:
    if status.held_back:
        yield f"  held back: {status.held_back}; fwfeed update leaves it so, fwfeed apply goes on again"


def _age(moment: datetime, now: datetime) -> str:
    minutes = max(0, int((now - moment).total_seconds())) // 60
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"
