"""What a server can do to a fetch: each is refused whole, with its reason, and nothing moves."""

from __future__ import annotations

import bz2
import gzip
import lzma
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.hostile.place import AUSTRALIA, RECORDS, THE_SET, Place, checksum, newer, today
from tests.hostile.server import Answer, Request, Server, Talk, chunk, context_of, head, says, unanswering, whole
from tests.unit.builders import JAPAN, delegated

NEWER = newer()
PAGE = b"<!DOCTYPE html>\n<html><body>Sign in to the hotel's network</body></html>\n"
DAMAGED = bytearray(bz2.compress(NEWER))
DAMAGED[len(DAMAGED) // 2] ^= 0xFF


SERVES = "; the file accepted last, to "


THE_FILE, ITS_CHECKSUM = whole(NEWER), whole(checksum(NEWER))


@dataclass(frozen=True, kw_only=True)
class Case:
    """What apnic's server does, and what is told of it; {url} stands for the URL of its file.

    `or_told` is what other versions of OpenSSL say. `path` is where the configuration has the file by then.
    """

    told: str
    or_told: str = ""
    file: Answer = THE_FILE
    checksum: Answer = ITS_CHECKSUM
    path: str = "/delegated-apnic-extended-latest"


def chunked(*pieces: bytes) -> Answer:
    return says(head(Transfer_Encoding="chunked"), *pieces)


def dripping(before: bytes, drop: bytes) -> Answer:
    """Send a byte now and then: no single read ever has to wait long."""

    def answer(talk: Talk, _request: Request) -> None:
        talk.send(before)
        while True:
            talk.drip(drop)

    return answer


def endless(before: bytes, piece: bytes) -> Answer:
    """Send as much as is taken."""

    def answer(talk: Talk, _request: Request) -> None:
        talk.send(before)
        while True:
            talk.send(piece)

    return answer


def stalling(*pieces: bytes) -> Answer:
    def answer(talk: Talk, _request: Request) -> None:
        talk.send(*pieces)
        talk.stall()

    return answer


def resetting(*pieces: bytes) -> Answer:
    def answer(talk: Talk, _request: Request) -> None:
        talk.send(*pieces)
        time.sleep(0.05)  # a reset overtakes what was sent before it
        talk.reset()

    return answer


def redirecting(target: str) -> Answer:
    return whole(b"", "302 Found", Location=target)


def greedy_xz() -> bytes:
    """Return a file of xz that asks its reader for a dictionary of 4 GiB."""
    raw = bytearray(lzma.compress(NEWER))
    assert raw[12:16] == b"\x02\x00\x21\x01", "the header of the first block, with LZMA2 and its one property"
    raw[16] = 40
    raw[20:24] = zlib.crc32(raw[12:20]).to_bytes(4, "little")
    return bytes(raw)


def of(raw: bytes, told: str) -> Case:
    """Return the case of a file that comes well, and has a true .md5."""
    return Case(told=told, file=whole(raw), checksum=whole(checksum(raw)))


HALF = NEWER[: len(NEWER) // 2]
WRONG = "{url}: MD5 is "
CUT = "{url}: the body is cut short: "
TRANSFERS = {
    "the body is shorter than its Content-Length": Case(told=CUT, file=says(head(length=len(NEWER) + 100), NEWER)),
    "the body is longer than its Content-Length": Case(
        told=WRONG, file=says(head(length=len(NEWER) - 50, Connection="close"), NEWER)
    ),
    "the body has two lengths": Case(
        told="{url}: Content-Length contained multiple unmatching values (",
        file=says(head(length=len(NEWER), content_length=str(len(NEWER) - 50)), NEWER),
    ),
    "the body of no known length is cut": Case(told=WRONG, file=says(head(), HALF)),
    "a chunk is cut": Case(told=CUT, file=chunked(chunk(HALF), chunk(HALF)[:-10])),
    "the last chunk does not come": Case(told=CUT, file=chunked(chunk(NEWER))),
    "the size of a chunk is no number": Case(told=CUT, file=chunked(b"many\r\n", NEWER)),
    "the size of a chunk is negative": Case(
        told="{url}: the size of a chunk is negative",
        file=endless(head(Transfer_Encoding="chunked") + b"-1\r\n", bytes(1 << 20)),
    ),
    "the line of a chunk's size never ends": Case(
        told="{url}: got more than 65536 bytes when reading chunk size",
        file=endless(head(Transfer_Encoding="chunked"), b"0" * (1 << 16)),
    ),
    "the body never ends": Case(
        told="{url}: more than 67,108,864 bytes", file=endless(head(), b"# hello\n" * (1 << 17))
    ),
    "the body of the .md5 never ends": Case(
        told="{url}.md5: more than 4,096 bytes", checksum=endless(head(), b"0" * (1 << 16))
    ),
    "the headers never end": Case(
        told="{url}: got more than 100 headers", file=endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 1000)
    ),
    "a header line never ends": Case(
        told="{url}: more than 65,536 bytes of headers",
        file=endless(b"HTTP/1.1 200 OK\r\nx: ", b"y" * (1 << 16)),
    ),
    "a header line of 70,000 bytes": Case(
        told="{url}: more than 65,536 bytes of headers",
        file=whole(NEWER, x="y" * 70_000),
    ),
    "it says 100 Continue without end": Case(
        told="{url}: more than 65,536 bytes of headers", file=endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
    ),
    "99 headers of 1,000 bytes": Case(
        told="{url}: more than 65,536 bytes of headers",
        file=whole(NEWER, **{f"x-{number}": "y" * 1000 for number in range(98)}),
    ),
    "101 headers": Case(
        told="{url}: got more than 100 headers",
        file=whole(NEWER, **{f"x-{number}": "y" for number in range(100)}),
    ),
    "the status line never ends": Case(
        told="{url}: more than 65,536 bytes of headers",
        file=endless(b"HTTP/1.1 200 ", b"O" * (1 << 16)),
    ),
    "it speaks another protocol": Case(
        told="{url}: this is not HTTP: SSH-2.0-OpenSSH_9.2", file=says(b"SSH-2.0-OpenSSH_9.2\r\n")
    ),
    "it hangs up without a word": Case(told="{url}: Remote end closed connection without response", file=says()),
    **{
        f"the connection is reset after {tenths} tenths of the body": Case(
            told=CUT,
            or_told="{url}: [Errno 104] Connection reset",
            file=resetting(head(length=len(NEWER)), NEWER[: len(NEWER) * tenths // 10]),
        )
        for tenths in range(10)
    },
    "the connection is reset instead of the .md5": Case(
        told="{url}.md5: Remote end closed connection without response",
        or_told="{url}.md5: [Errno 104] Connection reset",
        checksum=resetting(),
    ),
}

ANSWERS = {
    "a captive portal answers everything": Case(
        told="{url}.md5: not an MD5 checksum", file=whole(PAGE), checksum=whole(PAGE)
    ),
    "a captive portal answers for the file": Case(told=WRONG, file=whole(PAGE)),
    "the .md5 is a portal's page": Case(told="{url}.md5: not an MD5 checksum", checksum=whole(PAGE)),
    "the .md5 is empty": Case(told="{url}.md5: not an MD5 checksum", checksum=whole(b"")),
    "the .md5 is of another file": Case(told=WRONG, checksum=whole(checksum(b"another file"))),
    "the .md5 is too large": Case(
        told="{url}.md5: more than 4,096 bytes", checksum=whole(checksum(NEWER) + bytes(5000))
    ),
    "there is no .md5": Case(
        told="{url}.md5: there is no such file (HTTP 404), and sources.checksum is required",
        checksum=whole(b"", "404 Not Found"),
    ),
    "the .md5 cannot be had": Case(
        told="{url}.md5: HTTP 503 Service Unavailable", checksum=whole(b"", "503 Service Unavailable")
    ),
    "304 for what was never fetched from there": Case(
        told="{url}: HTTP 304, not modified, to somebody who has no copy yet",
        path="/moved",
        file=says(head("304 Not Modified")),
    ),
    "304 for the .md5": Case(
        told="{url}.md5: HTTP 304, not modified, to somebody who has no copy yet",
        checksum=says(head("304 Not Modified")),
    ),
    "401": Case(told="{url}: HTTP 401 Unauthorized", file=whole(NEWER, "401 Unauthorized")),
    "403": Case(told="{url}: HTTP 403 Forbidden", file=whole(NEWER, "403 Forbidden")),
    "404": Case(told="{url}: there is no such file (HTTP 404)", file=whole(NEWER, "404 Not Found")),
    "410": Case(told="{url}: there is no such file (HTTP 410)", file=whole(NEWER, "410 Gone")),
    "500": Case(told="{url}: HTTP 500 Internal Server Error", file=whole(NEWER, "500 Internal Server Error")),
    "204": Case(told="{url}: HTTP 204 No Content", file=says(head("204 No Content"))),
    "206 though all was asked for": Case(
        told="{url}: HTTP 206 Partial Content", file=whole(NEWER, "206 Partial Content")
    ),
    "a reason that would write on the terminal": Case(
        told="{url}: HTTP 500 ?]0;owned??[2J?2J?fwfeed: all is well",
        file=whole(b"", "500 \x1b]0;owned\x07\x1b[2J\x9b2J\x85fwfeed: all is well"),
    ),
    "a reason of 60,000 characters": Case(told="{url}: HTTP 500 OOOOO", file=whole(b"", f"500 {'O' * 60_000}")),
    "a Retry-After that no clock has": Case(
        told="{url}: HTTP 503 Busy",
        file=whole(
            b"",
            "503 Busy",
            Retry_After="Sat, 01 Jan 2022 00:00:00 +99999999999999999999",
            Date="Sat, 01 Jan 2022 00:00:00 GMT",
        ),
    ),
    "a redirect to http": Case(
        told="{url}: is redirected to http://127.0.0.1/file, which is not https",
        file=redirecting("http://127.0.0.1/file"),
    ),
    "a redirect to file": Case(
        told="{url}: is redirected to file:///etc/passwd, which is not https", file=redirecting("file:///etc/passwd")
    ),
    "a redirect in a loop": Case(
        told="{url}: more than 5 redirects", file=redirecting("/delegated-apnic-extended-latest")
    ),
    "a redirect to a host that does not exist": Case(
        told="{url}: nowhere.invalid: ", file=redirecting("https://nowhere.invalid/file")
    ),
    "a redirect whose body never ends": Case(
        told="{url}: more than 5 redirects",
        file=endless(head("302 Found", Location="/delegated-apnic-extended-latest"), bytes(1 << 20)),
    ),
    "a redirect to no URL": Case(told="{url}: Invalid IPv6 URL", file=redirecting("https://[")),
    "a redirect without a target": Case(told="{url}: HTTP 302 Found", file=whole(b"", "302 Found")),
    "a redirect that would write on the terminal": Case(
        told="{url}: is redirected to ftp://x/", file=redirecting("ftp://x/\x1b[2J\x9b2J\x85fwfeed: all is well")
    ),
    "Content-Encoding gzip though identity was asked for": Case(
        told="{url}: comes in Content-Encoding 'gzip', though identity was asked for",
        file=whole(gzip.compress(NEWER), Content_Encoding="gzip"),
    ),
}

PACKED = {
    "gzip's bomb": Case(
        told="{url}: more than 64 MiB when unpacked",
        path="/f.gz",
        file=whole(gzip.compress(bytes(80 << 20))),
    ),
    "gzip's data is cut": Case(
        told="{url}: the .gz data ends too early", path="/f.gz", file=whole(gzip.compress(NEWER)[:-8])
    ),
    "bzip2's data is damaged": Case(told="{url}: damaged .bz2 data", path="/f.bz2", file=whole(bytes(DAMAGED))),
    "xz asks for 4 GiB of memory": Case(
        told="{url}: damaged .xz data (Memory usage limit exceeded)", path="/f.xz", file=whole(greedy_xz())
    ),
    "what should be packed is not": Case(told="{url}: damaged .gz data", path="/f.gz"),
}

CONTENTS = {
    "empty": of(b"", "{url}: the file has no header: it is empty"),
    "a page with a true .md5": of(PAGE, "{url}:1: this is HTML, not a delegated file"),
    "cut at the end of a line": of(
        NEWER[: NEWER.index(AUSTRALIA.encode()) - len("apnic|")],
        "{url}:3: the summary promises 2 ipv4 records, the file has 1 (1 fewer)",
    ),
    "NUL bytes": of(NEWER.replace(b"198.19.0.0", b"198.19\0.0"), "{url}:8: there is a NUL byte in the line"),
    "CR LF": of(NEWER.replace(b"\n", b"\r\n"), "{url}:1: the line ends in CR LF"),
    "a byte order mark": of(b"\xef\xbb\xbf" + NEWER, "{url}:1: the file begins with a UTF-8 byte order mark"),
    "not ASCII": of(NEWER.replace(b"AU|", "Á|".encode()), "{url}:8: byte 0xc3 is not ASCII"),
    "a range in two countries": of(
        newer("apnic", AUSTRALIA.replace("AU", "NZ")),
        "{url}:9: delegations to different countries overlap: 198.19.0.0-198.19.0.255 to AU (line 8) and ",
    ),
    "ranges of two countries that overlap": of(
        newer("apnic", "NZ|ipv4|198.19.0.128|256|20240101|assigned"),
        "{url}:9: delegations to different countries overlap: 198.19.0.0-198.19.0.255 to AU (line 8) and 198.19.0.128-",
    ),
    "a line of 100 kB": of(newer("apnic", f"{AUSTRALIA}|{'x' * 100_000}"), "{url}:9: the line is longer than 65,536"),
    "a record of no form": of(newer("apnic", "NZ|ipv4|x|1||y"), "{url}:9: start 'x' is not an IPv4 address"),
    "a promise of 600,001 records": of(
        delegated("apnic", JAPAN[:2], promised=600_001), "{url}:1: the header promises 600,001 records"
    ),
    "another registry's file": of(newer("ripencc"), "{url}:1: this is the file of registry 'ripencc', not of apnic"),
    "a serial of 2099": of(newer(serial=20991231), "{url}: the file is from the future: serial 20991231, to "),
    "an end date of next week": of(newer(end=today(7)), "{url}: the file is from the future: serial 2, to "),
}

CASES = {**TRANSFERS, **ANSWERS, **PACKED, **CONTENTS}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_and_nothing_moves(name: str, before: str, place: Place) -> None:
    case = CASES[name]
    url = place.urls["apnic"] = f"{place.server.url}{case.path}"
    place.configure()
    kept = place.moving()
    place.server.answers[case.path] = [case.file]
    plain = case.path.removesuffix(".gz").removesuffix(".bz2").removesuffix(".xz")
    place.server.answers[f"{plain}.md5"] = [case.checksum]
    ended = place.run("fetch")
    told = case.told if not case.or_told or case.told.format(url=url) in ended.err else case.or_told
    place.assert_refused(ended, told.format(url=f"apnic: {url}"), kept)
    assert (SERVES in ended.err) is (before == "accepted"), ended.err


SLOW: dict[str, tuple[Answer, ...]] = {
    "nothing comes at all": (stalling(),),
    "the status line comes byte by byte": (dripping(b"HTTP/1.1 200 ", b"O"),),
    "the headers come byte by byte": (dripping(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),),
    "the headers stop in the middle": (stalling(b"HTTP/1.1 200 OK\r\nContent-Length: 2"),),
    "it says 100 Continue now and then": (dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),),
    "the body comes byte by byte": (dripping(head(length=1 << 20), b"2"),),
    "the body stops in the middle": (stalling(head(length=len(NEWER)), HALF),),
    "the chunks are of one byte": (dripping(head(Transfer_Encoding="chunked"), chunk(b"2")),),
    "the trailers never end": (
        endless(head(Transfer_Encoding="chunked") + chunk(NEWER) + b"0\r\n", b"x: y\r\n" * 1000),
    ),
    "the .md5 comes byte by byte": (whole(NEWER), dripping(head(length=4000), b"2")),
}


@pytest.mark.parametrize("names", [tuple(SLOW)[:5], tuple(SLOW)[5:]], ids="+".join)
def test_what_would_last_forever_is_cut_at_the_deadline(names: Sequence[str], before: str, place: Place) -> None:
    place.configure(deadline="1s")
    kept = place.moving()
    for registry, name in zip(RECORDS, names, strict=True):
        place.say(*SLOW[name], registry=registry)
    begun = time.monotonic()
    ended = place.run("fetch")
    assert 0.9 < time.monotonic() - begun < 2.5
    for registry, name in zip(RECORDS, names, strict=True):
        part = ".md5" if len(SLOW[name]) == 2 else ""
        place.assert_refused(ended, f"{registry}: {place.url(registry)}{part}: not done within 1 s", kept)


def unfriendly(_talk: Talk) -> None:
    """Hang up at the first byte."""


def handshake_reset(talk: Talk) -> None:
    talk.receive()
    talk.reset()


def handshake_dripping(talk: Talk) -> None:
    talk.receive()
    talk.send(b"\x16\x03\x03\x40\x00")  # the head of a record of 16 kB
    while True:
        talk.drip(b"\x02")


def handshake_stalling(talk: Talk) -> None:
    talk.stall()


def plain_http(talk: Talk) -> None:
    talk.receive()
    talk.send(head("400 Bad Request", length=3), b"no!")
    talk.close()


def another_protocol(talk: Talk) -> None:
    talk.send(b"SSH-2.0-OpenSSH_9.2\r\n")
    talk.stall()


GREETINGS: dict[str, tuple[Callable[[Talk], None], tuple[str, ...], int]] = {
    "it hangs up instead of a handshake": (unfriendly, ("EOF", "reset by peer"), 20),
    "it resets the connection in the handshake": (handshake_reset, ("reset by peer", "EOF"), 20),
    "its handshake comes byte by byte": (handshake_dripping, ("not done within 1 s",), 1),
    "its handshake does not come": (handshake_stalling, ("not done within 1 s",), 1),
    "it speaks plain HTTP": (plain_http, ("WRONG_VERSION_NUMBER", "wrong version number", "record layer"), 20),
    "it speaks no TLS": (another_protocol, ("WRONG_VERSION_NUMBER", "wrong version number", "record layer"), 20),
}


@pytest.mark.parametrize("name", GREETINGS)
def test_it_is_refused_before_anything_is_asked(name: str, before: str, place: Place) -> None:
    greet, reasons, deadline = GREETINGS[name]
    with Server(None, greet=greet) as other:
        assert_refused_elsewhere(place, f"{other.url}/f", reasons, deadline=deadline)


def assert_refused_elsewhere(place: Place, url: str, reasons: Sequence[str], *, deadline: int = 20) -> None:
    """Assert that apnic's file is refused for one of the reasons where it has moved to another server."""
    place.urls["apnic"] = url
    place.configure(deadline=f"{deadline}s")
    kept = place.moving()
    begun = time.monotonic()
    ended = place.run("fetch")
    if deadline == 1:
        assert 0.9 < time.monotonic() - begun < 2.5
    place.assert_refused(ended, f"apnic: {url}: ", kept)
    assert any(reason in ended.err for reason in reasons), ended.err


def test_nobody_listens(before: str, place: Place) -> None:
    with Server(None) as gone:
        pass
    assert_refused_elsewhere(place, f"https://127.0.0.1:{gone.port}/f", ["[Errno 111] Connection refused"])


def test_nobody_takes_the_connection(before: str, place: Place) -> None:
    with unanswering() as port:
        assert_refused_elsewhere(place, f"https://127.0.0.1:{port}/f", ["not done within 1 s"], deadline=1)


def test_the_certificate_has_expired(before: str, authority: trustme.CA, place: Place) -> None:
    ended = datetime.now(UTC) - timedelta(days=1)
    leaf = authority.issue_cert("127.0.0.1", not_before=ended - timedelta(days=90), not_after=ended)
    with Server(context_of(leaf.configure_cert)) as other:
        assert_refused_elsewhere(place, f"{other.url}/f", ["certificate has expired"])
        assert other.requests == []


def test_the_certificate_is_anothers(before: str, authority: trustme.CA, place: Place) -> None:
    with Server(context_of(authority.issue_cert("mirror.example").configure_cert)) as other:
        assert_refused_elsewhere(
            place, f"{other.url}/f", ["certificate is not valid for '127.0.0.1'", "doesn't match 'mirror.example'"]
        )
        assert other.requests == []


def test_the_certificate_is_of_an_unknown_authority(before: str, place: Place) -> None:
    with Server(context_of(trustme.CA().issue_cert("127.0.0.1").configure_cert)) as other:
        assert_refused_elsewhere(place, f"{other.url}/f", ["certificate verify failed"])
        assert other.requests == []


def test_without_the_bundle_our_own_authority_is_unknown(
    before: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "another.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    kept = place.moving()
    place.assert_refused(place.run("fetch"), f"ripencc: {place.url('ripencc')}: ", kept)
    assert place.server.requests == []


def test_a_serial_that_goes_backwards_is_refused(place: Place) -> None:
    place.publish("apnic", newer(serial=20))
    place.accept()
    place.answer(newer(serial=19))
    kept = place.moving()
    told = f"apnic: {place.url()}: the serial goes backwards: serial 19, to {today()}, after serial 20, to {today()}"
    place.assert_refused(place.run("fetch"), told, kept)


def test_an_end_date_that_goes_backwards_is_refused(place: Place) -> None:
    place.accept()
    place.answer(newer(serial=2, end=today(-1)))
    kept = place.moving()
    told = f"apnic: {place.url()}: the end date goes backwards: serial 2, to {today(-1)}, after serial 1, to {today()}"
    place.assert_refused(place.run("fetch"), told, kept)


def test_a_file_that_is_too_old_is_refused_the_first_time(place: Place) -> None:
    place.answer(newer(end=today(-8)))
    kept = place.moving()
    told = f"apnic: {place.url()}: the file ends on {today(-8)}, 8 days ago; allowed are 7"
    place.assert_refused(place.run("fetch"), told, kept)


def test_600_001_records_are_refused(before: str, place: Place) -> None:
    lines = b"".join(b"apnic|AU|asn|%d|1||allocated\n" % number for number in range(600_001))
    heads = f"2|apnic|2|600000|19830101|{today():%Y%m%d}|+0000\napnic|*|asn|*|600000|summary\n".encode()
    place.answer(heads + lines)
    kept = place.moving()
    told = f"apnic: {place.url()}:600003: the file has more than 600,000 records"
    place.assert_refused(place.run("fetch"), told, kept)


def test_a_file_over_the_cap_is_refused_though_all_of_it_is_true(before: str, place: Place) -> None:
    place.answer(NEWER + b"# hello\n" * (8 << 20))
    kept = place.moving()
    place.assert_refused(place.run("fetch"), f"apnic: {place.url()}: more than 67,108,864 bytes", kept)


def test_a_file_and_an_md5_of_different_days_are_looked_at_twice_and_no_more(before: str, place: Place) -> None:
    place.say(whole(NEWER), whole(checksum(b"yesterday's")))
    kept = place.moving()
    place.assert_refused(place.run("fetch"), f"apnic: {place.url()}: MD5 is ", kept)
    paths = [place.path(), f"{place.path()}.md5"] * 2
    asked = [request for request in place.server.requests if "apnic" in request.path]
    assert [request.path for request in asked] == paths
    assert asked[-1].conditions == {}


def test_when_all_are_dead_what_was_accepted_serves(place: Place) -> None:
    place.accept()
    kept = place.moving()
    for registry in RECORDS:
        place.say(says(), registry=registry)
    ended = place.run("fetch")
    for registry in RECORDS:
        place.assert_refused(ended, f"{registry}: {place.url(registry)}: Remote end closed connection", kept)
    # of all but apnic nothing is in the set
    assert ended.err.count(f"{SERVES}{today()}, serves on") == 1
    assert ended.err.count(f"{SERVES}{today()}, stays; it gives the set nothing") == 4


def test_when_all_are_dead_the_first_time_every_reason_is_told(place: Place) -> None:
    kept = place.moving()
    for registry in RECORDS:
        place.say(says(), registry=registry)
    ended = place.run("fetch")
    for registry in RECORDS:
        place.assert_refused(ended, f"{registry}: {place.url(registry)}: Remote end closed connection", kept)
    assert SERVES not in ended.err


def test_one_dead_registry_keeps_nobody_elses_news_out_however_old_its_file_is(place: Place) -> None:
    place.publish("apnic", newer(end=today(-2)))
    place.accept()
    place.say(says())
    place.publish("ripencc", newer("ripencc"))
    before = place.kept()
    ended = place.run("fetch")
    assert ended.code == 3
    assert f"apnic: {place.url()}: Remote end closed connection without response{SERVES}{today(-2)}" in ended.err
    after = place.kept()
    moved = {str(Path(path).relative_to(place.root)) for path in after if after[path] != before[path]}
    name = "cache/ripencc/delegated-ripencc-extended-latest"
    ours = {"state/candidate/candidate.json", "state/candidate/delegations.sqlite"}
    assert moved == {name, f"{name}.md5", "cache/ripencc/meta.json"} | ours
    assert "AU, ripencc" in place.run("lookup", "198.19.0.1").out
    assert place.listed() == THE_SET

    place.configure(max_age="1d")
    place.publish("ripencc", newer("ripencc", serial=3))
    before = place.kept()
    ended = place.run("fetch")
    assert ended.code == 3
    kept = "apnic: last good file is 2 days old, limit 1: its part of the set is kept"
    assert f"{kept}; {place.url()}: Remote end closed connection without response" in ended.err
    after = place.kept()
    assert {str(Path(path).relative_to(place.root)) for path in after if after[path] != before[path]} == moved
    assert place.listed() == THE_SET


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        ("429 Too Many Requests", {"Retry_After": "1"}, 1.0),
        ("503 Busy", {"Retry_After": "Sat, 01 Jan 2022 00:00:01 GMT", "Date": "Sat, 01 Jan 2022 00:00:00 GMT"}, 1.0),
        ("429 Too Many Requests", {"Retry_After": "soon"}, 0.5),
        ("503 Busy", {"Retry_After": "Sat, 01 Jan 2022 00:00:00 GMT", "Date": "Sat, 01 Jan 2022 00:00:09 GMT"}, 0.5),
    ],
)
def test_retry_after_is_honoured(status: str, headers: dict[str, str], wait: float, place: Place) -> None:
    place.accept()
    place.configure(retries=1)
    kept = place.moving()
    place.say(whole(b"", status, **headers))
    begun = time.monotonic()
    ended = place.run("fetch")
    assert wait <= time.monotonic() - begun < wait + 1.5
    place.assert_refused(ended, f"apnic: {place.url()}: HTTP {status} (tried 2 times)", kept)
    assert len(place.server.asked(place.path())) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry_After": "3600"},
        {"Retry_After": "9" * 400},
        {"Retry_After": "Sat, 01 Jan 2022 01:00:00 GMT", "Date": "Sat, 01 Jan 2022 00:00:00 GMT"},
    ],
)
def test_a_retry_after_beyond_the_deadline_is_refused_at_once(
    headers: dict[str, str], before: str, place: Place
) -> None:
    place.configure(retries=3)
    kept = place.moving()
    place.say(whole(b"", "503 Busy", **headers))
    begun = time.monotonic()
    ended = place.run("fetch")
    assert time.monotonic() - begun < 1
    place.assert_refused(ended, f"apnic: {place.url()}: HTTP 503 Busy; no time is left to wait ", kept)
    assert len(place.server.asked(place.path())) == 1


FEEDS = {
    "a list that does not say how long it is": (
        says(head(), b"192.0.2.0/24\n"),
        "the server does not say how long the file is, so a cut would not show",
    ),
    "a list whose length is no number": (
        says(head(length="many"), b"192.0.2.0/24\n"),
        "the server does not say how long the file is, so a cut would not show",
    ),
    "a list that is cut": (says(head(length=100), b"192.0.2.0/24\n"), "the body is cut short: "),
    "a list that is a portal's page": (whole(PAGE), "HTML"),
}


@pytest.mark.parametrize("name", FEEDS)
def test_a_feed_is_refused_too(name: str, before: str, place: Place) -> None:
    answer, reason = FEEDS[name]
    url = f"{place.server.url}/list.txt"
    feed = f'[[feed]]\nname = "list"\nurl = "{url}"\n'
    place.server.answers["/list.txt"] = [whole(b"192.0.2.0/24\n")]
    place.configure(feed=[("list", feed)])
    if before == "accepted":
        assert place.run("fetch").code == 0
    kept = place.moving()
    place.server.answers["/list.txt"] = [answer]
    ended = place.run("fetch")
    place.assert_refused(ended, f"list: {url}", kept)
    assert reason in ended.err
