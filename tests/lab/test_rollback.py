"""Generations: what was installed, how each ended, and the way back to one, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab import ssh as lab_ssh
from tests.lab.matrix import on_one_version
from tests.lab.moments import ENTRY, RELOADED, stopped
from tests.lab.ssh import serving
from tests.lab.test_apply import broken_policy
from tests.lab.test_confirm import end_waiting, history, unfetched
from tests.lab.test_lockout import HERE
from tests.lab.test_trouble import goes_in
from tests.lab.whole import BUS_NAME, have_old_and_prepare_new, status, table_handle, whole
from tests.lab.world import ABROAD, FWFEED, World, wait_until
from tests.skipping import require

pytestmark = pytest.mark.lab

ON_ONE = on_one_version("which generation is gone back to is fwfeed's own; the way back is an apply, proved on all")


def installed(lab: World) -> dict[str, bytes]:
    """Return every file that firewalld reads, but the one that it writes itself."""
    return {str(path): path.read_bytes() for path in lab.etc.rglob("*.xml")}


def change_rules(lab: World, *prefixes: str) -> None:
    """Install a generation for each prefix of the log's lines."""
    for prefix in prefixes:
        lab.configure(outbound=f'prefix = "{prefix} "', apply="keep = 2")
        applied = lab.fwfeed("apply")
        assert applied.returncode == 0, applied.stderr


def is_refused(lab: World, said: str, *arguments: str, code: int = 1) -> None:
    """Assert that a command is refused with these words, and that nothing moves."""
    before = lab.snapshot()
    refused = lab.fwfeed(*arguments)
    assert refused.returncode == code, refused
    assert said in refused.stderr
    assert lab.snapshot() == before


def stored(lab: World, number: int) -> Path:
    return lab.folder / f"state/generations/{number:06d}"


def numbers(lab: World) -> list[int]:
    return sorted(int(path.name) for path in (lab.folder / "state/generations").iterdir())


def has_policies(lab: World) -> bool:
    return "fwfeed-outbound" in lab.firewall_cmd("--get-policies").split()


@ON_ONE
def test_the_history_says_of_each_how_it_ended_and_which_is_in_force(lab: World) -> None:
    assert lab.fwfeed("history").stdout == "nothing was installed yet; run: fwfeed apply\n"
    have_old_and_prepare_new(lab, "entries")
    assert lab.fwfeed("apply").returncode == 0
    broken_policy(lab)
    assert lab.fwfeed("apply").returncode == 4
    shutil.rmtree(lab.folder / "templates")
    lab.configure(outbound='action = "off"')
    assert lab.fwfeed("apply", "--confirm-within", "1h").returncode == 0
    end_waiting(lab)
    assert lab.fwfeed("rollback").returncode == 0
    assert lab.fwfeed("rollback").returncode == 0

    lines = lab.fwfeed("history").stdout.splitlines()
    version = re.escape(lab.firewalld.version)
    made = rf"[\d-]{{10}} [\d:]{{8}} \S+  (1|4) \+ 1 prefixes · ([^.]+ · )?firewalld {version}"
    ends = [
        r"\*    5  {}  applied, generation 1 again",
        r"     4  {}  not confirmed: rolled back before it was confirmed",
        r"     3  {}  rolled back: .*COMMAND_FAILED.*",
        r"     2  {}  applied",
        r"     1  {}  applied",
    ]
    assert len(lines) == len(ends)
    for line, end in zip(lines, ends, strict=True):
        assert re.fullmatch(end.format(made), line), line

    log, off = "outbound: log, own and forwarded · inbound: off", "outbound: off · inbound: off"
    assert [log in line for line in lines] == [True, False, True, True, True]
    assert off in lines[1]

    listed = history(lab)
    assert [each["generation"] for each in listed] == [5, 4, 3, 2, 1]
    assert [each["in_force"] for each in listed] == [True, False, False, False, False]
    assert [each["restores"] for each in listed] == [1, None, None, None, None]
    assert [each["outcome"] for each in listed[:3]] == ["applied", "not confirmed", "rolled back"]
    assert "COMMAND_FAILED" in listed[2]["reason"]
    for each in listed:
        agrees_with_its_files(lab, each)
    assert listed[0]["files"] == listed[4]["files"] != listed[3]["files"]
    assert listed[0]["config"] == listed[4]["config"] != listed[1]["config"]
    for path, digest in listed[0]["files"].items():
        assert hashlib.sha256((lab.etc / path).read_bytes()).hexdigest() == digest


