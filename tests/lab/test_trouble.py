"""firewalld in trouble: whatever becomes of it, an apply ends in one whole state, and says which."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.lab.matrix import on_one_version
from tests.lab.moments import (
    COMMIT,
    ENTRY,
    FILES,
    JOURNAL,
    PROOF,
    RELOAD,
    RELOADED,
    Moment,
    impatient,
    stopped,
)
from tests.lab.whole import (
    BUS_NAME,
    MORE,
    NEW,
    OLD,
    files_are,
    have_old_and_prepare_new,
    status,
    table_handle,
    whole,
)
from tests.lab.world import FILE, World, wait_until

pytestmark = pytest.mark.lab

OWN = on_one_version("it is about files, the lock and for how long fwfeed waits, which it sees to without firewalld")
TWIN = on_one_version("the same trouble at the test's other moment, or by its other way, is tried on all")

NOT_KNOWN = r"not known whether the kernel holds generation \d+: "

MIDDLE = [("entries", ENTRY), ("rules", RELOADED)]
"""Moments at which firewalld has half of what is to change."""
MIDDLES = [pytest.param(*MIDDLE[0], marks=TWIN), MIDDLE[1]]


@contextmanager
def hung(lab: World) -> Iterator[None]:
    """Have firewalld answer nobody for a while."""
    pid = lab.processes["firewalld"].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kill(lab: World, name: str) -> None:
    process = lab.processes.pop(name)
    process.kill()
    process.wait(timeout=20)


def on_bus(lab: World) -> bool:
    """Return whether firewalld has its name on the bus, whatever it is able to answer."""
    command = ["dbus-send", f"--bus={lab.environment['DBUS_SYSTEM_BUS_ADDRESS']}", "--print-reply=literal"]
    command += ["--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner", f"string:{BUS_NAME}"]
    return "true" in subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout


@contextmanager
def meanwhile(act: Callable[[], object]) -> Iterator[None]:
    """Do something again and again, beside what the block does."""
    ended = threading.Event()

    def again() -> None:
        while not ended.is_set():
            act()

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def goes_in(lab: World) -> None:
    """Assert that the next apply installs the new state, whatever was before."""
    done = lab.fwfeed("apply")
    assert done.returncode == 0, done.stderr
    assert whole(lab) == "new"


@OWN
def test_without_firewalld_nothing_moves_and_with_it_the_next_update_goes_in(lab: World) -> None:
    have_old_and_prepare_new(lab, "rules")
    lab.stop("firewalld")
    before = lab.snapshot()
    assert re.search(NOT_KNOWN + r"firewalld is not running", lab.fwfeed("status").stdout)
    for arguments in (("apply", "--confirm-within", "1m"), ("rollback", "1")):
        refused = lab.fwfeed(*arguments)
        assert refused.returncode == 1
        assert refused.stderr == (
            "fwfeed: firewalld is not running\n"
            "fwfeed: way out: systemctl start firewalld; where it is masked: systemctl unmask firewalld\n"
        )
        assert lab.snapshot() == before
    lab.start_firewalld()
    assert lab.fwfeed("update").returncode == 0
    assert whole(lab) == "new"


def test_a_firewalld_that_is_starting_is_waited_for(lab: World) -> None:
    """It has its name on the bus before it can answer; a start that takes too long is a hang, and nothing moves."""
    have_old_and_prepare_new(lab, "entries")
    lab.stop("firewalld")
    starting = threading.Thread(target=lab.start_firewalld)
    starting.start()
    try:
        wait_until(lambda: on_bus(lab), "firewalld to have its name")
        with hung(lab):
            refused = impatient(lab, "apply")
            assert refused.returncode == 1
            assert "fwfeed: firewalld did not answer in time (to Get): it hangs, or is very busy\n" in refused.stderr
            assert files_are(lab) == "old"
        applied = lab.fwfeed("apply")
    finally:
        starting.join()
    assert applied.returncode == 0, applied.stderr
    assert whole(lab) == "new"


def test_somebody_elses_broken_file_keeps_an_apply_out_until_it_is_corrected(lab: World) -> None:
    have_old_and_prepare_new(lab, "entries")
    theirs = lab.etc / "policies/theirs.xml"
    theirs.write_text(
        '<policy target="CONTINUE"><ingress-zone name="HOST"/><egress-zone name="ANY"/>'
        '<rule family="ipv4"><destination ipset="NOWHERE"/><accept/></rule></policy>\n'
    )
    lab.ask(f"{BUS_NAME}.reload")
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    if lab.firewalld.release >= (2,):  # it finds the fault before it has taken anything down, and so does its own check
        assert "INVALID_IPSET: Policy 'theirs': 'NOWHERE' not among" in refused.stderr
        assert "way out: if it names a file of yours, correct that" in refused.stderr
        assert status(lab)["proved"] is True
    else:
        assert "firewalld is in state FAILED: its own configuration did not load" in refused.stderr
        assert "way out: see journalctl -u firewalld, correct it, and: systemctl restart firewalld" in refused.stderr
        assert status(lab)["problems"][0] == "firewalld is in state FAILED: it could not load its configuration"
    assert lab.snapshot() == before
    theirs.unlink()
    lab.stop("firewalld")
    lab.start_firewalld()
    goes_in(lab)


@OWN
def test_a_firewalld_that_hangs_is_told_of_and_nothing_moves(lab: World) -> None:
    have_old_and_prepare_new(lab, "entries")
    before = lab.snapshot()
    with hung(lab):
        refused = impatient(lab, "apply")
        assert refused.returncode == 1
        assert refused.stderr == (
            "fwfeed: firewalld did not answer in time (to Get): it hangs, or is very busy\n"
            "fwfeed: way out: systemctl status firewalld; where it hangs: systemctl restart firewalld\n"
        )
        assert re.search(NOT_KNOWN + r"firewalld did not", impatient(lab, "status").stdout)
    assert lab.snapshot() == before
    goes_in(lab)


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        pytest.param("entries", FILES, marks=TWIN),
        ("entries", ENTRY),
        ("rules", RELOAD),
        pytest.param("rules", RELOADED, marks=TWIN),
    ],
)
def test_a_firewalld_that_hangs_in_mid_apply_is_set_right_when_it_answers_again(
    lab: World, kind: str, moment: Moment
) -> None:
    """What it was asked to do, it does late; the files are the old ones by then, and the next command does the rest."""
    have_old_and_prepare_new(lab, kind)
    with stopped(lab, moment, "apply", patience=1) as command, hung(lab):
        command.end()
        assert command.code == 6, command
        assert "the apply failed: firewalld did not answer in time" in command.stderr
        assert "and so did putting things back: firewalld did not answer in time" in command.stderr
        assert "systemctl restart firewalld; then, to put the rest back: fwfeed status" in command.stderr
        for arguments, code in ((("status",), 0), (("apply",), 1)):
            again = impatient(lab, *arguments)
            assert again.returncode == code
            assert "an apply was cut off, and cannot be repaired now: firewalld did not answer" in again.stderr
    repaired = lab.fwfeed("status")
    assert "generation 2: it was cut off (fwfeed was killed, or the power went), or could not be put" in repaired.stderr
    assert "what was installed before is back, and read back from the kernel" in repaired.stderr
    assert "proved in the kernel" in repaired.stdout
    assert whole(lab) == "old"
    goes_in(lab)


@pytest.mark.parametrize(("kind", "moment"), MIDDLE)
def test_a_firewalld_that_is_killed_in_mid_apply_finds_the_old_files_when_it_starts(
    lab: World, kind: str, moment: Moment
) -> None:
    have_old_and_prepare_new(lab, kind)
    with stopped(lab, moment, "apply") as command:
        kill(lab, "firewalld")
    assert command.code == 4, command
    assert command.stderr == (
        "fwfeed: firewalld is not running\n"
        "fwfeed: rolled back: what was installed before is back; "
        "firewalld does not run; it will read its files when it starts\n"
        "fwfeed: way out: systemctl start firewalld; where it is masked: systemctl unmask firewalld\n"
    )
    assert files_are(lab) == "old"
    lab.start_firewalld()
    assert set(lab.firewall_cmd("--ipset=JP", "--get-entries").split()) == OLD
    assert lab.firewall_cmd("--get-default-zone") == "public"
    problems = status(lab)["problems"]
    if lab.firewalld.release < (2,):  # it puts its rules beside those it finds: seen, and mended by the next
        assert any(problem.startswith("the kernel has other rules than those of policies/") for problem in problems)
    else:
        assert whole(lab) == "old"
    goes_in(lab)


@pytest.mark.parametrize(
    ("how", "kind", "moment"),
    [
        pytest.param("killed", *MIDDLE[0], marks=TWIN),
        ("killed", *MIDDLE[1]),
        ("stopped", *MIDDLE[0]),
        pytest.param("stopped", *MIDDLE[1], marks=TWIN),
    ],
)
def test_a_firewalld_that_is_restarted_in_mid_apply_ends_in_one_state(
    lab: World, kind: str, moment: Moment, how: str
) -> None:
    have_old_and_prepare_new(lab, kind)
    with stopped(lab, moment, "apply") as command:
        if how == "killed":
            kill(lab, "firewalld")
        else:
            lab.stop("firewalld")
        command.go_on()
        time.sleep(0.3)
        lab.start_firewalld()
    assert command.code == 4, command
    assert "way out: somebody restarted firewalld; try again" in command.stderr
    assert whole(lab) == "old"
    goes_in(lab)


@pytest.mark.parametrize(("kind", "moment"), [pytest.param("entries", ENTRY, marks=TWIN), ("rules", PROOF)])
def test_what_a_killed_apply_left_is_repaired_without_firewalld_too(lab: World, kind: str, moment: Moment) -> None:
    have_old_and_prepare_new(lab, kind)
    with stopped(lab, moment, "apply") as command:
        command.process.kill()
    lab.stop("firewalld")
    repaired = lab.fwfeed("status")
    assert "what was installed before is back; firewalld does not run; it will read its files" in repaired.stderr
    assert files_are(lab) == "old"
    assert not (lab.folder / "state/journal").exists()
    lab.start_firewalld()
    assert whole(lab) == "old"
    goes_in(lab)


def test_panic_mode_in_mid_apply_does_not_stop_entries_and_stays(lab: World) -> None:
    have_old_and_prepare_new(lab, "entries")
    with stopped(lab, FILES, "apply") as command:
        lab.firewall_cmd("--panic-on")
    assert command.code == 0, command
    assert lab.firewall_cmd("--query-panic") == "yes"
    lab.firewall_cmd("--panic-off")
    assert whole(lab) == "new"


def test_panic_mode_in_mid_apply_leaves_a_change_of_zones_to_be_undone_after_it(lab: World) -> None:
    """firewalld 1.3 in panic mode reloads, but does not move interfaces to another default zone."""
    have_old_and_prepare_new(lab, "rules")
    with stopped(lab, FILES, "apply") as command:
        lab.firewall_cmd("--panic-on")
    if lab.firewalld.release >= (2,):
        assert command.code == 0, command
        assert lab.firewall_cmd("--query-panic") == "yes"
        lab.firewall_cmd("--panic-off")
        assert whole(lab) == "new"
        return
    assert command.code == 6, command
    assert "firewalld refused setDefaultZone: it is in panic mode" in command.stderr
    assert "way out: firewall-cmd --panic-off; then, to put the rest back: fwfeed status" in command.stderr
    assert lab.firewall_cmd("--query-panic") == "yes"
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    lab.firewall_cmd("--panic-off")
    assert lab.fwfeed("status").returncode == 0
    assert whole(lab) == "old"
    goes_in(lab)


@pytest.mark.parametrize(
    ("kind", "moments"),
    [("entries", (JOURNAL, FILES, ENTRY, PROOF, COMMIT)), ("rules", (JOURNAL, FILES, RELOADED, PROOF, COMMIT))],
)
def test_somebody_elses_reload_at_any_moment_ends_in_one_state(
    lab: World, kind: str, moments: tuple[Moment, ...]
) -> None:
    have_old_and_prepare_new(lab, kind)
    for number, moment in enumerate(moments):
        with stopped(lab, moment, "apply") as command:
            lab.ask(f"{BUS_NAME}.{'completeReload' if number % 2 else 'reload'}")
        assert command.code == 0, command
        assert whole(lab) == "new"
        assert lab.fwfeed("rollback", "1").returncode == 0
        assert whole(lab) == "old"


def test_reloads_and_a_large_set_at_once_end_in_one_state(lab: World) -> None:
    """Filling takes its time, and somebody reloads again and again: 2,000 entries, of which some come and go."""
    lab.configure(
        set="include = [" + ", ".join(f'"10.{block >> 7}.{(block & 127) * 2}.0/24"' for block in range(2000)) + "]",
        gates='max_growth = "100%"\nmax_shrink = "90%"\nmax_space = "100%"',
    )
    assert lab.fwfeed("update").returncode == 0
    codes = []

    def reload() -> None:
        lab.ask(f"{BUS_NAME}.reload")
        time.sleep(random.uniform(0.2, 1.5))

    with meanwhile(reload):
        for number in range(3):
            lab.publish(*([] if number % 2 else MORE))
            done = lab.fwfeed("update")
            codes.append(done.returncode)
            assert done.returncode in {0, 4}, done.stderr
    assert status(lab)["proved"] is True, codes
    assert lab.fwfeed("update").returncode == 0
    held = set(lab.kernel_set("JP"))
    assert len(held) == 2004
    assert held >= NEW


def test_entries_that_somebody_else_adds_and_removes_meanwhile_are_set_right(lab: World) -> None:
    have_old_and_prepare_new(lab, "entries")
    theirs = ("string:JP", "string:203.0.113.0/30")

    def tamper() -> None:
        lab.ask(f"{BUS_NAME}.ipset.addEntry", *theirs)
        lab.ask(f"{BUS_NAME}.ipset.removeEntry", *theirs)

    with meanwhile(tamper):
        applied = lab.fwfeed("apply")
    assert applied.returncode == 0, applied.stderr
    assert whole(lab) == "new"
    assert lab.fwfeed("rollback").returncode == 0
    handle = table_handle(lab)
    with stopped(lab, ENTRY, "apply") as command:
        lab.ask(f"{BUS_NAME}.ipset.setEntries", "string:JP", "array:string:203.0.113.0/30,192.0.2.32/29")
    assert command.code == 0, command
    assert whole(lab) == "new"
    with stopped(lab, COMMIT, "rollback") as command:
        pass
    assert whole(lab) == "old"
    with stopped(lab, PROOF, "apply") as command:
        lab.ask(f"{BUS_NAME}.ipset.addEntry", *theirs)
        lab.ask(f"{BUS_NAME}.ipset.removeEntry", "string:JP", "string:192.0.2.0/28")
    assert command.code == 0, command
    assert whole(lab) == "new"
    assert table_handle(lab) == handle


def test_entries_that_drifted_are_mended_without_a_reload(lab: World) -> None:
    have_old_and_prepare_new(lab, "entries")
    goes_in(lab)
    handle = table_handle(lab)
    lab.ask(f"{BUS_NAME}.ipset.addEntry", "string:JP", "string:203.0.113.0/30")
    lab.ask(f"{BUS_NAME}.ipset.removeEntry", "string:JP", "string:192.0.2.0/28")
    assert status(lab)["problems"] == ["the kernel's set JP lacks 16 addresses and has 4 too many"]
    assert "without a reload" in lab.fwfeed("update").stdout
    assert whole(lab) == "new"
    assert table_handle(lab) == handle


def test_drift_is_mended_also_where_nothing_new_can_be_had(lab: World) -> None:
    have_old_and_prepare_new(lab, "entries")
    goes_in(lab)
    lab.ask(f"{BUS_NAME}.ipset.removeEntry", "string:JP", "string:192.0.2.0/28")
    (lab.folder / "mirror" / FILE).write_bytes(b"nonsense")
    shutil.rmtree(lab.folder / "cache")
    done = lab.fwfeed("update")
    assert done.returncode == 3, done.stderr
    assert "without a reload" in done.stdout
    assert whole(lab) == "new"
    shutil.rmtree(lab.folder / "state/candidate")  # and where there is nothing at all
    done = lab.fwfeed("update")
    assert (done.returncode, done.stdout) == (3, "")
    assert whole(lab) == "new"


@pytest.mark.parametrize("command", ["flush set inet firewalld JP", "delete table inet firewalld"])
def test_what_nft_did_to_the_kernel_is_seen_and_mended(lab: World, command: str) -> None:
    have_old_and_prepare_new(lab, "entries")
    goes_in(lab)
    before = lab.snapshot()
    done = lab.run("host", "nft", *command.split())
    if done.returncode != 0:  # of firewalld 2, with a libnftables that can say so, the table is firewalld's own
        assert lab.firewalld.release >= (2,)
        assert "Operation not permitted" in done.stderr
        assert lab.snapshot() == before
        return
    said = lab.fwfeed("status").stdout
    assert " is not what is there:\n    the kernel" in said
    mended = lab.fwfeed("update")
    assert mended.returncode == 0, mended.stderr
    assert whole(lab) == "new"


@OWN
def test_a_folder_that_cannot_be_written_is_told_of_and_nothing_moves(lab: World) -> None:
    have_old_and_prepare_new(lab, "rules")
    subprocess.run(["mount", "--bind", lab.etc, lab.etc], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", lab.etc], check=True)
    try:
        before = lab.snapshot()
        refused = lab.fwfeed("apply")
        assert refused.returncode == 1, refused.stderr
        assert "Read-only file system" in refused.stderr
        assert lab.snapshot() == before
    finally:
        subprocess.run(["umount", lab.etc], check=True)
    goes_in(lab)


def test_a_firewalld_conf_that_is_missing_is_no_obstacle(lab: World) -> None:
    have_old_and_prepare_new(lab, "rules")
    (lab.etc / "firewalld.conf").unlink()
    applied = lab.fwfeed("apply")
    assert applied.returncode == 0, applied.stderr
    assert whole(lab) == "new"
    lab.configure()
    assert lab.fwfeed("apply").returncode == 0
    assert lab.firewall_cmd("--get-default-zone") == "public"


@pytest.mark.parametrize(("kind", "moment"), MIDDLES)
def test_a_bus_that_goes_away_in_mid_apply_leaves_the_rest_to_the_next_command(
    lab: World, kind: str, moment: Moment
) -> None:
    """firewalld ends with its bus, or is out of reach; the files are put back at once."""
    have_old_and_prepare_new(lab, kind)
    with stopped(lab, moment, "apply", patience=1) as command:
        kill(lab, "bus")
    assert command.code == 6, command
    assert "fwfeed: the apply failed: the system bus is gone\n" in command.stderr
    assert "and so did putting things back: the system bus does not answer" in command.stderr
    assert "way out: systemctl status dbus-broker; then, to put the rest back: fwfeed status" in command.stderr
    assert files_are(lab) == "old"
    said = impatient(lab, "status")
    assert "an apply was cut off, and cannot be repaired now: the system bus does not answer" in said.stderr
    kill(lab, "firewalld")
    lab.start_bus()
    lab.start_firewalld()
    assert "what was installed before is back, and read back from the kernel" in lab.fwfeed("status").stderr
    assert whole(lab) == "old"
    goes_in(lab)


def test_a_bus_that_comes_back_soon_is_waited_for(lab: World) -> None:
    have_old_and_prepare_new(lab, "entries")
    with stopped(lab, ENTRY, "apply") as command:
        kill(lab, "bus")
        kill(lab, "firewalld")
        command.go_on()
        time.sleep(0.3)
        lab.start_bus()
        lab.start_firewalld()
    assert command.code == 4, command
    assert "rolled back: what was installed before is back" in command.stderr
    assert status(lab)["generation"] == 1
    goes_in(lab)


@OWN
def test_other_commands_while_an_apply_is_under_way(lab: World) -> None:
    """What changes something waits, for a bounded time; what only looks does not, and repairs nothing."""
    have_old_and_prepare_new(lab, "entries")
    with stopped(lab, ENTRY, "apply") as command:
        journal = (lab.folder / "state/journal/journal.json").read_bytes()
        for arguments in ("status", "history", "list"):
            asked = time.monotonic()
            said = lab.fwfeed(arguments)
            assert time.monotonic() - asked < 10
            assert said.returncode == 0
            assert said.stderr == "another fwfeed command is changing the firewall right now\n"
        for arguments in ("apply", "rollback", "confirm", "update"):
            refused = impatient(lab, "-v", arguments)
            assert refused.returncode == 1
            assert f"waiting for another fwfeed command to end ({lab.folder}/run/lock)" in refused.stderr
            assert f"fwfeed: another fwfeed command has held {lab.folder}/run/lock for 1 s\n" in refused.stderr
            assert "way out: wait for it, or see who it is: lslocks" in refused.stderr
        assert (lab.folder / "state/journal/journal.json").read_bytes() == journal
    assert command.code == 0, command
    assert whole(lab) == "new"


@pytest.mark.parametrize("broken", [b"<ipset", b'<ipset type="hash:net"><entry>banana</entry></ipset>'])
def test_a_set_that_somebody_broke_is_seen_and_mended(lab: World, broken: bytes) -> None:
    have_old_and_prepare_new(lab, "entries")
    goes_in(lab)
    (lab.etc / "ipsets/JP.xml").write_bytes(broken)
    assert " is not what is there:\n" in lab.fwfeed("status").stdout
    mended = lab.fwfeed("update")
    assert mended.returncode == 0, mended.stderr
    assert whole(lab) == "new"
