"""The configuration: what each key gives, and that every mistake is named with its key and line."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import time, timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fwfeed.config import (
    REGISTRY_URLS,
    ApplyConfig,
    Checksum,
    Config,
    DaemonConfig,
    GatesConfig,
    Inbound,
    InboundConfig,
    Outbound,
    OutboundConfig,
    PathsConfig,
    SetConfig,
    SourcesConfig,
    WatchConfig,
    parse,
)
from fwfeed.errors import ConfigError, ExitCode
from fwfeed.feeds import Feed, Format
from fwfeed.prefixes import Family
from tests.unit.builders import to_toml

EVERYTHING = """\
[set]
name = "EAST"
countries = ["KR", "TW"]
include = ["192.0.2.0/24", "2001:DB8::/32", "198.51.100.7", "office", "isp", "isp-all"]
exclude = ["special-purpose", "192.0.2.128/25", "aws-tokyo", "gcp-tokyo"]

[sources]
registries = ["ripencc", "apnic"]
mirrors = ["https://mirror.example/{registry}", "file:///srv/rir"]
checksum = "optional"
max_age = "36h"
deadline = "90s"
retries = 0
[sources.afrinic]
url = "https://example.org/afrinic"
[sources.apnic]
url = "file:///srv/apnic.gz"
[sources.arin]
url = "http://example.org/arin"
[sources.lacnic]
url = "https://example.org/lacnic"
[sources.ripencc]
url = "https://example.org/ripencc.xz"

[[feed]]
name = "office"
url = "file:///etc/fwfeed/lists.d"
max_age = "off"

[[feed]]
name = "aws-tokyo"
url = "https://example.org/ip-ranges.json"
format = "aws"
regions = ["ap-northeast-1", "GLOBAL"]
services = ["EC2"]
max_age = "30d"

[[feed]]
name = "gcp-tokyo"
url = "https://example.org/cloud.json"
format = "gcp"
scopes = ["asia-northeast1"]

[[feed]]
name = "isp"
url = "http://example.org/geofeed.csv.gz"
format = "geofeed"

[[feed]]
name = "isp-all"
url = "https://example.org/geofeed.csv"
format = "geofeed"
countries = ["JP"]

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
max_space = "12.5%"

[apply]
confirm = "90s"
keep = 3
always_allow = ["192.0.2.7", "2001:db8:7::/48"]

[daemon]
at = "23:05"
spread = "0s"

