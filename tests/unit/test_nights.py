"""Real nights of registries that published what nobody promised: none of them may keep a good address out.

AFRINIC's summary of AS numbers was too low in files of 2021 and 2022 whose MD5 is right, and some days have no file.
APNIC had two ranges in its file twice on 2019-04-01. `python -m tests.bench.nights` replays whole years.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from collections.abc import Iterator
from ipaddress import IPv4Address, collapse_addresses, summarize_address_range
from pathlib import Path

import pytest

from fwfeed.compile import Selection, combine
from fwfeed.delegated import parse
from fwfeed.model import Recipe
from fwfeed.prefixes import Family, count, format_prefix, spans
from fwfeed.remark import RemarkKind
from tests.bench.nights import Replay, replay
from tests.unit.builders import CHECKOUT

DATA = CHECKOUT / "tests" / "data"
COUNTED = b"afrinic|*|ipv4|*|4526|summary"


@pytest.fixture(scope="module")
def afrinic() -> dict[str, bytes]:
    """Return the files of AFRINIC's nights, and their .md5, by their names."""
    raw = lzma.decompress((DATA / "rir-nights" / "afrinic-extended.tar.xz").read_bytes())
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        files = ((member.name, tar.extractfile(member)) for member in tar.getmembers())
        return {name: file.read() for name, file in files if file is not None}


@pytest.fixture(scope="module")
def apnic() -> bytes:
    return lzma.decompress((DATA / "rir-nights" / "apnic-2019-04-01.xz").read_bytes())


def replayed(tmp_path: Path, files: Iterator[tuple[str, bytes]], registry: str, country: str) -> Replay:
    folder = tmp_path / "nights"
    folder.mkdir()
    for name, raw in files:
        (folder / name).write_bytes(raw)
    return replay(folder, registry, country, tmp_path)


@pytest.mark.parametrize(
    ("month", "accepted", "without", "remarked"), [("2021-07", 6, 1, 4), ("2022-01", 4, 6, 1), ("2022-09", 4, 1, 2)]
)
def test_every_night_of_afrinics_is_accepted_and_told_where_its_count_of_asns_is_off(
    month: str, accepted: int, without: int, remarked: int, tmp_path: Path, afrinic: dict[str, bytes]
) -> None:
    done = replayed(tmp_path, ((name, raw) for name, raw in afrinic.items() if name.startswith(month)), "afrinic", "ZA")
    assert done.outcomes == {"accepted": accepted, "no file, same": without}
    assert done.remarked == remarked
    assert len(done.said) == 2 * remarked, "the header's number, and the summary's"


def test_a_count_of_addresses_that_is_off_is_refused_and_the_part_is_kept_however_long(
    tmp_path: Path, afrinic: dict[str, bytes]
) -> None:
    bad = afrinic["2021-07-16-0087"].replace(COUNTED, COUNTED.replace(b"4526", b"4529"))
    assert bad != afrinic["2021-07-16-0087"]
    files = {
        "2021-07-14": afrinic["2021-07-14-0086"],
        "2021-07-16": bad,
        "2021-07-16.md5": f"{hashlib.md5(bad).hexdigest()}  x".encode(),
        "2021-07-24": afrinic["2021-07-20-0091"],
        "2021-07-24.md5": afrinic["2021-07-20-0091.md5"],
    }
    done = replayed(tmp_path, iter(files.items()), "afrinic", "ZA")
    assert done.outcomes == {"accepted": 2, "no file, same": 1, "refused": 1, "no file, refused": 7}
    assert all(
        ":3: the summary promises 4,529 ipv4 records, the file has 4,526 (3 fewer); " in line for line in done.said
    )
    assert not any(word in line for line in done.said for word in ("cut short", "altered"))
    kept = [line[:10] for line in done.said if "its part of the set is kept" in line]
    assert kept == ["2021-07-22", "2021-07-23"], "the file of the 14th is young enough until the 21st"
    assert "afrinic: last good file is 9 days old, limit 7: its part of the set is kept; " in done.said[-1]


def test_apnics_ranges_that_are_there_twice_are_taken_once(tmp_path: Path, apnic: bytes) -> None:
    done = replayed(tmp_path, iter({"2019-04-01": apnic}.items()), "apnic", "AU")
    assert done.outcomes == {"accepted": 1}
    (line,) = done.said
    twice = (
        "lines 35937 and 35938 delegate the same addresses to AU, in 180.92.178.0-180.92.178.255; and 1 more like it"
    )
    assert line == f"2019-04-01 remark: apnic: {twice}"


def test_what_they_give_is_what_the_standard_library_gives(apnic: bytes) -> None:
    snapshot = parse([apnic], file="apnic", registry="apnic")
    assert [remark.kind for remark in snapshot.remarks] == [RemarkKind.REPEATED]
    lines = [line.split("|") for line in apnic.decode().splitlines() if "|ipv4|" in line]
    rows = [line for line in lines if len(line) > 6 and line[6] in {"allocated", "assigned"}]
    assert len(snapshot.ipv4) == len(rows) - 2
    selection = Selection(Recipe(registries=("apnic",), countries=("AU",), feeds=(), include=(), exclude=()))
    assert selection.add(snapshot) == len([row for row in rows if row[1] == "AU"]) - 2 + len(
        [row for row in snapshot.ipv6 if row.country == "AU"]
    )
    prefixes, (part,) = combine(selection, Family.IPV4)
    ends = [(IPv4Address(row[3]), IPv4Address(row[3]) + int(row[4]) - 1) for row in rows if row[1] == "AU"]
    networks = [network for first, last in ends for network in summarize_address_range(first, last)]
    expected = [str(network) for network in collapse_addresses(networks)]
    assert [format_prefix(prefix, Family.IPV4) for prefix in prefixes] == expected
    assert part.addresses == count(spans(prefixes, Family.IPV4))


def test_a_file_of_lacnics_that_promises_the_reserved_asns_too_is_read_with_two_remarks() -> None:
    """The plain file has no available and reserved records, and yet its summary counts those of AS numbers."""
    raw = lzma.decompress((DATA / "rir-2018-10-13" / "delegated-lacnic-extended-latest.xz").read_bytes())
    whole = parse([raw], file="lacnic", registry="lacnic")
    lines = [line for line in raw.splitlines(keepends=True) if b"|asn|" not in line or b"|reserved" not in line]
    left = parse([b"".join(lines)], file="lacnic", registry="lacnic")
    assert whole.remarks == ()
    assert [remark.kind for remark in left.remarks] == [RemarkKind.TOTAL, RemarkKind.ASN_COUNT]
    assert all(" fewer)" in remark.text for remark in left.remarks)
    assert (left.ipv4, left.ipv6) == (whole.ipv4, whole.ipv6)
