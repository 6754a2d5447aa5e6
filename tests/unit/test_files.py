"""Files that take their places together or not at all, and what is read only where it can be trusted."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwfeed import access
from fwfeed.errors import FwfeedError
from fwfeed.store import files
from tests import needs
from tests.skipping import leave_out, require
from tests.unit.builders import CHECKOUT, snapshot

SELINUX = "SELinux may refuse it: ausearch -m avc -ts recent"
ELSEWHERE = "see that the path in [paths] is right, and that there is room"


def refused(call: Callable[[], object]) -> FwfeedError:
    with pytest.raises(FwfeedError) as caught:
        call()
    return caught.value


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, the hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_several_files_take_their_places_on_commit_and_not_before(tmp_path: Path) -> None:
    old, new, deep = tmp_path / "old", tmp_path / "new", tmp_path / "made" / "for" / "it"
    old.write_bytes(b"before")
    with files.Staging() as staging:
        staging.write(old, b"1")
        staging.write(new, b"2")
        staging.write(deep, b"3")
        assert old.read_bytes() == b"before"
        assert not new.exists()
        assert not deep.exists()
        staging.commit()
        assert contents(tmp_path) == {"old": b"1", "new": b"2", "made/for/it": b"3"}
    assert contents(tmp_path) == {"old": b"1", "new": b"2", "made/for/it": b"3"}


def test_a_scratch_file_takes_whatever_place_it_is_given(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "made" / "for" / "it"
    old.write_bytes(b"before")
    old.chmod(0o640)
    with files.Staging() as staging:
        for place, content in ((old, b"1"), (new, b"2")):
            scratch = staging.scratch(tmp_path / "scratches" / place.name)
            assert not scratch.exists()
            assert scratch.parent == tmp_path / "scratches"
            scratch.write_bytes(content)
            scratch.chmod(0o600)
            staging.assign(scratch, place)
        assert old.read_bytes() == b"before"
        assert not new.exists()
        staging.commit()
    assert contents(tmp_path) == {"old": b"1", "made/for/it": b"2"}
    assert (mode(old), mode(new)) == (0o640, 0o644)
    assert names(tmp_path / "scratches") == []


def test_a_scratch_file_that_got_no_place_is_removed(tmp_path: Path) -> None:
    with files.Staging() as staging:
        for name in ("assigned", "left", "left too"):
            staging.scratch(tmp_path / name).write_bytes(b"1")
        staging.scratch(tmp_path / "never made")
        staging.assign(tmp_path / ".assigned.fwfeed-new", tmp_path / "assigned")
        staging.commit()
        assert contents(tmp_path) == {
            "assigned": b"1",
            ".left.fwfeed-new": b"1",
            ".left too.fwfeed-new": b"1",
        }
    assert contents(tmp_path) == {"assigned": b"1"}


def test_scratch_files_go_with_an_error_whether_they_have_a_place_or_not(tmp_path: Path) -> None:
    (tmp_path / "assigned").write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), files.Staging() as staging:
        for name in ("assigned", "left"):
            staging.scratch(tmp_path / name).write_bytes(b"1")
        staging.assign(tmp_path / ".assigned.fwfeed-new", tmp_path / "assigned")
        raise ZeroDivisionError
    assert contents(tmp_path) == {"assigned": b"before"}


def test_what_lies_where_a_scratch_file_is_to_be_is_gone_before_it_is_written(tmp_path: Path) -> None:
    # whoever opens it to write must not write through a link, or behind what a crash has left
    (tmp_path / "victim").write_bytes(b"not ours")
    (tmp_path / ".file.fwfeed-new").symlink_to(tmp_path / "victim")
    with files.Staging() as staging:
        scratch = staging.scratch(tmp_path / "file")
        assert not os.path.lexists(scratch)
    assert contents(tmp_path) == {"victim": b"not ours"}


def test_a_place_that_is_assigned_twice_gets_the_last_file(tmp_path: Path) -> None:
    with files.Staging() as staging:
        staging.write(tmp_path / "file", b"1")
        scratch = staging.scratch(tmp_path / "other")
        scratch.write_bytes(b"2")
        staging.assign(scratch, tmp_path / "file")
        staging.commit()
    assert contents(tmp_path) == {"file": b"2"}


def test_a_scratch_file_that_was_never_written_cannot_be_assigned(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    with files.Staging() as staging:
        scratch = staging.scratch(tmp_path / "file")
        message = refused(lambda: staging.assign(scratch, tmp_path / "file")).message
        assert message == f"cannot write {tmp_path}/file: No such file or directory"
        staging.commit()
    assert contents(tmp_path) == {"file": b"before"}


def test_after_a_commit_nothing_is_left_to_put_in_place(tmp_path: Path) -> None:
    with files.Staging() as staging:
        staging.write(tmp_path / "file", b"1")
        staging.commit()
        (tmp_path / "file").write_bytes(b"2")
        staging.commit()
    assert contents(tmp_path) == {"file": b"2"}


def test_without_commit_nothing_is_there(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"before")
    before = snapshot(tmp_path)
    with files.Staging() as staging:
        staging.write(tmp_path / "old", b"1")
        staging.write(tmp_path / "new", b"2")
        assert len(contents(tmp_path)) == 3
    assert snapshot(tmp_path) == before


def test_an_error_in_the_block_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), files.Staging() as staging:
        staging.write(tmp_path / "old", b"1")
        raise ZeroDivisionError
    assert contents(tmp_path) == {"old": b"before"}


def test_the_new_file_is_written_in_the_folder_of_the_old_one_under_a_name_firewalld_does_not_read(
    tmp_path: Path,
) -> None:
    with files.Staging() as staging:
        staging.write(tmp_path / "JP.xml", b"1")
        assert names(tmp_path) == [".JP.xml.fwfeed-new"]


def test_what_a_crash_left_behind_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".file.fwfeed-new").write_bytes(b"half of it, and longer than the new one")
    (tmp_path / ".file.fwfeed-old").write_bytes(b"older than old")
    (tmp_path / "file").write_bytes(b"before")
    files.replace(tmp_path / "file", b"1")
    assert contents(tmp_path) == {"file": b"1"}


def test_a_link_in_the_temporary_files_place_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"not ours")
    (tmp_path / ".file.fwfeed-new").symlink_to(tmp_path / "victim")
    files.replace(tmp_path / "file", b"1")
    assert contents(tmp_path) == {"file": b"1", "victim": b"not ours"}


def test_a_file_keeps_the_mode_it_has(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for kept in (0o600, 0o640, 0o664):
        path.touch()
        path.chmod(kept)
        files.replace(path, b"1")
        assert mode(path) == kept


@pytest.mark.parametrize("umask", [0, 0o027, 0o077])
def test_a_new_folder_can_be_looked_into_by_all_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    (tmp_path / "own").mkdir(0o700)
    before = os.umask(umask)
    try:
        files.make_folder(tmp_path / "own/state/generations")
    finally:
        os.umask(before)
    assert [mode(tmp_path / path) for path in ("own", "own/state", "own/state/generations")] == [0o700, 0o755, 0o755]


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_a_new_file_can_be_read_by_all_and_written_by_its_owner_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files.replace(tmp_path / "file", b"1")
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o644


def in_the_way(path: Path) -> None:
    """Put a folder where the rename of a written file cannot go, but only after it was written."""
    path.mkdir()
    (path / "inside").write_bytes(b"somebody else's")


@pytest.mark.parametrize("elsewhere", [False, True], ids=["written", "assigned"])
@pytest.mark.parametrize("blocked", [0, 1, 2, 3])
def test_a_rename_that_fails_puts_all_earlier_files_back(tmp_path: Path, blocked: int, elsewhere: bool) -> None:  # noqa: FBT001
    paths = [tmp_path / "a" / "old", tmp_path / "a" / "new", tmp_path / "b" / "old", tmp_path / "b" / "new"]
    for path in paths[::2]:
        files.replace(path, f"before {path.parent.name}".encode())
        path.chmod(0o600)
    with files.Staging() as staging:
        for number, path in enumerate(paths):
            if elsewhere:
                scratch = staging.scratch(tmp_path / "c" / str(number))
                scratch.write_bytes(b"after")
                staging.assign(scratch, path)
            else:
                staging.write(path, b"after")
        paths[blocked].unlink(missing_ok=True)
        in_the_way(paths[blocked])
        error = refused(staging.commit)
        assert error.message == f"cannot write {paths[blocked]}: Is a directory"
        assert error.way_out == ELSEWHERE
    expected = {"a/old": b"before a", "b/old": b"before b"}
    expected.pop(str(paths[blocked].relative_to(tmp_path)), None)
    assert contents(tmp_path) == expected | {f"{paths[blocked].relative_to(tmp_path)}/inside": b"somebody else's"}
    assert all(mode(tmp_path / name) == 0o600 for name in expected)


def test_a_file_put_back_is_the_very_same_file(tmp_path: Path) -> None:
    path, folder = tmp_path / "file", tmp_path / "folder"
    path.write_bytes(b"before")
    before = path.stat()
    with files.Staging() as staging:
        staging.write(path, b"after")
        staging.write(folder, b"after")
        in_the_way(folder)
        refused(staging.commit)
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_nlink) == (before.st_ino, before.st_mtime_ns, 1)


def test_a_new_file_that_vanished_before_the_commit_stops_all_of_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.write_bytes(b"before")
    with files.Staging() as staging:
        staging.write(first, b"after")
        staging.write(second, b"after")
        (tmp_path / ".second.fwfeed-new").unlink()
        assert refused(staging.commit).message == f"cannot write {second}: No such file or directory"
    assert contents(tmp_path) == {"second": b"before"}


@pytest.mark.parametrize("points_at", ["there", "nowhere"])
def test_a_link_in_a_targets_place_is_put_back(tmp_path: Path, points_at: str) -> None:
    link, folder = tmp_path / "link", tmp_path / "folder"
    (tmp_path / "there").write_bytes(b"before")
    link.symlink_to(points_at)
    with files.Staging() as staging:
        staging.write(link, b"after")
        staging.write(folder, b"after")
        in_the_way(folder)
        refused(staging.commit)
    assert link.is_symlink()
    assert link.readlink() == Path(points_at)
    assert contents(tmp_path / "folder") == {"inside": b"somebody else's"}
    assert names(tmp_path) == ["folder", "link", "there"]


_PUT_BACK = """
import sys
from pathlib import Path
from fwfeed.errors import FwfeedError
from fwfeed.store import files

