"""Say where things stand, and how they came to stand so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from fwfeed import gates
from fwfeed.config import Config
from fwfeed.model import NOTHING, Generation
from fwfeed.report import candidate_json, candidate_lines, held_json
from fwfeed.report.probe import Finding, Level, Limits, findings
from fwfeed.status import Actions, Status, Watching
from fwfeed.times import local_text, utc_text


def status_lines(
    status: Status, config: Config, now: datetime, zone: tzinfo, *, root: bool, verbose: bool = False
) -> Iterator[str]:
    """Yield where things stand: the verdict, what is not as it should be, what is in force, and when it goes on.

    `root` is whether it could have been read what the kernel holds. With `verbose`, the candidate and the last runs
    follow.
    """
    found = findings(status, config, Limits(), now, zone, root=root)
    yield _verdict(status, config, found)
    for finding in found:
        if not finding.main:
            first, *others = finding.text.splitlines()
            yield f"  {finding.level.name}: {first}{':' if finding.items else ''}"
            yield from (f"    {line}" for line in (*others, *finding.items))
        if finding.hint:
            yield f"    way out: {finding.hint}"
    yield from _remarks(status)
    if status.actions is not None:
        yield " · ".join([*status.actions.text, f"watch: {_watching(status.watching)}"])
    if status.fires is not None:
        yield f"next update {local_text(status.fires, zone)}"
    elif status.systemd:
        yield "next update: not scheduled; to have one each night: systemctl enable --now fwfeed.timer"
    if verbose:
        yield ""
        yield from _details(status, config, now, zone)


def _verdict(status: Status, config: Config, found: Sequence[Finding]) -> str:
    level = found[0].level if found else Level.OK
    generation = status.generation
    if generation is None:
        return f"{level.name}  {'; '.join(finding.text for finding in found if finding.main)}"
    name = status.installed[0].name if status.installed else config.set.name
    sizes = " + ".join(f"{number:,}" for number in generation.prefixes.values())
    proof = "proved in the kernel" if status.problems == () else "not proved"
    return f"{level.name}  {name}: {sizes} prefixes, generation {generation.number}, {proof}"


def _remarks(status: Status) -> Iterator[str]:
    for source in status.candidate.sources if status.candidate else ():
        yield from (f"  remark: {source.name}: {remark.text}" for remark in source.remarks)


def _watching(watching: Watching | None) -> str:
    if watching is None:
        return "off"
    if watching.listening is None:
        return "not known"
    if not watching.listening:
        return "not running"
    if watching.lost is None:
        return "running"
    return f"running, {watching.lost:,} lost{' in the last 24 h' if watching.lost else ''}"


def _details(status: Status, config: Config, now: datetime, zone: tzinfo) -> Iterator[str]:
    if status.candidate is None:
        yield f"candidate: {status.no_candidate}"
    else:
        yield from candidate_lines(status.candidate, config, zone)
    generation = status.generation
    if generation is not None:
        created = f"{_age(generation.created, now)} ago, at {local_text(generation.created, zone)}"
        yield f"installed: generation {generation.number}, {created}, firewalld {generation.firewalld}"
    for run in status.runs:
        when = f"{_age(run.ended, now)} ago, at {local_text(run.ended, zone)}"
        yield f"{run.unit}: ended {when}, with exit code {run.exit_code}"


def status_json(status: Status, config: Config, now: datetime, *, root: bool) -> dict[str, Any]:
    """Return where things stand for JSON; `proved` is null where it is not known, and so is what is installed."""
    candidate, generation = status.candidate, status.generation
    found = findings(status, config, Limits(), now, UTC, root=root)
    actions, watching = status.actions, status.watching
    installed = generation and {
        "generation": generation.number,
        "set": status.installed[0].name if status.installed else None,
        "prefixes": {str(family.value): number for family, number in generation.prefixes.items()},
        "firewalld": generation.firewalld,
        "created": utc_text(generation.created),
        "proved": None if status.problems is None else not status.problems,
        "problems": list(status.problems or ()),
    }
    overdue = {
        source.name: gates.kept(text, idle=not source.taken)
        for source in (candidate.sources if candidate else ())
        if (text := gates.overdue(source, config.max_age(source.name), now))
    }
    refused = [
        {
            "source": refusal.name or None,
            "since": utc_text(refusal.since),
            "reason": refusal.reason,
            "overdue": overdue.get(refusal.name),
        }
        for refusal in status.refusals
    ]
    return {
        "level": (found[0].level if found else Level.OK).name,
        "findings": [
            {"level": each.level.name, "text": each.text, "items": list(each.items), "hint": each.hint or None}
            for each in found
        ],
        "actions": actions and actions_json(actions),
        "watch": watching and {"listening": watching.listening, "lost": watching.lost},
        "unreached_interfaces": None if status.unreached is None else dict(status.unreached),
        "unfinished": status.unfinished,
        "waits_until": status.waits and utc_text(status.waits),
        "held_back": status.held_back or None,
        "held_unattended": [{"gate": each.gate, "reason": each.reason} for each in status.redefined],
        "outdated": status.outdated or None,
        "candidate": candidate and candidate_json(candidate),
        "held": status.held and held_json(status.held, status.verdicts),
        "refused": refused,
        "installed": installed,
        "pending": status.pending,
        "units": {run.unit: {"exit_code": run.exit_code, "ended": utc_text(run.ended)} for run in status.runs},
        "systemd": status.systemd,
        "timer_next": status.fires and utc_text(status.fires),
    }


def history_lines(
    history: Iterable[tuple[Generation, Actions | None]], current: int | None, zone: tzinfo
) -> Iterator[str]:
    """Yield a line for each generation, newest first, with a star at the one in force."""
    found = False
    for generation, actions in history:
        found = True
        star = "*" if generation.number == current else " "
        prefixes = " + ".join(f"{number:,}" for number in generation.prefixes.values())
        done = "" if actions is None else f"{' · '.join(actions.text)} · "
        restored = "" if generation.restores is None else f", generation {generation.restores} again"
        restored = ", nothing any more" if generation.restores == NOTHING else restored
        reason = f": {' '.join(generation.reason.split())}" if generation.reason else ""
        yield (
            f"{star} {generation.number:>4}  {local_text(generation.created, zone)}  {prefixes} prefixes · {done}"
            f"firewalld {generation.firewalld}  {generation.outcome}{restored}{reason}"
        )
    if not found:
        yield "nothing was installed yet; run: fwfeed apply"


def history_json(history: Iterable[tuple[Generation, Actions | None]], current: int | None) -> list[dict[str, Any]]:
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
            "actions": actions and actions_json(actions),
            "prefixes": {str(family.value): number for family, number in generation.prefixes.items()},
            "files": dict(generation.files),
            "sources": [
                {"name": source.name, "serial": source.serial, "sha256": source.sha256} for source in generation.sources
            ],
        }
        for generation, actions in history
    ]


def actions_json(actions: Actions) -> dict[str, Any]:
    """Return what installed files do with foreign connections for JSON."""
    return {
        "outbound": actions.outbound,
        "forwarded": actions.forwarded,
        "inbound": actions.inbound,
        "nflog_groups": sorted(actions.groups),
    }


def _age(moment: datetime, now: datetime) -> str:
    minutes = max(0, int((now - moment).total_seconds())) // 60
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"
