"""The generations: read back as written, refused for all that fwfeed would not have written, and what they prove."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwfeed.errors import FwfeedError
from fwfeed.model import Generation, Outcome, Recipe, Source
from fwfeed.prefixes import Family
from fwfeed.store import files
from fwfeed.store.generations import Generations, current, owned, unfinished, why_held_back
from fwfeed.store.manifests import digest
from tests.unit.builders import snapshot

ROOT = "/etc/firewalld"
CONTENT = {"ipsets/JP.xml": b"<ipset/>", "policies/fwfeed-outbound.xml": b"<policy/>", "zones/log_1.xml": b"<zone/>"}
FIRST = Generation(
    number=1,
    root=ROOT,
    created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    outcome=Outcome.PENDING,
    reason="",
    recipe=Recipe(
        registries=("apnic",),
        countries=("JP",),
        feeds=("office plain",),
        include=("192.0.2.0/24", "office"),
        exclude=("203.0.113.0/24",),
    ),
    restores=None,
    config="0" * 64,
    firewalld="2.3.1",
    sources=(
        Source(
            name="apnic",
            url="https://apnic.example/delegated-apnic-extended-latest",
            serial=20260102,
            end_date=date(2026, 1, 1),
            sha256="1" * 64,
            records=100,
            taken=2,
        ),
    ),
    prefixes=MappingProxyType({Family.IPV4: 2, Family.IPV6: 1}),
    addresses=MappingProxyType({Family.IPV4: 512, Family.IPV6: 2**80}),
    files=MappingProxyType({path: digest(raw) for path, raw in CONTENT.items()}),
    default_zone=None,
    replaced_zone=None,
)
PENDING, APPLIED, ROLLED_BACK = Outcome.PENDING, Outcome.APPLIED, Outcome.ROLLED_BACK


@pytest.fixture
def store(tmp_path: Path) -> Generations:
    return Generations.below(tmp_path / "state")


def manifest(store: Generations, number: int = 1) -> Path:
    return store.root / f"{number:06d}" / "manifest.json"


def numbers(generations: list[Generation]) -> list[int]:
    return [generation.number for generation in generations]


def test_a_generation_is_read_back_as_it_was_written(store: Generations, tmp_path: Path) -> None:
    store.write(FIRST, CONTENT)
    assert store.all(Path(ROOT)) == [FIRST]
    assert store.content(FIRST) == CONTENT
    assert store.root == tmp_path / "state" / "generations"
    written = {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}
    assert written == {"000001/manifest.json", *(f"000001/files/{path}" for path in CONTENT)}


def test_the_manifest_is_plain_text_that_says_what_was_installed(store: Generations) -> None:
    store.write(replace(FIRST, default_zone="east", replaced_zone="public"), CONTENT)
    assert json.loads(manifest(store).read_text("ascii")) == {
        "root": ROOT,
        "created": "2026-01-02T03:04:05+00:00",
        "outcome": "pending",
        "reason": "",
        "restores": None,
        "config": "0" * 64,
        "firewalld": "2.3.1",
        "recipe": {
            "registries": ["apnic"],
            "countries": ["JP"],
            "feeds": ["office plain"],
            "include": ["192.0.2.0/24", "office"],
            "exclude": ["203.0.113.0/24"],
        },
        "sources": [
            {
                "name": "apnic",
                "url": "https://apnic.example/delegated-apnic-extended-latest",
                "serial": 20260102,
                "end_date": "2026-01-01",
                "sha256": "1" * 64,
                "records": 100,
                "taken": 2,
            }
        ],
        "prefixes": {"4": 2, "6": 1},
        "addresses": {"4": 512, "6": 2**80},
        "files": dict(FIRST.files),
        "default_zone": "east",
        "replaced_zone": "public",
    }


def test_a_digest_is_sha256() -> None:
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_time_of_another_zone_is_the_same_time(store: Generations) -> None:
    tokyo = FIRST.created.astimezone(timezone(timedelta(hours=9)))
    store.write(replace(FIRST, created=tokyo), CONTENT)
    assert store.all(Path(ROOT)) == [FIRST]
    assert "2026-01-02T03:04:05+00:00" in manifest(store).read_text()


texts = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=8)
names = st.text("abcXYZ019_-", min_size=1, max_size=8)
paths = st.builds(lambda folder, name: f"{folder}/{name}.xml", st.sampled_from(["ipsets", "policies", "zones"]), names)
zones = st.none() | names
counts = st.integers(0, 2**130)
generations = st.builds(
    Generation,
    number=st.integers(1, 999_999),
    root=st.just(ROOT),
    created=st.datetimes(timezones=st.just(UTC)).map(lambda time: time.replace(microsecond=0)),
    outcome=st.sampled_from(Outcome),
    reason=st.text(max_size=20),
    recipe=st.builds(
        Recipe,
        registries=st.lists(texts, max_size=2).map(tuple),
        countries=st.lists(texts, max_size=2).map(tuple),
        feeds=st.lists(texts, max_size=2).map(tuple),
        include=st.lists(texts, max_size=2).map(tuple),
        exclude=st.lists(texts, max_size=2).map(tuple),
    ),
    restores=st.none() | st.integers(1, 999_999),
    config=texts,
    firewalld=texts,
    sources=st.just(FIRST.sources) | st.just(()),
    prefixes=st.tuples(counts, counts).map(lambda pair: dict(zip(Family, pair, strict=True))),
    addresses=st.tuples(counts, counts).map(lambda pair: dict(zip(Family, pair, strict=True))),
    files=st.just({}),
    default_zone=zones,
    replaced_zone=zones,
)


@settings(deadline=None, max_examples=25)
@given(generations, st.dictionaries(paths, st.binary(max_size=20), max_size=3), st.sampled_from(Outcome), st.text())
def test_every_generation_is_read_back_as_it_was_written_and_as_it_ended(
    tmp_path_factory: pytest.TempPathFactory,
    generation: Generation,
    content: dict[str, bytes],
    outcome: Outcome,
    reason: str,
) -> None:
    store = Generations.below(tmp_path_factory.mktemp("state"))
    generation = replace(generation, files={path: digest(raw) for path, raw in content.items()})
    store.write(generation, content)
    assert store.all(Path(ROOT)) == [generation]
    assert store.content(generation) == content
    store.close(generation, outcome, reason)
    assert store.all(Path(ROOT)) == [replace(generation, outcome=outcome, reason=reason)]
    assert store.content(generation) == content


def test_closing_records_the_end_and_leaves_all_else(store: Generations) -> None:
    second = replace(FIRST, number=2)
    store.write(FIRST, CONTENT)
    store.write(second, CONTENT)
    before = snapshot(store.root / "000001", store.root / "000002" / "files")
    store.close(second, ROLLED_BACK, "the kernel lacks 1 address")
    closed = replace(second, outcome=ROLLED_BACK, reason="the kernel lacks 1 address")
    assert store.all(Path(ROOT)) == [FIRST, closed]
    assert snapshot(store.root / "000001", store.root / "000002" / "files") == before
    store.close(closed, APPLIED)
    assert store.all(Path(ROOT)) == [FIRST, replace(second, outcome=APPLIED)]


def test_generations_come_oldest_first_whenever_they_were_written(store: Generations) -> None:
    for number in (10, 2, 9, 100, 1):
        store.write(replace(FIRST, number=number), CONTENT)
    assert numbers(store.all(Path(ROOT))) == [1, 2, 9, 10, 100]
    assert store.next_number() == 101


def test_only_the_generations_of_the_folder_asked_for_are_given(store: Generations, tmp_path: Path) -> None:
    for number, root in enumerate((ROOT, str(tmp_path), ROOT, f"{ROOT}/"), start=1):
        store.write(replace(FIRST, number=number, root=root), CONTENT)
    assert numbers(store.all(Path(ROOT))) == [1, 3]
    assert numbers(store.all(tmp_path)) == [2]
    assert store.all(tmp_path / "other") == []
    assert store.next_number() == 5


def test_before_the_first_there_are_none(store: Generations) -> None:
    assert store.all(Path(ROOT)) == []
    assert store.next_number() == 1
    assert not store.root.exists()
    store.root.mkdir(parents=True)
    assert store.all(Path(ROOT)) == []
    assert store.next_number() == 1


def test_a_file_that_has_gone_from_a_generation_is_none(store: Generations) -> None:
    store.write(FIRST, CONTENT)
    (store.root / "000001" / "files" / "ipsets" / "JP.xml").unlink()
    assert store.content(FIRST) == {**CONTENT, "ipsets/JP.xml": None}


def test_a_generation_is_never_written_over_another(store: Generations) -> None:
    store.write(FIRST, CONTENT)
    before = snapshot(store.root / "000001")
    with pytest.raises(FwfeedError) as caught:
        store.write(replace(FIRST, reason="another"), {"ipsets/JP.xml": b"another"})
    assert caught.value.message.startswith(f"cannot write {store.root}/000001: ")
    assert snapshot(store.root / "000001") == before
    assert store.all(Path(ROOT)) == [FIRST]


def test_what_a_crash_while_writing_left_does_not_get_in_the_way(store: Generations) -> None:
    left = store.root / ".000001.fwfeed-new" / "files" / "ipsets"
    left.mkdir(parents=True)
    (left / "Left.xml").write_bytes(b"half of it")
    (left / ".JP.xml.fwfeed-new").write_bytes(b"half of it")
    assert store.all(Path(ROOT)) == []
    assert store.next_number() == 1
    store.write(FIRST, CONTENT)
    assert store.all(Path(ROOT)) == [FIRST]
    found = {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}
    assert found == {"000001/manifest.json", *(f"000001/files/{path}" for path in CONTENT)}


def test_a_generation_whose_writing_fails_is_not_there(store: Generations) -> None:
    with pytest.raises(FwfeedError):
        store.write(FIRST, {"ipsets/JP.xml": b"1", "ipsets/JP.xml/below": b"2"})
    assert store.all(Path(ROOT)) == []
    assert not (store.root / "000001").exists()
    store.write(FIRST, CONTENT)
    assert store.all(Path(ROOT)) == [FIRST]


@pytest.mark.parametrize("name", ["1", "00001", "0000001", "000001.old", "lost+found", ".000001", "00000a", "-00001"])
def test_folders_of_other_names_are_none_of_ours(store: Generations, name: str) -> None:
    (store.root / name).mkdir(parents=True)
    assert store.all(Path(ROOT)) == []
    assert store.next_number() == 1


def history(*outcomes: Outcome) -> list[Generation]:
    """Return generations that each installed a file of their own number beside one that all have."""
    return [
        replace(
            FIRST, number=number, outcome=outcome, files={"ipsets/JP.xml": "0" * 64, f"zones/z{number}.xml": "1" * 64}
        )
        for number, outcome in enumerate(outcomes, start=1)
    ]


@pytest.mark.parametrize(
    ("outcomes", "applied", "open_"),
    [
        ((), None, []),
        ((PENDING,), None, [1]),
        ((APPLIED,), 1, []),
        ((ROLLED_BACK,), None, []),
        ((PENDING, PENDING), None, [1, 2]),
        ((PENDING, APPLIED), 2, []),
        ((PENDING, ROLLED_BACK), None, [1]),
        ((APPLIED, PENDING), 1, [2]),
        ((APPLIED, APPLIED), 2, []),
        ((APPLIED, ROLLED_BACK), 1, []),
        ((ROLLED_BACK, PENDING), None, [2]),
        ((ROLLED_BACK, APPLIED), 2, []),
        ((ROLLED_BACK, ROLLED_BACK), None, []),
        ((APPLIED, PENDING, PENDING), 1, [2, 3]),
        ((APPLIED, PENDING, ROLLED_BACK), 1, [2]),
        ((APPLIED, ROLLED_BACK, PENDING), 1, [3]),
        ((APPLIED, PENDING, APPLIED), 3, []),
        ((PENDING, APPLIED, PENDING), 2, [3]),
        ((PENDING, APPLIED, ROLLED_BACK), 2, []),
        ((PENDING, APPLIED, PENDING, APPLIED, ROLLED_BACK, PENDING), 4, [6]),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_the_current_one_is_the_newest_applied_and_the_later_pending_ones_are_unfinished(
    outcomes: tuple[Outcome, ...], applied: int | None, open_: list[int]
) -> None:
    all_ = history(*outcomes)
    newest = current(all_)
    assert (newest.number if newest else None) == applied
    assert numbers(unfinished(all_)) == open_
    counted = [*open_, *([applied] if applied else [])]
    assert owned(all_) == {f"zones/z{number}.xml" for number in counted} | ({"ipsets/JP.xml"} if counted else set())


@pytest.mark.parametrize("outcomes", [each for length in range(5) for each in product(Outcome, repeat=length)], ids=len)
def test_in_every_history_of_up_to_four_a_rolled_back_or_older_generation_owns_nothing(
    outcomes: tuple[Outcome, ...],
) -> None:
    last = max((number for number, outcome in enumerate(outcomes, 1) if outcome is APPLIED), default=0)
    live = {number for number, outcome in enumerate(outcomes, 1) if number >= last and outcome in {PENDING, APPLIED}}
    assert {path for path in owned(history(*outcomes)) if path.startswith("zones/")} == {
        f"zones/z{n}.xml" for n in live
    }


def refused(store: Generations, raw: bytes) -> str:
    """Put this in the second manifest's place, and return why it is refused."""
    store.write(FIRST, CONTENT)
    store.write(replace(FIRST, number=2), CONTENT)
    path = manifest(store, 2)
    path.write_bytes(raw)
    before = snapshot(store.root)
    with pytest.raises(FwfeedError) as caught:
        store.all(Path(ROOT))
    assert str(caught.value).startswith(f"{path}: not a manifest: ")
    assert caught.value.way_out == "restore it from a backup"
    assert snapshot(store.root) == before
    return str(caught.value)