folder = Path(sys.argv[1])
with files.Staging() as staging:
    for name in ("to-file", "to-nowhere", "blocked"):
        staging.write(folder / name, b"after")
    (folder / "blocked").mkdir()
    try:
        staging.commit()
    except FwfeedError as error:
        print(error.message)
"""


def pythons() -> dict[str, str]:
    """Return each Python at hand that fwfeed supports, by its version: this one, and those of the search path."""
    found = {}
    for program in (sys.executable, *(shutil.which(f"python3.{minor}") for minor in range(11, 20))):
        if program:
            asked = subprocess.run([program, "-V"], capture_output=True, text=True, check=False, timeout=60)
            if asked.returncode == 0:  # pyenv has commands of versions that are not in use
                found[asked.stdout.strip()] = program
    return found


def test_a_refused_commit_puts_links_back_on_every_python_at_hand(tmp_path: Path) -> None:
    for version, python in pythons().items():
        folder = tmp_path / version
        folder.mkdir()
        (folder / "file").write_bytes(b"before")
        (folder / "to-file").symlink_to("file")
        (folder / "to-nowhere").symlink_to("nowhere")
        code = f"import sys; sys.path.append({str(CHECKOUT)!r})\n{_PUT_BACK}"
        command = [python, "-I", "-S", "-c", code, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stdout) == (0, f"cannot write {folder}/blocked: Is a directory\n"), done.stderr
        assert names(folder) == ["blocked", "file", "to-file", "to-nowhere"], version
        assert (folder / "to-file").readlink() == Path("file"), version
        assert (folder / "to-nowhere").readlink() == Path("nowhere"), version


@pytest.mark.parametrize("points_at", ["there", "nowhere"])
def test_a_link_is_put_back_where_links_are_followed_unless_told_not_to(
    points_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Python 3.14 does, whichever this is."""
    true_link = os.link

    def link(source: Path, target: Path, *, follow_symlinks: bool = True) -> None:
        true_link(os.path.realpath(source) if follow_symlinks else source, target, follow_symlinks=False)

    monkeypatch.setattr(os, "link", link)
    test_a_link_in_a_targets_place_is_put_back(tmp_path, points_at)