[watch]
group = 7
keep = "36h"

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


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("countries = ['FR']", "countries belongs below [set] or [[feed]]"),
        ("cache = '/x'", "cache belongs below [paths]"),
        ("url = 'https://a.example/f'", "url belongs below [sources.NAME] or [[feed]]"),
        ("regions = ['x']", "regions belongs below [[feed]]"),
        ("[set]\nformat = 'aws'\n[watch]\nformat = 'aws'", "format belongs below [[feed]]"),
        ("[set]\napnic = 1", "apnic belongs below [sources]"),
        ("[set]\naction = 'reject'", "action belongs below [outbound] or [inbound]"),
        ("[[feed]]\nmax_shrink = '5%'", "max_shrink belongs below [gates]"),
        ("[sources.apnic]\nkeep = 1", "keep belongs below [apply] or [watch]"),
        ("zzz = 1", ""),
    ],
)
def test_a_key_whose_section_is_still_commented_out_is_told_where_it_belongs(text: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="fwfeed.toml")
    assert caught.value.way_out == hint
    assert not any("did you mean" in problem for problem in caught.value.problems)


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
    assert config.sources.deadline == timedelta(minutes=10)
    assert config.sources.retries == 3
    assert config.feeds == ()
    assert config.gates == GatesConfig(max_shrink=Fraction(1, 10), max_growth=Fraction(1, 4), max_space=Fraction(6, 10))
    assert config.apply == ApplyConfig(confirm=None, keep=10, always_allow=())
    assert config.daemon == DaemonConfig(at=time(3, 30), spread=timedelta(hours=1))
    assert config.watch == WatchConfig(group=243, keep=timedelta(days=90))
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
            include=("192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32", "office", "isp", "isp-all"),
            exclude=("special-purpose", "192.0.2.128/25", "aws-tokyo", "gcp-tokyo"),
        ),
        sources=SourcesConfig(
            registries=("ripencc", "apnic"),
            mirrors=("https://mirror.example/{registry}", "file:///srv/rir"),
            checksum=Checksum.OPTIONAL,
            max_age=timedelta(hours=36),
            deadline=timedelta(seconds=90),
            retries=0,
            urls={
                "afrinic": "https://example.org/afrinic",
                "apnic": "file:///srv/apnic.gz",
                "arin": "http://example.org/arin",
                "lacnic": "https://example.org/lacnic",
                "ripencc": "https://example.org/ripencc.xz",
            },
        ),
        feeds=(
            Feed(name="office", url="file:///etc/fwfeed/lists.d", format=Format.PLAIN),
            Feed(
                name="aws-tokyo",
                url="https://example.org/ip-ranges.json",
                format=Format.AWS,
                regions=("ap-northeast-1", "GLOBAL"),
                services=("EC2",),
                max_age=timedelta(days=30),
            ),
            Feed(
                name="gcp-tokyo",
                url="https://example.org/cloud.json",
                format=Format.GCP,
                scopes=("asia-northeast1",),
            ),
            Feed(
                name="isp",
                url="http://example.org/geofeed.csv.gz",
                format=Format.GEOFEED,
                countries=("KR", "TW"),
            ),
            Feed(
                name="isp-all",
                url="https://example.org/geofeed.csv",
                format=Format.GEOFEED,
                countries=("JP",),
            ),
        ),
        outbound=OutboundConfig(action=Outbound.OFF, prefix="OUT & ABOUT ", limit="100/h", forwarded=False),
        inbound=InboundConfig(
            action=Inbound.RESTRICT, prefix="IN ", limit=None, services=("ssh",), foreign_services=("smtp", "http")
        ),
        gates=GatesConfig(max_shrink=Fraction(25, 1000), max_growth=Fraction(3), max_space=Fraction(1, 8)),
        apply=ApplyConfig(confirm=timedelta(seconds=90), keep=3, always_allow=("192.0.2.7/32", "2001:db8:7::/48")),
        daemon=DaemonConfig(at=time(23, 5), spread=timedelta()),
        watch=WatchConfig(group=7, keep=timedelta(hours=36)),
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
    for key in fields(Feed):
        assert len({getattr(feed, key.name) for feed in config.feeds}) > 1, f"feed.{key.name}"
    for table in fields(Config):
        if table.name in {"feeds", "digest"}:
            continue
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
                "the group special-purpose, nor the name of a [[feed]]"
            ),
        ),
        (
            "[set]\ninclude = ['special-purpos']",
            (
                "fwfeed.toml:2: set.include[0]: 'special-purpos' is neither an address, a CIDR, "
                "the group special-purpose, nor the name of a [[feed]]; did you mean special-purpose?"
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
            (
                "fwfeed.toml:2: sources.mirrors[0]: 'http://example.org' is not https: "
                "anybody on the way could put another file in its place"
            ),
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
        *(
            (
                f"[sources]\ndeadline = '{text}'",
                f'fwfeed.toml:2: sources.deadline: {text!r} is not a time like "30s" or "10m", up to a day',
            )
            for text in ("0s", "off", "10", "1d", "86401s", "1441m", "25h", "1.5h", "-1s", "100000s")
        ),
        ("[sources]\ndeadline = 600", "fwfeed.toml:2: sources.deadline: must be text, not a number"),
        *(
            (f"[sources]\nretries = {number}", f"fwfeed.toml:2: sources.retries: {number} is not a number from 0 to 10")
            for number in (-1, 11, 9999999999)
        ),
        ("[sources]\nretries = '3'", "fwfeed.toml:2: sources.retries: must be a whole number, not text"),
        ("[sources]\nretries = 3.0", "fwfeed.toml:2: sources.retries: must be a whole number, not a number"),
        ("[sources]\nretries = true", "fwfeed.toml:2: sources.retries: must be a whole number, not true or false"),
        ("[gates]\nmax_space = '60'", "fwfeed.toml:2: gates.max_space: '60' is not a percentage like \"10%\""),
        ("[outbound]\naction = 'block'", "fwfeed.toml:2: outbound.action: 'block' is none of off, log, reject, drop"),
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
        ("[apply]\nkeep = 1", "fwfeed.toml:2: apply.keep: 1 is not a number from 2 to 1000"),
        ("[apply]\nkeep = 1001", "fwfeed.toml:2: apply.keep: 1001 is not a number from 2 to 1000"),
        (
            "[apply]\nconfirm = '2 min'",
            'fwfeed.toml:2: apply.confirm: \'2 min\' is not a time like "30s" or "10m", up to a day',
        ),
        (
            "[apply]\nalways_allow = ['special-purpose']",
            "fwfeed.toml:2: apply.always_allow[0]: 'special-purpose' is neither an address nor a CIDR",
        ),
        (
            "[apply]\nalways_allow = ['192.0.2.7/24']",
            (
                "fwfeed.toml:2: apply.always_allow[0]: '192.0.2.7/24' has bits set behind its length; "
                "did you mean 192.0.2.0/24?"
            ),
        ),
        *(
            (
                f"[daemon]\nat = '{text}'",
                f'fwfeed.toml:2: daemon.at: {text!r} is not a time of day like "03:30", from "00:00" to "23:59"',
            )
            for text in ("3:30", "24:00", "03:60", "03:30:00", "0330", "off", "", "03:30\\n", "٠٣:٣٠")
        ),
        ("[daemon]\nat = 03:30:00", "fwfeed.toml:2: daemon.at: must be text, not time"),
        *(
            (
                f"[daemon]\nspread = '{text}'",
                f'fwfeed.toml:2: daemon.spread: {text!r} is not a time like "30s" or "10m", up to a day, nor "0s"',
            )
            for text in ("0", "off", "0m", "00s", "25h", "86401s", "-1h", "1d")
        ),
        ("[daemon]\nspread = 60", "fwfeed.toml:2: daemon.spread: must be text, not a number"),
        *(
            (
                f"[watch]\ngroup = {number}",
                f'fwfeed.toml:2: watch.group: {number} is not a number from 1 to 65535, nor "off"',
            )
            for number in (0, -1, 65536)
        ),
        *(
            (f"[watch]\ngroup = {value}", f'fwfeed.toml:2: watch.group: must be a whole number or "off", not {kind}')
            for value, kind in (("'243'", "text"), ("'OFF'", "text"), ("''", "text"), ("true", "true or false"))
        ),
        *(
            (
                f"[watch]\nkeep = '{text}'",
                f'fwfeed.toml:2: watch.keep: {text!r} is not a time like "36h" or "90d", up to "3650d"',
            )
            for text in ("off", "90", "0d", "30m", "3651d", "87601h", "-1d", "99999d", "1y", "٩d")
        ),
        ("[watch]\nkeep = 90", "fwfeed.toml:2: watch.keep: must be text, not a number"),
        ("[watch]\ngruop = 1", "fwfeed.toml:2: watch.gruop: unknown key; did you mean group?"),
        ("[paths]\ncache = 'cache'", "fwfeed.toml:2: paths.cache: 'cache' is not an absolute path"),
        ("[paths]\nrun = '/run/../etc'", "fwfeed.toml:2: paths.run: '/run/../etc' is not an absolute path"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_line(text: str, expected: str) -> None:
    assert problem_of(text) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "JP"),
        ("[set]\nexclude = ['192.0.2.0/24']", "JP"),
        ("[set]\ncountries = ['FR']", "FR"),
        ("set = {countries = ['EU']}", "EU"),
        ("[set]\ncountries = ['FR']\nname = 'JP'", "JP"),
        ("[set]\ncountries = ['FR', 'DE']\nname = 'WEST'", "WEST"),
    ],
)
def test_without_a_name_a_set_is_called_after_its_one_country(text: str, name: str) -> None:
    chosen = parse(text, file="f").set
    assert [chosen.ipset(family) for family in Family] == [name, f"{name}6"]


