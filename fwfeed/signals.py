"""Being told to stop: in mid-apply that is a failure like any other, and in mid-rollback it has to wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """One of the stopping signals came; the text is its name."""


def interruptible() -> AbstractContextManager[None]:
    """Within the block, SIGINT, SIGTERM (systemd) and SIGHUP (a lost terminal) raise Interrupted."""

    def interrupt(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(signal.Signals(number).name)

    return _handling(interrupt)


def handed_over(to: Callable[[signal.Signals], None]) -> AbstractContextManager[None]:
    """Within the block, a stopping signal stops nothing, but is handed over.

    `to` may be called in the midst of anything, itself included, as SimpleQueue.put may.
    """
    return _handling(lambda number, _frame: to(signal.Signals(number)))


@contextmanager
def deferred() -> Iterator[None]:
    """Within the block, a stopping signal waits; the first one comes when the block has ended."""
    came: list[int] = []
    with _handling(lambda number, _frame: came.append(number)):
        yield
    if came:
        signal.raise_signal(came[0])


def undisturbed() -> AbstractContextManager[None]:
    """Within the block, the stopping signals do nothing."""
    return _handling(signal.SIG_IGN)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python lets only the main thread set handlers
        yield
        return
    before = {number: signal.signal(number, handler) for number in _STOPPING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
