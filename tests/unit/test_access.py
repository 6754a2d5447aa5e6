"""Why a path, a program or the bindings of D-Bus cannot be had: each with a hint that fits who asks."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fwfeed import access, firewalld, process, reporting
from fwfeed.errors import FwfeedError
from fwfeed.fetch.proxy import Proxy
from fwfeed.ledger import schema
from fwfeed.store import delegations
from tests import needs
from tests.skipping import leave_out, require
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


VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def become(
    prefix: Path | str, base: str, monkeypatch: pytest.MonkeyPatch, folder: Path, system: str = f"python{VERSION}"
) -> None:
    """Be a Python with this prefix and base, where the system's python3 leads to `system`."""
    (folder / "python3").symlink_to(system)
    monkeypatch.setattr(access, "SYSTEM_PYTHON", folder / "python3")
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "base_prefix", base)


def bindings_missing(
    prefix: Path, base: str, monkeypatch: pytest.MonkeyPatch, folder: Path, system: str = f"python{VERSION}"
) -> str:
    become(prefix, base, monkeypatch, folder, system)
    monkeypatch.setitem(sys.modules, "dbus", None)
    with pytest.raises(FwfeedError) as caught:
        firewalld.connect()
    assert caught.value.message == "the Python bindings for D-Bus are missing"
    return caught.value.way_out


@pytest.mark.parametrize(
    ("prefix", "base", "sees", "dnf"),
    [
        ("/usr", "/usr", "", True),
        ("", "/usr", "true", True),
        ("", "/usr", "false", False),
        ("/opt/python", "/opt/python", "", False),
        ("", "/opt/python", "true", False),
    ],
)
def test_what_socks_needs_is_installed_where_this_python_sees_it(
    prefix: str,
    base: str,
    sees: str,
    dnf: bool,  # noqa: FBT001 - a parameter of the test's
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "pyvenv.cfg").write_text(f"include-system-site-packages = {sees}\n")
    become(prefix or tmp_path, base, monkeypatch, tmp_path)
    told = Proxy("https_proxy", "socks5://192.0.2.1:1080").way_out("Missing dependencies for SOCKS support.")
    install = "dnf install python3-pysocks" if dnf else f"{sys.executable} -m pip install pysocks"
    assert told.startswith(f"{install}, or name a proxy for HTTP; ")


def of_another(folder: Path) -> str:
    return (
        f"dnf install python3-dbus; it is for {folder}/python3 alone, and this is {sys.executable} ({VERSION}): "
        f"install fwfeed with {folder}/python3"
    )


def test_without_the_bindings_a_system_is_told_to_install_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bindings_missing(Path("/usr"), "/usr", monkeypatch, tmp_path) == "dnf install python3-dbus"


