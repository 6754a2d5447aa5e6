"""Write moments: in a zone with its abbreviation for people, as journalctl does, and in UTC for machines. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

# The abbreviations that the time zone database has for what is not off UTC. Of a TZ that it cannot read the C library
# makes UTC under a name of its own: TZ=Asia/Tokio is UTC, and called "Asia".
_NOT_OFF = frozenset({"GMT", "WET", "+00", "-00"})
_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))


def utc_text(moment: datetime) -> str:
    """Write a moment to the second in UTC, as in 2026-11-30T18:40:51+00:00 (ISO 8601)."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def local_text(moment: datetime, zone: tzinfo, *, timespec: str = "seconds") -> str:
    """Write a moment in a zone, as in 2026-12-01 03:40:51 JST; `timespec` is that of datetime.isoformat()."""
    shown = moment.astimezone(zone).replace(tzinfo=None).isoformat(sep=" ", timespec=timespec)
    return f"{shown} {abbreviation(moment, zone)}"


def minute_text(moment: datetime, zone: tzinfo, beside: datetime) -> str:
    """Write a moment to the minute, as in 2026-12-01 03:40.

    The zone's abbreviation follows only where that of `beside` is another, as when summer time began or ended between.
    """
    text = f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"
    name = abbreviation(moment, zone)
    return text if name == abbreviation(beside, zone) else f"{text} {name}"


def span_text(since: datetime, until: datetime, zone: tzinfo) -> str:
    """Write a span of time to the minute, as in 2026-11-24 03:00 to 2026-12-01 03:40 JST."""
    return f"{minute_text(since, zone, until)} to {minute_text(until, zone, until)} {abbreviation(until, zone)}"


def abbreviation(moment: datetime, zone: tzinfo) -> str:
    """Return what a zone is called at a moment: JST, CEST, or an offset as -03 where it has no name."""
    local = moment.astimezone(zone)
    name = local.tzname() or ""
    return name if local.utcoffset() or name in _NOT_OFF else "UTC"


def length_of(length: timedelta) -> tuple[int, str]:
    """Return how long something is or was, in its largest whole unit: second, minute, hour or day."""
    seconds = max(length, timedelta()) // timedelta(seconds=1)
    size, unit = next((each for each in _UNITS if seconds >= each[0]), (1, "second"))
    return seconds // size, unit


def length_text(length: timedelta) -> str:
    """Write how long something is or was: 12 seconds, 1 minute, 3 hours, 2 days."""
    number, unit = length_of(length)
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def offset_text(moment: datetime, zone: tzinfo) -> str:
    """Return how far a zone is from UTC at a moment: UTC, UTC+09:00, UTC-03:30."""
    offset = moment.astimezone(zone).utcoffset() or timedelta()
    minutes = abs(offset) // timedelta(minutes=1)
    sign = "-" if offset < timedelta() else "+"
    return f"UTC{sign}{minutes // 60:02}:{minutes % 60:02}" if minutes else "UTC"
