"""What a killed test leaves is taken down by the next, and what belongs to a running one is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import world as lab_world
from tests.lab.namespaces import batch, sweep, tagged
from tests.lab.world import wait_until
from tests.leaks import runs
from tests.needs import LOG_ALL
from tests.skipping import require

pytestmark = pytest.mark.lab

_TEST = """
import subprocess, time
from tests.lab.namespaces import batch, tagged
with tagged() as tag:
    batch(f"netns add fwfeed-{tag}-host")
    inside = subprocess.Popen(["ip", "netns", "exec", f"fwfeed-{tag}-host", "sleep", "600"])
    print(tag, inside.pid, flush=True)
    time.sleep(600)
"""


def namespaces(tag: str) -> list[str]:
    return [path.name for path in Path("/run/netns").iterdir() if path.name.startswith(f"fwfeed-{tag}-")]


def test_namespaces_go_with_their_test_or_with_the_next_after_it_was_killed() -> None:
    require(lab_world.missing())
    with tagged() as ours:
        batch(f"netns add fwfeed-{ours}-host")
        command = [sys.executable, "-c", _TEST]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as other:
            assert other.stdout is not None
            theirs, pid = other.stdout.readline().split()
            sweep()
            assert namespaces(ours) == [f"fwfeed-{ours}-host"]
            assert namespaces(theirs) == [f"fwfeed-{theirs}-host"]
            other.kill()
        sweep()
        assert namespaces(ours) == [f"fwfeed-{ours}-host"]
        assert namespaces(theirs) == []
        wait_until(lambda: not runs(int(pid)), "what ran in it to end")
        assert LOG_ALL.read_text().strip() == "1"
    assert namespaces(ours) == []
