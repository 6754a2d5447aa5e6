"""Killed or out of room at any step: what is installed is one whole state all the same, the old or the new.

Every step of a command is tried in its turn.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.lab.crashing import CALL, FILLING, Ended, Harm, Harness, Step, harness
from tests.lab.matrix import on_one_version
from tests.lab.whole import (
    BUS_NAME,
    NEW,
    OLD,
    addresses,
    files_are,
    have_old_and_prepare_new,
    log_rules,
    runtime_entries,
    whole,
)
from tests.lab.world import World, wait_until

pytestmark = pytest.mark.lab

ON_ONE = on_one_version("steps of files are the same whichever firewalld reads them; those that call it run on all")


@dataclass
class Scene:
    """A command that is about to bring one state to another, and the way back to that moment; made by `scene`."""

    lab: World
    fwfeed: Harness
    base: str
    command: tuple[str, ...]
    other: str
    waiting: bool = False
    waits: bool = False
    waited: bool = False
    checks: bool = False
    steps: list[Step] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    @property
    def state(self) -> Path:
        return self.lab.folder / "state"

    @property
    def run(self) -> Path:
        return self.lab.folder / "run"

    @property
    def saved(self) -> Path:
        return self.lab.folder / "saved"

    def save(self) -> None:
        """Take what is for the moment to come back to, and have every step of the command told."""
        shutil.rmtree(self.saved, ignore_errors=True)
        for folder in (self.state, self.run, self.lab.etc):
            if folder.exists():
                shutil.copytree(folder, self.saved / folder.name)
        assert self.ends_in_one_state() == self.base
        self.waited = self.waits
        done = self.does()
        assert done.code == 0, done.stderr
        assert self.ends_in_one_state() == self.other
        self.steps = done.steps
        self.reset()

    def reset(self) -> None:
        """Come back to the moment before the command."""
        for folder in (self.state, self.run):
            shutil.rmtree(folder, ignore_errors=True)
            if (self.saved / folder.name).exists():
                shutil.copytree(self.saved / folder.name, folder)
        saved = self.saved / self.lab.etc.name
        if content(self.lab.etc) == content(saved):
            return
        for path in self.lab.etc.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(saved, self.lab.etc, dirs_exist_ok=True)
        self.lab.ask(f"{BUS_NAME}.reload")
        wait_until(self.is_proved, "firewalld to take up what was saved")

    def is_proved(self) -> bool:
        installed = self.status()["installed"]
        return installed is None if self.base == "none" else installed["proved"] is True

    def does(self, how: str = "", at: int = 0, error: int = 0) -> Ended:
        """Run the command, and harm it."""
        return self.fwfeed.run(*self.command, harm=Harm(how, at, error), checks=self.checks)

    def status(self) -> dict[str, Any]:
        done = self.fwfeed.run("status", "--json")
        assert done.code == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    def ends_in_one_state(self) -> str:
        """Have `fwfeed status` repair what is to be repaired, and return which state that is; a mix is an error."""
        lab, status = self.lab, self.status()
        installed = status["installed"]
        if not (lab.etc / "ipsets/JP.xml").exists():
            assert installed is None
            assert not [path for path in content(lab.etc) if "fwfeed" in path or path.startswith("ipsets/")]
            assert lab.run("host", "nft", "list", "set", "inet", "firewalld", "JP").returncode != 0
            assert not log_rules(lab)
            found, zone = "none", "public"
        else:
            found = files_are(lab)
            entries = OLD if found == "old" else NEW
            rules = found == "new" and (lab.etc / "zones/log-outbound.xml").exists()
            assert addresses(lab.kernel_set("JP")) == addresses(entries)
            assert addresses(runtime_entries(lab)) == addresses(entries)
            logging = log_rules(lab)
            assert max(logging.values()) == 1, logging
            assert any('log prefix "ABROAD "' in rule for _chain, rule in logging) is rules
            assert any('log prefix "OUTBOUND_FOREIGN "' in rule for _chain, rule in logging) is not rules
            assert installed["problems"] == []
            assert installed["proved"] is True
            zone = "log-outbound" if rules else "public"
        assert lab.ask(f"{BUS_NAME}.getDefaultZone") == zone
        self.waits = installed is not None and status["waits_until"] is not None
        assert (self.state / "journal").exists() is self.waits
        assert not self.waits or (found == "new" and self.waiting)
        if found == self.base:
            assert content(lab.etc) == content(self.saved / lab.etc.name)
        return found

    def scratches(self) -> set[str]:
        """Return what is left below the state folder of what was on its way."""
        return {str(path.relative_to(self.state)) for path in self.state.rglob(".*.fwfeed-*")}

    def goes_on(self, found: str) -> None:
        """Have the next command that changes something clear away what the last one left below the state folder."""
        left = {path for path in self.scratches() if path.count(".fwfeed-") == 1}
        if left <= self.seen:
            return
        self.seen |= left
        if found == self.base and self.waits is self.waited:
            again = self.command
        elif self.waits:
            again = ("confirm",)
        else:
            again = ("apply",) if found == "old" and self.base != "none" else ("rollback",)
        if again == ("rollback",) and self.base == "none":
            return  # to what?
        done = self.fwfeed.run(*again, checks=False)
        assert done.code == 0, done.stderr
        assert not self.scratches()


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder but for the copy that firewalld keeps of its own."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "firewalld.conf.old"
    }


@contextmanager
def scene(lab: World, name: str, *, checks: bool = False) -> Iterator[Scene]:
    """Set a scene by its name: what is done, and what changes by it."""
    command, _, kind = name.partition(" of ")
    with harness(lab) as fwfeed:

        def run(*arguments: str) -> None:
            done = fwfeed.run(*arguments, checks=False)
            assert done.code == 0, done.stderr

        if kind == "all":
            run("fetch")
            made = Scene(lab, fwfeed, "none", ("apply",), "old")
        else:
            have_old_and_prepare_new(lab, kind)
            if command == "apply":
                run("apply")
                run("rollback")
                made = Scene(lab, fwfeed, "old", ("apply",), "new")
            elif command == "apply to confirm":
                made = Scene(lab, fwfeed, "old", ("apply", "--confirm-within", "1h"), "new", waiting=True)
            elif command == "rollback":
                run("apply")
                made = Scene(lab, fwfeed, "new", ("rollback",), "old")
            else:
                run("apply", "--confirm-within", "1h")
                other = {"confirm": "new", "rollback unconfirmed": "old"}[command]
                made = Scene(lab, fwfeed, "new", (command.split()[0],), other, waiting=True)
            with (lab.folder / "fwfeed.toml").open("a") as file:
                file.write(f"[apply]\nkeep = {3 if command == 'apply' else 2}\n")  # so that a commit takes one away
        made.checks = checks
        made.save()
        yield made


@contextmanager
def told(number: int, step: Step, harm: str) -> Iterator[None]:
    """Have a failure say at which step it came."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"{harm} at step {number}: {step}")
        raise


