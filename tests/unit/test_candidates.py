"""What is kept beside the candidate: what was refused and since when, and what was let through."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwfeed.candidate import digest
from fwfeed.config import Config
from fwfeed.errors import FwfeedError
from fwfeed.model import Refusal
from fwfeed.store import candidates, files
from tests.unit.builders import candidate, snapshot

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
CONFIG = Config()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def record(state: Path) -> Path:
    return state / "candidate" / "refusals.json"


def refused(name: str, reason: str = "apnic: it is HTML", since: datetime = NOW) -> Refusal:
    return Refusal(name=name, reason=reason, since=since)


def record_all(state: Path, found: Mapping[str, str], now: datetime) -> None:
    candidates.record_refusals(state, [refused(name, reason, now) for name, reason in found.items()], now)


def message_of(call: Callable[[], object]) -> str:
    with pytest.raises(FwfeedError) as caught:
        call()
    return caught.value.message


def test_where_nothing_was_ever_refused_nothing_is_told_or_written(state: Path) -> None:
    assert candidates.refusals(state) == ()
    record_all(state, {}, NOW)
    assert not state.exists()


def test_what_was_refused_is_told_by_name_in_order_with_its_time(state: Path) -> None:
    record_all(state, {"office": "office: one\ntwo", "": "all", "apnic": "apnic: it is HTML"}, NOW)
    assert candidates.refusals(state) == (
        refused("", "all"),
        refused("apnic"),
        refused("office", "office: one\ntwo"),
    )
    assert json.loads(record(state).read_text("ascii"))[1] == {
        "name": "apnic",
        "since": "2026-01-02T03:04:05+00:00",
        "reason": ["apnic: it is HTML"],
    }


def test_a_time_of_another_zone_is_the_same_time(state: Path) -> None:
    record_all(state, {"apnic": "x"}, NOW.astimezone(timezone(timedelta(hours=9))))
    assert candidates.refusals(state) == (refused("apnic", "x"),)
    assert "2026-01-02T03:04:05+00:00" in record(state).read_text()


def test_since_when_is_kept_while_the_same_source_stays_refused_whatever_the_reason(state: Path) -> None:
    record_all(state, {"apnic": "apnic: it is HTML"}, NOW)
    record_all(state, {"apnic": "apnic: too old", "arin": "arin: cut"}, LATER)
    assert candidates.refusals(state) == (refused("apnic", "apnic: too old"), refused("arin", "arin: cut", LATER))


def test_what_healed_is_told_no_more_and_begins_anew(state: Path) -> None:
    record_all(state, {"apnic": "x", "arin": "y"}, NOW)
    record_all(state, {"arin": "y"}, LATER)
    assert candidates.refusals(state) == (refused("arin", "y"),)
    record_all(state, {"apnic": "x", "arin": "y"}, LATER)
    assert candidates.refusals(state) == (refused("apnic", "x", LATER), refused("arin", "y"))
    record_all(state, {}, LATER)
    assert not record(state).exists()
    assert candidates.refusals(state) == ()


def test_where_nothing_is_new_nothing_is_written(state: Path) -> None:
    found = {"apnic": "apnic: it is HTML\x1b[2J\nand more", "": "all"}
    record_all(state, found, NOW)
    before = snapshot(state)
    record_all(state, found, LATER)
    assert snapshot(state) == before
    record_all(state, {**found, "apnic": "another reason"}, LATER)
    assert snapshot(state) != before


def test_nothing_is_written_on_a_clock_with_parts_of_seconds_either(state: Path) -> None:
    found = {"apnic": "x"}
    record_all(state, found, NOW + timedelta(microseconds=700_000))
    assert candidates.refusals(state) == (refused("apnic", "x"),)
    before = snapshot(state)
    record_all(state, found, LATER)
    assert snapshot(state) == before


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[2Jb", "a?[2Jb"),
        ("a\x07\x08\x7fb", "a???b"),
        ("nul\0", "nul?"),
        ("\u202eback", "?back"),
        ("\u200b\ufeff", "??"),
        ("\ud800", "?"),
        ("a\r\nb\rc\x0bd\x0ce\x85f\u2028g\u2029h", "a\nb\nc\nd\ne\nf\ng\nh"),
        ("caf\xe9 \u3042", "caf\xe9 \u3042"),
        ("one\n\ntwo\n", "one\n\ntwo"),
        ("tab\there", "tab?here"),
    ],
)
def test_a_reason_in_which_a_server_had_a_word_is_made_harmless(hostile: str, shown: str, state: Path) -> None:
    record_all(state, {"apnic": hostile}, NOW)
    assert candidates.refusals(state) == (refused("apnic", shown),)
    before = snapshot(state)
    record_all(state, {"apnic": hostile}, LATER)
    assert snapshot(state) == before


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from(["", "apnic", "arin", "office"]), st.text(max_size=40)))
def test_whatever_the_reasons_what_is_told_is_printable(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, str]
) -> None:
    state = tmp_path_factory.mktemp("state")
    record_all(state, found, NOW)
    told = candidates.refusals(state)
    assert [refusal.name for refusal in told] == sorted(found)
    assert all(line.isprintable() for refusal in told for line in refusal.reason.split("\n"))


def test_what_an_older_fwfeed_kept_is_read(state: Path) -> None:
    files.replace(record(state), b'[{"name": "apnic", "since": "2026-01-02T03:04:05+00:00", "reason": ["a", "b"]}]')
    assert candidates.refusals(state) == (refused("apnic", "a\nb"),)


DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "cut": b'[{"name": "apnic"',
    "not UTF-8": b"\xff\xfe",
    "an object": b"{}x",
    "a number": b"1",
    "a long number": b"1" * 5000,
    "null": b"null",
    "nested": b"[" * 100_000,
    "numbers": b"[1, 2]",
    "no name": b'[{"since": "2026-01-02T03:04:05+00:00", "reason": []}]',
    "no time": b'[{"name": "apnic", "reason": []}]',
    "no reason": b'[{"name": "apnic", "since": "2026-01-02T03:04:05+00:00"}]',
    "a time without a zone": b'[{"name": "apnic", "since": "2026-01-02T03:04:05", "reason": []}]',
    "a time that is none": b'[{"name": "apnic", "since": "yesterday", "reason": []}]',
    "a time that is a number": b'[{"name": "apnic", "since": 5, "reason": []}]',
    "a name that is none": b'[{"name": null, "since": "2026-01-02T03:04:05+00:00", "reason": []}]',
    "a name of two lines": b'[{"name": "a\\nb", "since": "2026-01-02T03:04:05+00:00", "reason": []}]',
    "a reason of numbers": b'[{"name": "a", "since": "2026-01-02T03:04:05+00:00", "reason": [1]}]',
    "a reason that is a number": b'[{"name": "a", "since": "2026-01-02T03:04:05+00:00", "reason": 1}]',
    "an escape in a reason": b'[{"name": "a", "since": "2026-01-02T03:04:05+00:00", "reason": ["\\u001b[2J"]}]',
}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_record_is_told_with_its_way_out_and_mended_by_the_next(raw: bytes, state: Path) -> None:
    files.replace(record(state), raw)
    with pytest.raises(FwfeedError) as caught:
        candidates.refusals(state)
    assert caught.value.message == f"{record(state)}: not a list of refusals"
    assert caught.value.way_out == "remove it"
    record_all(state, {"apnic": "x"}, NOW)
    assert candidates.refusals(state) == (refused("apnic", "x"),)


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_record_goes_when_all_is_well(raw: bytes, state: Path) -> None:
    files.replace(record(state), raw)
    record_all(state, {}, NOW)
    assert candidates.refusals(state) == ()


@pytest.mark.parametrize("kind", ["a link", "a pipe", "too large"])
def test_a_record_that_is_no_small_regular_file_is_not_read(kind: str, state: Path, tmp_path: Path) -> None:
    record(state).parent.mkdir(parents=True)
    if kind == "a link":
        (tmp_path / "secret").write_text("[]")
        record(state).symlink_to(tmp_path / "secret")
    elif kind == "a pipe":
        os.mkfifo(record(state))
    else:
        record(state).write_bytes(b"[" + b" " * (1 << 20) + b"]")
    assert str(record(state)) in message_of(lambda: candidates.refusals(state))


def approval(state: Path) -> Path:
    return state / "approved.json"


def test_what_was_approved_is_these_very_sets_however_they_were_made(state: Path) -> None:
    made = candidate(CONFIG)
    assert not candidates.is_approved(state, made)
    candidates.approve(state, made, "JP", NOW)
    assert candidates.is_approved(state, made)
    assert candidates.is_approved(state, made, name="JP")
    assert not candidates.is_approved(state, made, name="HOME")
    assert candidates.is_approved(state, replace(made, compiled=LATER, recipe=replace(made.recipe, countries=("KR",))))
    for other in (
        replace(made, ipv4=made.ipv4[1:]),
        replace(made, ipv6=()),
        candidate(CONFIG, ipv4=("192.0.2.0/24", "198.51.100.128/25")),
    ):
        assert not candidates.is_approved(state, other)


def test_an_approval_is_plain_text_that_says_what_and_when(state: Path) -> None:
    made = candidate(CONFIG)
    candidates.approve(state, made, "JP", NOW.astimezone(timezone(timedelta(hours=9))))
    assert json.loads(approval(state).read_text("ascii")) == {
        "sets": digest(made),
        "name": "JP",
        "approved": "2026-01-02T03:04:05+00:00",
    }


def test_an_approval_takes_the_place_of_the_one_before(state: Path) -> None:
    made, other = candidate(CONFIG), candidate(CONFIG, ipv6=())
    candidates.approve(state, made, "JP", NOW)
    candidates.approve(state, other, "JP", LATER)
    assert candidates.is_approved(state, other)
    assert not candidates.is_approved(state, made)


def test_an_approval_lies_where_the_user_of_the_candidate_cannot_write(state: Path) -> None:
    candidates.approve(state, candidate(CONFIG), "JP", NOW)
    assert approval(state).parent != candidates.folder(state)
    assert candidates.folder(state).parent == state


@pytest.mark.parametrize(
    "harm",
    [
        lambda _raw: b"",
        lambda _raw: b"\xff\xfe",
        lambda _raw: b"[" * 4000,
        lambda raw: raw.replace(b'"sets": "', b'"sets": "0'),
        lambda raw: raw.replace(b'"sets"', b'"seats"'),
        lambda raw: raw.upper(),
        lambda raw: raw[:20],
    ],
)
def test_a_damaged_approval_approves_nothing(harm: Callable[[bytes], bytes], state: Path) -> None:
    made = candidate(CONFIG)
    candidates.approve(state, made, "JP", NOW)
    approval(state).write_bytes(harm(approval(state).read_bytes()))
    assert not candidates.is_approved(state, made)


def test_a_link_in_the_place_of_an_approval_approves_nothing(state: Path, tmp_path: Path) -> None:
    made = candidate(CONFIG)
    candidates.approve(state, made, "JP", NOW)
    approval(state).rename(tmp_path / "elsewhere")
    approval(state).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FwfeedError, match="cannot read "):
        candidates.is_approved(state, made)


def test_the_candidate_and_the_one_that_is_held_lie_apart(state: Path) -> None:
    made, held = candidate(CONFIG), candidate(CONFIG, ipv6=())
    assert candidates.find(state) is None
    assert candidates.find_held(state) is None
    for folder, each in ((candidates.folder(state), made), (candidates.held_folder(state), held)):
        with files.Staging() as staging:
            candidates.stage(staging, folder, each)
            staging.commit()
    assert candidates.find(state) == candidates.load(state) == made
    assert candidates.find_held(state) == held
    candidates.path(state).write_text("{}")
    assert "not a candidate" in message_of(lambda: candidates.find(state))
    assert candidates.find_held(state) == held


def test_without_a_candidate_the_way_out_is_to_fetch(state: Path) -> None:
    with pytest.raises(FwfeedError) as caught:
        candidates.load(state)
    assert caught.value.message == f"{state}/candidate/candidate.json does not exist yet"
    assert caught.value.way_out == "run: fwfeed fetch"