def agrees_with_its_files(lab: World, listed: dict[str, Any]) -> None:
    """Assert that a generation's folder has what its manifest and the history say: each file, and what it is of."""
    folder = stored(lab, listed["generation"])
    manifest = json.loads((folder / "manifest.json").read_text())
    for key in ("files", "config", "firewalld", "outcome", "reason", "restores", "prefixes"):
        assert manifest[key] == listed[key]
    found = {str(path.relative_to(folder / "files")): path for path in folder.glob("files/*/*")}
    assert {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in found.items()} == listed["files"]
    assert [(source["name"], source["serial"]) for source in listed["sources"]] == [("apnic", 20261122)]
    assert listed["firewalld"] == lab.firewalld.version


@ON_ONE
def test_a_rollback_goes_to_the_one_before_again_further_back_and_to_any_by_its_number(lab: World) -> None:
    """Files, rules, sets and the default zone go together."""
    have_old_and_prepare_new(lab, "rules")
    assert lab.fwfeed("apply").returncode == 0
    lab.configure(outbound='action = "off"')
    assert lab.fwfeed("apply").returncode == 0
    assert not has_policies(lab)
    assert lab.firewall_cmd("--get-default-zone") == "public"

    def goes_back(number: int, restores: int, *arguments: str) -> None:
        handle = table_handle(lab)
        back = lab.fwfeed("rollback", *arguments)
        assert back.returncode == 0, back.stderr
        assert f"went back: generation {number} in " in back.stdout
        assert "by a reload; read back from the kernel: JP " in back.stdout
        assert back.stderr == "fwfeed update leaves it so; fwfeed apply installs the candidate again\n"
        assert table_handle(lab) != handle
        assert history(lab)[0]["restores"] == restores

    goes_back(4, 2)
    assert whole(lab) == "new"
    goes_back(5, 1)
    assert whole(lab) == "old"
    is_refused(lab, "there is no older generation that differs from the current one", "rollback")
    goes_back(6, 3, "3")
    assert not has_policies(lab)
    assert lab.firewall_cmd("--get-default-zone") == "public"
    assert status(lab)["proved"] is True
    goes_back(7, 2, "4")
    assert whole(lab) == "new"
    before = lab.snapshot()
    assert lab.fwfeed("rollback", "2").stdout == "nothing to do: the kernel holds what it should\n"
    assert lab.snapshot() == before


def test_entries_alone_go_back_without_a_reload(lab: World) -> None:
    have_old_and_prepare_new(lab, "entries")
    goes_in(lab)
    handle = table_handle(lab)
    back = lab.fwfeed("rollback", "--json")
    said = json.loads(back.stdout)
    assert (said["generation"], said["reload"], said["undone"], said["waits_until"]) == (3, None, None, None)
    assert whole(lab) == "old"
    assert "without a reload" in lab.fwfeed("rollback", "2").stdout
    assert whole(lab) == "new"
    assert table_handle(lab) == handle


@ON_ONE
def test_a_default_zone_of_the_administrators_comes_and_goes_with_its_generation(lab: World) -> None:
    """And where that would lock somebody out who is logged in, it is refused like an apply."""
    require(lab_ssh.missing())
    lab.firewall_cmd("--set-default-zone=work")
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("update").returncode == 0
    lab.configure()
    assert lab.fwfeed("apply").returncode == 0
    assert lab.firewall_cmd("--get-default-zone") == "work"
    with serving(lab) as sshd, sshd.session("abroad", HERE["abroad"][0]):
        said = f"somebody is logged in from {ABROAD.ipv4}.2 to port 22, outside the set JP, and zone log-outbound would"
        is_refused(lab, said, "rollback", code=5)
        is_refused(lab, said, "rollback", "1", code=5)
        back = lab.fwfeed("rollback", "--allow-lockout")
        assert back.returncode == 0, back.stderr
        assert f"warning: {said}" in back.stderr
    assert lab.firewall_cmd("--get-default-zone") == "log-outbound"
    assert lab.fwfeed("rollback", "2").returncode == 0
    assert lab.firewall_cmd("--get-default-zone") == "work"
    assert not (lab.etc / "zones/log-outbound.xml").exists()
    assert status(lab)["proved"] is True


