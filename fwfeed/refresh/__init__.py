"""The unprivileged half: get every source's file, verify it, compile the candidate, and hold it where a gate says so.

Every set is made of a whole file of each source: the newest that is good, or else the one accepted last, so that one
publisher cannot keep the news of the others out; where a source has neither, all is refused. A refusal leaves cache,
candidate and delegations.sqlite as they are. Nothing here looks at /etc/firewalld, and nothing needs root.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from fwfeed import gates, surroundings
from fwfeed.compile import Selection, combine, recipe
from fwfeed.config import Config, Outbound
from fwfeed.delegation import Snapshot
from fwfeed.errors import FeedRefused, FwfeedError
from fwfeed.fetch import orders
from fwfeed.model import Candidate, Recipe, Refusal, Source, Verdict
from fwfeed.prefixes import Family
from fwfeed.refresh.acquire import Acquired, Arrived, Fresh, Lost, Same, Stale, acquire
from fwfeed.refresh.reading import Reading, read
from fwfeed.refresh.telling import late, served, together
from fwfeed.store import candidates, delegations, files, hosts
from fwfeed.store.cache import Accepted, Cache
from fwfeed.store.lock import locked

LOCK_SECONDS = 60.0
RESOLVE_SECONDS = 5.0
_FIRST_YEAR = 2018
"""Before it there was no fwfeed: a clock that says so was never set, as on a board without a battery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """How a refresh ended.

    `candidate` is the accepted one, None where the first one ever is held; `changed` whether it is another than
    before. `held` is what the gates hold, and `verdicts` why. `stale` has a line for each source whose file of before
    serves, or whose new one is past its max_age, and why; for those that give the set nothing it stands in `warnings`
    instead. `remarks` has a line for each remark on a file that is new.
    """

    candidate: Candidate | None
    changed: bool
    held: Candidate | None
    verdicts: tuple[Verdict, ...]
    stale: tuple[str, ...]
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]


def refresh(
    config: Config,
    *,
    now: datetime,
    tell: Callable[[str], None],
    seen: Callable[[str, int, int], None] = lambda _name, _size, _total: None,
) -> Refreshed:
    """Bring the candidate up to date; `tell` gets lines of progress, `seen` (source, bytes so far, of how many or 0).

    Raises FeedRefused with the reason of every source that has no file to go on with, and FwfeedError where the
    folders cannot be written.
    """
    if now.year < _FIRST_YEAR:
        message = f"this host's clock says {now:%Y-%m-%d}: by that no file and no certificate can be judged"
        raise FeedRefused(message, "set the clock: timedatectl, or systemctl status chronyd")
    state = Path(config.paths.state)
    with locked(candidates.folder(state), wait=LOCK_SECONDS, waiting=tell):
        try:
            refreshed, refusals = _Refresh(config, now, tell).run(seen)
        except FeedRefused as refusal:
            with suppress(FwfeedError):  # the refusal is what has to be told
                candidates.record_refusals(state, [Refusal(name="", reason=refusal.message, since=now)], now)
            raise
        candidates.record_refusals(state, refusals, now)
        _record_hosts(config, tell)
    return refreshed


def _record_hosts(config: Config, tell: Callable[[str], None]) -> None:
    """Record the addresses of the hosts that this one needs, for an apply that would cut them. It never fails."""
    wanted = surroundings.names(config) if config.outbound.action is not Outbound.OFF else []
    found = surroundings.resolve(wanted, RESOLVE_SECONDS)
    try:
        new = hosts.record(candidates.folder(Path(config.paths.state)), wanted, found)
    except FwfeedError as error:
        tell(f"the addresses of hosts could not be recorded: {error.message}")
    else:
        if new:
            tell(f"addresses of {len(found)} hosts recorded")


