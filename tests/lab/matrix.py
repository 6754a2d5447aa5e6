"""The versions of firewalld that the lab runs on: what `make lab` has unpacked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

STABLE = "2.3.1"
"""AlmaLinux 10's."""


@dataclass(frozen=True, slots=True)
class Firewalld:
    """A firewalld unpacked into a folder, as its package would install it below /."""

    tree: Path

    @property
    def version(self) -> str:
        (config,) = self.tree.glob("usr/lib/python3*/*-packages/firewall/config/__init__.py")
        found = re.search(r"""^VERSION = ["'](.+)["']""", config.read_text(), re.MULTILINE)
        assert found, f"{config} does not say which version it is"
        return found[1]

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers, to be compared where versions differ in what they do."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version))


@dataclass(frozen=True, slots=True)
class Absent:
    """A firewalld that the lab should run on, and could not be had."""

    name: str
    reason: str


def matrix(folder: Path, alone: str | None = None) -> dict[str, Firewalld | Absent]:
    """Return what each test of the lab runs on, by the name its id shows, the oldest first; never nothing.

    `folder` is the one that `make lab` fills; `alone` the tree of the only one, wherever that is.
    """
    found = {each.version: each for each in map(Firewalld, [Path(alone)] if alone else folder.glob("releases/*"))}
    absent = [
        Absent(path.name, f"firewalld of {path.name} could not be had: {path.read_text().strip()}")
        for path in ([] if alone else sorted(folder.glob("absent/*")))
    ]
    if not found and not absent:
        absent = [Absent("none", f"the lab needs firewalld unpacked below {folder}: make lab, as root")]
    ordered = sorted(found.values(), key=lambda each: each.release)
    return {each.version: each for each in ordered} | {each.name: each for each in absent}


def on_one_version(why: str) -> pytest.MarkDecorator:
    """Have a test run on one version alone, unless all are asked for: say why what it proves is the same on each.

    So is what fwfeed decides by files, locks, sessions and words of its own. What reads a ruleset or has packets try
    it, asks firewalld for a change, or sees it start, reload, hang or die runs on every version.
    """
    return pytest.mark.one_version(why)


def one_of(versions: dict[str, Firewalld | Absent]) -> dict[str, Firewalld | Absent]:
    """Return the version that stands for all: AlmaLinux 10's, or else the newest that there is."""
    there = [name for name, each in versions.items() if isinstance(each, Firewalld)]
    name = STABLE if STABLE in versions else (there or list(versions))[-1]
    return {name: versions[name]}
