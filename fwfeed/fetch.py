"""Get a registry's delegated file over https:// or from file://, unpacked and with its checksum verified.

Bytes come back, nothing is stored and nothing is parsed: that is for `store` and `delegated`. Every size is
bounded, packed and unpacked.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urljoin, urlsplit

from fwfeed import __version__
from fwfeed.config import REGISTRY_URLS, Checksum, SourcesConfig
from fwfeed.errors import FeedRefused

if TYPE_CHECKING:
    import requests

FILE_CAP = 64 << 20
"""The most bytes a delegated file may have; the largest real one has about 20 MB."""

_CHECKSUM_CAP = 4096
_XZ_MEMORY = 100 << 20
_STREAMS = 100  # parallel packers begin a new stream every 900 kB; each costs a copy of what follows it
_REDIRECTS = 5
_NETWORK = "check the network, or name a mirror in [sources] mirrors"
_CHUNK = 1 << 16
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 30.0
_TRIES = 2  # a file and its .md5 are published moments apart, so a mismatch is looked at once more from scratch


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delegated file as it arrived: unpacked, with the URL that gave it. `md5` is of the unpacked bytes."""

    registry: str
    url: str
    raw: bytes
    md5: str
    sha256: str


class Missing(FeedRefused):
    """There is nothing at a URL."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_UNPACKERS: dict[str, Callable[[], _Decompressor]] = {
    ".gz": lambda: zlib.decompressobj(wbits=31),
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
}


def file_name(registry: str) -> str:
    """Return the name under which a registry publishes its file; mirrors and the cache use it too."""
    return REGISTRY_URLS[registry].rpartition("/")[2]


def locations(registry: str, sources: SourcesConfig) -> list[str]:
    """Return the URLs to try, in order: each mirror's, then the registry's own.

    A mirror is a base URL; `{registry}` in it stands for the registry's name, for the mirrors that keep the
    registries' files in folders.
    """
    mirrors = [base.replace("{registry}", registry).rstrip("/") for base in sources.mirrors]
    return [*(f"{base}/{file_name(registry)}" for base in mirrors), sources.urls[registry]]


def deliver(registry: str, sources: SourcesConfig) -> Delivery:
    """Fetch one registry's file from the first location that has a good one.

    Raises FeedRefused, with the reason of every location, when none has.
    """
    reasons = []
    for url in locations(registry, sources):
        try:
            return _deliver_from(url, registry, sources.checksum)
        except FeedRefused as error:
            reasons.append(error)
    message = f"{registry}: " + "; ".join(reason.message for reason in reasons)
    raise FeedRefused(message, reasons[-1].way_out)


def get(url: str, cap: int) -> bytes:
    """Return what is at a https:// or file:// URL, at most `cap` bytes. Raises Missing or FeedRefused."""
    return _read_file(url, cap) if url.startswith("file://") else _download(url, cap)


def unpack(packed: bytes, suffix: str, cap: int) -> bytes:
    """Unpack .gz, .bz2 or .xz, one stream or several. Raises ValueError for damage, or over `cap` bytes."""
    pieces: list[bytes] = []
    room = cap + 1
    for _ in range(_STREAMS):
        if not packed:
            return b"".join(pieces)
        unpacker = _UNPACKERS[suffix]()
        try:
            piece = unpacker.decompress(packed, room)
        except (zlib.error, OSError, lzma.LZMAError) as error:
            raise ValueError(f"damaged {suffix} data ({error})") from None
        room -= len(piece)
        if room <= 0:
            raise ValueError(f"more than {cap >> 20} MiB when unpacked")
        if not unpacker.eof:
            raise ValueError(f"the {suffix} data ends too early")
        pieces.append(piece)
        packed = unpacker.unused_data
    raise ValueError(f"more than {_STREAMS} {suffix} streams")


def parse_checksum(raw: bytes) -> str:
    """Read an .md5 file in either of its shapes, `MD5 (name) = hex` or `hex  name`. Raises ValueError."""
    text = raw.decode("ascii", errors="replace").strip()
    found = re.fullmatch(r"MD5 ?\([^()\n]+\) ?= ?([0-9a-fA-F]{32})|([0-9a-fA-F]{32})(?:\s+\*?[^\s]+)?", text)
    if not found:
        raise ValueError("not an MD5 checksum")
    return (found[1] or found[2]).lower()