def dumped(tmp_path: Path) -> bytes:
    store = Generations(tmp_path / "sample")
    if not manifest(store).exists():
        store.write(FIRST, CONTENT)
    return manifest(store).read_bytes()


def tampered(tmp_path: Path, change: Callable[[Any], object]) -> bytes:
    document = json.loads(dumped(tmp_path))
    change(document)
    return (json.dumps(document, indent=1) + "\n").encode()


def test_the_way_these_tests_tamper_is_itself_no_reason_to_refuse(store: Generations, tmp_path: Path) -> None:
    assert tampered(tmp_path, lambda _document: None) == dumped(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/ipsets/JP.xml",
        "../ipsets/JP.xml",
        "ipsets/../JP.xml",
        "ipsets/../../passwd.xml",
        "ipsets/..xml",
        "ipsets/./JP.xml",
        "ipsets//JP.xml",
        "ipsets/below/JP.xml",
        "services/JP.xml",
        "Ipsets/JP.xml",
        "firewalld.conf",
        "JP.xml",
        "ipsets/JP.conf",
        "ipsets/JP.xml.old",
        "ipsets/JP",
        "ipsets/.xml",
        "ipsets/J P.xml",
        "ipsets/JP.xml\n",
        "ipsets/\u65e5\u672c.xml",
        "",
    ],
)
def test_a_path_that_fwfeed_does_not_write_is_refused(store: Generations, tmp_path: Path, path: str) -> None:
    raw = tampered(tmp_path, lambda document: document["files"].update({path: "0" * 64}))
    assert "it names files that fwfeed does not write" in refused(store, raw)


