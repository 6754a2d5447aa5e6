"""The configuration: what each key gives, and that every mistake is named with its key and line."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fwfeed.config import (
    REGISTRY_URLS,
    Checksum,
    Config,
    GatesConfig,
    Inbound,
    InboundConfig,
    Outbound,
    OutboundConfig,
    PathsConfig,
    SetConfig,
    SourcesConfig,
    parse,
)
from fwfeed.errors import ConfigError, ExitCode
from tests.unit.builders import to_toml

EVERYTHING = """\
[set]
name = "EAST"
countries = ["KR", "TW"]
include = ["192.0.2.0/24", "2001:DB8::/32", "198.51.100.7"]
exclude = ["special-purpose", "192.0.2.128/25"]

[sources]
registries = ["ripencc", "apnic"]
mirrors = ["https://mirror.example/{registry}", "file:///srv/rir"]
checksum = "optional"
max_age = "36h"
[sources.afrinic]
url = "https://example.org/afrinic"
[sources.apnic]
url = "file:///srv/apnic.gz"
[sources.arin]
url = "https://example.org/arin"
[sources.lacnic]
url = "https://example.org/lacnic"
[sources.ripencc]
url = "https://example.org/ripencc.xz"

[outbound]
action = "off"
prefix = "OUT & ABOUT "
limit = "100/h"
forwarded = false

[inbound]
action = "restrict"
prefix = "IN "
limit = "off"
services = ["ssh"]
foreign_services = ["smtp", "http"]

[gates]
max_shrink = "2.5%"
max_growth = "300%"

[paths]
cache = "/srv/cache"
state = "/srv/state"
run = "/srv/run"
firewalld = "/srv/firewalld"
templates = "/srv/templates"
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="fwfeed.toml")
    assert caught.value.code is ExitCode.USAGE
    return list(caught.value.problems)


def problem_of(text: str) -> str:
    (problem,) = problems_of(text)
    return problem


def test_an_empty_text_gives_the_defaults_of_the_design() -> None:
    config = parse("", file="fwfeed.toml")
    assert config == Config()
    assert config.set == SetConfig(name="JP", countries=("JP",), include=("special-purpose",), exclude=())
    assert config.sources.registries == ("afrinic", "apnic", "arin", "lacnic", "ripencc")
    assert config.sources.mirrors == ()
    assert config.sources.checksum is Checksum.REQUIRED
    assert config.sources.max_age == timedelta(days=7)
    assert config.sources.urls == REGISTRY_URLS
    assert all(url.startswith("https://") for url in REGISTRY_URLS.values())
    assert config.outbound == OutboundConfig(
        action=Outbound.LOG, prefix="OUTBOUND_FOREIGN ", limit="10/s", forwarded=True
    )
    assert config.inbound.action is Inbound.OFF
    assert config.inbound.foreign_services == ()
    assert config.gates == GatesConfig(max_shrink=Fraction(1, 10), max_growth=Fraction(1, 4))
    assert config.paths == PathsConfig(
        cache="/var/cache/fwfeed",
        state="/var/lib/fwfeed",
        run="/run/fwfeed",
        firewalld="/etc/firewalld",
        templates="/etc/fwfeed/templates",
    )


def test_every_key_is_read() -> None:
    assert parse(EVERYTHING, file="fwfeed.toml") == Config(
        set=SetConfig(
            name="EAST",
            countries=("KR", "TW"),
            include=("192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32"),
            exclude=("special-purpose", "192.0.2.128/25"),
        ),
        sources=SourcesConfig(
            registries=("ripencc", "apnic"),
            mirrors=("https://mirror.example/{registry}", "file:///srv/rir"),
            checksum=Checksum.OPTIONAL,
            max_age=timedelta(hours=36),
            urls={
                "afrinic": "https://example.org/afrinic",
                "apnic": "file:///srv/apnic.gz",
                "arin": "https://example.org/arin",
                "lacnic": "https://example.org/lacnic",
                "ripencc": "https://example.org/ripencc.xz",
            },
        ),
        outbound=OutboundConfig(action=Outbound.OFF, prefix="OUT & ABOUT ", limit="100/h", forwarded=False),
        inbound=InboundConfig(
            action=Inbound.RESTRICT, prefix="IN ", limit=None, services=("ssh",), foreign_services=("smtp", "http")
        ),
        gates=GatesConfig(max_shrink=Fraction(25, 1000), max_growth=Fraction(3)),
        paths=PathsConfig(
            cache="/srv/cache",
            state="/srv/state",
            run="/srv/run",
            firewalld="/srv/firewalld",
            templates="/srv/templates",
        ),
    )


