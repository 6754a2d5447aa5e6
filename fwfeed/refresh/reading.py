"""Read what a source's file says, whatever its format: the one place that knows which parser is whose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from fwfeed import delegated, feeds
from fwfeed.compile import Selection
from fwfeed.config import REGISTRY_URLS, Config
from fwfeed.delegation import Snapshot
from fwfeed.errors import ParseError
from fwfeed.feeds import Feed
from fwfeed.fetch import origins
from fwfeed.model import Listing
from fwfeed.remark import Remark
from fwfeed.store import files

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Reading:
    """The content of a registry's file, or of a feed's."""

    content: Snapshot | tuple[Feed, Listing]

    @property
    def serial(self) -> int | None:
        """The serial, None where the format has none."""
        return self.content.serial if isinstance(self.content, Snapshot) else self.content[1].serial

    @property
    def end_date(self) -> date | None:
        """The last day it speaks of, None where the format does not tell."""
        return self.content.end_date if isinstance(self.content, Snapshot) else self.content[1].made

    @property
    def records(self) -> int:
        """How many records there are, wanted or not."""
        return self.content.records if isinstance(self.content, Snapshot) else self.content[1].records

    @property
    def discarded(self) -> int:
        """How many lines were passed over by the format's own rules."""
        return 0 if isinstance(self.content, Snapshot) else self.content[1].discarded

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What is wrong with the file that concerns no address."""
        return self.content.remarks if isinstance(self.content, Snapshot) else ()

    def select(self, selection: Selection) -> int:
        """Give a selection what it wants of it, and return how much that was."""
        if isinstance(self.content, Snapshot):
            return selection.add(self.content)
        return selection.add_listing(*self.content)


def read(name: str, path: Path, config: Config, *, called: str, intact: bool) -> Reading:
    """Read the file of a registry or feed. Raises ParseError.

    `called` is what messages call it, `intact` whether it is known to be what its publisher has.
    """
    if name in REGISTRY_URLS:
        return Reading(delegated.parse(Blocks(path), file=called, registry=name, intact=intact))
    feed = next(feed for feed in config.feeds if feed.name == name)
    with files.explained("read", path):
        raw = path.read_bytes()
    try:
        return Reading((feed, feeds.parse(raw, feed=feed, file=called)))
    except ParseError as error:
        file, line = origins(raw, feed.url)(error.line)
        if not file:
            raise
        raise ParseError(f"{called.rstrip('/')}/{file}", line, error.text, error.way_out) from None


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a file, which is read anew each time they are gone through."""

    path: Path

    def __iter__(self) -> Iterator[bytes]:
        with files.explained("read", self.path), self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
