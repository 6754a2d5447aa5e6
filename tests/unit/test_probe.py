"""The probe for Nagios and its kin: one line, an exit code of theirs, and nothing else, whatever the state is."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed import query
from fwfeed.config import Config, SourcesConfig
from fwfeed.errors import FwfeedError
from fwfeed.model import Gate, Outcome, Refusal, Verdict
from fwfeed.remark import Remark, RemarkKind
from fwfeed.report.probe import Finding, Level, Limits, line, probe
from fwfeed.report.standing import status_json
from fwfeed.status import Run
from fwfeed.store import candidates
from tests.unit.builders import CHECKOUT, Ended, World, run, snapshot, world
from tests.unit.standings import CANDIDATE, CONFIG, GENERATION, NOW, RUNS, aged, ended, standing

# Monitoring Plugins guidelines: 'label'=value[UOM];[warn];[crit];[min];[max]
PERFDATA = re.compile(r"[A-Za-z0-9_-]+=-?[0-9.]+(s|)(;[0-9.]*){0,4}")
LINE = re.compile(r"FWFEED (OK|WARNING|CRITICAL|UNKNOWN) - ([^|\n]+?)(?: \| ([^|\n]+))?")
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
REFRESHED, APPLIED = RUNS


def is_one_answer(code: int, out: str) -> str:
    """Assert that this is what a plugin answers, and return its text."""
    assert out.endswith("\n")
    found = LINE.fullmatch(out.removesuffix("\n"))
    assert found, out
    assert Level[found[1]] == code
    assert all(PERFDATA.fullmatch(each) for each in (found[3] or "").split())
    return found[2]


def judged(
    *, root: bool = True, config: Config = CONFIG, limits: Limits | None = None, **changes: Any
) -> tuple[Level, str]:
    level, text = probe(standing(**changes), config, limits or Limits(), NOW, UTC, root=root)
    return level, is_one_answer(level, f"{text}\n")


def test_all_is_well() -> None:
    level, text = probe(standing(), CONFIG, Limits(), NOW, UTC, root=True)
    assert level is Level.OK
    assert text == (
        "FWFEED OK - generation 3 proved in the kernel; afrinic to 2026-01-01 | "
        "prefixes_JP=2;;;0 prefixes_JP6=2;;;0 age_afrinic=86400s;302400;518400;0 age_apnic=86400s;302400;518400;0 "
        "age_arin=86400s;302400;518400;0 age_aws-tokyo=86400s;3888000;7689600;0 age_lacnic=86400s;302400;518400;0 "
        "age_ripencc=86400s;302400;518400;0"
    )


WELL = "generation 3 proved in the kernel; afrinic to 2026-01-01"
NOTHING: Mapping[str, Any] = {"generation": None, "installed": (), "problems": None, "last": None}
FAILED = ended(Outcome.ROLLED_BACK, "the kernel did not take it")
LEVELS: Mapping[str, tuple[Mapping[str, Any], Level, str]] = {
    "nothing at all": ({**NOTHING, "candidate": None}, Level.UNKNOWN, "no candidate yet; run: fwfeed fetch"),
    "nothing installed": (NOTHING, Level.CRITICAL, "nothing is installed; run: fwfeed apply"),
    "went back to nothing": (
        {**NOTHING, "held_back": "nobody confirmed generation 1"},
        Level.WARNING,
        "nothing is installed; held back: nobody confirmed generation 1",
    ),
    "firewalld does not run": (
        {"problems": None, "unknown": "firewalld is not running"},
        Level.CRITICAL,
        "not known whether the kernel holds generation 3: firewalld is not running",
    ),
    "drift": (
        {"problems": ("the kernel has no set JP", "and more")},
        Level.CRITICAL,
        "generation 3 is not what is there: the kernel has no set JP (and 1 more)",
    ),
    "no candidate, drift": (
        {"candidate": None, "problems": ("no set",)},
        Level.CRITICAL,
        "generation 3 is not what is there: no set; no candidate yet; run: fwfeed fetch",
    ),
    "no candidate, installed": ({"candidate": None}, Level.UNKNOWN, "no candidate yet; run: fwfeed fetch"),
    "cut off": (
        {"unfinished": True},
        Level.WARNING,
        "an apply is under way, or was cut off: sudo fwfeed status puts it right",
    ),
    "waits": (
        {"waits": NOW + timedelta(minutes=2)},
        Level.WARNING,
        "it will be undone at 2026-01-02 12:02:00 UTC, unless somebody says: fwfeed confirm",
    ),
    "overdue": (
        {"waits": NOW - timedelta(minutes=2)},
        Level.CRITICAL,
        "it was to be undone at 2026-01-02 11:58:00 UTC: sudo fwfeed status does it",
    ),
    "held back": (
        {"held_back": "somebody went back to generation 2", "pending": True},
        Level.WARNING,
        "held back: somebody went back to generation 2",
    ),
    "pending": ({"pending": True}, Level.WARNING, "the candidate of 2026-01-02 03:04:05 UTC is not applied"),
    "an interface in another zone": (
        {"generation": replace(GENERATION, default_zone="log-outbound"), "unreached": {"eth1": "public"}},
        Level.WARNING,
        (
            "interface eth1 is bound to zone public: what comes in there from outside JP is judged by that zone, "
            "not by log-outbound"
        ),
    ),
    "held": (
        {"held": CANDIDATE, "verdicts": (Verdict(Gate.EMPTY, "the set is empty"),)},
        Level.WARNING,
        "held by a gate since 2026-01-02 03:04:05 UTC: the set is empty",
    ),
    "held, gates widened": ({"held": CANDIDATE}, Level.WARNING, "held by a gate since 2026-01-02 03:04:05 UTC"),
    "a source refused": (
        {"refusals": (Refusal(name="apnic", reason="404", since=SINCE),)},
        Level.WARNING,
        "apnic: refused since 2026-01-01 00:00:00 UTC: 404",
    ),
    "all refused": (
        {"refusals": (Refusal(name="", reason="too\nold", since=SINCE),)},
        Level.WARNING,
        "the refresh is refused since 2026-01-01 00:00:00 UTC: too old",
    ),
    "rolled back": ({"last": FAILED}, Level.CRITICAL, "generation 4 was rolled back: the kernel did not take it"),
    "not confirmed": (
        {"last": ended(Outcome.UNCONFIRMED), "held_back": "nobody confirmed generation 4"},
        Level.WARNING,
        "held back: nobody confirmed generation 4",
    ),
    "rolled back, then well": ({"last": FAILED, "runs": (replace(APPLIED, ended=NOW),)}, Level.OK, WELL),
    "rolled back, then refused": (
        {"last": FAILED, "runs": (replace(APPLIED, ended=NOW, exit_code=5),)},
        Level.CRITICAL,
        (
            "generation 4 was rolled back: the kernel did not take it; "
            "fwfeed-apply.service ended with exit code 5 (LOCKOUT) at 2026-01-02 12:00:00 UTC"
        ),
    ),
    "apply killed, but all is as it should be": (
        {"runs": (replace(APPLIED, exit_code=137),)},
        Level.WARNING,
        "fwfeed-apply.service ended with exit code 137 at 2026-01-02 03:05:01 UTC",
    ),
    "apply killed": (
        {"runs": (replace(APPLIED, exit_code=137),), "pending": True},
        Level.CRITICAL,
        (
            "fwfeed-apply.service ended with exit code 137 at 2026-01-02 03:05:01 UTC; "
            "the candidate of 2026-01-02 03:04:05 UTC is not applied"
        ),
    ),
    "apply failed, then well": ({"runs": (replace(APPLIED, exit_code=4, ended=SINCE),)}, Level.OK, WELL),
    "apply held": ({"runs": (replace(APPLIED, exit_code=3),)}, Level.OK, WELL),
    "refresh failed": (
        {"runs": (replace(REFRESHED, exit_code=1),)},
        Level.WARNING,
        "fwfeed-refresh.service ended with exit code 1 (FAILED) at 2026-01-02 03:04:30 UTC",
    ),
    "refresh failed, then well": ({"runs": (replace(REFRESHED, exit_code=1, ended=SINCE),)}, Level.OK, WELL),
    "no systemd": ({"runs": (), "fires": None}, Level.OK, WELL),
    "ages": (aged(4), Level.WARNING, "apnic: the file ends on 2025-12-29, 4 days ago"),
    "old": (aged(7), Level.CRITICAL, "apnic: the file ends on 2025-12-26, 7 days ago"),
    "a feed ages": (aged(46, "aws-tokyo"), Level.WARNING, "aws-tokyo: the file ends on 2025-11-17, 46 days ago"),
    "a feed is old": (aged(90, "aws-tokyo"), Level.CRITICAL, "aws-tokyo: the file ends on 2025-10-04, 90 days ago"),
    "a list of one's own": (aged(4000, "office"), Level.OK, "generation 3 proved in the kernel; afrinic to 2026-01-02"),
}


@pytest.mark.parametrize(("changes", "level", "text"), LEVELS.values(), ids=LEVELS)
def test_each_state_has_its_level_and_says_why(changes: Mapping[str, Any], level: Level, text: str) -> None:
    assert judged(**changes) == (level, text)


def test_without_root_it_cannot_be_proved_and_warns() -> None:
    level, text = judged(root=False, problems=None, unknown="reading what the kernel holds needs root")
    assert level is Level.WARNING
    assert text == "not known whether the kernel holds generation 3: reading what the kernel holds needs root"


def test_the_gravest_comes_first() -> None:
    level, text = judged(pending=True, problems=("no set JP",), held=CANDIDATE)
    assert level is Level.CRITICAL
    assert text.startswith("generation 3 is not what is there: no set JP; ")
    assert "; held by a gate since " in text


@pytest.mark.parametrize(
    ("max_age", "days", "level"),
    [
        (7, 3, Level.OK), (7, 4, Level.WARNING), (7, 6, Level.WARNING), (7, 7, Level.CRITICAL),
        (1, 1, Level.OK), (1, 2, Level.CRITICAL), (2, 1, Level.OK), (2, 2, Level.WARNING), (2, 3, Level.CRITICAL),
        (3, 2, Level.WARNING), (3, 3, Level.CRITICAL), (None, 9000, Level.OK),
    ],
)  # fmt: skip
def test_without_ages_of_its_own_it_goes_by_max_age(max_age: int | None, days: int, level: Level) -> None:
    limit = None if max_age is None else timedelta(days=max_age)
    config = replace(CONFIG, sources=SourcesConfig(max_age=limit))
    assert judged(config=config, **aged(days))[0] is level


@pytest.mark.parametrize("max_age", [timedelta(days=7), None])
@pytest.mark.parametrize(
    ("days", "level"), [(2, Level.OK), (3, Level.WARNING), (5, Level.WARNING), (6, Level.CRITICAL)]
)
def test_ages_that_are_given_are_those(max_age: timedelta | None, days: int, level: Level) -> None:
    config = replace(CONFIG, sources=SourcesConfig(max_age=max_age))
    limits = Limits(timedelta(days=2), timedelta(days=5))
    assert judged(config=config, limits=limits, **aged(days))[0] is level
    off = Limits(timedelta.max, timedelta.max)
    assert judged(config=config, limits=off, **aged(days))[0] is Level.OK


def test_a_registry_past_its_limit_is_critical_and_says_that_its_part_is_kept() -> None:
    level, text = judged(**aged(9))
    assert level is Level.CRITICAL
    assert text.startswith("apnic: last good file is 9 days old, limit 7: its part of the set is kept")


def test_a_registry_past_its_limit_that_gives_the_set_nothing_is_a_warning() -> None:
    old = aged(9)["candidate"]
    sources = tuple(replace(source, taken=0) if source.name == "apnic" else source for source in old.sources)
    level, text = judged(candidate=replace(old, sources=sources))
    assert level is Level.WARNING
    assert text == "apnic: last good file is 9 days old, limit 7; it gives the set nothing"


def test_an_overdue_source_that_is_refused_is_one_finding_with_both_facts() -> None:
    refusals = (Refusal(name="apnic", reason="apnic: 404", since=SINCE),)
    level, text = judged(refusals=refusals, **aged(9))
    assert level is Level.CRITICAL
    kept = "last good file is 9 days old, limit 7: its part of the set is kept"
    assert text == f"apnic: {kept}; refused since 2026-01-01 00:00:00 UTC: 404"
    told = status_json(standing(refusals=refusals, **aged(9)), CONFIG, NOW, root=True)
    assert [finding["text"] for finding in told["findings"]] == [text]
    assert [(each["source"], each["overdue"]) for each in told["refused"]] == [("apnic", kept)]


def test_a_feed_past_its_own_limit_is_critical_too() -> None:
    level, text = judged(**aged(91, "aws-tokyo"))
    assert level is Level.CRITICAL
    assert text.startswith("aws-tokyo: last good file is 91 days old, limit 90: its part of the set is kept")


def test_remarks_alone_are_no_finding() -> None:
    remark = Remark(RemarkKind.TOTAL, "line 1: the header promises 7 records, the file has 8 (1 more)")
    sources = tuple(replace(source, remarks=(remark,)) for source in CANDIDATE.sources)
    assert judged(candidate=replace(CANDIDATE, sources=sources))[0] is Level.OK


@given(st.text(), st.lists(st.text(), max_size=3))
def test_no_text_makes_a_second_line_or_numbers(text: str, more: list[str]) -> None:
    texts = [text or "x", *more]
    level, answer = line([Finding(Level.CRITICAL, each) for each in texts], ["age=1s"])
    assert level is Level.CRITICAL
    assert len(answer.splitlines()) == 1
    assert answer.count("|") == 1
    assert answer.endswith(" | age=1s")
    assert answer.isprintable()


def test_a_long_text_is_cut() -> None:
    _level, answer = line([Finding(Level.WARNING, "x" * 5000)] * 50, ["age=1s"])
    assert len(answer) < 700
    assert answer.endswith("... | age=1s")


@pytest.fixture
def made(tmp_path: Path) -> World:
    made = world(tmp_path)
    assert made.run("fetch").code == 0
    return made


def nagios(made: World, *arguments: str) -> tuple[Level, str]:
    answer = made.spawn("check", "--nagios", *arguments)
    assert answer.err == ""
    return Level(answer.code), is_one_answer(answer.code, answer.out)


def test_the_command_answers_and_writes_nothing(made: World) -> None:
    before = snapshot(made.root)
    assert nagios(made) == (Level.CRITICAL, "nothing is installed; run: fwfeed apply")
    assert nagios(made, "-v", "--json") == (Level.CRITICAL, "nothing is installed; run: fwfeed apply")
    assert snapshot(made.root) == before


def test_what_was_cut_off_is_told_and_not_repaired(made: World) -> None:
    (made.state / "journal").mkdir()
    before = snapshot(made.root)
    level, text = nagios(made)
    assert level is Level.UNKNOWN
    assert text.startswith(f"{made.state}/journal/journal.json: not a journal: it is missing; way out: ")
    assert snapshot(made.root) == before


def test_a_hostile_reason_stays_text(made: World) -> None:
    reason = "no | prefixes_JP=9\nFWFEED OK - well\x1b[2J"
    candidates.record_refusals(made.state, [Refusal(name="apnic", reason=reason, since=SINCE)], SINCE)
    level, text = nagios(made)
    assert level is Level.CRITICAL
    assert text.endswith("apnic: refused since 2026-01-01 00:00:00 UTC: no / prefixes_JP=9 FWFEED OK - well?[2J")


@pytest.mark.parametrize("what", ["bad", "missing", "a folder", "named with a bar"])
def test_a_configuration_that_cannot_be_read_is_unknown(what: str, made: World) -> None:
    config = made.config
    if what == "bad":
        config.write_text("[bogus]\n[more]\n", encoding="utf-8")
    elif what != "a folder":
        config = made.root / ("a|b\nc" if what == "named with a bar" else "none")
    else:
        config = made.root
    answer = World(made.root).run("check", "--nagios", "--config", config)
    assert answer.err == ""
    assert answer.code == Level.UNKNOWN
    text = is_one_answer(answer.code, answer.out)
    assert {"bad": "bogus: unknown key", "a folder": "Is a directory"}.get(what, "there is no such file") in text


@pytest.mark.parametrize("damaged", ["candidate.json", "refusals.json"])
def test_a_damaged_state_is_unknown(damaged: str, made: World) -> None:
    (made.state / "candidate" / damaged).write_text("[1]", encoding="utf-8")
    level, text = nagios(made)
    assert level is Level.UNKNOWN
    assert str(made.state / "candidate" / damaged) in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--warning", "soon"], "argument --warning: 'soon' is not a time like"),
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["--timeout"], "argument --timeout: expected one argument"),
        (["--warn=1d"], "unrecognized arguments: --warn=1d; did you mean --warning?"),
    ],
)
def test_an_error_of_usage_is_unknown(arguments: list[str], said: str, made: World) -> None:
    level, text = nagios(made, *arguments)
    assert level is Level.UNKNOWN
    assert text.startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "--nagios=1"], "argument --nagios: ignored explicit argument '1'"),
        (["--nagios", "check"], "unrecognized arguments: --nagios; --nagios goes after check"),
        (["status", "--nagios"], "unrecognized arguments: --nagios; --nagios is an option of check"),
    ],
)
def test_an_option_for_plugins_that_is_misused_is_unknown(arguments: list[str], said: str) -> None:
    assert run(*arguments) == Ended(Level.UNKNOWN, f"FWFEED UNKNOWN - {said}\n", "")


def test_its_options_are_for_it_alone(made: World) -> None:
    for option in ("--warning", "--critical"):
        refused = made.run("check", option, "3d")
        assert (refused.code, refused.out) == (2, "")
        assert "--warning, --critical and --timeout go with --nagios" in refused.err


def test_the_ages_are_taken_from_the_command_line(made: World) -> None:
    answer = made.run("check", "--nagios", "--warning", "36h", "--critical", "off")
    assert "age_apnic=0s;129600;;0" in answer.out


def test_without_the_option_check_is_what_it_was(made: World) -> None:
    plain = made.run("check")
    assert "FWFEED" not in plain.out + plain.err


@pytest.mark.parametrize(
    "error", [FwfeedError("no", "do"), ZeroDivisionError("by | zero"), RecursionError(), OSError(5, "I/O")]
)
def test_whatever_is_raised_it_is_one_line(error: Exception, made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_config: Config) -> None:
        raise error

    monkeypatch.setattr(query, "status", broken)
    answer = made.run("check", "--nagios")
    assert (answer.code, answer.err) == (Level.UNKNOWN, "")
    is_one_answer(answer.code, answer.out)


def test_what_hangs_is_not_waited_for(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "status", lambda _config, **_options: time.sleep(20))
    before = time.monotonic()
    answer = made.run("check", "--nagios", "--timeout", "1s")
    assert time.monotonic() - before < 10
    said = "FWFEED UNKNOWN - no answer from firewalld or the kernel within 1 s\n"
    assert answer == Ended(Level.UNKNOWN, said, "")


HANGING = """
import sys, time
from fwfeed import query
from fwfeed.cli import main
query.status = lambda _config, *, now: (print("asked", file=sys.stderr, flush=True), time.sleep(60))
sys.exit(main(sys.argv[1:]))
"""


def test_ended_from_outside_it_still_answers(made: World) -> None:
    command: list[str | Path] = [
        sys.executable,
        "-c",
        HANGING,
        "--config",
        made.config,
        "check",
        "--nagios",
        "--timeout",
        "50s",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT) as asked:
        assert asked.stderr is not None
        assert asked.stderr.readline() == "asked\n"
        asked.send_signal(signal.SIGTERM)
        out, err = asked.communicate(timeout=20)
    assert (asked.returncode, out, err) == (Level.UNKNOWN, "FWFEED UNKNOWN - interrupted by SIGTERM\n", "")


def test_a_stdout_that_is_full_is_unknown(made: World) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command: list[str | Path] = [sys.executable, "-m", "fwfeed", "--config", made.config, "check", "--nagios"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=CHECKOUT)
    assert (done.returncode, done.stderr) == (Level.UNKNOWN, "")


def test_a_unit_killed_by_a_signal_is_told_by_its_number() -> None:
    run = Run("fwfeed-apply.service", 143, NOW)
    assert judged(runs=(run,))[1].startswith("fwfeed-apply.service ended with exit code 143 at ")
