"""One command at a time, and the lock is free again when its holder dies."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fwfeed.errors import FwfeedError
from fwfeed.store.lock import locked
from tests.unit.builders import CHECKOUT

HOLD = """
import sys
from pathlib import Path
from fwfeed.store.lock import locked
with locked(Path(sys.argv[1]), wait=0, waiting=print):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process hold the lock until its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield holder
        finally:
            holder.kill()


def told_nothing(message: str) -> None:
    pytest.fail(f"there was nothing to wait for: {message}")


def test_a_free_lock_is_taken_at_once_and_again_when_it_was_given_back(tmp_path: Path) -> None:
    for _ in range(3):
        with locked(tmp_path, wait=0, waiting=told_nothing):
            pass


def test_the_folder_is_made(tmp_path: Path) -> None:
    with locked(tmp_path / "run" / "fwfeed", wait=0, waiting=told_nothing):
        assert (tmp_path / "run" / "fwfeed" / "lock").is_file()


def test_the_locks_of_two_folders_do_not_know_each_other(tmp_path: Path) -> None:
    with locked(tmp_path / "a", wait=0, waiting=told_nothing), locked(tmp_path / "b", wait=0, waiting=told_nothing):
        pass


@pytest.mark.parametrize("umask", [0, 0o077])
def test_nobody_else_may_open_the_lock(tmp_path: Path, umask: int) -> None:
    """Whoever can open it can hold it."""
    before = os.umask(umask)
    try:
        with locked(tmp_path, wait=0, waiting=told_nothing):
            assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("target", ["target", "nowhere"])
def test_a_link_in_the_locks_place_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "target").write_bytes(b"not ours")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(FwfeedError) as caught, locked(tmp_path, wait=0, waiting=told_nothing):
        pytest.fail("the lock was taken")
    assert caught.value.message.startswith(f"cannot open the lock {tmp_path}/lock: ")
    assert (tmp_path / "target").read_bytes() == b"not ours"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "target"]


def test_who_does_not_get_it_in_time_is_told_once_and_then_why_and_what_to_do(tmp_path: Path) -> None:
    told: list[str] = []
    with held_by_another(tmp_path):
        began = time.monotonic()
        with pytest.raises(FwfeedError) as caught, locked(tmp_path, wait=0.35, waiting=told.append):
            pytest.fail("two hold the lock")
        assert 0.35 <= time.monotonic() - began < 5
    assert told == [f"waiting for another fwfeed command to end ({tmp_path}/lock)"]
    assert caught.value.message == f"another fwfeed command has held {tmp_path}/lock for 0.35 s"
    assert caught.value.way_out == "wait for it, or see who it is: lslocks"


def test_who_does_not_want_to_wait_is_refused_at_once(tmp_path: Path) -> None:
    with held_by_another(tmp_path):
        with pytest.raises(FwfeedError) as caught, locked(tmp_path, wait=0, waiting=told_nothing):
            pytest.fail("two hold the lock")
        assert caught.value.message == f"another fwfeed command has held {tmp_path}/lock for 0 s"


def test_who_waits_gets_it_when_the_other_ends(tmp_path: Path) -> None:
    told: list[str] = []
    with held_by_another(tmp_path) as holder:
        assert holder.stdin is not None
        let_end = holder.stdin.close

        def let_go(message: str) -> None:
            told.append(message)
            threading.Timer(0.3, let_end).start()

        with locked(tmp_path, wait=30, waiting=let_go):
            assert holder.wait(timeout=30) == 0
    assert len(told) == 1


def test_a_holder_that_is_killed_holds_it_no_more(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as holder:
        holder.kill()
        holder.wait(timeout=30)
        with locked(tmp_path, wait=0, waiting=told_nothing):
            pass


def test_an_error_in_the_block_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path, wait=0, waiting=told_nothing):
        raise ZeroDivisionError
    with locked(tmp_path, wait=0, waiting=told_nothing):
        pass


def test_a_program_started_under_the_lock_does_not_keep_it(tmp_path: Path) -> None:
    with locked(tmp_path, wait=0, waiting=told_nothing):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with locked(tmp_path, wait=0, waiting=told_nothing):
            pass
    finally:
        child.kill()
        child.wait(timeout=30)


def test_two_of_many_never_hold_it_together(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with locked(tmp_path, wait=30, waiting=lambda _message: None):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.02)
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert most == [1] * 6
