"""The generations: what fwfeed has installed below /etc/firewalld, each with the proof that the files are its own.

A generation is a folder NNNNNN with `files/` as rendered and a `manifest.json`. It is written whole before
anything is installed, so that no file of ours can ever lie in /etc/firewalld without a manifest that names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from fwfeed.definition import Definition
from fwfeed.errors import FwfeedError
from fwfeed.model import NOTHING, PASSING, Generation, Outcome, Recipe
from fwfeed.prefixes import Family
from fwfeed.store import files, manifests

_MANIFEST = "manifest.json"
_DECIDED = frozenset({Outcome.APPLIED, Outcome.UNCONFIRMED})


@dataclass(frozen=True, slots=True)
class Generations:
    """The folder of generations."""

    root: Path

    @classmethod
    def below(cls, state: Path) -> Generations:
        """Return the generations of a state folder."""
        return cls(state / "generations")

    def all(self, root: Path) -> list[Generation]:
        """Return every generation that was made for this folder, oldest first.

        Raises FwfeedError for a damaged manifest, and for a folder of generations that is not root's alone.
        """
        files.require_own(self.root)
        with files.explained("read", self.root):
            try:
                names = sorted(path.name for path in self.root.iterdir())
            except FileNotFoundError:
                return []
        read = [self._read(name) for name in names if re.fullmatch(r"\d{6}", name)]
        return [generation for generation in read if generation.root == str(root)]

    def next_number(self) -> int:
        """Return the number for a new generation, whatever folder it is for."""
        names = [path.name for path in self.root.iterdir()] if self.root.exists() else []
        return max((int(name) for name in names if re.fullmatch(r"\d{6}", name)), default=0) + 1

    def write(self, generation: Generation, content: Mapping[str, bytes]) -> None:
        """Store a new generation with its files, whole or not at all."""
        content_of = {f"files/{path}": raw for path, raw in content.items()}
        files.build(self.root / _name(generation.number), {**content_of, _MANIFEST: manifests.dump(generation)})

    def find(self, number: int) -> Generation | None:
        """Return one generation, whatever folder it is for. Raises FwfeedError for a damaged manifest."""
        files.require_own(self.root)
        return self._read(_name(number)) if (self.root / _name(number)).exists() else None

    def discard(self, generation: Generation) -> None:
        """Take a generation away that came to nothing."""
        files.dismantle(self.root / _name(generation.number))
        with suppress(OSError):
            self.root.rmdir()  # of the very first one, nothing stays

    def prune(self, root: Path, keep: int) -> None:
        """Take away the oldest generations for a folder: of those applied, and of the others, `keep` stay each.

        So nights that fail do not take away what to go back to; nor do those that mend the current one, as the newest
        with other files stays. One without an end stays, too.
        """
        history = self.all(root)
        newest = current(history)
        applied = [each for each in history if each.outcome is Outcome.APPLIED]
        ended = [each for each in history if each.outcome not in {Outcome.APPLIED, Outcome.PENDING}]
        differing = [each for each in applied if newest is not None and each.files != newest.files]
        kept = {each.number for each in (*applied[-keep:], *ended[-keep:], *differing[-1:])}
        for generation in (*applied, *ended):
            if generation.number not in kept:
                files.dismantle(self.root / _name(generation.number))

    def sweep(self) -> None:
        """Remove what was on its way in or out when a command was killed."""
        for path in [*self.root.glob(".*"), *self.root.glob("[0-9]*/.*")]:
            if re.fullmatch(files.SCRATCH, path.name):
                files.remove_tree(path) if path.is_dir() else files.remove(path)

    def content(self, generation: Generation, below: str = "") -> dict[str, bytes | None]:
        """Return a generation's files as they were rendered, or those in one of its folders."""
        folder = self.root / _name(generation.number) / "files"
        return {path: files.read(folder / path) for path in generation.files if path.startswith(below)}

    def close(self, generation: Generation, outcome: Outcome, reason: str = "") -> None:
        """Record how a generation ended."""
        path = self.root / _name(generation.number) / _MANIFEST
        files.replace(path, manifests.dump(replace(generation, outcome=outcome, reason=reason)))

    def _read(self, name: str) -> Generation:
        path = self.root / name / _MANIFEST
        raw = files.read(path)
        try:
            if raw is None:
                raise ValueError("it is missing")
            return manifests.load(int(name), raw)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise FwfeedError(f"{path}: not a manifest: {error}", "restore it from a backup") from None


def current(generations: list[Generation]) -> Generation | None:
    """Return the newest generation that was applied."""
    applied = [generation for generation in generations if generation.outcome is Outcome.APPLIED]
    return applied[-1] if applied else None


def comparable(generations: list[Generation], recipe: Recipe) -> Mapping[Family, int] | None:
    """Return the moving addresses of what was applied last, None where that was nothing, or of another recipe."""
    newest = current(generations)
    return newest.addresses if newest is not None and newest.recipe == recipe else None


def definition(generation: Generation) -> Definition | None:
    """Return what a generation's set is; None where it has none, as after an uninstall."""
    stems = [PurePosixPath(path).stem for path in generation.files if path.startswith("ipsets/")]
    names = [stem for stem in stems if not stem.endswith(PASSING)]
    # of the two families' names, that of IPv6 is one longer
    return Definition(name=min(names, key=len), recipe=generation.recipe) if names else None


def unfinished(generations: list[Generation]) -> list[Generation]:
    """Return the generations that were begun after the current one and have no end: a crash left them so."""
    newest = current(generations)
    since = newest.number if newest else 0
    return [each for each in generations if each.outcome is Outcome.PENDING and each.number > since]


def why_held_back(generations: list[Generation]) -> str:
    """Say how somebody went back, by `rollback` or by not confirming; nothing where nobody did.

    What the candidate and the configuration would install is then for a human to install, not for a timer.
    """
    last = next((each for each in reversed(generations) if each.outcome in _DECIDED), None)
    if last is not None and last.outcome is Outcome.UNCONFIRMED:
        return f"nobody confirmed generation {last.number}"
    if last is None or last.restores is None:
        return ""
    return (
        "fwfeed uninstall took it out"
        if last.restores == NOTHING
        else f"somebody went back to generation {last.restores}"
    )


def owned(generations: list[Generation]) -> set[str]:
    """Return the paths that may be replaced or removed, because fwfeed wrote what lies there.

    These are the files of the current generation and of unfinished ones. Older manifests prove nothing: a path that
    fwfeed has given up may be somebody else's by now.
    """
    newest = current(generations)
    return {path for each in [*unfinished(generations), *([newest] if newest else [])] for path in each.files}


def _name(number: int) -> str:
    return f"{number:06d}"
