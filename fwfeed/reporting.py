"""From the ledger to a report, a preview of blocking, and a folder of evidence. Changes nothing of what it reads."""

from __future__ import annotations

import os
import pwd
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from fwfeed import kernlog
from fwfeed import names as reverse_names
from fwfeed.attribution import executables
from fwfeed.config import Config
from fwfeed.errors import FwfeedError
from fwfeed.feeds import SPECIAL_PURPOSE, purpose, special_purpose
from fwfeed.flow import Known, Sender
from fwfeed.ledger import Ledger
from fwfeed.ledger import path as ledger_path
from fwfeed.ledger.importing import AGAIN, import_lines
from fwfeed.model import Candidate, Generation
from fwfeed.prefixes import Family, Ranges, cover, find, format_prefix, merge, parse_address
from fwfeed.preview import Preview
from fwfeed.preview import preview as preview_of
from fwfeed.report.evidence import ROWS, Basis, Hash
from fwfeed.store import candidates, delegations, files, generations, private
from fwfeed.tally import Tally, milliseconds, moment
from fwfeed.traffic import NOWHERE, PAIRS, Activity, Gathered, Lore, Note, Place, Traffic, Window, gather
from fwfeed.traffic.summary import summarize

_JOURNAL = "journal"
_SETTLED = timedelta(seconds=5)
"""How old a line of the log has to be: whoever watches has recorded by then what he saw of it."""
_BEHIND = timedelta(minutes=5)
"""How long whoever watches may be behind in a burst, or while the ledger cannot be written."""
_GAP = timedelta(minutes=5)
_NAMES_SECONDS = 5.0
_PACKAGES_SECONDS = 3.0
_NAMES = 500
_PLACES = 100_000  # for more, looking them up would take longer than delegations.sqlite may


def import_log(config: Config, *, now: datetime) -> int:
    """Bring into the ledger what this host has of the kernel's log and nobody watched; return how many flows.

    Who sent them is known as far as the kernel said it: by their user, or not at all. Raises FwfeedError.
    """
    with Ledger.open(ledger_path(Path(config.paths.state)), keep=config.watch.keep) as ledger:
        since = max(now - config.watch.keep, _read_until(ledger, now) or now - config.watch.keep)
        prefixes = (config.outbound.prefix, config.inbound.prefix)
        until = now - _SETTLED
        watched = max((moment(last) for _first, last in ledger.spans()), default=None)
        if watched is not None and now - watched < _BEHIND:
            until = min(until, watched)  # whoever watches may have more in hand, which he counts himself
        lines = kernlog.of_this_host(prefixes, since=since - AGAIN, now=now)
        return import_lines(ledger, lines, _JOURNAL, _unnamed, since=since, until=until)


def _read_until(ledger: Ledger, now: datetime) -> datetime | None:
    """Return how far the log was read. Where a wrong clock or damage left nonsense, it is up to the newest flow."""
    position = ledger.cursor(_JOURNAL)
    if position is None:
        return None
    with suppress(ValueError, TypeError):
        if (until := datetime.fromisoformat(position)) <= now:
            return until
    newest = ledger.newest(now)
    return None if newest is None else newest + timedelta(milliseconds=1)  # it is kept without what is less


@lru_cache(maxsize=4096)
def _unnamed(uid: int | None) -> Sender:
    if uid is None:
        return Sender(known=Known.NOT)
    try:
        return Sender(known=Known.USER, user=pwd.getpwuid(uid).pw_name)
    except KeyError:
        return Sender(known=Known.USER, user=str(uid))


def report(config: Config, *, now: datetime, since: timedelta, names: bool = False) -> Traffic:
    """Return what a report says of the time before now; with `names`, ask for the reverse names of what was most."""
    state = Path(config.paths.state)
    candidate, remarks = _candidate(state)
    gathered, lost, before = Gathered(), {}, frozenset[tuple[str, str, str, bool]]()
    window = _window(now, since, None)
    watched = False
    with _existing(state) as ledgers:
        for ledger in ledgers:
            window = _window(now, since, ledger.begins())
            gathered = gather(ledger.totals(window.since, now), ledger.hours(window.since, now))
            lost = ledger.losses(window.since, now)
            watched = window.begins is not None and _all_watched(ledger.spans(), max(window.since, window.begins), now)
            before = _before(ledger, gathered, window.yesterday)
    places = _places(state, gathered, remarks)
    lore = Lore(
        places=places,
        names=reverse_names.reverse(_largest(gathered), _NAMES_SECONDS) if names else {},
        before=frozenset((address, came_in) for address, _executable, _unit, came_in in before),
        programs_before=frozenset((executable, unit) for _address, executable, unit, came_in in before if not came_in),
        lost=lost,
        ipset=config.set.name,
        sources=candidate.sources if candidate else (),
        compiled=candidate.compiled if candidate else None,
        remarks=tuple(remarks),
        only_log=None if watched else config.outbound.limit,
    )
    traffic = summarize(gathered, lore, window)
    return replace(traffic, activities=tuple(_packaged(traffic.activities)))


