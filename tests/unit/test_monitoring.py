"""Metrics in every state: what they say, that Prometheus reads it so, and that no reader ever sees half of them.

The golden files are written anew by

    FWFEED_WRITE_GOLDEN=1 .venv/bin/python -m pytest tests/unit/test_monitoring.py
"""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fwfeed import __version__, units
from fwfeed.model import Gate, Outcome, Refusal, Verdict
from fwfeed.remark import Remark, RemarkKind
from fwfeed.report.monitoring import Metric, down, exposition, metrics, metrics_json
from fwfeed.report.probe import Limits, probe
from fwfeed.status import Status
from tests.unit.builders import CHECKOUT, ENVIRONMENT, FWFEED, Ended, World, world
from tests.unit.standings import CANDIDATE, CONFIG, GENERATION, NOW, aged, ended, standing

GOLDEN = CHECKOUT / "tests" / "data" / "metrics"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
REMARK = Remark(RemarkKind.TOTAL, "line 1: the header promises 7 records, the file has 8 (1 more)")
COUNT = Remark(RemarkKind.ASN_COUNT, "line 2: the summary promises 3 asn records, the file has 1 (2 fewer)")
OVERDUE = aged(8)["candidate"]
HELD = (Verdict(Gate.MAX_SHRINK, "it would shrink"),)
CASES = {
    "well": standing(),
    "nothing-yet": standing(
        candidate=None, generation=None, last=None, installed=(), problems=None, runs=(), fires=None, watching=None
    ),
    "without-root": standing(problems=None, unknown="reading what the kernel holds needs root"),
    "drift": standing(problems=("the kernel has no set JP",)),
    "held": standing(
        held=CANDIDATE, verdicts=HELD, pending=True, refusals=(Refusal(name="apnic", reason="404", since=SINCE),)
    ),
    "refused": standing(refusals=(Refusal(name="", reason="too old", since=SINCE),)),
    "restricted": standing(
        generation=replace(GENERATION, default_zone="log-outbound"), unreached={"eth1": "public", "eth2": "trusted"}
    ),
    "overdue": standing(
        candidate=replace(
            OVERDUE, sources=tuple(replace(each, remarks=(REMARK, REMARK, COUNT)) for each in OVERDUE.sources)
        ),
        refusals=(Refusal(name="", reason="ripencc: 404", since=SINCE),),
    ),
    "waiting": standing(waits=NOW, last=ended(Outcome.PENDING)),
    "rolled-back": standing(held_back="somebody went back", last=ended(Outcome.ROLLED_BACK, "no"), unfinished=True),
}
Values = dict[str, dict[frozenset[tuple[str, str]], float]]


def parsed(text: str) -> Values:
    """Read metrics as Prometheus does."""
    found: Values = {}
    for family in text_string_to_metric_families(text):
        assert family.type == "gauge"
        assert family.documentation
        assert family.name not in found, "the lines of one metric stand together"
        found[family.name] = {frozenset(sample.labels.items()): sample.value for sample in family.samples}
        assert len(found[family.name]) == len(family.samples) > 0
    return found


def value(text: str, name: str, **labels: str) -> float:
    return parsed(text)[name][frozenset(labels.items())]


@pytest.fixture
def made(tmp_path: Path) -> World:
    made = world(tmp_path)
    assert made.run("fetch").code == 0
    return made


