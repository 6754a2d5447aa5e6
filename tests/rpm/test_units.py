"""The units as they are installed: systemd knows every key, and they are confined."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fwfeed.config import Config
from fwfeed.errors import ExitCode
from fwfeed.privileges import USER
from fwfeed.store import candidates
from fwfeed.store.journal import Journal
from tests import needs
from tests.rpm.packages import CHECKOUT, SETUP
from tests.rpm.roots import Root
from tests.skipping import require

UNITS = Path("usr/lib/systemd/system")
SERVICES = ("fwfeed-refresh", "fwfeed-apply", "fwfeed-recover", "fwfeed-watch")


def settings(name: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", (CHECKOUT / "systemd" / name).read_text(), flags=re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def booted(installed: Root, tmp_path: Path) -> Path:
    """The root with the targets of this machine's systemd, for the package's units to refer to."""
    require(needs.program("systemd-analyze", hint=SETUP))
    root = tmp_path / "root"
    shutil.copytree(installed.folder, root, symlinks=True)
    for target in Path("/", UNITS).glob("*.target"):
        if not (root / UNITS / target.name).exists():
            shutil.copy(target, root / UNITS / target.name, follow_symlinks=True)
    return root


def verify(root: Path) -> subprocess.CompletedProcess[str]:
    units = ["fwfeed.timer", *(f"{name}.service" for name in SERVICES)]
    # --man=no: it asks this machine's man
    command = ["systemd-analyze", "verify", f"--root={root}", "--man=no", *units]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_systemd_has_nothing_to_say_of_the_units(booted: Path) -> None:
    done = verify(booted)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_systemd_would_have_said_it(name: str, booted: Path) -> None:
    """An unknown key and a command that is not there, as the return code alone does not tell."""
    unit = booted / UNITS / f"{name}.service"
    unit.write_text(unit.read_text().replace("ProtectSystem=", "ProtectedSystem="))
    assert "Unknown key 'ProtectedSystem'" in verify(booted).stderr
    (booted / "usr/bin/fwfeed").unlink()
    assert f"{name}.service: Command /usr/bin/fwfeed is not executable" in verify(booted).stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str, installed: Root) -> None:
    require(needs.program("systemd-analyze", hint=SETUP))
    unit = installed.folder / UNITS / f"{name}.service"
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure
    assert float(exposure[1]) <= 2.0


def test_the_units_are_the_trees(installed: Root) -> None:
    for name in ("fwfeed.timer", *(f"{each}.service" for each in SERVICES)):
        assert (installed.folder / UNITS / name).read_text() == (CHECKOUT / "systemd" / name).read_text()


def test_the_timer_spreads_hosts_over_the_night_and_makes_up_for_a_missed_one() -> None:
    timer = settings("fwfeed.timer")
    (delay,) = timer["RandomizedDelaySec"]
    assert re.fullmatch(r"\d+h", delay)
    assert int(delay[:-1]) >= 1
    assert timer["FixedRandomDelay"] == ["yes"]
    assert timer["Persistent"] == ["yes"]
    assert timer["Unit"] == ["fwfeed-apply.service"]
    assert timer["WantedBy"] == ["timers.target"]
    # the apply of a night waits for its refresh, and goes on without it
    apply = settings("fwfeed-apply.service")
    assert apply["Wants"] == ["fwfeed-refresh.service"]
    assert "fwfeed-refresh.service" in apply["After"][0].split()
    assert "Requires" not in apply


def test_the_conditions_are_of_the_default_paths() -> None:
    paths = Config().paths
    candidate = Path(paths.state, "candidate", candidates.NAME)
    assert settings("fwfeed-apply.service")["ConditionPathExists"] == [str(candidate)]
    journal = Journal.below(Path(paths.state)).folder
    assert settings("fwfeed-recover.service")["ConditionPathExists"] == [str(journal)]


def test_the_half_that_reads_what_strangers_write_is_the_user_fwfeed_without_the_firewall() -> None:
    refresh, users = settings("fwfeed-refresh.service"), (CHECKOUT / "systemd/fwfeed.sysusers.conf").read_text()
    assert refresh["User"] == refresh["Group"] == [USER]
    assert re.search(rf"^u {USER} ", users, flags=re.MULTILINE)
    assert refresh["CapabilityBoundingSet"] == [""]
    hidden = {path.lstrip("-") for path in refresh["InaccessiblePaths"][0].split()}
    assert hidden == {Config().paths.firewalld, Config().paths.run}
    assert refresh["ExecStart"] == ["/usr/bin/fwfeed fetch"]


@pytest.mark.parametrize("name", ["fwfeed-apply.service", "fwfeed-recover.service", "fwfeed-watch.service"])
def test_the_half_that_is_root_reaches_no_network(name: str) -> None:
    unit = settings(name)
    assert "User" not in unit
    assert unit["IPAddressDeny"] == ["any"]
    assert unit["RestrictAddressFamilies"] == ["AF_UNIX AF_NETLINK"]


def test_the_watch_sees_whose_sockets_there_are_and_writes_nothing_that_apply_trusts() -> None:
    watch, paths = settings("fwfeed-watch.service"), Config().paths
    assert watch["Type"] == ["notify"]
    assert watch["ExecStart"] == ["/usr/bin/fwfeed watch --quiet --record"]
    assert watch["CapabilityBoundingSet"] == ["CAP_NET_ADMIN CAP_SYS_PTRACE CAP_DAC_READ_SEARCH"]
    assert f"/var/lib/{watch['StateDirectory'][0]}" == paths.state
    assert watch["UMask"] == ["0077"]
    assert watch["ReadOnlyPaths"] == [f"-{paths.state}/candidate -{paths.state}/generations"]
    assert watch["InaccessiblePaths"] == [f"-{paths.firewalld}"]
    assert watch["StandardOutput"] == ["null"]
    assert watch["StandardError"] == ["journal"]  # inherited, it would be null, too
    assert watch["Restart"] == ["always"]
    assert watch["RestartPreventExitStatus"] == [str(ExitCode.USAGE.value)]
    assert re.fullmatch(r"\d+M", watch["MemoryMax"][0])
    assert re.fullmatch(r"\d\d%", watch["CPUQuota"][0])
    assert watch["WantedBy"] == ["multi-user.target"]


def test_the_folders_are_the_default_ones_and_those_of_the_user_are_his() -> None:
    lines = re.findall(
        r"^d (\S+) (\S+) (\S+) (\S+) -$", (CHECKOUT / "systemd/fwfeed.tmpfiles.conf").read_text(), re.MULTILINE
    )
    paths = Config().paths
    assert lines == [
        (paths.cache, "0755", USER, USER),
        (paths.state, "0755", "root", "root"),
        (f"{paths.state}/candidate", "0755", USER, USER),
        (paths.run, "0755", "root", "root"),
    ]