def test_an_uninstall_leaves_nothing_of_ours_and_an_update_leaves_it_so(lab: World) -> None:
    before = lab.fwfeed("uninstall")
    assert (before.returncode, before.stdout) == (0, "nothing of fwfeed's is installed\n")
    lab.firewall_cmd("--set-default-zone=work")
    untouched = installed(lab)
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("update").returncode == 0
    assert installed(lab) != untouched
    gone = lab.fwfeed("uninstall")
    assert gone.returncode == 0, gone.stderr
    assert gone.stdout == f"nothing of fwfeed's is below {lab.etc} or in the kernel any more\n"
    assert installed(lab) == untouched
    assert lab.firewall_cmd("--get-default-zone") == "work"
    assert not set(lab.firewall_cmd("--get-ipsets").split()) & {"JP", "JP6"}
    assert "JP" not in lab.run("nft", "list", "ruleset").stdout
    assert lab.fwfeed("uninstall").stdout == "nothing of fwfeed's is installed\n"
    left = lab.fwfeed("update")
    assert (left.returncode, installed(lab)) == (3, untouched)
    assert "held back: fwfeed uninstall took it out; fwfeed apply goes on again" in left.stderr
    assert lab.fwfeed("history").stdout.splitlines()[0].endswith("applied, nothing any more")
    back = lab.fwfeed("rollback")
    assert back.returncode == 0, back.stderr
    assert status(lab)["proved"] is True
    assert lab.firewall_cmd("--get-default-zone") == "log-outbound"


