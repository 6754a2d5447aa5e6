"""Confirm or roll back: what nobody confirms is undone, whatever became of whoever could have."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fwfeed.times import local_text
from tests.lab.matrix import on_one_version
from tests.lab.moments import PROOF, Moment, impatient, stopped
from tests.lab.test_trouble import NOT_KNOWN, goes_in, hung
from tests.lab.whole import MORE, files_are, have_old_and_prepare_new, status, table_handle, whole
from tests.lab.world import FWFEED, SYSTEM_PYTHON, World, wait_until

pytestmark = pytest.mark.lab

ON_ONE = on_one_version("who waits, and for how long, is fwfeed's own; that a change is undone is proved on all")

PATIENCE = 90.0
"""For what takes a second, or ten where firewalld is waited for, on a machine that does much else."""

SAID = Moment("after", "fwfeed.cli.session:write", 3)
"""All is written that an apply has to say: two lines, and what the buffer held."""


@pytest.fixture(autouse=True)
def nobody_waits_on(lab: World) -> Iterator[None]:
    """End what still waits when a test is over: it would for an hour."""
    yield
    end_waiting(lab)


def waiting(lab: World) -> list[int]:
    """Return the processes that wait for a generation to be confirmed, or undo it."""
    sign = f"{lab.folder}/state/journal/fwfeed.toml".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if sign in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def end_waiting(lab: World) -> None:
    """Kill those who wait, as a boot does."""
    for pid in waiting(lab):
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # it leads a session of its own


def asleep(pid: int) -> list[int]:
    """Return the `sleep` that a waiting process waits for."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def wake(lab: World) -> None:
    """Have those who wait wait no longer."""
    wait_until(lambda: all(map(asleep, waiting(lab))), "those who wait to sleep")
    for pid in waiting(lab):
        for child in asleep(pid):
            os.kill(child, signal.SIGTERM)


def journal(lab: World) -> Path:
    return lab.folder / "state/journal/journal.json"


def rewrite_wait(lab: World, **values: object) -> None:
    """Write other values into the journal, as fwfeed would have written them."""
    document = json.loads(journal(lab).read_text())
    document["waits"].update(values)
    journal(lab).write_text(json.dumps(document, indent=1) + "\n")


def let_time_pass(lab: World) -> None:
    """Have the hour be over that there was to confirm: no test can tell how long an apply will take."""
    rewrite_wait(lab, seconds=time.clock_gettime(time.CLOCK_BOOTTIME))
    wake(lab)


def is_undone_by_itself(lab: World) -> None:
    """Wait until all is as it was, without a command of anybody's."""
    wait_until(lambda: not journal(lab).exists(), "it to be undone", PATIENCE)
    wait_until(lambda: not waiting(lab), "who has undone it to end", PATIENCE)
    assert whole(lab) == "old"


def below_etc(lab: World) -> dict[str, bytes]:
    """Return all files but the copy that firewalld keeps when it changes its own."""
    return {str(path): path.read_bytes() for path in lab.etc.rglob("*") if path.is_file() and path.suffix != ".old"}


def history(lab: World) -> list[dict[str, Any]]:
    listed = json.loads(lab.fwfeed("history", "--json").stdout)
    assert isinstance(listed, list)
    return listed


def apply_unconfirmed(lab: World, kind: str = "rules") -> None:
    """Go from the old state to the new one, for an hour."""
    have_old_and_prepare_new(lab, kind)
    applied = lab.fwfeed("apply", "--confirm-within", "1h")
    assert applied.returncode == 0, applied.stderr
    assert files_are(lab) == "new"