def test_an_interruption_in_the_middle_puts_all_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No real failure comes from Ctrl-C at a chosen rename, so the second rename raises it."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"before")
    rename = Path.replace

    def interrupted(path: Path, target: Path) -> Path:
        if target == second:
            raise KeyboardInterrupt
        return rename(path, target)

    with files.Staging() as staging:
        staging.write(first, b"after")
        staging.write(second, b"after")
        monkeypatch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            staging.commit()
    assert contents(tmp_path) == {"first": b"before"}


def test_files_that_cannot_be_made_durable_are_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No real disk fails at the folder's fsync on demand."""
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def broken(folder: Path) -> None:
        raise OSError(5, os.strerror(5), str(folder))

    with files.Staging() as staging:
        staging.write(path, b"after")
        staging.write(tmp_path / "new", b"after")
        monkeypatch.setattr(files, "sync", broken)
        assert refused(staging.commit).message == f"cannot sync {tmp_path}: Input/output error"
    assert contents(tmp_path) == {"file": b"before"}


def vanish(staging: files.Staging, path: Path) -> None:
    """Stage a file that is gone before it can take its place."""
    scratch = staging.scratch(path)
    scratch.write_bytes(b"after")
    staging.assign(scratch, path)
    scratch.unlink()


@settings(deadline=None, max_examples=25)
@given(old=st.lists(st.none() | st.binary(max_size=20), min_size=1, max_size=5), data=st.data())
def test_whatever_lay_there_a_commit_is_whole_or_nothing(
    tmp_path_factory: pytest.TempPathFactory, old: list[bytes | None], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("commit")
    blocked = data.draw(st.none() | st.integers(0, len(old)), label="blocked")
    for number, content in enumerate(old):
        if content is not None:
            (folder / str(number)).write_bytes(content)
    before = contents(folder)
    with files.Staging() as staging:
        for number in range(len(old)):
            if number == blocked:
                vanish(staging, folder / "vanished")
            if number % 2:
                staging.write(folder / str(number), b"after")
            else:
                scratch = staging.scratch(folder / "elsewhere" / str(number))
                scratch.write_bytes(b"after")
                staging.assign(scratch, folder / str(number))
        if blocked == len(old):
            vanish(staging, folder / "vanished")
        if blocked is None:
            staging.commit()
        else:
            refused(staging.commit)
    assert contents(folder) == (before if blocked is not None else {str(n): b"after" for n in range(len(old))})


def test_a_folder_in_a_targets_place_is_left_alone(tmp_path: Path) -> None:
    in_the_way(tmp_path / "file")
    before = snapshot(tmp_path / "file")
    assert refused(lambda: files.replace(tmp_path / "file", b"1")).message == (
        f"cannot write {tmp_path}/file: Is a directory"
    )
    assert snapshot(tmp_path / "file") == before
    assert names(tmp_path) == ["file"]


def test_a_file_in_a_folders_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    path = tmp_path / "file" / "below"
    assert refused(lambda: files.replace(path, b"1")).message.startswith(f"cannot make the folder {tmp_path}/file: ")
    assert contents(tmp_path) == {"file": b"before"}


def test_several_threads_write_into_one_staging(tmp_path: Path) -> None:
    together = threading.Barrier(8)
    with files.Staging() as staging, ThreadPoolExecutor(8) as pool:

        def write(number: int) -> None:
            together.wait(timeout=30)
            for step in range(10):
                staging.write(tmp_path / str(step) / str(number), f"{number} {step}".encode())

        for done in [pool.submit(write, number) for number in range(8)]:
            done.result()
        assert not [path for path in contents(tmp_path) if not path.endswith(".fwfeed-new")]
        staging.commit()
    assert contents(tmp_path) == {f"{s}/{n}": f"{n} {s}".encode() for s in range(10) for n in range(8)}


def test_readers_see_the_old_or_the_new_content_and_never_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    whole = [bytes([number]) * 100_000 for number in range(20)]
    path.write_bytes(whole[0])

    def write() -> None:
        for content in whole:
            files.replace(path, content)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        seen = [path.read_bytes()]
        while not writing.done():
            seen.append(path.read_bytes())
        writing.result()
    assert set(seen) <= set(whole)


def test_a_file_is_replaced(tmp_path: Path) -> None:
    files.replace(tmp_path / "file", b"1")
    assert contents(tmp_path) == {"file": b"1"}
    files.replace(tmp_path / "file", b"")
    assert contents(tmp_path) == {"file": b""}


def test_a_file_of_somebody_else_is_replaced_in_a_folder_of_ones_own(tmp_path: Path) -> None:
    """Root ran `fwfeed fetch` once; since then the timer does, as a user who owns the folder but not the file.

    Linux lets nobody give a second name to a file that he may not write (fs.protected_hardlinks in proc_sys_fs(5)).
    """
    require(needs.capability("CAP_CHOWN", "CAP_SETUID"))
    (tmp_path / "candidate.json").write_bytes(b"before")
    os.chown(tmp_path, 65534, -1)
    code = f"""
import os
from pathlib import Path
from fwfeed.store import files
os.chdir({str(tmp_path)!r})
os.seteuid(65534)
files.replace(Path("candidate.json"), b"after")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, check=False, timeout=60)
    assert done.stderr == b""
    assert contents(tmp_path) == {"candidate.json": b"after"}


def test_a_link_is_replaced_and_not_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"before")
    (tmp_path / "link").symlink_to("target")
    files.replace(tmp_path / "link", b"after")
    assert not (tmp_path / "link").is_symlink()
    assert contents(tmp_path) == {"link": b"after", "target": b"before"}


def test_a_file_is_removed_and_one_that_is_gone_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "other").touch()
    for _ in range(2):
        files.remove(tmp_path / "file")
        assert names(tmp_path) == ["other"]


def test_a_folder_is_not_removed(tmp_path: Path) -> None:
    in_the_way(tmp_path / "folder")
    message = refused(lambda: files.remove(tmp_path / "folder")).message
    assert message.startswith(f"cannot remove {tmp_path}/folder: ")
    assert contents(tmp_path) == {"folder/inside": b"somebody else's"}


def test_a_file_is_read_and_a_missing_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0content\xff")
    assert files.read(tmp_path / "file") == b"\0content\xff"
    assert files.read(tmp_path / "missing") is None
    assert files.read(tmp_path / "missing" / "too") is None


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert refused(lambda: files.read(tmp_path)).message == f"cannot read {tmp_path}: Is a directory"
    assert refused(lambda: files.read_untrusted(tmp_path / ("x" * 4096), 1)).message.startswith("cannot read ")


@given(st.binary(max_size=64), st.integers(0, 64))
def test_an_untrusted_file_is_read_up_to_the_cap_and_no_byte_further(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cap: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "untrusted"
    path.write_bytes(content)
    if len(content) <= cap:
        assert files.read_untrusted(path, cap) == content
    else:
        error = refused(lambda: files.read_untrusted(path, cap))
        assert error.message == f"{path}: not a regular file of at most {cap:,} bytes"
        assert error.way_out == "remove it and run: fwfeed fetch"


def test_an_untrusted_file_that_is_missing_is_none(tmp_path: Path) -> None:
    assert files.read_untrusted(tmp_path / "missing", 10) is None


@pytest.mark.parametrize("target", ["target", "nowhere"])
def test_an_untrusted_link_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "target").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / target)
    message = refused(lambda: files.read_untrusted(tmp_path / "link", 10)).message
    assert message.startswith(f"cannot read {tmp_path}/link: ")
    assert "secret" not in message


@pytest.mark.parametrize("held", [False, True], ids=["nobody writes", "somebody holds it open"])
def test_an_untrusted_pipe_is_refused_at_once(tmp_path: Path, held: bool) -> None:  # noqa: FBT001
    path = tmp_path / "pipe"
    os.mkfifo(path)
    other = os.open(path, os.O_RDWR) if held else -1
    began = time.monotonic()
    message = refused(lambda: files.read_untrusted(path, 1000)).message
    if held:
        os.close(other)
    assert message == f"{path}: not a regular file of at most 1,000 bytes"
    assert time.monotonic() - began < 5


def test_an_untrusted_folder_and_device_are_refused(tmp_path: Path) -> None:
    refused(lambda: files.read_untrusted(tmp_path, 1000))
    refused(lambda: files.read_untrusted(Path("/dev/zero"), 1000))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a folder in a folder, both as root would make them."""
    require(needs.root())
    folder = tmp_path / "state" / "generations"
    folder.mkdir(parents=True)
    for each in (folder, folder.parent):
        each.chmod(0o755)
    return folder


def not_own(path: Path, folder: Path) -> None:
    before = folder.lstat()
    error = refused(lambda: files.require_own(path))
    assert error.message == f"{folder} must be a folder of root's that nobody else can write"
    assert error.way_out == f"chown root: {folder}; chmod go-w {folder}"
    assert folder.lstat() == before


@pytest.mark.parametrize("allowed", [0o755, 0o750, 0o700, 0o555, 0o2755])
def test_roots_own_folder_is_trusted(own: Path, allowed: int) -> None:
    own.chmod(allowed)
    own.parent.chmod(allowed)
    files.require_own(own)


def test_folders_that_are_not_there_yet_are_trusted(own: Path) -> None:
    files.require_own(own / "missing")
    files.require_own(own / "missing" / "too")


@pytest.mark.parametrize("parent", [False, True], ids=["itself", "its parent"])
@pytest.mark.parametrize("writable", [0o775, 0o757, 0o777, 0o1777])
def test_a_folder_that_others_can_write_is_not_trusted(own: Path, writable: int, parent: bool) -> None:  # noqa: FBT001
    folder = own.parent if parent else own
    folder.chmod(writable)
    not_own(own, folder)


@pytest.mark.parametrize("parent", [False, True], ids=["itself", "its parent"])
def test_a_folder_of_another_user_is_not_trusted(own: Path, parent: bool) -> None:  # noqa: FBT001
    require(needs.capability("CAP_CHOWN"))
    folder = own.parent if parent else own
    os.chown(folder, 65534, -1)
    not_own(own, folder)


def test_the_parent_is_looked_at_where_the_folder_is_not_there_yet(own: Path) -> None:
    own.chmod(0o777)
    not_own(own / "missing", own)


@pytest.mark.parametrize("parent", [False, True], ids=["itself", "its parent"])
def test_a_link_to_roots_own_folder_is_not_trusted(own: Path, parent: bool) -> None:  # noqa: FBT001
    folder = own.parent if parent else own
    folder.rename(folder.with_name("real"))
    folder.symlink_to("real")
    not_own(own, folder)


def test_a_file_in_the_folders_place_is_not_trusted(own: Path) -> None:
    own.rmdir()
    own.touch(0o644)
    not_own(own, own)


def test_who_is_not_root_trusts_what_he_can_read(tmp_path: Path) -> None:
    """He has no more rights than whoever filled it, and the kernel says what he may read."""
    (tmp_path / "anybody").mkdir()
    (tmp_path / "anybody").chmod(0o777)
    code = f"""
import os
from pathlib import Path
from fwfeed.store import files
if os.geteuid() == 0:
    os.seteuid(65534)
files.require_own(Path({str(tmp_path / "anybody")!r}))
"""
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True, timeout=60)


