"""Pieces of markup that every part of the page is made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from html import escape

from fwfeed.errors import printable
from fwfeed.feeds import Purpose
from fwfeed.tally import milliseconds
from fwfeed.times import abbreviation, minute_text, offset_text, utc_text

_PURPOSES = {
    Purpose.THIS_NETWORK: "自ネットワーク",
    Purpose.PRIVATE: "プライベート",
    Purpose.SHARED: "共有 (CGN)",
    Purpose.LOOPBACK: "ループバック",
    Purpose.LINK_LOCAL: "リンクローカル",
    Purpose.PROTOCOLS: "IETF プロトコル用",
    Purpose.DOCUMENTATION: "文書・例示用",
    Purpose.BENCHMARKING: "ベンチマーク用",
    Purpose.MULTICAST: "マルチキャスト",
    Purpose.RESERVED: "予約済み",
    Purpose.BROADCAST: "ブロードキャスト",
    Purpose.UNSPECIFIED: "未指定アドレス",
    Purpose.IPV4_MAPPED: "IPv4 射影",
    Purpose.TRANSLATION: "IPv4 変換用",
    Purpose.DISCARD: "破棄専用",
    Purpose.DUMMY: "ダミー",
    Purpose.SEGMENT_ROUTING: "セグメントルーティング",
    Purpose.UNIQUE_LOCAL: "ユニークローカル",
    Purpose.SITE_LOCAL: "サイトローカル",
    Purpose.ANYCAST: "エニーキャスト",
    Purpose.DRONES: "ドローンのリモート ID",
}
"""In Japanese; the others are names of protocols."""

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


def purpose(what: Purpose) -> str:
    """Write what a special-purpose address is for."""
    return both(text(what), text(_PURPOSES.get(what, what)))


def country(code: str) -> str:
    """Write a country's name: the browser knows it in both languages, and without it the code stays."""
    own = _COUNTRIES.get(code)
    names = f" data-en={pair(own[0])} data-ja={pair(own[1])}" if own else ""
    return f'<span class="country" data-c={pair(code)}{names}>{text(code)}</span>'


@dataclass(frozen=True, slots=True)
class Clock:
    """What writes the times of a page that tells of what was up to `until`."""

    zone: tzinfo
    until: datetime

    def minute(self, moment: datetime) -> str:
        """Write a time to the minute."""
        return text(minute_text(moment, self.zone, self.until))

    @property
    def name(self) -> str:
        """Which zone the times are of: UTC, or JST, UTC+09:00."""
        name, offset = abbreviation(self.until, self.zone), offset_text(self.until, self.zone)
        return text(name if name == offset else f"{name}, {offset}")

    def time(self, moment: datetime) -> str:
        """Write a time as an element; the year only where it is not that of the page."""
        same_year = moment.astimezone(self.zone).year == self.until.astimezone(self.zone).year
        return f'<time datetime="{utc_text(moment)}">{self.minute(moment)[5 if same_year else 0 :]}</time>'

    def cell(self, moment: datetime) -> str:
        """Write a cell with a time, to be sorted by it."""
        return f'<td class="n" data-k="{milliseconds(moment)}">{self.time(moment)}</td>'


def number_cell(number: int) -> str:
    """Write a cell with a number, to be sorted by it."""
    return f'<td class="n" data-k="{number}">{number:,}</td>'
