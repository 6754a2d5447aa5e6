"""Getting files: from file:// and from a real HTTPS server on the loopback, packed and plain, good and bad."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from fwfeed.config import REGISTRY_URLS, Checksum, Config, SourcesConfig, parse
from fwfeed.errors import ConfigError, ExitCode, FeedRefused, FwfeedError
from fwfeed.feeds import Feed, Format
from fwfeed.fetch import (
    Deadline,
    Delivery,
    Digests,
    FileSink,
    Mismatch,
    Order,
    Validators,
    deliver,
    file_name,
    orders,
    parse_checksum,
    unpack,
)
from fwfeed.fetch.parts import Missing
from tests.unit.builders import JAPAN, delegated, publish
from tests.unit.server import Answer, Server, server_context, serving

pytestmark = pytest.mark.usefixtures("loopback")

RAW = delegated("apnic", JAPAN)
MD5 = hashlib.md5(RAW).hexdigest()
DIGESTS = Digests(size=len(RAW), md5=MD5, sha256=hashlib.sha256(RAW).hexdigest())
NAME = "delegated-apnic-extended-latest"
CAP = 1 << 20

PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
suffixes = pytest.mark.parametrize("suffix", PACKERS)


def order(
    *urls: str,
    checksum: Checksum | None = Checksum.REQUIRED,
    cap: int = CAP,
    folders: bool = False,
    name: str = "apnic",
) -> Order:
    return Order(name=name, urls=urls, cap=cap, checksum=checksum, folders=folders)


@dataclass(frozen=True)
class Got:
    """A file that was delivered and unpacked."""

    delivery: Delivery
    digests: Digests
    raw: bytes


def ask(
    wanted: Order,
    came: Path,
    known: Validators | None = None,
    *,
    retries: int = 0,
    seconds: float = 60.0,
    seen: Callable[[int, int], None] = lambda _size, _total: None,
) -> Delivery | None:
    """Ask the first location of an order."""
    deadline = Deadline(seconds)
    with deadline, FileSink(came) as to:
        return deliver(wanted, wanted.urls[0], to, known, deadline=deadline, retries=retries, seen=seen)


def get(wanted: Order, folder: Path, known: Validators | None = None, *, retries: int = 0) -> Got:
    """Get the file of an order from its first location, as a refresh does."""
    came = folder / "came"
    delivery = ask(wanted, came, known, retries=retries)
    assert delivery is not None
    path = folder / "file" if delivery.url.endswith(tuple(PACKERS)) else came
    digests = unpack(delivery, came, path, wanted.cap)
    raw = path.read_bytes()
    assert digests == Digests(size=len(raw), md5=hashlib.md5(raw).hexdigest(), sha256=hashlib.sha256(raw).hexdigest())
    return Got(delivery, digests, raw)


def refusal_of(wanted: Order, folder: Path, *, retries: int = 0) -> FeedRefused:
    with pytest.raises(FeedRefused) as caught:
        get(wanted, folder, retries=retries)
    assert caught.value.code is ExitCode.REFUSED
    assert caught.value.message.startswith(wanted.urls[0].removesuffix(".gz").removesuffix(".bz2").removesuffix(".xz"))
    assert caught.value.way_out, "there is always a way out"
    return caught.value


def publish_packed(folder: Path, suffix: str, packed: bytes) -> str:
    """Put a packed file beside the .md5 of the unpacked one, as the registries and mirrors do."""
    return publish(folder, "apnic", packed, suffix=suffix, checksum=f"{MD5}  {NAME}\n".encode())


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder to get files into, apart from where they are published."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def test_a_plain_file_is_delivered_with_its_digests(tmp_path: Path, here: Path) -> None:
    url = publish(tmp_path, "apnic", RAW)
    got = get(order(url), here)
    validators = Validators(etag=DIGESTS.sha256, last_modified="")
    assert got == Got(Delivery(url=url, validators=validators, md5=MD5), DIGESTS, RAW)


def test_a_path_with_a_space_is_found(tmp_path: Path, here: Path) -> None:
    url = publish(tmp_path / "two words", "apnic", RAW)
    assert "%20" in url
    assert get(order(url), here).raw == RAW


def test_an_empty_file_is_a_file(tmp_path: Path, here: Path) -> None:
    # what is wrong with it is for its parser to say
    assert get(order(publish(tmp_path, "apnic", b"")), here).raw == b""


@suffixes
def test_a_packed_file_is_unpacked_and_its_md5_is_of_the_plain_one(suffix: str, tmp_path: Path, here: Path) -> None:
    got = get(order(publish_packed(tmp_path, suffix, PACKERS[suffix](RAW))), here)
    assert (got.raw, got.delivery.md5, got.digests) == (RAW, MD5, DIGESTS)


@suffixes
def test_concatenated_streams_are_one_file(suffix: str, tmp_path: Path, here: Path) -> None:
    pack = PACKERS[suffix]
    url = publish_packed(tmp_path, suffix, pack(RAW[:50]) + pack(b"") + pack(RAW[50:]))
    assert get(order(url), here).raw == RAW


@suffixes
def test_packed_data_cut_short_is_refused(suffix: str, tmp_path: Path, here: Path) -> None:
    url = publish_packed(tmp_path, suffix, PACKERS[suffix](RAW)[:-5])
    assert refusal_of(order(url), here).message == f"{url}: the {suffix} data ends too early"


@suffixes
def test_data_that_is_not_packed_at_all_is_refused(suffix: str, tmp_path: Path, here: Path) -> None:
    url = publish_packed(tmp_path, suffix, RAW)
    assert f"{url}: damaged {suffix} data" in refusal_of(order(url), here).message


@suffixes
def test_a_bomb_is_refused_with_its_url(suffix: str, tmp_path: Path, here: Path) -> None:
    url = publish_packed(tmp_path, suffix, PACKERS[suffix](bytes(3 << 20)))
    assert refusal_of(order(url), here).message == f"{url}: more than 1 MiB when unpacked"


def test_a_missing_file_is_refused_with_its_url(tmp_path: Path, here: Path) -> None:
    url = (tmp_path / NAME).as_uri()
    refusal = refusal_of(order(url), here)
    assert isinstance(refusal, Missing)
    assert refusal.message == f"{url}: there is no such file"
    assert list(here.iterdir()) == [], "nothing is written where nothing came"


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path, here: Path) -> None:
    url = tmp_path.as_uri()
    assert refusal_of(order(url), here).message == f"{url}: Is a directory"
    assert refusal_of(order(url, checksum=None), here).message == f"{url}: Is a directory"


@pytest.mark.parametrize("url", ["file:///a%00b", "https://[::1", "https://a..b/", "https://-a/", "https://a/\u3042"])
def test_a_url_that_passes_for_one_but_is_none_is_a_mistake_of_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(f'[sources.apnic]\nurl = "{url}"', file="f")
    assert "is not a URL of https://host/... or file:///path" in refused.value.message


@pytest.mark.parametrize("url", ["https://127.0.0.1:99999/x", "https://[zz]/x"])
def test_a_url_that_leads_nowhere_is_refused_with_its_url(url: str, here: Path) -> None:
    message = refusal_of(order(url), here, retries=3).message
    assert message.startswith(f"{url}: ")
    assert "tried" not in message, "to ask again would change nothing"


def test_a_missing_md5_is_refused_where_it_is_required(tmp_path: Path, here: Path) -> None:
    url = publish(tmp_path, "apnic", RAW)
    (tmp_path / f"{NAME}.md5").unlink()
    refusal = refusal_of(order(url), here)
    assert refusal.message == f"{url}.md5: there is no such file, and sources.checksum is required"
    assert 'checksum = "optional"' in refusal.way_out


def test_a_missing_md5_is_accepted_where_it_is_optional(tmp_path: Path, here: Path) -> None:
    url = publish(tmp_path, "apnic", RAW)
    (tmp_path / f"{NAME}.md5").unlink()
    got = get(order(url, checksum=Checksum.OPTIONAL), here)
    assert (got.delivery.md5, got.digests.md5) == (None, MD5)


def test_the_md5_of_a_source_that_has_none_is_not_asked_for(tmp_path: Path, here: Path) -> None:
    url = publish(tmp_path, "apnic", RAW, checksum=b"0" * 32)
    assert get(order(url, checksum=None), here).delivery.md5 is None


@pytest.mark.parametrize("checksum", Checksum)
def test_a_wrong_md5_is_refused_required_or_not(checksum: Checksum, tmp_path: Path, here: Path) -> None:
    url = publish(tmp_path, "apnic", RAW, checksum=b"0" * 32)
    refusal = refusal_of(order(url, checksum=checksum), here)
    assert isinstance(refusal, Mismatch)
    assert refusal.message == f"{url}: MD5 is {MD5}, but the .md5 file says {'0' * 32}"


@suffixes
def test_an_md5_of_the_packed_file_is_refused(suffix: str, tmp_path: Path, here: Path) -> None:
    packed = PACKERS[suffix](RAW)
    url = publish(tmp_path, "apnic", packed, suffix=suffix, checksum=hashlib.md5(packed).hexdigest().encode())
    assert isinstance(refusal_of(order(url), here), Mismatch)


@pytest.mark.parametrize("checksum", Checksum)
def test_an_md5_that_is_html_is_refused_required_or_not(checksum: Checksum, tmp_path: Path, here: Path) -> None:
    url = publish(tmp_path, "apnic", RAW, checksum=b"<html><body>Sign in</body></html>")
    refusal = refusal_of(order(url, checksum=checksum), here)
    assert refusal.message == f"{url}.md5: not an MD5 checksum"


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
    urls = {**REGISTRY_URLS, "apnic": "https://own.example/f"}
    config = Config(
        sources=SourcesConfig(
            registries=("arin", "apnic"), mirrors=("https://a.example/{registry}/", "file:///srv/rir"), urls=urls
        )
    )
    arin, apnic = orders(config)
    assert apnic.urls == (f"https://a.example/apnic/{NAME}", f"file:///srv/rir/{NAME}", "https://own.example/f")
    assert (arin.name, arin.urls[-1], len(arin.urls)) == ("arin", REGISTRY_URLS["arin"], 3)


@pytest.mark.parametrize("checksum", Checksum)
def test_a_registrys_order_has_its_checksum_and_its_cap(checksum: Checksum) -> None:
    (made,) = orders(Config(sources=SourcesConfig(registries=("apnic",), checksum=checksum)))
    assert made == Order(name="apnic", urls=(REGISTRY_URLS["apnic"],), cap=64 << 20, checksum=checksum, folders=False)


@pytest.mark.parametrize("kind", Format)
def test_a_feeds_order_has_its_own_url_alone_no_checksum_and_a_cap_by_its_format(kind: Format) -> None:
    feed = Feed(name="x", url="https://x.example/x", format=kind)
    sources = SourcesConfig(registries=("apnic",), mirrors=("file:///srv/rir",), checksum=Checksum.REQUIRED)
    made = orders(Config(sources=sources, feeds=(feed,)))
    document = kind in {Format.AWS, Format.GCP}
    assert made[1:] == (
        Order(
            name="x",
            urls=("https://x.example/x",),
            cap=(8 if document else 16) << 20,
            checksum=None,
            folders=not document,
        ),
    )


def test_every_registrys_file_keeps_its_own_name() -> None:
    assert {file_name(registry) for registry in REGISTRY_URLS} == {
        f"delegated-{registry}-extended-latest" for registry in REGISTRY_URLS
    }


@pytest.mark.parametrize("over", [0, 1, 1 << 21])
def test_a_file_over_the_cap_is_refused(over: int, tmp_path: Path, here: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(bytes(1000 + over))
    wanted = order(path.as_uri(), checksum=None, cap=1000)
    if over:
        assert refusal_of(wanted, here).message == f"{path.as_uri()}: more than 1,000 bytes"
        assert list(here.iterdir()) == [], "its length is known before a byte is written"
    else:
        assert get(wanted, here).raw == bytes(1000)


def test_a_packed_file_over_the_cap_is_refused_before_it_is_unpacked(tmp_path: Path, here: Path) -> None:
    url = publish(tmp_path, "apnic", bytes(CAP + 1), suffix=".gz")
    assert refusal_of(order(url), here).message == f"{url}: more than 1,048,576 bytes"


def test_a_file_that_is_known_is_not_written_again(tmp_path: Path, here: Path) -> None:
    wanted = order(publish(tmp_path, "apnic", RAW))
    known = get(wanted, here).delivery.validators
    (here / "came").unlink()
    assert ask(wanted, here / "came", known) is None
    assert list(here.iterdir()) == []
    publish(tmp_path, "apnic", delegated("apnic", JAPAN, serial=2))
    assert get(wanted, here, known).raw == delegated("apnic", JAPAN, serial=2)


def test_a_disk_that_cannot_be_written_is_no_fault_of_the_file(tmp_path: Path, here: Path) -> None:
    (here / "file").touch()
    with pytest.raises(FwfeedError) as caught:
        ask(order(publish(tmp_path, "apnic", RAW)), here / "file" / "came")
    assert caught.value.code is ExitCode.FAILED
    assert caught.value.message.startswith(f"cannot write {here / 'file' / 'came'}: ")


LISTS = {"b": b"192.0.2.0/25\n", "a.txt": b"# ours\n198.51.100.0/24", "c": b""}


def lists(folder: Path) -> Path:
    folder.mkdir()
    for name, raw in LISTS.items():
        (folder / name).write_bytes(raw)
    return folder


def test_a_folder_stands_for_its_files_in_order_each_behind_its_name(tmp_path: Path, here: Path) -> None:
    folder = lists(tmp_path / "lists.d")
    for name in (".hidden", "b~", "b.bak", "b.rpmnew", "b.rpmsave", "b.swp"):
        (folder / name).write_bytes(b"203.0.113.0/24\n")
    (folder / "below").mkdir()
    (folder / "below" / "d").write_bytes(b"203.0.113.0/24\n")
    got = get(order(folder.as_uri(), checksum=None, folders=True), here)
    assert got.raw == (
        b"# of file a.txt\n# ours\n198.51.100.0/24\n"  # a line feed for the last line that has none
        b"# of file b\n192.0.2.0/25\n"
        b"# of file c\n"
    )
    known = got.delivery.validators
    assert ask(order(folder.as_uri(), checksum=None, folders=True), here / "came", known) is None
    (folder / "c").rename(folder / "d")
    assert ask(order(folder.as_uri(), checksum=None, folders=True), here / "came", known) is not None


def test_a_name_that_could_begin_a_line_of_its_own_cannot(tmp_path: Path, here: Path) -> None:
    folder = tmp_path / "lists.d"
    folder.mkdir()
    (folder / "x\n203.0.113.0").write_bytes(b"192.0.2.0/25\n")
    assert get(order(folder.as_uri(), checksum=None, folders=True), here).raw == (
        b"# of file x%0A203.0.113.0\n192.0.2.0/25\n"
    )


def test_a_comment_that_looks_like_a_mark_is_made_another(tmp_path: Path, here: Path) -> None:
    # or whoever may write one list of a folder could put his lines down to another
    folder = tmp_path / "lists.d"
    folder.mkdir()
    (folder / "a").write_bytes(b"# of file b\n192.0.2.0/25\n# of file b\n\xef\xbb\xbf# of file b\n")
    (folder / "c").write_bytes(b"\xef\xbb\xbf# of file b\n")
    raw = get(order(folder.as_uri(), checksum=None, folders=True), here).raw
    assert [line for line in raw.split(b"\n") if line.startswith(b"# of file ")] == [b"# of file a", b"# of file c"]
    assert raw.split(b"\n")[1] == b"## of file b"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("folders", [False, True])
def test_a_pipe_is_refused_at_once(folders: bool, tmp_path: Path, here: Path) -> None:  # noqa: FBT001
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FeedRefused, match=r"pipe: not a regular file$"):
        get(order((tmp_path / "pipe").as_uri(), checksum=None, folders=folders), here)


@pytest.mark.parametrize("number", [1000, 1001])
def test_a_folder_may_have_a_thousand_files(number: int, tmp_path: Path, here: Path) -> None:
    folder = tmp_path / "lists.d"
    folder.mkdir()
    for each in range(number):
        (folder / f"{each:04}").touch()
    wanted = order(folder.as_uri(), checksum=None, folders=True)
    if number > 1000:
        with pytest.raises(FeedRefused, match="more than 1000 files"):
            get(wanted, here)
    else:
        assert get(wanted, here).raw.count(b"\n") == number


def test_a_folder_is_capped_as_a_whole(tmp_path: Path, here: Path) -> None:
    folder = lists(tmp_path / "lists.d")
    size = len(get(order(folder.as_uri(), checksum=None, folders=True), here).raw)
    assert len(get(order(folder.as_uri(), checksum=None, folders=True, cap=size), here).raw) == size
    message = refusal_of(order(folder.as_uri(), checksum=None, folders=True, cap=size - 1), here).message
    assert message == f"{folder.as_uri()}: more than {size - 1} bytes"


def test_a_file_comes_over_https(https: Server, here: Path) -> None:
    url = https.publish(RAW, f"MD5 (f) = {MD5}\n".encode())
    got = get(order(url), here)
    assert (got.raw, got.delivery) == (
        RAW,
        Delivery(url=url, validators=Validators(etag="", last_modified=""), md5=MD5),
    )
    assert https.asked == ["/f", "/f.md5"]
    assert {headers["Accept-Encoding"] for headers in https.headers} == {"identity"}
    assert all(headers["User-Agent"].startswith("fwfeed/") for headers in https.headers)


def test_a_packed_file_comes_over_https(https: Server, here: Path) -> None:
    https.answers = {"/f.xz": [Answer(lzma.compress(RAW))], "/f.md5": [Answer(MD5.encode())]}
    assert get(order(f"{https.url}/f.xz"), here).raw == RAW


def test_a_file_comes_over_http_where_that_is_the_sources_own_url(here: Path) -> None:
    with serving(None) as plain:
        url = plain.publish(RAW, MD5.encode())
        assert url.startswith("http://")
        assert get(order(url), here).raw == RAW


def test_a_redirect_within_https_is_followed(https: Server, here: Path) -> None:
    https.publish(RAW, MD5.encode())
    https.answers["/old"] = [Answer(status=301, location="/f")]
    https.answers["/old.md5"] = [Answer(status=301, location="/f.md5")]
    got = get(order(f"{https.url}/old"), here)
    assert (got.raw, got.delivery.url) == (RAW, f"{https.url}/old")


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_missing(status: int, https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(b"no", status)]
    refusal = refusal_of(order(f"{https.url}/f"), here, retries=3)
    assert isinstance(refusal, Missing)
    assert refusal.message == f"{https.url}/f: there is no such file (HTTP {status})"
    assert https.asked == ["/f"], "to ask again would change nothing"


def test_a_missing_md5_over_https_is_accepted_where_it_is_optional(https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(RAW)]
    assert get(order(f"{https.url}/f", checksum=Checksum.OPTIONAL), here).raw == RAW


def test_a_missing_md5_over_https_is_refused_where_it_is_required(https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(RAW)]
    message = refusal_of(order(f"{https.url}/f"), here).message
    assert message == f"{https.url}/f.md5: there is no such file (HTTP 404), and sources.checksum is required"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(500, "Internal Server Error"), (403, "Forbidden"), (204, "No Content"), (206, "Partial Content")],
)
def test_another_status_is_refused_with_its_number(status: int, reason: str, https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(status=status)]
    assert refusal_of(order(f"{https.url}/f"), here).message == f"{https.url}/f: HTTP {status} {reason}"


def test_an_md5_that_cannot_be_had_for_now_is_not_taken_for_missing(https: Server, here: Path) -> None:
    # otherwise whoever can break one request could switch the check off
    https.answers = {"/f": [Answer(RAW)], "/f.md5": [Answer(status=503)]}
    message = refusal_of(order(f"{https.url}/f", checksum=Checksum.OPTIONAL), here).message
    assert message == f"{https.url}/f.md5: HTTP 503 Service Unavailable"


def test_a_redirect_to_http_is_refused(https: Server, here: Path) -> None:
    with serving(None) as plain:
        plain.publish(RAW, MD5.encode())
        https.answers["/f"] = [Answer(status=302, location=f"{plain.url}/f")]
        message = refusal_of(order(f"{https.url}/f"), here, retries=3).message
        assert plain.asked == []
    assert message == f"{https.url}/f: is redirected to {plain.url}/f, which is not https"


def test_a_redirect_by_way_of_http_is_refused_too(https: Server, here: Path) -> None:
    # whoever sits between could send the second redirect anywhere, and answer for both file and .md5
    with serving(None) as plain:
        https.publish(RAW, MD5.encode())
        for name in ("f", "f.md5"):
            plain.answers[f"/{name}"] = [Answer(status=302, location=f"{https.url}/{name}")]
            https.answers[f"/old{name[1:]}"] = [Answer(status=302, location=f"{plain.url}/{name}")]
        message = refusal_of(order(f"{https.url}/old"), here).message
    assert "which is not https" in message


def test_a_redirect_from_http_to_http_is_refused_and_to_https_is_followed(https: Server, here: Path) -> None:
    https.publish(RAW, MD5.encode())
    with serving(None) as plain:
        for name in ("f", "f.md5"):
            plain.answers[f"/to{name[1:]}"] = [Answer(status=302, location=f"{https.url}/{name}")]
            plain.answers[f"/around{name[1:]}"] = [Answer(status=302, location=f"/to{name[1:]}")]
        assert get(order(f"{plain.url}/to"), here).raw == RAW
        message = refusal_of(order(f"{plain.url}/around"), here).message
    assert message == f"{plain.url}/around: is redirected to {plain.url}/to, which is not https"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/f", "//127.0.0.1:1/f"])
def test_a_redirect_to_another_scheme_is_refused(location: str, https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(status=302, location=location)]
    message = refusal_of(order(f"{https.url}/f"), here).message
    if not location.startswith("//"):  # that one stays with https, and nobody listens there
        assert message == f"{https.url}/f: is redirected to {location}, which is not https"


@pytest.mark.parametrize(("hops", "followed"), [(5, True), (6, False)])
def test_five_redirects_are_followed_and_not_six(hops: int, followed: bool, https: Server, here: Path) -> None:  # noqa: FBT001
    https.publish(RAW, MD5.encode())
    for hop in range(1, hops + 1):
        https.answers[f"/{hop}"] = [Answer(status=302, location="/f" if hop == 1 else f"/{hop - 1}")]
    wanted = order(f"{https.url}/{hops}", checksum=Checksum.OPTIONAL)
    if followed:
        assert get(wanted, here).raw == RAW
    else:
        assert refusal_of(wanted, here).message == f"{https.url}/{hops}: more than 5 redirects"


def test_redirects_in_a_circle_are_refused(https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(status=302, location="/f")]
    assert refusal_of(order(f"{https.url}/f"), here, retries=3).message == f"{https.url}/f: more than 5 redirects"
    assert len(https.asked) == 6


def test_a_portals_page_for_everything_is_refused(https: Server, here: Path) -> None:
    page = b"<!DOCTYPE html><html><body>Sign in to the hotel's network</body></html>"
    url = https.publish(page, page)
    assert refusal_of(order(url), here).message == f"{url}.md5: not an MD5 checksum"


def test_a_body_over_the_cap_is_refused(https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(bytes(3 << 20))]
    message = refusal_of(order(f"{https.url}/f"), here, retries=3).message
    assert message == f"{https.url}/f: more than 1,048,576 bytes"
    assert (here / "came").stat().st_size <= CAP
    assert https.asked == ["/f"]


def test_a_body_of_exactly_the_cap_is_let_through(https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(bytes(1000))]
    assert get(order(f"{https.url}/f", checksum=None, cap=1000), here).raw == bytes(1000)
    assert "more than 999 bytes" in refusal_of(order(f"{https.url}/f", checksum=None, cap=999), here).message


def test_an_md5_file_over_its_cap_is_refused(https: Server, here: Path) -> None:
    url = https.publish(RAW, MD5.encode() + b" " * 5000)
    assert "more than 4,096 bytes" in refusal_of(order(url), here).message


def test_an_answer_in_a_coding_that_was_not_asked_for_is_refused(https: Server, here: Path) -> None:
    https.answers = {"/f": [Answer(gzip.compress(RAW), headers={"Content-Encoding": "gzip"})]}
    message = refusal_of(order(f"{https.url}/f"), here, retries=3).message
    assert message == f"{https.url}/f: comes in Content-Encoding 'gzip', though identity was asked for"


def test_data_that_is_another_packing_than_its_name_says_is_refused(https: Server, here: Path) -> None:
    https.answers = {"/f.gz": [Answer(zlib.compress(RAW))], "/f.md5": [Answer(MD5.encode())]}
    assert "damaged .gz data" in refusal_of(order(f"{https.url}/f.gz"), here).message


@pytest.mark.parametrize("checksum", [None, *Checksum])
def test_a_body_of_untold_length_is_taken_only_with_a_checksum(
    checksum: Checksum | None, https: Server, here: Path
) -> None:
    https.answers = {"/f": [Answer(RAW, length=False)], "/f.md5": [Answer(MD5.encode())]}
    wanted = order(f"{https.url}/f", checksum=checksum)
    if checksum is None:
        message = refusal_of(wanted, here).message
        assert message == f"{https.url}/f: the server does not say how long the file is, so a cut would not show"
    else:
        assert get(wanted, here).raw == RAW


def test_a_certificate_of_an_unknown_authority_is_refused(
    https: Server, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    url = https.publish(RAW, MD5.encode())
    refusal = refusal_of(order(url), here, retries=3)
    assert refusal.message.startswith(f"{url}: ")
    assert "certificate" in refusal.message
    assert "tried" not in refusal.message, "to ask again would change nothing"
    assert "clock" in refusal.way_out
    assert https.asked == []


def test_a_certificate_for_another_host_is_refused(https: Server, here: Path) -> None:
    url = https.publish(RAW, MD5.encode()).replace("127.0.0.1", "localhost")
    message = refusal_of(order(url), here, retries=3).message
    assert message.startswith(f"{url}: ")
    assert "certificate" in message
    assert https.asked == []


def test_a_refused_connection_is_told_as_such(https: Server, here: Path) -> None:
    with serving(None) as gone:
        url = gone.url.replace("http:", "https:") + "/f"
    assert refusal_of(order(url), here).message == f"{url}: [Errno 111] Connection refused"
    assert refusal_of(order(url), here, retries=2).message == f"{url}: [Errno 111] Connection refused (tried 3 times)"


class Short(bytes):
    """A body that says it is longer than it is."""

    def __len__(self) -> int:
        return super().__len__() + 100


@pytest.mark.parametrize("checksum", [None, *Checksum])
def test_a_connection_cut_in_the_middle_is_refused(checksum: Checksum | None, https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(Short(RAW))]
    message = refusal_of(order(f"{https.url}/f", checksum=checksum), here).message
    assert message.startswith(f"{https.url}/f: ")
    assert https.asked == ["/f"], "the .md5 is not asked for"


def test_a_connection_cut_in_the_middle_is_begun_again_from_the_start(https: Server, here: Path) -> None:
    https.answers = {
        "/f": [Answer(Short(RAW + RAW)), Answer(Short(b"x" * 5000)), Answer(RAW)],
        "/f.md5": [Answer(MD5.encode())],
    }
    assert get(order(f"{https.url}/f"), here, retries=2).raw == RAW
    assert https.asked == ["/f", "/f", "/f", "/f.md5"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_fault_that_may_pass_is_met_with_another_try(status: int, https: Server, here: Path) -> None:
    https.answers = {
        "/f": [Answer(b"later", status), Answer(RAW)],
        "/f.md5": [Answer(status=status), Answer(MD5.encode())],
    }
    assert get(order(f"{https.url}/f"), here, retries=1).raw == RAW
    assert https.asked == ["/f", "/f", "/f.md5", "/f.md5"]


def test_the_tries_are_counted_and_told(https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(status=503)]
    message = refusal_of(order(f"{https.url}/f"), here, retries=2).message
    assert message == f"{https.url}/f: HTTP 503 Service Unavailable (tried 3 times)"
    assert https.asked == ["/f"] * 3


@pytest.mark.parametrize("status", [400, 401, 403, 406, 451, 501, 505])
def test_a_fault_that_will_stay_is_met_with_no_other_try(status: int, https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(status=status), Answer(RAW)]
    refusal_of(order(f"{https.url}/f"), here, retries=3)
    assert https.asked == ["/f"]


def test_a_pause_that_the_server_asks_for_is_kept(https: Server, here: Path) -> None:
    https.answers = {"/f": [Answer(status=429, headers={"Retry-After": "1"}), Answer(RAW)]}
    began = time.monotonic()
    assert get(order(f"{https.url}/f", checksum=None), here, retries=1).raw == RAW
    assert 1 <= time.monotonic() - began < 10


DATES = {"Date": "Sun, 06 Nov 1994 08:49:37 GMT"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "3600"},
        {"Retry-After": "9" * 40},
        {"Retry-After": "Sun, 06 Nov 1994 09:49:37 GMT", **DATES},
    ],
)
def test_a_pause_that_does_not_fit_into_the_deadline_is_refused_at_once(
    headers: dict[str, str], https: Server, here: Path
) -> None:
    https.answers["/f"] = [Answer(status=503, headers=headers)]
    began = time.monotonic()
    refusal = refusal_of(order(f"{https.url}/f"), here, retries=3)
    assert time.monotonic() - began < 10
    assert refusal.message.startswith(f"{https.url}/f: HTTP 503 Service Unavailable; no time is left to wait ")
    assert "sources.deadline" in refusal.way_out
    assert https.asked == ["/f"]


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e9", "Sun, 06 Nov 1994 07:49:37 GMT", "inf", "\u0663"])
def test_a_retry_after_that_says_nothing_useful_is_passed_over(text: str, https: Server, here: Path) -> None:
    # the handler writes Latin-1
    sent = {"Retry-After": text.encode().decode("latin-1")}
    https.answers = {"/f": [Answer(status=503, headers=sent), Answer(RAW)]}
    began = time.monotonic()
    assert get(order(f"{https.url}/f", checksum=None), here, retries=1).raw == RAW
    assert time.monotonic() - began < 5


KNOWN = Validators(etag='"one"', last_modified="Sun, 06 Nov 1994 08:49:37 GMT")


def test_what_a_server_knows_a_version_by_is_kept_and_asked_with(https: Server, here: Path) -> None:
    sent = {"ETag": KNOWN.etag, "Last-Modified": KNOWN.last_modified}
    https.answers = {
        "/f": [Answer(RAW, headers=sent), Answer(status=304, length=False)],
        "/f.md5": [Answer(MD5.encode())],
    }
    wanted = order(f"{https.url}/f")
    assert get(wanted, here).delivery.validators == KNOWN
    (here / "came").unlink()
    assert ask(wanted, here / "came", KNOWN) is None
    assert not (here / "came").exists(), "where nothing is new, nothing is written"
    assert https.asked == ["/f", "/f.md5", "/f"], "the .md5 of what is known is not asked for"
    conditions = [(h.get("If-None-Match"), h.get("If-Modified-Since")) for h in https.headers]
    assert conditions == [(None, None), (None, None), (KNOWN.etag, KNOWN.last_modified)]


def test_a_server_without_conditions_sends_the_file_again(https: Server, here: Path) -> None:
    url = https.publish(RAW, MD5.encode())
    assert get(order(url), here, KNOWN).raw == RAW
    assert "If-None-Match" not in https.headers[1], "the .md5 is another file"


@pytest.mark.parametrize("known", [None, Validators(etag="", last_modified="")])
def test_not_modified_to_somebody_who_did_not_ask_is_refused(
    known: Validators | None, https: Server, here: Path
) -> None:
    https.answers["/f"] = [Answer(status=304, length=False)]
    with pytest.raises(FeedRefused, match="HTTP 304, not modified, to somebody who has no copy yet"):
        ask(order(f"{https.url}/f"), here / "came", known)


def test_an_md5_cannot_be_not_modified(https: Server, here: Path) -> None:
    https.answers = {"/f": [Answer(RAW)], "/f.md5": [Answer(status=304, length=False)]}
    with pytest.raises(FeedRefused, match="HTTP 304"):
        ask(order(f"{https.url}/f"), here / "came", KNOWN)


@pytest.mark.parametrize("value", ["x" * 257, "caf\xe9", "a\x7fb"])
def test_a_validator_that_would_not_do_in_a_file_of_ours_is_not_kept(value: str, https: Server, here: Path) -> None:
    https.answers["/f"] = [Answer(RAW, headers={"ETag": value, "Last-Modified": "x" * 256})]
    got = get(order(f"{https.url}/f", checksum=None), here)
    assert got.delivery.validators == Validators(etag="", last_modified="x" * 256)


def test_how_far_a_file_has_come_is_told_and_its_md5_is_not(https: Server, here: Path) -> None:
    url = https.publish(bytes(300_000), MD5.encode())
    told: list[tuple[int, int]] = []
    ask(order(url), here / "came", seen=lambda size, total: told.append((size, total)))
    assert told[-1] == (300_000, 300_000)
    assert len(told) > 1
    assert told == sorted(told)
    assert {total for _size, total in told} == {300_000}


def test_a_body_that_comes_too_slowly_ends_with_the_deadline(authority: trustme.CA, https: Server, here: Path) -> None:
    """No timeout of a socket ends it: each read gets a byte in time."""

    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not stop.wait(0.05):
                self.wfile.write(b"x")

        def log_message(self, *_arguments: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: object) -> None:
            pass

    with Listener(("127.0.0.1", 0), Handler) as listener:
        listener.socket = server_context(authority).wrap_socket(listener.socket, server_side=True)
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"https://127.0.0.1:{listener.server_port}/f"
        began = time.monotonic()
        with pytest.raises(FeedRefused) as caught:
            ask(order(url), here / "came", seconds=0.5, retries=3)
        took = time.monotonic() - began
        stop.set()
        listener.shutdown()
        thread.join()
    assert caught.value.message == f"{url}: not done within 0.5 s"
    assert "sources.deadline" in caught.value.way_out
    assert 0.4 < took < 5