@pytest.mark.parametrize("value", ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64, "0" * 64 + "\n", "0" * 32])
def test_what_is_no_digest_is_refused(store: Generations, tmp_path: Path, value: str) -> None:
    raw = tampered(tmp_path, lambda document: document["files"].update({"ipsets/JP.xml": value}))
    assert "it names files that fwfeed does not write" in refused(store, raw)


@pytest.mark.parametrize("value", [None, 0, True, [], {}, ["0" * 64]], ids=repr)
def test_a_digest_that_is_no_text_is_refused(store: Generations, tmp_path: Path, value: object) -> None:
    refused(store, tampered(tmp_path, lambda document: document["files"].update({"ipsets/JP.xml": value})))


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("value", [-1, "512", "", 1.5, 512.0, True, None, [], {}], ids=repr)
def test_a_count_that_is_none_is_refused(store: Generations, tmp_path: Path, family: str, value: object) -> None:
    raw = tampered(tmp_path, lambda document: document["addresses"].update({family: value}))
    assert "it has counts that are none" in refused(store, raw)


@pytest.mark.parametrize("addresses", [{}, {"4": 1}, {"6": 1}, {"4": 1, "6": 1, "5": 1}, {"6": 1, "4": 1}], ids=repr)
def test_counts_of_other_families_are_refused(store: Generations, tmp_path: Path, addresses: object) -> None:
    refused(store, tampered(tmp_path, lambda document: document.update(addresses=addresses)))


