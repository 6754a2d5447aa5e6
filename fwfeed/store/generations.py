"""The generations: what fwfeed has installed below /etc/firewalld, each with the proof that the files are its own.

A generation is a folder NNNNNN with `files/` as rendered and a `manifest.json`. It is written whole before
anything is installed, so that no file of ours can ever lie in /etc/firewalld without a manifest that names it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from fwfeed.candidate import recipe_from_json, recipe_to_json
from fwfeed.errors import FwfeedError
from fwfeed.model import Generation, Outcome
from fwfeed.prefixes import Family
from fwfeed.store import files

_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Generations:
    """The folder of generations."""

    root: Path

    @classmethod
    def below(cls, state: Path) -> Generations:
        """Return the generations of a state folder."""
        return cls(state / "generations")

    def all(self) -> list[Generation]:
        """Return every generation, oldest first."""
        with files.explained("read", self.root):
            try:
                names = sorted(path.name for path in self.root.iterdir())
            except FileNotFoundError:
                return []
        return [self._read(name) for name in names if re.fullmatch(r"\d{6}", name)]

    def write(self, generation: Generation, content: Mapping[str, bytes]) -> None:
        """Store a new generation with its files, whole or not at all."""
        folder = self.root / _name(generation.number)
        files.make_folder(self.root)
        building = folder.with_name(f".{folder.name}.fwfeed-new")
        with files.explained("write", folder):
            shutil.rmtree(building, ignore_errors=True)
            for path, raw in content.items():
                target = building / "files" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                files.replace(target, raw)
            files.replace(building / _MANIFEST, _dump(generation))
            building.rename(folder)
            files.sync(self.root)

    def content(self, generation: Generation) -> dict[str, bytes | None]:
        """Return a generation's files as they were rendered."""
        folder = self.root / _name(generation.number) / "files"
        return {path: files.read(folder / path) for path in generation.files}

    def close(self, generation: Generation, outcome: Outcome, reason: str = "") -> None:
        """Record how a generation ended."""
        path = self.root / _name(generation.number) / _MANIFEST
        files.replace(path, _dump(replace(generation, outcome=outcome, reason=reason)))

    def _read(self, name: str) -> Generation:
        path = self.root / name / _MANIFEST
        raw = files.read(path)
        try:
            if raw is None:
                raise ValueError("it is missing")
            document = json.loads(raw)
            return Generation(
                number=int(name),
                created=datetime.fromisoformat(document["created"]),
                outcome=Outcome(document["outcome"]),
                reason=document["reason"],
                recipe=recipe_from_json(document["recipe"]),
                addresses=MappingProxyType({family: document["addresses"][str(family.value)] for family in Family}),
                files=MappingProxyType(dict(document["files"])),
                default_zone=document["default_zone"],
                replaced_zone=document["replaced_zone"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise FwfeedError(f"{path}: not a manifest: {error}", "restore it from a backup") from None


def current(generations: list[Generation]) -> Generation | None:
    """Return the newest generation that was applied."""
    applied = [generation for generation in generations if generation.outcome is Outcome.APPLIED]
    return applied[-1] if applied else None


def owned(generations: list[Generation]) -> set[str]:
    """Return the paths below /etc/firewalld that may be replaced or removed, because fwfeed wrote what lies there.

    These are the files of the current generation, and of any that was begun since and did not end. Older manifests
    prove nothing: a path that fwfeed has given up may be somebody else's by now.
    """
    newest = current(generations)
    since = newest.number if newest else 0
    begun = [generation for generation in generations if generation.outcome is Outcome.PENDING]
    ours = [generation for generation in begun if generation.number > since] + ([newest] if newest else [])
    return {path for generation in ours for path in generation.files}


def digest(raw: bytes) -> str:
    """Return the digest by which a manifest knows a file."""
    return hashlib.sha256(raw).hexdigest()


def _name(number: int) -> str:
    return f"{number:06d}"


def _dump(generation: Generation) -> bytes:
    document = {
        "created": generation.created.astimezone(UTC).isoformat(timespec="seconds"),
        "outcome": generation.outcome,
        "reason": generation.reason,
        "recipe": recipe_to_json(generation.recipe),
        "addresses": {str(family.value): number for family, number in generation.addresses.items()},
        "files": dict(generation.files),
        "default_zone": generation.default_zone,
        "replaced_zone": generation.replaced_zone,
    }
    return (json.dumps(document, indent=1) + "\n").encode()
