"""Do what a timer of systemd's would: run the update at the start and every night, one at a time.

Each update is a child process: it gives its memory back, reads the configuration as it then is, and forks for its half
without root in a process that has no threads. `timetable` says when, and alone knows APScheduler.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from fwfeed.config import Config
from fwfeed.errors import Busy, ExitCode, FwfeedError
from fwfeed.process import Child
from fwfeed.signals import handed_over
from fwfeed.store.lock import locked
from fwfeed.times import local_text
from fwfeed.zone import HostZone

if TYPE_CHECKING:
    from fwfeed.daemon.timetable import Timetable

_LOOK_SECONDS = 60.0

_SKIPPED = "an update is due, but the one before it has not ended: skipped"


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    seconds: float

    def __str__(self) -> str:
        if self.code < 0:
            how = f"was killed by {signal.Signals(-self.code).name}"
        elif self.code in set(ExitCode):
            how = f"ended with {self.code}, {ExitCode(self.code).meaning},"
        else:
            how = f"ended with {self.code}"
        return f"the update {how} after {self.seconds:.1f} s"


_Message = signal.Signals | _Ended | FwfeedError | str


class _Updates:
    """The update that is under way, if any."""

    def __init__(self, command: Sequence[str], report: Callable[[_Message], None]) -> None:
        self._command = command
        self._report = report
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._over = False

    def run(self) -> None:
        """Run one to its end."""
        started = time.monotonic()
        try:
            with self._lock:  # so that none begins that stop() has not seen
                if self._over:
                    return
                child = self._child = Child(*self._command)
        except FwfeedError as error:
            self._report(error)
            return
        code = child.wait()
        with self._lock:
            self._child = None
        self._report(_Ended(code, time.monotonic() - started))

    def stop(self) -> bool:
        """Let none begin any more, and tell the one that is under way to end; return whether there is one."""
        with self._lock:
            self._over = True
            if self._child is not None:
                self._child.stop()
            return self._child is not None


def serve(
    config: Config,
    read: Callable[[], Config],
    command: Sequence[str],
    *,
    tell: Callable[[str], None],
    complain: Callable[[FwfeedError], None],
) -> None:
    """Run a command at the start and once a day, until SIGTERM or SIGINT comes.

    On SIGHUP `read` gives the configuration anew. How each update ended and when the next one is goes to `tell`, what
    ends nothing but went wrong to `complain`. Raises FwfeedError where there is no APScheduler, or another daemon.
    """
    inbox: SimpleQueue[_Message] = SimpleQueue()  # all is said and decided in this thread
    updates = _Updates(command, inbox.put)
    try:
        from fwfeed.daemon.timetable import Timetable
    except ImportError as error:
        raise FwfeedError(
            f"fwfeed daemon needs APScheduler 3: {error}",
            "on a host with systemd: systemctl enable --now fwfeed.timer; "
            "else, in a checkout of fwfeed: pip install '.[daemon]'",
        ) from None
    with _alone(Path(config.paths.run)), handed_over(inbox.put):
        timetable = Timetable(config.daemon, updates.run, lambda: inbox.put(_SKIPPED))
        tell(f"daemon: {_next(timetable)}")
        timetable.start()
        while True:
            try:
                came = inbox.get(timeout=_LOOK_SECONDS)
            except Empty:
                timetable.look_again()
                continue
            if came in {signal.SIGTERM, signal.SIGINT}:
                break
            if came == signal.SIGHUP:
                try:
                    timetable.change(read().daemon)
                except FwfeedError as error:
                    complain(error)
                    tell(f"daemon: goes on with the configuration of before; {_next(timetable)}")
                else:
                    tell(f"daemon: has read the configuration anew; {_next(timetable)}")
            elif isinstance(came, FwfeedError):
                complain(came)
                tell(f"daemon: {_next(timetable)}")
            else:
                tell(f"daemon: {came}; {_next(timetable)}")
        if updates.stop():
            tell("daemon: the update that is under way was told to end; waiting for it, as it may have to roll back")
        timetable.end()
        while not inbox.empty():
            last = inbox.get()
            if isinstance(last, _Ended):
                tell(f"daemon: {last}")
        tell(f"daemon: ended by {signal.Signals(came).name}")


def _next(timetable: Timetable) -> str:
    return f"next update at {local_text(timetable.next, HostZone())}"


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(run / "daemon", wait=0, waiting=lambda _line: None))
        except Busy:
            message = f"another fwfeed daemon runs: it holds {run / 'daemon' / 'lock'}"
            raise FwfeedError(message, "let it, or end it first; see who it is: lslocks") from None
        yield