class _Refresh:
    """One refresh; the lock is held."""

    def __init__(self, config: Config, now: datetime, tell: Callable[[str], None]) -> None:
        self._config = config
        self._now = now
        self._tell = tell
        self._state = Path(config.paths.state)
        self._cache = Cache(Path(config.paths.cache))
        self._recipe = recipe(config)
        try:
            self._previous = candidates.find(self._state)
        except FwfeedError:  # damaged, or of another version of fwfeed: it is about to be replaced
            self._previous = None

    def run(self, seen: Callable[[str, int, int], None]) -> tuple[Refreshed, list[Refusal]]:
        """Return how it ended, and what was refused."""
        arrived: list[Arrived] = []
        kept: list[Accepted] = []
        stale: list[Stale] = []
        too_old: list[tuple[str, str, FeedRefused]] = []
        lost: list[FeedRefused] = []
        with files.Staging() as staging, ExitStack() as stack, _no_collection():
            outcomes = acquire(orders(self._config), self._config, self._cache, staging, self._now, seen)
            # closed before the staging is, so that no thread writes a file after the clearing up
            running = stack.enter_context(closing(outcomes))
            build = stack.enter_context(_Build(Selection(self._recipe), staging, delegations.path(self._state)))
            for outcome in running:
                self._tell_of(outcome)
                match outcome:
                    case Fresh():
                        arrived.append(outcome.file)
                        if outcome.refusal is not None:
                            too_old.append((outcome.file.accepted.source.name, outcome.overdue, outcome.refusal))
                        try:
                            build.add(outcome.file.accepted.source, outcome.reading)
                        except FeedRefused as refusal:
                            lost.append(refusal)
                    case Same():
                        kept.append(outcome.accepted)
                    case Stale():
                        stale.append(outcome)
                        kept.append(outcome.accepted)
                    case Lost():
                        lost.append(outcome.refusal)
                del outcome  # what it holds is large, and the next one is coming
            if lost:
                refusals = [*lost, *(each.refusal for each in stale)]
                raise FeedRefused("\n".join(together(refusals)), lost[0].way_out) from lost[0]
            if not arrived and self._is_compiled(kept):
                if not any(self._cache.held.path(each.accepted.source.name).exists() for each in stale):
                    self._drop_held()  # but not while a publisher cannot be asked whether it stands by it
                refreshed = self._unchanged()
            else:
                for accepted in kept:
                    path = self._cache.path(accepted.source.name)
                    name = accepted.source.name
                    build.add(accepted.source, read(name, path, self._config, called=str(path), intact=True))
                refreshed = self._put(staging, build, arrived)
        made = refreshed.held or refreshed.candidate
        idle = {source.name for source in made.sources if not source.taken} if made else set[str]()
        told, warnings = served(stale, idle)
        for name, overdue, reasons in too_old:
            (warnings if name in idle else told).append(late(name, overdue, reasons, idle=name in idle))
        refused = [
            Refusal(name=each.accepted.source.name, reason=each.refusal.message, since=self._now) for each in stale
        ]
        return replace(refreshed, stale=tuple(told), warnings=tuple(warnings)), refused

    def _tell_of(self, outcome: Acquired) -> None:
        match outcome:
            case Fresh():
                source = outcome.file.accepted.source
                what = f"{outcome.file.digests.size:,} bytes, {source.records:,} records"
                if outcome.reading.discarded:
                    what += f" ({outcome.reading.discarded:,} lines discarded)"
                serial = "" if source.serial is None else f", serial {source.serial}"
                self._tell(f"{source.name}: {what}{serial}, to {source.end_date}, from {source.url}")
            case Same():
                self._tell(f"{outcome.accepted.source.name}: not changed, to {outcome.accepted.source.end_date}")
            case Stale() | Lost():
                pass  # it is told at the end

    def _is_compiled(self, kept: list[Accepted]) -> bool:
        """Return whether the candidate is what these files give."""
        previous = self._previous
        if previous is None or previous.recipe != self._recipe:
            return False
        same = {(s.name, s.sha256) for s in previous.sources} == {(k.source.name, k.source.sha256) for k in kept}
        return same and delegations.is_of(delegations.path(self._state), previous.sources)

    def _unchanged(self) -> Refreshed:
        return Refreshed(
            candidate=self._previous, changed=False, held=None, verdicts=(), stale=(), warnings=(), remarks=()
        )

    def _put(self, staging: files.Staging, build: _Build, arrived: list[Arrived]) -> Refreshed:
        """Put the new candidate and what it was made of in their places, or beside them where a gate holds it."""
        candidate = build.compile(self._recipe, self._now)
        verdicts = tuple(gates.judge(self._previous, candidate, self._config.gates))
        if verdicts and candidates.is_approved(self._state, candidate):
            verdicts = ()
        if verdicts and (held := self._held_already(candidate)):
            return replace(self._unchanged(), held=held, verdicts=verdicts)
        cache = self._cache.held if verdicts else self._cache
        folder = candidates.held_folder(self._state) if verdicts else candidates.folder(self._state)
        for file in arrived:
            cache.stage(staging, file.scratch, file.digests, file.accepted, self._now)
        staging.assign(build.database, folder / delegations.NAME)
        candidates.stage(staging, folder, candidate)
        staging.commit()
        new = {file.accepted.source.name for file in arrived}
        remarks = tuple(
            f"{source.name}: {remark.text}"
            for source in candidate.sources
            if source.name in new
            for remark in source.remarks
        )
        if not verdicts:
            self._drop_held()
            return replace(self._unchanged(), candidate=candidate, changed=True, remarks=remarks)
        cache.keep_only(new)
        return replace(self._unchanged(), held=candidate, verdicts=verdicts, remarks=remarks)

    def _held_already(self, candidate: Candidate) -> Candidate | None:
        """Return the held candidate where it is made of the same, from wherever and on whatever day that came."""
        try:
            held = candidates.find_held(self._state)
        except FwfeedError:
            return None
        return held if held is not None and _content(held) == _content(candidate) else None

    def _drop_held(self) -> None:
        files.remove_tree(candidates.held_folder(self._state))
        files.remove_tree(self._cache.held.root)


