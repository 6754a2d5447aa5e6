"""What a run of the tests says at its end: what it skipped and why, and what its tests have left running."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import needs
from tests.leaks import runs
from tests.unit.builders import CHECKOUT

TESTS = """
import subprocess
import pytest
from tests.skipping import require

def test_leaves_nothing():
    with subprocess.Popen(["sleep", "300"]) as process:
        process.kill()

def test_leaves_a_grandchild():
    assert {leaves}
    subprocess.run(["setsid", "sh", "-c", "sleep 300 >/dev/null 2>&1 & exit"], check=True)

@pytest.mark.parametrize("number", range(3))
def test_needs_what_is_not_there(number):
    require("", "needs a machine of its own")
"""


def ran(folder: Path, *, leaves: bool, ci: str = "", options: tuple[str, ...] = ()) -> tuple[int, str]:
    (folder / "conftest.py").write_text("from tests.conftest import *\n")
    (folder / "test_it.py").write_text(TESTS.format(leaves=leaves))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        "/dev/null",
        "-p",
        "no:cacheprovider",
        *options,
        "test_it.py",
    ]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "CI": ci}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("options", [(), ("-n2",)], ids=["alone", "side by side"])
def test_a_process_that_is_left_is_ended_and_fails_the_run(options: tuple[str, ...], tmp_path: Path) -> None:
    code, said = ran(tmp_path, leaves=True, options=options)
    (left,) = re.findall("^LEFT RUNNING: (.*)$", said, re.MULTILINE)
    found = re.fullmatch(r"process (\d+), 'sleep 300', there since \S*test_it.py::test_leaves_a_grandchild", left)
    assert found, left
    assert code == pytest.ExitCode.TESTS_FAILED
    assert not runs(int(found[1]))


def test_what_was_skipped_is_told_once_with_its_reason_and_in_ci_fails(tmp_path: Path) -> None:
    code, said = ran(tmp_path, leaves=False)
    assert code == pytest.ExitCode.TESTS_FAILED  # as the one that leaves nothing asserts so
    assert said.count("needs a machine of its own") == 1
    assert "\nskipped 3: needs a machine of its own\n" in said
    assert "LEFT RUNNING" not in said
    assert "nothing may be skipped in CI: needs a machine of its own" in ran(tmp_path, leaves=False, ci="true")[1]


def test_a_need_is_asked_for_itself() -> None:
    """Of a child that can only read what is somebody else's, and whose user stays who he is."""
    code = (
        "from tests import needs\n"
        "print(needs.capability('CAP_CHOWN', 'CAP_SETUID'))\n"
        "for need in (needs.mounting, needs.networking, needs.root): print(need())"
    )
    stripped = (
        ["setpriv", "--bounding-set=-all,+dac_override", "--inh-caps=-all"]
        if not needs.capability("CAP_SETUID")
        else []
    )
    command = [*stripped, sys.executable, "-c", code]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60)
    capability, mounting, networking, root = done.stdout.splitlines()
    assert capability == "needs CAP_CHOWN and CAP_SETUID"
    assert mounting.startswith("needs mounts of its own: unshare: ")
    assert networking.startswith(("needs network namespaces: unshare: ", "needs ip, nft, sysctl: "))
    assert root == needs.root()
