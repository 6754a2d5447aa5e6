"""Getting files: from file:// and from a real HTTPS server on the loopback, packed and plain, good and bad."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from fwfeed.config import REGISTRY_URLS, Checksum, SourcesConfig, parse
from fwfeed.errors import ConfigError, ExitCode, FeedRefused
from fwfeed.fetch import Delivery, Missing, deliver, file_name, get, locations, parse_checksum, unpack
from tests.unit.builders import JAPAN, delegated, publish

RAW = delegated("apnic", JAPAN)
MD5 = hashlib.md5(RAW).hexdigest()
NAME = "delegated-apnic-extended-latest"

PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
suffixes = pytest.mark.parametrize("suffix", PACKERS)


def sources(url: str, *mirrors: str, checksum: Checksum = Checksum.REQUIRED) -> SourcesConfig:
    return SourcesConfig(mirrors=mirrors, checksum=checksum, urls={**REGISTRY_URLS, "apnic": url})


def refusal_of(given: SourcesConfig) -> FeedRefused:
    with pytest.raises(FeedRefused) as caught:
        deliver("apnic", given)
    assert caught.value.code is ExitCode.REFUSED
    assert caught.value.message.startswith("apnic: ")
    assert caught.value.way_out, "there is always a way out"
    return caught.value


def publish_packed(folder: Path, suffix: str, packed: bytes) -> str:
    """Put a packed file beside the .md5 of the unpacked one, as the registries and mirrors do."""
    return publish(folder, "apnic", packed, suffix=suffix, checksum=f"{MD5}  {NAME}\n".encode())


def test_a_plain_file_is_delivered_with_its_digests(tmp_path: Path) -> None:
    url = publish(tmp_path, "apnic", RAW)
    delivery = deliver("apnic", sources(url))
    assert delivery == Delivery("apnic", url, RAW, MD5, hashlib.sha256(RAW).hexdigest())


def test_a_path_with_a_space_is_found(tmp_path: Path) -> None:
    url = publish(tmp_path / "two words", "apnic", RAW)
    assert "%20" in url
    assert deliver("apnic", sources(url)).raw == RAW


@suffixes
def test_a_packed_file_is_unpacked_and_its_md5_is_of_the_plain_one(suffix: str, tmp_path: Path) -> None:
    url = publish_packed(tmp_path, suffix, PACKERS[suffix](RAW))
    delivery = deliver("apnic", sources(url))
    assert (delivery.raw, delivery.md5) == (RAW, MD5)


@suffixes
def test_concatenated_streams_are_one_file(suffix: str, tmp_path: Path) -> None:
    pack = PACKERS[suffix]
    url = publish_packed(tmp_path, suffix, pack(RAW[:50]) + pack(b"") + pack(RAW[50:]))
    assert deliver("apnic", sources(url)).raw == RAW


@suffixes
def test_packed_data_cut_short_is_refused(suffix: str, tmp_path: Path) -> None:
    url = publish_packed(tmp_path, suffix, PACKERS[suffix](RAW)[:-5])
    assert refusal_of(sources(url)).message == f"apnic: {url}: the {suffix} data ends too early"


@suffixes
def test_every_cut_of_packed_data_is_refused(suffix: str) -> None:
    packed = PACKERS[suffix](RAW)
    for length in range(1, len(packed)):
        with pytest.raises(ValueError, match=r"ends too early|damaged"):
            unpack(packed[:length], suffix, 1 << 20)


@suffixes
def test_data_that_is_not_packed_at_all_is_refused(suffix: str, tmp_path: Path) -> None:
    url = publish_packed(tmp_path, suffix, RAW)
    assert f"damaged {suffix} data" in refusal_of(sources(url)).message


@suffixes
def test_rubbish_after_the_last_stream_is_refused(suffix: str) -> None:
    with pytest.raises(ValueError, match=r"damaged|ends too early"):
        unpack(PACKERS[suffix](RAW) + b"rubbish behind the end", suffix, 1 << 20)


@suffixes
def test_a_bomb_is_stopped_at_the_cap(suffix: str) -> None:
    bomb = PACKERS[suffix](bytes(5 << 20))
    with pytest.raises(ValueError, match="more than 1 MiB when unpacked"):
        unpack(bomb, suffix, 1 << 20)


@suffixes
def test_a_bomb_of_many_streams_is_stopped_at_the_cap(suffix: str) -> None:
    with pytest.raises(ValueError, match="more than 1 MiB when unpacked"):
        unpack(PACKERS[suffix](bytes(1 << 19)) * 3, suffix, 1 << 20)


@suffixes
def test_exactly_the_cap_is_let_through(suffix: str) -> None:
    assert unpack(PACKERS[suffix](bytes(1 << 20)), suffix, 1 << 20) == bytes(1 << 20)


@suffixes
@pytest.mark.timeout(10)
def test_empty_streams_without_end_take_no_time_without_end(suffix: str) -> None:
    # 4 MiB of streams that hold nothing never reach the cap; their number must not cost its square
    empty = PACKERS[suffix](b"")
    with suppress(ValueError):  # refusing so many would do as well
        assert unpack(empty * ((4 << 20) // len(empty)), suffix, 1 << 20) == b""


def test_a_missing_file_is_refused_with_its_url(tmp_path: Path) -> None:
    url = (tmp_path / NAME).as_uri()
    assert refusal_of(sources(url)).message == f"apnic: {url}: there is no such file"


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    assert refusal_of(sources(tmp_path.as_uri())).message == f"apnic: {tmp_path.as_uri()}: Is a directory"


@pytest.mark.parametrize("url", ["file:///a%00b", "https://[::1", "https://a..b/", "https://-a/", "https://a/\u3042"])
def test_a_url_that_passes_for_one_but_is_none_is_a_mistake_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f'[sources.apnic]\nurl = "{url}"', file="f")
    assert "is not a URL of https://host/... or file:///path" in refused.value.message


@pytest.mark.parametrize("url", ["https://127.0.0.1:99999/x", "https://[zz]/x"])
def test_a_url_that_leads_nowhere_is_refused_with_its_url(url: str) -> None:
    assert url in refusal_of(sources(url)).message


def test_a_missing_md5_is_refused_where_it_is_required(tmp_path: Path) -> None:
    url = publish(tmp_path, "apnic", RAW)
    (tmp_path / f"{NAME}.md5").unlink()
    refusal = refusal_of(sources(url))
    assert refusal.message == f"apnic: {url}.md5: there is no such file, and sources.checksum is required"
    assert 'checksum = "optional"' in refusal.way_out


def test_a_missing_md5_is_accepted_where_it_is_optional(tmp_path: Path) -> None:
    url = publish(tmp_path, "apnic", RAW)
    (tmp_path / f"{NAME}.md5").unlink()
    assert deliver("apnic", sources(url, checksum=Checksum.OPTIONAL)).md5 == MD5


@pytest.mark.parametrize("checksum", Checksum)
def test_a_wrong_md5_is_refused_required_or_not(checksum: Checksum, tmp_path: Path) -> None:
    url = publish(tmp_path, "apnic", RAW, checksum=b"0" * 32)
    message = refusal_of(sources(url, checksum=checksum)).message
    assert message == f"apnic: {url}: MD5 is {MD5}, but the .md5 file says {'0' * 32}"


@pytest.mark.parametrize("checksum", Checksum)
def test_an_md5_that_is_html_is_refused_required_or_not(checksum: Checksum, tmp_path: Path) -> None:
    url = publish(tmp_path, "apnic", RAW, checksum=b"<html><body>Sign in</body></html>")
    assert refusal_of(sources(url, checksum=checksum)).message == f"apnic: {url}.md5: not an MD5 checksum"


@pytest.mark.parametrize(
    "text",
    [
        f"MD5 (delegated-apnic-extended-20260101) = {MD5}\n",
        f"MD5({NAME})= {MD5}",
        f"{MD5}  {NAME}\n",
        f"{MD5} *{NAME}\n",
        f"{MD5.upper()}\n",
    ],
)
def test_both_shapes_of_an_md5_file_are_read(text: str) -> None:
    assert parse_checksum(text.encode()) == MD5


@pytest.mark.parametrize("text", ["", MD5[:-1], f"{MD5}0", f"{MD5} a b", "\xff" * 32, f"SHA1 (x) = {MD5}"])
def test_anything_else_is_no_md5_file(text: str) -> None:
    with pytest.raises(ValueError, match="not an MD5 checksum"):
        parse_checksum(text.encode("latin-1"))


def test_mirrors_come_first_and_in_order_and_the_registrys_own_url_last() -> None:
    given = sources("https://own.example/f", "https://a.example/{registry}/", "file:///srv/rir")
    assert locations("apnic", given) == [
        f"https://a.example/apnic/{NAME}",
        f"file:///srv/rir/{NAME}",
        "https://own.example/f",
    ]


def test_every_registrys_file_keeps_its_own_name() -> None:
    assert {file_name(registry) for registry in REGISTRY_URLS} == {
        f"delegated-{registry}-extended-latest" for registry in REGISTRY_URLS
    }


def test_the_first_mirror_that_is_good_is_used(tmp_path: Path) -> None:
    publish(tmp_path / "b" / "apnic", "apnic", RAW)
    own = publish(tmp_path / "own", "apnic", RAW)
    given = sources(own, (tmp_path / "a").as_uri(), f"{tmp_path.as_uri()}/b/{{registry}}")
    assert deliver("apnic", given).url == f"{tmp_path.as_uri()}/b/apnic/{NAME}"


def test_a_bad_mirror_falls_through_to_the_next(tmp_path: Path) -> None:
    publish(tmp_path / "a", "apnic", RAW, checksum=b"0" * 32)
    own = publish(tmp_path / "own", "apnic", RAW)
    assert deliver("apnic", sources(own, (tmp_path / "a").as_uri())).url == own


def test_when_no_location_is_good_every_reason_is_told(tmp_path: Path) -> None:
    wrong = publish(tmp_path / "a", "apnic", RAW, checksum=b"0" * 32)
    own = (tmp_path / "own" / NAME).as_uri()
    message = refusal_of(sources(own, (tmp_path / "a").as_uri())).message
    assert message == (f"apnic: {wrong}: MD5 is {MD5}, but the .md5 file says {'0' * 32}; {own}: there is no such file")


def test_a_file_over_the_cap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(bytes(1001))
    with pytest.raises(FeedRefused, match="more than 1,000 bytes"):
        get(path.as_uri(), 1000)
    path.write_bytes(bytes(1000))
    assert len(get(path.as_uri(), 1000)) == 1000


@dataclass(frozen=True)
class Answer:
    """What a server says to one request."""

    body: bytes = b""
    status: int = 200
    location: str = ""


@dataclass
class Server:
    """A web server on the loopback; `answers` has those of each path in order, the last one for good."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        answers = self.answers.get(path, [Answer(b"not here", 404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def publish(self, raw: bytes, *checksums: bytes) -> str:
        """Publish a file and, in this order, what its .md5 says each time it is asked for."""
        self.answers["/f"] = [Answer(raw)]
        self.answers["/f.md5"] = [Answer(checksum) for checksum in checksums]
        return f"{self.url}/f"


