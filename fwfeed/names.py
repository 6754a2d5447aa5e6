"""Reverse names of addresses: asked for only where somebody wants them, side by side, and for so long."""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
from collections.abc import Iterable

_THREADS = 32
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?\.?")


def reverse(addresses: Iterable[str], seconds: float) -> dict[str, str]:
    """Return the names of those that have one, as far as they came in time.

    Whoever holds an address chooses its name: what no host can be called is left out.
    """
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()
    waiting = dict.fromkeys(addresses)  # in order: what comes first is asked for first
    for address in waiting:
        asked.put(address)
    answers: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    deadline = time.monotonic() + seconds
    for _ in range(min(_THREADS, len(waiting))):
        # daemons: a resolver that does not answer cannot be interrupted, and must not keep the command from ending
        threading.Thread(target=_ask, args=(asked, answers, deadline), daemon=True).start()
    found = {}
    while waiting and (left := deadline - time.monotonic()) > 0:
        try:
            address, name = answers.get(timeout=left)
        except queue.Empty:
            break
        waiting.pop(address, None)
        if _HOST.fullmatch(name):
            found[address] = name.rstrip(".")
    return found


def _ask(asked: queue.SimpleQueue[str], answers: queue.SimpleQueue[tuple[str, str]], deadline: float) -> None:
    while time.monotonic() < deadline:
        try:
            address = asked.get_nowait()
        except queue.Empty:
            return
        try:
            name = socket.gethostbyaddr(address)[0]
        except (OSError, UnicodeError):
            name = ""
        answers.put((address, name))
