"""Judge where things stand for Nagios and its kin, in one line (Monitoring Plugins guidelines). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from enum import IntEnum

from fwfeed import gates
from fwfeed.config import Config
from fwfeed.errors import ExitCode, printable
from fwfeed.model import Outcome, Source
from fwfeed.status import Run, Status, unreached_text
from fwfeed.times import local_text

_LONGEST = 200
_LONGEST_TEXT = 600  # NRPE's older packets hold 1,024 bytes, with the numbers
_DAY = timedelta(days=1)
_APPLY = "fwfeed-apply.service"
_TOLD_ELSEWHERE = {ExitCode.DONE, ExitCode.REFUSED}  # what a refusal is about has a finding of its own


class Level(IntEnum):
    """What a plugin exits with."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3

    @property
    def weight(self) -> int:
        """What counts more among several."""
        return (Level.OK, Level.WARNING, Level.UNKNOWN, Level.CRITICAL).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; `items` are its cases, where it has some, and `hint` is what to do.

    `main`: it is of what is installed as such, as the verdict that a status begins with.
    """

    level: Level
    text: str
    items: tuple[str, ...] = ()
    hint: str = ""
    main: bool = False

    @property
    def line(self) -> str:
        """The text with the first of its cases."""
        more = f" (and {len(self.items) - 1} more)" if len(self.items) > 1 else ""
        return f"{self.text}: {self.items[0]}{more}" if self.items else self.text


@dataclass(frozen=True, slots=True)
class Limits:
    """From which age of a source on to warn and alarm; None: as its max_age says."""

    warning: timedelta | None = None
    critical: timedelta | None = None


@dataclass(frozen=True, slots=True)
class _Aged:
    """A source whose file may grow too old."""

    source: Source
    age: timedelta
    overdue: str
    warning: timedelta
    critical: timedelta

    @property
    def level(self) -> Level:
        if self.age > self.critical:
            return Level.CRITICAL if self.source.taken else Level.WARNING
        return Level.WARNING if self.age > self.warning else Level.OK

    @property
    def text(self) -> str:
        idle = not self.source.taken
        if self.overdue:
            return gates.kept(self.overdue, idle=idle)
        days = f"the file ends on {self.source.end_date}, {self.age.days} days ago"
        return f"{days}; it gives the set nothing" if idle else days

    @property
    def perfdata(self) -> str:
        bounds = (
            "" if each == timedelta.max else f"{each.total_seconds():.0f}" for each in (self.warning, self.critical)
        )
        return f"age_{self.source.name}={self.age.total_seconds():.0f}s;{';'.join(bounds)};0"


def probe(
    status: Status, config: Config, limits: Limits, now: datetime, zone: tzinfo, *, root: bool
) -> tuple[Level, str]:
    """Return what a plugin ends with and prints; `root` is whether it could have read what the kernel holds."""
    aged = list(_aged(status, config, limits, now))
    found = findings(status, config, limits, now, zone, root=root)
    if not found and status.generation is not None:
        oldest = min(aged, key=lambda each: each.source.end_date, default=None)
        dated = f"; {oldest.source.name} to {oldest.source.end_date}" if oldest else ""
        found = [Finding(Level.OK, f"generation {status.generation.number} proved in the kernel{dated}")]
    sizes = [
        f"prefixes_{each.name}={status.generation.prefixes[each.family]};;;0"
        for each in status.installed
        if status.generation is not None
    ]
    return line(found, [*sizes, *(each.perfdata for each in aged)])


def findings(
    status: Status, config: Config, limits: Limits, now: datetime, zone: tzinfo, *, root: bool
) -> list[Finding]:
    """Return all that is not as it should be, the gravest first."""
    aged = _aged(status, config, limits, now)
    found = [
        *_standing(status, now, zone, root=root),
        *_interfaces(status, config),
        *_sources(status, aged, zone),
        *_units(status, zone),
    ]
    return sorted(found, key=lambda finding: -finding.level.weight)


def line(findings: Sequence[Finding], perfdata: Sequence[str] = ()) -> tuple[Level, str]:
    """Return the gravest level, and one line of all findings, the gravest first."""
    ordered = sorted(findings, key=lambda finding: -finding.level.weight)
    text = _cut("; ".join(_cut(_clean(finding.line), _LONGEST) for finding in ordered), _LONGEST_TEXT)
    numbers = f" | {' '.join(perfdata)}" if perfdata else ""
    return ordered[0].level, f"FWFEED {ordered[0].level.name} - {text}{numbers}"


def _standing(status: Status, now: datetime, zone: tzinfo, *, root: bool) -> Iterator[Finding]:
    generation = status.generation
    if status.candidate is None:
        text = status.no_candidate.replace("none yet", "no candidate yet")
        yield Finding(Level.UNKNOWN, text, main=generation is None)
    if generation is None and status.held_back:
        yield Finding(Level.WARNING, "nothing is installed", main=True)
    elif generation is None and status.candidate is not None:
        command = "update" if status.outdated else "apply"
        yield Finding(Level.CRITICAL, f"nothing is installed; run: fwfeed {command}", main=True)
    elif generation is not None and status.problems is None:
        what = f"not known whether the kernel holds generation {generation.number}: {status.unknown}"
        yield Finding(Level.CRITICAL if root else Level.WARNING, what)
    elif generation is not None and status.problems:
        text = f"generation {generation.number} is not what is there"
        yield Finding(Level.CRITICAL, text, items=status.problems, hint="fwfeed apply")
    if status.unfinished:
        yield Finding(Level.WARNING, "an apply is under way, or was cut off: sudo fwfeed status puts it right")
    if status.waits is not None and status.waits > now:
        yield Finding(
            Level.WARNING,
            f"it will be undone at {local_text(status.waits, zone)}, unless somebody says: fwfeed confirm",
        )
    elif status.waits is not None:
        yield Finding(
            Level.CRITICAL, f"it was to be undone at {local_text(status.waits, zone)}: sudo fwfeed status does it"
        )
    if status.held_back:
        hint = "fwfeed apply installs the candidate again; fwfeed update leaves it so"
        yield Finding(Level.WARNING, f"held back: {status.held_back}", hint=hint)
    elif status.redefined:
        reasons = "; ".join(verdict.reason for verdict in status.redefined)
        yield Finding(Level.WARNING, f"timers leave the candidate out: {reasons}", hint="if it is right: fwfeed apply")
    elif status.pending and status.candidate is not None and generation is not None and not status.outdated:
        compiled = local_text(status.candidate.compiled, zone)
        yield Finding(Level.WARNING, f"the candidate of {compiled} is not applied", hint="fwfeed apply")
    if status.outdated:
        text = f"the candidate was compiled for other settings than the configuration has now: {status.outdated}"
        yield Finding(Level.WARNING, text, hint="run: fwfeed update")
    last = status.last
    if last is not None and last.outcome is Outcome.ROLLED_BACK and not _overtaken(last.created, status):
        yield Finding(Level.CRITICAL, f"generation {last.number} was rolled back: {last.reason}")


def _interfaces(status: Status, config: Config) -> Iterator[Finding]:
    if status.generation is not None and status.generation.default_zone is not None:
        default = status.generation.default_zone
        ipset = status.installed[0].name if status.installed else config.set.name
        for name, zone in (status.unreached or {}).items():
            text = unreached_text(name, zone, ipset, default)
            hint = f"if it is not meant so: firewall-cmd --permanent --zone={default} --change-interface={name}"
            yield Finding(Level.WARNING, text, hint=hint)


def _sources(status: Status, aged: Iterable[_Aged], zone: tzinfo) -> Iterator[Finding]:
    if status.held is not None:
        text = f"held by a gate since {local_text(status.held.compiled, zone)}"
        reasons = tuple(verdict.reason for verdict in status.verdicts)
        hint = "see the change: fwfeed diff; if it is right: fwfeed approve"
        yield Finding(Level.WARNING, text, items=reasons, hint=hint)
    old = {each.source.name: each for each in aged if each.level is not Level.OK}
    for refusal in status.refusals:
        reason = refusal.reason.removeprefix(f"{refusal.name}: ")
        text = f"refused since {local_text(refusal.since, zone)}: {reason}"
        if refusal.name in old and old[refusal.name].overdue:
            each = old.pop(refusal.name)
            yield Finding(each.level, f"{refusal.name}: {each.text}; {text}")
        else:
            yield Finding(Level.WARNING, f"{refusal.name}: {text}" if refusal.name else f"the refresh is {text}")
    for each in old.values():
        yield Finding(each.level, f"{each.source.name}: {each.text}")


def _units(status: Status, zone: tzinfo) -> Iterator[Finding]:
    mended = status.problems == () and not status.pending
    for run in status.runs:
        applies = run.unit == _APPLY
        made = status.last.created if applies and status.last else None
        if not applies and status.candidate:
            made = status.candidate.compiled
        if run.exit_code not in _TOLD_ELSEWHERE and (made is None or made < run.ended):
            # what was mended by hand, and is proved, has left no generation
            level = Level.CRITICAL if applies and not mended else Level.WARNING
            yield Finding(level, f"{run.unit} ended with {_named(run)} at {local_text(run.ended, zone)}")


def _overtaken(moment: datetime, status: Status) -> bool:
    """Whether an apply that ended well came after it, so that it is of the past."""
    return any(run.unit == _APPLY and run.exit_code in _TOLD_ELSEWHERE and run.ended > moment for run in status.runs)


def _named(run: Run) -> str:
    known = {code.value: f" ({code.name})" for code in ExitCode}
    return f"exit code {run.exit_code}{known.get(run.exit_code, '')}"


def _aged(status: Status, config: Config, limits: Limits, now: datetime) -> Iterator[_Aged]:
    feeds = {feed.name for feed in config.feeds}
    for source in status.candidate.sources if status.candidate else ():
        registry = source.name not in feeds
        max_age = config.max_age(source.name)
        if max_age is None and not registry:
            continue  # its format has no date, or the administrator does not mind it
        warning, critical = _bounds(max_age)
        age, overdue = now.date() - source.end_date, gates.overdue(source, max_age, now)
        yield _Aged(source, age, overdue, limits.warning or warning, limits.critical or critical)


def _bounds(max_age: timedelta | None) -> tuple[timedelta, timedelta]:
    """Return half of what is allowed, and a day less than that; registries' files are often a day old."""
    if max_age is None:
        return timedelta.max, timedelta.max
    critical = max_age - _DAY if max_age > 2 * _DAY else max_age
    return min(max(max_age / 2, _DAY), critical), critical


def _clean(text: str) -> str:
    """Return a text that stays on its line, and in front of the numbers."""
    return printable(" ".join(text.split())).replace("|", "/")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