def share(made: Scene, part: str) -> list[tuple[int, Step]]:
    """Return the steps that a part like 2/3 of a test is to try, by their numbers."""
    which, parts = map(int, part.split("/"))
    return list(enumerate(made.steps, 1))[which - 1 :: parts]


def alike(step: Step) -> Step:
    """Return a step as it is in every run: in which order entries come and go is firewalld's to say."""
    return Step(step.kind, step.what.split()[0]) if step.kind == CALL else step


def kill(made: Scene, number: int, step: Step, how: str = "kill") -> None:
    """Kill the command at a step, find one whole state, and come back to the moment before."""
    with told(number, step, how):
        ended = made.does(how, number)
        assert ended.killed, ended
        assert [alike(each) for each in ended.steps] == [alike(each) for each in made.steps[:number]]
        found = made.ends_in_one_state()
        assert found in {made.base, made.other}
        made.goes_on(found)
    made.reset()


@pytest.mark.parametrize("kind", ["entries", "rules"])
def test_killed_before_and_in_any_call_of_firewalld_it_is_one_whole_state(lab: World, kind: str) -> None:
    with scene(lab, f"apply of {kind}") as made:
        for command, base, other in (("apply", "old", "new"), ("rollback", "new", "old")):
            made.command, made.base, made.other = (command,), base, other
            if command == "rollback":
                assert made.fwfeed.run("apply").code == 0
                made.save()
            calls = [each for each in share(made, "1/1") if each[1].kind == CALL]
            assert len(calls) >= 2
            for number, step in calls:
                kill(made, number, step)
                kill(made, number, step, "late")
        assert made.does().code == 0
        assert whole(lab) == "old"


@ON_ONE
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("apply of all", "1/1"),
        ("apply of entries", "1/2"),
        ("apply of entries", "2/2"),
        ("apply to confirm of rules", "1/2"),
        ("apply to confirm of rules", "2/2"),
        ("rollback of entries", "1/2"),
        ("rollback of entries", "2/2"),
        ("rollback of rules", "1/1"),
        ("confirm of rules", "1/1"),
        ("rollback unconfirmed of rules", "1/1"),
    ],
)
def test_killed_before_any_step_of_files_it_is_one_whole_state(lab: World, name: str, part: str) -> None:
    """But for making a file durable: what dies here is fwfeed and not the machine, and nothing differs by that."""
    with scene(lab, name) as made:
        begin = first(made, "/bin/sh" if name == "apply to confirm of rules" else "etc-firewalld/")
        commit = len(made.steps) if name == "apply to confirm of rules" else committing(made.steps)
        for number, step in share(made, part):
            if step.kind in {"sync", CALL}:
                continue
            if name in {"apply to confirm of rules", "rollback of rules"} and not begin <= number <= commit:
                continue  # as with entries
            kill(made, number, step)
        if made.base == "old":
            assert made.does().code == 0
            assert made.fwfeed.run("confirm").code == (0 if made.waiting else 1)
            assert whole(lab) == made.other