OF_SEVERAL = (
    "set.name: is missing: a set of several countries (FR, DE) needs a name of its own, "
    'as in name = "HOME" (it was "JP" until now)'
)
OF_NONE = (
    'set.name: is missing: a set of no country needs a name of its own, as in name = "HOME" (it was "JP" until now)'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n[set]\n# of\ncountries = ['FR', 'DE']", [f"fwfeed.toml:2: {OF_SEVERAL}"]),
        ("\nset = {countries = ['FR', 'DE']}", [f"fwfeed.toml:2: {OF_SEVERAL}"]),
        ("\n\nset.countries = ['FR', 'DE']", [f"fwfeed.toml:3: {OF_SEVERAL}"]),
        ("[set]\ncountries = []", [f"fwfeed.toml:1: {OF_NONE}"]),
        (
            "[set]\ncountries = []\ninclude = ['office']\n[[feed]]\nname = 'office'\nurl = 'file:///x'",
            [f"fwfeed.toml:1: {OF_NONE}"],
        ),
        (
            "[set]\ncountries = ['FR', 'de']",
            ["fwfeed.toml:2: set.countries[1]: 'de' is not a country code; did you mean DE?"],
        ),
        (
            "[set]\ncountries = ['FR', 'DE']\n[gates]\nmax_shrink = 1",
            [f"fwfeed.toml:1: {OF_SEVERAL}", "fwfeed.toml:4: gates.max_shrink: must be text, not a number"],
        ),
    ],
)
def test_a_set_that_no_one_country_can_name_is_asked_for_its_name(text: str, expected: list[str]) -> None:
    assert problems_of(text) == expected