class _Build:
    """A candidate and its database in the making. Used as a context manager."""

    def __init__(self, selection: Selection, staging: files.Staging, database: Path) -> None:
        self._selection = selection
        self._staging = staging
        self._path = database
        self._open = ExitStack()
        self._writer: delegations.Writer | None = None
        self._sources: list[Source] = []
        self.database = Path()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def add(self, source: Source, reading: Reading) -> None:
        """Take what is wanted of a source, and all of its delegations."""
        if self._writer is None:
            self.database = self._staging.scratch(self._path)
            self._writer = self._open.enter_context(delegations.building(self.database))
        self._sources.append(replace(source, taken=reading.select(self._selection), remarks=reading.remarks))
        if isinstance(reading.content, Snapshot):
            self._writer.add(self._selection.recipe.registries.index(source.name), reading.content, source)

    def compile(self, wanted: Recipe, now: datetime) -> Candidate:
        """Finish the database, and return the candidate. Raises FeedRefused for an empty set."""
        self._open.close()
        ipv4, ipv4_parts = combine(self._selection, Family.IPV4)
        ipv6, ipv6_parts = combine(self._selection, Family.IPV6)
        if not ipv4 and not ipv6:
            message = f"the set is empty: nothing is delegated to {', '.join(wanted.countries) or 'nobody'}"
            raise FeedRefused(message, "correct set.countries or set.include, or add to sources.registries")
        return Candidate(
            compiled=now,
            recipe=wanted,
            sources=tuple(sorted(self._sources, key=lambda source: source.name)),
            parts=(*ipv4_parts, *ipv6_parts),
            ipv4=ipv4,
            ipv6=ipv6,
        )


def _content(candidate: Candidate) -> tuple[object, ...]:
    digests = {(source.name, source.sha256) for source in candidate.sources}
    return candidate.recipe, digests, candidate.ipv4, candidate.ipv6


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