@pytest.mark.parametrize("time", ["2026-01-02T03:04:05", "2026-01-02"])
def test_a_time_without_a_zone_is_refused(store: Generations, tmp_path: Path, time: str) -> None:
    assert "its time has no zone" in refused(store, tampered(tmp_path, lambda document: document.update(created=time)))


@pytest.mark.parametrize("time", ["", "yesterday", "2026-02-29T00:00:00+00:00", "2026-01-02T03:04:05+09:00", None, 5])
def test_what_is_no_utc_time_is_refused(store: Generations, tmp_path: Path, time: object) -> None:
    refused(store, tampered(tmp_path, lambda document: document.update(created=time)))


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_can_be_no_utc_time_is_refused(store: Generations, tmp_path: Path, time: str) -> None:
    refused(store, tampered(tmp_path, lambda document: document.update(created=time)))


@pytest.mark.parametrize("outcome", ["", "Applied", "done", None, 1, []], ids=repr)
def test_another_outcome_is_refused(store: Generations, tmp_path: Path, outcome: object) -> None:
    refused(store, tampered(tmp_path, lambda document: document.update(outcome=outcome)))


@pytest.mark.parametrize("key", ["root", "reason"])
@pytest.mark.parametrize("value", [None, 5, True, [], {}, [ROOT]], ids=repr)
def test_what_stands_in_the_place_of_text_is_refused(
    store: Generations, tmp_path: Path, key: str, value: object
) -> None:
    """A root of another type would make the generation one of another folder, and its files nobody's."""
    refused(store, tampered(tmp_path, lambda document: document.update({key: value})))


