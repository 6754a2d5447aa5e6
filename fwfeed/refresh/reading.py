"""Read what a source's file says, whatever its format: the one place that knows which parser is whose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from fwfeed import delegated, feeds
from fwfeed.compile import Selection
from fwfeed.config import REGISTRY_URLS, Config
from fwfeed.errors import ParseError
from fwfeed.feeds import Feed
from fwfeed.fetch import origins
from fwfeed.model import Listing, Snapshot
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

    def select(self, selection: Selection) -> int:
        """Give a selection what it wants of it, and return how much that was."""
        if isinstance(self.content, Snapshot):
            return selection.add(self.content)
        return selection.add_listing(*self.content)


def read(name: str, path: Path, config: Config, *, called: str) -> Reading:
    """Read the file of a registry or feed; `called` is what messages call it. Raises ParseError."""
    if name in REGISTRY_URLS:
        return Reading(delegated.parse(blocks(path), file=called, registry=name))
    feed = next(feed for feed in config.feeds if feed.name == name)
    with files.explained("read", path):
        raw = path.read_bytes()
    try:
        return Reading((feed, feeds.parse(raw, feed=feed, file=called)))
    except ParseError as error:
        file, line = origins(raw, feed.url)(error.line)
        if not file:
            raise
        text = error.message.removeprefix(f"{called}:{error.line}: ")
        raise ParseError(f"{called.rstrip('/')}/{file}", line, text, error.way_out) from None


def blocks(path: Path) -> Iterator[bytes]:
    """Yield a file in blocks."""
    with files.explained("read", path), path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block
