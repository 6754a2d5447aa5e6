"""What is fuzzed: each target's way into fwfeed, what has to hold of the outcome, its seeds, and words of its format.

A target's `attempt` may let only the errors it names out, and their text has to be fit for a terminal.
"""

from __future__ import annotations

import json
import lzma
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from fwfeed import candidate, config, delegated, feeds, fetch, logline, netlink, nflog
from fwfeed.delegation import Snapshot
from fwfeed.errors import ConfigError, FwfeedError, ParseError
from fwfeed.feeds import Feed, Format
from fwfeed.flow import Kind
from fwfeed.model import Listed, Listing
from fwfeed.prefixes import Family, Range, format_address, parse_address
from tests.unit import builders

DATA = Path(__file__).parents[1] / "data"
FILE = "fuzzed"
REGISTRY = "apnic"
RECORDS = 120
KINDS = (b"asn", b"ipv4", b"ipv6")


@dataclass(frozen=True)
class Target:
    """A parser under fuzzing; `errors` is what its docstring says it raises."""

    attempt: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[str, ...]
    errors: type[Exception] = ParseError

    def run(self, raw: bytes) -> None:
        """Give the parser these bytes; what else comes out than is allowed is a find."""
        refusal = None
        try:
            self.attempt(raw)
        except self.errors as error:
            refusal = error
        if refusal is not None:
            assert all(line.isprintable() for line in str(refusal).split("\n")), "a message with control characters"
            assert not isinstance(refusal, ParseError) or len(str(refusal)) < 1000, "a message of hostile length"


def _check_range(first: int, last: int, family: Family) -> None:
    assert 0 <= first <= last <= family.last, "a range outside its family"


# Delegated files


def _parse_delegated(raw: bytes) -> Snapshot:
    return delegated.parse([raw], file=FILE, registry=REGISTRY)


def _attempt_delegated(raw: bytes) -> None:
    with suppress(ParseError):
        _check_snapshot(_parse_delegated(raw))
    _check_snapshot(_parse_delegated(_counted(raw.split(b"\n"))))


def _check_snapshot(snapshot: Snapshot) -> None:
    for family in Family:
        delegations = snapshot.delegations(family)
        for delegation in delegations:
            _check_range(delegation.first, delegation.last, family)
            assert delegation.registry == REGISTRY
        assert all(one.last < other.first for one, other in pairwise(sorted(delegations))), "delegations overlap"


def _counted(lines: Iterable[bytes]) -> bytes:
    """Put what could be records below a header and summaries that count them, so that the parser gets deep."""
    records = [
        line for line in lines if line.count(b"|") >= 6 and b"*" not in line and not line.startswith((b"2", b"#"))
    ]
    kinds = Counter(line.split(b"|")[2] for line in records)
    header = b"2|%s|1|%d|19830101|20181012|+1000" % (REGISTRY.encode(), len(records))
    summaries = [b"%s|*|%s|*|%d|summary" % (REGISTRY.encode(), kind, kinds[kind]) for kind in KINDS]
    return b"".join(line + b"\n" for line in (header, *summaries, *records))


def _seed_delegated() -> Iterable[bytes]:
    for path in sorted((DATA / "rir-2018-10-13").glob("*.xz")):
        registry = path.name.split("-")[1].encode()
        with lzma.open(path) as opened:
            lines = [line.rstrip(b"\n") for line in opened]
        for kind in KINDS:
            of_kind = (line for line in lines if line.startswith(registry + b"|") and b"|%s|" % kind in line)
            yield _counted(line.replace(registry, REGISTRY.encode(), 1) for line in islice(of_kind, 1, RECORDS))


# Feeds


def _attempt_feed(*variants: Feed) -> Callable[[bytes], None]:
    def attempt(raw: bytes) -> None:
        feed = variants[len(raw) % len(variants)]
        listing = feeds.parse(raw, feed=feed, file=FILE)
        lines = raw.count(b"\n") + 1
        for family in Family:
            for first, last, line in listing.listed(family):
                _check_range(first, last, family)
                assert 0 <= line <= lines, "a line that is not in the file"
        if feed.format is Format.GEOFEED:
            _check_disjoint(listing)
        else:
            assert len(listing.ipv4) + len(listing.ipv6) <= listing.records
        if feed.format is Format.PLAIN:
            _check_round_trip(feed, listing)

    return attempt


