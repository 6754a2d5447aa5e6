"""The parsers of feeds: what each format means, and the place and reason named for each way a file can be wrong."""

from __future__ import annotations

import json
from datetime import date
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.errors import ExitCode, ParseError, quote
from fwfeed.feeds import Feed, Format, parse
from fwfeed.model import Listed, Listing
from fwfeed.prefixes import Family, cover, format_address, format_prefix, parse_address
from tests.unit.builders import CHECKOUT

FILE = "feed"
SAMPLES = CHECKOUT / "tests/data/feeds"
SAMPLE_OF = {
    Format.PLAIN: "plain.txt",
    Format.AWS: "aws.json",
    Format.GCP: "gcp.json",
    Format.GEOFEED: "geofeed.csv",
}
TEXTS = (Format.PLAIN, Format.GEOFEED)
DOCUMENTS = (Format.AWS, Format.GCP)
HTML = "this is HTML, not a list: an error page, or a captive portal's"


def read(raw: bytes | str, format_: Format = Format.PLAIN, **filters: Any) -> Listing:
    feed = Feed(name="x", url="https://example.net/", format=format_, **filters)
    return parse(raw.encode() if isinstance(raw, str) else raw, feed=feed, file=FILE)


def refusal(raw: bytes | str, format_: Format = Format.PLAIN, **filters: Any) -> tuple[int, str]:
    """Return the line and the message of the refusal, its place taken off."""
    with pytest.raises(ParseError) as caught:
        read(raw, format_, **filters)
    error = caught.value
    assert error.code is ExitCode.REFUSED
    assert error.file == FILE
    assert str(error).isprintable()
    assert error.way_out
    place = f"{FILE}:{error.line}: " if error.line else f"{FILE}: "
    assert str(error).startswith(place)
    return error.line, str(error).removeprefix(place)


def sample(format_: Format) -> bytes:
    return (SAMPLES / SAMPLE_OF[format_]).read_bytes()


def entry(first: str, last: str, line: int) -> Listed:
    family = Family.IPV6 if ":" in first else Family.IPV4
    return Listed(parse_address(first, family), parse_address(last, family), line)


def rows_of(listing: Listing) -> list[tuple[str, int]]:
    """Return the entries as the prefixes that cover each, and their lines."""
    return [
        (format_prefix(prefix, family), line)
        for family in Family
        for first, last, line in listing.listed(family)
        for prefix in cover([(first, last)], family)
    ]


# Plain lists


def test_a_plain_list_is_read_with_all_that_people_write() -> None:
    assert read(sample(Format.PLAIN)) == Listing(
        serial=None,
        made=None,
        records=7,
        discarded=0,
        ipv4=[
            entry("192.0.2.0", "192.0.2.255", 4),
            entry("198.51.100.1", "198.51.100.1", 5),
            entry("198.18.0.0", "198.18.3.255", 6),
            entry("203.0.113.16", "203.0.113.31", 7),
        ],
        ipv6=[
            entry("2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", 9),
            entry("2001:db8:2::1", "2001:db8:2::1", 10),
            entry("2001:db8:3::", "2001:db8:3::ffff", 11),
        ],
    )


@pytest.mark.parametrize(
    "raw", [b"", b"\n\r\n \t\n", b"# nothing\n;\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf# \xe3\x81\x82"]
)
def test_an_empty_list_is_a_list(raw: bytes) -> None:
    assert read(raw) == Listing(serial=None, made=None, records=0, discarded=0, ipv4=[], ipv6=[])


@pytest.mark.parametrize(
    "text",
    [
        "192.0.2.1",
        "\ufeff192.0.2.1",
        "\ufeff \t192.0.2.1\t \r\n",
        "192.0.2.1#x",
        "192.0.2.1 ;#\x01\x7f\u0085\u2028 é",
        "192.0.2.1/32",
        "192.0.2.1-192.0.2.1",
        "192.0.2.1 \t-\t 192.0.2.1",
    ],
)
def test_one_address_may_be_written_in_many_ways(text: str) -> None:
    assert read(text).ipv4 == [entry("192.0.2.1", "192.0.2.1", 1)]


