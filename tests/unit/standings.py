"""Where things stand, made by hand: all is well, until a test says what is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from fwfeed.config import Config, Inbound, Outbound, SetConfig
from fwfeed.feeds import Feed, Format
from fwfeed.model import Generation, IntendedSet, Outcome
from fwfeed.prefixes import Family
from fwfeed.status import Actions, Run, Status, Watching
from tests.unit.builders import candidate

CONFIG = Config(
    set=SetConfig(include=("office", "aws-tokyo")),
    feeds=(
        Feed(name="office", url="file:///etc/fwfeed/lists.d", format=Format.PLAIN),
        Feed(name="aws-tokyo", url="https://example.net/aws", format=Format.AWS, max_age=timedelta(days=90)),
    ),
)
NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
JST = timezone(timedelta(hours=9), "JST")
CANDIDATE = candidate(CONFIG)
GENERATION = Generation(
    number=3,
    root="/etc/firewalld",
    created=datetime(2026, 1, 2, 3, 5, 0, tzinfo=UTC),
    outcome=Outcome.APPLIED,
    reason="",
    restores=None,
    config="",
    firewalld="2.3.1",
    recipe=CANDIDATE.recipe,
    sources=CANDIDATE.sources,
    prefixes=dict(zip(Family, (2, 2), strict=True)),
    addresses=dict(zip(Family, (384, 1 << 80), strict=True)),
    files={},
    default_zone=None,
    replaced_zone=None,
)
INSTALLED = tuple(
    IntendedSet(name=CONFIG.set.ipset(family), family=family, ranges=CANDIDATE.ranges(family)) for family in Family
)
RUNS = (
    Run("fwfeed-refresh.service", 0, datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)),
    Run("fwfeed-apply.service", 0, datetime(2026, 1, 2, 3, 5, 1, tzinfo=UTC)),
)
_WELL = Status(
    candidate=CANDIDATE,
    held=None,
    verdicts=(),
    refusals=(),
    generation=GENERATION,
    waits=None,
    held_back="",
    pending=False,
    problems=(),
    unknown="",
    installed=INSTALLED,
    last=GENERATION,
    unfinished=False,
    runs=RUNS,
    fires=datetime(2026, 1, 3, 3, 4, 5, tzinfo=UTC),
    systemd=True,
    actions=Actions(outbound=Outbound.LOG, forwarded=True, inbound=Inbound.OFF, groups=frozenset({243})),
    watching=Watching(listening=True, lost=0),
    unreached={},
    outdated="",
    redefined=(),
)


def standing(**changes: Any) -> Status:
    """Return how things stand where all is well but for these."""
    return replace(_WELL, **changes)


def ended(last: Outcome, reason: str = "", **changes: Any) -> Generation:
    """Return a newer generation than the one in force, and how it ended."""
    created = datetime(2026, 1, 2, 4, 0, 0, tzinfo=UTC)
    return replace(GENERATION, number=4, created=created, outcome=last, reason=reason, **changes)


def aged(days: int, name: str = "apnic") -> dict[str, Any]:
    """Return the change by which one source's file ends so many days ago, and all others today."""
    today = NOW.date()
    dated: date = today - timedelta(days=days)
    sources = tuple(replace(source, end_date=dated if source.name == name else today) for source in CANDIDATE.sources)
    return {"candidate": replace(CANDIDATE, sources=sources)}