def _check_disjoint(listing: Listing) -> None:
    for family in Family:
        in_order = sorted(listing.listed(family))
        assert all(one.last < other.first for one, other in pairwise(in_order)), "an address is of two entries"
    assert listing.discarded <= listing.records


def _check_round_trip(feed: Feed, listing: Listing) -> None:
    def spans(entries: Iterable[Listed]) -> list[Range]:
        return [(entry.first, entry.last) for entry in entries]

    written = "".join(
        f"{format_address(entry.first, family)}-{format_address(entry.last, family)}\n"
        for family in Family
        for entry in listing.listed(family)
    )
    again = feeds.parse(written.encode(), feed=feed, file=FILE)
    assert all(spans(again.listed(family)) == spans(listing.listed(family)) for family in Family), "no round trip"


def _feed(format_: Format, **filters: Any) -> Feed:
    return Feed(name="fuzzed", url="https://example.net/", format=format_, **filters)


def _seed_files(*patterns: str) -> Callable[[], Iterable[bytes]]:
    return lambda: [path.read_bytes() for pattern in patterns for path in sorted(DATA.glob(pattern))]


# Everything else


def _attempt_config(raw: bytes) -> None:
    read = config.parse(raw.decode(errors="replace"), file=FILE)
    assert read.set.name
    assert read.sources.registries
    assert read.set.countries or read.set.include


def _attempt_candidate(raw: bytes) -> None:
    read = candidate.load(raw, file=FILE)
    assert candidate.dump(read) == raw
    for family in Family:
        for first, last in read.ranges(family):
            _check_range(first, last, family)


def _seed_candidate() -> Iterable[bytes]:
    read = config.parse("", file=FILE)
    yield candidate.dump(builders.candidate(read))
    yield candidate.dump(builders.candidate(read, (), ()))


def _seed_config() -> Iterable[bytes]:
    yield (DATA / "demo.toml.in").read_bytes()
    yield b'[set]\nname = "DE"\ncountries = ["DE", "AT"]\ninclude = ["special-purpose", "192.0.2.0/24", "2001:db8::1"]'
    yield b'[sources]\nmirrors = ["https://example.net/", "file:///srv"]\nmax_age = "off"\nchecksum = "optional"'
    yield b'[sources.apnic]\nurl = "https://example.net/x.xz"\n[gates]\nmax_shrink = "1.5%"\n[paths]\nstate = "/srv"'
    yield b'[outbound]\naction = "log"\nlimit = "10/s"\nforwarded = false\n[inbound]\naction = "restrict"'


def _attempt_checksum(raw: bytes) -> None:
    read = fetch.parse_checksum(raw)
    assert len(read) == 32
    assert set(read) <= set("0123456789abcdef")


def _seed_checksum() -> Iterable[bytes]:
    digest = "d41d8cd98f00b204e9800998ecf8427e"
    for text in (digest, f"{digest}  name\n", f"{digest} *name", f"MD5 (name) = {digest}\n", f"MD5(name)={digest}"):
        yield text.encode()
    yield from _seed_files("rir-2018-10-13/*.md5")()


def _attempt_logline(raw: bytes) -> None:
    prefixes = ("OUTBOUND_FOREIGN ", "INBOUND_FOREIGN ")
    marks = tuple(prefix.encode() for prefix in prefixes)
    at = datetime(2026, 7, 1, tzinfo=UTC)
    readers = (
        logline.of_journal(prefixes),
        logline.of_syslog(prefixes, at),
        logline.of_dmesg(prefixes, at),
        lambda line: logline.parse(marks[0] + line, 1_782_864_000_000_000, marks),
    )
    for reader in readers:
        for moment, port, kind in logline.lines_of(raw.split(b"\n"), reader):
            assert moment // 10**16 in {0, -1}
            assert port is None or 0 <= port <= 65535
            _check_flow(kind)
            assert kind.prefix in prefixes


def _attempt_nflog(raw: bytes) -> None:
    for body in (raw, *(body for _kind, _sequence, body in netlink.messages(raw))):
        if (packet := nflog.parse(body, 1_795_593_000.5)) is not None:
            _check_flow(packet.flow)
            assert packet.flow.source_port is None or 0 <= packet.flow.source_port <= 65535