@pytest.mark.parametrize(
    ("euid", "error", "message", "way_out"),
    [
        (
            1,
            PermissionError(errno.EACCES, "Permission denied"),
            "permission denied",
            "run it as root (sudo), or name paths of your own in [paths]",
        ),
        (0, PermissionError(errno.EACCES, "Permission denied"), "permission denied", SELINUX),
        (
            0,
            PermissionError(errno.EPERM, "Operation not permitted"),
            "Operation not permitted",
            f"its attributes may forbid it: lsattr -d {{folder}} {{folder}}/file; or {SELINUX}",
        ),
        (
            0,
            OSError(errno.EROFS, "Read-only file system"),
            "Read-only file system",
            "its file system is read-only: findmnt -T {folder}/file; in a unit of systemd's, see its ReadWritePaths=",
        ),
        (0, OSError(errno.EIO, "Input/output error"), "Input/output error", "its disk fails: journalctl -k"),
    ],
)
def test_a_refusal_of_the_system_says_what_to_do_about_its_own_reason(
    euid: int, error: OSError, message: str, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(access, "_overrides_rights", lambda: True)  # as of root outside of a container
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FwfeedError) as caught, files.explained("write", file):
        raise error
    assert caught.value.message == f"cannot write {file}: {message}"
    assert caught.value.way_out == way_out.replace("{folder}", str(tmp_path))


