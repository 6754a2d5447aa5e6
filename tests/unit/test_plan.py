"""What a plan says where /etc/firewalld is not ours to read, and which default zone it wants after what history."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fwfeed import config
from fwfeed.apply.plan import plan
from fwfeed.compile import recipe
from fwfeed.model import Generation, Outcome
from fwfeed.prefixes import Family
from fwfeed.store.generations import Generations
from tests.unit.builders import World, shipped, world

NOBODY = 65534


@pytest.fixture
def fetched() -> Iterator[World]:
    # not tmp_path, which nobody but its owner can reach
    folder = Path(tempfile.mkdtemp(prefix="fwfeed-test-"))
    folder.chmod(0o755)
    made = world(folder)
    assert made.run("fetch").code == 0
    yield made
    shutil.rmtree(folder)


def settings(made: World) -> config.Config:
    return config.parse(made.config.read_text(), file="fwfeed.toml")


def test_what_cannot_be_read_is_taken_for_new_and_said(fetched: World) -> None:
    fetched.firewalld.mkdir(exist_ok=True)
    (fetched.firewalld / "ipsets").mkdir()
    (fetched.firewalld / "ipsets/JP.xml").write_text("<mine/>")
    fetched.templates.mkdir()
    for kind in ("ipset", "policy", "zone"):  # those of a checkout of root's may be out of another user's reach
        (fetched.templates / f"{kind}.xml.j2").write_text(shipped(kind))
    plan(settings(fetched))  # and so may be what it imports
    fetched.firewalld.chmod(0)
    was = os.geteuid()
    try:
        if was == 0:  # whom no mode keeps out
            os.seteuid(NOBODY)
        planned = plan(settings(fetched))
    finally:
        os.seteuid(was)
        fetched.firewalld.chmod(0o755)
    assert not planned.target.readable
    assert planned.target.clashes == ()
    assert set(planned.target.installed.values()) == {None}
    assert len(planned.target.changes) == 4


def test_a_link_in_the_place_of_a_file_is_a_clash_even_with_the_right_content(fetched: World, tmp_path: Path) -> None:
    assert fetched.run("render", "--output", tmp_path / "out").code == 0
    (fetched.firewalld / "ipsets").mkdir(parents=True)
    (fetched.firewalld / "ipsets/JP.xml").symlink_to(tmp_path / "out/ipsets/JP.xml")
    assert plan(settings(fetched)).target.clashes == ("ipsets/JP.xml",)


APPLIED, PENDING, BACK = Outcome.APPLIED, Outcome.PENDING, Outcome.ROLLED_BACK
OURS = "log-outbound"


@pytest.mark.parametrize(
    ("history", "configured", "restrict", "expected"),
    [
        ([], "work", False, (None, None)),
        ([], "work", True, (OURS, "work")),
        ([], OURS, True, (OURS, "public")),
        ([(APPLIED, OURS, "work")], OURS, True, (OURS, "work")),
        ([(APPLIED, OURS, "work")], "home", True, (OURS, "home")),
        ([(APPLIED, OURS, "work")], OURS, False, ("work", None)),
        ([(APPLIED, OURS, "work")], "home", False, (None, None)),
        ([(APPLIED, OURS, "work"), (APPLIED, None, None)], OURS, False, (None, None)),
        # begun and not ended: the default zone may have been changed already
        ([(PENDING, OURS, "work")], OURS, False, ("work", None)),
        ([(PENDING, OURS, "work")], "work", False, (None, None)),
        ([(APPLIED, None, None), (PENDING, OURS, "work")], OURS, False, ("work", None)),
        # or not given back yet
        ([(APPLIED, OURS, "work"), (PENDING, None, None)], OURS, False, ("work", None)),
        ([(APPLIED, OURS, "work"), (PENDING, None, None)], OURS, True, (OURS, "work")),
        # rolled back: what it wanted does not count
        ([(BACK, OURS, "work")], "work", False, (None, None)),
        ([(APPLIED, OURS, "work"), (BACK, None, None)], OURS, False, ("work", None)),
    ],
)
def test_the_default_zone_that_is_wanted_follows_from_what_fwfeed_has_done_to_it(
    history: list[tuple[Outcome, str | None, str | None]],
    configured: str,
    restrict: bool,  # noqa: FBT001 - a column of the table
    expected: tuple[str | None, str | None],
    fetched: World,
) -> None:
    if restrict:
        with fetched.config.open("a") as file:
            file.write('[inbound]\naction = "restrict"\n')
    fetched.firewalld.mkdir(exist_ok=True)
    (fetched.firewalld / "firewalld.conf").write_text(f"# DefaultZone=drop\nDefaultZone={configured}\n")
    store = Generations.below(fetched.state)
    for number, (outcome, made_default, replaced) in enumerate(history, 1):
        store.write(
            Generation(
                number=number,
                root=str(fetched.firewalld),
                created=datetime.now(UTC),
                outcome=outcome,
                reason="",
                recipe=recipe(settings(fetched)),
                restores=None,
                config="",
                firewalld="2.3.1",
                sources=(),
                prefixes=dict.fromkeys(Family, 1),
                addresses=dict.fromkeys(Family, 1),
                files={},
                default_zone=made_default,
                replaced_zone=replaced,
            ),
            {},
        )
    zone = plan(settings(fetched)).target.default_zone
    assert (zone.configured, zone.wanted, zone.replaced) == (configured, *expected)
