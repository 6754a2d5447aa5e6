"""What a gate holds: show how it differs from what is, and let it through."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from fwfeed import gates
from fwfeed.compile import recipe
from fwfeed.config import Config
from fwfeed.definition import recipe_changes
from fwfeed.errors import FwfeedError
from fwfeed.model import Candidate, Delta, OriginKey, Review, Verdict
from fwfeed.prefixes import Family, Ranges, cover, merge, subtract
from fwfeed.proof import installed_ranges
from fwfeed.store import candidates, comparison, delegations, files, generations
from fwfeed.store.cache import Cache
from fwfeed.store.generations import Generations
from fwfeed.store.lock import locked

LOCK_SECONDS = 60.0


def review(config: Config) -> Review:
    """Compare what is held with the accepted candidate; where nothing is, that candidate with what is installed."""
    state = Path(config.paths.state)
    held = candidates.find_held(state)
    return _review(config, held, held or candidates.load(state))


def _review(config: Config, held: Candidate | None, candidate: Candidate) -> Review:
    state = Path(config.paths.state)
    if held is not None:
        accepted = candidates.find(state)
        return Review(
            before=("no candidate", None) if accepted is None else _called("accepted", accepted),
            after=_called("held", held),
            deltas=_deltas({} if accepted is None else _ranges(accepted), _ranges(held)),
            parts=_parts(accepted, held),
            verdicts=tuple(gates.judge(accepted, held, config.gates)),
        )
    store = Generations.below(state)
    history = store.all(Path(config.paths.firewalld))
    current = generations.current(history)
    compared = comparison.compare(config, candidate, history)
    try:
        installed = installed_ranges(store.content(current)) if current else {}
    except ValueError as error:
        raise FwfeedError(f"{store.root}: a set of the current generation is damaged: {error}") from None
    return Review(
        before=(f"generation {current.number}" if current else "nothing installed", None),
        after=_called("accepted", candidate),
        deltas=_deltas(installed, _ranges(candidate)),
        parts={},
        verdicts=compared.verdicts,
        set_changes=compared.changes,
        redefined=compared.redefined,
    )


def approve(config: Config, *, now: datetime) -> tuple[Verdict, ...] | None:
    """Let what is held through, and return what that overrules; None where nothing is held.

    What is held can be overruling nothing any more: gates were widened since, or a crash came before it was dropped.
    From here on an apply takes these very sets. `promote` makes them the accepted ones.
    """
    state = Path(config.paths.state)
    held = candidates.find_held(state)
    candidate = held or candidates.load(state)
    reviewed = _review(config, held, candidate)
    verdicts = reviewed.verdicts + reviewed.redefined
    if held is None and not verdicts:
        return None
    _require_recipe(config, candidate)
    candidates.approve(state, candidate, config.set.name, now)
    return verdicts


def promote(config: Config, *, tell: Callable[[str], None]) -> None:
    """Put the held candidate and its files in the places of the accepted ones, all or none."""
    state, cache = Path(config.paths.state), Cache(Path(config.paths.cache))
    with locked(candidates.folder(state), wait=LOCK_SECONDS, waiting=tell), files.Staging() as staging:
        held = candidates.find_held(state)
        if held is None:
            return
        if not candidates.is_approved(state, held):
            raise FwfeedError("another candidate is held by now than the one approved", "run: fwfeed diff")
        _require_recipe(config, held)
        folder, target = candidates.held_folder(state), candidates.folder(state)
        # a crash can have left files there of what was held before, or half a file
        names = [source.name for source in held.sources if cache.held.has(source)]
        pairs = [
            (path, cache.root / name / path.name) for name in names for path in (cache.held.root / name).glob("[!.]*")
        ]
        pairs += [(folder / name, target / name) for name in (delegations.NAME, candidates.NAME)]
        for source, path in pairs:
            scratch = staging.scratch(path)
            with files.explained("copy", source):
                shutil.copyfile(source, scratch, follow_symlinks=False)
            staging.assign(scratch, path)
        staging.commit()
        files.remove_tree(folder)
        files.remove_tree(cache.held.root)


def _require_recipe(config: Config, candidate: Candidate) -> None:
    """Refuse what an apply would refuse, whoever approved it, while the accepted candidate is still there."""
    wanted = recipe(config)
    if candidate.recipe != wanted:
        differing = recipe_changes(candidate.recipe, wanted) or "the order of names"
        message = "what is held was compiled for other settings of [set], [sources] or [[feed]] than there are now"
        raise FwfeedError(f"{message}: {differing}", candidates.way_to_fetch(Path(config.paths.state), wanted))


def _called(state: str, candidate: Candidate) -> tuple[str, datetime]:
    return f"the {state} candidate", candidate.compiled


def _ranges(candidate: Candidate) -> dict[Family, Ranges]:
    return {family: merge(candidate.ranges(family)) for family in Family}


def _deltas(before: Mapping[Family, Ranges], after: Mapping[Family, Ranges]) -> tuple[Delta, ...]:
    deltas = []
    for family in Family:
        old, new = merge(before.get(family, ())), after[family]
        deltas.append(
            Delta(
                family=family,
                before=old,
                after=new,
                added=tuple(cover(subtract(new, old), family)),
                removed=tuple(cover(subtract(old, new), family)),
            )
        )
    return tuple(deltas)


def _parts(
    before: Candidate | None, after: Candidate
) -> dict[OriginKey, tuple[Mapping[Family, int], Mapping[Family, int]]]:
    parts: dict[OriginKey, tuple[dict[Family, int], dict[Family, int]]] = {}
    for which, candidate in enumerate((before, after)):
        for part in () if candidate is None else candidate.parts:
            key = (part.source, part.term, part.excluded)
            counts = parts.setdefault(key, (dict.fromkeys(Family, 0), dict.fromkeys(Family, 0)))
            counts[which][part.family] = part.addresses
    return dict(parts)
