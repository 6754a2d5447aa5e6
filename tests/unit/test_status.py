"""What status and history say: the verdict first, then what is not as it should be, and what is in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fwfeed.compile import recipe
from fwfeed.config import Config, Inbound, InboundConfig, Outbound, OutboundConfig, WatchConfig, parse
from fwfeed.model import NOTHING, Gate, Outcome, Verdict
from fwfeed.nflog import is_listened_to
from fwfeed.prefixes import Family
from fwfeed.render import render
from fwfeed.report.standing import history_json, history_lines, status_json, status_lines
from fwfeed.status import Actions, Watching, read_actions
from fwfeed.store import templates
from fwfeed.store.generations import Generations
from tests.unit.builders import candidate, world
from tests.unit.standings import CANDIDATE, CONFIG, GENERATION, NOW, aged, ended, standing

JST = timezone(timedelta(hours=9), "JST")
NOT_INSTALLED: Mapping[str, Any] = {
    "generation": None, "last": None, "installed": (), "problems": None, "actions": None, "watching": None
}  # fmt: skip
REJECT = Actions(outbound=Outbound.REJECT, forwarded=True, inbound=Inbound.RESTRICT, groups=frozenset({243}))


def said(*, root: bool = True, verbose: bool = False, **changes: Any) -> list[str]:
    return list(status_lines(standing(**changes), CONFIG, NOW, JST, root=root, verbose=verbose))


def test_where_all_is_well_status_is_three_lines() -> None:
    assert said(actions=REJECT) == [
        "OK  JP: 2 + 2 prefixes, generation 3, proved in the kernel",
        "outbound: reject, own and forwarded · inbound: restrict · watch: running, 0 lost",
        "next update 2026-01-03 12:04:05 JST",
    ]


def test_the_rest_comes_with_v() -> None:
    lines = said(verbose=True)
    assert lines[:4] == [*said(), ""]
    assert "set JP (IPv4):      2 prefixes,             384 addresses" in lines
    assert lines[-3:] == [
        "installed: generation 3, 8 h ago, at 2026-01-02 12:05:00 JST, firewalld 2.3.1",
        "fwfeed-refresh.service: ended 8 h ago, at 2026-01-02 12:04:30 JST, with exit code 0",
        "fwfeed-apply.service: ended 8 h ago, at 2026-01-02 12:05:01 JST, with exit code 0",
    ]


VERDICTS: Mapping[str, tuple[Mapping[str, Any], str, tuple[str, ...]]] = {
    "drift": (
        {"problems": ("the kernel has no set JP", "policies/x.xml was changed since")},
        "CRITICAL  JP: 2 + 2 prefixes, generation 3, not proved",
        (
            "  CRITICAL: generation 3 is not what is there:",
            "    the kernel has no set JP",
            "    policies/x.xml was changed since",
            "    way out: fwfeed apply",
        ),
    ),
    "held": (
        {"held": CANDIDATE, "verdicts": (Verdict(Gate.MAX_SHRINK, "it shrinks"), Verdict(Gate.EMPTY, "it is empty"))},
        "WARNING  JP: 2 + 2 prefixes, generation 3, proved in the kernel",
        (
            "  WARNING: held by a gate since 2026-01-02 12:04:05 JST:",
            "    it shrinks",
            "    it is empty",
            "    way out: see the change: fwfeed diff; if it is right: fwfeed approve",
        ),
    ),
    "nothing yet": (
        {**NOT_INSTALLED, "candidate": None},
        "UNKNOWN  no candidate yet; run: fwfeed fetch",
        (),
    ),
    "not installed, and the configuration changed": (
        {**NOT_INSTALLED, "outdated": "countries JP -> DE"},
        "CRITICAL  nothing is installed; run: fwfeed update",
        (),
    ),
    "not installed yet": (NOT_INSTALLED, "CRITICAL  nothing is installed; run: fwfeed apply", ()),
    "uninstalled": (
        {**NOT_INSTALLED, "held_back": "fwfeed uninstall took it out"},
        "WARNING  nothing is installed",
        (
            "  WARNING: held back: fwfeed uninstall took it out",
            "    way out: fwfeed apply installs the candidate again; fwfeed update leaves it so",
        ),
    ),
    "a set defined anew": (
        {"pending": True, "redefined": (Verdict(Gate.SET_CHANGED, "the set changes: name JP -> DE"),)},
        "WARNING  JP: 2 + 2 prefixes, generation 3, proved in the kernel",
        (
            "  WARNING: timers leave the candidate out: the set changes: name JP -> DE",
            "    way out: if it is right: fwfeed apply",
        ),
    ),
    "a configuration that changed since the fetch": (
        {"pending": True, "outdated": "countries JP -> DE"},
        "WARNING  JP: 2 + 2 prefixes, generation 3, proved in the kernel",
        (
            (
                "  WARNING: the candidate was compiled for other settings than the configuration has now: "
                "countries JP -> DE"
            ),
            "    way out: run: fwfeed update",
        ),
    ),
    "an interface that restrict does not reach": (
        {
            "actions": REJECT,
            "generation": replace(GENERATION, default_zone="log-outbound"),
            "unreached": {"eth1": "public"},
        },
        "WARNING  JP: 2 + 2 prefixes, generation 3, proved in the kernel",
        (
            (
                "  WARNING: interface eth1 is bound to zone public: what comes in there from outside JP is judged by "
                "that zone, not by log-outbound"
            ),
            "    way out: if it is not meant so: firewall-cmd --permanent --zone=log-outbound --change-interface=eth1",
        ),
    ),
}


@pytest.mark.parametrize(("changes", "verdict", "findings"), VERDICTS.values(), ids=VERDICTS)
def test_the_verdict_comes_first_and_then_why(
    changes: Mapping[str, Any], verdict: str, findings: tuple[str, ...]
) -> None:
    lines = said(**changes)
    assert lines[: 1 + len(findings)] == [verdict, *findings]
    assert not any(line.startswith("outbound:") for line in lines[: 1 + len(findings)])
    assert lines[-1] == "next update 2026-01-03 12:04:05 JST"


@pytest.mark.parametrize(
    ("watching", "words"),
    [
        (None, "off"),
        (Watching(listening=None, lost=None), "not known"),
        (Watching(listening=False, lost=7), "not running"),
        (Watching(listening=True, lost=None), "running"),
        (Watching(listening=True, lost=0), "running, 0 lost"),
        (Watching(listening=True, lost=1234), "running, 1,234 lost in the last 24 h"),
    ],
)
def test_it_says_whether_anybody_watches(watching: Watching | None, words: str) -> None:
    assert said(watching=watching)[1] == f"outbound: log, own and forwarded · inbound: off · watch: {words}"


def test_it_says_where_systemd_has_no_update_scheduled() -> None:
    assert said(fires=None)[-1].startswith("next update: not scheduled; ")
    assert not [line for line in said(fires=None, systemd=False) if "update" in line], "a daemon may do it"


@pytest.mark.parametrize(
    "changes",
    [{}, {"problems": ("x",)}, {**NOT_INSTALLED}, {"watching": None}, aged(7), {"unreached": {"eth1": "public"}}],
)
def test_json_has_the_verdict_and_all_it_rests_on(changes: Mapping[str, Any]) -> None:
    status = standing(**changes)
    document = status_json(status, CONFIG, NOW, root=True)
    assert document["level"] == said(**changes)[0].split("  ")[0]
    assert (document["level"] == "OK") is not document["findings"]
    assert document["unfinished"] is False
    assert document["unreached_interfaces"] == dict(status.unreached or {})
    if status.actions is not None:
        assert document["actions"] == {"outbound": "log", "forwarded": True, "inbound": "off", "nflog_groups": [243]}
    assert document["units"] == {
        "fwfeed-refresh.service": {"exit_code": 0, "ended": "2026-01-02T03:04:30+00:00"},
        "fwfeed-apply.service": {"exit_code": 0, "ended": "2026-01-02T03:05:01+00:00"},
    }
    assert document["timer_next"] == "2026-01-03T03:04:05+00:00"


def test_history_tells_what_each_generation_does() -> None:
    nothing = ended(Outcome.APPLIED, restores=NOTHING)
    listed = [(nothing, None), (GENERATION, REJECT)]
    out, in_force = history_lines(listed, 3, JST)
    assert "outbound" not in out
    assert out.endswith("applied, nothing any more")
    assert "2 + 2 prefixes · outbound: reject, own and forwarded · inbound: restrict · firewalld 2.3.1" in in_force
    actions = [each["actions"] for each in history_json(listed, 3)]
    assert actions == [
        None,
        {"outbound": "reject", "forwarded": True, "inbound": "restrict", "nflog_groups": [243]},
    ]


@pytest.mark.parametrize("outbound", Outbound)
@pytest.mark.parametrize("forwarded", [True, False])
@pytest.mark.parametrize("inbound", Inbound)
@pytest.mark.parametrize("group", [None, 7])
def test_what_is_in_force_is_read_from_the_files(
    outbound: Outbound, *, forwarded: bool, inbound: Inbound, group: int | None, tmp_path: Path
) -> None:
    config = Config(
        outbound=OutboundConfig(action=outbound, forwarded=forwarded),
        inbound=InboundConfig(action=inbound),
        watch=WatchConfig(group=group),
    )
    rendered = render(candidate(config), config, templates.load(tmp_path))
    off = outbound is Outbound.OFF
    assert read_actions(rendered.files, rendered.default_zone) == Actions(
        outbound=outbound,
        forwarded=forwarded and not off,
        inbound=inbound,
        groups=frozenset() if off or group is None else frozenset({group}),
    )


def test_a_damaged_file_is_no_action() -> None:
    with pytest.raises(ValueError, match="not well-formed"):
        read_actions({"policies/fwfeed-outbound.xml": b"<policy"}, None)


def test_who_listens_to_a_group_is_read_from_the_kernels_table(tmp_path: Path) -> None:
    table = tmp_path / "nfnetlink_log"
    table.write_text("    7   1234     0 2 65535    100  1\n  243  -4096     0 2   128    100  1\n", encoding="ascii")
    assert (is_listened_to(243, table), is_listened_to(7, table), is_listened_to(24, table)) == (True, True, False)
    assert is_listened_to(243, tmp_path / "none") is None


def test_after_an_uninstall_nothing_is_installed(tmp_path: Path) -> None:
    made = world(tmp_path)
    assert made.run("fetch").code == 0
    store = Generations.below(made.state)
    config = parse(made.config.read_text(encoding="utf-8"), file="fwfeed.toml")
    first = replace(GENERATION, number=1, root=str(made.firewalld), recipe=recipe(config))
    store.write(first, {})
    gone = replace(first, number=2, restores=NOTHING, prefixes=dict.fromkeys(Family, 0))
    store.write(gone, {})
    lines = made.run("status").out.splitlines()
    assert lines[0] == "WARNING  nothing is installed"
    assert "  WARNING: held back: fwfeed uninstall took it out" in lines
    assert made.run("status", "--json").value["installed"] is None
    assert made.run("status", "--json").value["held_back"] == "fwfeed uninstall took it out"
    assert "\nfwfeed_generation 0\n" in made.run("metrics").out
    assert made.spawn("check", "--nagios").out.startswith("FWFEED WARNING - nothing is installed; held back: ")


@pytest.mark.parametrize(
    ("keys", "warned"),
    [
        ('name = "FR"', True),
        ('name = "JP"\ncountries = ["DE"]', True),
        ('name = "JP"', False),
        ('name = "HOME"', False),
    ],
)
def test_a_name_that_is_another_countrys_code_is_told(keys: str, *, warned: bool, tmp_path: Path) -> None:
    made = world(tmp_path)
    made.configure(set_table=f"{keys}\ninclude = []")
    for command in ("fetch", "render"):
        ended = made.run(command)
        assert ended.code == 0
        assert ("warning: set.name is " in ended.err) is warned


def test_commands_that_read_a_candidate_of_another_configuration_say_so(tmp_path: Path) -> None:
    made = world(tmp_path)
    assert made.run("fetch").code == 0
    made.configure(set_table='countries = ["DE"]\ninclude = []')
    for command in (["list"], ["diff"], ["lookup", "198.51.100.1"]):
        assert "warning: the candidate was compiled for other settings than there are now: " in made.run(*command).err
    status = made.run("status").out
    assert (
        "  WARNING: the candidate was compiled for other settings than the configuration has now: countries JP"
        in status
    )
    assert "    way out: run: fwfeed update" in status


def test_status_changes_nothing(tmp_path: Path) -> None:
    made = world(tmp_path)
    assert made.run("fetch").code == 0
    result = made.run("status")
    assert result.code == 0
    assert result.out.splitlines()[0] == "CRITICAL  nothing is installed; run: fwfeed apply"
    assert "set JP (IPv4)" not in result.out
    assert "set JP (IPv4)" in made.run("status", "-v").out
