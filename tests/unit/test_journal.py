"""The journal: there whole or not at all, read back as it was written, and refused when it is not what was written."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwfeed.apply import recover_first
from fwfeed.config import Config, PathsConfig
from fwfeed.errors import FwfeedError
from fwfeed.store import journal as module
from fwfeed.store.journal import Deadline, Entry, Journal, Phase, boot, deadline
from fwfeed.store.lock import locked
from tests import needs
from tests.skipping import require
from tests.unit.builders import snapshot

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ENTRY = Entry(
    generation=7,
    root="/etc/firewalld",
    phase=Phase.PREPARED,
    reloads=True,
    zone_before="public",
    zone_after="log-outbound",
    waits=Deadline(boot="4ad0", seconds=12.5, until=NOW),
    before={"ipsets/JP.xml": b"<ipset/>", "policies/fwfeed-outbound.xml": b"<policy/>", "zones/jp.xml": None},
)
PLAIN = replace(ENTRY, reloads=False, zone_after=None, waits=None)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.below(tmp_path / "state")


@pytest.mark.parametrize("entry", [ENTRY, PLAIN, replace(ENTRY, before={})])
def test_an_entry_is_read_back_as_it_was_written_and_gone_when_it_has_ended(journal: Journal, entry: Entry) -> None:
    assert journal.read() is None
    assert not journal.exists()
    journal.begin(entry, {"fwfeed.toml": b"[paths]\n"})
    assert journal.exists()
    assert journal.read() == entry
    assert (journal.folder / "fwfeed.toml").read_bytes() == b"[paths]\n"
    assert journal.advance(entry, Phase.BEGUN) == replace(entry, phase=Phase.BEGUN)
    assert journal.read() == replace(entry, phase=Phase.BEGUN)
    journal.end()
    assert journal.read() is None
    assert list(journal.folder.parent.iterdir()) == []
    journal.end()


def test_a_journal_that_cannot_be_written_is_not_there(journal: Journal) -> None:
    with pytest.raises(FwfeedError):
        journal.begin(ENTRY, {"fwfeed.toml": b"", "fwfeed.toml/below": b""})
    assert journal.read() is None
    assert list(journal.folder.parent.iterdir()) == []


def test_what_a_crash_while_writing_or_ending_left_does_not_get_in_the_way(journal: Journal) -> None:
    for name in (".journal.fwfeed-new", ".journal.fwfeed-old"):
        (journal.folder.parent / name / "before").mkdir(parents=True)
    assert journal.read() is None
    journal.begin(ENTRY, {})
    assert journal.read() == ENTRY
    journal.end()
    assert list(journal.folder.parent.iterdir()) == []


def test_what_was_before_is_known_by_its_digest(journal: Journal) -> None:
    journal.begin(ENTRY, {})
    saved = journal.folder / "before/ipsets/JP.xml"
    saved.write_bytes(b"<ipset></ipset>")
    assert refusal(journal).endswith("not a journal: before/ipsets/JP.xml is not what it was")
    saved.unlink()
    assert refusal(journal).endswith("not a journal: before/ipsets/JP.xml is not what it was")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.xml", "ipsets/../../x.xml", "firewalld.conf", "ipsets/a b.xml"])
def test_a_path_that_fwfeed_does_not_write_is_refused(journal: Journal, path: str) -> None:
    journal.begin(ENTRY, {})
    tamper(journal, before={path: None})
    assert refusal(journal).endswith("it names files that fwfeed does not write")


@pytest.mark.parametrize(
    "values",
    [
        {"generation": "7"},
        {"generation": 7.0},
        {"phase": "over"},
        {"reloads": 1},
        {"reloads": "yes"},
        {"zone_before": None},
        {"waits": {"boot": "4ad0", "seconds": "12.5", "until": NOW.isoformat()}},
        {"waits": {"boot": "4ad0", "seconds": 12.5, "until": "tomorrow"}},
        {"waits": {"boot": "4ad0", "seconds": 12.5}},
        {"waits": []},
        {"before": []},
        {"more": 1},
    ],
)
def test_what_fwfeed_would_not_have_written_is_refused(journal: Journal, values: dict[str, object]) -> None:
    journal.begin(ENTRY, {})
    tamper(journal, **values)
    before = snapshot(journal.folder)
    refusal(journal)
    assert snapshot(journal.folder) == before


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_journal_is_refused(journal: Journal, raw: bytes) -> None:
    journal.begin(ENTRY, {})
    (journal.folder / "journal.json").write_bytes(raw)
    refusal(journal)


def test_a_journal_without_its_entry_is_refused(journal: Journal) -> None:
    journal.folder.mkdir(parents=True)
    assert refusal(journal).endswith("not a journal: it is missing")


def test_a_journal_that_others_could_have_written_is_refused(journal: Journal) -> None:
    require(needs.root())
    journal.begin(ENTRY, {})
    journal.folder.chmod(0o777)
    with pytest.raises(FwfeedError, match="must be a folder of root's that nobody else can write"):
        journal.read()


def test_time_is_up_when_its_seconds_are_over_or_after_a_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    before = datetime.now(UTC)
    at = deadline(timedelta(seconds=90))
    assert at.boot == boot()
    assert before <= at.until - timedelta(seconds=90) <= datetime.now(UTC)
    assert not at.is_over
    assert replace(at, seconds=at.seconds - 90.001).is_over
    monkeypatch.setattr(module, "boot", lambda: "another")
    assert at.is_over


def tamper(journal: Journal, **values: object) -> None:
    file = journal.folder / "journal.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values, indent=1) + "\n")


def refusal(journal: Journal) -> str:
    with pytest.raises(FwfeedError) as caught:
        journal.read()
    assert caught.value.message.startswith(f"{journal.folder}/journal.json: not a journal: ")
    assert caught.value.way_out == f"see that /etc/firewalld is right, then remove {journal.folder}"
    return caught.value.message


def test_a_lock_that_somebody_holds_and_one_that_cannot_be_opened_are_told_apart(tmp_path: Path) -> None:
    said: list[str] = []
    config = Config(paths=PathsConfig(state=str(tmp_path / "state"), run=str(tmp_path / "run")))
    with locked(tmp_path / "run", wait=0, waiting=said.append):
        recover_first(config, said.append)
    (tmp_path / "file").touch()
    recover_first(Config(paths=PathsConfig(state=str(tmp_path / "state"), run=str(tmp_path / "file"))), said.append)
    assert said[-2] == "another fwfeed command is changing the firewall right now"
    assert said[-1].startswith("an apply was cut off, and cannot be repaired now: cannot ")
