"""Watch foreign connections as they begin, and name who sends them: the live loop of NFLOG and attribution.

One thread does it all: whatever has come is taken out of the kernel's hands before each name is looked for, so that a
burst waits here and not where it would be lost.
"""

from __future__ import annotations

import select
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fwfeed.attribution import Attribution
from fwfeed.flow import Direction, Known, Sent
from fwfeed.nflog import Packet, Reader

_WAITING = 65536
_BATCH = 1000
_BATCH_SECONDS = 1.0
_LATE_SECONDS = 10.0  # while flows wait
_JUST_SECONDS = 1.0
_ENDING_SECONDS = 3.0
_AGAIN_SECONDS = 65.0  # the longest that Linux waits between two of its first six tries to connect
_SHOWN = 16384

Record = Callable[[Sequence[Sent], datetime], None]
_Ends = tuple[str, str, int | None, str, int | None, int | None]
Lost = Callable[[int, datetime], None]


@dataclass(slots=True)
class Summary:
    """What was seen; `attributed` have their process or namespace, of those that this host sent or forwarded."""

    flows: int = 0
    sent: int = 0
    attributed: int = 0
    lost: int = 0


def observe(
    group: int,
    show: Callable[[Sent], None],
    *,
    stop: int,
    idle: Callable[[], None] = lambda: None,
    ready: Callable[[], None] = lambda: None,
    record: Record | None = None,
    lost: Lost | None = None,
) -> Summary:
    """Hand each flow of a group to `show`, until the descriptor `stop` can be read. Raises FwfeedError.

    `record` gets the same in batches, about once a second or more often, each with the moment before which nothing is
    missing; `lost` how many the kernel could not hand out; `idle` is called now and then, at
    least every half second, and `ready` once, when nothing more is missed.
    """
    return _Loop(Reader(group), show, idle, record, lost).run(stop, ready)


class _Loop:
    def __init__(
        self,
        reader: Reader,
        show: Callable[[Sent], None],
        idle: Callable[[], None],
        record: Record | None,
        lost: Lost | None,
    ) -> None:
        self._reader = reader
        self._show = show
        self._idle = idle
        self._record = record
        self._lost = lost
        self._waiting: deque[Packet] = deque()
        self._batch: list[Sent] = []
        self._shown: OrderedDict[_Ends, tuple[float, int | None]] = OrderedDict()
        self._asked: OrderedDict[tuple[_Ends, int | None], float] = OrderedDict()
        self._recorded = time.monotonic()
        self._named = datetime.now(UTC)
        self._told = 0
        self._dropped = 0
        self._summary = Summary()

    def run(self, stop: int, ready: Callable[[], None]) -> Summary:
        attribution = Attribution()
        try:
            poll = select.poll()
            poll.register(self._reader.fileno(), select.POLLIN)
            poll.register(stop, select.POLLIN)
            ready()
            while not any(descriptor == stop for descriptor, _event in poll.poll(0 if self._waiting else 500)):
                self._take()
                if self._waiting:
                    self._name(attribution, self._waiting.popleft())
                self._hand_over(ended=False)
                self._idle()
            self._end(attribution)
        finally:
            attribution.close()
            self._reader.close()
            self._hand_over(ended=True)
        return self._summary

    def _end(self, attribution: Attribution) -> None:
        """Name what waits, as far as whoever ends it has the patience; the rest is lost."""
        deadline = time.monotonic() + _ENDING_SECONDS
        while self._take() or self._waiting:
            if time.monotonic() > deadline:
                self._dropped += len(self._waiting)
                break
            self._name(attribution, self._waiting.popleft())
            self._hand_over(ended=False)

    def _take(self) -> bool:
        """Take out of the kernel's hands what has come; return whether there was any."""
        came = self._reader.read()
        room = max(_WAITING - len(self._waiting), 0)
        self._waiting.extend(came[:room])
        self._dropped += len(came[room:])
        return bool(came)

    def _name(self, attribution: Attribution, packet: Packet) -> None:
        self._named = packet.flow.at
        if self._just_named(packet):
            return
        sender = attribution.sender(packet.flow, packet.echo, packet.out)
        sent = Sent(flow=packet.flow, sender=sender, delay=max(time.time() - packet.came, 0.0))
        if self._again(packet, sender.pid):
            return
        self._summary.flows += 1
        if packet.flow.direction is not Direction.IN:
            self._summary.sent += 1
            self._summary.attributed += sender.known in {Known.SOCKET, Known.NAMESPACE}
        self._show(sent)
        if self._record is not None:
            self._batch.append(sent)

    def _just_named(self, packet: Packet) -> bool:
        """Return whether its ends were asked about a moment ago: what goes unanswered may come by the thousand."""
        flow = packet.flow
        if flow.source_port is None and packet.echo is None:
            return False
        key, now = (_ends(packet), flow.uid), time.monotonic()
        if now - self._asked.get(key, float("-inf")) < _JUST_SECONDS:
            return True
        self._asked[key] = now
        self._asked.move_to_end(key)
        if len(self._asked) > _SHOWN:
            self._asked.popitem(last=False)
        return False

    def _again(self, packet: Packet, pid: int | None) -> bool:
        """Return whether it is of a connection that was shown: unanswered, each packet of it is new to the kernel."""
        if packet.flow.source_port is None and packet.echo is None:
            return False
        ends, now = _ends(packet), time.monotonic()
        last, whose = self._shown.get(ends, (now - _AGAIN_SECONDS, None))
        # a new process with the same ends is another connection; no process any more is what is left of the old one
        again = now - last < _AGAIN_SECONDS and pid in {whose, None}
        self._shown[ends] = now, whose if again else pid
        self._shown.move_to_end(ends)
        if len(self._shown) > _SHOWN:
            self._shown.popitem(last=False)
        return again

    def _hand_over(self, *, ended: bool) -> None:
        now = time.monotonic()
        elapsed = now - self._recorded
        full = len(self._batch) >= _BATCH
        due = elapsed >= _BATCH_SECONDS and (not self._waiting or elapsed >= _LATE_SECONDS)
        if not (ended or full or due):
            return
        self._recorded = now
        if self._record is not None:
            batch, self._batch = self._batch, []
            self._record(batch, self._named if self._waiting else datetime.now(UTC))
        self._summary.lost = self._reader.lost + self._dropped
        if self._lost is not None and self._summary.lost > self._told:
            self._lost(self._summary.lost - self._told, datetime.now(UTC))
            self._told = self._summary.lost


def _ends(packet: Packet) -> _Ends:
    flow = packet.flow
    return flow.protocol, flow.source, flow.source_port, flow.destination, flow.destination_port, packet.echo
