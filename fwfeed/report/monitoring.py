"""Turn where things stand into metrics, and these into Prometheus' text format (0.0.4). Pure.

Times are moments and not ages, so that a file stays true until the next is written. What is not known has no sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from fwfeed import gates
from fwfeed.config import Config
from fwfeed.model import Candidate, Gate, Outcome
from fwfeed.prefixes import Family, count
from fwfeed.status import Status

# Those that hold a candidate; what the others find is refused, and never becomes one.
_HOLDING = (Gate.EMPTY, Gate.MAX_SHRINK, Gate.MAX_GROWTH, Gate.MAX_SPACE)

_EXACT = 1 << 53  # a sample is a float

Samples = Sequence[tuple[Mapping[str, str], int]]


@dataclass(frozen=True, slots=True)
class Metric:
    """One gauge: its name, what it means, and a value for each combination of labels."""

    name: str
    text: str
    samples: Samples


def metrics(status: Status, config: Config, version: str, now: datetime) -> list[Metric]:
    """Return all that is known."""
    found = [*_health(version, up=True), *_sources(status, config, now), *_sets(status, config), *_standing(status)]
    return [
        metric
        for metric in [*found, *_proof(status), *_interfaces(status), *_watch(status), *_units(status)]
        if metric.samples
    ]


def down(version: str) -> list[Metric]:
    """Return the metrics of a state that cannot be read."""
    return list(_health(version, up=False))


def exposition(found: Sequence[Metric]) -> str:
    """Write metrics as Prometheus reads them."""
    return "".join(f"{line}\n" for metric in found for line in _lines(metric))


def metrics_json(found: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return metrics for JSON."""
    return [
        {"name": metric.name, "labels": dict(labels), "value": value}
        for metric in found
        for labels, value in metric.samples
    ]


def _lines(metric: Metric) -> Iterator[str]:
    yield f"# HELP {metric.name} {_escaped(metric.text)}"
    yield f"# TYPE {metric.name} gauge"
    for labels, value in metric.samples:
        pairs = ",".join(f'{name}="{_escaped(text, quotes=True)}"' for name, text in labels.items())
        yield f"{metric.name}{f'{{{pairs}}}' if pairs else ''} {value if value < _EXACT else repr(float(value))}"


def _escaped(text: str, *, quotes: bool = False) -> str:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return escaped.replace('"', r"\"") if quotes else escaped


def _health(version: str, *, up: bool) -> Iterator[Metric]:
    yield _one(
        "fwfeed_up", "Whether fwfeed could read its configuration and its state; if not, nothing else is said.", up
    )
    yield Metric("fwfeed_build_info", "The version of fwfeed that wrote this.", [({"version": version}, 1)])


def _sources(status: Status, config: Config, now: datetime) -> Iterator[Metric]:
    sources = status.candidate.sources if status.candidate else ()
    yield Metric(
        "fwfeed_source_end_timestamp_seconds",
        "The last day that a source's accepted file speaks of, at 00:00 UTC; where its format has no dates, the day on "
        "which it came with this content.",
        [({"source": source.name}, _day(source.end_date)) for source in sources],
    )
    yield Metric(
        "fwfeed_source_info",
        "The serial of a source's accepted file, empty where its format has none.",
        [
            ({"source": source.name, "serial": "" if source.serial is None else str(source.serial)}, 1)
            for source in sources
        ],
    )
    ages = dict.fromkeys(config.sources.registries, config.sources.max_age)
    ages |= {feed.name: feed.max_age for feed in config.feeds}
    yield Metric(
        "fwfeed_source_max_age_seconds",
        "How old a source's file may be, where that is limited.",
        [({"source": name}, int(age.total_seconds())) for name, age in ages.items() if age is not None],
    )
    refused = {refusal.name for refusal in status.refusals}
    yield Metric(
        "fwfeed_source_refused",
        "Whether a source's file was refused at the last refresh, so that the one accepted last serves.",
        [({"source": name}, int(name in refused)) for name in sorted({*ages, *refused} - {""})],
    )
    overdue = {source.name for source in sources if gates.overdue(source, config.max_age(source.name), now)}
    yield Metric(
        "fwfeed_source_overdue",
        "Whether a source's accepted file is older than its max_age.",
        [({"source": name}, int(name in overdue)) for name in sorted({*ages, *overdue})],
    )
    yield Metric(
        "fwfeed_source_remarks",
        "How many kinds of things are wrong in a source's accepted file that do not change the set, however often each "
        "is there; see fwfeed status.",
        [({"source": source.name}, len({remark.kind for remark in source.remarks})) for source in sources],
    )
    yield Metric(
        "fwfeed_source_taken_records",
        "How many records of a source's accepted file the set is made of.",
        [({"source": source.name}, source.taken) for source in sources],
    )
    yield _one("fwfeed_refresh_refused", "Whether all of the last refresh was refused.", "" in refused)


