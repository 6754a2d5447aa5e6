"""Get a feed's file from one location, over https:// or from file://, and say what its .md5 promises.

`deliver` brings the bytes as they come, bounded in size and time, and begins again what failed on its way; `unpack`
makes the file of it and checks it against the promise. Nothing is stored here and nothing parsed: that is for `store`
and `delegated`. Which locations to try, and what to do about a bad one, is for `refresh`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fwfeed.config import REGISTRY_URLS, Checksum, Config
from fwfeed.errors import FeedRefused
from fwfeed.feeds import Feed, Format
from fwfeed.fetch import local
from fwfeed.fetch.deadline import Deadline
from fwfeed.fetch.local import origins
from fwfeed.fetch.packing import Digests, digest, split_packing
from fwfeed.fetch.packing import unpack as unpack_file
from fwfeed.fetch.parts import Arrival, Buffer, FileSink, Mismatch, Missing, Sink, Validators

__all__ = [
    "Deadline",
    "Delivery",
    "Digests",
    "FileSink",
    "Mismatch",
    "Order",
    "Validators",
    "deliver",
    "digest",
    "orders",
    "origins",
    "parse_checksum",
    "split_packing",
    "unpack",
]

REGISTRY_CAP = 64 << 20
"""The most bytes a delegated file may have; the largest real one has about 20 MB."""

LIST_CAP = 16 << 20
DOCUMENT_CAP = 8 << 20
"""The most bytes a feed may have; a JSON document is read at once, and takes many times its size in memory."""

_CHECKSUM_CAP = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A file that is wanted: by what name, from where, in this order, and what it must keep to.

    `checksum` None: its publisher has none. `folders` is whether a folder can stand for the file.
    """

    name: str
    urls: tuple[str, ...]
    cap: int
    checksum: Checksum | None
    folders: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A file as it came, perhaps packed; `md5` is what the location promises of the unpacked one, None if nothing."""

    url: str
    validators: Validators
    md5: str | None


def file_name(registry: str) -> str:
    """Return the name under which a registry publishes its file; mirrors and the cache use it too."""
    return REGISTRY_URLS[registry].rpartition("/")[2]


def orders(config: Config) -> tuple[Order, ...]:
    """Return every file that the configuration asks for: the registries', then the feeds'."""
    registries = (_registry_order(registry, config) for registry in config.sources.registries)
    return (*registries, *map(_feed_order, config.feeds))


def _registry_order(registry: str, config: Config) -> Order:
    """Each mirror, then the registry's own URL.

    A mirror is a base URL; `{registry}` in it stands for the registry's name, for the mirrors that keep the
    registries' files in folders.
    """
    sources = config.sources
    mirrors = [base.replace("{registry}", registry).rstrip("/") for base in sources.mirrors]
    urls = (*(f"{base}/{file_name(registry)}" for base in mirrors), sources.urls[registry])
    return Order(name=registry, urls=urls, cap=REGISTRY_CAP, checksum=sources.checksum)


def _feed_order(feed: Feed) -> Order:
    document = feed.format in {Format.AWS, Format.GCP}
    cap = DOCUMENT_CAP if document else LIST_CAP
    return Order(name=feed.name, urls=(feed.url,), cap=cap, checksum=None, folders=not document)


def deliver(
    order: Order,
    url: str,
    to: Sink,
    known: Validators | None,
    *,
    deadline: Deadline,
    retries: int,
    seen: Callable[[int, int], None],
) -> Delivery | None:
    """Write what is at one URL of an order to a file as it comes, and fetch what its .md5 says.

    Returns None where it is still the version that `known` stands for. `seen` is told of bytes, as they come, of how
    many (0: not known). Raises FeedRefused with the reason.
    """
    plain, _suffix = split_packing(url)
    with ExitStack() as stack:
        if url.startswith("file://"):

            def get(place: str, sink: Sink, cap: int, known: Validators | None) -> Arrival | None:
                return local.get(place, sink, cap, known, folders=order.folders)
        else:
            from fwfeed.fetch.http import Client  # requests is slow to import, and file:// does without

            client = stack.enter_context(Client(deadline, retries))

            def get(place: str, sink: Sink, cap: int, known: Validators | None) -> Arrival | None:
                return client.get(place, sink, cap, known, seen if sink is to else lambda *_: None)

        arrival = get(url, to, order.cap, known)
        if arrival is None:
            return None
        to.write(b"")  # an empty file is a file
        if order.checksum is None:
            if not arrival.whole:
                message = f"{url}: the server does not say how long the file is, so a cut would not show"
                raise FeedRefused(message, "name another location that tells Content-Length")
            return Delivery(url=url, validators=arrival.validators, md5=None)
        md5 = None
        buffer = Buffer()
        try:
            get(f"{plain}.md5", buffer, _CHECKSUM_CAP, None)
            md5 = parse_checksum(buffer.content)
        except Missing as error:
            if order.checksum is Checksum.REQUIRED:
                raise FeedRefused(
                    f"{error.message}, and sources.checksum is required",
                    'name a mirror that has it, or set sources.checksum = "optional"',
                ) from None
        except ValueError as error:
            raise FeedRefused(f"{plain}.md5: {error}", "try again later, or name another mirror") from None
    return Delivery(url=url, validators=arrival.validators, md5=md5)


def unpack(delivery: Delivery, came: Path, to: Path, cap: int) -> Digests:
    """Make the file of a delivery, and hold it against its .md5. Raises Mismatch or FeedRefused.

    `came` is where `deliver` wrote to; it may be the same as `to` where nothing is packed.
    """
    _plain, suffix = split_packing(delivery.url)
    try:
        with came.open("rb") as source, FileSink(to) as target:
            digests = unpack_file(source, suffix, target, cap) if came != to else digest(source)
    except ValueError as error:
        raise FeedRefused(f"{delivery.url}: {error}", "fetch it again, or name another mirror") from None
    if delivery.md5 not in (None, digests.md5):
        raise Mismatch(
            f"{delivery.url}: MD5 is {digests.md5}, but the .md5 file says {delivery.md5}",
            "the file was altered on its way, or its mirror is out of step; try again later, or name a mirror",
        )
    return digests


def parse_checksum(raw: bytes) -> str:
    """Read an .md5 file in either of its shapes, `MD5 (name) = hex` or `hex  name`. Raises ValueError."""
    text = raw.decode("ascii", errors="replace").strip()
    found = re.fullmatch(r"MD5 ?\([^()\n]+\) ?= ?([0-9a-fA-F]{32})|([0-9a-fA-F]{32})(?:\s+\*?[^\s]+)?", text)
    if not found:
        raise ValueError("not an MD5 checksum")
    return (found[1] or found[2]).lower()