@ON_ONE
def test_what_there_is_no_way_back_to_is_refused_and_what_is_kept_is_as_configured(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    is_refused(lab, "there is no older generation that differs from the current one", "rollback")
    change_rules(lab, "TWO", "THREE")
    assert numbers(lab) == [2, 3]
    broken_policy(lab)
    assert lab.fwfeed("apply").returncode == 4
    assert numbers(lab) == [2, 3, 4]
    is_refused(lab, "fwfeed: generation 4 is none to go back to: rolled back\n", "rollback", "4")
    for number in ("1", "99", "0", "-1"):
        is_refused(lab, f"fwfeed: there is no generation {number}\nfwfeed: way out: see fwfeed", "rollback", number)
    is_refused(lab, "invalid int value: 'last'", "rollback", "last", code=2)

    file = stored(lab, 2) / "files/policies/fwfeed-outbound.xml"
    sound = file.read_bytes()
    for damage in (
        lambda: file.write_bytes(sound.replace(b"TWO", b"FOUR")),
        lambda: file.write_bytes(b""),
        file.unlink,
    ):
        damage()
        for arguments in (("rollback",), ("rollback", "2")):
            said = f"fwfeed: {file} is not what was installed then\nfwfeed: way out: go back to another one: fwfeed"
            is_refused(lab, said, *arguments)
    file.write_bytes(sound)
    assert lab.fwfeed("rollback").returncode == 0
    assert 'log prefix "TWO "' in lab.run("host", "nft", "list", "ruleset").stdout


@ON_ONE
def test_after_a_rollback_an_update_leaves_it_so_but_mends_it_and_an_apply_goes_on(lab: World) -> None:
    have_old_and_prepare_new(lab, "rules")
    goes_in(lab)
    assert lab.fwfeed("rollback").returncode == 0
    before = lab.snapshot()
    held = lab.fwfeed("update")
    assert held.returncode == 3
    why = "somebody went back to generation 1"
    assert f"held back: {why}; fwfeed apply goes on again\n" in held.stderr
    assert json.loads(lab.fwfeed("update", "--json").stdout)["held_back"] == why
    assert f"  WARNING: held back: {why}\n" in lab.fwfeed("status").stdout
    assert unfetched(lab.snapshot()) == unfetched(before)
    assert whole(lab) == "old"

    lab.ask(f"{BUS_NAME}.ipset.addEntry", "string:JP", "string:203.0.113.0/30")
    (lab.etc / "policies/fwfeed-outbound.xml").unlink()
    assert status(lab)["problems"]
    mended = lab.fwfeed("update")
    assert mended.returncode == 3, mended.stderr
    assert "applied generation 4 in " in mended.stdout
    assert whole(lab) == "old"
    assert [each["restores"] for each in history(lab)] == [1, 1, None, None]
    assert status(lab)["held_back"] == why
    is_refused(lab, "there is no older generation that differs from the current one", "rollback")

    goes_in(lab)
    assert status(lab)["held_back"] is None
    assert lab.fwfeed("update").returncode == 0
    assert lab.fwfeed("rollback").returncode == 0
    assert whole(lab) == "old"


@ON_ONE
def test_a_file_of_somebody_elses_at_a_path_that_an_older_generation_had_is_left_alone(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    lab.configure(outbound='action = "off"')
    assert lab.fwfeed("apply").returncode == 0
    theirs = lab.etc / "policies/fwfeed-outbound.xml"
    theirs.write_text(
        '<policy target="CONTINUE"><ingress-zone name="HOST"/><egress-zone name="ANY"/><service name="ssh"/></policy>\n'
    )
    lab.firewall_cmd("--reload")
    said = f"fwfeed: {theirs}: not written by fwfeed, and in its way\nfwfeed: way out: move the file in the way elsewh"
    for arguments in (("rollback",), ("rollback", "1")):
        is_refused(lab, said, *arguments)
    theirs.rename(lab.folder / "theirs.xml")
    theirs.symlink_to(lab.folder / "theirs.xml")
    is_refused(lab, said, "rollback")
    theirs.unlink()
    assert lab.fwfeed("rollback").returncode == 0
    assert status(lab)["proved"] is True


@ON_ONE
def test_commands_that_come_while_another_is_at_work_wait_for_it_and_then_do_theirs(lab: World) -> None:
    have_old_and_prepare_new(lab, "entries")
    waiting: list[subprocess.Popen[str]] = []
    try:
        with stopped(lab, ENTRY, "apply") as command:
            for name in ("rollback", "update"):
                process = lab.start_fwfeed("-v", name)
                waiting.append(process)
                assert process.stderr is not None
                told = f"waiting for another fwfeed command to end ({lab.folder}/run/lock)\n"
                while process.stderr.readline() != told:
                    assert process.poll() is None
        assert command.code == 0, command
        rollback, update = (process.communicate(timeout=120)[1] for process in waiting)
    finally:
        for process in waiting:
            process.kill()
    assert waiting[0].returncode == 0, rollback
    assert "fwfeed update leaves it so; fwfeed apply installs the candidate again" in rollback
    # whichever came first: an update finds all applied, or that somebody went back
    assert waiting[1].returncode == (3 if "held back: somebody went back to generation 1" in update else 0), update
    assert whole(lab) == "old"
    assert [(each["outcome"], each["restores"]) for each in history(lab)] == [
        ("applied", 1),
        ("applied", None),
        ("applied", None),
    ]


@ON_ONE
def test_without_root_nothing_is_repaired_or_gone_back_but_it_is_said(lab: World) -> None:
    have_old_and_prepare_new(lab, "rules")
    with stopped(lab, RELOADED, "apply") as command:
        command.process.kill()
    wait_until(lambda: command.process.poll() is not None, "it to be dead")
    before = lab.snapshot()
    for words, code in (("status", 0), ("history", 0), ("rollback", 1), ("confirm", 1)):
        # a user namespace without a mapping: not root any more, wherever the checkout lies
        said = lab.run("host", "unshare", "--user", FWFEED, f"--config={lab.folder}/fwfeed.toml", words)
        assert said.returncode == code, said
        first, *rest = said.stderr.splitlines()
        assert first == "an apply is under way, was cut off, or waits to be confirmed: sudo fwfeed status"
        assert rest == (
            ["fwfeed: this changes the firewall and needs root", "fwfeed: way out: run it with sudo"] if code else []
        )
        assert lab.snapshot() == before
    assert "what was installed before is back" in lab.fwfeed("status").stderr
    assert whole(lab) == "old"