@ON_ONE
@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("apply of entries", "rename etc-firewalld/ipsets/.JP.xml.fwfeed-new"),
        ("apply of entries", "create state/generations/000004/.manifest.json"),
        ("apply of rules", "rename etc-firewalld/policies/.fwfeed-outbound.xml"),
    ],
)
def test_killed_while_it_repairs_it_is_one_whole_state_after_the_next(lab: World, name: str, moment: str) -> None:
    with scene(lab, name) as made:
        crash, step = next(each for each in share(made, "1/1") if str(each[1]).startswith(moment))
        assert made.does("kill", crash).killed
        repair = made.fwfeed.run("status").steps
        made.reset()
        assert len(repair) > 10
        for number, second in enumerate(repair, 1):
            if second.kind == "sync" or (name.endswith("rules") and number > committing(repair)):
                continue
            with told(crash, step, "kill"), told(number, second, "kill the repair"):
                assert made.does("kill", crash).killed
                assert made.fwfeed.run("status", harm=Harm("kill", number)).killed
                assert made.ends_in_one_state() == made.base
                made.goes_on(made.base)
            made.reset()


def first(made: Scene, where: str) -> int:
    """Return the number of the first step there, 0 for none."""
    return next((number for number, step in enumerate(made.steps, 1) if step.what.startswith(where)), 0)


def committing(steps: list[Step]) -> int:
    """Return the number of the step after which a generation has its end: what follows tidies up."""
    renamed = [n for n, step in enumerate(steps, 1) if step.kind == "rename" and step.what.endswith("/manifest.json")]
    return renamed[-1] + 1


def fail(made: Scene, number: int, step: Step, how: str, error: int) -> None:
    """Have steps fail, find one whole state that the exit code tells of, and come back to the moment before."""
    with told(number, step, f"{how} {errno.errorcode[error]}"):
        ended = made.does(how, number, error)
        assert ended.code in {0, 1, 4, 6}, ended.stderr
        # what is committed, and can neither be made durable nor taken back
        at_commit = how == "lasting" and step.kind == "sync" and re.fullmatch(r"state/generations/\d+", step.what)
        assert "Traceback" not in ended.stderr
        if ended.code == 1 and not at_commit:
            assert content(made.lab.etc) == content(made.saved / made.lab.etc.name)
        if how == "lasting" and (made.state / "journal").exists() and ended.code != 0:
            meanwhile = made.fwfeed.run("status", harm=Harm(how, 1, error))
            assert meanwhile.code == 0
            assert "Traceback" not in meanwhile.stderr
            if (made.state / "journal").exists() and not made.waited:
                assert "an apply was cut off, and cannot be repaired now: cannot " in meanwhile.stderr
        found = made.ends_in_one_state()
        may_be_either = made.waiting or at_commit
        assert found in ({made.base, made.other} if may_be_either else {made.other if ended.code == 0 else made.base})
        made.goes_on(found)
    made.reset()


@ON_ONE
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("apply of entries", "1/2"),
        ("apply of entries", "2/2"),
        ("apply of rules", "1/2"),
        ("apply of rules", "2/2"),
        ("rollback unconfirmed of rules", "1/1"),
    ],
)
def test_an_error_at_any_step_of_files_leaves_one_whole_state(lab: World, name: str, part: str) -> None:
    with scene(lab, name) as made:
        begin, end = (
            (first(made, "etc-firewalld/"), committing(made.steps)) if name == "apply of rules" else (0, 1 << 30)
        )
        for number, step in share(made, part):
            if step.of_files and begin <= number <= end:
                fail(made, number, step, "fail", errno.ENOSPC if step.kind in FILLING else errno.EIO)


@ON_ONE
@pytest.mark.parametrize("name", ["apply of entries", "rollback unconfirmed of rules"])
def test_a_disk_full_from_any_step_on_is_told_of_and_repaired_when_there_is_room(lab: World, name: str) -> None:
    with scene(lab, name) as made:
        for number, step in share(made, "1/1"):
            if step.kind in FILLING:
                fail(made, number, step, "lasting", errno.ENOSPC)


@ON_ONE
def test_a_disk_broken_from_any_step_on_is_told_of_and_repaired_when_it_is_whole(lab: World) -> None:
    """From where files begin to move, or the journal; before, it is not told from a step that fails alone."""
    with scene(lab, "apply of entries") as made:
        begin = first(made, "etc-firewalld/")
        for number, step in share(made, "1/1"):
            if step.of_files and number >= begin:
                fail(made, number, step, "lasting", errno.EIO)


@ON_ONE
def test_an_error_at_any_step_of_the_check_beforehand_changes_nothing(lab: World) -> None:
    with scene(lab, "apply of entries", checks=True) as made:
        for number, step in share(made, "1/1"):
            if step.what.startswith("tmp/"):
                full = step.kind in FILLING
                fail(made, number, step, "lasting" if full else "fail", errno.ENOSPC if full else errno.EIO)
