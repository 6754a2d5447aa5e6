"""The record of addresses: written when something is new, and read as what a stranger wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fwfeed.errors import FwfeedError
from fwfeed.store import candidates, hosts


def test_what_was_known_stays_known_and_the_newest_is_first(tmp_path: Path) -> None:
    assert hosts.load(tmp_path) == {}
    assert hosts.record(tmp_path, ["a.example.net", "b.example.net"], {"a.example.net": ["192.0.2.1"]})
    assert hosts.load(tmp_path) == {"a.example.net": ("192.0.2.1",)}
    assert hosts.record(tmp_path, ["a.example.net"], {"a.example.net": ["192.0.2.1", "2001:db8::1", "192.0.2.2"]})
    assert hosts.load(tmp_path) == {"a.example.net": ("192.0.2.2", "2001:db8::1", "192.0.2.1")}


@pytest.mark.parametrize("found", [{}, {"a.example.net": ["192.0.2.1"]}, {"else.example.net": ["192.0.2.7"]}])
def test_nothing_new_writes_nothing(tmp_path: Path, found: dict[str, list[str]]) -> None:
    hosts.record(tmp_path, ["a.example.net"], {"a.example.net": ["192.0.2.1", "192.0.2.2"]})
    before = (tmp_path / hosts.NAME).stat()
    assert not hosts.record(tmp_path, ["a.example.net"], found)
    assert (tmp_path / hosts.NAME).stat().st_mtime_ns == before.st_mtime_ns
    assert (tmp_path / hosts.NAME).stat().st_ino == before.st_ino


def test_a_host_that_is_not_needed_any_more_leaves(tmp_path: Path) -> None:
    both = {"a.example.net": ["192.0.2.1"], "b.example.net": ["192.0.2.1"]}
    hosts.record(tmp_path, list(both), both)
    assert hosts.record(tmp_path, ["b.example.net"], {})
    assert hosts.load(tmp_path) == {"b.example.net": ("192.0.2.1",)}


def test_a_record_is_bounded(tmp_path: Path) -> None:
    for turn in range(3):
        hosts.record(tmp_path, ["a.example.net"], {"a.example.net": [f"192.0.2.{turn * 9 + n}" for n in range(9)]})
    listed = hosts.load(tmp_path)["a.example.net"]
    assert len(listed) == 16
    assert listed[0] == "192.0.2.18"
    names = [f"h{number}.example.net" for number in range(500)]
    hosts.record(tmp_path, names, {name: ["192.0.2.1"] for name in names})
    assert len(hosts.load(tmp_path)) == 128


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"a": "192.0.2.1"}',
        '{"a": ["192.0.2.1", 7]}',
        '{"a": ["192.0.2.01"]}',
        '{"a": ["2001:DB8::1"]}',
        '{"a": ["banana"]}',
        '{"a\\u001b[2J": ["192.0.2.1"]}',
        json.dumps({"a": ["192.0.2.1"] * 17}),
        json.dumps({f"{n}": ["192.0.2.1"] for n in range(129)}),
        json.dumps({"a" * 300: ["192.0.2.1"]}),
        "[" * 100_000,
        " " * 200_000,
    ],
)
def test_a_record_of_anything_else_is_refused_and_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / hosts.NAME).write_text(text)
    with pytest.raises(FwfeedError, match=r"hosts\.json: "):
        hosts.load(tmp_path)
    assert hosts.record(tmp_path, ["a.example.net"], {"a.example.net": ["192.0.2.1"]})
    assert hosts.load(tmp_path) == {"a.example.net": ("192.0.2.1",)}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("{}")
    (tmp_path / hosts.NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FwfeedError):
        hosts.load(tmp_path)


def test_the_record_is_one_of_the_candidates_files() -> None:
    assert re.fullmatch(candidates.OURS, hosts.NAME)
    assert not re.fullmatch(candidates.OURS, "hostsXjson")
