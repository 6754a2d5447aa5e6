"""What the gates say of a candidate beside the generation that is installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fwfeed import gates
from fwfeed.config import Config
from fwfeed.definition import Definition, changes
from fwfeed.model import Candidate, Gate, Generation, Verdict
from fwfeed.ruleset import intended_sets
from fwfeed.store import candidates, generations
from fwfeed.store.generations import Generations


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How a candidate compares with what is installed.

    `verdicts` hold it, whoever asks. `changes` says how the definition of the set differs, empty where it does not;
    `redefined` is what holds it for that reason where nobody is there to read so.
    """

    verdicts: tuple[Verdict, ...]
    changes: str
    redefined: tuple[Verdict, ...]


def compare(config: Config, candidate: Candidate, history: list[Generation]) -> Comparison:
    """Compare a candidate, under the configured name, with the current generation; nothing holds what was approved."""
    state = Path(config.paths.state)
    verdicts = gates.judge_applied(generations.comparable(history, candidate.recipe), candidate, config.gates)
    told, redefined = "", list[Verdict]()
    current = generations.current(history)
    installed = None if current is None else generations.definition(current)
    wanted = Definition(name=config.set.name, recipe=candidate.recipe)
    if current is not None and installed is not None and (told := changes(installed, wanted)):
        try:
            content = Generations.below(state).content(current)
            ranges = {each.family: each.ranges for each in intended_sets(content) if not each.passing}
            redefined = gates.judge_definition(installed, ranges, wanted, candidate, config.gates)
        except ValueError as error:
            reason = f"the set changes: {told}; how far cannot be told: generation {current.number}: {error}"
            redefined = [Verdict(Gate.SET_CHANGED, reason)]
    if verdicts and candidates.is_approved(state, candidate):
        verdicts = []
    if redefined and candidates.is_approved(state, candidate, name=config.set.name):
        redefined = []
    return Comparison(verdicts=tuple(verdicts), changes=told, redefined=tuple(redefined))
