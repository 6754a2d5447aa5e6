"""Where the kernel's log is read on this kind of host or that: real files, and stand-ins for journalctl and dmesg."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwfeed import kernlog
from fwfeed.kernlog import of_this_host  # before the fixture that has this machine's log hold nothing

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
LINE = (
    "OUTBOUND_FOREIGN IN= OUT=eth0 SRC=198.51.100.1 DST=203.0.113.{end} LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 DF "
    "PROTO=TCP SPT=40000 DPT=443 WINDOW=64240 RES=0x00 SYN URGP=0 "
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with all three: each has logged another address."""
    entry = {"__REALTIME_TIMESTAMP": "1767268800000000", "_TRANSPORT": "kernel", "MESSAGE": LINE.format(end=1)}
    stand_ins = {"journalctl": json.dumps(entry), "dmesg": f"[   1.000000] {LINE.format(end=3)}"}
    for name, output in stand_ins.items():
        (tmp_path / f"{name}.said").write_text(f"{output}\n")
        (tmp_path / name).write_text('#!/bin/sh\ncat "$0.said"\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "messages").write_text(f"2026-01-01T12:00:00+00:00 web kernel: {LINE.format(end=2)}\n")
    (tmp_path / "journal").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(kernlog, "_JOURNAL", tmp_path / "journal")
    monkeypatch.setattr(kernlog, "_MESSAGES", tmp_path / "messages")
    monkeypatch.setattr(kernlog, "_PERSISTENT", tmp_path / "persistent")
    (tmp_path / "persistent").mkdir()
    return tmp_path


def logged() -> list[str]:
    return [kind.destination for _at, _port, kind in of_this_host(("OUTBOUND_FOREIGN ",), since=SINCE, now=NOW)]


def test_the_journal_is_read_where_there_is_one_and_else_what_there_is(host: Path) -> None:
    assert logged() == ["203.0.113.1"]
    (host / "journal").rmdir()
    assert logged() == ["203.0.113.2"]
    (host / "messages").unlink()
    assert logged() == ["203.0.113.3"]


def syslog(file: Path, *ends: tuple[int, int]) -> None:
    """Write lines to 203.0.113.END, so many hours after SINCE."""
    file.write_text(
        "".join(
            f"{SINCE + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}+00:00 web kernel: {LINE.format(end=end)}\n"
            for end, hours in ends
        )
    )


def test_what_was_before_a_journal_that_is_in_memory_alone_is_read_from_syslogs_files(host: Path) -> None:
    """The journal begins twelve hours after SINCE."""
    (host / "persistent").rmdir()
    syslog(host / "messages-20260101", (11, -30), (12, 2))
    syslog(host / "messages", (13, 11), (14, 12), (15, 13))
    for other in ("messages-20260101.gz", "messages-old", "messages-2026010"):
        syslog(host / other, (99, 1))
    syslog(host / "messages-20251201", (98, 1))
    os.utime(host / "messages-20251201", (0, 0))
    assert logged() == [f"203.0.113.{end}" for end in (11, 12, 13, 1)]
    (host / "journalctl.said").write_text("")
    assert logged() == [f"203.0.113.{end}" for end in (11, 12, 13, 14, 15)]


def test_where_all_that_is_asked_for_is_in_the_journal_nothing_else_is_read(host: Path) -> None:
    (host / "persistent").rmdir()
    syslog(host / "messages", (13, 11))
    found = of_this_host(("OUTBOUND_FOREIGN ",), since=SINCE + timedelta(hours=12), now=NOW)
    assert [kind.destination for _at, _port, kind in found] == ["203.0.113.1"]
