"""Make one change of what is installed: find what forbids it, find how to go about it, and have it carried out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from fwfeed import firewalld
from fwfeed.apply.activate import why_reload
from fwfeed.apply.confirming import wait_for
from fwfeed.apply.guard import require_nothing_dropped, require_ready, runtime_only, unrestricted
from fwfeed.apply.layouts import Layout
from fwfeed.apply.plan import FALLBACK_ZONE, Target, check_target
from fwfeed.apply.transaction import carry_out
from fwfeed.apply.ways import Ways, judge, require_ways
from fwfeed.config import Config
from fwfeed.firewalld import Firewalld, Kind
from fwfeed.gates import moving
from fwfeed.model import NOTHING, Candidate, Generation, Outcome, Recipe, Source, Verdict
from fwfeed.prefixes import Family
from fwfeed.proof import differences
from fwfeed.sessions import Session
from fwfeed.store import generations, manifests
from fwfeed.store.generations import Generations
from fwfeed.store.journal import Deadline, Entry, Phase

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who asks for a change, and how.

    `attended` is whether somebody reads what is said; `ssh` is the session of whoever does. `allow_lockout` makes
    warnings of what would be cut; `confirm` is how long to wait for a `fwfeed confirm`, None for as configured;
    `itself` the command that starts fwfeed again. Times are told in `zone`. `tell` gets lines of progress.
    """

    now: datetime
    zone: tzinfo
    attended: bool
    ssh: Session | None
    allow_lockout: bool
    confirm: timedelta | None
    itself: tuple[str, ...]
    tell: Tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How an apply or a rollback ended.

    `generation` is None where there was nothing to do. `reloaded` says why it took a reload, empty where it took none;
    `waits` until when it has to be confirmed. `held_back` says why the candidate was left out: somebody had gone back,
    or the set is another one by now and nobody attended; `undone` is the number of a generation that waited to be
    confirmed, and does no more.
    """

    generation: Generation | None
    reloaded: str
    waits: Deadline | None
    held_back: str
    warnings: tuple[str, ...]
    seconds: float
    undone: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """What a new generation is made of: what its manifest says beside the files."""

    restores: int | None
    config: str
    recipe: Recipe
    sources: tuple[Source, ...]
    prefixes: Mapping[Family, int]
    addresses: Mapping[Family, int]

    @classmethod
    def of_candidate(cls, candidate: Candidate, config: Config) -> Descent:
        """Return what installing a candidate makes."""
        return cls(
            restores=None,
            config=config.digest,
            recipe=candidate.recipe,
            sources=candidate.sources,
            prefixes={family: len(candidate.prefixes(family)) for family in Family},
            addresses=moving(candidate),
        )

    @classmethod
    def of_generation(cls, old: Generation) -> Descent:
        """Return what going back to a generation makes."""
        return cls(
            restores=old.number if old.restores is None else old.restores,
            config=old.config,
            recipe=old.recipe,
            sources=old.sources,
            prefixes=old.prefixes,
            addresses=old.addresses,
        )

    @classmethod
    def of_nothing(cls, old: Generation) -> Descent:
        """Return what taking everything out makes; what comes after it is compared with what was there before it."""
        return replace(cls.of_generation(old), restores=NOTHING, prefixes=dict.fromkeys(Family, 0))


def make(
    config: Config,
    operator: Operator,
    target: Target,
    descent: Descent,
    verdicts: tuple[Verdict, ...] = (),
    *,
    afresh: bool = False,
) -> Applied:
    """Make the target so, where it is not. The lock must be held, and nothing be left to recover.

    `verdicts` are what gates have found; `afresh`: it becomes a generation even where it is so already. Raises as
    `apply` does.
    """
    started = time.monotonic()
    daemon = firewalld.connect()
    require_ready(daemon)
    generation, reason, waiting = None, "", None
    warnings: list[str] = []
    if afresh or not _is_settled(target) or differences(daemon, target.rendered.files, target.default_zone.wanted):
        target, warnings = _with_existing_zone(target, daemon)
        check_target(target, verdicts)
        ways = _judge(config, target, daemon, operator.ssh)
        warnings += require_ways(ways, allow=operator.allow_lockout)
        reason = (
            f"the default zone becomes {target.default_zone.wanted}"
            if target.default_zone.changes
            else why_reload(daemon, target.installed, target.wanted, target.default_zone.wanted)
        )
        if reason:
            dropped = runtime_only(target, daemon)
            needing = [*([operator.ssh] if operator.ssh else []), *ways.leaning]
            require_nothing_dropped(dropped, needing, allow=operator.allow_lockout)
            warnings += (f"the reload dropped what only the runtime had: {each.description}" for each in dropped)
        generation = _new_generation(config, target, descent, daemon, operator.now)
        waiting = wait_for(
            generation.number,
            operator.confirm or (config.apply.confirm if _changes_rules(target) else None),
            itself=operator.itself,
            paths=config.paths,
        )
        entry = Entry(
            generation=generation.number,
            root=str(target.root),
            phase=Phase.PREPARED,
            reloads=bool(reason),
            zone_before=daemon.default_zone(),
            zone_after=target.default_zone.wanted,
            waits=None if waiting is None else waiting.deadline,
            before=target.installed,
        )
        how = f"by a reload: {reason}" if reason else "entry by entry"
        operator.tell(f"generation {generation.number}: {len(target.changes)} files to change, {how}")
        carry_out(config, target, daemon, generation, entry, waiting, operator.tell)
    warnings += unrestricted(config, daemon, daemon.default_zone())
    return Applied(
        generation=generation,
        reloaded=reason,
        waits=None if waiting is None else waiting.deadline,
        held_back="",
        warnings=tuple(warnings),
        seconds=time.monotonic() - started,
    )


def outlook(config: Config, target: Target, ssh: Session | None) -> list[str]:
    """Say what a change would be refused for or warned of, as far as the running firewalld tells. Changes nothing.

    Raises FwfeedError where firewalld is not to be asked.
    """
    daemon = firewalld.connect()
    require_ready(daemon)
    target, lost_zone = _with_existing_zone(target, daemon)
    ways = _judge(config, target, daemon, ssh)
    cuts = (f"apply would refuse, unless with --allow-lockout: {cut}" for cut in ways.cuts)
    zone = target.default_zone.wanted or target.default_zone.configured
    return [*cuts, *lost_zone, *ways.unknown, *unrestricted(config, daemon, zone)]


def _judge(config: Config, target: Target, daemon: Firewalld, ssh: Session | None) -> Ways:
    zone = target.default_zone
    after = Layout(content=target.rendered.files, default_zone=zone.wanted or zone.configured)
    before = Layout(content=target.installed, default_zone=daemon.default_zone())
    return judge(config, daemon, after=after, before=before, ssh=ssh)


def _is_settled(target: Target) -> bool:
    """Return whether the current generation is on disk as it should be."""
    current = generations.current(target.generations)
    digests = {path: manifests.digest(content) for path, content in target.rendered.files.items()}
    settled = not target.changes and not target.default_zone.changes
    return settled and current is not None and current.files == digests


def _changes_rules(target: Target) -> bool:
    """Return whether more is other than entries, against the generation in force: mending that one is no change."""
    current = generations.current(target.generations)
    if current is None or current.default_zone != target.rendered.default_zone:
        return True
    wanted = target.rendered.files
    return current.files.keys() != wanted.keys() or any(
        current.files[path] != manifests.digest(raw) for path, raw in wanted.items() if not path.startswith("ipsets/")
    )


def _with_existing_zone(target: Target, daemon: Firewalld) -> tuple[Target, list[str]]:
    """Return the target with a default zone that there is, and a warning where the one to give back is gone."""
    wanted = target.default_zone.wanted
    if wanted is None or f"zones/{wanted}.xml" in target.rendered.files or wanted in daemon.names(Kind.ZONE):
        return target, []
    zone = replace(target.default_zone, wanted=FALLBACK_ZONE)
    return replace(target, default_zone=zone), [
        f"zone {wanted}, the default before fwfeed, is gone: {FALLBACK_ZONE} takes its place"
    ]


def _new_generation(config: Config, target: Target, descent: Descent, daemon: Firewalld, now: datetime) -> Generation:
    return Generation(
        number=Generations.below(Path(config.paths.state)).next_number(),
        root=str(target.root),
        created=now,
        outcome=Outcome.PENDING,
        reason="",
        restores=descent.restores,
        config=descent.config,
        firewalld=daemon.version(),
        recipe=descent.recipe,
        sources=descent.sources,
        prefixes=descent.prefixes,
        addresses=descent.addresses,
        files={path: manifests.digest(content) for path, content in target.rendered.files.items()},
        default_zone=target.rendered.default_zone,
        replaced_zone=target.default_zone.replaced,
    )
