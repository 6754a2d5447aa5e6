"""delegations.sqlite: every delegation that is put in is found by every address it holds, and by no other."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from fwfeed.delegation import Delegation, Delegations, Snapshot
from fwfeed.errors import FwfeedError
from fwfeed.model import Source
from fwfeed.prefixes import Family
from fwfeed.store import delegations


@pytest.mark.parametrize("number", [0, 1, 39, 40, 41, 80, 1001])
def test_every_number_of_delegations_can_be_put_in(number: int, tmp_path: Path) -> None:
    rows = {
        family: [
            Delegation(base + at * 8, base + at * 8 + 3, "JP", "apnic", ("allocated", "assigned")[at % 2], f"{at:08}")
            for at in reversed(range(number))
        ]
        for family, base in ((Family.IPV4, 0xC6120000), (Family.IPV6, 0x20010DB8 << 96))
    }
    packed = {family: Delegations.of(family, "apnic", rows[family]) for family in Family}
    end = date(2018, 10, 12)
    snapshot = Snapshot(
        registry="apnic",
        serial=1,
        end_date=end,
        records=2 * number,
        ipv4=packed[Family.IPV4],
        ipv6=packed[Family.IPV6],
    )
    source = Source(
        name="apnic",
        url="https://example.net/",
        serial=1,
        end_date=end,
        sha256="0" * 64,
        records=2 * number,
        taken=0,
    )
    path = tmp_path / "delegations.sqlite"
    with delegations.building(path) as database:
        database.add(7, snapshot, source)
    for family in Family:
        for row in rows[family]:
            assert delegations.lookup(path, row.first, family) == [row]
            assert delegations.lookup(path, row.last, family) == [row]
            assert delegations.lookup(path, row.last + 1, family) == []


ROW = Delegation(0xC6336400, 0xC63364FF, "JP", "apnic", "allocated", "20100101")
SOURCE = Source(
    name="apnic", url="https://example.net/", serial=1, end_date=date(2018, 10, 12), sha256="0" * 64, records=1, taken=0
)


def built(folder: Path, rows: int = 1) -> Path:
    """Make a database of so many delegations of APNIC's, the first of them ROW."""
    path = folder / "delegations.sqlite"
    every = [ROW._replace(first=ROW.first + at * 256, last=ROW.last + at * 256) for at in range(rows)]
    snapshot = Snapshot(
        registry="apnic",
        serial=1,
        end_date=SOURCE.end_date,
        records=rows,
        ipv4=Delegations.of(Family.IPV4, "apnic", every),
        ipv6=Delegations.of(Family.IPV6, "apnic", []),
    )
    with delegations.building(path) as database:
        database.add(0, snapshot, SOURCE)
    return path


