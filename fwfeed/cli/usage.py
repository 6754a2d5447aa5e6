"""A parser of arguments that says of a mistake what may have been meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

CHANGING = frozenset({"update", "apply", "approve", "confirm", "rollback", "uninstall", "recover", "daemon"})
"""The commands that change the firewall, or decide what does: suggested for a slip of one letter, nothing less."""

_MEANT = {"install": "apply", "remove": "uninstall", "undo": "rollback", "help": "--help", "version": "--version"}
_LIKENESS = 0.8  # "start" is no "status"; see difflib.get_close_matches


class Parser(argparse.ArgumentParser):
    """argparse's own, without abbreviations; its commands have parsers of the same kind."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; print what is wrong and exit with 2 where something is unknown or left over."""
        given = sys.argv[1:] if args is None else list(args)
        self._require_known(given, self)
        found, rest = super().parse_known_args(given, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}; see {self.prog} --help")
        return found, rest

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = list(map(str, action.choices))
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - it has no other name
            meant, otherwise = _command_meant(str(value).lower(), choices), f"; see {self.prog} --help"
        else:
            meant, otherwise = _near(str(value), choices), f" (choose from {', '.join(choices)})"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{_asked(meant) or otherwise}")

    def _require_known(self, given: Sequence[str], whole: Parser) -> None:
        """End at the first option that nobody knows: argparse would first find fault with what follows from it."""
        takes_value = {option: action.nargs is None for action in self._actions for option in action.option_strings}
        commands = self._commands()
        words = iter(given)
        for word in words:
            if word == "--":
                return
            if word[:1] != "-" or word == "-" or " " in word or word[1].isdigit():  # as argparse tells them
                if commands:
                    if word in commands:
                        commands[word]._require_known(list(words), whole)  # noqa: SLF001 - its own kind
                    return
                continue
            name = word.partition("=")[0] if word.startswith("--") else word[:2]
            if name not in takes_value:
                self._refuse(word, words, whole)
            elif takes_value[name] and "=" not in word:
                next(words, None)

    def _refuse(self, word: str, following: Iterable[str], whole: Parser) -> None:
        name = word.partition("=")[0]
        own = self._shown()
        others = {option: names for option, names in whole._owners().items() if option not in own}
        meant = [] if name in others else _near(name, own)
        elsewhere = [name] if name in others else _near(name, others)
        told = _asked(meant)
        if self is not whole and name in whole._shown():
            told = f"; {name} goes before the command"
        elif not meant and elsewhere:
            option = elsewhere[0]
            owners = [each for each in following if each in others[option]][:1] or others[option]
            place = "goes after" if self is whole else "is an option of"
            told = f"; {option}" if option == name else f"; did you mean {option}? It"
            told += f" {place} {_either(owners)}"
        self.error(f"unrecognized arguments: {word}{told or f'; see {self.prog} --help'}")

    def _commands(self) -> Mapping[str, Parser]:
        found = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001 - it has no other name
        return next((action.choices for action in found), {})

    def _shown(self) -> list[str]:
        shown = [action for action in self._actions if action.help is not argparse.SUPPRESS]
        return [option for action in shown for option in action.option_strings]

    def _owners(self) -> dict[str, list[str]]:
        """Return which commands have each option."""
        owners: dict[str, list[str]] = {}
        for name, command in self._commands().items():
            for option in command._shown():  # noqa: SLF001 - its own kind
                owners.setdefault(option, []).append(name)
        return owners


def _command_meant(given: str, commands: Collection[str]) -> list[str]:
    if given in _MEANT:
        return [_MEANT[given]]
    if slips := [each for each in commands if _slipped(given, each)]:
        return slips[:1]
    safe = [each for each in commands if each not in CHANGING]
    return _begun(given, safe) or get_close_matches(given, safe, n=1, cutoff=_LIKENESS)


def _slipped(given: str, meant: str) -> bool:
    """Return whether a letter is wrong, missing or too many, or two neighbours are swapped."""
    while given and meant and given[0] == meant[0]:
        given, meant = given[1:], meant[1:]
    while given and meant and given[-1] == meant[-1]:
        given, meant = given[:-1], meant[:-1]
    return max(len(given), len(meant)) <= 1 or (len(given) == 2 and given == meant[::-1])


def _near(given: str, known: Iterable[str]) -> list[str]:
    """Return what is near, at most a few; the dashes of options are no likeness."""
    bare = {each.lstrip("-"): each for each in known}
    word = given.lstrip("-").lower()
    return [bare[each] for each in _begun(word, bare) or get_close_matches(word, bare, n=1)]


def _begun(given: str, known: Iterable[str]) -> list[str]:
    return [each for each in known if given and each.startswith(given)][:3]


def _asked(meant: Sequence[str]) -> str:
    return f"; did you mean {_either(meant)}?" if meant else ""


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