@pytest.mark.parametrize("key", ["default_zone", "replaced_zone"])
@pytest.mark.parametrize("value", [5, True, [], {}, ["public"]], ids=repr)
def test_what_stands_in_the_place_of_a_zone_is_refused(
    store: Generations, tmp_path: Path, key: str, value: object
) -> None:
    refused(store, tampered(tmp_path, lambda document: document.update({key: value})))


KEYS = (
    *("root", "created", "outcome", "reason", "restores", "config", "firewalld", "recipe", "sources", "prefixes"),
    *("addresses", "files", "default_zone", "replaced_zone"),
)


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_refused_by_its_name(store: Generations, tmp_path: Path, key: str) -> None:
    assert key in refused(store, tampered(tmp_path, lambda document: document.pop(key)))


@pytest.mark.parametrize("place", [(), ("recipe",)], ids=["manifest", "recipe"])
def test_an_extra_key_is_refused(store: Generations, tmp_path: Path, place: tuple[str, ...]) -> None:
    def change(document: Any) -> None:
        for key in place:
            document = document[key]
        document["more"] = "values"

    assert "more or other values than fwfeed writes" in refused(store, tampered(tmp_path, change))


def test_a_key_given_twice_is_refused(store: Generations, tmp_path: Path) -> None:
    raw = dumped(tmp_path)
    twice = raw.replace(b'"reason"', b'"root": "/etc/firewalld",\n "reason"')
    assert json.loads(twice) == json.loads(raw)
    refused(store, twice)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"manifest",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b"1",
        b"1" * 5000,
        b'"root"',
        b"NaN",
        b"[" * 200_000,
        b'{"root":' * 200_000,
        b'{"files": 5, "addresses": {}}',
        b'{"files": null, "addresses": {}}',
        b'{"files": [["ipsets/JP.xml"]], "addresses": {}}',
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_not_a_json_object_of_ours_is_refused(store: Generations, raw: bytes) -> None:
    refused(store, raw)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[:-3],
        lambda raw: raw + b"\n",
        lambda raw: raw * 2,
        lambda raw: b" " + raw,
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: json.dumps(json.loads(raw)).encode(),
    ],
    ids=["no end", "cut", "longer", "twice", "blank before", "byte order mark", "other line ends", "one line"],
)
def test_another_form_of_the_same_is_refused(
    store: Generations, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    refused(store, change(dumped(tmp_path)))


def test_a_missing_manifest_is_refused(store: Generations) -> None:
    store.write(FIRST, CONTENT)
    manifest(store).unlink()
    with pytest.raises(FwfeedError) as caught:
        store.all(Path(ROOT))
    assert str(caught.value) == f"{manifest(store)}: not a manifest: it is missing"


def test_a_damaged_manifest_is_refused_whatever_folder_is_asked_for(store: Generations, tmp_path: Path) -> None:
    """It cannot be known which folder it was made for."""
    store.write(FIRST, CONTENT)
    manifest(store).write_bytes(b"{}")
    for root in (Path(ROOT), tmp_path):
        with pytest.raises(FwfeedError):
            store.all(root)
    assert store.next_number() == 2


def test_a_manifest_is_written_with_the_mode_of_all_our_files(store: Generations) -> None:
    store.write(FIRST, CONTENT)
    assert manifest(store).stat().st_mode & 0o7777 == files.FILE_MODE


def test_one_generation_is_found_whatever_folder_it_is_for(store: Generations) -> None:
    store.write(replace(FIRST, root="/srv/firewalld"), CONTENT)
    assert store.find(1) == replace(FIRST, root="/srv/firewalld")
    assert store.find(2) is None


def test_a_discarded_generation_leaves_nothing(store: Generations) -> None:
    store.write(FIRST, CONTENT)
    store.write(replace(FIRST, number=2), CONTENT)
    store.discard(replace(FIRST, number=2))
    assert [path.name for path in store.root.iterdir()] == ["000001"]
    store.discard(FIRST)
    assert not store.root.exists()


def test_pruning_keeps_the_newest_of_the_applied_and_of_the_others_those_without_an_end_and_those_of_other_folders(
    store: Generations,
) -> None:
    outcomes = (PENDING, APPLIED, APPLIED, ROLLED_BACK, Outcome.UNCONFIRMED, ROLLED_BACK)
    for generation in history(*outcomes):
        store.write(generation, CONTENT)
    store.write(replace(FIRST, number=7, root="/srv/firewalld"), CONTENT)
    store.prune(Path(ROOT), 2)
    assert numbers(store.all(Path(ROOT))) == [1, 2, 3, 5, 6]
    assert numbers(store.all(Path("/srv/firewalld"))) == [7]
    assert store.next_number() == 8
    store.prune(Path(ROOT), 10)
    assert numbers(store.all(Path(ROOT))) == [1, 2, 3, 5, 6]


def test_pruning_keeps_one_to_go_back_to_however_often_the_current_one_was_installed_anew(store: Generations) -> None:
    same = history(*[APPLIED] * 6)
    for generation in (*same[:2], *(replace(each, files=same[2].files) for each in same[2:])):
        store.write(generation, CONTENT)
    store.prune(Path(ROOT), 2)
    assert numbers(store.all(Path(ROOT))) == [2, 5, 6]


@pytest.mark.parametrize(
    ("outcomes", "restoring", "held_back"),
    [
        ((), (), ""),
        ((APPLIED,), (), ""),
        ((APPLIED, Outcome.UNCONFIRMED), (), "nobody confirmed generation 2"),
        ((Outcome.UNCONFIRMED,), (), "nobody confirmed generation 1"),
        ((APPLIED, Outcome.UNCONFIRMED, ROLLED_BACK), (), "nobody confirmed generation 2"),
        ((APPLIED, Outcome.UNCONFIRMED, APPLIED), (), ""),
        ((APPLIED, APPLIED, APPLIED), (3,), "somebody went back to generation 1"),
        ((APPLIED, APPLIED, APPLIED, ROLLED_BACK), (3,), "somebody went back to generation 1"),
        ((APPLIED, APPLIED, APPLIED, APPLIED), (3,), ""),
        ((APPLIED, ROLLED_BACK), (2,), ""),
    ],
)
def test_going_back_on_purpose_holds_the_candidate_back_until_somebody_applies(
    outcomes: tuple[Outcome, ...],
    restoring: tuple[int, ...],
    held_back: str,
) -> None:
    made = [replace(each, restores=1 if each.number in restoring else None) for each in history(*outcomes)]
    assert why_held_back(made) == held_back