@pytest.mark.parametrize(
    "text", ["sources.apnic.url = 'x'", "[sources]\napnic.url = 'x'", "[sources]\n'apnic' = {url = 'x'}"]
)
def test_a_key_in_another_spelling_of_toml_has_its_line(text: str) -> None:
    line = text.count("\n") + 2
    assert problem_of(f"\n{text}").startswith(f"fwfeed.toml:{line}: sources.apnic.url: 'x' is not a URL")


def test_a_set_may_have_the_name_of_a_zone() -> None:
    assert parse("[inbound]\naction = 'restrict'\n[set]\nname = 'public'", file="f").set.name == "public"


def test_a_set_is_not_called_as_fwfeed_calls_those_beside_it() -> None:
    assert problem_of("[set]\nname = 'JP-pass'") == (
        "fwfeed.toml:2: set.name: 'JP-pass' ends in -pass, as the sets do that fwfeed makes beside this one"
    )


@pytest.mark.parametrize("action", ["reject", "drop"])
def test_where_a_set_beside_this_one_may_be_needed_its_name_has_to_fit(action: str) -> None:
    text = f"[outbound]\naction = '{action}'\n[set]\nname = '%s'"
    assert parse(text % ("x" * 26), file="f").set.passing(Family.IPV6) == "x" * 26 + "6-pass"
    assert problem_of(text % ("x" * 27)) == (
        f"fwfeed.toml:4: set.name: '{'x' * 27}' is longer than 26 characters, and "
        f"outbound.action = \"{action}\" may need a set '{'x' * 27}6-pass'"
    )
    assert parse(f"[set]\nname = '{'x' * 31}'", file="f").outbound.action is Outbound.LOG


@pytest.mark.parametrize(
    ("text", "line"), [("[set\n", 1), ("[set]\nname = \n", 2), ("[set]\nname = 'a'\nname = 'b'\n", 3)]
)
def test_a_toml_error_has_its_line(text: str, line: int) -> None:
    problem = problem_of(text)
    assert problem.startswith("fwfeed.toml: not valid TOML: ")
    assert f"line {line}," in problem


def test_an_array_of_tables_that_is_unknown_has_its_line() -> None:
    assert problem_of("[set]\nname = 'JP'\n[[bogus]]\nname = 'x'\n") == "fwfeed.toml:3: bogus: unknown key"


@pytest.mark.parametrize(("text", "length"), [("1s", 1), ("30s", 30), ("10m", 600), ("86400s", 86400), ("24h", 86400)])
def test_a_deadline_is_up_to_a_day(text: str, length: int) -> None:
    assert parse(f"[sources]\ndeadline = '{text}'", file="f").sources.deadline == timedelta(seconds=length)


@pytest.mark.parametrize(("text", "length"), [("0s", 0), ("1s", 1), ("24h", 86400)])
def test_the_daemon_puts_off_by_nothing_or_up_to_a_day(text: str, length: int) -> None:
    assert parse(f"[daemon]\nspread = '{text}'", file="f").daemon.spread == timedelta(seconds=length)


@pytest.mark.parametrize(("text", "at"), [("00:00", time(0, 0)), ("09:59", time(9, 59)), ("23:59", time(23, 59))])
def test_any_minute_is_a_time_of_day(text: str, at: time) -> None:
    assert parse(f"[daemon]\nat = '{text}'", file="f").daemon.at == at


