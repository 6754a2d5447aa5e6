"""Which versions of firewalld the lab runs on, and that none is left out unsaid."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.lab.conftest import MATRIX
from tests.lab.matrix import Absent, Firewalld, matrix, one_of


def unpack(tree: Path, line: str) -> Path:
    """Unpack as much of a firewalld as says its version."""
    config = tree / "usr/lib/python3/dist-packages/firewall/config/__init__.py"
    config.parent.mkdir(parents=True)
    config.write_text(f"# a comment\nVERSION = {line}\n")
    return tree


def test_whatever_is_unpacked_is_run_on_by_its_version_the_oldest_first(tmp_path: Path) -> None:
    for name, version in (("forky", '"2.10.0"'), ("trixie", '"2.3.1"'), ("bookworm", "'1.3.3'")):
        unpack(tmp_path / "releases" / name, version)
    found = matrix(tmp_path)
    assert list(found) == ["1.3.3", "2.3.1", "2.10.0"]
    assert found["2.10.0"] == Firewalld(tmp_path / "releases/forky")


def test_what_could_not_be_had_is_left_out_with_the_reason(tmp_path: Path) -> None:
    unpack(tmp_path / "releases/trixie", '"2.3.1"')
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent/forky").write_text("E: no such release\n")
    found = matrix(tmp_path)
    assert list(found) == ["2.3.1", "forky"]
    assert found["forky"] == Absent("forky", "firewalld of forky could not be had: E: no such release")


def test_where_nothing_is_unpacked_that_is_what_each_test_says(tmp_path: Path) -> None:
    (found,) = matrix(tmp_path).values()
    assert isinstance(found, Absent)
    assert found.reason == f"the lab needs firewalld unpacked below {tmp_path}: make lab, as root"


def test_one_in_another_place_is_run_on_alone(tmp_path: Path) -> None:
    unpack(tmp_path / "releases/trixie", '"2.3.1"')
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent/forky").write_text("E: no such release\n")
    other = unpack(tmp_path / "other", '"2.6.0"')
    assert matrix(tmp_path, str(other)) == {"2.6.0": Firewalld(other)}


def test_one_version_that_stands_for_all_is_almalinux_10s_or_else_the_newest_there_is(tmp_path: Path) -> None:
    old, stable, new = (Firewalld(tmp_path / name) for name in ("bookworm", "trixie", "forky"))
    absent = Absent("trixie", "no such release")
    assert one_of({"1.3.3": old, "2.3.1": stable, "2.10.0": new}) == {"2.3.1": stable}
    assert one_of({"1.3.3": old, "2.10.0": new, "trixie": absent}) == {"2.10.0": new}
    assert one_of({"trixie": absent}) == {"trixie": absent}


@pytest.mark.parametrize("which", ["", "full"])
def test_what_one_version_proves_runs_on_one_unless_all_are_asked_for(which: str) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "tests/lab/test_rollback.py"]
    done = subprocess.run(
        command,
        env={**os.environ, "FWFEED_LAB_MATRIX": which},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    times = Counter(re.findall(r"::test_(entries_alone|the_history)", done.stdout))
    assert times == {"entries_alone": len(MATRIX), "the_history": len(MATRIX) if which else 1}