@pytest.mark.parametrize("text", ["2001:db8::c000:201", "2001:DB8:0::192.0.2.1", "2001:0db8:0:0:0:0:c000:0201/128"])
def test_an_ipv6_address_may_be_written_in_many_ways(text: str) -> None:
    assert read(text).ipv6 == [entry("2001:db8::c000:201", "2001:db8::c000:201", 1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("192.0.2.1/24", "'192.0.2.1/24' has bits set behind its length; did you mean 192.0.2.0/24?"),
        ("2001:db8::1/32", "'2001:db8::1/32' has bits set behind its length; did you mean 2001:db8::/32?"),
        ("192.0.2.1/0", "'192.0.2.1/0' has bits set behind its length; did you mean 0.0.0.0/0?"),
        ("0.0.0.0/0", "'0.0.0.0/0' is the whole address space"),
        ("::/0", "'::/0' is the whole address space"),
        ("0.0.0.0-255.255.255.255", "'0.0.0.0-255.255.255.255' is the whole address space"),
        ("192.0.2.0/33", "'192.0.2.0/33' has no prefix length of 0 to 32"),
        ("192.0.2.0/024", "'192.0.2.0/024' has no prefix length of 0 to 32"),
        ("192.0.2.0/", "'192.0.2.0/' has no prefix length of 0 to 32"),
        ("192.0.2.0/+8", "'192.0.2.0/+8' has no prefix length of 0 to 32"),
        ("192.0.2.0/\u0668", "'192.0.2.0/\\u0668' has no prefix length of 0 to 32"),
        ("192.0.2.0/255.255.255.0", "'192.0.2.0/255.255.255.0' has no prefix length of 0 to 32"),
        ("2001:db8::/129", "'2001:db8::/129' has no prefix length of 0 to 128"),
        ("192.0.2.01", "'192.0.2.01' is neither an address nor a CIDR"),
        ("192.0.2.256", "'192.0.2.256' is neither an address nor a CIDR"),
        ("192.0.2", "'192.0.2' is neither an address nor a CIDR"),
        ("192.0.2.0 /24", "'192.0.2.0 /24' is neither an address nor a CIDR"),
        ("192.0.2.1 192.0.2.2", "'192.0.2.1 192.0.2.2' is neither an address nor a CIDR"),
        ("192.0.2.1,", "'192.0.2.1,' is neither an address nor a CIDR"),
        ("fe80::1%eth0", "'fe80::1%eth0' is neither an address nor a CIDR"),
        ("2001:db8:::", "'2001:db8:::' is neither an address nor a CIDR"),
        ("example.net", "'example.net' is neither an address nor a CIDR"),
        ("\u3000192.0.2.1", "'\\u3000192.0.2.1' is neither an address nor a CIDR"),
        ("192.0.2.1\ufeff", "'192.0.2.1\\ufeff' is neither an address nor a CIDR"),
        ("192.0.2.9-192.0.2.1", "'192.0.2.9-192.0.2.1' ends before it begins"),
        ("192.0.2.1 - 2001:db8::", "'192.0.2.1 - 2001:db8::' mixes IPv4 and IPv6"),
        ("192.0.2.1-", "'192.0.2.1-' is not a range of two addresses"),
        ("192.0.2.0/25-192.0.2.255", "'192.0.2.0/25-192.0.2.255' is not a range of two addresses"),
        ("192.0.2.1-192.0.2.2-192.0.2.3", "'192.0.2.1-192.0.2.2-192.0.2.3' is not a range of two addresses"),
        ("192.0.2.1-9", "'192.0.2.1-9' is not a range of two addresses"),
        ("x" * 70, f"'{'x' * 60}...' is neither an address nor a CIDR"),
    ],
)
def test_what_is_not_a_range_is_refused_with_its_line(text: str, message: str) -> None:
    assert refusal(f"# list\r\n\n198.51.100.1\n{text}\n") == (4, message)


# What text feeds have in common


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("raw", [b"<!DOCTYPE html>", b"\xef\xbb\xbf <html>\xff", b"  <?xml?>"])
def test_html_and_xml_are_no_feed(format_: Format, raw: bytes) -> None:
    said = HTML.replace("HTML", "XML") if b"xml" in raw else HTML
    assert refusal(raw, format_) == (1, said)
    assert refusal(b"\n\r\n\t" + raw.removeprefix(b"\xef\xbb\xbf"), format_) == (3, said)