def _deliver_from(url: str, registry: str, checksum: Checksum) -> Delivery:
    for attempt in range(_TRIES):
        delivery, expected = _deliver_once(url, registry, checksum)
        if expected in (None, delivery.md5):
            return delivery
        if attempt + 1 == _TRIES:
            raise FeedRefused(
                f"{url}: MD5 is {delivery.md5}, but the .md5 file says {expected}",
                "the file was altered on its way, or its mirror is out of step; try again later, or name a mirror",
            )
    raise AssertionError("unreachable: the last try returns or raises")


def _deliver_once(url: str, registry: str, checksum: Checksum) -> tuple[Delivery, str | None]:
    """Fetch a file and what its .md5 says, or None where there is none and none is needed."""
    plain, suffix = _split_packing(url)
    raw = get(url, FILE_CAP)
    if suffix:
        try:
            raw = unpack(raw, suffix, FILE_CAP)
        except ValueError as error:
            raise FeedRefused(f"{url}: {error}", "fetch it again, or name another mirror") from None
    expected = None
    try:
        expected = parse_checksum(get(f"{plain}.md5", _CHECKSUM_CAP))
    except Missing as error:
        if checksum is Checksum.REQUIRED:
            raise FeedRefused(
                f"{error.message}, and sources.checksum is required",
                'name a mirror that has it, or set sources.checksum = "optional"',
            ) from None
    except ValueError as error:
        raise FeedRefused(f"{plain}.md5: {error}", "try again later, or name another mirror") from None
    md5 = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    return Delivery(registry, url, raw, md5, hashlib.sha256(raw).hexdigest()), expected


def _split_packing(url: str) -> tuple[str, str]:
    for suffix in _UNPACKERS:
        if url.endswith(suffix):
            return url.removesuffix(suffix), suffix
    return url, ""


def _read_file(url: str, cap: int) -> bytes:
    path = unquote(urlsplit(url).path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(cap + 1)
    except FileNotFoundError:
        raise Missing(f"{url}: there is no such file", "correct the URL in [sources]") from None
    except OSError as error:
        raise FeedRefused(f"{url}: {error.strerror}", "correct the URL in [sources], or the file's rights") from None
    return _bounded(raw, url, cap)


def _download(url: str, cap: int) -> bytes:
    import requests  # slow to import, and a file:// mirror does without

    at = url
    try:
        with requests.Session() as session:
            for _ in range(_REDIRECTS + 1):
                with session.get(
                    at,
                    headers={"User-Agent": f"fwfeed/{__version__}", "Accept-Encoding": "identity"},
                    timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                    stream=True,
                    allow_redirects=False,  # requests would follow one to http://
                ) as response:
                    if not response.is_redirect:
                        return _bounded(_body(response, url, cap), url, cap)
                    at = urljoin(at, response.headers["Location"])
                if not at.startswith("https://"):
                    raise FeedRefused(f"{url}: is redirected to {at}, which is not https", _NETWORK)
    except (requests.RequestException, ValueError) as error:  # ValueError: a URL, perhaps a redirect's, that is none
        raise FeedRefused(f"{url}: {_reason(error)}", _NETWORK) from None
    raise FeedRefused(f"{url}: more than {_REDIRECTS} redirects", _NETWORK)


def _body(response: requests.Response, url: str, cap: int) -> bytes:
    if response.status_code in (404, 410):
        raise Missing(f"{url}: there is no such file (HTTP {response.status_code})", _NETWORK)
    if response.status_code != 200:
        raise FeedRefused(f"{url}: HTTP {response.status_code} {response.reason}", _NETWORK)
    pieces, size = [], 0
    for piece in response.iter_content(_CHUNK):
        pieces.append(piece)
        size += len(piece)
        if size > cap:
            break
    return b"".join(pieces)


def _bounded(raw: bytes, url: str, cap: int) -> bytes:
    if len(raw) > cap:
        raise FeedRefused(f"{url}: more than {cap:,} bytes", "this is not the file it should be; check the URL")
    return raw


def _reason(error: Exception) -> str:
    """Dig out the cause that a person can act on: requests wraps it in two or three layers of repr."""
    cause: object = error
    while isinstance(cause, Exception):
        inner = getattr(cause, "reason", None) or (cause.args[0] if cause.args else None)
        if not isinstance(inner, Exception):
            break
        cause = inner
    text = str(cause).rpartition(": ")[2] if isinstance(cause, Exception) else str(error)
    return text or type(error).__name__
