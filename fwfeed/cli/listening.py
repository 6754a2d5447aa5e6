"""What `fwfeed watch` says while nothing comes, and in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from fwfeed.errors import FwfeedError
from fwfeed.flow import Direction
from fwfeed.times import length_text

if TYPE_CHECKING:
    from fwfeed.config import Config
    from fwfeed.flow import Sent
    from fwfeed.observe import Summary

_AGAIN_SECONDS = 10.0
_ADDRESSES = 65536

NOTHING_YET = "listening; nothing foreign yet"


class Listening:
    """A watch under way: whether something came, and while nothing does, why.

    The latter is asked in a thread, as firewalld may take its time, and anew now and then, as somebody may apply.
    """

    def __init__(self, config: Config, show: Callable[[Sent], None]) -> None:
        self._config = config
        self._show = show
        self._over = threading.Event()
        self._began = time.monotonic()
        self._addresses: set[str] = set()
        self._out = 0
        self._came_in = 0
        self.remark = NOTHING_YET

    def start(self, note: Callable[[str], None] | None) -> None:
        """Begin to ask why nothing comes, until something does; what is found is noted, too, each thing once."""
        self._began = time.monotonic()
        if note is not None:
            note(NOTHING_YET)
        threading.Thread(target=self._ask, args=(note or (lambda _line: None),), daemon=True).start()

    def add(self, sent: Sent) -> None:
        """Take in a flow, and show it."""
        self._over.set()
        if sent.flow.direction is Direction.IN:
            self._came_in += 1
        else:
            self._out += 1
            if len(self._addresses) < _ADDRESSES:
                self._addresses.add(sent.flow.destination)
        self._show(sent)

    def end(self) -> None:
        """Ask no more."""
        self._over.set()

    def told(self, summary: Summary) -> str:
        """Return the closing words."""
        length = timedelta(seconds=time.monotonic() - self._began)
        more = "more than " if len(self._addresses) >= _ADDRESSES else ""
        words = [
            f"{_number(self._out, 'connection')} to {more}{_number(len(self._addresses), 'address', 'addresses')}"
            if self._out
            else "no connection"
        ]
        if self._came_in:
            words.append(f"{self._came_in:,} came in")
        if summary.sent:
            words.append(f"sender known of {summary.attributed * 100 / summary.sent:.1f} %")
        words.append(f"{_number(summary.lost, 'event')} lost")
        return f"stopped after {length_text(length)}: {', '.join(words)}"

    def _ask(self, note: Callable[[str], None]) -> None:
        from fwfeed.query import why_nothing_comes

        while not self._over.is_set():
            try:
                remark = why_nothing_comes(self._config) or NOTHING_YET
            except FwfeedError as error:
                remark = f"{NOTHING_YET}; not known whether anything will come: {error.message}"
            if remark != self.remark and not self._over.is_set():
                self.remark = remark
                note(remark)
            self._over.wait(_AGAIN_SECONDS)


def _number(number: int, one: str, more: str = "") -> str:
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