def test_the_text_with_every_key_changes_every_value() -> None:
    # so that a key added to the schema cannot be forgotten in the test above
    config, default = parse(EVERYTHING, file="fwfeed.toml"), Config()
    for table in fields(Config):
        read, usual = getattr(config, table.name), getattr(default, table.name)
        assert is_dataclass(read)
        for key in fields(read):
            assert getattr(read, key.name) != getattr(usual, key.name), f"{table.name}.{key.name}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[set]\nnmae = 'JP'", "fwfeed.toml:2: set.nmae: unknown key; did you mean name?"),
        ("[set]\nzzz = 1", "fwfeed.toml:2: set.zzz: unknown key"),
        ("\n[outbuond]\n", "fwfeed.toml:2: outbuond: unknown key; did you mean outbound?"),
        ("[sources.apnik]\nurl = 'x'", "fwfeed.toml:1: sources.apnik: unknown key; did you mean apnic?"),
        ("[sources.apnic]\nmirror = 'x'", "fwfeed.toml:2: sources.apnic.mirror: unknown key"),
        ("set = 5", "fwfeed.toml:1: set: must be a table, [set]"),
        ("[set]\nname = 5", "fwfeed.toml:2: set.name: must be text, not a number"),
        ("[set]\ncountries = 'JP'", "fwfeed.toml:2: set.countries: must be a list of texts, not text"),
        ("[set]\ncountries = ['JP', 1]", "fwfeed.toml:2: set.countries[1]: must be text, not a number"),
        ("[outbound]\nforwarded = 1", "fwfeed.toml:2: outbound.forwarded: must be true or false, not a number"),
        ("[outbound]\nforwarded = 'no'", "fwfeed.toml:2: outbound.forwarded: must be true or false, not text"),
        ("[gates]\nmax_shrink = 10", "fwfeed.toml:2: gates.max_shrink: must be text, not a number"),
        ("[gates]\nmax_shrink = 2020-01-01", "fwfeed.toml:2: gates.max_shrink: must be text, not date"),
        (
            "[set]\ninclude = ['192.0.2.0/33']",
            (
                "fwfeed.toml:2: set.include[0]: '192.0.2.0/33' is neither an address, a CIDR, "
                "nor the group special-purpose"
            ),
        ),
        (
            "[set]\ninclude = ['special-purpos']",
            (
                "fwfeed.toml:2: set.include[0]: 'special-purpos' is neither an address, a CIDR, "
                "nor the group special-purpose"
            ),
        ),
        (
            "[set]\nexclude = ['192.0.2.1/24']",
            "fwfeed.toml:2: set.exclude[0]: '192.0.2.1/24' has bits set behind its length; did you mean 192.0.2.0/24?",
        ),
        (
            "[set]\nexclude = ['2001:db8::1/32']",
            (
                "fwfeed.toml:2: set.exclude[0]: '2001:db8::1/32' has bits set behind its length; "
                "did you mean 2001:db8::/32?"
            ),
        ),
        ("[set]\ninclude = ['0.0.0.0/0']", "fwfeed.toml:2: set.include[0]: '0.0.0.0/0' is the whole address space"),
        ("[set]\nexclude = ['::/0']", "fwfeed.toml:2: set.exclude[0]: '::/0' is the whole address space"),
        ("[set]\ncountries = ['UK']", "fwfeed.toml:2: set.countries[0]: 'UK' is not a country code; did you mean GB?"),
        ("[set]\ncountries = ['jp']", "fwfeed.toml:2: set.countries[0]: 'jp' is not a country code; did you mean JP?"),
        (
            "[set]\ncountries = ['XX']",
            "fwfeed.toml:2: set.countries[0]: 'XX' is not a country code (ISO 3166-1 alpha-2, or EU, AP)",
        ),
        ("[set]\ncountries = ['JP', 'JP']", "fwfeed.toml:2: set.countries[1]: 'JP' is there twice"),
        (
            "[set]\ninclude = ['2001:db8::/32', '2001:DB8:0::/32']",
            "fwfeed.toml:2: set.include[1]: '2001:DB8:0::/32' is there twice",
        ),
        (
            "[set]\ncountries = []\ninclude = []",
            "fwfeed.toml:2: set.countries: names nobody, and include is empty: the set would be empty",
        ),
        (
            "[set]\nname = 'J P'",
            "fwfeed.toml:2: set.name: 'J P' is not a set name: a letter, then letters, digits, - or _, 31 in all",
        ),
        (
            "[sources]\nregistries = ['ripe']",
            "fwfeed.toml:2: sources.registries[0]: 'ripe' is not a registry; did you mean ripencc?",
        ),
        (
            "[sources]\nregistries = ['zzz']",
            (
                "fwfeed.toml:2: sources.registries[0]: 'zzz' is not a registry; "
                "known are afrinic, apnic, arin, lacnic, ripencc"
            ),
        ),
        (
            "[sources]\nregistries = []",
            "fwfeed.toml:2: sources.registries: is empty; known are afrinic, apnic, arin, lacnic, ripencc",
        ),
        (
            "[sources]\nregistries = ['arin', 'arin']",
            "fwfeed.toml:2: sources.registries[1]: 'arin' is there twice",
        ),
        (
            "[sources]\nmirrors = ['http://example.org']",
            "fwfeed.toml:2: sources.mirrors[0]: 'http://example.org' is not a URL of https://host/... or file:///path",
        ),
        (
            "[sources.arin]\nurl = 'ftp://example.org/x'",
            "fwfeed.toml:2: sources.arin.url: 'ftp://example.org/x' is not a URL of https://host/... or file:///path",
        ),
        ("[sources]\nchecksum = 'maybe'", "fwfeed.toml:2: sources.checksum: 'maybe' is none of required, optional"),
        (
            "[sources]\nmax_age = '7 days'",
            'fwfeed.toml:2: sources.max_age: \'7 days\' is not a time like "36h" or "7d", nor "off"',
        ),
        ("[outbound]\naction = 'drop'", "fwfeed.toml:2: outbound.action: 'drop' is none of off, log"),
        (
            "[outbound]\nlimit = '10'",
            'fwfeed.toml:2: outbound.limit: \'10\' is not a rate like "10/s" or "100/h", nor "off"',
        ),
        (
            "[inbound]\nprefix = 'a\"b'",
            (
                "fwfeed.toml:2: inbound.prefix: 'a\"b' is not a log prefix: "
                "1 to 100 printable ASCII characters, no quote or backslash"
            ),
        ),
        (
            "[inbound]\nservices = ['ssh http']",
            (
                "fwfeed.toml:2: inbound.services[0]: 'ssh http' is not the name of a firewalld service "
                "(firewall-cmd --get-services)"
            ),
        ),
        ("[gates]\nmax_growth = '10'", "fwfeed.toml:2: gates.max_growth: '10' is not a percentage like \"10%\""),
        ("[paths]\ncache = 'cache'", "fwfeed.toml:2: paths.cache: 'cache' is not an absolute path"),
        ("[paths]\nrun = '/run/../etc'", "fwfeed.toml:2: paths.run: '/run/../etc' is not an absolute path"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_line(text: str, expected: str) -> None:
    assert problem_of(text) == expected


def test_a_name_that_cannot_be_a_zone_is_fine_where_no_zone_is_made() -> None:
    assert parse("[set]\nname = 'public'", file="f").set.name == "public"


# 'log-outbound' is the zone for all others: two files of one name, and the second would take the place of the first
@pytest.mark.parametrize("name", ["Public", "trusted", "log-outbound", "ABCDEFGHIJKLMNOPQR"])
def test_a_set_whose_name_cannot_be_a_zones_is_refused_where_zones_are_made(name: str) -> None:
    problem = problem_of(f"[inbound]\naction = 'restrict'\n[set]\nname = '{name}'")
    assert problem == (
        f"fwfeed.toml:4: set.name: '{name}' cannot be a zone, as inbound.action = \"restrict\" needs: "
        "there is one of that name, or it is longer than 17 characters"
    )


@pytest.mark.parametrize(
    ("text", "line"), [("[set\n", 1), ("[set]\nname = \n", 2), ("[set]\nname = 'a'\nname = 'b'\n", 3)]
)
def test_a_toml_error_has_its_line(text: str, line: int) -> None:
    problem = problem_of(text)
    assert problem.startswith("fwfeed.toml: not valid TOML: ")
    assert f"line {line}," in problem


def test_an_array_of_tables_that_is_unknown_has_its_line() -> None:
    assert problem_of("[set]\nname = 'JP'\n[[feed]]\nname = 'x'\n") == "fwfeed.toml:3: feed: unknown key"


def test_only_a_line_feed_ends_a_line_as_in_an_editor() -> None:
    # a form feed or U+2028 in a comment is no line break in TOML
    assert problem_of("# a\u2028b\n[set]\nzzz = 1\n").startswith("fwfeed.toml:3: set.zzz: ")


def test_a_bad_country_is_one_mistake_even_where_nothing_else_is_in_the_set() -> None:
    assert problem_of("[set]\ncountries = ['UK']\ninclude = []").endswith("did you mean GB?")


def test_a_value_in_the_place_of_a_registrys_table_is_told_the_tables_full_name() -> None:
    assert problem_of("[sources]\napnic = 'https://example.org/'").endswith("must be a table, [sources.apnic]")


def test_all_mistakes_of_a_file_are_reported_at_once_in_order_of_line() -> None:
    text = """\
[paths]
cache = "here"
[set]
name = "9"
countries = ["UK", "jp", "JP"]
[gates]
max_shrink = "lots"
[bogus]
[outbound]
forwarded = "yes"
limt = "1/s"
"""
    heads = [problem.split(": ")[:2] for problem in problems_of(text)]
    assert heads == [
        ["fwfeed.toml:2", "paths.cache"],
        ["fwfeed.toml:4", "set.name"],
        ["fwfeed.toml:5", "set.countries[0]"],
        ["fwfeed.toml:5", "set.countries[1]"],
        ["fwfeed.toml:7", "gates.max_shrink"],
        ["fwfeed.toml:8", "bogus"],
        ["fwfeed.toml:10", "outbound.forwarded"],
        ["fwfeed.toml:11", "outbound.limt"],
    ]


# Half of the keys are real ones, so that values reach every reader and not only the one for unknown keys.
_KNOWN = st.sampled_from(
    sorted(
        {table.name for table in fields(Config)}
        | {key.name for table in fields(Config) for key in fields(getattr(Config(), table.name))}
        | set(REGISTRY_URLS)
        | {"url"}
    )
)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_KEYS = _KNOWN | _TEXT
_NEARLY = st.sampled_from(
    [
        "0/0",
        "::/0",
        "10/8",
        "1.2.3.4/255.0.255.0",
        "1.2.3.4/-1",
        "::ffff:1.2.3.4/120",
        "/",
        "1/2/3",
        "1-2",
        "1.2.3.*",
        "fe80::1%eth0",
        "https://[",
        "file:///",
        "off",
        "0d",
        "JP",
        "jp",
        "restrict",
        "10%",
        "%",
        "\x00",
        "/\x00",
    ]
)
_VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | _TEXT
    | _NEARLY
    | st.from_regex(r"[0-9a-f:.]{1,12}(/[0-9]{1,3})?", fullmatch=True),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_KEYS, below, max_size=4),
    max_leaves=12,
)
_TABLES = st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=5) | _VALUES, max_size=5)