@pytest.mark.parametrize("format_", TEXTS)
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"# \xff", "byte 0xff is not UTF-8"),
        (b"192.0.2.1 # \xe3\x81", "byte 0xe3 is not UTF-8"),
        (b"\xed\xa0\x80", "byte 0xed is not UTF-8"),
        (b"#\0", "control character 0x00"),
        (b"# old\r192.0.2.9", "control character 0x0d"),
        (b"192.0.2.9\r", "control character 0x0d"),
        (b"192.0.2.9,\x0b", "control character 0x0b: '192.0.2.9,\\x0b'"),
        (b"\x0c# page", "control character 0x0c: '\\x0c'"),
        (b"\x7f", "control character 0x7f: '\\x7f'"),
        (b"1" * 4097, "an entry of more than 4,096 bytes"),
    ],
)
def test_what_is_no_text_is_refused_with_its_line(format_: Format, raw: bytes, message: str) -> None:
    assert refusal(b"# feed\n" + raw, format_) == (2, message)


def test_bytes_that_are_not_utf8_are_found_across_the_pieces_a_long_file_is_checked_in() -> None:
    filler = b"#" + b"\xe3\x81\x82" * (1 << 19) + b"\n"
    assert read(filler * 2 + b"192.0.2.1").ipv4 == [entry("192.0.2.1", "192.0.2.1", 3)]
    assert refusal(filler * 2 + b"# \xe3\x81\n") == (3, "byte 0xe3 is not UTF-8")
    for position in range((1 << 20) - 4, (1 << 20) + 4):
        raw = b"#" * (position - 1) + b"\n\xe3\x81x"
        assert refusal(raw) == (2, "byte 0xe3 is not UTF-8")


def test_a_byte_order_mark_is_none_after_the_beginning() -> None:
    assert refusal("192.0.2.1\n\ufeff192.0.2.2") == (2, "'\\ufeff192.0.2.2' is neither an address nor a CIDR")


@pytest.mark.parametrize("format_", TEXTS)
def test_a_feed_has_at_most_200_000_entries(format_: Format) -> None:
    line = b"192.0.2.0,JP\n" if format_ is Format.GEOFEED else b"192.0.2.0\n"
    assert read(line * 200_000, format_).records == 200_000
    assert refusal(b"#\n" + line * 200_001, format_) == (200_002, "more than the 200,000 entries a feed may have")


# Geofeeds


def test_a_geofeed_gives_the_ranges_of_a_country_without_what_nested_entries_say_otherwise() -> None:
    listing = read(sample(Format.GEOFEED), Format.GEOFEED, countries=("JP",))
    assert (listing.serial, listing.made, listing.records, listing.discarded) == (None, None, 12, 1)
    assert rows_of(listing) == [
        ("192.0.2.0/26", 3),
        ("192.0.2.128/25", 4),
        ("192.0.2.80/28", 6),
        ("198.51.100.7/32", 8),
        ("198.18.0.0/24", 10),
        ("198.18.2.0/23", 10),
        ("198.18.4.0/22", 10),
        ("198.18.8.0/21", 10),
        ("198.18.16.0/20", 10),
        ("198.18.32.0/19", 10),
        ("198.18.64.0/18", 10),
        ("198.18.128.0/17", 10),
        ("198.19.0.0/16", 10),
        ("2001:db8:1::/64", 14),
        ("2001:db8:1:2::/63", 14),
        *[(f"2001:db8:1:{1 << bit:x}::/{64 - bit}", 14) for bit in range(2, 16)],
    ]


def test_without_a_filter_a_geofeed_gives_all_that_has_a_country() -> None:
    text = "192.0.2.0/24,JP\n192.0.2.128/25,\n198.51.100.0/24,de\n203.0.113.0/24,ZZ\n"
    assert rows_of(read(text, Format.GEOFEED)) == [("192.0.2.0/25", 1), ("198.51.100.0/24", 3)]


def test_a_country_that_a_geofeed_has_not_today_gives_nothing() -> None:
    listing = read("192.0.2.0/24,DE", Format.GEOFEED, countries=("JP",))
    assert (listing.records, listing.ipv4, listing.ipv6) == (1, [], [])


@pytest.mark.parametrize(
    "text", ["192.0.2.0/24,jp", '"192.0.2.0/24","JP"', " 192.0.2.0/24 , Jp ,", "192.0.2.0/24,JP,a,b,c,d"]
)
def test_fields_may_be_quoted_padded_in_any_case_and_more_than_five(text: str) -> None:
    assert rows_of(read(text, Format.GEOFEED, countries=("jp",))) == [("192.0.2.0/24", 1)]