def _all_watched(spans: Iterable[tuple[int, int]], since: datetime, until: datetime) -> bool:
    """Return whether somebody watched all of a time, but for moments as when a service is started again."""
    gap = _GAP // timedelta(milliseconds=1)
    reached = milliseconds(since)
    for first, last in spans:
        if first <= reached + gap:
            reached = max(reached, last)
    return reached + gap >= milliseconds(until)


def _packaged(activities: Iterable[Activity]) -> Iterator[Activity]:
    """Name the package of each program's file, for some seconds: rpm takes its time for each."""
    until = time.monotonic() + _PACKAGES_SECONDS
    for each in activities:
        program = each.doer.program
        if program.container or program.deleted or time.monotonic() > until:
            yield each
            continue
        named = program._replace(package=executables.owner(program.executable))
        yield replace(each, doer=each.doer._replace(program=named))


def preview(config: Config, *, now: datetime, since: timedelta) -> Preview:
    """Return what outbound = "reject" would have cut in the time before now."""
    state = Path(config.paths.state)
    candidate, remarks = _candidate(state)
    gathered, window = Gathered(), _window(now, since, None)
    with _existing(state) as ledgers:
        for ledger in ledgers:
            window = _window(now, since, ledger.begins())
            gathered = gather(ledger.totals(window.since, now))
    return preview_of(
        gathered,
        _places(state, gathered, remarks),
        _passing(config, candidate),
        window,
        refuses=config.outbound.action.refuses,
        forwarded=config.outbound.forwarded,
        allowed=config.apply.always_allow,
        remarks=tuple(note.english for note in remarks),
    )


def basis(config: Config, traffic: Traffic, configuration: bytes | None, version: str) -> Basis:
    """Return what evidence has beside the traffic; `configuration` is the text of its file, if there is one."""
    state = Path(config.paths.state)
    newest: Generation | None = generations.current(
        generations.Generations.below(state).all(Path(config.paths.firewalld))
    )
    return Basis(
        hashes={
            each.doer.program.executable: Hash(*executables.digest(each.doer.program.executable))
            for each in traffic.activities
            if each.doer.program.executable.startswith("/")
            and not each.doer.program.container
            and not each.doer.program.deleted
        },
        configuration=configuration,
        generation=newest,
        version=version,
        host=host(),
    )


def host() -> str:
    """Return what this host is called."""
    return os.uname().nodename


def tallies(config: Config, traffic: Traffic) -> Sequence[Tally]:
    """Return what the ledger holds of the time of a report, the newest where it is more than evidence has room for."""
    with _existing(Path(config.paths.state)) as ledgers:
        return deque((each for ledger in ledgers for each in ledger.select(traffic.since, traffic.until)), ROWS)


def require_empty(folder: Path) -> None:
    """Refuse a place where something is already. Raises FwfeedError."""
    with files.explained("read", folder):
        if not os.path.lexists(folder):
            return
        if folder.is_symlink() or not folder.is_dir() or any(folder.iterdir()):
            raise FwfeedError(
                f"{folder}: is there already, and no empty folder", "name a new folder; nothing was written"
            )


def pack(folder: Path, content: Mapping[str, bytes]) -> None:
    """Make the folder of evidence, whole or not at all, for its owner alone: command lines can hold secrets."""
    require_empty(folder)
    private.build(folder, content)


def write_page(file: Path, content: bytes) -> None:
    """Write a page, for its owner alone where there is none yet."""
    private.replace(file, content)


@contextmanager
def _existing(state: Path) -> Iterator[list[Ledger]]:
    """Open the ledger, as a list of one, or of none where there is none yet."""
    ledger = Ledger.find(ledger_path(state))
    try:
        yield [] if ledger is None else [ledger]
    finally:
        if ledger is not None:
            ledger.close()


