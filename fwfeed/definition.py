"""What a set is called and made of, and how that differs from another definition: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fwfeed.model import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What the configuration says a set is: its name, and what it is made of."""

    name: str
    recipe: Recipe

    def is_of_another_kind(self, other: Definition) -> bool:
        """Return whether the two have different names or countries: whatever the addresses, it is another set."""
        return self.name != other.name or set(self.recipe.countries) != set(other.recipe.countries)


def changes(before: Definition, after: Definition) -> str:
    """Say, by the keys of [set], [sources] and [[feed]], what differs; empty where nothing does."""
    name = [f"name {before.name} -> {after.name}"] if before.name != after.name else []
    return ", ".join([*name, *_recipe_changes(before.recipe, after.recipe)])


def recipe_changes(before: Recipe, after: Recipe) -> str:
    """Say what differs between what two sets are made of; empty where nothing does. The order of names is nothing."""
    return ", ".join(_recipe_changes(before, after))


def _recipe_changes(before: Recipe, after: Recipe) -> Iterator[str]:
    if set(before.countries) != set(after.countries):
        yield f"countries {_listed(before.countries)} -> {_listed(after.countries)}"
    for key in ("include", "exclude", "registries"):
        yield from _gained_and_lost(key, getattr(before, key), getattr(after, key))
    old, new = (_by_name(recipe.feeds) for recipe in (before, after))
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            yield f"feed {name} ({old[name]} -> {new[name]})"


def _gained_and_lost(key: str, before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    signed = [f"-{each}" for each in before if each not in after] + [f"+{each}" for each in after if each not in before]
    if signed:
        yield f"{key} {' '.join(signed)}"


def _listed(names: Sequence[str]) -> str:
    return "+".join(names) or "none"


def _by_name(descriptions: Sequence[str]) -> dict[str, str]:
    """Return the descriptions of feeds, which begin with their names."""
    return {name: rest for name, _space, rest in (each.partition(" ") for each in descriptions)}
