"""A JSON document that nobody vouches for: read strictly and with bounds, and asked for its members one by one."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from typing import NoReturn

from fwfeed.errors import ParseError, quote
from fwfeed.feeds.ranges import LIMIT
from fwfeed.feeds.rows import refuse_html

WAY_OUT = "see that the feed's url and format are right; if they are, the provider has changed or damaged the file"

Object = dict[str, object]

# Whatever makes a value out of few bytes: `{"":0},` takes forty times its size in memory. The providers' documents have
# five of these for each prefix, and ten thousand prefixes.
_STRUCTURE = re.compile(r"[\[{,]")
_STRUCTURES = 3 * LIMIT
_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object and the text it was read from. Each method raises ParseError for what is not as it asks."""

    file: str
    text: str
    top: Object

    def refuse(self, message: str, line: int = 0) -> NoReturn:
        """Refuse the document."""
        raise ParseError(self.file, line, message, WAY_OUT)

    def objects(self, key: str) -> Iterator[tuple[str, Object]]:
        """Yield the place and the value of each element of the list `key`, which has to hold nothing but objects."""
        if key not in self.top:
            self.refuse(f"{key} is missing")
        values = self.top[key]
        if not isinstance(values, list):
            self.refuse(f"{key} is {_kind(values)}, not a list")
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                self.refuse(f"{key}[{index}] is {_kind(value)}, not an object")
            yield f"{key}[{index}]", value

    def string(self, holder: Object, key: str, place: str = "") -> str:
        """Return the string `key` of an object; `place` is where in the document the object is."""
        name = f"{place}.{key}" if place else key
        if key not in holder:
            self.refuse(f"{name} is missing")
        value = holder[key]
        if not isinstance(value, str):
            self.refuse(f"{name} is {_kind(value)}, not a string")
        return value

    def serial(self, key: str) -> int:
        """Return the string of digits `key` as a number."""
        text = self.string(self.top, key)
        if not re.fullmatch(rf"[0-9]{{1,{_DIGITS}}}", text):
            self.refuse(f"{key}: {quote(text)} is not a number")
        return int(text)

    def day(self, key: str, pattern: str, meaning: str) -> date:
        """Return the date of the time `key`; the groups of `pattern` are year, month, day, hour, minute, second."""
        text = self.string(self.top, key)
        try:
            found = re.fullmatch(pattern, text)
            if not found:
                raise ValueError
            year, month, day, hour, minute, second = map(int, found.groups())
            return datetime(year, month, day, hour, minute, second).date()  # noqa: DTZ001  # only the date is kept
        except ValueError:
            self.refuse(f"{key}: {quote(text)} is not a time ({meaning})")

    def lines(self, key: str, values: Iterable[str]) -> Iterator[int]:
        """Yield the line where each of these values of `key` stands: the nth time a value comes, its nth place.

        This is told from the text alone, so where the document has the same key and value in a place of no meaning,
        the line may be that one's; 0 where the key is spelled with escapes.
        """
        places: defaultdict[str, list[int]] = defaultdict(list)
        line, position = 1, 0
        # Inside a string a quote is escaped, so this matches keys only, and the value after one is whole.
        for found in re.finditer(rf'(?<!\\)"{re.escape(key)}"\s*:\s*"((?:[^"\\]|\\.)*)"', self.text):
            line += self.text.count("\n", position, found.start(1))
            position = found.start(1)
            value = found[1] if "\\" not in found[1] else json.loads(f'"{found[1]}"')
            places[value].append(line)
        for of_value in places.values():
            of_value.reverse()
        for value in values:
            of_value = places[value]
            yield of_value.pop() if len(of_value) > 1 else of_value[0] if of_value else 0


def read(raw: bytes, *, file: str) -> Document:
    """Read a JSON object of RFC 8259. Raises ParseError, with the line where there is one, for anything else.

    More than the RFC demands, a name may be there only once in an object: which of two is meant, nobody can say.
    """
    refuse_html(raw, file)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ParseError(file, line, f"byte 0x{raw[error.start]:02x} is not UTF-8", WAY_OUT) from None
    if excess := next(islice(_STRUCTURE.finditer(text), _STRUCTURES, None), None):
        line = text.count("\n", 0, excess.start()) + 1
        raise ParseError(file, line, f"the document has more than {_STRUCTURES:,} values", WAY_OUT)
    try:
        top = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ParseError(file, error.lineno, f"not JSON: {error.msg}", WAY_OUT) from None
    except RecursionError:
        raise ParseError(file, 0, "not a list of prefixes: nested too deep", WAY_OUT) from None
    except ValueError as error:
        raise ParseError(file, 0, str(error), WAY_OUT) from None
    if not isinstance(top, dict):
        raise ParseError(file, 0, f"the document is {_kind(top)}, not an object", WAY_OUT)
    return Document(file, text, top)


def _object(pairs: list[tuple[str, object]]) -> Object:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _value in pairs:
            if name in seen:
                raise ValueError(f"{quote(name)} is there twice in one object")
            seen.add(name)
    return made


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _integer(text: str) -> int:
    # int() takes time that is quadratic in the digits, and gives up at a limit that the interpreter's user can move
    if len(text) > _DIGITS:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)


def _kind(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "null")