@contextmanager
def serving(context: ssl.SSLContext | None) -> Iterator[Server]:
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = server.answer(self.path)
            self.send_response(answer.status)
            if answer.location:
                self.send_header("Location", answer.location)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        def handle_error(self, *_arguments: object) -> None:
            pass  # a client that hangs up at the cap is what is tested

    with Listener(("127.0.0.1", 0), Handler) as listener:
        if context is not None:
            listener.socket = context.wrap_socket(listener.socket, server_side=True)
        server.url = f"{'http' if context is None else 'https'}://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    # a proxy of the machine would be asked for 127.0.0.1 too
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def https(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose certificate is trusted, the way an administrator would trust a private one."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with serving(server_context(authority)) as server:
        yield server


def test_a_file_comes_over_https(https: Server) -> None:
    url = https.publish(RAW, f"MD5 (f) = {MD5}\n".encode())
    assert deliver("apnic", sources(url)).raw == RAW
    assert https.asked == ["/f", "/f.md5"]


def test_a_packed_file_comes_over_https(https: Server) -> None:
    https.answers = {"/f.xz": [Answer(lzma.compress(RAW))], "/f.md5": [Answer(MD5.encode())]}
    assert deliver("apnic", sources(f"{https.url}/f.xz")).raw == RAW


def test_a_redirect_within_https_is_followed(https: Server) -> None:
    https.publish(RAW, MD5.encode())
    https.answers["/old"] = [Answer(status=301, location="/f")]
    https.answers["/old.md5"] = [Answer(status=301, location="/f.md5")]
    assert deliver("apnic", sources(f"{https.url}/old")).raw == RAW


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_missing(status: int, https: Server) -> None:
    https.answers["/f"] = [Answer(b"no", status)]
    with pytest.raises(Missing, match=rf"^{https.url}/f: there is no such file \(HTTP {status}\)$"):
        get(f"{https.url}/f", 1000)


def test_a_missing_md5_over_https_is_accepted_where_it_is_optional(https: Server) -> None:
    https.answers["/f"] = [Answer(RAW)]
    given = sources(f"{https.url}/f", checksum=Checksum.OPTIONAL)
    assert deliver("apnic", given).raw == RAW


@pytest.mark.parametrize(
    ("status", "reason"), [(500, "Internal Server Error"), (403, "Forbidden"), (204, "No Content")]
)
def test_another_status_is_refused_with_its_number(status: int, reason: str, https: Server) -> None:
    https.answers["/f"] = [Answer(status=status)]
    assert refusal_of(sources(f"{https.url}/f")).message == f"apnic: {https.url}/f: HTTP {status} {reason}"


def test_an_md5_that_cannot_be_had_for_now_is_not_taken_for_missing(https: Server) -> None:
    # otherwise whoever can break one request could switch the check off
    https.answers = {"/f": [Answer(RAW)], "/f.md5": [Answer(status=503)]}
    message = refusal_of(sources(f"{https.url}/f", checksum=Checksum.OPTIONAL)).message
    assert message == f"apnic: {https.url}/f.md5: HTTP 503 Service Unavailable"


def test_a_redirect_to_http_is_refused(https: Server) -> None:
    with serving(None) as plain:
        plain.publish(RAW, MD5.encode())
        https.answers["/f"] = [Answer(status=302, location=f"{plain.url}/f")]
        message = refusal_of(sources(f"{https.url}/f")).message
    assert message == f"apnic: {https.url}/f: is redirected to {plain.url}/f, which is not https"


def test_a_redirect_by_way_of_http_is_refused_too(https: Server) -> None:
    # whoever sits between could send the second redirect anywhere, and answer for both file and .md5
    with serving(None) as plain:
        https.publish(RAW, MD5.encode())
        for name in ("f", "f.md5"):
            plain.answers[f"/{name}"] = [Answer(status=302, location=f"{https.url}/{name}")]
            https.answers[f"/old{name[1:]}"] = [Answer(status=302, location=f"{plain.url}/{name}")]
        message = refusal_of(sources(f"{https.url}/old")).message
    assert "which is not https" in message


def test_redirects_in_a_circle_are_refused(https: Server) -> None:
    https.answers["/f"] = [Answer(status=302, location="/f")]
    assert refusal_of(sources(f"{https.url}/f")).message.startswith(f"apnic: {https.url}/f: ")


def test_a_portals_page_for_everything_is_refused(https: Server) -> None:
    page = b"<!DOCTYPE html><html><body>Sign in to the hotel's network</body></html>"
    url = https.publish(page, page)
    assert refusal_of(sources(url)).message == f"apnic: {url}.md5: not an MD5 checksum"


def test_a_body_over_the_cap_is_refused(https: Server) -> None:
    https.answers["/f"] = [Answer(bytes(3 << 20))]
    with pytest.raises(FeedRefused, match="more than 1,048,576 bytes"):
        get(f"{https.url}/f", 1 << 20)


def test_a_body_of_exactly_the_cap_is_let_through(https: Server) -> None:
    https.answers["/f"] = [Answer(bytes(1000))]
    assert len(get(f"{https.url}/f", 1000)) == 1000


def test_an_md5_file_over_its_cap_is_refused(https: Server) -> None:
    url = https.publish(RAW, MD5.encode() + b" " * 5000)
    assert "more than 4,096 bytes" in refusal_of(sources(url)).message


def test_a_packed_answer_of_the_servers_own_is_unpacked_once_only(https: Server) -> None:
    # the .gz is what was asked for; a server that also says Content-Encoding would have it unpacked in between
    https.answers = {"/f.gz": [Answer(zlib.compress(RAW))], "/f.md5": [Answer(MD5.encode())]}
    assert "damaged .gz data" in refusal_of(sources(f"{https.url}/f.gz")).message


def test_a_certificate_of_an_unknown_authority_is_refused(
    https: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    url = https.publish(RAW, MD5.encode())
    message = refusal_of(sources(url)).message
    assert message.startswith(f"apnic: {url}: ")
    assert "certificate" in message
    assert https.asked == []


def test_a_certificate_for_another_host_is_refused(https: Server) -> None:
    url = https.publish(RAW, MD5.encode()).replace("127.0.0.1", "localhost")
    message = refusal_of(sources(url)).message
    assert message.startswith(f"apnic: {url}: ")
    assert https.asked == []


def test_a_refused_connection_is_told_as_such(https: Server) -> None:
    with serving(None) as gone:
        url = gone.url.replace("http:", "https:") + "/f"
    message = refusal_of(sources(url)).message
    assert message == f"apnic: {url}: [Errno 111] Connection refused"


def test_a_connection_cut_in_the_middle_is_refused(https: Server) -> None:
    class Short(bytes):
        """A body that says it is longer than it is."""

        def __len__(self) -> int:
            return super().__len__() + 100

    https.answers["/f"] = [Answer(Short(RAW))]
    message = refusal_of(sources(f"{https.url}/f")).message
    assert message.startswith(f"apnic: {https.url}/f: ")


def test_a_file_that_is_ahead_of_its_md5_is_good_on_the_second_try(https: Server) -> None:
    url = https.publish(RAW, b"0" * 32, MD5.encode())
    assert deliver("apnic", sources(url)).raw == RAW
    assert https.asked == ["/f", "/f.md5", "/f", "/f.md5"]


def test_there_is_no_third_try(https: Server) -> None:
    url = https.publish(RAW, b"0" * 32, b"1" * 32, MD5.encode())
    assert refusal_of(sources(url)).message.endswith(f"but the .md5 file says {'1' * 32}")
    assert len(https.asked) == 4