def _check_flow(flow: Kind) -> None:
    for address in (flow.source, flow.destination):
        assert format_address(parse_address(address, flow.family), flow.family) == address, "not canonical"
    for text in (flow.protocol, flow.interface, flow.prefix):
        assert text.isprintable()
    assert flow.uid is None or 0 <= flow.uid < (1 << 32) - 1
    assert flow.destination_port is None or 0 <= flow.destination_port <= 65535


def _seed_nflog() -> Iterable[bytes]:
    for body in json.loads((DATA / "flows/nflog.json").read_text()):
        yield bytes.fromhex(body)
        yield netlink.message(1024, 0, 1, bytes.fromhex(body))


def _seed_logline() -> Iterable[bytes]:
    for line in (DATA / "flows/journal.json").read_bytes().splitlines():
        yield line
        message = json.loads(line)["MESSAGE"].encode()
        yield message.partition(b" ")[2]
        yield b"[   12.345678] " + message
        yield b"Jul  1 12:34:56 host kernel: " + message


_ADDRESSES = ("192.0.2.0/24", "198.51.100.1", "203.0.113.0", "/32", "/0", "2001:db8::/32", "::", "::ffff:192.0.2.1")
_JSON = ('"syncToken":"1"', '"prefixes":[', "]", "{", "},", '"region":"a"', "NaN", "1e999", "\\u0000", "\\/", "[[[[")

TARGETS = {
    "delegated": Target(
        _attempt_delegated,
        _seed_delegated,
        (*_ADDRESSES, "apnic|", "|ipv4|", "|ipv6|", "|asn|", "|allocated", "|available", "|4294967295|", "summary"),
    ),
    "plain": Target(
        _attempt_feed(_feed(Format.PLAIN)),
        _seed_files("feeds/plain.txt", "feeds/goog.json"),
        (*_ADDRESSES, " - ", "\r\n"),
    ),
    "aws": Target(
        _attempt_feed(
            _feed(Format.AWS),
            _feed(Format.AWS, regions=("ap-northeast-1",)),
            _feed(Format.AWS, regions=("eu-central-1",), services=("S3", "AMAZON")),
        ),
        _seed_files("feeds/aws.json"),
        (*_ADDRESSES, *_JSON, '"ip_prefix":', '"ipv6_prefix":', '"ipv6_prefixes":[', '"createDate":'),
    ),
    "gcp": Target(
        _attempt_feed(_feed(Format.GCP), _feed(Format.GCP, scopes=("asia-northeast1",))),
        _seed_files("feeds/gcp.json", "feeds/goog.json"),
        (*_ADDRESSES, *_JSON, '"ipv4Prefix":', '"ipv6Prefix":', '"scope":', '"creationTime":'),
    ),
    "geofeed": Target(
        _attempt_feed(_feed(Format.GEOFEED), _feed(Format.GEOFEED, countries=("JP",))),
        _seed_files("feeds/geofeed.csv"),
        (*_ADDRESSES, ",JP", ",DE", ",ZZ", ",,,,", "\r\n", "#"),
    ),
    "config": Target(
        _attempt_config,
        _seed_config,
        ("[set]", "[sources]", "[gates]", "[[feed]]", "= [", "= true", "nan", "inf", "1979-05-27", "'''", "\\u0000"),
        ConfigError,
    ),
    "candidate": Target(
        _attempt_candidate,
        _seed_candidate,
        ('"format": 1', '"ipv4": [', '"192.0.2.0/24"', '"sources": [', "null", "1e999", "NaN", "\\ud800"),
        FwfeedError,
    ),
    "logline": Target(
        _attempt_logline,
        _seed_logline,
        (
            "IN=",
            " OUT=",
            "SRC=",
            "DST=",
            "PROTO=",
            "SPT=",
            "DPT=",
            "UID=",
            "[",
            "]",
            '"_TRANSPORT":"kernel"',
            "\\u0000",
        ),
    ),
    "nflog": Target(_attempt_nflog, _seed_nflog, ("\x08\x00\x05\x00", "\x45\x00", "OUTBOUND_FOREIGN ")),
    "checksum": Target(_attempt_checksum, _seed_checksum, ("MD5", " = ", "(", ")", " *"), ValueError),
}