def spoil(path: Path, *statements: str) -> None:
    """Change the database as whoever owns it can: with a schema that does not say STRICT any more, if need be."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def rewritten(table: str, *values: str) -> tuple[str, ...]:
    """Return the statements that put a row into a table whatever its types are, and leave its schema as it was."""
    return (
        "PRAGMA writable_schema = ON",
        f"CREATE TEMP TABLE kept AS SELECT sql FROM main.sqlite_master WHERE name = '{table}'",
        f"UPDATE sqlite_master SET sql = replace(sql, 'STRICT', '') WHERE name = '{table}' AND name = 'source'",
        f"UPDATE sqlite_master SET sql = replace(sql, 'STRICT, ', '') WHERE name = '{table}' AND name <> 'source'",
        "PRAGMA writable_schema = RESET",
        f"DELETE FROM {table}",
        f"INSERT INTO {table} VALUES ({', '.join(values)})",
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET sql = (SELECT sql FROM kept) WHERE name = '{table}'",
    )


def refused(path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(FwfeedError) as caught:
        delegations.lookup(path, ROW.first, Family.IPV4)
    assert (caught.value.message, caught.value.way_out) == (f"cannot read {path}: damaged", "run: fwfeed fetch")
    assert not delegations.is_of(path, [SOURCE])
    assert time.monotonic() - began < 15


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS registry, 'apnic' AS name FROM c"


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE source", f"CREATE VIEW source AS {ENDLESS}"),
        ("DROP TABLE source",),
        ("CREATE TABLE more (x)",),
        ("CREATE VIEW more AS SELECT * FROM source",),
        ("CREATE INDEX more ON ipv4 (country)",),
        ("CREATE TRIGGER more AFTER INSERT ON source BEGIN SELECT 1; END",),
        ("DROP TABLE source", "CREATE TABLE source (registry INTEGER PRIMARY KEY, name TEXT)"),
        tuple(f"INSERT INTO source (registry, name) VALUES ({n}, 'apnic')" for n in range(1, 6)),
        ("UPDATE source SET name = '/etc/shadow'",),
        ("UPDATE source SET name = NULL",),
        ("UPDATE ipv4 SET country = char(27) || '[2J'",),
        ("UPDATE ipv4 SET status = char(10)",),
        ("UPDATE ipv4 SET date = NULL",),
        ("UPDATE ipv4 SET last = NULL",),
        ("UPDATE ipv4 SET last = 1 << 40",),
        ("UPDATE ipv4 SET first = -1",),
        ("UPDATE ipv4 SET country = hex(zeroblob(1000000))",),
        rewritten("ipv4", "0", str(ROW.first), "'x'", "'JP'", "'allocated'", "'20100101'"),
        rewritten("ipv4", "0", str(ROW.first), "x'00'", "'JP'", "'allocated'", "'20100101'"),
        rewritten("ipv4", "0", str(ROW.first), str(ROW.last), "x'1b'", "'allocated'", "'20100101'"),
        rewritten("ipv4", "0", str(ROW.first), str(ROW.last), "CAST(x'ff1b' AS TEXT)", "'allocated'", "'20100101'"),
    ],
    ids=lambda statements: statements[-1][:40] if len(statements) < 9 else statements[-3][:70],
)
def test_a_hostile_database_is_damaged(statements: tuple[str, ...], tmp_path: Path) -> None:
    path = built(tmp_path)
    spoil(path, *statements)
    with pytest.raises(FwfeedError) as caught:
        delegations.lookup(path, ROW.first, Family.IPV4)
    assert (caught.value.message, caught.value.way_out) == (f"cannot read {path}: damaged", "run: fwfeed fetch")


def test_a_row_written_as_the_tests_of_hostile_rows_do_is_itself_no_damage(tmp_path: Path) -> None:
    path = built(tmp_path)
    spoil(path, *rewritten("ipv4", "0", str(ROW.first), str(ROW.last), "'JP'", "'allocated'", "'20100101'"))
    assert delegations.lookup(path, ROW.first, Family.IPV4) == [ROW]


@pytest.mark.parametrize("raw", [b"", b"x" * 100, b"SQLite format 3\0", b"SQLite format 3\0" + bytes(8176)])
def test_what_is_no_database_is_damaged(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "delegations.sqlite"
    path.write_bytes(raw)
    refused(path)


def test_a_database_that_was_cut_short_or_grew_is_damaged(tmp_path: Path) -> None:
    path = built(tmp_path, rows=1000)
    raw = path.read_bytes()
    for other in (raw[:-8192], raw[:-1], raw + b"x"):
        path.write_bytes(other)
        refused(path)


def test_what_is_no_file_of_its_own_is_damaged(tmp_path: Path) -> None:
    path = built(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(path)
    path.unlink()
    os.mkfifo(path)
    refused(path)


def test_a_tree_that_runs_in_circles_ends(tmp_path: Path) -> None:
    path = built(tmp_path, rows=5000)
    raw = bytearray(path.read_bytes())
    (root,) = (
        number for number in range(2, len(raw) // 8192 + 1) if raw[(number - 1) * 8192] == 0x02
    )  # the one inner page of an index tree: the root of ipv4
    at = (root - 1) * 8192
    raw[at + 8 : at + 12] = root.to_bytes(4, "big")
    path.write_bytes(raw)
    with pytest.raises(FwfeedError, match="damaged"):
        delegations.lookup(path, 0xFFFFFFFF, Family.IPV4)
    assert not delegations.is_of(path, [SOURCE])


def test_a_journal_beside_the_database_is_not_read(tmp_path: Path) -> None:
    path = built(tmp_path)
    for suffix in ("-journal", "-wal", "-shm"):
        os.mkfifo(path.with_name(path.name + suffix))
    assert delegations.lookup(path, ROW.first, Family.IPV4) == [ROW]
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        path.name + suffix for suffix in ("", "-journal", "-shm", "-wal")
    ]


def test_a_database_is_of_the_registries_it_was_made_of(tmp_path: Path) -> None:
    path = built(tmp_path)
    feed = replace(SOURCE, name="office")
    assert delegations.is_of(path, [SOURCE])
    assert delegations.is_of(path, [SOURCE, feed])
    assert not delegations.is_of(path, [feed])
    assert not delegations.is_of(path, [SOURCE, replace(SOURCE, name="arin")])
    assert not delegations.is_of(path, [replace(SOURCE, sha256="1" * 64)])
    assert not delegations.is_of(tmp_path / "none", [])


def test_a_page_that_was_overwritten_shows(tmp_path: Path) -> None:
    path = built(tmp_path, rows=5000)
    raw = path.read_bytes()
    assert delegations.is_of(path, [SOURCE])
    for page in range(2, len(raw) // 8192):
        path.write_bytes(raw[: page * 8192] + bytes(8192) + raw[(page + 1) * 8192 :])
        assert not delegations.is_of(path, [SOURCE]), page
