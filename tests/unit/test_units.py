"""How the units ended last and when the timer fires next, read from what systemctl prints; and what systemd is told."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fwfeed import units
from fwfeed.errors import FwfeedError
from fwfeed.observe import Summary
from fwfeed.status import Run
from tests.unit.builders import World, world

NOTHING: tuple[tuple[Run, ...], datetime | None] = ((), None)
# The time of the timer is not written as --timestamp asks.
SHOWN = """\
ExecMainExitTimestamp=@1795318851
ExecMainCode=1
ExecMainStatus=3
Id=fwfeed-refresh.service

ExecMainExitTimestamp=@1795318855
ExecMainCode=2
ExecMainStatus=9
Id=fwfeed-apply.service

NextElapseUSecRealtime=Tue 2026-11-24 03:47:09 UTC
Id=fwfeed.timer
"""
RUNS = (
    Run("fwfeed-refresh.service", 3, datetime(2026, 11, 22, 3, 40, 51, tzinfo=UTC)),
    Run("fwfeed-apply.service", 137, datetime(2026, 11, 22, 3, 40, 55, tzinfo=UTC)),
)
FIRES = datetime(2026, 11, 24, 3, 47, 9, tzinfo=UTC)
NEVER_RAN = """\
ExecMainExitTimestamp=
ExecMainCode=0
ExecMainStatus=0
Id=fwfeed-refresh.service

ExecMainExitTimestamp=n/a
ExecMainCode=0
ExecMainStatus=0
Id=fwfeed-apply.service

NextElapseUSecRealtime=
Id=fwfeed.timer
"""


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a systemd that has booted the host, and a systemctl that prints what the returned file says."""
    booted, program, said = tmp_path / "booted", tmp_path / "bin" / "systemctl", tmp_path / "said"
    booted.mkdir()
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$TZ $LC_ALL $*" >"{tmp_path}/asked"\ncat "{said}"\n', encoding="utf-8")
    program.chmod(0o755)
    said.write_text(SHOWN, encoding="utf-8")
    monkeypatch.setattr(units, "_BOOTED", booted)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return said


def test_each_unit_has_its_block() -> None:
    assert units.read(SHOWN) == (RUNS, FIRES)


def test_the_time_of_the_timer_is_read_in_either_form() -> None:
    assert units.read("Id=fwfeed.timer\nNextElapseUSecRealtime=@1795492029\n") == ((), FIRES)


def test_in_pretty_form_the_other_times_are_read_too() -> None:
    shown = SHOWN.replace("@1795318851", "Sun 2026-11-22 03:40:51 UTC")
    assert units.read(shown) == (RUNS, FIRES)


@pytest.mark.parametrize(
    "text",
    [
        NEVER_RAN,
        "",
        "\n\n\n",
        "garbage",
        "Id=other.service\nExecMainExitTimestamp=@1\nExecMainCode=1\nExecMainStatus=0\n",
        "Id=fwfeed-apply.service\nExecMainExitTimestamp=@99999999999999999\nExecMainCode=1\nExecMainStatus=0\n",
        "Id=fwfeed-apply.service\nExecMainExitTimestamp=@99999999999\nExecMainCode=1\nExecMainStatus=x\n",
        "Id=fwfeed.timer\nNextElapseUSecRealtime=Tue 2026-11-24 03:47:09 JST\n",
        "Id=fwfeed.timer\nNextElapseUSecRealtime=infinity\n",
    ],
)
def test_what_never_ran_or_says_something_else_is_not_known(text: str) -> None:
    assert units.read(text) == NOTHING


def test_systemd_is_asked_in_a_form_that_does_not_depend_on_the_host(systemd: Path) -> None:
    assert units.ask() == (RUNS, FIRES)
    assert (systemd.parent / "asked").read_text(encoding="utf-8").split() == [
        "UTC",
        "C.UTF-8",
        "show",
        "--timestamp=unix",
        "--property=Id,ExecMainCode,ExecMainStatus,ExecMainExitTimestamp,NextElapseUSecRealtime",
        "fwfeed-refresh.service",
        "fwfeed-apply.service",
        "fwfeed.timer",
    ]


def test_without_systemd_it_is_not_asked(systemd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_BOOTED", systemd.parent / "not booted")
    assert units.ask() == NOTHING
    assert not (systemd.parent / "asked").exists()


@pytest.mark.parametrize("trouble", ["fails", "is not installed", "hangs"])
def test_a_systemd_that_does_not_answer_tells_nothing(
    trouble: str, systemd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = systemd.parent / "bin" / "systemctl"
    if trouble == "is not installed":
        program.unlink()
        monkeypatch.setenv("PATH", str(program.parent))
    else:
        last = "exec sleep 60" if trouble == "hangs" else "exit 1"
        program.write_text(f"#!/bin/sh\ncat {systemd}\n{last}\n", encoding="utf-8")
    monkeypatch.setattr(units, "_SECONDS", 0.5)
    assert units.ask() == NOTHING


def test_status_and_metrics_have_it(systemd: Path, tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    made: World = world(tmp_path / "world")
    said = made.run("status", "--json").value
    assert said["units"]["fwfeed-apply.service"] == {"exit_code": 137, "ended": "2026-11-22T03:40:55+00:00"}
    assert said["timer_next"] == "2026-11-24T03:47:09+00:00"
    assert "fwfeed-refresh.service: ended " in made.run("status", "-v").out
    assert 'fwfeed_unit_exit_code{unit="fwfeed-apply.service"} 137\n' in made.run("metrics").out
    assert f"fwfeed_timer_next_timestamp_seconds {FIRES.timestamp():.0f}\n" in made.run("metrics").out


@pytest.mark.parametrize("mark", ["", "@"])
def test_a_service_manager_is_told(mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{path}" if mark else path)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{mark}{path}")
        units.notify("READY=1", "STATUS=watching")
        assert manager.recv(100) == b"READY=1\nSTATUS=watching"


@pytest.mark.parametrize(
    "address", [None, "", "/nonexistent/notify", "@nonexistent", "vsock:2:1", "relative", "/" * 200]
)
def test_where_no_service_manager_listens_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    units.notify("READY=1")


@pytest.mark.parametrize("code", [0, 1])
def test_watch_says_that_it_is_ready_when_it_listens_and_not_before(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def observe(_group: int, _show: object, *, ready: Callable[[], None], **_handed: object) -> Summary:
            with pytest.raises(BlockingIOError):
                manager.recv(100)
            if code:
                raise FwfeedError("NFLOG group 243 has another listener")
            ready()
            return Summary()

        monkeypatch.setattr("fwfeed.observe.observe", observe)
        assert made.run("watch", "--quiet", "--record").code == code
        if code == 0:
            assert manager.recv(100) == b"READY=1\nSTATUS=watching NFLOG group 243"
        with pytest.raises(BlockingIOError):
            manager.recv(100)
