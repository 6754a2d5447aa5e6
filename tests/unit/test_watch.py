"""What `fwfeed watch` shows and records, with flows made by hand in place of the kernel's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fwfeed.flow import Sent
from fwfeed.ledger import Ledger, path
from fwfeed.observe import Summary
from tests.unit.builders import CHECKOUT, World, world
from tests.unit.flows import sent


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    flow = sent(at=datetime.now(UTC))

    def observe(_group: int, show: Callable[[Sent], None], **handed: Any) -> Summary:
        handed["ready"]()
        show(flow)
        if handed["record"] is not None:
            handed["record"]([flow])
        return Summary(1, 1, 1, 0)

    monkeypatch.setattr("fwfeed.observe.observe", observe)
    return world(tmp_path)


@pytest.mark.parametrize("options", [["--quiet"], ["--record"], ["--quiet", "--json"]])
def test_flows_are_shown(made: World, options: list[str]) -> None:
    assert "203.0.113.2" in made.run("watch", *options).out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_recorder_that_is_quiet_shows_nothing(made: World, options: list[str]) -> None:
    done = made.run("watch", "--quiet", "--record", *options)
    assert (done.code, done.out, done.err) == (0, "", "")
    with Ledger.open(path(made.state)) as ledger:
        now = datetime.now(UTC)
        assert [each.number for each in ledger.select(now - timedelta(days=1), now + timedelta(days=1))] == [1]


def test_a_name_that_the_locale_cannot_write_is_escaped() -> None:
    code = (
        "import sys\nfrom fwfeed.cli import main\nsys.argv[1:] = ['--version']\n"
        "try: main()\nexcept SystemExit: print(chr(0x65E5)); print(chr(0xDC80), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        env={"PYTHONIOENCODING": "ascii:strict"},
        cwd=CHECKOUT,
    )
    assert (done.returncode, done.stderr) == (0, b"\\udc80\n")
    assert done.stdout.endswith(b"\\u65e5\n")
