"""The unprivileged half: fetch every registry's file, verify it, compile the candidate.

All or nothing: unless every registry's file is good, the cache, the candidate and delegations.sqlite stay as they
are. Nothing here looks at /etc/firewalld, and nothing needs root.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

from fwfeed import delegated, gates
from fwfeed.compile import Selection, combine, recipe
from fwfeed.config import Config
from fwfeed.errors import FeedRefused, FwfeedError
from fwfeed.fetch import Delivery, deliver
from fwfeed.model import Candidate, Snapshot, Source
from fwfeed.prefixes import Family
from fwfeed.store import candidates, delegations, files
from fwfeed.store.cache import Cache
from fwfeed.store.lock import locked

LOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The candidate after a refresh, and the one before it; the same object where no file had changed."""

    candidate: Candidate
    previous: Candidate | None


def refresh(config: Config, *, now: datetime, tell: Callable[[str], None]) -> Refreshed:
    """Bring the candidate up to date; `tell` gets lines of progress.

    Raises FeedRefused with the reason of every registry that has no good file, and FwfeedError where the folders
    cannot be written.
    """
    state = Path(config.paths.state)
    cache = Cache(Path(config.paths.cache))
    database_path = delegations.path(state)
    wanted = recipe(config)
    lock = locked(candidates.folder(state), wait=LOCK_SECONDS, waiting=tell)
    with lock, files.Staging() as staging, ExitStack() as stack:
        try:
            previous = candidates.find(state)
        except FwfeedError:  # damaged, or of another version of fwfeed: it is about to be replaced
            previous = None
        known: dict[str, Source] = {}
        if previous is not None and previous.recipe == wanted and database_path.exists():
            known = {s.registry: s for s in previous.sources if cache.path(s.registry).exists()}

        def acquire(registry: str) -> Delivery:
            delivery = deliver(registry, config.sources)
            if registry not in known or known[registry].sha256 != delivery.sha256:
                cache.stage(staging, delivery)
            return delivery

        # closed before the staging is, so that no thread writes a file after the clearing up
        running = stack.enter_context(closing(_side_by_side(acquire, config.sources.registries)))
        arrivals = _needed(running, known, config, now)
        first = next(arrivals, None)
        if first is None and previous is not None:
            return Refreshed(previous, previous)

        selection = Selection(wanted.countries)
        sources: list[Source] = []
        refusals: list[FeedRefused] = []
        with _no_collection(), delegations.building(staging, database_path) as database:
            for arrival in chain([first] if first else [], arrivals):
                try:
                    if isinstance(arrival, FeedRefused):
                        raise arrival
                    snapshot = delegated.parse([arrival.raw], file=arrival.url, registry=arrival.registry)
                    source = _source(arrival, snapshot, selection.add(snapshot))
                    _require_age(source, config, now)
                except FeedRefused as refusal:
                    refusals.append(refusal)
                    continue
                what = f"{len(arrival.raw):,} bytes, {source.records:,} records, serial {source.serial}"
                tell(f"{source.registry}: {what}, to {source.end_date}, from {source.url}")
                database.add(wanted.registries.index(source.registry), snapshot, source)
                cache.stage_meta(staging, source, now)
                sources.append(source)
            if refusals:
                message = "\n".join(refusal.message for refusal in refusals)
                raise FeedRefused(message, refusals[0].way_out) from refusals[0]

        ipv4, ipv4_parts = combine(selection, wanted, Family.IPV4)
        ipv6, ipv6_parts = combine(selection, wanted, Family.IPV6)
        if not ipv4 and not ipv6:
            message = f"the set is empty: nothing is delegated to {', '.join(wanted.countries) or 'nobody'}"
            raise FeedRefused(message, "correct set.countries or set.include, or add to sources.registries")
        candidate = Candidate(
            compiled=now,
            recipe=wanted,
            sources=tuple(sorted(sources, key=lambda source: source.registry)),
            parts=(*ipv4_parts, *ipv6_parts),
            ipv4=ipv4,
            ipv6=ipv6,
        )
        candidates.stage(staging, state, candidate)
        staging.commit()
    return Refreshed(candidate, previous)


def _side_by_side(
    acquire: Callable[[str], Delivery], registries: Sequence[str]
) -> Generator[Delivery | FeedRefused, None, None]:
    """Acquire all registries' files at once and yield each, or why there is none, as it arrives."""
    with ThreadPoolExecutor(max_workers=len(registries)) as pool:
        futures = {pool.submit(acquire, registry) for registry in registries}
        while futures:
            done, futures = wait(futures, return_when=FIRST_COMPLETED)
            while done:
                try:
                    yield done.pop().result()
                except FeedRefused as refusal:
                    yield refusal


def _needed(
    arrivals: Iterator[Delivery | FeedRefused], known: Mapping[str, Source], config: Config, now: datetime
) -> Iterator[Delivery | FeedRefused]:
    """Yield all arrivals when at least one is new, or refused, and none when all are known."""
    held: list[Delivery] = []
    something_new = len(known) < len(config.sources.registries)
    for arrival in arrivals:
        if isinstance(arrival, Delivery) and not something_new:
            source = known[arrival.registry]
            if source.sha256 == arrival.sha256 and gates.judge_age(source, config.sources.max_age, now) is None:
                held.append(arrival)
                continue
        something_new = True
        yield from held
        held.clear()
        yield arrival


def _source(delivery: Delivery, snapshot: Snapshot, taken: int) -> Source:
    return Source(
        registry=delivery.registry,
        url=delivery.url,
        serial=snapshot.serial,
        end_date=snapshot.end_date,
        sha256=delivery.sha256,
        records=snapshot.records,
        delegations=taken,
    )


def _require_age(source: Source, config: Config, now: datetime) -> None:
    verdict = gates.judge_age(source, config.sources.max_age, now)
    if verdict is not None:
        raise FeedRefused(verdict.reason, 'wait for a new file, name another mirror, or raise sources.max_age ("off")')


@contextmanager
def _no_collection() -> Iterator[None]:
    """Switch the cycle collector off: half a million tuples without a cycle cost it a third of the run time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