@pytest.mark.parametrize(("text", "group"), [("1", 1), ("65535", 65535), ('"off"', None), ("'off'", None)])
def test_a_group_of_nflog_can_be_off(text: str, group: int | None) -> None:
    assert parse(f"[watch]\ngroup = {text}", file="f").watch == WatchConfig(group=group)


@pytest.mark.parametrize(("text", "hours"), [("1h", 1), ("87600h", 87600), ("1d", 24), ("3650d", 87600)])
def test_a_ledger_is_kept_for_up_to_ten_years(text: str, hours: int) -> None:
    assert parse(f"[watch]\nkeep = '{text}'", file="f").watch.keep == timedelta(hours=hours)


@pytest.mark.parametrize("number", [0, 1, 10])
def test_retries_are_up_to_ten(number: int) -> None:
    assert parse(f"[sources]\nretries = {number}", file="f").sources.retries == number


FEED = """\
[set]
include = ["office"]

[[feed]]
name = "office"
url = "https://example.org/list"
"""


def feeds_of(text: str) -> tuple[Feed, ...]:
    return parse(text, file="fwfeed.toml").feeds


def test_a_feed_needs_no_more_than_a_name_and_a_url() -> None:
    assert feeds_of(FEED) == (Feed(name="office", url="https://example.org/list", format=Format.PLAIN),)


@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_feed_is_named_in_include_or_exclude(key: str) -> None:
    config = parse(FEED.replace("include", key), file="f")
    assert getattr(config.set, key) == ("office",)


def test_feeds_alone_are_a_set() -> None:
    text = FEED.replace("[set]", "[set]\nname = 'OFFICE'\ncountries = []")
    assert parse(text, file="f").set == SetConfig(name="OFFICE", countries=(), include=("office",))


@pytest.mark.parametrize("name", ["a", "a-1", "x" * 31])
def test_the_names_that_a_feed_can_have(name: str) -> None:
    assert feeds_of(FEED.replace("office", name))[0].name == name


@pytest.mark.parametrize("url", ["http://example.org/list", "http://192.0.2.1:8080/", "https://[2001:db8::1]/list.gz"])
def test_a_url_of_its_own_may_be_http_for_a_feed_and_for_a_registry(url: str) -> None:
    # whoever spells it out for this one source knows; a mirror stands for all of them
    assert feeds_of(FEED.replace("https://example.org/list", url))[0].url == url
    assert parse(f"[sources.apnic]\nurl = '{url}'", file="f").sources.urls["apnic"] == url


NO_URL = "is not a URL of https://host/... or file:///path"


def test_a_geofeed_that_names_no_countries_is_asked_for_those_of_the_set() -> None:
    geofeed = f"{FEED}format = 'geofeed'\n"
    assert feeds_of(geofeed)[0].countries == ("JP",)
    east = geofeed.replace("[set]", "[set]\nname = 'EAST'\ncountries = ['KR', 'TW']")
    assert feeds_of(east)[0].countries == ("KR", "TW")
    assert feeds_of(f"{geofeed}countries = ['DE']")[0].countries == ("DE",)
    assert feeds_of(FEED)[0].countries == ()


def test_a_feed_is_described_by_what_decides_which_of_its_addresses_are_taken() -> None:
    assert [feed.description for feed in feeds_of(EVERYTHING)] == [
        "office plain",
        "aws-tokyo aws regions=ap-northeast-1,GLOBAL services=EC2",
        "gcp-tokyo gcp scopes=asia-northeast1",
        "isp geofeed countries=KR,TW",
        "isp-all geofeed countries=JP",
    ]
    moved = EVERYTHING.replace("https://example.org/cloud.json", "file:///cloud.json").replace('"30d"', '"31d"')
    assert [feed.description for feed in feeds_of(moved)] == [feed.description for feed in feeds_of(EVERYTHING)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('name = "office"\n', ""), ["4: feed[0].name: is missing"]),
        (('url = "https://example.org/list"\n', ""), ["4: feed[0].url: is missing"]),
        ((FEED[FEED.index("name") :], ""), ["4: feed[0].name: is missing", "4: feed[0].url: is missing"]),
        (('"office"\nurl', "5\nurl"), ["5: feed[0].name: must be text, not a number"]),
        (("url = ", "uri = "), ["4: feed[0].url: is missing", "6: feed[0].uri: unknown key; did you mean url?"]),
        (
            ("https:", "ftp:"),
            ["6: feed[0].url: 'ftp://example.org/list' is not a URL of https://host/... or file:///path"],
        ),
        (
            ("https://example.org/list", "file:///"),
            [f"6: feed[0].url: 'file:///' {NO_URL}"],
        ),
        (
            ('[set]\ninclude = ["office"]', "[set]\n"),
            ["5: feed[0].name: neither set.include nor set.exclude names 'office'"],
        ),
        (("[[feed]]", "[feed]"), ["4: feed: must be an array of tables, [[feed]]"]),
    ],
    ids=str,
)
def test_a_mistake_of_a_feed_is_named_with_its_key_and_line(change: tuple[str, str], expected: list[str]) -> None:
    text = FEED.replace(*change)
    assert text != FEED
    said = [problem for problem in problems_of(text) if "set.include[0]" not in problem]
    assert said == [f"fwfeed.toml:{problem}" for problem in expected]


