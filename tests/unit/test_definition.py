"""How a set differs from what it was: said by the keys of the configuration, whatever the order of names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fwfeed.definition import Definition, changes, recipe_changes
from fwfeed.model import Recipe

RECIPE = Recipe(
    registries=("apnic", "arin"),
    countries=("JP", "KR"),
    feeds=("aws aws regions=a", "office plain"),
    include=("special-purpose", "aws", "office"),
    exclude=("192.0.2.0/24", "198.51.100.0/24"),
)
BEFORE = Definition(name="EAST", recipe=RECIPE)


@pytest.mark.parametrize(
    ("after", "said", "other"),
    [
        (BEFORE, "", False),
        (Definition(name="FAR", recipe=RECIPE), "name EAST -> FAR", True),
        (replace(BEFORE, recipe=replace(RECIPE, countries=("KR", "JP"))), "", False),
        (replace(BEFORE, recipe=replace(RECIPE, countries=("KR",))), "countries JP+KR -> KR", True),
        (replace(BEFORE, recipe=replace(RECIPE, countries=())), "countries JP+KR -> none", True),
        (replace(BEFORE, recipe=replace(RECIPE, registries=("apnic",))), "registries -arin", False),
        (replace(BEFORE, recipe=replace(RECIPE, exclude=RECIPE.exclude[::-1])), "", False),
        (
            replace(BEFORE, recipe=replace(RECIPE, include=("aws", "203.0.113.0/24"), exclude=("office",))),
            "include -special-purpose -office +203.0.113.0/24, exclude -192.0.2.0/24 -198.51.100.0/24 +office",
            False,
        ),
        (
            replace(BEFORE, recipe=replace(RECIPE, feeds=("aws aws regions=b", "office plain"))),
            "feed aws (aws regions=a -> aws regions=b)",
            False,
        ),
        (
            Definition(name="JP", recipe=replace(RECIPE, countries=("JP",), registries=("apnic",))),
            "name EAST -> JP, countries JP+KR -> JP, registries -arin",
            True,
        ),
    ],
)
def test_what_differs_is_said_by_its_keys(after: Definition, said: str, other: bool) -> None:  # noqa: FBT001
    assert changes(BEFORE, after) == said
    assert recipe_changes(BEFORE.recipe, after.recipe) == said.removeprefix(f"name EAST -> {after.name}").lstrip(", ")
    assert BEFORE.is_of_another_kind(after) is after.is_of_another_kind(BEFORE) is other
