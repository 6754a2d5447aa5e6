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
from typing import Any

from fwfeed.candidate import recipe_from_json, recipe_to_json
from fwfeed.errors import FwfeedError
from fwfeed.model import Generation, Outcome, Recipe
from fwfeed.prefixes import Family
from fwfeed.store import files

_MANIFEST = "manifest.json"
_PATH = re.compile(r"(ipsets|policies|zones)/[A-Za-z0-9_-]+\.xml")


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
            generation = _load(int(name), json.loads(raw))
            if _dump(generation) != raw:
                raise ValueError("it has more or other values than fwfeed writes")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise FwfeedError(f"{path}: not a manifest: {error}", "restore it from a backup") from None
        return generation


def current(generations: list[Generation]) -> Generation | None:
    """Return the newest generation that was applied."""
    applied = [generation for generation in generations if generation.outcome is Outcome.APPLIED]
    return applied[-1] if applied else None


def comparable(generations: list[Generation], recipe: Recipe) -> Mapping[Family, int] | None:
    """Return the moving addresses of what was applied last, None where that was nothing, or of another recipe."""
    newest = current(generations)
    return newest.addresses if newest is not None and newest.recipe == recipe else None


def unfinished(generations: list[Generation]) -> list[Generation]:
    """Return the generations that were begun after the current one and have no end: a crash left them so."""
    newest = current(generations)
    since = newest.number if newest else 0
    return [each for each in generations if each.outcome is Outcome.PENDING and each.number > since]


def owned(generations: list[Generation]) -> set[str]:
    """Return the paths that may be replaced or removed, because fwfeed wrote what lies there.

    These are the files of the current generation and of unfinished ones. Older manifests prove nothing: a path that
    fwfeed has given up may be somebody else's by now.
    """
    newest = current(generations)
    return {path for each in [*unfinished(generations), *([newest] if newest else [])] for path in each.files}


def digest(raw: bytes) -> str:
    """Return the digest by which a manifest knows a file."""
    return hashlib.sha256(raw).hexdigest()


def _name(number: int) -> str:
    return f"{number:06d}"


def _load(number: int, document: Any) -> Generation:
    """Read a manifest. Raises ValueError, KeyError, TypeError or AttributeError."""
    paths, addresses = dict(document["files"]), dict(document["addresses"])
    if not all(_PATH.fullmatch(path) and re.fullmatch(r"[0-9a-f]{64}", sha256) for path, sha256 in paths.items()):
        raise ValueError("it names files that fwfeed does not write")
    if not all(type(count) is int and count >= 0 for count in addresses.values()):
        raise ValueError("it has counts that are none")
    texts = (document["root"], document["reason"])
    zones = (document["default_zone"], document["replaced_zone"])
    if not all(isinstance(text, str) for text in (*texts, *(zone for zone in zones if zone is not None))):
        raise TypeError("it has other values where texts should be")
    created = datetime.fromisoformat(document["created"])
    if created.tzinfo is None:
        raise ValueError("its time has no zone")
    return Generation(
        number=number,
        root=document["root"],
        created=created,
        outcome=Outcome(document["outcome"]),
        reason=document["reason"],
        recipe=recipe_from_json(document["recipe"]),
        addresses=MappingProxyType({family: addresses[str(family.value)] for family in Family}),
        files=MappingProxyType(paths),
        default_zone=document["default_zone"],
        replaced_zone=document["replaced_zone"],
    )


def _dump(generation: Generation) -> bytes:
    document = {
        "root": generation.root,
        "created": generation.created.astimezone(UTC).isoformat(timespec="seconds"),
        "outcome": generation.outcome,
        "reason": generation.reason,
        "recipe": recipe_to_json(generation.recipe),
        "addresses": {str(family.value): generation.addresses[family] for family in Family},
        "files": dict(generation.files),
        "default_zone": generation.default_zone,
        "replaced_zone": generation.replaced_zone,
    }
    return (json.dumps(document, indent=1) + "\n").encode()