@pytest.mark.parametrize("name", ["Office", "1st", "-x", "a_b", "a b", "", "x" * 32, "a/b", "..", "b\u00fcro"])
def test_a_name_that_would_not_do_for_a_folder_is_refused(name: str) -> None:
    problem = problem_of(f"[[feed]]\nname = '{name}'\nurl = 'https://example.org/'")
    assert problem == (
        f"fwfeed.toml:2: feed[0].name: {name!r} is not a feed's name: "
        "a small letter, then small letters, digits or -, 31 in all"
    )


@pytest.mark.parametrize("name", [*REGISTRY_URLS, "special-purpose"])
def test_the_name_of_a_registry_or_group_is_taken(name: str) -> None:
    text = f"[[feed]]\nname = '{name}'\nurl = 'https://example.org/'"
    assert problem_of(text) == f"fwfeed.toml:2: feed[0].name: {name!r} is already the name of a registry or group"


def test_a_name_that_is_there_twice_is_refused_with_the_line_of_the_second() -> None:
    text = FEED + FEED[FEED.index("[[feed]]") :]
    assert problem_of(text) == "fwfeed.toml:8: feed[1].name: 'office' is there twice"


FILTERS = {"regions": "aws", "services": "aws", "scopes": "gcp", "countries": "geofeed"}


@pytest.mark.parametrize("key", FILTERS)
@pytest.mark.parametrize("kind", Format)
def test_a_filter_of_another_format_is_refused(key: str, kind: Format) -> None:
    text = f"{FEED}format = '{kind}'\n{key} = ['JP']"
    if kind == FILTERS[key]:
        assert getattr(feeds_of(text)[0], key) == ("JP",)
    else:
        assert problem_of(text) == (
            f'fwfeed.toml:8: feed[0].{key}: is a filter of format "{FILTERS[key]}", and this feed is "{kind}"'
        )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("format = 'csv'", "format: 'csv' is none of plain, aws, gcp, geofeed"),
        ("max_age = '7d'", 'max_age: a "plain" file does not say of what day it is'),
        ("format = 'geofeed'\nmax_age = '7d'", 'max_age: a "geofeed" file does not say of what day it is'),
        ("max_age = '1y'", 'max_age: \'1y\' is not a time like "36h" or "7d", nor "off"'),
        ("regoins = ['x']", "regoins: unknown key; did you mean regions?"),
        ("countries = ['UK']\nformat = 'geofeed'", "countries[0]: 'UK' is not a country code; did you mean GB?"),
        ("regions = 'x'\nformat = 'aws'", "regions: must be a list of texts, not text"),
        ("regions = ['x', 'x']\nformat = 'aws'", "regions[1]: 'x' is there twice"),
        ("regions = ['x,y']\nformat = 'aws'", "regions[0]: 'x,y' is not a name of letters, digits, spaces and _ . -"),
        ("scopes = ['']\nformat = 'gcp'", "scopes[0]: '' is not a name of letters, digits, spaces and _ . -"),
    ],
)
def test_a_bad_value_of_a_feed_has_its_line(line: str, expected: str) -> None:
    wanted = expected.partition("[")[0].partition(":")[0]
    number = next(number for number, each in enumerate(f"{FEED}{line}".split("\n"), 1) if each.startswith(wanted))
    assert problem_of(f"{FEED}{line}") == f"fwfeed.toml:{number}: feed[0].{expected}"