@pytest.mark.parametrize(
    "line",
    [
        "example.net,JP",
        ",JP,,,",
        "192.0.2.1/24,JP",
        "192.0.2.0-192.0.2.9,JP",
        "0.0.0.0/0,JP",
        "::/0,JP",
        "192.0.2.0/25,JPN",
        "192.0.2.0/25,J1",
        "192.0.2.0/25,\u00df",  # upper() makes SS of it, which is South Sudan
        "192.0.2.0/25,\u0131t",  # and IT of this
        '"192.0.2.0/25,JP',
    ],
)
def test_an_entry_that_cannot_be_read_is_discarded_and_counted(line: str) -> None:
    listing = read(f"{line}\n192.0.2.0/24,DE\n", Format.GEOFEED)
    assert (listing.records, listing.discarded, rows_of(listing)) == (1, 1, [("192.0.2.0/24", 2)])


def test_a_geofeed_of_which_more_is_discarded_than_kept_is_refused() -> None:
    text = "# x\nprefix,country\n192.0.2.0/24,JP\n192.0.2.1/24,JP\n"
    message = "2 of 3 entries cannot be read; this is the first: 'prefix' is neither an address nor a CIDR"
    assert refusal(text, Format.GEOFEED) == (2, message)
    message = "1 of 1 entries cannot be read; this is the first: country 'JPN' is not two letters or empty"
    assert refusal("192.0.2.0/24,JPN", Format.GEOFEED) == (1, message)


def test_a_prefix_that_is_there_twice_may_not_be_in_two_countries() -> None:
    listing = read("192.0.2.0/24,JP,JP-13\n192.0.2.0/24,jp,JP-27\n", Format.GEOFEED)
    assert (listing.records, rows_of(listing)) == (2, [("192.0.2.0/24", 1)])
    twice = "192.0.2.1,JP\n\n192.0.2.1/32,DE\n"
    assert refusal(twice, Format.GEOFEED) == (3, "192.0.2.1/32 is in DE here, but is in JP on line 1")
    twice = "2001:db8::/32,\n2001:DB8::/32,DE\n"
    assert refusal(twice, Format.GEOFEED) == (2, "2001:db8::/32 is in DE here, but has no country on line 1")
    assert read("192.0.2.1,ZZ\n192.0.2.1,\n", Format.GEOFEED).records == 2


BASE = {Family.IPV4: parse_address("192.0.2.0", Family.IPV4), Family.IPV6: parse_address("2001:db8::", Family.IPV6)}
located = st.dictionaries(
    st.tuples(st.sampled_from(Family), st.integers(0, 63), st.integers(0, 6)).map(
        lambda drawn: (drawn[0], drawn[1] >> drawn[2] << drawn[2], drawn[2])
    ),
    st.sampled_from(["JP", "jp", "DE", "US", "", "ZZ"]),
)


@given(located, st.sampled_from([(), ("JP",), ("JP", "US"), ("FR",)]), st.data())
def test_the_most_specific_entry_is_right_for_every_address(
    entries: dict[tuple[Family, int, int], str], countries: tuple[str, ...], data: st.DataObject
) -> None:
    lines = data.draw(st.permutations(list(entries)))
    text = "".join(
        f"{format_address(BASE[family] + first, family)}/{family.bits - size},{entries[family, first, size]}\n"
        for family, first, size in lines
    )
    listing = read(text, Format.GEOFEED, countries=countries)
    for family in Family:
        said = {}
        for first, last, line in listing.listed(family):
            for address in range(first - BASE[family], last - BASE[family] + 1):
                assert address not in said
                said[address] = line
        for address in range(64):
            around = [(s, f) for fam, f, s in entries if fam is family and f <= address < f + (1 << s)]
            expected = None
            if around:
                size, first = min(around)
                country = entries[family, first, size].upper().replace("ZZ", "")
                if country in countries or (country and not countries):
                    expected = lines.index((family, first, size)) + 1
            assert said.get(address) == expected
        assert said.keys() <= set(range(64))


# Documents of cloud providers