@pytest.mark.parametrize("system", ["python3.6", "python3.99", "elsewhere"])
def test_a_python_beside_the_systems_is_told_whose_bindings_there_are(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bindings_missing(Path("/usr"), "/usr", monkeypatch, tmp_path, system) == of_another(tmp_path)


@pytest.mark.parametrize("base", ["/opt/python", "/usr/local", "/home/user/.pyenv/versions/3.12.1"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_python_of_ones_own_is_told_whose_bindings_there_are(
    base: str,
    inside: bool,  # noqa: FBT001 - a parameter of the test's
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prefix = tmp_path if inside else Path(base)
    assert bindings_missing(prefix, base, monkeypatch, tmp_path) == of_another(tmp_path)


def test_an_environment_that_sees_the_system_is_told_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyvenv.cfg").write_text("include-system-site-packages = true\n")
    assert bindings_missing(tmp_path, "/usr", monkeypatch, tmp_path) == "dnf install python3-dbus"


def test_an_environment_that_does_not_see_the_system_is_told_how_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    assert bindings_missing(tmp_path, "/usr", monkeypatch, tmp_path) == (
        f"the virtual environment {tmp_path} does not see the system's packages: make it anew, with {tmp_path}/python3 "
        f"-m venv --clear --system-site-packages {tmp_path}, and install fwfeed into it again"
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
    try:
        ended = as_nobody(FWFEED, "--config", made.config, "render", "--output", closed / "x")
    finally:
        closed.chmod(0o755)  # an ordinary user could not tidy it up
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


@contextmanager
def immutable(folder: Path) -> Iterator[None]:
    """Keep even root from making anything in a folder."""
    require(needs.program("chattr"), needs.capability("CAP_LINUX_IMMUTABLE"))
    if subprocess.run(["chattr", "+i", folder], check=False, capture_output=True).returncode:
        leave_out("the file system has no attributes, or the container may not set them")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


def is_refused(ended: Ended, *said: str) -> None:
    assert (ended.code, ended.out) == (1, "")
    for each in said:
        assert each in ended.err


def test_a_folder_that_nobody_may_change_is_named_and_not_what_is_not_in_it(made: World) -> None:
    made.publish("apnic", delegated("apnic", JAPAN, serial=20260106))
    folder = made.root / "cache" / "apnic"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with immutable(folder):
        ended = made.run("fetch")
    is_refused(ended, "Operation not permitted", f"lsattr -d {folder}; or {access.SELINUX}")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_page_in_a_folder_that_nobody_may_change_has_the_folder_named(made: World, tmp_path: Path) -> None:
    with immutable(tmp_path):
        ended = made.run("report", "--html", tmp_path / "x.html")
    is_refused(ended, f"lsattr -d {tmp_path}; or {access.SELINUX}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["report", "preview"])
def test_a_ledger_that_cannot_be_made_is_no_empty_one(command: str, made: World) -> None:
    before = sorted(made.state.iterdir())
    with immutable(made.state):
        ended = made.run(command)
    is_refused(ended, f"cannot write {made.state}/ledger.sqlite: ", f"lsattr -d {made.state}; or {access.SELINUX}")
    assert "nothing is in the ledger" not in ended.err
    assert sorted(made.state.iterdir()) == before


@pytest.mark.parametrize("command", ["report", "preview"])
def test_what_keeps_a_report_from_the_log_is_told_with_its_way_out(
    command: str, made: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(needs.root())
    made.run("report")

    def refuse(*_arguments: object, **_more: object) -> int:
        raise FwfeedError("no log", "find it")

    monkeypatch.setattr(reporting, "import_log", refuse)
    ended = made.run(command)
    assert ended.code == 0
    assert "what only the kernel's log knows is not all there: no log; find it\n" in ended.err


def test_a_database_in_a_folder_that_nobody_may_change_has_the_same_ways_out(tmp_path: Path) -> None:
    file = tmp_path / "x.sqlite"
    with immutable(tmp_path):
        with pytest.raises(FwfeedError) as built, delegations.building(file):
            pass
        with pytest.raises(FwfeedError) as kept, schema.explained(file):
            sqlite3.connect(file).execute("CREATE TABLE x (y)")
    way_out = f"there may be no room: df {tmp_path}; or its attributes may forbid it: lsattr -d {tmp_path}; or "
    for caught in (built, kept):
        assert caught.value.message == f"cannot write {file}: unable to open database file"
        assert caught.value.way_out == way_out + access.SELINUX
    assert not list(tmp_path.iterdir())


def test_a_database_on_a_read_only_file_system_is_told_so(tmp_path: Path) -> None:
    require(needs.mounting())
    code = "import sys; from pathlib import Path; from fwfeed.access import hint_at_database\n"
    code += "print(hint_at_database(Path(sys.argv[1], 'x'), full=False))"
    script = 'mount -t tmpfs -o ro fwfeed "$0" && exec "$@" "$0"'
    told = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, tmp_path, sys.executable, "-P", "-c", code],
        env={**ENVIRONMENT, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert told.startswith(f"its file system is read-only: findmnt -T {tmp_path};")


def test_a_database_without_room_has_the_place_named(tmp_path: Path) -> None:
    assert access.hint_at_database(tmp_path / "x", full=True) == f"make room on its file system: df {tmp_path}"


@pytest.mark.parametrize("closed", [".", "list.txt"])
def test_a_feed_that_may_not_be_read_is_no_matter_of_paths(closed: str, open_folder: Path) -> None:
    lists = open_folder / "lists"
    lists.mkdir()
    (lists / "list.txt").write_text("192.0.2.0/24\n")
    code = "import sys; from fwfeed.fetch import local; from fwfeed.fetch.parts import Buffer\n"
    code += "try: local.get(sys.argv[1], Buffer(), 100, None, folders=True)\n"
    code += "except Exception as error: print(error.message, error.way_out, sep='\\n')"
    (lists / closed).chmod(0)
    try:
        asked = [f"file://{lists}/list.txt"] if closed == "." else [f"file://{lists}/list.txt", f"file://{lists}"]
        told = [as_nobody(sys.executable, "-P", "-c", code, url).out.splitlines() for url in asked]
    finally:
        (lists / closed).chmod(0o755)
    there = (lists / closed).resolve()
    way_out = f"it has to be open to who fetches, where root asks user fwfeed: namei -l {there}; or name another URL"
    assert told == [[f"{url}: Permission denied", way_out] for url in asked]