SECOND = f"""\
{FEED}
# the second one
[[feed]]
format = "aws"
  name = "isp"
"url" = "gopher://example.org/"
[outbound]
name = "not this one"
[[ feed ]] # the third one
url = "https://example.org/third"
name = "third"
bogus = 1
"""


def test_each_of_several_feeds_has_its_own_lines() -> None:
    assert problems_of(SECOND.replace('["office"]', '["office", "isp", "third"]')) == [
        "fwfeed.toml:12: feed[1].url: 'gopher://example.org/' is not a URL of https://host/... or file:///path",
        "fwfeed.toml:14: outbound.name: unknown key",
        "fwfeed.toml:18: feed[2].bogus: unknown key",
    ]


@pytest.mark.parametrize("kind", ["plain", "geofeed"])
def test_a_list_without_a_date_has_no_age(kind: str) -> None:
    text = FEED.rstrip() + f"\nformat = '{kind}'\nmax_age = '7d'\n"
    assert problem_of(text).endswith(f'feed[0].max_age: a "{kind}" file does not say of what day it is')


def test_a_geofeed_that_would_be_taken_whole_is_refused() -> None:
    text = FEED.rstrip().replace("[set]", "[set]\nname = 'ISP'\ncountries = []") + "\nformat = 'geofeed'\n"
    assert problem_of(text) == (
        "fwfeed.toml:6: feed[0].countries: is missing, and set.countries has none to take in its place"
    )
    assert feeds_of(text + "countries = ['JP']")[0].countries == ("JP",)


def test_a_key_that_the_second_feed_lacks_has_the_line_of_its_header() -> None:
    text = f"{FEED}\n[[feed]]\nname = 'isp'\n"
    assert "fwfeed.toml:8: feed[1].url: is missing" in problems_of(text)


def test_every_feed_that_nobody_names_is_told_with_the_line_of_its_name() -> None:
    text = f"{FEED}[[feed]]\nurl = 'https://example.org/'\nname = 'one'\n[[feed]]\nname = 'two'\nurl = 'https://example.org/'\n"
    assert problems_of(text) == [
        "fwfeed.toml:9: feed[1].name: neither set.include nor set.exclude names 'one'",
        "fwfeed.toml:11: feed[2].name: neither set.include nor set.exclude names 'two'",
    ]


@pytest.mark.parametrize(
    ("term", "hint"), [("ofice", "; did you mean office?"), ("Office", "; did you mean office?"), ("cloud", "")]
)
@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_name_that_no_feed_has_is_told_with_what_comes_near(key: str, term: str, hint: str) -> None:
    text = FEED.replace("include", f"{key} = ['{term}']\n{'exclude' if key == 'include' else 'include'}")
    assert problem_of(text) == (
        f"fwfeed.toml:2: set.{key}[0]: '{term}' is neither an address, a CIDR, "
        f"the group special-purpose, nor the name of a [[feed]]{hint}"
    )


def test_feeds_written_in_one_line_are_feeds_and_their_mistakes_are_told() -> None:
    text = "feed = [{name = 'office', url = 'https://example.org/'}]\n[set]\ninclude = ['office']"
    assert feeds_of(text)[0].name == "office"
    assert problems_of(text.replace("url", "uri")) == [
        "fwfeed.toml: feed[0].url: is missing",
        "fwfeed.toml: feed[0].uri: unknown key; did you mean url?",
    ]


@pytest.mark.parametrize("value", ["5", "'x'", "[1]", "[[]]", "{name = 'x'}", "[{}, 1]"])
def test_what_stands_in_the_place_of_feeds_is_refused(value: str) -> None:
    assert problem_of(f"feed = {value}") == "fwfeed.toml:1: feed: must be an array of tables, [[feed]]"


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
_TABLE_NAMES = [table.name for table in fields(Config) if table.name not in {"feeds", "digest"}]
_KNOWN = st.sampled_from(
    sorted(
        {table.name for table in fields(Config) if table.name not in {"feeds", "digest"}}
        | {
            key.name
            for table in fields(Config)
            if table.name not in {"feeds", "digest"}
            for key in fields(getattr(Config(), table.name))
        }
        | {key.name for key in fields(Feed)}
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
_FEEDS = st.lists(st.dictionaries(_KEYS, _VALUES, max_size=6), max_size=3)
_TABLES = st.builds(
    lambda tables, feeds: tables | ({"feed": feeds} if feeds else {}),
    st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=5) | _VALUES, max_size=5),
    _FEEDS,
)


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