def test_awss_file_gives_every_prefix_with_its_line() -> None:
    assert read(sample(Format.AWS), Format.AWS) == Listing(
        serial=1700000000,
        made=date(2023, 11, 14),
        records=9,
        discarded=0,
        ipv4=[
            entry("192.0.2.0", "192.0.2.255", 6),
            entry("198.51.100.0", "198.51.100.127", 12),
            entry("203.0.113.0", "203.0.113.63", 18),
            entry("198.18.0.0", "198.18.0.255", 24),
            entry("192.0.2.0", "192.0.2.255", 30),
            entry("203.0.113.0", "203.0.113.63", 36),
        ],
        ipv6=[
            entry("2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", 44),
            entry("2001:db8:2::", "2001:db8:2:ff:ffff:ffff:ffff:ffff", 50),
            entry("2001:db8:1::", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", 56),
        ],
    )


@pytest.mark.parametrize(
    ("regions", "services", "lines"),
    [
        (("ap-northeast-1",), (), [6, 12, 30, 44, 56]),
        ((), ("AMAZON",), [6, 12, 18, 44, 50]),
        (("ap-northeast-1", "GLOBAL"), ("EC2", "CLOUDFRONT"), [24, 30, 56]),
        (("eu-central-1",), ("S3",), [36]),
    ],
)
def test_awss_filters_have_both_to_match(regions: tuple[str, ...], services: tuple[str, ...], lines: list[int]) -> None:
    listing = read(sample(Format.AWS), Format.AWS, regions=regions, services=services)
    assert [line for _prefix, line in rows_of(listing)] == lines
    assert listing.records == 9


def test_googles_files_are_read_with_and_without_scopes() -> None:
    listing = read(sample(Format.GCP), Format.GCP, scopes=("asia-northeast1", "asia-northeast2"))
    assert (listing.serial, listing.made, listing.records) == (1700000000000, date(2023, 11, 14), 5)
    assert rows_of(listing) == [("192.0.2.0/25", 5), ("198.51.100.0/24", 13), ("2001:db8:1::/48", 9)]
    goog = (SAMPLES / "goog.json").read_bytes()
    assert [line for _prefix, line in rows_of(read(goog, Format.GCP))] == [5, 7, 9]
    assert refusal(goog, Format.GCP, scopes=("x",)) == (0, "no prefix of scope 'x'; no prefix has a scope")


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"regions": ("ap-northeast1",)}, "no prefix of region 'ap-northeast1'; did you mean ap-northeast-1?"),
        (
            {"regions": ("GLOBAL", "moon")},
            "no prefix of region 'moon'; there are GLOBAL, ap-northeast-1, eu-central-1",
        ),
        ({"services": ("amazon",)}, "no prefix of service 'amazon'; did you mean AMAZON?"),
        ({"regions": ("GLOBAL",), "services": ("S3",)}, "no prefix is of region 'GLOBAL', service 'S3' at once"),
        ({"regions": ("\x1b[2J" * 20,)}, "no prefix of region " + quote("\x1b[2J" * 20) + "; there are "),
    ],
)
def test_a_filter_that_matches_nothing_is_a_slip(filters: dict[str, tuple[str, ...]], message: str) -> None:
    line, found = refusal(sample(Format.AWS), Format.AWS, **filters)
    assert line == 0
    assert found.startswith(message)


def test_only_some_of_many_names_are_named_and_none_that_a_terminal_would_obey() -> None:
    prefixes = [aws_prefix(region=name) for name in ("\x1b[2J", "x" * 61, *map(str, range(100, 120)))]
    names = ", ".join(map(str, range(100, 108)))
    assert refusal(aws(prefixes), Format.AWS, regions=("moon",)) == (
        0,
        f"no prefix of region 'moon'; there are {names}, ...",
    )


def test_a_filter_of_a_file_without_prefixes_matches_nothing_and_is_no_slip() -> None:
    assert read(aws([]), Format.AWS, regions=("moon",)).records == 0


def aws_prefix(text: str = "192.0.2.0/24", /, **labels: Any) -> dict[str, Any]:
    return {"ip_prefix": text, "region": "GLOBAL", "service": "AMAZON", **labels}


def aws(prefixes: list[Any], /, **top: Any) -> str:
    document = {
        "syncToken": "1",
        "createDate": "2023-11-14-22-13-20",
        "prefixes": prefixes,
        "ipv6_prefixes": [],
    }
    return json.dumps({key: value for key, value in (document | top).items() if value is not ...}, indent=1)


def gcp(prefixes: list[Any], /, **top: Any) -> str:
    document = {"syncToken": "1", "creationTime": "2023-11-14T22:13:20.000001", "prefixes": prefixes}
    return json.dumps({key: value for key, value in (document | top).items() if value is not ...}, indent=1)


