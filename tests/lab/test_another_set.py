"""A set that is defined anew: whoever asks is told, a timer leaves it out, and nobody's reference is left dangling."""

from __future__ import annotations

import json

import pytest

from tests.lab.matrix import on_one_version
from tests.lab.world import World
from tests.unit.builders import CHECKOUT

pytestmark = [
    pytest.mark.lab,
    on_one_version("what a set is made of, and who says so, is fwfeed's own; firewalld is given files as ever"),
]

AUSTRIA = "apnic|AT|ipv4|192.0.2.0|256|20110811|assigned|A3"
JP, US, AT = "198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24"

FEEDS = CHECKOUT / "tests/data/feeds"
Sets = dict[str, set[str]]


@pytest.fixture
def applied(lab: World) -> World:
    """The lab, where JP was applied."""
    lab.publish(AUSTRIA)
    lab.configure(set='name = "JP"\ninclude = []')
    done = lab.fwfeed("update")
    assert done.returncode == 0, done.stderr
    return lab


def held(lab: World, what: str, *command: str) -> None:
    """Assert that a timer's command leaves the change out, says which, and that nothing of what is live moves."""
    before = lab.snapshot()
    done = lab.fwfeed(*command, "--unattended")
    assert done.returncode == 3, done
    assert f"fwfeed: held back: the set changes: {what}" in done.stderr
    assert done.stdout == "nothing to do: what is live stays\n"
    after = lab.snapshot()
    moved = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
    assert not [place for place in moved if "/state/candidate" not in place and "/cache" not in place]


@pytest.mark.parametrize(
    ("table", "what", "sets"),
    [
        ('name = "JP"\ncountries = ["US"]', "countries JP -> US", {"JP": {US}}),
        ('countries = ["US"]', "name JP -> US, countries JP -> US", {"US": {US}}),
        ('name = "JP"\ncountries = ["JP", "AT"]', "countries JP -> JP+AT", {"JP": {JP, AT}}),
        ('name = "HOME"', "name JP -> HOME", {"HOME": {JP}}),
    ],
)
def test_a_set_of_other_countries_or_another_name_goes_in_by_hand_and_by_no_timer(
    table: str, what: str, sets: Sets, applied: World
) -> None:
    applied.configure(set=f"{table}\ninclude = []")
    held(applied, what, "update")
    held(applied, what, "apply")
    shown = applied.fwfeed("render", "--dry-run").stdout
    assert f"the set changes: {what}; an apply by a timer leaves it out: fwfeed apply\n" in shown
    checked = applied.fwfeed("check")
    assert (checked.returncode, f"warning: the set changes: {what}" in checked.stderr) == (0, True), checked
    assert json.loads(applied.fwfeed("status", "--json").stdout)["pending"] is True

    done = applied.fwfeed("update")
    assert done.returncode == 0, done.stderr
    assert f"warning: the set changed: {what}\n" in done.stderr
    assert done.stdout.startswith("sources: nothing new; generation 2 applied in ")
    for name, entries in sets.items():
        assert applied.kernel_set(name) == entries
    assert ("JP" in sets) is (applied.etc / "ipsets/JP.xml").exists()
    again = applied.fwfeed("update", "--unattended")
    assert (again.returncode, again.stdout) == (0, "nothing to do: the kernel holds what it should\n")
    assert again.stderr.endswith("sources: nothing new\n")


def test_what_a_timer_left_out_goes_in_once_it_is_approved(applied: World) -> None:
    applied.configure(set='countries = ["US"]\ninclude = []')
    held(applied, "name JP -> US, countries JP -> US", "update")
    assert "\nthe set changes: name JP -> US" in applied.fwfeed("diff").stdout
    approved = applied.fwfeed("approve")
    assert approved.stdout.startswith("approved: the set changes: name JP -> US, countries JP -> US\n")
    assert applied.fwfeed("apply", "--unattended").returncode == 0
    assert applied.kernel_set("US") == {US}


