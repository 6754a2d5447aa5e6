"""The candidate's file: read back as written, and refused for everything fwfeed would not have written."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwfeed.candidate import digest, dump, load, recipe_from_json, recipe_to_json
from fwfeed.errors import ExitCode, FwfeedError
from fwfeed.model import Candidate, Part, Recipe, Source
from fwfeed.prefixes import Family, Prefix, cover, merge, parse_prefix
from fwfeed.remark import Remark, RemarkKind

FILE = "/var/lib/fwfeed/candidate"

CANDIDATE = Candidate(
    compiled=datetime(2018, 10, 14, 3, 4, 5, tzinfo=UTC),
    recipe=Recipe(
        registries=("apnic", "arin"),
        countries=("JP",),
        feeds=("cloud aws regions=ap-northeast-1", "office plain"),
        include=("special-purpose", "office", "192.0.2.0/24"),
        exclude=("203.0.113.0/24", "cloud"),
    ),
    sources=(
        Source(
            name="apnic",
            url="https://example.net/delegated-apnic-extended-latest",
            serial=20181013,
            end_date=date(2018, 10, 12),
            sha256="0123456789abcdef" * 4,
            records=7,
            taken=4,
        ),
        Source(
            name="office",
            url="file:///etc/fwfeed/lists.d",
            serial=None,
            end_date=date(2018, 10, 14),
            sha256="fedcba9876543210" * 4,
            records=1,
            taken=1,
        ),
        Source(
            name="arin",
            url="https://example.net/delegated-arin-extended-latest",
            serial=1539403200,
            end_date=date(2018, 10, 12),
            sha256="89abcdef01234567" * 4,
            records=3,
            taken=0,
        ),
        Source(
            name="cloud",
            url="https://example.net/ip-ranges.json",
            serial=1539403200,
            end_date=date(2018, 10, 12),
            sha256="76543210fedcba98" * 4,
            records=2,
            taken=1,
        ),
    ),
    parts=(
        Part(source="apnic", term="JP", excluded=False, family=Family.IPV4, prefixes=2, addresses=512),
        Part(source="office", term="office", excluded=False, family=Family.IPV4, prefixes=1, addresses=64),
        Part(source="", term="203.0.113.0/24", excluded=True, family=Family.IPV4, prefixes=1, addresses=256),
        Part(source="apnic", term="JP", excluded=False, family=Family.IPV6, prefixes=1, addresses=2**96),
    ),
    ipv4=(parse_prefix("192.0.2.0/24", Family.IPV4), parse_prefix("198.51.100.0/24", Family.IPV4)),
    ipv6=(parse_prefix("2001:db8::/32", Family.IPV6),),
)


def refused(raw: bytes) -> str:
    with pytest.raises(FwfeedError) as caught:
        load(raw, file=FILE)
    error = caught.value
    assert str(error).startswith(f"{FILE}: not a candidate: ")
    assert error.way_out == "remove it and run: fwfeed fetch"
    assert error.code is ExitCode.FAILED
    return str(error)


def tampered(change: Callable[[Any], object]) -> bytes:
    document = json.loads(dump(CANDIDATE))
    change(document)
    return (json.dumps(document, indent=1) + "\n").encode()  # as fwfeed writes it, so that only the change can matter


def test_a_candidate_is_read_back_as_it_was_written() -> None:
    assert load(dump(CANDIDATE), file=FILE) == CANDIDATE


REMARKS = (
    Remark(RemarkKind.ASN_COUNT, "line 3: the summary promises 1 asn records, the file has 2 (1 more)"),
    Remark(RemarkKind.REPEATED, "lines 6 and 8 delegate the same addresses to JP, in 192.0.2.0-192.0.2.255"),
)
REMARKED = replace(CANDIDATE, sources=(replace(CANDIDATE.sources[0], remarks=REMARKS), *CANDIDATE.sources[1:]))


def test_what_was_remarked_on_a_file_is_read_back() -> None:
    assert load(dump(REMARKED), file=FILE) == REMARKED
    assert digest(REMARKED) == digest(CANDIDATE)


def test_a_candidate_without_remarks_is_what_an_older_fwfeed_writes_and_reads() -> None:
    sources = json.loads(dump(REMARKED))["sources"]
    assert ["remarks" in source for source in sources] == [True, False, False, False]
    assert b"remarks" not in dump(CANDIDATE)


@pytest.mark.parametrize(
    "remarks",
    [
        [],  # fwfeed leaves them out then
        1,
        None,
        "asn-count",
        ["asn-count"],
        [{"kind": "asn-count"}],
        [{"text": "x"}],
        [{"kind": "bogus", "text": "x"}],
        [{"kind": [], "text": "x"}],
        [{"kind": "asn-count", "text": 5}],
        [{"kind": "asn-count", "text": "a\nb"}],
        [{"kind": "asn-count", "text": "\x1b[2J"}],
        [{"kind": "asn-count", "text": "x" * 501}],
        [{"kind": "asn-count", "text": "x", "more": 1}],
        [{"kind": "asn-count", "text": "x"}] * 21,
        {"kind": "asn-count", "text": "x"},
    ],
)
def test_remarks_that_fwfeed_would_not_have_written_are_refused(remarks: object) -> None:
    refused(tampered(lambda document: document["sources"][0].update(remarks=remarks)))


def test_a_candidate_of_nothing_is_read_back() -> None:
    nothing = replace(CANDIDATE, parts=(), ipv4=(), ipv6=())
    assert load(dump(nothing), file=FILE) == nothing


def test_equal_candidates_give_equal_bytes() -> None:
    again = load(dump(CANDIDATE), file=FILE)
    assert again is not CANDIDATE
    assert dump(again) == dump(CANDIDATE)
    elsewhere = CANDIDATE.compiled.astimezone(timezone(timedelta(hours=9)))
    assert elsewhere == CANDIDATE.compiled
    assert dump(replace(CANDIDATE, compiled=elsewhere)) == dump(CANDIDATE)


def test_the_file_is_plain_text_that_says_what_it_holds() -> None:
    document = json.loads(dump(CANDIDATE).decode("ascii"))
    assert dump(CANDIDATE).endswith(b"}\n")
    assert document["ipv4"] == ["192.0.2.0/24", "198.51.100.0/24"]
    assert document["ipv6"] == ["2001:db8::/32"]
    assert document["compiled"] == "2018-10-14T03:04:05+00:00"


def test_a_candidate_gives_its_families_and_their_ranges() -> None:
    assert CANDIDATE.prefixes(Family.IPV4) is CANDIDATE.ipv4
    assert CANDIDATE.prefixes(Family.IPV6) is CANDIDATE.ipv6
    assert CANDIDATE.ranges(Family.IPV4) == [(0xC0000200, 0xC00002FF), (0xC6336400, 0xC63364FF)]


names = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=12)
numbers = st.integers(0, 2**128)
terms = st.lists(
    st.sampled_from(["special-purpose", "office", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32"]), max_size=3
).map(tuple)


def prefixes(family: Family) -> st.SearchStrategy[tuple[Prefix, ...]]:
    ends = st.integers(0, family.last)
    ranges = st.lists(st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair))), max_size=4)
    return ranges.map(lambda drawn: tuple(cover(merge(drawn), family)))


candidates = st.builds(
    Candidate,
    compiled=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001
        lambda time: time.replace(microsecond=0)
    ),
    recipe=st.builds(
        Recipe,
        registries=st.lists(st.sampled_from(["afrinic", "apnic", "arin"]), unique=True).map(tuple),
        countries=st.lists(st.sampled_from(["JP", "DE", "EU"]), max_size=3).map(tuple),
        feeds=st.just(("office plain",)),
        include=terms,
        exclude=terms,
    ),
    sources=st.lists(
        st.builds(
            Source,
            name=names,
            url=names,
            serial=st.none() | numbers,
            end_date=st.dates(),
            sha256=names,
            records=numbers,
            taken=numbers,
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    parts=st.lists(
        st.builds(
            Part,
            source=names,
            term=names,
            excluded=st.booleans(),
            family=st.sampled_from(Family),
            prefixes=numbers,
            addresses=numbers,
        ),
        max_size=3,
    ).map(tuple),
    ipv4=prefixes(Family.IPV4),
    ipv6=prefixes(Family.IPV6),
).map(
    lambda drawn: replace(
        drawn,
        sources=tuple(
            replace(source, name=name)
            for name, source in zip((*drawn.recipe.registries, "office"), cycle(drawn.sources), strict=False)
        ),
    )
)


@given(candidates)
@settings(deadline=None)
def test_every_candidate_is_read_back_as_it_was_written(candidate: Candidate) -> None:
    raw = dump(candidate)
    again = load(raw, file=FILE)
    assert again == candidate
    assert dump(again) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        b"candidate",
        b"{",
        dump(CANDIDATE)[:-3],
        dump(CANDIDATE) * 2,
        dump(CANDIDATE).replace(b"JP", b"\xe9\xe9"),
        b"[]",
        b"{}",
        b"null",
        b"1",
        b'"format"',
        b"NaN",
        b"1" * 5000,
    ],
)
def test_what_is_not_a_json_object_of_ours_is_refused(raw: bytes) -> None:
    refused(raw)


@pytest.mark.parametrize("opening", [b"[", b'{"format":', b'{"format":2,"compiled":['])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    refused(opening * 200_000)


@pytest.mark.parametrize("version", [0, 1, 3, "2", 2.5, None, [2]])
def test_another_format_is_refused(version: object) -> None:
    assert "is not 2" in refused(tampered(lambda document: document.update(format=version)))


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the way to each key and element of a document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, child in children for found in [(*path, key), *paths(child, (*path, key))]]


PATHS = paths(json.loads(dump(CANDIDATE)))
KEYS = [path for path in PATHS if isinstance(path[-1], str)]


def at(document: Any, path: tuple[str | int, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


@pytest.mark.parametrize("path", KEYS, ids=lambda path: ".".join(map(str, path)))
def test_a_missing_key_is_refused_by_its_name(path: tuple[str | int, ...]) -> None:
    message = refused(tampered(lambda document: at(document, path).pop(path[-1])))
    assert f"'{path[-1]}' is missing" in message


WRONG: dict[str, object] = {
    "null": None,
    "a number": 17,
    "a negative number": -1,
    "a fraction": 1.5,
    "true": True,
    "text": "JP",
    "empty text": "",
    "a list of lists": [[]],
    "an object": {"192.0.2.0/24": 1},
    "an empty object": {},
}
LISTS = [path for path in PATHS if isinstance(at(json.loads(dump(CANDIDATE)), path)[path[-1]], list)]
OBJECTS = [path for path in PATHS if isinstance(at(json.loads(dump(CANDIDATE)), path)[path[-1]], dict)]
TEXTS = [path for path in PATHS if isinstance(at(json.loads(dump(CANDIDATE)), path)[path[-1]], str)]
COUNTS = [path for path in PATHS if type(at(json.loads(dump(CANDIDATE)), path)[path[-1]]) is int]
FLAGS = [path for path in PATHS if isinstance(at(json.loads(dump(CANDIDATE)), path)[path[-1]], bool)]


def put(path: tuple[str | int, ...], value: object) -> bytes:
    def change(document: Any) -> None:
        at(document, path)[path[-1]] = value

    return tampered(change)


@pytest.mark.parametrize("path", [*LISTS, *OBJECTS], ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_stands_in_the_place_of_a_list_or_an_object_is_refused(path: tuple[str | int, ...], wrong: object) -> None:
    refused(put(path, wrong))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("wrong", [None, 17, True, 1.5, [], ["JP"], {}], ids=repr)
def test_what_stands_in_the_place_of_text_is_refused(path: tuple[str | int, ...], wrong: object) -> None:
    refused(put(path, wrong))


@pytest.mark.parametrize("path", COUNTS, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize(
    "wrong", [None, -1, 2**128 + 1, 10**400, 1.5, 1.0, 4.0, True, "1", "", [], {}], ids="{!r:.9}".format
)
def test_what_stands_in_the_place_of_a_count_is_refused(path: tuple[str | int, ...], wrong: object) -> None:
    if path[-1] != "serial" or wrong is not None:  # a feed has none
        refused(put(path, wrong))


@pytest.mark.parametrize("wrong", [-1, 1.5, 1.0, True, False, "1", "", "null", [], {}], ids=repr)
def test_what_stands_in_the_place_of_a_missing_serial_is_refused(wrong: object) -> None:
    assert load(put(("sources", 1, "serial"), 7), file=FILE).sources[1].serial == 7
    refused(put(("sources", 1, "serial"), wrong))


@pytest.mark.parametrize("path", FLAGS, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("wrong", [None, 0, 1, 0.0, "true", "", [], [True], {}], ids=repr)
def test_what_stands_in_the_place_of_a_flag_is_refused(path: tuple[str | int, ...], wrong: object) -> None:
    assert "is neither true nor false" in refused(put(path, wrong))


@pytest.mark.parametrize(
    "path", [path for path in TEXTS if path[0] not in ("ipv4", "ipv6")], ids=lambda path: ".".join(map(str, path))
)
@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2Jgone", "\u202eback", "nul\0", "\u2028", "\ud800"], ids=ascii)
def test_text_that_would_play_tricks_on_a_terminal_is_refused(path: tuple[str | int, ...], text: str) -> None:
    message = refused(put(path, text))
    assert "is not printable text" in message
    assert message.isprintable()


@pytest.mark.parametrize("place", [(), ("recipe",), ("sources", 0), ("parts", 0)], ids=str)
def test_an_extra_key_is_refused(place: tuple[str | int, ...]) -> None:
    def change(document: Any) -> None:
        for key in place:
            document = document[key]
        document["more"] = "values"

    assert "more or other values than fwfeed writes" in refused(tampered(change))


def test_the_way_these_tests_tamper_is_itself_no_reason_to_refuse() -> None:
    assert tampered(lambda _document: None) == dump(CANDIDATE)


@pytest.mark.parametrize("excluded", [False, True])
def test_the_flag_of_a_part_is_read_back(excluded: bool) -> None:  # noqa: FBT001
    parts = tuple(replace(part, excluded=excluded) for part in CANDIDATE.parts)
    assert load(dump(replace(CANDIDATE, parts=parts)), file=FILE).parts == parts


def small(family: Family) -> st.SearchStrategy[tuple[Prefix, ...]]:
    """Return sets of so few addresses that two of them are often the same."""
    ends = st.integers(0, 3)
    ranges = st.lists(st.tuples(ends, ends).map(lambda pair: (min(pair), max(pair))), max_size=2)
    return ranges.map(lambda drawn: tuple(cover(merge(drawn), family)))


@given(candidates, st.tuples(*map(small, Family)), st.tuples(*map(small, Family)))
@settings(deadline=None)
def test_digests_are_equal_exactly_when_both_sets_are(
    other: Candidate, one: tuple[tuple[Prefix, ...], ...], two: tuple[tuple[Prefix, ...], ...]
) -> None:
    first = replace(CANDIDATE, ipv4=one[0], ipv6=one[1])
    second = replace(other, ipv4=two[0], ipv6=two[1])  # compiled at another time, out of other things
    assert (digest(first) == digest(second)) is (one == two)
    assert digest(first) == digest(replace(other, ipv4=one[0], ipv6=one[1]))
    assert re.fullmatch(r"[0-9a-f]{64}", digest(first))


def test_a_digest_tells_which_family_a_prefix_is_of() -> None:
    whole = Prefix(0, 0)
    both = [replace(CANDIDATE, ipv4=(whole,), ipv6=()), replace(CANDIDATE, ipv4=(), ipv6=(whole,))]
    assert len({digest(each) for each in both}) == 2


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("ipv4", ["192.0.2.0/24", "192.0.2.0/25"], "not a minimal cover"),
        ("ipv4", ["192.0.2.0/24", "192.0.2.0/24"], "not a minimal cover"),
        ("ipv4", ["198.51.100.0/24", "192.0.2.0/24"], "not a minimal cover"),
        ("ipv4", ["192.0.2.0/25", "192.0.2.128/25"], "not a minimal cover"),
        ("ipv4", ["192.0.2.1/24"], "has bits set behind its length"),
        ("ipv4", ["192.0.2.0"], "not a prefix in canonical form"),
        ("ipv4", ["192.0.2.0/33"], "not a prefix in canonical form"),
        ("ipv4", ["192.0.2.0/-1"], "not a prefix in canonical form"),
        ("ipv4", ["192.0.02.0/24"], "not an IPv4 address"),
        ("ipv4", ["192.0.2.0/24\n"], "not a prefix in canonical form"),
        ("ipv4", [" 192.0.2.0/24"], "not an IPv4 address"),
        ("ipv4", ["192.0.2.0/24</entry><entry>0.0.0.0/0"], "not a prefix in canonical form"),
        ("ipv4", ["2001:db8::/32"], "not an IPv4 address"),
        ("ipv4", [""], "not an IPv4 address"),
        ("ipv6", ["2001:db8::/32", "2001:db8:1::/48"], "not a minimal cover"),
        ("ipv6", ["2001:db8:8000::/33", "2001:db8::/33"], "not a minimal cover"),
        ("ipv6", ["2001:db8::/33", "2001:db8:8000::/33"], "not a minimal cover"),
        ("ipv6", ["2001:db8::1/32"], "has bits set behind its length"),
        ("ipv6", ["2001:DB8::/32"], "not a prefix in canonical form"),
        ("ipv6", ["2001:db8:0::/32"], "not a prefix in canonical form"),
        ("ipv6", ["2001:db8::/129"], "not a prefix in canonical form"),
        ("ipv6", ["fe80::%eth0/64"], "not an IPv6 address"),
        ("ipv6", ["192.0.2.0/24"], "not an IPv6 address"),
    ],
)
def test_prefixes_fwfeed_would_not_have_written_are_refused(key: str, values: list[str], message: str) -> None:
    assert message in refused(tampered(lambda document: document.update({key: values})))


@pytest.mark.parametrize("key", ["include", "exclude"])
@pytest.mark.parametrize(
    "term", ["", "garbage", "192.0.2.0", "192.0.2.1/24", "2001:DB8::/32", ":", "cloud aws", "Office"]
)
def test_a_term_that_names_nothing_is_refused(key: str, term: str) -> None:
    # gates and provenance take each for a CIDR that is none of the others
    refused(put(("recipe", key, 0), term))


@pytest.mark.parametrize("time", ["2018-10-14T03:04:05", "2018-10-14", "2018-10-14T03:04:05.123"])
def test_a_time_without_a_zone_is_refused(time: str) -> None:
    assert "no zone" in refused(tampered(lambda document: document.update(compiled=time)))


@pytest.mark.parametrize("time", ["", "yesterday", "2018-02-29T00:00:00+00:00", "2018-10-14T24:04:05+00:00"])
def test_what_is_no_time_is_refused(time: str) -> None:
    refused(tampered(lambda document: document.update(compiled=time)))


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_is_no_utc_time_is_refused(time: str) -> None:
    """`dump` writes UTC: it cannot have written these, and would fail to."""
    refused(tampered(lambda document: document.update(compiled=time)))


@pytest.mark.parametrize("day", ["", "2018-02-29", "yesterday", "00000000"])
def test_what_is_no_date_is_refused(day: str) -> None:
    refused(put(("sources", 0, "end_date"), day))


@pytest.mark.parametrize("family", [0, 5, 46, -4])
def test_an_unknown_family_is_refused(family: int) -> None:
    refused(put(("parts", 0, "ip"), family))


@given(st.data())
@settings(deadline=None)
def test_one_altered_byte_is_refused_or_gives_another_sound_candidate(data: st.DataObject) -> None:
    raw = dump(CANDIDATE)
    position = data.draw(st.integers(0, len(raw) - 1))
    altered = raw[:position] + bytes([data.draw(st.integers(0, 255))]) + raw[position + 1 :]
    try:
        candidate = load(altered, file=FILE)
    except FwfeedError as error:
        assert str(error).startswith(f"{FILE}: not a candidate: ")  # noqa: PT017 - both ways out are right
    else:
        for family in Family:
            assert list(candidate.prefixes(family)) == cover(merge(candidate.ranges(family)), family)


def test_a_recipe_goes_through_json_unchanged() -> None:
    assert recipe_from_json(recipe_to_json(CANDIDATE.recipe)) == CANDIDATE.recipe


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("recipe", "registries", 0), "/etc/shadow"),
        (("recipe", "registries", 0), "iana"),
        (("recipe", "registries", 1), "apnic"),
        (("recipe", "countries", 0), "jp"),
        (("recipe", "countries", 0), "JPN"),
        (("recipe", "countries", 0), "../"),
        (("recipe", "feeds", 1), "../office plain"),
        (("recipe", "feeds", 1), "apnic plain"),
        (("sources", 0, "name"), "/etc/shadow"),
        (("sources", 0, "name"), "office"),
        (("sources", 1, "name"), ".held"),
    ],
    ids=str,
)
def test_names_that_no_configuration_can_have_are_refused(path: tuple[str | int, ...], value: str) -> None:
    refused(put(path, value))

    def change(document: Any) -> None:
        at(document, path)[path[-1]] = value
        document["sources"][0]["name"] = value.split(" ", maxsplit=1)[0]

    refused(tampered(change))


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_every_registry_and_feed_has_one_source(index: int) -> None:
    assert "are not the registries and feeds" in refused(tampered(lambda document: document["sources"].pop(index)))
    twice = tampered(lambda document: document["sources"].append(document["sources"][index]))
    assert "are not the registries and feeds" in refused(twice)


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"0,", b'"",'])
def test_more_values_than_fwfeed_writes_are_refused_before_they_are_made(piece: bytes) -> None:
    raw = b'{"format":2,"x":[' + piece * 700_000 + b"0]}"
    tracemalloc.start()
    assert "more values than fwfeed writes" in refused(raw)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_the_longest_message_is_short() -> None:
    assert len(refused(put(("compiled",), "x" * 100_000))) < 500


def test_more_prefixes_than_a_set_may_have_are_refused() -> None:
    message = refused(tampered(lambda document: document.update(ipv4=["192.0.2.0/24"] * 200_001)))
    assert "more than 100,000 IPv4 prefixes" in message
