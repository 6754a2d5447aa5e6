"""The page's timeline, and the bars of its countries: inline SVG, in which lengths across are percentages. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from fwfeed.report.page.markup import Clock, both, country, hint, purpose, text
from fwfeed.report.words import numbered, share
from fwfeed.times import local_text
from fwfeed.traffic import Hour, Traffic

_TOP, _BASE = 14, 166
_COUNTRIES = 24
_MOST_BARS = 192
_LEAST_BARS = 24
_STEPS = (1, 3, 6, 12, 24, 168, 720)
_HOUR = timedelta(hours=1)


def chart(traffic: Traffic, clock: Clock) -> Iterator[str]:
    """Yield the timeline: what left, by whether the program is known, and where events were lost."""
    step = next((each for each in _STEPS if len(traffic.hours) / each <= _MOST_BARS), _STEPS[-1])
    bars = _bars(traffic.hours, step, clock)
    most = max((bar.attributed + bar.others for bar in bars), default=0)
    scale = _nice(most)
    yield f'<section>\n<div class="head"><h2>{both("Timeline", "推移")}</h2><p>'
    yield both(f"connections, {_step(step)[0]}", f"接続数、{_step(step)[1]}")
    yield '</p><div class="legend">'
    for kind, names in (
        ("known", ("program known", "プログラム判明")),
        ("unknown", ("program not known", "プログラム不明")),
        ("lost", ("events lost", "イベント欠落")),
    ):
        if kind != "lost" or traffic.lost:
            swatch = f'<svg aria-hidden="true"><rect class="fill-{kind}" width="10" height="10"/></svg>'
            yield f"<span>{swatch}{both(*names)}</span>"
    told = hint(f"timeline, {most:,} connections at most", f"推移、最大 {most:,} 接続")
    yield f'</div></div>\n<svg class="chart" role="img" {told}>\n'
    for part in (0.5, 1.0):
        y = _BASE - (_BASE - _TOP) * part
        yield f'<line x1="0" x2="100%" y1="{y:.0f}" y2="{y:.0f}"/>'
    yield from _days(bars, step, clock)
    for index, bar in enumerate(bars):
        if bar.attributed or bar.others or bar.lost:
            yield from _bar(bar, index, len(bars), scale, clock)
    yield f'<line class="base" x1="0" x2="100%" y1="{_BASE}" y2="{_BASE}"/>'
    for part in (0.5, 1.0):
        y = _BASE - (_BASE - _TOP) * part
        yield f'<text class="scale" x="0" y="{y - 4:.0f}">{_short(scale * part)}</text>'
    yield "</svg>\n</section>\n"


def _bars(hours: Sequence[Hour], step: int, clock: Clock) -> list[Hour]:
    """Fold hours into bars of so many, those of days by the clock; add empty ones in front, where there are few."""
    if not hours:
        return []
    bars = []
    for _of, part in groupby(hours, key=lambda hour: _place(hour.start, step, clock)):
        folded = list(part)
        bars.append(
            Hour(
                folded[0].start,
                sum(hour.attributed for hour in folded),
                sum(hour.others for hour in folded),
                sum(hour.came_in for hour in folded),
                sum(hour.lost for hour in folded),
            )
        )
    missing = max(0, _LEAST_BARS - len(bars))
    front = [Hour(bars[0].start - _HOUR * step * (missing - index), 0, 0, 0, 0) for index in range(missing)]
    return front + bars


def _place(start: datetime, step: int, clock: Clock) -> tuple[int, int]:
    """Return what the hours of one bar have in common."""
    if step == 1:
        return int(start.timestamp()), 0
    shown = start.astimezone(clock.zone)
    return (shown.toordinal(), shown.hour // step) if step < 24 else (shown.toordinal() * 24 // step, 0)


def _bar(bar: Hour, index: int, number: int, scale: int, clock: Clock) -> Iterator[str]:
    x, width = f"{100 * index / number:.3f}%", f"{100 / number * 0.82:.3f}%"
    title = text(f"{local_text(bar.start, clock.zone, timespec='minutes')}: {bar.attributed + bar.others:,}")
    if bar.others:
        title += f" ({bar.others:,} ?)"
    if bar.lost:
        title += f", {bar.lost:,} lost 欠落"
    yield f"<g><title>{title}</title>"
    yield f'<rect class="hit" x="{x}" width="{100 / number:.3f}%" y="{_TOP}" height="{_BASE - _TOP}"/>'
    bottom = float(_BASE)
    for kind, count in (("known", bar.attributed), ("unknown", bar.others)):
        if count:
            height = max(1.0, (_BASE - _TOP) * count / scale)
            bottom -= height
            yield f'<rect class="fill-{kind}" x="{x}" width="{width}" y="{bottom:.1f}" height="{height:.1f}"/>'
    if bar.lost:
        yield f'<rect class="fill-lost" x="{x}" width="{width}" y="{_BASE + 2}" height="4"/>'
    yield "</g>\n"


def _days(bars: Sequence[Hour], step: int, clock: Clock) -> Iterator[str]:
    """Yield a line where a day begins, seven at most, or a quarter of a day where it is about a day."""
    short = len(bars) * step <= 30
    shown = [bar.start.astimezone(clock.zone) for bar in bars]
    quarters = [(start.date(), start.hour // 6 if short else 0) for start in shown]
    # not where it is midnight: a day may lack that hour, and where clocks are off by half an hour no bar begins there
    marks = [index for index in range(1, len(bars)) if quarters[index] != quarters[index - 1]]
    if bars and shown[0].hour == 0:
        marks.insert(0, 0)
    every = -(-len(marks) // 7)
    for index in marks[:: every or 1]:
        at = 100 * index / len(bars)
        label = f"{shown[index]:%H:%M}" if short and quarters[index][1] else f"{shown[index]:%m-%d}"
        yield f'<line x1="{at:.3f}%" x2="{at:.3f}%" y1="{_BASE}" y2="{_BASE + 8}"/>'
        if at < 94:
            yield f'<text x="{at:.3f}%" y="{_BASE + 22}">{label}</text>'


def _nice(most: int) -> int:
    """Return a round number at or above it: twice 1, 2 or 5 times a power of ten, so that its half is whole, too."""
    scale = 2
    while scale < most:
        for factor in (2, 4, 6, 10, 20):
            if factor * (scale // 2) >= most:
                return factor * (scale // 2)
        scale *= 10
    return scale


def _short(number: float) -> str:
    if number >= 1_000_000:
        return f"{number / 1_000_000:g} M"
    return f"{number:,.0f}"


def _step(hours: int) -> tuple[str, str]:
    if hours == 1:
        return "by the hour", "1時間ごと"
    if hours < 24:
        return f"by {hours} hours", f"{hours}時間ごと"
    days = hours // 24
    return ("by the day", "1日ごと") if days == 1 else (f"by {days} days", f"{days}日ごと")


def country_bars(traffic: Traffic) -> Iterator[str]:
    """Yield a bar a country."""
    yield f'<section>\n<div class="head"><h2>{both("Countries", "国別")}</h2><p>'
    yield both(
        f"where the address is registered, of {numbered(traffic.left, 'connection', 'connections')}",
        f"アドレスの登録国、{traffic.left:,} 接続中",
    )
    yield '</p></div>\n<ol class="countries">\n'
    most = traffic.countries[0].count
    for each in traffic.countries[:_COUNTRIES]:
        width = f"{max(0.5, 100 * each.count / most):.2f}%"
        bar = f'<svg class="bar" aria-hidden="true"><rect width="{width}" height="9"/></svg>'
        code = each.where.country
        name = f'<span class="code">{text(code)}</span>{country(code)}'
        if each.where.purpose is not None:
            name = f'<span class="code"></span><span class="country">{purpose(each.where.purpose)}</span>'
        yield (
            f'<li>{name}{bar}<b>{each.count:,}</b><span class="share">{share(each.count, traffic.left)}</span></li>\n'
        )
    yield "</ol>\n"
    rest = traffic.countries[_COUNTRIES:]
    if rest:
        count = sum(each.count for each in rest)
        yield f'<p class="more">{both(f"{len(rest)} more: {count:,}", f"ほか {len(rest)} か国: {count:,}")}</p>\n'
    yield "</section>\n"
