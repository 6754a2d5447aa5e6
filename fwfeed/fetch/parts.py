"""What the parts of `fetch` hand to each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from fwfeed import access
from fwfeed.errors import FeedRefused, FwfeedError

NETWORK = "check the network, or name a mirror in [sources] mirrors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """By what a server knows the version of a file that it gave (RFC 9110, 8.8); empty where it told none."""

    etag: str
    last_modified: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A file that came; `whole` is whether its length was told, so that a cut would have shown."""

    validators: Validators
    whole: bool


class Sink(Protocol):
    """Where a body goes."""

    def restart(self) -> None:
        """Forget what has come."""

    def write(self, piece: bytes) -> None:
        """Take what came next."""


class FileSink:
    """A file, made when its first byte comes: where nothing is new, nothing is written. Used as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._file is not None:
            self._file.close()

    def restart(self) -> None:
        """Forget what has come."""
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()

    def write(self, piece: bytes) -> None:
        """Take what came next. That it cannot be written is no fault of the feed's: raises FwfeedError."""
        try:
            if self._file is None:
                self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                self._file = self._path.open("wb", buffering=0)
            rest = memoryview(piece)
            while rest:  # where a disk has room for a part, a part is written
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            message = f"cannot write {self._path}: {error.strerror}"
            raise FwfeedError(message, access.hint(error, self._path)) from error


class Buffer:
    """A small file in memory."""

    def __init__(self) -> None:
        self.content = b""

    def restart(self) -> None:
        """Forget what has come."""
        self.content = b""

    def write(self, piece: bytes) -> None:
        """Take what came next."""
        self.content += piece


class Missing(FeedRefused):
    """There is nothing at a URL."""


class Mismatch(FeedRefused):
    """A file is not the one its .md5 speaks of."""
