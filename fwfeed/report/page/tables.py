"""The page's tables: destinations, programs, and who came in. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fwfeed.flow import Direction, Known
from fwfeed.report.page.markup import Clock, both, country, hint, number_cell, pair, purpose, text
from fwfeed.report.words import (
    OFTEN_MINING,
    address_text,
    doer_text,
    numbered,
    port_text,
    service,
    share,
    user_text,
    where_text,
)
from fwfeed.traffic import NOWHERE, Activity, Destination, Doer, Endpoint, Traffic, Where

ROWS = 2_000
"""How many rows a table has at most: more would make a phone slow."""

_Names = tuple[str, str]
_NEW = f'<span class="mark">{both("new", "新規")}</span>'


def destinations(found: Sequence[Destination], clock: Clock, *, came_in: bool = False) -> Iterator[str]:
    """Yield the table of destinations, or of who came in."""
    title = ("Came in from", "着信元") if came_in else ("Destinations", "宛先")
    yield _head(title)
    yield _start(
        "visitors" if came_in else "destinations",
        (
            ("Address", "アドレス"),
            ("Country", "国"),
            ("Port", "ポート"),
            ("To", "相手") if came_in else ("Sent by", "送信元プログラム"),
            ("Count", "回数"),
            ("First seen", "最初"),
            ("Last seen", "最後"),
        ),
        numbers=(4, 5, 6),
        sorted_by=4,
    )
    for each in found[:ROWS]:
        yield "<tr>"
        name = f"<small>{text(each.name)}</small>" if each.name else ""
        new = _NEW if each.seen.new else ""
        yield f'<td class="lead" data-k={pair(address_text(each.endpoint.foreign))}>'
        yield f'<span class="address">{_address(each.endpoint)}</span>{new}{name}</td>'
        registry = (
            f"<small>{text(each.place.registry)} {text(each.place.prefix)}</small>" if each.place.registry else ""
        )
        yield f"<td data-k={pair(where_text(each.place.where))}><div>{_where(each.place.where)}{registry}</div></td>"
        usual = service(each.endpoint)
        forwarded = both("forwarded", "転送") if each.endpoint.direction is Direction.FORWARDED else ""
        below = f"<small>{_usual(usual)} {forwarded}</small>" if usual or forwarded else ""
        yield f'<td data-k="{each.endpoint.port or 0}">'
        yield f"<div>{text(port_text(each.endpoint))}{below}</div></td>"
        yield f"<td><div>{_senders(each)}</div></td>"
        yield number_cell(each.seen.count) + clock.cell(each.seen.first) + clock.cell(each.seen.last)
        yield "</tr>\n"
    yield _end(7, len(found))


def activities(traffic: Traffic, clock: Clock) -> Iterator[str]:
    """Yield the table of programs, and above it the box that filters all tables."""
    yield _head(("Programs", "プログラム"), find=True)
    yield _start(
        "programs",
        (
            ("Program", "プログラム"),
            ("Unit", "ユニット"),
            ("User", "ユーザー"),
            ("Went to", "宛先"),
            ("Addresses", "宛先数"),
            ("Count", "回数"),
            ("First seen", "最初"),
            ("Last seen", "最後"),
        ),
        numbers=(4, 5, 6, 7),
        sorted_by=5,
    )
    found, unknown = traffic.activities, traffic.unattributed
    for each in found[:ROWS]:
        program = each.doer.program
        yield f'<tr><td class="lead" data-k={pair(doer_text(each.doer))}><span class="file">{_file(each.doer)}</span>'
        yield _marks(each)
        facts = [text(program.package), _container(each.doer) if program.executable else ""]
        if any(facts):
            yield f"<small>{', '.join(filter(None, facts))}</small>"
        if each.command and each.command != program.executable:
            yield f'<small class="command">{text(each.command[:300])}</small>'
        if each.suspects:
            yield f"<small>{both('could have been:', '候補:')} {text(each.suspects[:300])}</small>"
        yield f"</td><td>{_filled(program.unit)}</td><td>{_filled(user_text(each.doer))}</td><td><div>"
        countries = ", ".join(_in_short(where) for where, _count in each.countries[:5])
        countries += " …" if len(each.countries) > 5 else ""
        targets = ", ".join(f"{_address(to)} {text(port_text(to))}" for to, _count in each.endpoints[:1])
        others = len(each.endpoints) - 1
        more = f" {_others(others)}" if others > 0 else ""
        yield f"{countries}<small>{targets}{more}</small></div></td>"
        yield number_cell(each.addresses) + number_cell(each.seen.count)
        yield clock.cell(each.seen.first) + clock.cell(each.seen.last)
        yield "</tr>\n"
    yield _end(8, len(found), _unattributed(unknown, traffic.left) if unknown else "")


def _head(title: _Names, *, find: bool = False) -> str:
    box = ""
    if find:
        words = (
            "Filter all tables: address, country, program, unit …",
            "すべての表を絞り込む: アドレス、国、プログラム …",
        )
        box = f'<div class="find"><input type="search" {hint(*words)} placeholder={pair(words[0])}></div>'
    return f'<section>\n<div class="head"><h2>{both(*title)}</h2>{box}</div>\n'


def _start(name: str, heads: Sequence[_Names], numbers: Sequence[int], sorted_by: int) -> str:
    cells = []
    for index, head in enumerate(heads):
        number = ' class="n" data-number' if index in numbers else ""
        order = ' aria-sort="descending"' if index == sorted_by else ""
        cells.append(f'<th scope="col"{number}{order}><button type="button">{both(*head)}</button></th>')
    return f'<table class="sortable" id="{name}">\n<thead><tr>{"".join(cells)}</tr></thead>\n<tbody>\n'


def _end(columns: int, number: int, note: str = "") -> str:
    none = both("nothing of that kind", "該当なし")
    hidden = " hidden" if number else ""
    row = f'<tr data-none="1"{hidden}><td class="none" colspan="{columns}">{none}</td></tr>\n'
    rest = number - ROWS
    words = (f"{rest:,} more with fewer connections: fwfeed report --json", f"ほか {rest:,} 件: fwfeed report --json")
    more = f'<p class="more">{both(*words)}</p>' if rest > 0 else ""
    return f"{row}</tbody>\n</table>\n{more}{note}</section>\n"


def _unattributed(unknown: Activity, left: int) -> str:
    count, part = unknown.seen.count, share(unknown.seen.count, left)
    words = both(
        f"Not attributed: {numbered(count, 'connection', 'connections')} ({part}): nothing tells who sent them.",
        f"送信元不明: {count:,} 件 ({part})。送信元が分からない接続は、この表にありません。",
    )
    return f'<p class="more">{words}</p>'


def _where(where: Where) -> str:
    if where.purpose is not None:
        return purpose(where.purpose)
    return country(where.country) if where.country == NOWHERE else f"{text(where.country)} {country(where.country)}"


def _in_short(where: Where) -> str:
    if where.purpose is not None:
        return purpose(where.purpose)
    return country(where.country) if where.country == NOWHERE else text(where.country)


def _senders(each: Destination) -> str:
    doer = each.doers[0][0]
    program = doer.program
    others = len(each.doers) - 1
    below = [text(program.unit)] if program.unit else []
    if others > 0:
        below.append(_others(others))
    small = f"<small>{', '.join(below)}</small>" if below else ""
    return f'<span class="file">{_file(doer)}</span>{small}'


def _others(number: int) -> str:
    return both(f"and {number:,} more", f"ほか {number:,}")


def _file(doer: Doer) -> str:
    """Write who sent something, by the file, its name in bold, or else by the best there is."""
    program = doer.program
    if program.known is Known.SUSPECTS:
        return both("a raw socket", "raw ソケット")
    if program.executable:
        folder, slash, name = program.executable.rpartition("/")
        return f"{text(folder + slash)}<b>{text(name)}</b>"
    if program.container:
        return _container(doer)
    if doer.origin:
        return both(f"from {text(doer.origin)}", f"{text(doer.origin)} から")
    if program.unit:
        return both(f"unit {text(program.unit)}", f"ユニット {text(program.unit)}")
    if user := text(user_text(doer)):
        return both(f"user {user}", f"ユーザー {user}")
    return both("not known", "不明")


def _container(doer: Doer) -> str:
    name = text(doer.program.container)
    return both(f"container {name}", f"コンテナー {name}") if name else ""


def _address(endpoint: Endpoint) -> str:
    return text(endpoint.foreign) if endpoint.foreign else both("(others)", "(その他)")


def _usual(name: str) -> str:
    return both(name, "マイニングに多い") if name == OFTEN_MINING else text(name)


def _marks(each: Activity) -> str:
    program = each.doer.program
    marks = _NEW if each.seen.new else ""
    if program.deleted:
        marks += f'<span class="mark warn">{both("deleted", "削除済み")}</span>'
    if program.known is Known.USER:
        marks += f'<span class="mark dim">{both("only the user is known", "ユーザーのみ判明")}</span>'
    if program.known is Known.SUSPECTS:
        marks += f'<span class="mark warn">{both("suspects only", "候補のみ")}</span>'
    return marks


def _filled(value: str) -> str:
    return f"<div>{text(value)}</div>" if value else ""