def test_a_timer_mends_what_is_live_though_it_leaves_the_change_out(applied: World) -> None:
    applied.configure(set='countries = ["US"]\ninclude = []')
    assert applied.fwfeed("fetch").returncode == 0
    (applied.etc / "policies/fwfeed-outbound.xml").unlink()
    mended = applied.fwfeed("apply", "--unattended")
    assert mended.returncode == 3, mended
    assert "held back: the set changes" in mended.stderr
    assert (applied.etc / "policies/fwfeed-outbound.xml").exists()
    assert applied.kernel_set("JP") == {JP}
    # nobody went back: once the set is what it was, ordinary news goes in again
    applied.configure(set="include = []")
    assert applied.fwfeed("fetch").returncode == 0
    again = applied.fwfeed("apply", "--unattended")
    assert (again.returncode, again.stderr) == (0, ""), again
    assert json.loads(applied.fwfeed("status", "--json").stdout)["held_back"] is None


def test_what_the_configuration_spells_out_itself_goes_in_by_a_timer_and_is_told(applied: World) -> None:
    applied.configure(set='name = "JP"\ninclude = ["192.0.2.0/25"]')
    done = applied.fwfeed("update", "--unattended")
    assert done.returncode == 0, done.stderr
    assert "warning: the set changed: include +192.0.2.0/25\n" in done.stderr
    assert applied.kernel_set("JP") == {JP, "192.0.2.0/25"}


def test_a_list_that_would_move_more_than_the_gates_allow_goes_in_by_hand_alone(applied: World) -> None:
    feed = applied.folder / "list.txt"
    feed.write_text("192.0.2.0/24\n")
    applied.configure(set='name = "JP"\ninclude = ["office"]')
    with (applied.folder / "fwfeed.toml").open("a") as file:
        file.write(f'[[feed]]\nname = "office"\nurl = "{feed.as_uri()}"\n')
    held(applied, "include +office; IPv4: 100.0% of the addresses would come, allowed is 25.0%", "update")
    assert applied.fwfeed("update").returncode == 0
    assert applied.kernel_set("JP") == {JP, AT}


def test_an_update_whose_list_is_refused_says_why_and_not_to_fetch(applied: World) -> None:
    applied.configure(set='name = "JP"\ninclude = ["cloud"]')
    with (applied.folder / "fwfeed.toml").open("a") as file:
        file.write(
            f'[[feed]]\nname = "cloud"\nurl = "{(FEEDS / "aws.json").as_uri()}"\nformat = "aws"\nregions = ["mars"]\n'
        )
    done = applied.fwfeed("update")
    assert (done.returncode, done.stdout) == (3, "")
    why, hint = done.stderr.splitlines()
    assert "no prefix of region 'mars'" in why
    assert hint == "fwfeed: way out: correct the feed's filter in the configuration, or take it out"
    assert applied.kernel_set("JP") == {JP}


@pytest.mark.parametrize("command", ["update", "uninstall"])
def test_a_set_that_others_name_is_not_taken_away(command: str, applied: World) -> None:
    zone = applied.etc / "zones/work.xml"
    zone.write_text('<zone><source ipset="JP"/></zone>\n')
    policy = applied.etc / "policies/mine.xml"
    policy.write_text(
        '<policy target="CONTINUE"><ingress-zone name="ANY"/><egress-zone name="HOST"/>'
        '<rule family="ipv6"><source ipset="JP6"/><accept/></rule></policy>\n'
    )
    assert applied.firewall_cmd("--reload") == "success"
    applied.configure(set='countries = ["US"]\ninclude = []')
    assert applied.fwfeed("fetch").returncode == 0
    before = applied.snapshot()
    done = applied.fwfeed(command)
    assert done.returncode == 1, done
    assert f"fwfeed: {zone}: <source> names ipset 'JP', which would be removed\n" in done.stderr
    assert f"fwfeed: {policy}: <source> names ipset 'JP6', which would be removed\n" in done.stderr
    assert "way out: have them name another set first" in done.stderr
    after = applied.snapshot()
    assert {key: value for key, value in after.items() if "/state/candidate" not in key} == {
        key: value for key, value in before.items() if "/state/candidate" not in key
    }
    zone.unlink()
    policy.unlink()
    assert applied.firewall_cmd("--reload") == "success"
    assert applied.fwfeed(command).returncode == 0
