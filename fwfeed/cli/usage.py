"""A parser of arguments that says of a mistake what may have been meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class Parser(argparse.ArgumentParser):
    """argparse's own; its commands have parsers of the same kind, and each ends what is left over at once."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; print what is wrong and exit with 2 where something is left over."""
        self._given = sys.argv[1:] if args is None else list(args)
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self._refuse(rest)
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = list(map(str, action.choices))
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - it has no other name
            # an option that is unknown may have been meant to have this as its value
            before = self._given[: self._given.index(value)]
            if unknown := [each for each in before if each.startswith("-") and _name(each) not in self._options()]:
                self._refuse(unknown)
            otherwise = f"; see {self.prog} --help"
        else:
            otherwise = f" (choose from {', '.join(choices)})"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{_meant(str(value), choices) or otherwise}")

    def _refuse(self, rest: Sequence[str]) -> None:
        options = [_name(each) for each in rest if each.startswith("-")]
        meant = _meant(options[0], self._options()) if options else ""
        self.error(f"unrecognized arguments: {' '.join(rest)}{meant or f'; see {self.prog} --help'}")

    def _options(self) -> list[str]:
        shown = [action for action in self._actions if action.help is not argparse.SUPPRESS]
        return [option for action in shown for option in action.option_strings]


def _name(option: str) -> str:
    return option.partition("=")[0]


def _meant(given: str, known: Iterable[str]) -> str:
    """Return a suggestion, empty where nothing is near; the dashes of options are no likeness."""
    bare = {each.lstrip("-"): each for each in known}
    near = get_close_matches(given.lstrip("-").lower(), bare, n=1)
    return f"; did you mean {bare[near[0]]}?" if near else ""
