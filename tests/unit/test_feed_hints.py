"""What is said of a feed's file that is of another format than the configuration says: what it is, and what to do."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.errors import ParseError
from fwfeed.feeds import Feed, Format, parse
from tests.unit.builders import World, delegated, world
from tests.unit.test_feed_formats import SAMPLES, sample

DROP_JSON = b'{"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"apnic"}\n{"cidr":"198.51.100.0/24","sblid":"SBL2"}\n'
ORACLE = json.dumps({"regions": [{"region": "ap-tokyo-1", "cidrs": [{"cidr": "192.0.2.0/24"}]}]}, indent=4).encode()
GITHUB = b'{"verifiable_password_authentication":false,"hooks":["192.0.2.0/24"]}'
UNKNOWN = "JSON, of no provider that fwfeed knows"

CASES: dict[str, tuple[bytes, str, str]] = {
    "AWS": (sample(Format.AWS), 'AWS\'s JSON, which format = "aws" reads', 'set format = "aws"'),
    "AWS on one line": (
        json.dumps(json.loads(sample(Format.AWS))).encode(),
        'AWS\'s JSON, which format = "aws" reads',
        'set format = "aws"',
    ),
    "Google": (sample(Format.GCP), 'Google\'s JSON, which format = "gcp" reads', 'set format = "gcp"'),
    "goog.json": (
        (SAMPLES / "goog.json").read_bytes(),
        'Google\'s JSON, which format = "gcp" reads',
        'set format = "gcp"',
    ),
    "another provider": (ORACLE, UNKNOWN, 'format = "aws" and "gcp" read JSON of theirs; of any other make a list'),
    "another provider on one line": (GITHUB, UNKNOWN, 'format = "aws" and "gcp" read JSON of theirs'),
    "a list of strings": (b'["192.0.2.0/24", "198.51.100.0/24"]', UNKNOWN, 'format = "aws" and "gcp" read JSON'),
    "a list, line by line": (b'[\n  "192.0.2.0/24"\n]\n', UNKNOWN, 'format = "aws" and "gcp" read JSON of theirs'),
    "behind a byte order mark": (b"\xef\xbb\xbf" + ORACLE, UNKNOWN, 'format = "aws" and "gcp" read JSON of theirs'),
    "a long line of JSON": (b'{"prefixes": [' + b'"192.0.2.0/24", ' * 9000, UNKNOWN, 'format = "aws" and "gcp"'),
    "JSON lines": (
        DROP_JSON,
        "JSON lines, a document in each",
        "make a list of it, one address, CIDR or FIRST-LAST a line",
    ),
    "a geofeed": (
        sample(Format.GEOFEED),
        'a geofeed (RFC 8805), which format = "geofeed" reads',
        'set format = "geofeed"',
    ),
    "a quoted geofeed": (
        b'"2001:db8::/32","JP","JP-13","Tokyo",""\n',
        'a geofeed (RFC 8805), which format = "geofeed" reads',
        'set format = "geofeed"',
    ),
    "ranges in two columns": (
        b"192.0.2.0,192.0.2.255,JP\n",
        "a table of ranges (CSV)",
        "make a list of it, one address",
    ),
    "quoted ranges": (b'"192.0.2.0","192.0.2.255","JP"\n', "a table of ranges (CSV)", "make a list of it, one address"),
    "ranges between tabs": (b"192.0.2.0\t192.0.2.255\tJP\n", "a table of ranges (CSV)", "make a list of it"),
    "ranges as numbers": (b'"3221225984","3221226239","JP"\n', "CSV", 'format = "geofeed" reads CSV of RFC 8805; of'),
    "a table with a header": (b"network,geoname_id\n192.0.2.0/24,1861060\n", "CSV", 'format = "geofeed" reads CSV'),
    "a table with a header, and tabs": (
        b"network\tcountry code\n192.0.2.0/24\tJP\n",
        "a table with tabs between its columns (CSV)",
        "make a list of it, one address",
    ),
    "a table with a header, and semicolons": (
        b'"id";"network"\r\n"1";"2001:db8::/32"\r\n',
        "a table with semicolons between its columns (CSV)",
        "make a list of it, one address",
    ),
    "a list of numbers": (b"[1,2]\n", UNKNOWN, 'format = "aws" and "gcp" read JSON of theirs'),
    "a list of one number": (b"[ -1.5e3 ]", UNKNOWN, 'format = "aws" and "gcp" read JSON of theirs'),
    "a list of nulls": (b"[null,\ntrue]", UNKNOWN, 'format = "aws" and "gcp" read JSON of theirs'),
    "null": (b"null\n", UNKNOWN, 'format = "aws" and "gcp" read JSON of theirs'),
    "false": (b"false", UNKNOWN, 'format = "aws" and "gcp" read JSON of theirs'),
    "a string": (b'"no \\"such\\" list"\n', UNKNOWN, 'format = "aws" and "gcp" read JSON of theirs'),
    "bare prefixes in brackets": (
        b"[192.0.2.0/24, 198.51.100.0/24]\n",
        "a list in brackets, as in JSON, but without quotes",
        "make a list of it, one address, CIDR or FIRST-LAST a line, without brackets and commas",
    ),
    "bare prefixes in brackets, line by line": (
        b"[\n  2001:db8::/32\n]\n",
        "a list in brackets, as in JSON, but without quotes",
        "make a list of it",
    ),
    "a delegated file": (
        delegated("apnic", ["JP|ipv4|192.0.2.0|256|20100101|allocated"]),
        "a registry's delegated file",
        "take the feed out, and name the registry in [sources] registries",
    ),
    "columns": (
        b"192.0.2.0/24  AS64496  EXAMPLE\n",
        "a table",
        "make a list of it, one address, CIDR or FIRST-LAST a line;",
    ),
    "gzip": (gzip.compress(b"192.0.2.0/24\n"), "gzip data", "only what a URL ending in .gz names is unpacked"),
    "bzip2": (bz2.compress(b"192.0.2.0/24\n"), "bzip2 data", "only what a URL ending in .bz2 names is unpacked"),
    "xz": (lzma.compress(b"192.0.2.0/24\n"), "xz data", "only what a URL ending in .xz names is unpacked"),
    "ZIP": (b"PK\x03\x04\x14\0\0\0", "a ZIP archive", "unpack it"),
    "UTF-16": ("192.0.2.0/24\n".encode("utf-16"), "UTF-16 text", "save it as UTF-8"),
}


def refusal(raw: bytes, format_: Format = Format.PLAIN) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse(raw, feed=Feed(name="x", url="https://example.net/", format=format_), file="feed")
    assert caught.value.message.isprintable()
    return caught.value


@pytest.mark.parametrize(("raw", "what", "way_out"), CASES.values(), ids=CASES)
def test_another_format_given_to_a_plain_feed_is_named_with_what_to_do(raw: bytes, what: str, way_out: str) -> None:
    error = refusal(raw)
    assert error.message.endswith(f"; this looks like {what}")
    assert error.way_out.startswith(way_out)
    commented = refusal(b"# a comment\n\n" + raw.removeprefix(b"\xef\xbb\xbf")) if raw[:1].isascii() else error
    assert ("this looks like" in commented.message) is (raw[:2] not in {b"BZ", b"PK", b"\x1f\x8b"})


@pytest.mark.parametrize(
    ("format_", "raw", "what"),
    [
        (Format.AWS, sample(Format.GCP), 'Google\'s JSON, which format = "gcp" reads'),
        (Format.GCP, sample(Format.AWS), 'AWS\'s JSON, which format = "aws" reads'),
        (Format.AWS, b"# mine\n192.0.2.0/24 # office\n", 'a plain list, which format = "plain" reads'),
        (Format.GCP, sample(Format.GEOFEED), 'a geofeed (RFC 8805), which format = "geofeed" reads'),
        (Format.AWS, DROP_JSON, "JSON lines, a document in each"),
        (Format.GEOFEED, sample(Format.AWS), 'AWS\'s JSON, which format = "aws" reads'),
        (Format.GEOFEED, ORACLE, UNKNOWN),
        (Format.GEOFEED, b"192.0.2.0,192.0.2.255,JP\n", "a table of ranges (CSV)"),
    ],
)
def test_any_format_given_to_a_feed_of_another_is_named(format_: Format, raw: bytes, what: str) -> None:
    assert refusal(raw, format_).message.endswith(f"; this looks like {what}")


@pytest.mark.parametrize(
    ("format_", "raw"),
    [
        (Format.PLAIN, b"192.0.2.0/24\n198.51.100.0/24,\n"),
        (Format.PLAIN, b"192.0.2.0/33\n"),
        (Format.PLAIN, b"[2001:db8::1]\n"),
        (Format.PLAIN, b"office\n"),
        (Format.PLAIN, b"office; ours\n192.0.2.0/24\n"),
        (Format.PLAIN, b"nullify\n"),
        (Format.AWS, b"{}"),
        (Format.GCP, ORACLE),
        (Format.GEOFEED, b"192.0.2.0/24,JP\n192.0.2.0/24,DE\n"),
        (Format.GEOFEED, b"192.0.2.0/24\n\xff\n"),
    ],
)
def test_a_slip_in_a_file_of_the_right_format_is_told_as_one(format_: Format, raw: bytes) -> None:
    assert "this looks like" not in refusal(raw, format_).message


def test_what_a_plain_list_is_allowed_to_be_stays_allowed() -> None:
    drop = b"; Spamhaus DROP List\n; Last-Modified: today\n192.0.2.0/24 ; SBL1\n198.51.100.0/24 ; SBL2\n"
    listing = parse(drop, feed=Feed(name="x", url="https://example.net/", format=Format.PLAIN), file="feed")
    assert len(listing.ipv4) == 2


@given(st.binary(max_size=200), st.sampled_from(Format))
def test_no_bytes_break_the_guess(raw: bytes, format_: Format) -> None:
    with suppress(ParseError):
        parse(raw, feed=Feed(name="x", url="https://example.net/", format=format_), file="feed")


@pytest.fixture
def made(tmp_path: Path) -> World:
    return world(tmp_path)


def test_the_hint_is_shown_and_nothing_moves(made: World) -> None:
    folder = made.root / "lists.d"
    folder.mkdir()
    (folder / "a").write_text("192.0.2.0/24\n")
    (folder / "b").write_bytes(sample(Format.AWS))
    for url, place in ((f"{folder.as_uri()}", f"{folder.as_uri()}/b:1"), ((folder / "b").as_uri(),) * 2):
        made.configure(set_table='include = ["mine"]', more=f'[[feed]]\nname = "mine"\nurl = "{url}"\n')
        ended = made.run("fetch")
        assert ended.code == 3
        assert ended.err.startswith(f"fwfeed: mine: {place}")
        assert '; this looks like AWS\'s JSON, which format = "aws" reads\n' in ended.err
        assert ended.err.endswith('fwfeed: way out: set format = "aws"\n')
        assert not (made.state / "candidate" / "candidate.json").exists()
        assert not [path for path in made.cache.rglob("*") if path.is_file()]
