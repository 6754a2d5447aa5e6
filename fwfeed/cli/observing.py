"""`fwfeed watch`: foreign connections as they begin, each with who sends it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fwfeed.cli.listening import Listening
from fwfeed.cli.session import Session, is_journal, write
from fwfeed.errors import ConfigError, ExitCode, printable
from fwfeed.times import abbreviation

if TYPE_CHECKING:
    from datetime import tzinfo

    from fwfeed.cli.recording import Recording
    from fwfeed.flow import Sent

_ON = "name a group, as 243, and: fwfeed apply"
_DRAWN_SECONDS = 0.5
_ROWS = 1000
_PATIENCE_SECONDS = 0.2  # meanwhile nobody looks who sent what: it waits for the next batch


def watch(session: Session) -> int:
    """Show flows until SIGTERM, SIGINT or SIGHUP comes."""
    from fwfeed.observe import observe
    from fwfeed.signals import handed_over
    from fwfeed.units import notify

    silent = session.arguments.record and session.arguments.quiet  # the ledger is root's, where stdout goes is not
    table = None if silent or session.json or not sys.stdout.isatty() else _Table(session.zone)
    show: Callable[[Sent], None]
    if silent:
        show = _nothing
    elif table is not None:
        show = table.add
    elif session.json:
        show = _json
    else:
        show = partial(_line, session.zone)
    listening = Listening(session.config, show)
    # in a journal systemd tells that it runs and how it ended
    told = not session.arguments.quiet and not is_journal(sys.stderr)
    group = session.config.watch.group
    if group is None:
        raise ConfigError(['watch.group is "off": the policies hand over nothing to watch'], _ON)
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        with handed_over(lambda _signal: _wake(writing)), _recording(session) as ledger:

            def begin() -> None:
                if told:
                    hidden = table is not None and sys.stderr.isatty()
                    listening.start(None if hidden else session.note)
                if ledger is not None:
                    ledger.begin()
                notify("READY=1", f"STATUS=watching NFLOG group {group}")

            summary = observe(
                group,
                show if silent else listening.add,
                stop=reading,
                idle=write if table is None else lambda: table.draw(listening.remark),
                ready=begin,
                record=None if ledger is None else ledger.record,
                lost=None if ledger is None else ledger.lost,
            )
    finally:
        listening.end()
        os.close(reading)
        os.close(writing)
        if table is not None:
            table.end()
    if told:
        session.note(listening.told(summary))
    return ExitCode.DONE


@contextmanager
def _recording(session: Session) -> Iterator[Recording | None]:
    if not session.arguments.record:
        yield None
        return
    from fwfeed.cli.recording import Recording
    from fwfeed.ledger import Ledger, path

    file = path(Path(session.config.paths.state))
    with Ledger.open(file, keep=session.config.watch.keep, patience=_PATIENCE_SECONDS) as ledger:
        recording = Recording(ledger)
        yield recording
        recording.end()


def _wake(descriptor: int) -> None:
    with suppress(BlockingIOError):  # it is awake
        os.write(descriptor, b"x")


def _nothing(_sent: Sent) -> None:
    pass


def _json(sent: Sent) -> None:
    from fwfeed.report.flows import flow_json

    write(json.dumps(flow_json(sent), ensure_ascii=False) + "\n")


def _line(zone: tzinfo, sent: Sent) -> None:
    from fwfeed.report.flows import flow_line

    write(flow_line(sent, zone) + "\n")


@dataclass(slots=True)
class _Row:
    count: int
    last: str
    pid: str


class _Table:
    """What was seen, folded, the newest first; drawn anew at most twice a second."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._rows: OrderedDict[tuple[str, str, str, str], _Row] = OrderedDict()
        self._flows = 0
        self._remark = ""
        self._newest: datetime | None = None
        self._changed = True
        self._drawn = 0.0
        write("\033[?1049h\033[?25l")  # a screen of its own, without a cursor

    def add(self, sent: Sent) -> None:
        """Take a flow in."""
        from fwfeed.report.flows import end_text, sender_text

        flow, sender = sent.flow, sent.sender
        key = str(flow.direction), flow.protocol, end_text(flow.destination, flow.destination_port), sender_text(sender)
        row = self._rows.setdefault(key, _Row(0, "", ""))
        row.count += 1
        row.last = f"{flow.at.astimezone(self._zone):%H:%M:%S}"
        self._newest = flow.at
        row.pid = "" if sender.pid is None else str(sender.pid)
        self._rows.move_to_end(key)
        if len(self._rows) > _ROWS:
            self._rows.popitem(last=False)
        self._flows += 1
        self._changed = True

    def draw(self, remark: str) -> None:
        """Draw what has changed; the remark stands where nothing has come."""
        if self._flows == 0 and remark != self._remark:
            self._remark, self._changed = remark, True
        if not self._changed or time.monotonic() - self._drawn < _DRAWN_SECONDS:
            return
        columns, height = shutil.get_terminal_size()
        rows = list(reversed(self._rows.items()))[: max(height - 3, 1)]
        width = max([11, *(len(destination) for (_way, _protocol, destination, _name), _row in rows)])
        # which zone the times are of: that of the newest
        last = f"LAST ({abbreviation(self._newest, self._zone)})" if self._newest else "LAST"
        wide = max(8, len(last))
        lines = [
            f"fwfeed watch: {self._flows:,} foreign connections; Ctrl-C ends it",
            f"{last:<{wide}} {'COUNT':>7} {'WAY':<9} {'PROTO':<6} {'DESTINATION':<{width}} {'PID':>7} WHO",
        ]
        for (way, protocol, destination, name), row in rows:
            lines.append(
                f"{row.last:<{wide}} {row.count:>7,} {way:<9} {protocol:<6} {destination:<{width}} {row.pid:>7} {name}"
            )
        if not rows:
            lines[1:] = textwrap.wrap(printable(self._remark), columns)
        shown = "".join(f"{printable(each)[:columns]}\033[K\n" for each in lines)
        write(f"\033[H{shown}\033[J")
        write()
        self._changed = False
        self._drawn = time.monotonic()

    def end(self) -> None:
        """Give the terminal back."""
        write("\033[?25h\033[?1049l")
        write()