@pytest.mark.parametrize("name", CASES)
def test_the_metrics_are_those_in_the_golden_file_byte_for_byte(name: str) -> None:
    text = exposition(metrics(CASES[name], CONFIG, "1.2.3", NOW))
    path = GOLDEN / f"{name}.prom"
    if os.environ.get("FWFEED_WRITE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_every_golden_file_has_its_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("status", CASES.values(), ids=CASES)
def test_prometheus_reads_every_sample_as_it_was_meant(status: Status) -> None:
    found = metrics(status, CONFIG, "1.2.3", NOW)
    assert parsed(exposition(found)) == {
        metric.name: {frozenset(labels.items()): float(number) for labels, number in metric.samples} for metric in found
    }
    assert len(metrics_json(found)) == sum(len(metric.samples) for metric in found)


def test_names_keep_to_the_conventions() -> None:
    names = {metric.name for status in CASES.values() for metric in metrics(status, CONFIG, "1.2.3", NOW)}
    assert all(re.fullmatch(r"fwfeed_[a-z_]+[a-z]", name) for name in names)
    assert not [name for name in names if name.endswith(("_total", "_count", "_sum", "_bucket"))]
    assert {name for name in names if "timestamp" in name} == {
        name for name in names if name.endswith("_timestamp_seconds")
    }


def test_what_is_known_is_said() -> None:
    text = exposition(metrics(standing(held=CANDIDATE, verdicts=HELD), CONFIG, "1.2.3", NOW))
    assert value(text, "fwfeed_build_info", version="1.2.3") == 1
    assert value(text, "fwfeed_source_end_timestamp_seconds", source="apnic") == SINCE.timestamp()
    assert value(text, "fwfeed_installed_addresses", set="JP6", family="ipv6") == 2.0**80 + 2.0**79
    assert value(text, "fwfeed_installed_addresses", set="JP", family="ipv4") == 384
    assert value(text, "fwfeed_held_by_gate", gate="max_shrink") == 1
    assert value(text, "fwfeed_held_by_gate", gate="empty") == 0
    assert value(text, "fwfeed_last_generation_outcome", outcome="applied") == 1
    assert value(text, "fwfeed_drift") == 0
    assert value(text, "fwfeed_unit_exit_code", unit="fwfeed-apply.service") == 0
    assert value(text, "fwfeed_source_max_age_seconds", source="aws-tokyo") == 90 * 86400
    assert frozenset({("source", "office")}) not in parsed(text)["fwfeed_source_max_age_seconds"]


@pytest.mark.parametrize("days", [7, 8])
def test_a_source_is_overdue_as_nagios_says_whatever_the_last_refresh_came_to(days: int) -> None:
    status = standing(**aged(days))
    (overdue,) = [each for each in metrics(status, CONFIG, "1", NOW) if each.name == "fwfeed_source_overdue"]
    assert {labels["source"]: number for labels, number in overdue.samples}["apnic"] == (days == 8)
    _level, text = probe(status, CONFIG, Limits(), NOW, UTC, root=True)
    assert ("apnic: last good file is 8 days old, limit 7: its part of the set is kept" in text) is (days == 8)


def test_what_is_not_known_does_not_read_as_well() -> None:
    known = parsed(exposition(metrics(CASES["without-root"], CONFIG, "1", NOW)))
    assert known["fwfeed_proof_known"] == {frozenset(): 0}
    assert "fwfeed_drift" not in known
    assert parsed(exposition(metrics(CASES["drift"], CONFIG, "1", NOW)))["fwfeed_drift"] == {frozenset(): 1}
    assert set(parsed(exposition(down("1")))) == {"fwfeed_up", "fwfeed_build_info"}


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text(st.characters(exclude_categories=["Cs"]))))
def test_labels_come_back_as_they_were_whatever_is_in_them(labels: dict[str, str]) -> None:
    metric = Metric("fwfeed_up", "Text.", [(labels, 1), ({"z": "z"}, 2)])
    assert len(exposition([metric]).split("\n")) == 5
    assert parsed(exposition([metric])) == {"fwfeed_up": {frozenset(labels.items()): 1, frozenset({("z", "z")}): 2}}


@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\\", "a\nb", '"} 1\nfwfeed_drift 0', "\\n", '\\"', "a\\\nb"])
def test_escapes_are_those_of_the_format(text: str) -> None:
    metric = Metric("fwfeed_x", text, [({"a": text}, 1)])
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    quoted = escaped.replace('"', '\\"')
    assert exposition([metric]) == f'# HELP fwfeed_x {escaped}\n# TYPE fwfeed_x gauge\nfwfeed_x{{a="{quoted}"}} 1\n'
    (family,) = text_string_to_metric_families(exposition([metric]))
    assert family.samples[0].labels == {"a": text}


@pytest.mark.parametrize(
    ("number", "written"), [(0, "0"), ((1 << 53) - 1, "9007199254740991"), (1 << 80, "1.2089258196146292e+24")]
)
def test_a_number_that_no_float_holds_is_written_as_one(number: int, written: str) -> None:
    assert exposition([Metric("fwfeed_x", "X.", [({}, number)])]).endswith(f"\nfwfeed_x {written}\n")


def test_the_command_prints_them(made: World) -> None:
    printed = made.run("metrics")
    assert (printed.code, printed.err) == (0, "")
    assert value(printed.out, "fwfeed_up") == 1
    assert value(printed.out, "fwfeed_build_info", version=__version__) == 1
    assert value(printed.out, "fwfeed_candidate_prefixes", set="JP", family="ipv4") == 1
    assert value(printed.out, "fwfeed_pending") == 1
    assert {"name": "fwfeed_up", "labels": {}, "value": 1} in made.run("metrics", "--json").value


