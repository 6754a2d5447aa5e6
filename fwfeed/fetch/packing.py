"""Unpack a delivered file and take its digests on the way, bounded in bytes and memory."""

from __future__ import annotations

import bz2
import hashlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Protocol

from fwfeed.fetch.parts import Sink

_CHUNK = 1 << 20
_XZ_MEMORY = 68 << 20  # what xz -9 needs; more cannot be asked for
_STREAMS = 100  # parallel packers begin a new stream every 900 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """What an unpacked file is known by."""

    size: int
    md5: str
    sha256: str


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """zlib's decompressor, which keeps the input that did not fit, in the manner of the other two."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


UNPACKERS: dict[str, Callable[[], _Decompressor]] = {
    ".gz": _Gzip,
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY),
}


def split_packing(url: str) -> tuple[str, str]:
    """Return a URL without the suffix of its packing, and that suffix, empty where there is none."""
    for suffix in UNPACKERS:
        if url.endswith(suffix):
            return url.removesuffix(suffix), suffix
    return url, ""


def unpack(packed: IO[bytes], suffix: str, to: Sink, cap: int) -> Digests:
    """Unpack a file to another; an empty suffix copies. Raises ValueError for damage, or over `cap` bytes."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size = 0
    for piece in _pieces(packed, suffix):
        size += len(piece)
        if size > cap:
            raise ValueError(f"more than {cap >> 20} MiB when unpacked")
        md5.update(piece)
        sha256.update(piece)
        to.write(piece)
    return Digests(size=size, md5=md5.hexdigest(), sha256=sha256.hexdigest())


def digest(file: IO[bytes]) -> Digests:
    """Return what a file is known by."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size = 0
    while piece := file.read(_CHUNK):
        size += len(piece)
        md5.update(piece)
        sha256.update(piece)
    return Digests(size=size, md5=md5.hexdigest(), sha256=sha256.hexdigest())


def _pieces(packed: IO[bytes], suffix: str) -> Iterator[bytes]:
    if not suffix:
        while piece := packed.read(_CHUNK):
            yield piece
        return
    block = packed.read(_CHUNK)
    for _ in range(_STREAMS):
        unpacker = UNPACKERS[suffix]()
        while True:
            try:
                piece = unpacker.decompress(block, _CHUNK)
            except (zlib.error, OSError, lzma.LZMAError) as error:
                raise ValueError(f"damaged {suffix} data ({error})") from None
            yield piece
            if unpacker.eof:
                break
            block = b"" if len(piece) == _CHUNK else packed.read(_CHUNK)
            if not block and not piece:
                raise ValueError(f"the {suffix} data ends too early")
        block = unpacker.unused_data or packed.read(_CHUNK)
        if not block:
            return
    raise ValueError(f"more than {_STREAMS} {suffix} streams")