@pytest.mark.parametrize("kind", ["entries", "rules"])
def test_what_nobody_confirms_is_undone_by_itself_and_stays_out(lab: World, kind: str) -> None:
    have_old_and_prepare_new(lab, kind)
    before = below_etc(lab)
    # the one with a real time: as long as the slowest machine may take to prove it
    applied = lab.fwfeed("apply", "--confirm-within", "10s")
    assert applied.returncode == 0, applied.stderr
    assert re.search(
        r"\nIT WILL BE UNDONE at [\d-]{10} [\d:]{8} \S+, unless you can still say: fwfeed confirm\n", applied.stdout
    )
    is_undone_by_itself(lab)
    assert below_etc(lab) == before
    first, second = lab.fwfeed("history").stdout.splitlines()
    assert first.startswith("     2 ")
    assert first.endswith("  not confirmed: nobody confirmed it in time")
    assert second.startswith("*    1 ")

    after = lab.snapshot()
    late = lab.fwfeed("confirm")
    assert late.returncode == 4
    assert late.stderr == (
        "fwfeed: generation 2 is not there any more: nobody confirmed it in time\nfwfeed: way out: run: fwfeed apply\n"
    )
    held = lab.fwfeed("update")
    assert held.returncode == 3
    assert "held back: nobody confirmed generation 2; fwfeed apply goes on" in held.stderr
    assert status(lab)["held_back"] == "nobody confirmed generation 2"
    assert unfetched(lab.snapshot()) == unfetched(after)
    goes_in(lab)
    assert lab.fwfeed("update").returncode == 0


def unfetched(snapshot: dict[str, object]) -> dict[str, object]:
    """Leave out of a snapshot what a fetch may note, whatever comes after it."""
    return {key: value for key, value in snapshot.items() if "/cache/" not in key}


@ON_ONE
def test_what_is_confirmed_in_time_stays_and_who_waited_finds_nothing_to_do(lab: World) -> None:
    apply_unconfirmed(lab)
    assert len(waiting(lab)) == 1
    confirmed = lab.fwfeed("confirm")
    assert (confirmed.returncode, confirmed.stdout) == (0, "generation 2 stays\n"), confirmed.stderr
    assert whole(lab) == "new"
    before = lab.snapshot()
    wake(lab)
    wait_until(lambda: not waiting(lab), "who waited to end", PATIENCE)
    again = lab.fwfeed("confirm")
    assert again.returncode == 1
    assert again.stderr == "fwfeed: no generation waits to be confirmed\nfwfeed: way out: see fwfeed history\n"
    assert lab.snapshot() == before
    assert [each["outcome"] for each in history(lab)] == ["applied", "applied"]


@ON_ONE
def test_nothing_else_goes_in_while_it_waits_and_everybody_is_told(lab: World) -> None:
    apply_unconfirmed(lab)
    until = json.loads(journal(lab).read_text())["waits"]["until"]
    shown = local_text(datetime.fromisoformat(until), timezone(timedelta(hours=9), "JST"))
    before = lab.snapshot()
    for words in ("apply", "apply --confirm-within 1m", "rollback 1", "update", "apply --unattended"):
        refused = lab.fwfeed(*words.split(), env={"TZ": "JST-9"})
        assert refused.returncode == (3 if words in {"update", "apply --unattended"} else 1)
        assert refused.stderr.endswith(
            f"fwfeed: generation 2 waits to be confirmed until {shown}\n"
            "fwfeed: way out: keep it: fwfeed confirm; or go back: fwfeed rollback\n"
        )
        assert unfetched(lab.snapshot()) == unfetched(before)
    before = lab.snapshot()
    said = lab.fwfeed("status", env={"TZ": "JST-9"}).stdout
    assert ", generation 2, proved in the kernel\n" in said
    assert f"it will be undone at {shown}, unless somebody says: fwfeed confirm\n" in said
    assert "proved in the kernel\n" in said
    assert status(lab)["waits_until"] == f"{until[:19]}+00:00"
    first, second = history(lab)
    assert (first["in_force"], first["outcome"], second["in_force"]) == (True, "pending", False)
    stranger = lab.run("host", "unshare", "--user", FWFEED, f"--config={lab.folder}/fwfeed.toml", "status")
    assert stranger.returncode == 0
    assert stranger.stderr == "an apply is under way, was cut off, or waits to be confirmed: sudo fwfeed status\n"
    assert lab.snapshot() == before

    undone = lab.fwfeed("rollback")
    assert undone.returncode == 0, undone.stderr
    assert undone.stdout == ("generation 2, which waited to be confirmed, is undone: generation 1 is in force again\n")
    assert whole(lab) == "old"
    assert history(lab)[0]["reason"] == "rolled back before it was confirmed"
    before = lab.snapshot()
    wake(lab)
    wait_until(lambda: not waiting(lab), "who waited to end", PATIENCE)
    assert lab.snapshot() == before