NOT_A_TIME = "is not a time (YYYY-MM-DD-HH-MM-SS)"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "not JSON: Expecting value"),
        ('{"a": 1,\n2}', 2, "not JSON: Expecting property name enclosed in double quotes"),
        ("\ufeff{}", 1, "not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig)"),
        ("[]", 0, "the document is a list, not an object"),
        ("null", 0, "the document is null, not an object"),
        ('{"a": {"b": 1, "b\\u000a": 2, "b": 3}}', 0, "'b' is there twice in one object"),
        ('{"a": NaN}', 0, "NaN is not JSON"),
        ('{"a": -Infinity}', 0, "-Infinity is not JSON"),
        ('{"a": ' + "1" * 5000 + "}", 0, "a number of 5,000 digits"),
        ("[" * 100_000, 0, "not a list of prefixes: nested too deep"),
        ('{"a":' * 100_000, 0, "not a list of prefixes: nested too deep"),
        ("\n" + "[" * 600_001, 2, "the document has more than 600,000 values"),
        ("{}", 0, "syncToken is missing"),
        (aws([], syncToken=1), 0, "syncToken is a number, not a string"),
        (aws([], syncToken="-1"), 0, "syncToken: '-1' is not a number"),
        (aws([], syncToken="\u0661"), 0, "syncToken: '\\u0661' is not a number"),
        (aws([], syncToken="1" * 21), 0, "syncToken: '111111111111111111111' is not a number"),
        (aws([], createDate=...), 0, "createDate is missing"),
        (aws([], createDate="2023-02-29-00-00-00"), 0, f"createDate: '2023-02-29-00-00-00' {NOT_A_TIME}"),
        (aws([], createDate="2023-02-28"), 0, f"createDate: '2023-02-28' {NOT_A_TIME}"),
        (aws([], createDate="2023-02-28-24-00-00"), 0, f"createDate: '2023-02-28-24-00-00' {NOT_A_TIME}"),
        (aws([], prefixes=...), 0, "prefixes is missing"),
        (aws([], ipv6_prefixes=...), 0, "ipv6_prefixes is missing"),
        (aws([], prefixes={}), 0, "prefixes is an object, not a list"),
        (aws([], ipv6_prefixes=False), 0, "ipv6_prefixes is a boolean, not a list"),
        (aws([aws_prefix(), 1.5]), 0, "prefixes[1] is a number, not an object"),
        (aws([{}]), 0, "prefixes[0].ip_prefix is missing"),
        (aws([aws_prefix(ip_prefix=None)]), 0, "prefixes[0].ip_prefix is null, not a string"),
        (aws([aws_prefix(region=["GLOBAL"])]), 0, "prefixes[0].region is a list, not a string"),
        (aws([{"ip_prefix": "192.0.2.0/24", "region": "GLOBAL"}]), 0, "prefixes[0].service is missing"),
        (
            aws([aws_prefix(), aws_prefix("198.51.100.4/8")]),
            11,
            "prefixes[1].ip_prefix: '198.51.100.4/8' has bits set behind its length; did you mean 198.0.0.0/8?",
        ),
        (aws([aws_prefix("0.0.0.0/0")]), 6, "prefixes[0].ip_prefix: '0.0.0.0/0' is the whole address space"),
        (aws([aws_prefix("2001:db8::/32")]), 6, "prefixes[0].ip_prefix: '2001:db8::/32' is not of IPv4"),
        (
            aws([aws_prefix("192.0.2.1-192.0.2.2")]),
            6,
            "prefixes[0].ip_prefix: '192.0.2.1-192.0.2.2' is neither an address nor a CIDR",
        ),
        (
            aws([], ipv6_prefixes=[aws_prefix(ipv6_prefix="192.0.2.0/24")]),
            10,
            "ipv6_prefixes[0].ipv6_prefix: '192.0.2.0/24' is not of IPv6",
        ),
    ],
)
def test_a_document_of_another_form_is_refused_with_its_place(text: str, line: int, message: str) -> None:
    assert refusal(text, Format.AWS) == (line, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (gcp([{}]), "prefixes[0] has neither ipv4Prefix nor ipv6Prefix"),
        (
            gcp([{"ipv4Prefix": "192.0.2.0/24", "ipv6Prefix": "2001:db8::/32"}]),
            "prefixes[0] has both ipv4Prefix and ipv6Prefix",
        ),
        (gcp([{"ipv4Prefix": "192.0.2.0/24", "scope": 1}]), "prefixes[0].scope is a number, not a string"),
        (gcp([], creationTime="20231114"), "creationTime: '20231114' is not a time (YYYY-MM-DDTHH:MM:SS)"),
        (gcp([], prefixes=...), "prefixes is missing"),
    ],
)
def test_a_document_google_would_not_write_is_refused(text: str, message: str) -> None:
    assert refusal(text, Format.GCP) == (0, message)


