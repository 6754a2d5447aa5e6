"""Reports and evidence are for their owner alone, from the first byte on, and go where they were to go."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fwfeed.errors import FwfeedError
from fwfeed.store import private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(("before", "after"), [(None, 0o600), (0o644, 0o644), (0o6755, 0o755), (0o400, 0o400)])
def test_a_file_of_ours_keeps_its_mode_and_a_new_one_is_for_us_alone(
    before: int | None, after: int, tmp_path: Path
) -> None:
    file = tmp_path / "new/report.html"
    if before is not None:
        file.parent.mkdir()
        file.write_bytes(b"old")
        file.chmod(before)
    private.replace(file, b"content")
    assert (file.read_bytes(), mode(file)) == (b"content", after)
    assert [each.name for each in file.parent.iterdir()] == ["report.html"]


def test_nobody_else_can_read_it_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        seen.extend(stat.S_IMODE(each.stat().st_mode) for each in tmp_path.rglob("*"))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", look)
    old = os.umask(0)
    try:
        private.replace(tmp_path / "report.html", b"content")
        private.build(tmp_path / "evidence", {"a": b"1", "b": b"2"})
    finally:
        os.umask(old)
    assert set(seen) == {0o600, 0o700}
    assert {each.name: mode(each) for each in (tmp_path / "evidence").iterdir()} == {"a": 0o600, "b": 0o600}


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"not ours")
    victim.chmod(0o644)
    for name in ("report.html", ".report.html.fwfeed-new"):
        (tmp_path / name).symlink_to(victim)
    private.replace(tmp_path / "report.html", b"content")
    assert (victim.read_bytes(), mode(victim)) == (b"not ours", 0o644)
    assert (tmp_path / "report.html").read_bytes() == b"content"
    assert mode(tmp_path / "report.html") == 0o600


def test_a_folder_that_somebody_else_makes_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    building = tmp_path / ".evidence.fwfeed-new"
    monkeypatch.setattr("fwfeed.store.files.remove_tree", lambda path: path.mkdir(exist_ok=True))
    with pytest.raises(FwfeedError, match="File exists"):
        private.build(tmp_path / "evidence", {"a": b"1"})
    assert not list(building.iterdir())


def test_a_folder_is_made_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(FwfeedError):
        private.build(tmp_path / "evidence", {"a": b"1", "not/there": b"2"})
    assert not list(tmp_path.iterdir())
