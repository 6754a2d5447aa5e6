"""When the daemon updates, by APScheduler: at its start, and once a day at the host's own time.

APScheduler's CronTrigger is not used: in the hour that the end of summer time brings twice, it never gets on
(agronholm/apscheduler#1021). So that no hour is there twice, all it gets to see is UTC.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from itertools import count

from apscheduler.events import EVENT_JOB_MAX_INSTANCES
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from fwfeed.config import DaemonConfig

_FIRST = timedelta(minutes=1)


def due(at: time, after: datetime) -> datetime:
    """Return the next moment when the host's clocks show `at`, once a day.

    Of a time that a day has twice it is the first one; one that a day does not have is as much later as is left out.
    """
    today = after.astimezone().date()
    shown = (datetime.combine(today + timedelta(days=ahead), at) for ahead in count(-1))
    # not by astimezone(), which takes a time that is left out for an earlier one
    moments = (datetime.fromtimestamp(each.timestamp(), UTC) for each in shown)
    return next(moment for moment in moments if moment > after)


class Daily(BaseTrigger):  # type: ignore[misc]  # it has no type information
    """Once a day, put off at random."""

    def __init__(self, config: DaemonConfig) -> None:
        self._config = config

    def due(self, after: datetime) -> datetime:
        """Return when it is due next, if nothing put it off."""
        return due(self._config.at, after)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first time after that of before, or after now where there is none (APScheduler's interface)."""
        return self.due(previous_fire_time or now) + _part_of(self._config.spread)

    def is_too_late(self, moment: datetime, now: datetime) -> bool:
        """Tell whether a time is later than what is due next can be put off to."""
        return moment > self.due(now) + self._config.spread


class Timetable:
    """Runs a function at the start and once a day, in another thread; while it has not ended, calls `skipped` instead.

    The first run does not wait for the time of day: a host that was off then, or is switched off
    every night, would have none for a day, or ever. It is put off by a part of a minute, as many hosts may start at
    once when the power is back. A run that comes late, as after a suspension, is wanted however late it is, and once.
    """

    def __init__(self, config: DaemonConfig, run: Callable[[], None], skipped: Callable[[], None]) -> None:
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # what it warns of, `skipped` tells
        self._config = config
        self._trigger = Daily(config)
        self._scheduler = BackgroundScheduler(timezone="UTC")
        self._scheduler.add_listener(lambda _event: skipped(), EVENT_JOB_MAX_INSTANCES)
        self._job = self._scheduler.add_job(
            run,
            self._trigger,
            next_run_time=datetime.now(UTC) + _part_of(min(config.spread, _FIRST)),
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    @property
    def next(self) -> datetime:
        """When it runs next."""
        moment: datetime = self._scheduler.get_job(self._job.id).next_run_time  # waits until a run has been counted
        return moment

    def change(self, config: DaemonConfig) -> None:
        """Run at other times from now on. What is already due, and only put off, stays where it is."""
        if config == self._config:
            return
        put_off = self.next < self._trigger.due(datetime.now(UTC))
        self._config, self._trigger = config, Daily(config)
        if put_off:
            self._job.modify(trigger=self._trigger)
        else:
            self._job.reschedule(self._trigger)

    def look_again(self) -> None:
        """Look at the clock again, which somebody may have set, or which went on while the host was suspended."""
        if self._trigger.is_too_late(self.next, datetime.now(UTC)):
            self._job.reschedule(self._trigger)
        self._scheduler.wakeup()

    def end(self) -> None:
        """Run no more, and wait for the run that is under way."""
        self._scheduler.shutdown()


def _part_of(length: timedelta) -> timedelta:
    return random.random() * length  # noqa: S311 - no secret
