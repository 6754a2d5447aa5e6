"""The host's time zone: that of TZ or /etc/localtime, as the C library reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


class HostZone(tzinfo):
    """The zone of the host's clock, with its summer time; unlike what datetime.astimezone() leaves, at any moment."""

    def fromutc(self, moment: datetime) -> datetime:
        """Return a moment, given in UTC, as the host's clock shows it."""
        utc = moment.replace(tzinfo=UTC)
        try:
            return utc.astimezone()
        except (OverflowError, ValueError, OSError):  # where a damaged file has the year 1 or 9999
            return utc

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """Return how far the host's clock is from UTC when it shows this."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def tzname(self, moment: datetime | None) -> str | None:
        """Return what the zone is called when the host's clock shows this."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def dst(self, _moment: datetime | None) -> timedelta | None:
        """Return None: the C library does not tell how much of it is summer time."""
        return None