def test_before_the_first_fetch_it_is_up_and_knows_no_candidate(tmp_path: Path) -> None:
    printed = world(tmp_path).run("metrics")
    assert printed.code == 0
    assert value(printed.out, "fwfeed_up") == 1
    assert not [name for name in parsed(printed.out) if "candidate" in name]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_the_file_can_be_read_by_all_and_is_the_only_one(umask: int, made: World) -> None:
    output = made.root / "made" / "fwfeed.prom"
    before = os.umask(umask)
    try:
        assert made.run("metrics", "--output", output) == Ended(0, "", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE(output.stat().st_mode) == 0o644
    assert [path.name for path in output.parent.iterdir()] == ["fwfeed.prom"]
    assert output.read_text(encoding="utf-8") == made.run("metrics").out


def test_a_link_in_the_collectors_folder_goes_on_pointing_at_it(made: World) -> None:
    output, link = made.root / "fwfeed.prom", made.root / "link.prom"
    link.symlink_to(output)
    for _ in range(2):
        assert made.run("metrics", "--output", output).code == 0
        assert value(link.read_text(encoding="utf-8"), "fwfeed_up") == 1


def damage(made: World, what: str) -> None:
    if what == "candidate":
        (made.state / "candidate" / "candidate.json").write_text("{}", encoding="utf-8")
    elif what == "journal":
        (made.state / "journal").mkdir()
    elif what == "generation":
        (made.state / "generations" / "000001").mkdir(parents=True)
    elif what == "configuration":
        made.config.write_text("[bogus]\n", encoding="utf-8")
    else:
        made.config.unlink()


DAMAGES = {"candidate": 1, "journal": 1, "generation": 1, "configuration": 2, "no configuration": 2}


@pytest.mark.parametrize(("what", "code"), DAMAGES.items())
def test_a_state_that_cannot_be_read_is_down_and_the_file_says_so(what: str, code: int, made: World) -> None:
    output = made.root / "fwfeed.prom"
    assert made.run("metrics", "--output", output).code == 0
    damage(made, what)
    written = made.run("metrics", "--output", output)
    assert (written.code, written.out) == (code, "")
    assert "fwfeed: " in written.err
    assert "Traceback" not in written.err
    assert set(parsed(output.read_text(encoding="utf-8"))) == {"fwfeed_up", "fwfeed_build_info"}
    assert value(output.read_text(encoding="utf-8"), "fwfeed_up") == 0
    printed = made.run("metrics")
    assert printed.code == code
    assert printed.out == output.read_text(encoding="utf-8")


def test_a_bug_is_down_too(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(units, "ask", broken)
    output = made.root / "fwfeed.prom"
    with pytest.raises(ZeroDivisionError):
        made.run("metrics", "--output", output)
    assert value(output.read_text(encoding="utf-8"), "fwfeed_up") == 0


def test_without_room_the_old_file_stays_whole(made: World) -> None:
    output = made.root / "collector" / "fwfeed.prom"
    assert made.run("metrics", "--output", output).code == 0
    before = output.read_bytes()
    # a file may have no byte: as a full disk, but without one
    script = 'trap "" XFSZ; ulimit -f 0; exec "$@"'
    command: list[str | Path] = [
        "bash",
        "-c",
        script,
        "bash",
        FWFEED,
        "--config",
        made.config,
        "metrics",
        "--output",
        output,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 1, done.stderr
    assert f"fwfeed: cannot write {output}: " in done.stderr
    assert output.read_bytes() == before
    assert [path.name for path in output.parent.iterdir()] == ["fwfeed.prom"]


KILLED = """
import os, signal, sys
from pathlib import Path
from fwfeed.cli import main

name, nth, calls = sys.argv[1], int(sys.argv[2]), 0
owner = Path if name == "replace" else os
real = getattr(owner, name)

def killing(*arguments, **named):
    global calls
    calls += 1
    if calls == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **named)

setattr(owner, name, killing)
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(("name", "nth"), [("fsync", 1), ("fsync", 2), ("replace", 1), ("fdopen", 1), ("link", 1)])
def test_killed_at_any_moment_it_leaves_the_old_or_the_new_file_and_no_other_that_is_read(
    name: str, nth: int, made: World
) -> None:
    output = made.root / "collector" / "fwfeed.prom"
    output.parent.mkdir()
    output.write_text("fwfeed_up 0\n", encoding="utf-8")
    whole = made.run("metrics").out
    command: list[str | Path] = [
        sys.executable,
        "-c",
        KILLED,
        name,
        str(nth),
        "--config",
        made.config,
        "metrics",
        "--output",
        output,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert output.read_text(encoding="utf-8") == (whole if (name, nth) == ("fsync", 2) else "fwfeed_up 0\n")
    assert [path.name for path in output.parent.glob("*.prom")] == ["fwfeed.prom"]
    assert made.run("metrics", "--output", output).code == 0
    assert [path.name for path in output.parent.iterdir()] == ["fwfeed.prom"]
