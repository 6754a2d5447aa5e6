"""Which versions of firewalld the lab runs on, and that none is left out unsaid."""

from __future__ import annotations

from pathlib import Path

from tests.lab.matrix import Absent, Firewalld, matrix


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
