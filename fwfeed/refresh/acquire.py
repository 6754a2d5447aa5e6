"""Get a good file of every source: all side by side, each from its locations in turn, until one is good.

A file is good when its checksum and its format's promises hold, it is not older than the one accepted last, nor too
old, nor from the future. Where all that is too old is newer than the one accepted last, it is taken all the same.
Network and disk are waited for in threads; whatever takes memory is done here one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from fwfeed import gates
from fwfeed.compile import Selection, recipe
from fwfeed.config import Config
from fwfeed.errors import FeedRefused, FwfeedError, printable
from fwfeed.fetch import Deadline, Delivery, Digests, FileSink, Mismatch, Order, deliver, split_packing, unpack
from fwfeed.model import Gate, Source, Verdict
from fwfeed.refresh.reading import Reading, read
from fwfeed.signals import deferred
from fwfeed.store import files
from fwfeed.store.cache import Accepted, Cache

_SIDE_BY_SIDE = 8


@dataclass(frozen=True, slots=True)
class Arrived:
    """A good file that is new, and where it is until it takes its place."""

    accepted: Accepted
    scratch: Path
    digests: Digests


@dataclass(frozen=True, slots=True)
class Fresh:
    """A good file that is new, and what it says.

    Where it is too old, `overdue` says how old, and `refusal` why no location has a better one.
    """

    file: Arrived
    reading: Reading
    overdue: str = ""
    refusal: FeedRefused | None = None


@dataclass(frozen=True, slots=True)
class Same:
    """The accepted file is still the one that is published."""

    accepted: Accepted


@dataclass(frozen=True, slots=True)
class Stale:
    """No location has a good file, so the accepted one serves on; `overdue` says how old that is, if it is too old."""

    accepted: Accepted
    refusal: FeedRefused
    overdue: str


@dataclass(frozen=True, slots=True)
class Lost:
    """No location has a good file, and there is none to go on with."""

    name: str
    refusal: FeedRefused


Acquired = Fresh | Same | Stale | Lost


def acquire(
    orders: Sequence[Order],
    config: Config,
    cache: Cache,
    staging: files.Staging,
    now: datetime,
    seen: Callable[[str, int, int], None],
) -> Generator[Acquired, None, None]:
    """Yield how it ended for every order, as it ends. Closing it cuts what is still under way."""
    transfers = [_Transfer(order, config, cache, staging, now, seen) for order in orders]
    with ThreadPoolExecutor(max_workers=_SIDE_BY_SIDE) as pool:
        running: dict[Future[Delivery | None], _Transfer] = {
            pool.submit(transfer.run): transfer for transfer in transfers
        }
        try:
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    transfer = running.pop(future)
                    outcome = transfer.conclude(future)
                    if outcome is None:
                        running[pool.submit(transfer.run)] = transfer
                    else:
                        yield outcome
                        del outcome  # what it holds is large, and the next one is coming
        finally:
            with deferred():  # a second signal must not keep us from cutting what the pool would wait for
                for transfer in running.values():
                    transfer.cut()
                pool.shutdown(wait=False, cancel_futures=True)


class _Transfer:
    """One order on its way from location to location."""

    def __init__(
        self,
        order: Order,
        config: Config,
        cache: Cache,
        staging: files.Staging,
        now: datetime,
        seen: Callable[[str, int, int], None],
    ) -> None:
        self._order = order
        self._config = config
        self._cache = cache
        self._staging = staging
        self._now = now
        self._seen = seen
        self._max_age = config.max_age(order.name)
        self._urls = list(order.urls)
        self._again = False
        self._late: tuple[date, int, str] | None = None
        self._takes_late = False
        self._accepted: Accepted | None = None
        self._asked_cache = False
        self._reasons: list[FeedRefused] = []
        self._deadline = Deadline(config.sources.deadline.total_seconds())
        self._came = Path()

    def run(self) -> Delivery | None:
        """Ask the location whose turn it is; None where it still has the accepted file."""
        if not self._asked_cache:
            self._accepted = self._cache.accepted(self._order.name)
            self._asked_cache = True
        url = self._urls[0]
        known = None
        if self._accepted is not None and self._accepted.source.url == url and not self._again:
            known = self._accepted.validators
        path = self._cache.path(self._order.name)
        self._came = self._staging.scratch(path.with_name(f"{path.name}{split_packing(url)[1]}"))
        with self._deadline, FileSink(self._came) as to:
            return deliver(
                self._order,
                url,
                to,
                known,
                deadline=self._deadline,
                retries=self._config.sources.retries,
                seen=lambda size, total: self._seen(self._order.name, size, total),
            )

    def cut(self) -> None:
        """Have it end now."""
        self._deadline.cut()

    def conclude(self, future: Future[Delivery | None]) -> Acquired | None:
        """Judge what came; None where the next location is to be asked, or this one once more."""
        try:
            delivery = future.result()
            return self._same() if delivery is None else self._examine(delivery)
        except FeedRefused as refusal:
            # a file and its .md5 are published moments apart, so a mismatch is looked at once more from scratch
            if isinstance(refusal, Mismatch) and not self._again:
                self._again = True
                self._deadline = Deadline(self._deadline.seconds)
                return None
            self._reasons.append(refusal)
        except FwfeedError:
            raise
        except Exception as error:  # noqa: BLE001 - a bug that one server can reach must not keep the others' files out
            message = f"{self._urls[0]}: fwfeed failed on it: {type(error).__name__}: {printable(str(error)[:200])}"
            self._reasons.append(FeedRefused(message, "this is a bug of fwfeed's: please report it, with the file"))
        self._urls.pop(0)
        self._again = False
        self._deadline = Deadline(self._deadline.seconds)
        if not self._urls and self._late is not None and not self._takes_late:
            # it was not kept, as the next location's file comes to the same place
            self._takes_late = True
            self._urls.append(self._late[2])
        return None if self._urls else self._failed()

    def _same(self) -> Same:
        if self._accepted is None:
            raise AssertionError("nothing is the same as no file")
        self._require(self._urls[0], gates.judge_age(self._accepted.source, self._max_age, self._now))
        return Same(self._accepted)

    def _examine(self, delivery: Delivery) -> Fresh | Same:
        name = self._order.name
        packed = split_packing(delivery.url)[1]
        scratch = self._staging.scratch(self._cache.path(name)) if packed else self._came
        digests = unpack(delivery, self._came, scratch, self._order.cap)
        accepted = self._accepted.source if self._accepted else None
        if accepted is not None and digests.sha256 == accepted.sha256:
            return self._same()
        reading = read(name, scratch, self._config, called=delivery.url, intact=delivery.md5 is not None)
        source = Source(
            name=name,
            url=delivery.url,
            serial=reading.serial,
            end_date=reading.end_date or self._now.date(),
            sha256=digests.sha256,
            records=reading.records,
            taken=0,
        )
        self._require(delivery.url, gates.judge_order(source, accepted, self._now))
        overdue = self._judge_age(delivery.url, source)
        reading.select(Selection(recipe(self._config)))  # what has no bounds must not cost us the other locations
        accepted_now = Accepted(source=source, validators=delivery.validators)
        refusal = self._refusal() if overdue else None
        return Fresh(Arrived(accepted_now, scratch, digests), reading, overdue, refusal)

    def _judge_age(self, url: str, source: Source) -> str:
        """Say how old a file is that is too old, but to be taken; refuse it where there may be a better one."""
        try:
            self._require(url, gates.judge_age(source, self._max_age, self._now))
        except FeedRefused as refusal:
            if self._accepted is None or self._accepted.source.end_date > source.end_date:
                raise
            late = (source.end_date, source.serial or 0, url)
            is_newest = self._late is None or late[:2] >= self._late[:2]
            if not self._takes_late:
                if is_newest:
                    self._late = late
                if len(self._urls) > 1 or not is_newest:
                    raise
                self._reasons.append(refusal)
            return gates.overdue(source, self._max_age, self._now)
        return ""

    def _require(self, url: str, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        way_out = {
            Gate.MAX_AGE: "wait for a new file, name another mirror, or raise max_age",
            Gate.FUTURE: "see that this host's clock is right (timedatectl), or name another mirror",
        }.get(
            verdict.gate, f"name another mirror; or, if it is right, remove {self._cache.path(self._order.name).parent}"
        )
        raise FeedRefused(f"{url}: {verdict.reason.removeprefix(f'{self._order.name}: ')}", way_out)

    def _refusal(self) -> FeedRefused:
        message = f"{self._order.name}: " + "; ".join(dict.fromkeys(reason.message for reason in self._reasons))
        refusal = FeedRefused(message, self._reasons[-1].way_out)
        refusal.__cause__ = self._reasons[-1]
        return refusal

    def _failed(self) -> Stale | Lost:
        refusal, accepted = self._refusal(), self._accepted
        if accepted is None:
            return Lost(self._order.name, refusal)
        return Stale(accepted, refusal, gates.overdue(accepted.source, self._max_age, self._now))
