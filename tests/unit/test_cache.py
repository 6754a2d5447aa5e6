"""The accepted files: kept under the registries' own names, and believed only while they are unharmed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwfeed.config import REGISTRY_URLS
from fwfeed.fetch import Digests, Validators
from fwfeed.model import Source
from fwfeed.store import files
from fwfeed.store.cache import Accepted, Cache
from tests.unit.builders import JAPAN, delegated, snapshot

RAW = delegated("apnic", JAPAN)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NAME = "delegated-apnic-extended-latest"


def digests(raw: bytes) -> Digests:
    return Digests(size=len(raw), md5=hashlib.md5(raw).hexdigest(), sha256=hashlib.sha256(raw).hexdigest())


def accepted(raw: bytes = RAW, name: str = "apnic", *, serial: int | None = 20260101) -> Accepted:
    source = Source(
        name=name,
        url="https://example.net/f",
        serial=serial,
        end_date=date(2026, 1, 1),
        sha256=digests(raw).sha256,
        records=3,
        taken=0,
    )
    return Accepted(source=source, validators=Validators(etag='W/"one"', last_modified=""))


def keep(cache: Cache, raw: bytes = RAW, kept: Accepted | None = None, now: datetime = NOW) -> Accepted:
    """Have a file take its place in the cache."""
    kept = kept or accepted(raw)
    with files.Staging() as staging:
        scratch = staging.scratch(cache.path(kept.source.name))
        scratch.write_bytes(raw)
        cache.stage(staging, scratch, digests(raw), kept, now)
        staging.commit()
    return kept


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def meta(cache: Cache, name: str = "apnic") -> Path:
    return cache.root / name / "meta.json"


def contents(cache: Cache) -> dict[str, bytes]:
    return {
        str(path.relative_to(cache.root)): path.read_bytes() for path in sorted(cache.root.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("name", REGISTRY_URLS)
def test_a_registrys_file_is_kept_under_its_own_name_with_its_md5_and_what_is_known(name: str, cache: Cache) -> None:
    kept = keep(cache, RAW, accepted(RAW, name))
    own = f"delegated-{name}-extended-latest"
    assert cache.path(name) == cache.root / name / own
    assert contents(cache) == {
        f"{name}/{own}": RAW,
        f"{name}/{own}.md5": f"{hashlib.md5(RAW).hexdigest()}  {own}\n".encode(),
        f"{name}/meta.json": meta(cache, name).read_bytes(),
    }
    assert cache.accepted(name) == kept


def test_a_feeds_file_is_kept_under_the_feeds_name_without_an_md5(cache: Cache) -> None:
    # its publisher has none, and a mirror must not make one up
    kept = keep(cache, b"192.0.2.0/24\n", accepted(b"192.0.2.0/24\n", "office", serial=None))
    assert sorted(contents(cache)) == ["office/meta.json", "office/office"]
    assert cache.accepted("office") == kept
    assert cache.accepted("apnic") is None


def test_what_is_known_is_plain_text_that_says_when_it_was_accepted(cache: Cache) -> None:
    keep(cache, now=NOW.astimezone(timezone(timedelta(hours=9))))
    assert json.loads(meta(cache).read_text("ascii")) == {
        "url": "https://example.net/f",
        "sha256": digests(RAW).sha256,
        "serial": 20260101,
        "end_date": "2026-01-01",
        "records": 3,
        "etag": 'W/"one"',
        "last_modified": "",
        "accepted": "2026-01-02T03:04:05+00:00",
    }


def test_without_commit_nothing_changes(cache: Cache) -> None:
    keep(cache)
    before = snapshot(cache.root, folders=False)
    newer = delegated("apnic", JAPAN, serial=2)
    with files.Staging() as staging:
        scratch = staging.scratch(cache.path("apnic"))
        scratch.write_bytes(newer)
        cache.stage(staging, scratch, digests(newer), accepted(newer), NOW)
    assert snapshot(cache.root, folders=False) == before


def test_a_new_file_takes_the_place_of_all_three(cache: Cache) -> None:
    keep(cache)
    newer = delegated("apnic", JAPAN, serial=2)
    kept = keep(cache, newer)
    assert cache.accepted("apnic") == kept
    assert contents(cache)[f"apnic/{NAME}"] == newer
    assert contents(cache)[f"apnic/{NAME}.md5"].startswith(hashlib.md5(newer).hexdigest().encode())


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@settings(deadline=None, max_examples=50)
@given(texts, texts, texts, st.none() | st.integers(0, 10**18), st.dates(), st.integers(0, 10**9))
def test_whatever_is_known_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    url: str,
    etag: str,
    modified: str,
    serial: int | None,
    end: date,
    records: int,
) -> None:
    made = accepted()
    source = replace(made.source, url=url, serial=serial, end_date=end, records=records)
    cache = Cache(tmp_path_factory.mktemp("cache"))
    kept = keep(cache, RAW, Accepted(source=source, validators=Validators(etag=etag, last_modified=modified)))
    assert cache.accepted("apnic") == kept


def rewritten(**values: object) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        document = json.loads(path.read_bytes()) | values
        path.write_text(json.dumps(document), encoding="utf-8")

    return change


def without(key: str) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        document = json.loads(path.read_bytes())
        del document[key]
        path.write_text(json.dumps(document), encoding="utf-8")

    return change


HARM: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "a list": lambda path: path.write_bytes(b"[]"),
    "null": lambda path: path.write_bytes(b"null"),
    "a number": lambda path: path.write_bytes(b"1"),
    "a long number": lambda path: path.write_bytes(b"1" * 5000),
    "nested": lambda path: path.write_bytes(b"[" * 60_000),
    "too large": lambda path: path.write_bytes(path.read_bytes() + b" " * 70_000),
    "without url": without("url"),
    "without sha256": without("sha256"),
    "without serial": without("serial"),
    "without end date": without("end_date"),
    "without records": without("records"),
    "without etag": without("etag"),
    "without last modified": without("last_modified"),
    "another sha256": rewritten(sha256="0" * 64),
    "sha256 in capitals": rewritten(sha256=digests(RAW).sha256.upper()),
    "a url of two lines": rewritten(url="https://example.net/\nX-Evil: 1"),
    "an etag of two lines": rewritten(etag='"one"\r\nHost: evil.example'),
    "an etag that is not ASCII": rewritten(etag="caf\xe9"),
    "a date of two lines": rewritten(last_modified="now\r\nthen"),
    "an etag that is no text": rewritten(etag=None),
    "a serial that is no number": rewritten(serial="20260101"),
    "a serial that is a fraction": rewritten(serial=1.0),
    "a serial that is true": rewritten(serial=True),
    "records that are none": rewritten(records=None),
    "records that are true": rewritten(records=True),
    "an end date that is none": rewritten(end_date="2026-02-30"),
    "an end date that is a number": rewritten(end_date=20260101),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_a_file_of_which_nothing_sound_is_known_is_not_believed(harm: Callable[[Path], object], cache: Cache) -> None:
    keep(cache)
    harm(meta(cache))
    before = snapshot(cache.root)
    assert cache.accepted("apnic") is None
    assert snapshot(cache.root) == before
    assert keep(cache) == cache.accepted("apnic"), "the next one that is accepted mends it"


def linked(cache: Cache, target: Path) -> None:
    target.write_bytes(meta(cache).read_bytes())
    meta(cache).unlink()
    meta(cache).symlink_to(target)


def test_a_link_in_the_place_of_what_is_known_is_not_followed(cache: Cache, tmp_path: Path) -> None:
    keep(cache)
    linked(cache, tmp_path / "elsewhere")
    assert cache.accepted("apnic") is None
    assert keep(cache) == cache.accepted("apnic")
    assert not meta(cache).is_symlink()
    assert json.loads((tmp_path / "elsewhere").read_bytes())["serial"] == 20260101, "it was not written through"


def test_a_pipe_in_the_place_of_what_is_known_does_not_block(cache: Cache) -> None:
    keep(cache)
    meta(cache).unlink()
    os.mkfifo(meta(cache))
    assert cache.accepted("apnic") is None


@pytest.mark.parametrize("raw", [b"", RAW[:-1], RAW + b"\n", RAW.swapcase()], ids=["empty", "cut", "longer", "altered"])
def test_a_file_that_was_harmed_is_not_believed(raw: bytes, cache: Cache) -> None:
    keep(cache)
    cache.path("apnic").write_bytes(raw)
    assert cache.accepted("apnic") is None


@pytest.mark.parametrize("instead", ["nothing", "a folder"])
def test_a_file_that_is_gone_is_not_believed(instead: str, cache: Cache) -> None:
    keep(cache)
    cache.path("apnic").unlink()
    if instead == "a folder":
        cache.path("apnic").mkdir()
    assert cache.accepted("apnic") is None


def test_a_candidates_source_is_there_only_by_its_very_content(cache: Cache) -> None:
    kept = keep(cache)
    assert cache.has(kept.source)
    assert cache.has(replace(kept.source, taken=7, url="https://mirror.example/"))
    assert not cache.has(replace(kept.source, sha256="0" * 64))
    assert not cache.has(replace(kept.source, name="arin"))
    cache.path("apnic").write_bytes(RAW[:-1])
    assert not cache.has(kept.source)


def test_what_is_held_is_kept_beside_and_is_no_source_of_the_cache(cache: Cache) -> None:
    kept = keep(cache)
    newer = delegated("apnic", JAPAN, serial=2)
    held = keep(cache.held, newer)
    assert cache.accepted("apnic") == kept
    assert cache.held.accepted("apnic") == held
    assert cache.held.root == cache.root / ".held"


def test_only_the_named_are_kept(cache: Cache) -> None:
    cache.keep_only({"apnic"})
    assert not cache.root.exists()
    for name in ("apnic", "arin", "office"):
        keep(cache, RAW, accepted(RAW, name))
    before = snapshot(cache.root / "arin")
    cache.keep_only({"arin", "never there"})
    assert [path.name for path in cache.root.iterdir()] == ["arin"]
    assert snapshot(cache.root / "arin") == before


def test_what_is_known_of_any_kind_of_json_is_never_an_error(cache: Cache) -> None:
    keep(cache)
    document: dict[str, Any] = json.loads(meta(cache).read_bytes())
    for key in document:
        for wrong in (None, True, 0, -1, 1.5, "", "x", [], [1], {}, {"a": 1}, "\x00", "9" * 400):
            meta(cache).write_text(json.dumps(document | {key: wrong}), encoding="utf-8")
            found = cache.accepted("apnic")
            assert found is None or found.source.sha256 == digests(RAW).sha256