@pytest.mark.parametrize("time", ["2023-11-14T22:13:20", "2023-11-14T22:13:20.1Z", "2023-11-14T22:13:20.123456+00:00"])
def test_googles_time_may_have_a_fraction_and_a_zone(time: str) -> None:
    assert read(gcp([], creationTime=time), Format.GCP).made == date(2023, 11, 14)


def test_bytes_of_a_document_that_are_not_utf8_are_refused_with_their_line() -> None:
    assert refusal(b'{\n"a": "\xff"}', Format.AWS) == (2, "byte 0xff is not UTF-8")


def test_a_document_has_at_most_200_000_prefixes() -> None:
    prefixes = [{"ipv4Prefix": "192.0.2.0"}] * 200_000
    assert read(gcp(prefixes), Format.GCP).records == 200_000
    _line, message = refusal(gcp([*prefixes, {"ipv4Prefix": "192.0.2.0"}]), Format.GCP)
    assert message == "prefixes[200000]: more than the 200,000 entries a feed may have"


def test_the_line_is_that_of_the_prefix_whatever_its_escapes_and_the_names_around_it() -> None:
    lines = [
        '{"syncToken": "1", "createDate": "2023-11-14-22-13-20", "ipv6_prefixes": [],',
        '"note": "\\"ip_prefix\\": \\"192.0.2.0/24\\"", "x\\"ip_prefix": "192.0.2.0/24",',
        '"prefixes": [{"region": "ip_prefix", "service": "",',
        '"ip_prefix"',
        ':  "192.0.2.0\\/24"}, {"region": "", "service": "", "ip_\\u0070refix": "198.51.100.0"}]}',
    ]
    assert rows_of(read("\r\n".join(lines), Format.AWS)) == [("192.0.2.0/24", 5), ("198.51.100.0/32", 0)]


def test_where_the_key_stands_elsewhere_too_the_line_is_still_one_that_has_the_prefix() -> None:
    text = aws([aws_prefix(), aws_prefix("198.51.100.1")], note={"ip_prefix": "198.51.100.1"})
    assert rows_of(read(text, Format.AWS)) == [("192.0.2.0/24", 6), ("198.51.100.1/32", 11)]
    before = json.loads(text)
    text = json.dumps({"note": before.pop("note"), **before}, indent=1)
    assert rows_of(read(text, Format.AWS)) == [("192.0.2.0/24", 9), ("198.51.100.1/32", 3)]


names = st.sampled_from(["tokyo", "osaka", "berlin", "\u6771\u4eac"])
ipv4s = st.integers(0, 255).map(lambda last: f"192.0.2.{last}")
ipv6s = st.integers(0, 0xFFFF).map(lambda last: f"2001:db8::{last:x}")


@given(
    st.lists(st.tuples(ipv4s, names, names)),
    st.lists(st.tuples(ipv6s, names, names)),
    st.sets(names),
    st.sets(names),
    st.sampled_from([None, 0, 3]),
)
def test_awss_filter_is_that_of_a_list_comprehension(
    ipv4: list[tuple[str, str, str]],
    ipv6: list[tuple[str, str, str]],
    regions: set[str],
    services: set[str],
    indent: int | None,
) -> None:
    document = {
        "prefixes": [{"ip_prefix": p, "region": r, "service": s} for p, r, s in ipv4],
        "ipv6_prefixes": [{"service": s, "region": r, "ipv6_prefix": p} for p, r, s in ipv6],
        "syncToken": "1",
        "createDate": "2023-11-14-22-13-20",
    }
    text = json.dumps(document, indent=indent)
    wanted = [p for p, r, s in (*ipv4, *ipv6) if (not regions or r in regions) and (not services or s in services)]
    known = ({r for _p, r, _s in (*ipv4, *ipv6)}, {s for _p, _r, s in (*ipv4, *ipv6)})
    filters = {"regions": tuple(regions), "services": tuple(services)}
    if (ipv4 or ipv6) and not (wanted and regions <= known[0] and services <= known[1]):
        assert refusal(text, Format.AWS, **filters)[0] == 0
        return
    found = rows_of(read(text, Format.AWS, **filters))
    assert [str(ip_network(prefix).network_address) for prefix, _line in found] == [str(ip_address(p)) for p in wanted]
    lines = text.split("\n")
    assert all(f'"{p}"' in lines[line - 1] for p, (_prefix, line) in zip(wanted, found, strict=True))