def _window(now: datetime, since: timedelta, begins: datetime | None) -> Window:
    """Return the time of a report: whole hours back, or from where the ledger begins if that is asked for."""
    try:
        start, whole = now - since, False
    except OverflowError:  # "off", or thousands of years
        start, whole = begins or now, True
    return Window(start.replace(minute=0, second=0, microsecond=0), now, begins, whole)


def _candidate(state: Path) -> tuple[Candidate | None, list[Note]]:
    """Return the candidate and remarks: a report is still worth having where it is damaged."""
    try:
        return candidates.find(state), []
    except FwfeedError as error:
        said = f"{error.message}; {error.way_out}"
        return None, [Note(said, f"候補を読み込めません: {said}")]


def _before(ledger: Ledger, gathered: Gathered, yesterday: datetime) -> frozenset[tuple[str, str, str, bool]]:
    """Return what of all this was there before yesterday already."""
    late = {
        (endpoint.foreign, doer.program.executable, doer.program.unit)
        for (endpoint, doer), mass in gathered.pairs.items()
        if mass.first is not None and mass.first >= yesterday
    }
    addresses = {address for address, _executable, _unit in late}
    programs = {(executable, unit) for _address, executable, unit in late}
    return frozenset(
        (address if address in addresses else "", executable or "", unit or "", came_in)
        for address, executable, unit, came_in in ledger.seen_before(yesterday)
        if address in addresses or (executable, unit) in programs
    )


def _places(state: Path, gathered: Gathered, remarks: list[Note]) -> dict[str, Place]:
    counts = gathered.addresses
    if gathered.unnamed:
        told = f"{PAIRS:,} addresses and ports are told apart; {gathered.unnamed:,} connections were to others"
        told_ja = f"区別したアドレスとポートは {PAIRS:,} 組で、ほかに {gathered.unnamed:,} 件の接続があります"
        ja = f"{told_ja}。--since を短くすると減ります。"
        remarks.append(Note(f"{told}: a shorter --since has fewer", ja))
    asked = counts if len(counts) <= _PLACES else sorted(counts, key=lambda address: -counts[address])[:_PLACES]
    if len(asked) < len(counts):
        told = f"countries are of the {_PLACES:,} busiest of {len(counts):,} addresses alone"
        remarks.append(
            Note(told, f"国は、全 {len(counts):,} アドレスのうち接続の多い {_PLACES:,} アドレスのみの集計です。")
        )
    parsed = ((address, *_parsed(address)) for address in sorted(asked))
    sound = [(address, number, family) for address, number, family in parsed if number is not None]
    places = {
        address: Place(purpose=what)
        for address, number, family in sound
        if (what := purpose(number, family)) is not None
    }
    if not sound:
        return {}
    try:
        found = delegations.lookups(delegations.path(state), ((number, family) for _address, number, family in sound))
    except FwfeedError as error:
        reason = f"{error.message}; {error.way_out}"
        remarks.append(Note(f"countries are not known: {reason}", f"国は不明です: {reason}"))
        return places
    for (address, number, family), rows in zip(sound, found, strict=True):
        if rows:
            # while a block moves two registries have it: the newer record is right
            row = max(rows, key=lambda each: each.date)
            prefix = next(
                each
                for each in cover([(row.first, row.last)], family)
                if each.first <= number < each.first + (1 << (family.bits - each.length))
            )
            what = None if row.country else purpose(number, family)
            places[address] = Place(row.country or NOWHERE, row.registry, format_prefix(prefix, family), what)
    return places


def _parsed(address: str) -> tuple[int | None, Family]:
    family = Family.IPV6 if ":" in address else Family.IPV4
    try:
        return parse_address(address, family), family
    except ValueError:
        return None, family


def _passing(config: Config, candidate: Candidate | None) -> Callable[[str], bool]:
    """Return what says whether connections to an address would go on."""
    from fwfeed.render import exempt

    passing: dict[Family, Ranges] = {}
    for family in Family:
        ranges = list(exempt(config, family))
        if candidate is not None:
            ranges += candidate.ranges(family)
        elif SPECIAL_PURPOSE in config.set.include:
            ranges += special_purpose(family)
        passing[family] = merge(ranges)

    def passes(address: str) -> bool:
        number, family = _parsed(address)
        return number is not None and find(passing[family], number) is not None

    return passes


def _largest(gathered: Gathered) -> Sequence[str]:
    counts = gathered.addresses
    return sorted(counts, key=lambda address: -counts[address])[:_NAMES]
