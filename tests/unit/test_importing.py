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
from fwfeed.logline import Line
from tests.unit.flows import NOW, flow, logged, record, sent


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(paths=PathsConfig(state=str(tmp_path)))


def journal(monkeypatch: pytest.MonkeyPatch, flows: Sequence[Flow]) -> None:
    """Have the journal hold these."""

    def of_this_host(_prefixes: object, *, since: datetime, now: datetime) -> Iterator[Line]:
        return (logged(each) for each in flows if each.at >= since)

    monkeypatch.setattr("fwfeed.kernlog.of_this_host", of_this_host)


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
        ledger.count({}, cursors={"journal": position})
    journal(monkeypatch, hourly((5, 4, 3, 2)))
    assert reporting.import_log(config, now=NOW) == 1
    assert reporting.import_log(config, now=NOW) == 0


def test_a_clock_that_was_set_back_has_nothing_counted_twice(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = NOW - timedelta(hours=1)
    minutes = enumerate((0, 5, 6, 7, 1, 2))
    flows = [flow(at=begin + timedelta(minutes=minute), source_port=port + 1) for port, minute in minutes]
    journal(monkeypatch, flows)
    assert reporting.import_log(config, now=NOW) == 6
    assert reporting.import_log(config, now=NOW) == 0


def test_what_a_watch_that_is_behind_has_in_hand_is_not_counted_from_the_log(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst of a hundred, of which forty are recorded when somebody asks for a report, and then the rest."""
    begin = NOW - timedelta(seconds=60)
    flows = [flow(at=begin + timedelta(seconds=0.5 * number), source_port=number + 1) for number in range(100)]
    journal(monkeypatch, flows)
    with Ledger.open(path(Path(config.paths.state))) as ledger:
        seen = [sent(at=each.at, source_port=each.source_port) for each in flows]
        record(ledger, seen[:40], watched=(begin, seen[39].flow.at))
        assert reporting.import_log(config, now=NOW) == 0
        record(ledger, seen[40:80], watched=(begin, seen[79].flow.at))
        assert reporting.import_log(config, now=NOW + timedelta(minutes=4)) == 0
        # it has not come back: what it did not record is what the log has
        assert reporting.import_log(config, now=NOW + timedelta(minutes=6)) == 20
        assert sum(each.number for each in ledger.select(NOW - timedelta(days=1), NOW)) == 100


def test_tries_to_connect_again_are_the_same_connection(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = NOW - timedelta(hours=1)
    tries = [begin + timedelta(seconds=second) for second in (0, 1, 3, 7, 15, 31, 63, 127)]
    flows = [flow(at=at) for at in tries]
    others: list[dict[str, Any]] = [{"source_port": 40001}, {"destination": "203.0.113.9"}, {"protocol": "UDP"}]
    flows += [flow(at=begin, **other) for other in others]
    flows += [flow(at=begin, protocol="ICMP", source_port=None, destination_port=None)] * 2
    flows += [flow(at=begin + timedelta(minutes=10))]
    journal(monkeypatch, sorted(flows, key=lambda each: each.at))
    assert reporting.import_log(config, now=begin + timedelta(seconds=14)) == 6
    assert reporting.import_log(config, now=NOW) == 1