@ON_ONE
@pytest.mark.parametrize("how", ["undone", "refused"])
def test_who_waited_for_an_earlier_generation_leaves_a_later_one_alone(lab: World, how: str) -> None:
    """One that was refused when its timer ran already has left its number to the next."""
    have_old_and_prepare_new(lab, "entries")
    if how == "undone":
        assert lab.fwfeed("apply", "--confirm-within", "1h").returncode == 0
        assert lab.fwfeed("rollback").returncode == 0
    else:
        subprocess.run(["mount", "--bind", lab.etc, lab.etc], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", lab.etc], check=True)
            before = lab.snapshot()
            assert lab.fwfeed("apply", "--confirm-within", "1h").returncode == 1
            assert lab.snapshot() == before
        finally:
            subprocess.run(["umount", lab.etc], check=True)
    earlier = set(waiting(lab))
    assert lab.fwfeed("apply", "--confirm-within", "1h").returncode == 0
    before = lab.snapshot()
    for child in (child for pid in earlier for child in asleep(pid)):
        os.kill(child, signal.SIGTERM)
    wait_until(lambda: not earlier & set(waiting(lab)), "who waited first to end", PATIENCE)
    assert lab.snapshot() == before
    assert status(lab)["waits_until"]
    let_time_pass(lab)
    is_undone_by_itself(lab)


@ON_ONE
def test_a_change_of_rules_waits_where_the_configuration_says_so_and_one_of_entries_for_nobody(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    confirm = 'confirm = "1h"'
    lab.configure(apply=confirm)
    lab.publish(*MORE)
    for _ in ("entries", "nothing to do"):
        updated = lab.fwfeed("update", "--json")
        assert updated.returncode == 0, updated.stderr
        assert json.loads(updated.stdout)["waits_until"] is None
        assert not journal(lab).exists()
    lab.firewall_cmd("--policy=fwfeed-outbound", "--remove-ingress-zone=HOST")
    mended = lab.fwfeed("update", "--json")
    assert json.loads(mended.stdout)["reload"], mended
    assert not journal(lab).exists()

    lab.configure(apply=confirm, outbound='prefix = "ABROAD "')
    applied = lab.fwfeed("apply", "--json")
    assert json.loads(applied.stdout)["waits_until"] == status(lab)["waits_until"] is not None
    assert lab.fwfeed("confirm", "--json").returncode == 0
    before = lab.snapshot()
    assert lab.fwfeed("apply").stdout == "nothing to do: the kernel holds what it should\n"
    assert lab.snapshot() == before
    back = lab.fwfeed("rollback")
    assert "IT WILL BE UNDONE" in back.stdout, back.stderr
    let_time_pass(lab)
    wait_until(lambda: not waiting(lab), "it to be undone", PATIENCE)
    assert "ABROAD" in (lab.etc / "policies/fwfeed-outbound.xml").read_text()
    assert status(lab)["proved"] is True


@ON_ONE
def test_of_the_very_first_nothing_stays_and_an_update_does_not_put_it_in_again(lab: World) -> None:
    before = below_etc(lab)
    lab.configure(apply='confirm = "1h"', inbound='action = "restrict"')
    assert "IT WILL BE UNDONE" in lab.fwfeed("update").stdout
    assert lab.firewall_cmd("--get-default-zone") == "log-outbound"
    let_time_pass(lab)
    wait_until(lambda: not waiting(lab), "it to be undone", PATIENCE)

    def nothing_is_installed() -> None:
        assert below_etc(lab) == before
        assert lab.run("host", "nft", "list", "set", "inet", "firewalld", "JP").returncode != 0
        assert lab.firewall_cmd("--get-default-zone") == "public"
        assert json.loads(lab.fwfeed("status", "--json").stdout)["installed"] is None

    nothing_is_installed()
    held = lab.fwfeed("update")
    assert held.returncode == 3
    assert "held back: nobody confirmed generation 1; fwfeed apply goes on again" in held.stderr
    nothing_is_installed()
    applied = lab.fwfeed("apply")
    assert "IT WILL BE UNDONE" in applied.stdout, applied.stderr
    undone = lab.fwfeed("rollback")
    assert undone.stdout == (
        "generation 2, which waited to be confirmed, is undone: nothing of fwfeed's is installed any more\n"
    ), undone.stderr
    nothing_is_installed()


@ON_ONE
@pytest.mark.parametrize("how", ["hung up", "killed"])
def test_it_outlives_the_terminal_it_was_started_from(lab: World, how: str) -> None:
    """A shell with a terminal of its own runs the command; then either the line drops, or all of it is killed."""
    have_old_and_prepare_new(lab, "rules")
    ours, theirs = pty.openpty()
    # whoever runs the tests may have been told to outlive his own terminal
    shell = ["env", "--default-signal=HUP", "setsid", "--ctty"]
    shell += ["ip", "netns", "exec", lab.namespace("host"), "at-home"]
    shell += ["sh", "-c", '"$@"; exec sleep 3600', "sh", FWFEED, f"--config={lab.folder}/fwfeed.toml"]
    shell += ["apply", "--confirm-within", "1h"]
    with subprocess.Popen(shell, env=lab.environment, stdin=theirs, stdout=theirs, stderr=theirs) as leader:
        os.close(theirs)
        said = b""
        while b"IT WILL BE UNDONE" not in said:
            said += os.read(ours, 4096)
        if how == "killed":
            os.killpg(leader.pid, signal.SIGKILL)
        os.close(ours)
        assert leader.wait(timeout=PATIENCE) == -(signal.SIGKILL if how == "killed" else signal.SIGHUP)
    assert files_are(lab) == "new"
    let_time_pass(lab)
    is_undone_by_itself(lab)


@ON_ONE
@pytest.mark.parametrize("moment", [SAID, PROOF], ids=["said", "unproved"])
def test_it_outlives_fwfeed_itself_that_is_killed(lab: World, moment: Moment) -> None:
    have_old_and_prepare_new(lab, "rules")
    with stopped(lab, moment, "apply", "--confirm-within", "1h") as command:
        command.process.kill()
        said, _ = command.process.communicate()
    assert ("IT WILL BE UNDONE" in said) is (moment is SAID)
    assert files_are(lab) == "new"
    if moment is SAID:
        let_time_pass(lab)
    else:
        wake(lab)  # there is nothing to wait for
    is_undone_by_itself(lab)
    assert history(lab)[0]["outcome"] == "not confirmed"


@ON_ONE
def test_it_is_undone_where_firewalld_does_not_run(lab: World) -> None:
    apply_unconfirmed(lab)
    lab.stop("firewalld")
    let_time_pass(lab)
    wait_until(lambda: not waiting(lab), "the files to be put back", PATIENCE)
    assert files_are(lab) == "old"
    assert not journal(lab).exists()
    assert re.search(NOT_KNOWN + r"firewalld is not running", lab.fwfeed("status").stdout)
    lab.start_firewalld()
    assert whole(lab) == "old"


@ON_ONE
def test_it_is_undone_where_firewalld_is_being_restarted(lab: World) -> None:
    apply_unconfirmed(lab)
    lab.stop("firewalld")
    let_time_pass(lab)
    wait_until(lambda: files_are_back(lab), "the files to be put back", PATIENCE)
    lab.start_firewalld()  # with a default zone that there is no more
    is_undone_by_itself(lab)


def files_are_back(lab: World) -> bool:
    return not (lab.etc / "zones/log-outbound.xml").exists()


@ON_ONE
def test_it_is_undone_where_firewalld_hangs_as_soon_as_that_answers_again(lab: World) -> None:
    apply_unconfirmed(lab)
    with hung(lab):
        let_time_pass(lab)
        wait_until(lambda: files_are_back(lab), "the files to be put back", PATIENCE)
        said = impatient(lab, "status")
        assert re.search(NOT_KNOWN + r"firewalld did not answer in time", said.stdout)
        assert said.stderr
    is_undone_by_itself(lab)


@ON_ONE
def test_where_it_cannot_be_undone_that_is_said_and_it_is_tried_again(lab: World) -> None:
    """A policy of somebody else's keeps firewalld from loading anything, until he corrects it."""
    apply_unconfirmed(lab)
    theirs = lab.etc / "policies/theirs.xml"
    theirs.write_text(
        '<policy target="CONTINUE"><ingress-zone name="HOST"/><egress-zone name="ANY"/>'
        '<rule family="ipv4"><destination ipset="NOWHERE"/><accept/></rule></policy>\n'
    )
    let_time_pass(lab)
    cannot = "an apply was cut off, and cannot be repaired now: firewalld refused setDefaultZone: INVALID_IPSET"
    wait_until(lambda: cannot in lab.fwfeed("status").stderr, "it to be said", PATIENCE)
    assert waiting(lab)
    theirs.unlink()
    is_undone_by_itself(lab)


@ON_ONE
def test_after_a_boot_the_next_command_undoes_it(lab: World) -> None:
    """Whoever waited is gone with the boot before, and firewalld has read the new files."""
    apply_unconfirmed(lab)
    lab.stop("firewalld")
    end_waiting(lab)
    rewrite_wait(lab, boot="00000000-0000-4000-8000-000000000000")
    lab.start_firewalld()
    assert lab.firewall_cmd("--get-default-zone") == "log-outbound"
    said = lab.fwfeed("status")
    assert said.stderr == (
        "generation 2: nobody confirmed it in time; what was installed before is back, and read back from the kernel\n"
    )
    assert whole(lab) == "old"


@ON_ONE
@pytest.mark.parametrize("what", ["broken", "elsewhere"])
def test_it_is_undone_whatever_has_become_of_the_configuration(lab: World, what: str) -> None:
    apply_unconfirmed(lab, "entries")
    config = lab.folder / "fwfeed.toml"
    sound = config.read_text()
    if what == "broken":
        config.write_text("[apply\n")
        assert lab.fwfeed("status").returncode == 2
    else:
        config.write_text(sound.replace(f'"{lab.folder}/', f'"{lab.folder}/elsewhere/'))
        assert json.loads(lab.fwfeed("status", "--json").stdout)["installed"] is None
    let_time_pass(lab)
    wait_until(lambda: not waiting(lab), "it to be undone", PATIENCE)
    assert not (lab.folder / "elsewhere/etc-firewalld").exists()
    config.write_text(sound)
    assert whole(lab) == "old"


@ON_ONE
def test_what_is_no_time_is_refused_and_nothing_moves(lab: World) -> None:
    have_old_and_prepare_new(lab, "entries")
    before = lab.snapshot()
    for text in ("0", "0s", "soon", "-5m", "25h"):
        for command in ("apply", "update"):
            refused = lab.fwfeed(command, f"--confirm-within={text}")
            assert refused.returncode == 2
            assert f'argument --confirm-within: \'{text}\' is not a time like "30s" or "10m"' in refused.stderr
    lab.configure(apply='confirm = "soon"')
    refused = lab.fwfeed("apply")
    assert refused.returncode == 2
    assert "apply.confirm" in refused.stderr
    assert lab.snapshot() == before
    assert not waiting(lab)


SYSTEMD = f"""#!{SYSTEM_PYTHON}
import json, os, re, subprocess, sys
from pathlib import Path

name, *arguments = Path(sys.argv[0]).name, *sys.argv[1:]
folder = Path(sys.argv[0]).parents[1] / "systemd"
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps([name, *arguments]) + "\\n")


def fail(code, message):
    print(message, file=sys.stderr)
    sys.exit(code)


if name == "systemctl":
    assert arguments[0] == "stop" and len(arguments) == 2, arguments
    timer = folder / arguments[1]
    if not timer.exists():
        fail(5, f"Failed to stop {{timer.name}}: Unit {{timer.name}} not loaded.")
    os.killpg(int(timer.read_text()), 15)
    timer.unlink()
    sys.exit()

split = arguments.index("--")
options, command = [option.partition("=") for option in arguments[:split]], arguments[split + 1 :]
known = {{"--quiet", "--collect", "--wait", "--setenv", "--unit", "--on-active", "--timer-property", "--property"}}
given = {{key: value for key, _, value in options}}
if unknown := given.keys() - known:
    fail(1, f"systemd-run: unrecognized option '{{min(unknown)}}'")
if "--wait" in given and "--on-active" in given:
    fail(1, "--remain-after-exit, --service-type=, and --wait may not be combined with timer options.")
if (folder / "refused").exists() and (refused := json.loads((folder / "refused").read_text()))[0] in given:
    fail(refused[2], refused[1])
# a service has next to nothing of the environment of whoever asks for it, and nothing of his terminal; the bus is the
# lab's own
environment = {{key: os.environ[key] for key in ("PATH", "DBUS_SYSTEM_BUS_ADDRESS")}}
environment |= dict(value.split("=", 1) for key, _, value in options if key == "--setenv")
service = {{"env": environment, "cwd": "/", "start_new_session": True}}
service |= dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
if "--wait" in given:
    sys.exit(subprocess.call(command, **service))
unit = folder / f"{{given['--unit']}}.timer"
if unit.exists():
    fail(1, f"Failed to start transient timer unit: Unit {{unit.name}} was already loaded or has a fragment file.")
seconds = re.fullmatch(r"([0-9.]+)s", given["--on-active"])[1]
# once it has gone off, to stop the timer does not stop what it has started
script = 'sleep "$1"; rm -f "$2"; shift 2; exec "$@"'
process = subprocess.Popen(["sh", "-c", script, "systemd", seconds, unit, *command], **service)
unit.write_text(str(process.pid))
os._exit(0)
"""
"""systemd-run and systemctl as far as fwfeed needs them, and as strict: what they are asked is recorded, and done."""


@pytest.fixture
def calls(lab: World) -> Path:
    """Have the lab's host be one that systemd has booted; return the file that has what that was asked."""
    for name in ("systemd-run", "systemctl"):
        program = lab.folder / "bin" / name
        program.write_text(SYSTEMD)
        program.chmod(0o755)
    (lab.folder / "systemd").mkdir()
    return lab.folder / "systemd/calls"


def booted(lab: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real command on a host that systemd has booted."""
    script = 'mount -t tmpfs fwfeed-lab /run && mkdir -p /run/systemd/system && exec "$@"'
    command = ["sh", "-c", script, "sh", FWFEED, f"--config={lab.folder}/fwfeed.toml"]
    return lab.run("host", "at-home", *command, *arguments)


def asked(calls: Path) -> list[list[str]]:
    return [json.loads(line) for line in calls.read_text().splitlines()]


@ON_ONE
@pytest.mark.parametrize("end", ["unconfirmed", "confirmed"])
def test_with_systemd_a_timer_of_its_waits(lab: World, calls: Path, end: str) -> None:
    have_old_and_prepare_new(lab, "rules")
    applied = booted(lab, "apply", "--confirm-within", "1h")
    assert applied.returncode == 0, applied.stderr
    probe, timer = asked(calls)
    assert probe[-4:] == ["-P", "-m", "fwfeed", "--version"]
    assert "--wait" in probe
    assert {"--unit=fwfeed-rollback-000002", "--on-active=3600s", "--timer-property=AccuracySec=100ms"} < set(timer)
    # fwfeed itself, without a shell in between, and its lines are fwfeed's
    command = timer[timer.index("--") + 1 :]
    assert command[1:4] == probe[-4:-1]
    assert command[-3:] == ["rollback", "--unconfirmed", "2"]
    assert "--property=SyslogIdentifier=fwfeed" in {*probe} & {*timer}
    assert len(waiting(lab)) == 1
    if end == "confirmed":
        kept = booted(lab, "confirm")
        assert kept.stdout == "generation 2 stays\n", kept.stderr
        wait_until(lambda: not waiting(lab), "the timer to be gone")
        assert whole(lab) == "new"
    else:
        let_time_pass(lab)
        is_undone_by_itself(lab)
        assert history(lab)[0]["reason"] == "nobody confirmed it in time"
    assert asked(calls)[2:] == [["systemctl", "stop", "fwfeed-rollback-000002.timer"]]


@ON_ONE
def test_with_a_systemd_that_does_not_take_it_nothing_moves(lab: World, calls: Path) -> None:
    have_old_and_prepare_new(lab, "rules")
    before = lab.snapshot()
    for option, said in (
        ("--wait", "Failed to connect to bus: No such file or directory"),
        ("--on-active", "Failed to start transient timer unit: Access denied"),
        ("--wait", ""),
    ):
        (lab.folder / "systemd/refused").write_text(json.dumps([option, said, 1]))
        refused = booted(lab, "apply", "--confirm-within", "1h")
        assert refused.returncode == 1
        assert refused.stderr == (
            f"fwfeed: systemd cannot start what would go back: {said or 'exit code 1'}\n"
            "fwfeed: way out: see journalctl -n 20, or apply without waiting to be confirmed\n"
        )
        assert lab.snapshot() == before
        assert not waiting(lab)
    # as with a virtual environment below /root, which SELinux keeps systemd from
    (lab.folder / "systemd/refused").write_text(json.dumps(["--wait", "", 203]))
    refused = booted(lab, "apply", "--confirm-within", "1h")
    assert refused.returncode == 1
    assert "exit code 203" in refused.stderr
    assert "way out: install fwfeed in /opt" in refused.stderr
    assert lab.snapshot() == before
    assert calls.exists()
    (lab.folder / "systemd/refused").unlink()
    assert booted(lab, "apply", "--confirm-within", "1h").returncode == 0
    assert booted(lab, "confirm").returncode == 0
    assert whole(lab) == "new"


@ON_ONE
def test_what_was_edited_while_it_waits_is_undone_all_the_same_and_undoes_nothing_before(lab: World) -> None:
    """A zone that stayed would name a set that goes, and firewalld would load nothing any more."""
    assert lab.fwfeed("fetch").returncode == 0
    before = below_etc(lab)
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("apply", "--confirm-within", "1h").returncode == 0
    lab.firewall_cmd("--permanent", "--zone=log-outbound", "--add-service=imap")
    said = lab.fwfeed("status", "--json")
    assert json.loads(said.stdout)["waits_until"] is not None, said.stderr
    let_time_pass(lab)
    wait_until(lambda: not journal(lab).exists(), "it to be undone", PATIENCE)
    assert below_etc(lab) == before
    assert lab.firewall_cmd("--get-default-zone") == "public"


@ON_ONE
def test_whoever_takes_back_what_nobody_confirmed_is_not_held_back_any_more(lab: World) -> None:
    have_old_and_prepare_new(lab, "rules")
    assert lab.fwfeed("apply", "--confirm-within", "1h").returncode == 0
    assert lab.fwfeed("rollback").returncode == 0
    lab.publish()
    lab.configure()
    assert lab.fwfeed("update").returncode == 3
    handle = table_handle(lab)
    assert "without a reload" in lab.fwfeed("apply").stdout
    lab.publish(*MORE)
    assert lab.fwfeed("update").returncode == 0
    assert whole(lab) == "new"
    assert table_handle(lab) == handle
