"""What the kernel's log knows comes into the ledger once, whatever the clock or the disk has made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fwfeed import reporting
from fwfeed.config import Config
from fwfeed.config.schema import PathsConfig
from fwfeed.flow import Flow
from fwfeed.ledger import Ledger, path
from tests.unit.flows import NOW, flow


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(paths=PathsConfig(state=str(tmp_path)))


def journal(monkeypatch: pytest.MonkeyPatch, flows: Sequence[Flow]) -> None:
    """Have the journal hold these."""

    def of_the_journal(_prefixes: object, *, since: datetime) -> Iterator[Flow]:
        return (each for each in flows if each.at >= since)

    monkeypatch.setattr("fwfeed.kernlog.of_the_journal", of_the_journal)


def hourly(hours: Sequence[int], **values: Any) -> list[Flow]:
    """Return a flow of each of these hours before now."""
    return [flow(at=NOW - timedelta(hours=hour), **values) for hour in hours]


def test_the_log_is_read_from_where_it_was_left(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    journal(monkeypatch, hourly((5, 4, 3)))
    assert reporting.import_log(config, now=NOW) == 3
    journal(monkeypatch, hourly((5, 4, 3, 2)))
    assert reporting.import_log(config, now=NOW) == 1
    assert reporting.import_log(config, now=NOW) == 0


@pytest.mark.parametrize(
    "position", [(NOW + timedelta(days=4000)).isoformat(), "\x1b nonsense", "2026-11-20T00:00:00", ""]
)
def test_nonsense_for_a_position_hides_nothing_and_counts_nothing_twice(
    position: str, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal(monkeypatch, hourly((5, 4, 3)))
    reporting.import_log(config, now=NOW)
    with Ledger.open(path(Path(config.paths.state))) as ledger:
        ledger.set_cursor("journal", position)
    journal(monkeypatch, hourly((5, 4, 3, 2)))
    assert reporting.import_log(config, now=NOW) == 1
    assert reporting.import_log(config, now=NOW) == 0