@given(st.lists(st.tuples(st.one_of(ipv4s, ipv6s), st.none() | names)), st.sets(names))
def test_googles_filter_is_that_of_a_list_comprehension(
    entries: list[tuple[str, str | None]], scopes: set[str]
) -> None:
    text = gcp(
        [
            {"ipv6Prefix" if ":" in p else "ipv4Prefix": p} | ({} if scope is None else {"scope": scope})
            for p, scope in entries
        ]
    )
    wanted = [p for p, scope in entries if not scopes or scope in scopes]
    if entries and not scopes <= {scope for _p, scope in entries}:
        assert refusal(text, Format.GCP, scopes=tuple(scopes))[0] == 0
        return
    found = rows_of(read(text, Format.GCP, scopes=tuple(scopes)))
    by_family = [p for p in wanted if ":" not in p] + [p for p in wanted if ":" in p]
    assert [prefix.partition("/")[0] for prefix, _line in found] == [str(ip_address(p)) for p in by_family]


# What holds for all of them

blanks = st.text(" \t", max_size=3)
comments = st.just("") | st.tuples(
    st.sampled_from("#;"), st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]))
).map("".join)


@st.composite
def plain_rows(draw: st.DrawFn) -> tuple[str, tuple[Family, int, int]]:
    family = draw(st.sampled_from(Family))
    first, last = sorted((draw(st.integers(1, family.last)), draw(st.integers(1, family.last))))
    size = draw(st.integers(0, family.bits - 1))
    start = first >> size << size
    match draw(st.sampled_from(["address", "range", "prefix"])):
        case "address":
            return format_address(first, family), (family, first, first)
        case "range":
            dash = f"{draw(blanks)}-{draw(blanks)}"
            return f"{format_address(first, family)}{dash}{format_address(last, family)}", (family, first, last)
        case _:
            text = f"{format_address(start, family)}/{family.bits - size}"
            return text, (family, start, start + (1 << size) - 1)


@given(
    st.lists(st.tuples(st.none() | plain_rows(), blanks, blanks, comments, st.sampled_from(["\n", "\r\n"]))),
    st.booleans(),
)
def test_a_plain_list_says_what_was_written_into_it(
    lines: list[tuple[tuple[str, tuple[Family, int, int]] | None, str, str, str, str]],
    mark: bool,  # noqa: FBT001
) -> None:
    text = "\ufeff" * mark + "".join(
        f"{before}{row[0] if row else ''}{after}{comment}{end}" for row, before, after, comment, end in lines
    )
    listing = read(text)
    for family in Family:
        assert listing.listed(family) == [
            (*row[1][1:], number) for number, (row, *_others) in enumerate(lines, 1) if row and row[1][0] is family
        ]


def only_parse_errors(raw: bytes, format_: Format) -> None:
    refused = None
    try:
        read(raw, format_)
    except ParseError as error:
        refused = error
    if refused is not None:
        assert str(refused).isprintable()
        assert 0 <= refused.line <= raw.count(b"\n") + 1


@pytest.mark.parametrize("format_", Format)
@given(raw=st.binary() | st.text('0123456789abcdef.:/-, \t\r\n#;{}[]"JPDE<\\').map(str.encode))
def test_nothing_but_parse_errors_comes_of_arbitrary_bytes(format_: Format, raw: bytes) -> None:
    only_parse_errors(raw, format_)


@pytest.mark.parametrize("format_", Format)
@given(data=st.data())
def test_nothing_but_parse_errors_comes_of_mutated_files(format_: Format, data: st.DataObject) -> None:
    raw = bytearray(sample(format_))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(raw)))
        end = min(len(raw), start + data.draw(st.integers(0, 12)))
        raw[start:end] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"", b"0", b"null", b"{}", b"\n", b'"', bytes(raw[start:end]) * 2])
        )
    only_parse_errors(bytes(raw), format_)


def test_every_format_has_a_sample() -> None:
    assert set(SAMPLE_OF) == set(Format)
    assert all(Path(SAMPLES / name).is_file() for name in SAMPLE_OF.values())