@settings(deadline=None, max_examples=300)
@given(_TABLES)
def test_whatever_values_a_file_has_only_a_config_error_comes_out(table: dict[str, object]) -> None:
    try:
        parse(to_toml(table), file="fwfeed.toml")
    except ConfigError as error:
        said = error.message
    else:
        said = ""
    assert "not valid TOML" not in said, "to_toml is at fault"


@settings(deadline=None, max_examples=200)
@given(_NEARLY | _TEXT | st.from_regex(r"[0-9a-fx:.%*/-]{1,20}", fullmatch=True))
def test_whatever_an_element_of_the_set_says_only_a_config_error_comes_out(text: str) -> None:
    try:
        (term,) = parse(to_toml({"set": {"include": [text]}}), file="fwfeed.toml").set.include
    except ConfigError:
        return
    # what is accepted is canonical: written back, it is accepted again and means itself
    assert parse(to_toml({"set": {"include": [term]}}), file="fwfeed.toml").set.include == (term,)


@settings(deadline=None, max_examples=300)
@given(st.text())
@example("a = 2020-13-41")
@example("a = 25:61:61")
def test_whatever_a_file_says_only_a_config_error_comes_out(text: str) -> None:
    with suppress(ConfigError):
        parse(text, file="fwfeed.toml")


def test_a_number_too_long_for_python_is_a_config_error() -> None:
    # tomllib lets int()'s own ValueError through
    assert problem_of("a = " + "9" * 5000).startswith("fwfeed.toml")


def test_lists_nested_too_deep_for_the_parser_are_a_config_error() -> None:
    # tomllib recurses, and lets the RecursionError through
    assert problem_of("a = " + "[" * 5000).startswith("fwfeed.toml")