def _sets(status: Status, config: Config) -> Iterator[Metric]:
    candidate = status.candidate
    if candidate is not None:
        yield _moment(
            "fwfeed_candidate_compiled_timestamp_seconds", "When the candidate was compiled.", candidate.compiled
        )
    yield Metric("fwfeed_candidate_prefixes", "The prefixes of the candidate's set.", _prefixes(candidate, config))
    yield Metric(
        "fwfeed_candidate_addresses",
        "The addresses of the candidate's set; those of IPv6 are rounded to a float.",
        _addresses(candidate, config),
    )
    generation = status.generation
    yield Metric(
        "fwfeed_installed_prefixes",
        "The prefixes of the set that is installed.",
        [(_set(each.name, each.family), generation.prefixes[each.family]) for each in status.installed if generation],
    )
    yield Metric(
        "fwfeed_installed_addresses",
        "The addresses of the set that is installed; those of IPv6 are rounded to a float.",
        [(_set(each.name, each.family), count(each.ranges)) for each in status.installed],
    )


def _standing(status: Status) -> Iterator[Metric]:
    yield _one("fwfeed_held", "Whether a gate holds a candidate back.", status.held is not None)
    holding = {verdict.gate for verdict in status.verdicts}
    yield Metric(
        "fwfeed_held_by_gate",
        "Whether this gate is among those that hold a candidate back.",
        [({"gate": gate}, int(gate in holding)) for gate in _HOLDING],
    )
    yield _one(
        "fwfeed_set_change_held",
        "Whether timers leave the candidate out, as its set is defined in another way than what is installed.",
        bool(status.redefined),
    )
    yield _one("fwfeed_pending", "Whether the candidate has another set than what is installed.", status.pending)
    yield _one(
        "fwfeed_held_back", "Whether somebody went back, so that nothing is applied unasked.", bool(status.held_back)
    )
    yield _one(
        "fwfeed_waiting_for_confirmation",
        "Whether what is installed is undone unless it is confirmed.",
        status.waits is not None,
    )
    if status.waits is not None:
        yield _moment(
            "fwfeed_confirmation_deadline_timestamp_seconds",
            "When what is installed is undone unless it is confirmed.",
            status.waits,
        )
    yield _one("fwfeed_apply_unfinished", "Whether an apply is under way, or was cut off.", status.unfinished)
    generation, last = status.generation, status.last
    yield Metric(
        "fwfeed_generation",
        "The number of the generation in force, 0 for none.",
        [({}, generation.number if generation else 0)],
    )
    if generation is not None:
        yield _moment(
            "fwfeed_generation_created_timestamp_seconds", "When the generation in force was made.", generation.created
        )
    if last is not None:
        yield Metric("fwfeed_last_generation", "The number of the newest generation.", [({}, last.number)])
        yield _moment(
            "fwfeed_last_generation_created_timestamp_seconds", "When the newest generation was made.", last.created
        )
        yield Metric(
            "fwfeed_last_generation_outcome",
            "How the newest generation ended: 1 for that outcome.",
            [({"outcome": outcome}, int(last.outcome is outcome)) for outcome in Outcome],
        )


def _proof(status: Status) -> Iterator[Metric]:
    if status.generation is None:
        return
    known = status.problems is not None
    yield _one("fwfeed_proof_known", "Whether files, firewalld and kernel could be read; that needs root.", known)
    if known:
        text = "Whether files, firewalld or the kernel hold something else than the generation in force."
        yield _one("fwfeed_drift", text, bool(status.problems))


def _interfaces(status: Status) -> Iterator[Metric]:
    if status.generation is not None and status.generation.default_zone is not None and status.unreached is not None:
        yield Metric(
            "fwfeed_unreached_interfaces",
            "How many interfaces are bound to a zone other than that of inbound = restrict, which does not reach them.",
            [({}, len(status.unreached))],
        )


def _watch(status: Status) -> Iterator[Metric]:
    watching = status.watching
    if watching is not None and watching.listening is not None:
        yield _one("fwfeed_watch_listening", "Whether fwfeed watch reads the NFLOG group.", watching.listening)


def _units(status: Status) -> Iterator[Metric]:
    yield Metric(
        "fwfeed_unit_exit_code",
        "The exit code of a systemd unit's last run; 128 and the signal's number where a signal ended it.",
        [({"unit": run.unit}, run.exit_code) for run in status.runs],
    )
    yield Metric(
        "fwfeed_unit_ended_timestamp_seconds",
        "When a systemd unit's last run ended.",
        [({"unit": run.unit}, int(run.ended.timestamp())) for run in status.runs],
    )
    if status.fires is not None:
        yield _moment("fwfeed_timer_next_timestamp_seconds", "When the timer fires next.", status.fires)


def _prefixes(candidate: Candidate | None, config: Config) -> Samples:
    if candidate is None:
        return []
    return [(_set(config.set.ipset(family), family), len(candidate.prefixes(family))) for family in Family]


def _addresses(candidate: Candidate | None, config: Config) -> Samples:
    if candidate is None:
        return []
    return [(_set(config.set.ipset(family), family), count(candidate.ranges(family))) for family in Family]


def _set(name: str, family: Family) -> dict[str, str]:
    return {"set": name, "family": f"ipv{family.value}"}


def _one(name: str, text: str, value: bool) -> Metric:  # noqa: FBT001 - a sample
    return Metric(name, text, [({}, int(value))])


def _moment(name: str, text: str, moment: datetime) -> Metric:
    return Metric(name, text, [({}, int(moment.timestamp()))])


def _day(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
