"""Why a path, a program or the bindings of D-Bus cannot be had: each with a hint that fits who asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fwfeed import access, firewalld, process
from fwfeed.errors import FwfeedError
from tests.skipping import leave_out
from tests.unit.builders import CHECKOUT, ENVIRONMENT, FWFEED, GERMANY, JAPAN, Ended, World, delegated, run

NOBODY = 65534


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others can enter, other than pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="fwfeed-access-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(*command: str | Path) -> Ended:
    """Run a command as somebody who owns nothing; without root as ourselves, for whom a mode of 0 is enough."""
    root = os.geteuid() == 0
    if root and not all(each.stat().st_mode & 0o005 for each in (CHECKOUT, *CHECKOUT.parents)):
        leave_out(f"{CHECKOUT} is closed to other users")
    done = subprocess.run(
        command,
        env={**ENVIRONMENT, "PYTHONPATH": str(CHECKOUT)},
        user=NOBODY if root else None,
        group=NOBODY if root else None,
        extra_groups=[] if root else None,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def test_the_outermost_folder_that_may_not_be_entered_is_found(open_folder: Path) -> None:
    closed = open_folder / "closed"
    deep = closed / "also" / "file"
    deep.parent.mkdir(parents=True)
    closed.chmod(0)
    code = "import sys; from pathlib import Path; from fwfeed.access import barred\n"
    code += "print(*map(barred, map(Path, sys.argv[1:])))"
    try:
        ended = as_nobody(sys.executable, "-P", "-c", code, deep, closed, open_folder / "not there")
    finally:
        closed.chmod(0o755)
    assert ended == Ended(0, f"{closed} None None\n", "")


@pytest.mark.parametrize(("euid", "way_out"), [(0, access.SELINUX), (1000, "run it as root (sudo)")])
def test_a_program_that_may_not_be_started_is_no_traceback(
    euid: int, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nft").write_text("#!/bin/sh\n")
    (tmp_path / "nft").chmod(0o644)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    with pytest.raises(FwfeedError) as caught:
        process.run("nft", timeout=5)
    assert (caught.value.message, caught.value.way_out) == ("cannot start nft: Permission denied", way_out)


@pytest.mark.parametrize(("euid", "way_out"), [(0, access.WITHOUT_NET_ADMIN), (1000, "run it as root (sudo)")])
def test_a_kernel_that_refuses_root_is_no_reason_to_become_root(
    euid: int, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft = tmp_path / "nft"
    nft.write_text('#!/bin/sh\necho "Operation not permitted (you must be root)" >&2\nexit 1\n')
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    with pytest.raises(FwfeedError) as caught:
        firewalld.kernel_rules()
    assert caught.value.way_out == way_out


@pytest.fixture
def made(open_folder: Path) -> World:
    made = World(open_folder)
    made.configure()
    made.publish("apnic", delegated("apnic", JAPAN))
    made.publish("ripencc", delegated("ripencc", GERMANY))
    assert made.run("fetch").code == 0
    return made


def bindings_missing(prefix: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "dbus", None)
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "base_prefix", str(base))
    with pytest.raises(FwfeedError) as caught:
        firewalld.connect()
    assert caught.value.message == "the Python bindings for D-Bus are missing"
    return caught.value.way_out


def test_without_the_bindings_a_system_is_told_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bindings_missing(Path("/usr"), Path("/usr"), monkeypatch) == "dnf install python3-dbus"


def test_an_environment_that_sees_the_system_is_told_whose_bindings_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert bindings_missing(tmp_path, Path("/usr"), monkeypatch) == (
        f"dnf install python3-dbus; they are for the system's Python alone, and {tmp_path} has {version}"
    )


def test_an_environment_that_does_not_see_the_system_is_told_how_to_be_made(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    code = "from fwfeed import firewalld\ntry: firewalld.connect()\nexcept Exception as error: print(error.way_out)"
    told = subprocess.run(
        [folder / "bin/python", "-P", "-c", code],
        env={**ENVIRONMENT, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert told == (
        f"the virtual environment {folder} does not see the system's packages: make it anew, with python3 -m venv "
        f"--clear --system-site-packages {folder}, and install fwfeed into it again\n"
    )


@pytest.mark.parametrize("command", ["report", "preview"])
@pytest.mark.parametrize("closed", ["ledger.sqlite", "."])
def test_a_ledger_that_is_roots_is_said_to_be(command: str, closed: str, made: World) -> None:
    assert made.run(command).code == 0
    ledger = made.state / "ledger.sqlite"
    ledger.touch()
    before = sorted(made.state.rglob("*"))
    (made.state / closed).chmod(0)
    try:
        ended = as_nobody(FWFEED, "--config", made.config, command)
    finally:
        (made.state / closed).chmod(0o755)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        f"fwfeed: {ledger}: the ledger cannot be read: it is for root alone, as command lines can hold secrets\n"
        "fwfeed: way out: run it with sudo\n"
    )
    assert sorted(made.state.rglob("*")) == before


def test_what_the_system_refuses_where_nobody_expected_it_is_no_traceback(made: World) -> None:
    closed = made.root / "closed"
    closed.mkdir(mode=0)
    ended = as_nobody(FWFEED, "--config", made.config, "render", "--output", closed / "x")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        f"fwfeed: {closed}/x: Permission denied\n"
        "fwfeed: way out: run it as root (sudo), or name paths of your own in [paths]\n"
    )


def test_a_configuration_that_may_not_be_read_says_to_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_more: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    for euid, way_out in ((0, access.SELINUX), (1000, "run it as root (sudo)")):
        monkeypatch.setattr(os, "geteuid", lambda euid=euid: euid)
        ended = run("--config", tmp_path / "f.toml", "status")
        assert ended.code == 2
        assert ended.err.endswith(f"way out: {way_out}; or name a file that can be read with --config\n")