@pytest.mark.parametrize("missing", ["new", "new/er/est"])
@pytest.mark.parametrize(
    ("number", "overrides", "way_out"),
    [
        (errno.EPERM, True, "its attributes may forbid it: lsattr -d {folder}; or "),
        (errno.EACCES, False, "root may only do here what the rights of files say (namei -l {folder}); or "),
        (errno.EROFS, True, "its file system is read-only: findmnt -T {folder}; in "),
    ],
)
@pytest.mark.parametrize("called", ["", "a copy below the folder for temporary files"])
def test_a_way_out_names_no_file_that_is_not_there(
    missing: str,
    number: int,
    overrides: bool,  # noqa: FBT001 - a parameter of the test's
    way_out: str,
    called: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(access, "_overrides_rights", lambda: overrides)
    file = tmp_path / missing
    told = access.hint(OSError(number, os.strerror(number), str(file)), called or file)
    assert told.startswith(way_out.format(folder=tmp_path))


def test_root_without_rights_over_the_files_of_others_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in fwfeed-apply.service, which has no CAP_DAC_OVERRIDE."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(access, "_overrides_rights", lambda: False)
    with pytest.raises(FwfeedError) as caught, files.explained("write", tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert (
        caught.value.way_out
        == f"root may only do here what the rights of files say (namei -l {tmp_path}); or {SELINUX}"
    )


def test_a_file_that_nobody_may_change_is_told(tmp_path: Path) -> None:
    require(needs.program("chattr"), needs.capability("CAP_LINUX_IMMUTABLE"))
    file = tmp_path / "file"
    file.write_text("before")
    if subprocess.run(["chattr", "+i", file], check=False, capture_output=True).returncode:
        leave_out("the file system has no attributes, or the container may not set them")
    try:
        with pytest.raises(FwfeedError) as caught:
            files.replace(file, b"after")
    finally:
        subprocess.run(["chattr", "-i", file], check=True)
    assert f"lsattr -d {tmp_path} {file};" in caught.value.way_out
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


def test_a_real_denial_is_explained_too() -> None:
    """Not even root may make a folder in /proc; others are denied that by the mode of /."""
    with pytest.raises(FwfeedError) as caught:
        files.make_folder(Path("/proc/fwfeed"))
    assert caught.value.message.startswith("cannot make the folder /proc/fwfeed: ")


@pytest.mark.parametrize(
    ("error", "reason"), [(OSError(28, "No space left on device"), "No space left on device"), (OSError("odd"), "odd")]
)
def test_any_other_error_of_the_system_says_what_where_and_why(error: OSError, reason: str) -> None:
    with pytest.raises(FwfeedError) as caught, files.explained("write", Path("/var/lib/fwfeed")):
        raise error
    assert caught.value.message == f"cannot write /var/lib/fwfeed: {reason}"
    assert caught.value.way_out == ELSEWHERE
    assert caught.value.__cause__ is error


def test_a_tree_that_cannot_be_copied_names_the_file_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    os.mkfifo(tmp_path / "tree" / "pipe")
    with pytest.raises(FwfeedError) as caught, files.explained("copy", tmp_path / "tree"):
        shutil.copytree(tmp_path / "tree", tmp_path / "copy")
    assert caught.value.message.startswith(f"cannot copy {tmp_path}/tree/pipe: ")
    assert "is a named pipe" in caught.value.message


def test_other_errors_and_none_pass_through() -> None:
    with files.explained("write", "file"):
        pass
    for error in (FwfeedError("said already"), ValueError("a bug"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, files.explained("write", "file"):
            raise error
        assert caught.value is error


def test_a_signal_in_the_middle_of_a_commit_waits_until_all_files_have_their_places(tmp_path: Path) -> None:
    code = """
import signal, sys
from pathlib import Path
from fwfeed.signals import Interrupted, interruptible
from fwfeed.store import files

keep = files._keep
files._keep = lambda path: (keep(path), signal.raise_signal(signal.SIGTERM))
folder = Path(sys.argv[1])
try:
    with interruptible(), files.Staging() as staging:
        for name in "ab":
            staging.write(folder / name, b"new")
        staging.commit()
except Interrupted as error:
    print(error)
"""
    for name in "ab":
        (tmp_path / name).write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "SIGTERM\n", "")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new", "b": b"new"}


def test_a_folder_is_built_whole(tmp_path: Path) -> None:
    files.build(tmp_path / "new", {"one": b"1", "below/two": b"2"})
    assert contents(tmp_path) == {"new/one": b"1", "new/below/two": b"2"}


def test_a_folder_that_cannot_be_built_is_not_there(tmp_path: Path) -> None:
    refused(lambda: files.build(tmp_path / "new", {"one": b"1", "one/two": b"2"}))
    assert names(tmp_path) == []
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "theirs").touch()
    refused(lambda: files.build(tmp_path / "new", {"one": b"1"}))
    assert contents(tmp_path) == {"new/theirs": b""}


def test_a_folder_is_dismantled_with_what_an_interrupted_dismantling_left(tmp_path: Path) -> None:
    for name in ("old", ".old.fwfeed-old"):
        (tmp_path / name / "below").mkdir(parents=True)
    files.dismantle(tmp_path / "old")
    assert names(tmp_path) == []
    files.dismantle(tmp_path / "old")
    assert names(tmp_path) == []
