"""Pieces of markup that every part of the page is made of. Pure."""

from __future__ import annotations

from datetime import datetime
from html import escape

from fwfeed.errors import printable
from fwfeed.report.words import minute
from fwfeed.tally import milliseconds

_COUNTRIES = {"??": ("not known", "不明"), "AP": ("Asia-Pacific", "アジア太平洋"), "ZZ": ("not known", "不明")}


def text(value: str) -> str:
    """Write a text that somebody else chose: no markup, and nothing that turns the direction of what is around it."""
    return escape(printable(value))


def pair(value: str) -> str:
    """Write the value of an attribute."""
    return f'"{text(value)}"'


def both(english: str, japanese: str) -> str:
    """Write a piece of markup in both languages; the page shows one of them."""
    return f'<span lang="en">{english}</span><span lang="ja">{japanese}</span>'


def hint(english: str, japanese: str) -> str:
    """Return the attributes of what is named by a text nobody sees, in both languages."""
    return f"data-hint-en={pair(english)} data-hint-ja={pair(japanese)} aria-label={pair(english)}"


def country(code: str) -> str:
    """Write a country's name: the browser knows it in both languages, and without it the code stays."""
    own = _COUNTRIES.get(code)
    names = f" data-en={pair(own[0])} data-ja={pair(own[1])}" if own else ""
    return f'<span class="country" data-c={pair(code)}{names}>{text(code)}</span>'


def time(moment: datetime, until: datetime) -> str:
    """Write a time; the year only where it is not that of the report."""
    short = minute(moment)[5 if moment.year == until.year else 0 :]
    return f'<time datetime="{moment.isoformat(timespec="seconds")}">{short}</time>'


def time_cell(moment: datetime, until: datetime) -> str:
    """Write a cell with a time, to be sorted by it."""
    return f'<td class="n" data-k="{milliseconds(moment)}">{time(moment, until)}</td>'


def number_cell(number: int) -> str:
    """Write a cell with a number, to be sorted by it."""
    return f'<td class="n" data-k="{number}">{number:,}</td>'
