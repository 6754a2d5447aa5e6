"""One self-contained HTML page of what went abroad, in English and Japanese. Pure.

It asks for nothing: its policy (CSP) forbids all but its own style and script, by their hashes. What hosts and programs
are called is chosen by others: it is text, and never markup.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import timedelta, tzinfo

from fwfeed.flow import Direction
from fwfeed.report.page.chart import chart, country_bars
from fwfeed.report.page.markup import Clock, both, pair, text
from fwfeed.report.page.script import SCRIPT
from fwfeed.report.page.style import STYLE
from fwfeed.report.page.tables import activities, destinations
from fwfeed.report.words import share
from fwfeed.times import length_of, length_text, local_text
from fwfeed.traffic import Traffic

_UNITS = {"second": "秒", "minute": "分", "hour": "時間", "day": "日"}


def page(traffic: Traffic, *, language: str, host: str, version: str, zone: tzinfo) -> bytes:
    """Return the page, with times in a zone, which it names; `language` is the one it opens in, en or ja."""
    clock = Clock(zone, traffic.until)
    titles = (f"Foreign connections of {host}", f"{host} の国外接続")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(STYLE)}'",
            f"script-src '{_hash(SCRIPT)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    title = titles[1 if language == "ja" else 0]
    parts = [
        "<!DOCTYPE html>\n",
        f'<html lang="{language}" data-en="{text(titles[0])}" data-ja="{text(titles[1])}">\n<head>\n',
        '<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        '<meta name="referrer" content="no-referrer">\n<meta name="robots" content="noindex">\n',
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        *_head(traffic, titles, clock),
        "<main>\n",
        *(_empty() if traffic.begins is None else _body(traffic, clock)),
        "</main>\n",
        *_foot(traffic, version, clock),
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n",
    ]
    return "".join(parts).encode()


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _head(traffic: Traffic, titles: tuple[str, str], clock: Clock) -> Iterator[str]:
    first = traffic.begins if traffic.whole else traffic.since
    since = "" if first is None else f"<b>{clock.minute(first)}</b> "
    span = f"{since}&ndash; <b>{clock.minute(traffic.until)}</b> ({clock.name})"
    begins = ""
    if traffic.begins is not None and traffic.news is None:
        begins = " " + both(*_young(traffic.until - traffic.begins))
    elif traffic.begins is not None and traffic.whole:
        begins = " " + both("That is since the ledger began.", "記録の開始以降のすべてです。")
    elif traffic.begins is not None and traffic.begins > traffic.since:
        since = clock.minute(traffic.begins)
        begins = " " + both(f"The ledger begins at {since}.", f"記録の開始は {since} です。")
    yield f'<header>\n<div><h1>{both(*map(text, titles))}</h1>\n<p class="span">{span}.{begins}</p></div>\n'
    other = both("日本語", "English")
    yield f'<button class="language" type="button">{other}</button>\n</header>\n'


def _young(age: timedelta) -> tuple[str, str]:
    number, unit = length_of(age)
    return (
        f"The ledger began {length_text(age)} ago: everything is new.",
        f"記録の開始は {number:,} {_UNITS[unit]}前です。すべてが新規です。",
    )


def _empty() -> Iterator[str]:
    yield f'<div class="empty">\n<h2>{both("Nothing is in the ledger yet", "まだ記録がありません")}</h2>\n<ul>\n'
    watch = "<code>systemctl enable --now fwfeed-watch.service</code>"
    yield f"<li>{both('To fill it as it happens:', '発生時に記録するには:')} {watch}</li>\n"
    policy = "<code>outbound.action = &quot;log&quot;</code>"
    apply = "<code>fwfeed apply</code>"
    needs = both(f"It needs {policy} or stricter, and", f"{policy} 以上の設定と次の実行が必要です:")
    yield f"<li>{needs} {apply}</li>\n"
    log = both(
        "As root, <code>fwfeed report</code> also reads what the kernel log still has.",
        "root で <code>fwfeed report</code> を実行すると、カーネルログに残る分も読み込みます。",
    )
    yield f"<li>{log}</li>\n</ul>\n</div>\n"


def _body(traffic: Traffic, clock: Clock) -> Iterator[str]:
    yield from _figures(traffic)
    if traffic.remarks:
        told = (both(text(remark.english), text(remark.japanese)) for remark in traffic.remarks)
        yield f'<ul class="remarks">{"".join(f"<li>{each}</li>" for each in told)}</ul>\n'
    yield from chart(traffic, clock)
    if traffic.countries:
        yield from country_bars(traffic)
    yield from activities(traffic, clock)
    yield from destinations(traffic.destinations, clock)
    if traffic.visitors:
        yield from destinations(traffic.visitors, clock, came_in=True)


def _figures(traffic: Traffic) -> Iterator[str]:
    figures = [
        (("Connections that left", "国外への接続"), f"{traffic.left:,}", ""),
        (("Addresses", "宛先アドレス"), f"{traffic.addresses:,}", ""),
        (("Countries", "国"), f"{traffic.known_countries:,}", ""),
        (
            ("Destinations new since yesterday", "昨日以降の新しい宛先"),
            both("all of them", "すべて") if traffic.news is None else f"{traffic.news:,}",
            "new" if traffic.news else "",
        ),
        (("Program known of", "プログラム判明率"), share(traffic.attributed, traffic.left), ""),
        (
            ("Events lost", "欠落イベント"),
            f"{traffic.lost:,}" if traffic.lost or not traffic.only_log else both("not known", "不明"),
            "lost" if traffic.lost else "",
        ),
    ]
    yield '<dl class="figures">\n'
    for names, value, kind in figures:
        yield f"<div><dt>{both(*names)}</dt><dd{f' class={pair(kind)}' if kind else ''}>{value}</dd></div>\n"
    yield "</dl>\n"
    forwarded, came_in = traffic.counts[Direction.FORWARDED], traffic.counts[Direction.IN]
    notes = []
    if forwarded:
        notes.append(both(f"{forwarded:,} of them were forwarded.", f"うち {forwarded:,} 件は転送。"))
    if came_in:
        notes.append(both(f"{came_in:,} more came in.", f"ほかに着信 {came_in:,} 件。"))
    if limit := traffic.only_log and text(traffic.only_log):
        notes.append(
            both(
                f"Not all of it was watched, and the log is limited to {limit}: what was lost then is not known.",
                f"常時監視ではなく、ログは {limit} に制限されているため、その間の欠落は不明です。",
            )
        )
    if notes:
        yield f'<p class="more">{" ".join(notes)}</p>\n'


def _foot(traffic: Traffic, version: str, clock: Clock) -> Iterator[str]:
    ipset = text(traffic.ipset)
    yield "<footer>\n<p>"
    yield both(
        f"Foreign is what is not in the set {ipset}. A connection is counted by its first packet.",
        f"国外とは集合 {ipset} に含まれないアドレスです。接続は最初のパケットで数えます。",
    )
    yield " " + both(f"Times are {clock.name}.", f"時刻は {clock.name} です。")
    if traffic.compiled is not None:
        compiled = text(local_text(traffic.compiled, clock.zone))
        yield " " + both(f"The set was compiled at {compiled} from:", f"集合は {compiled} に次から作成されました:")
    yield "</p>\n<table><tbody>\n"
    for source in traffic.sources:
        serial = "" if source.serial is None else both(f"serial {source.serial}", f"シリアル {source.serial}")
        until = both(f"to {source.end_date}", f"{source.end_date} まで")
        yield f"<tr><td>{text(source.name)}</td><td>{serial}</td><td>{until}</td>"
        yield f'<td class="sum">sha256 {text(source.sha256)}</td></tr>\n'
    yield f"</tbody></table>\n<p>fwfeed {text(version)}</p>\n</footer>\n"
