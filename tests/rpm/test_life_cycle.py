"""The package is installed, upgraded, downgraded and removed by dnf, in a root of its own whose scriptlets run."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from fwfeed import __version__
from tests.rpm.packages import LATER, Packages, publish
from tests.rpm.roots import Root

SYSUSERS = "systemd-sysusers fwfeed.conf"
TMPFILES = "systemd-tmpfiles --create fwfeed.conf"
RELOAD = "systemctl daemon-reload"
STARTED = "fwfeed.timer fwfeed-watch.service"
STOPPED = "fwfeed.timer fwfeed-refresh.service fwfeed-apply.service fwfeed-watch.service"
CONFIG = "etc/fwfeed/fwfeed.toml"
PLUGIN = "/usr/lib64/nagios/plugins/check_fwfeed"
EDITED = '[set]\nname = "FR"\ncountries = ["FR"]\n'


@pytest.fixture
def empty(tmp_path: Path, installed: Root) -> Root:
    return Root(tmp_path / "empty", installed.repository)


def test_an_install_makes_user_and_folders_and_enables_nothing(empty: Root) -> None:
    said = empty.change("install", f"fwfeed-{__version__}")
    assert empty.called() == [SYSUSERS, TMPFILES, f"systemctl --no-reload preset {STARTED}", RELOAD]
    assert "systemctl enable --now fwfeed.timer" in said
    assert "fwfeed render --dry-run" in said
    assert not (empty.folder / "etc/systemd").exists()
    assert not (empty.folder / "usr/lib/systemd/system-preset").exists()
    assert empty.verify() == ""


def test_all_files_are_roots_and_nobody_else_can_write_them(installed: Root) -> None:
    paths = installed.ours()
    assert {"/usr/bin/fwfeed", f"/{CONFIG}", "/usr/share/fwfeed/templates/zone.xml.j2", "/var/lib/fwfeed"} <= paths
    assert paths >= {PLUGIN}
    for path in paths:
        status = (installed.folder / path[1:]).lstat()
        assert (status.st_uid, status.st_gid) == (0, 0), path
        if stat.S_ISLNK(status.st_mode):
            continue
        program = stat.S_ISDIR(status.st_mode) or path in {"/usr/bin/fwfeed", PLUGIN}
        assert stat.S_IMODE(status.st_mode) == (0o755 if program else 0o644), path


def test_nothing_is_put_where_firewalld_reads(installed: Root) -> None:
    assert not (installed.folder / "etc/firewalld").exists()
    assert not (installed.folder / "usr/lib/firewalld").exists()


def test_an_undo_after_a_crash_needs_nobody_to_enable_it(installed: Root) -> None:
    units = installed.folder / "usr/lib/systemd/system"
    wanted = [path.relative_to(units) for path in units.glob("*.wants/*")]
    assert wanted == [Path("multi-user.target.wants/fwfeed-recover.service")]
    assert (units / wanted[0]).resolve() == units / "fwfeed-recover.service"


def test_an_edited_configuration_survives_an_upgrade_beside_the_new_one(root: Root) -> None:
    (root.folder / CONFIG).write_text(EDITED)
    assert "c /etc/fwfeed/fwfeed.toml" in root.verify()
    root.change("upgrade", "fwfeed")
    assert root.versions() == LATER
    assert (root.folder / CONFIG).read_text() == EDITED
    assert "The configuration of fwfeed" in (root.folder / f"{CONFIG}.rpmnew").read_text()
    (line,) = root.verify().splitlines()
    assert line.startswith("S.5")
    assert line.endswith("c /etc/fwfeed/fwfeed.toml")


def test_a_configuration_as_it_was_shipped_is_replaced(root: Root) -> None:
    root.change("upgrade", "fwfeed")
    assert "The configuration of fwfeed" in (root.folder / CONFIG).read_text()
    assert not (root.folder / f"{CONFIG}.rpmnew").exists()
    assert root.verify() == ""


def test_an_upgrade_touches_no_unit_but_a_timer_or_watch_that_runs(root: Root) -> None:
    root.change("upgrade", "fwfeed")
    assert sorted(root.called()) == sorted([SYSUSERS, TMPFILES, f"systemctl try-restart {STARTED}", RELOAD])


def test_an_upgrade_leaves_no_file_of_the_older_version(root: Root) -> None:
    root.change("upgrade", "fwfeed")
    assert not {path for path in root.ours() if __version__ in path}


def test_a_downgrade_brings_back_what_was(root: Root, installed: Root) -> None:
    root.change("upgrade", "fwfeed")
    root.change("downgrade", f"fwfeed-{__version__}")
    assert root.versions() == __version__
    assert root.verify() == ""
    assert root.ours() == installed.ours()


def test_a_removal_stops_all_and_leaves_state_and_an_edited_configuration(root: Root) -> None:
    state = root.folder / "var/lib/fwfeed/generations/1/manifest.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    (root.folder / CONFIG).write_text(EDITED)
    root.change("remove", "--noautoremove", "fwfeed")
    assert root.versions() == ""
    disabled = f"systemctl --no-reload disable --now --no-warn {STOPPED}"
    assert root.called()[0] == disabled
    assert root.ours() == {
        "/etc/fwfeed",
        f"/{CONFIG}.rpmsave",
        "/var/lib/fwfeed",
        "/var/lib/fwfeed/generations",
        "/var/lib/fwfeed/generations/1",
        "/var/lib/fwfeed/generations/1/manifest.json",
    }
    assert (root.folder / f"{CONFIG}.rpmsave").read_text() == EDITED


def test_a_removal_of_what_was_never_used_leaves_nothing(root: Root) -> None:
    root.change("remove", "--noautoremove", "fwfeed")
    assert root.ours() == set()
    assert not (root.folder / "usr/lib64/nagios").exists()


def test_a_removal_without_a_running_systemd_disables_the_timer(root: Root) -> None:
    # rpm's own, as dnf's wrapper makes the root look booted
    shutil.rmtree(root.folder / "run/systemd")
    assert root.erase() == ""
    disabled = f"systemctl --no-reload disable --no-warn {STOPPED}"
    assert root.called() == [disabled]


@pytest.mark.parametrize("lacking", ["firewalld", "nftables", "python3-dbus", "python3-netaddr"])
def test_without_what_it_needs_it_is_not_installed_at_all(lacking: str, packages: Packages, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(packages.repository, repository, copy_function=os.link)
    (repository / f"{lacking}.rpm").unlink()
    publish(repository)
    root = Root(tmp_path / "root", repository)
    done = root.dnf("install", "fwfeed")
    assert done.returncode == 1
    assert "nothing provides" in done.stderr
    assert root.versions() == ""
    assert root.ours() == set()
    assert root.called() == []
