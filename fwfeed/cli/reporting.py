"""What went abroad: report, page, evidence; and what blocking would cut."""

from __future__ import annotations

import os
from datetime import UTC, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from fwfeed import __version__
from fwfeed.cli.session import DEFAULT_CONFIG, Session, print_json, print_lines
from fwfeed.errors import ExitCode, FwfeedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from fwfeed.traffic import Traffic

_WEEK = timedelta(days=7)


def arguments(
    reporting: argparse.ArgumentParser, previewing: argparse.ArgumentParser, age: Callable[[str], object]
) -> None:
    """Add what the two commands take."""
    for each in (reporting, previewing):
        each.add_argument(
            "--since", type=age, metavar="TIME", help='how far back, as in 36h or 7d, or "off" (default: 7d)'
        )
    reporting.add_argument("--html", type=Path, metavar="FILE", help="write a page that needs no network")
    reporting.add_argument(
        "--evidence", type=Path, metavar="DIR", help="pack what a provider asks for into a new folder"
    )
    reporting.add_argument("--lang", choices=("en", "ja"), default="en", help="which language the page opens in")
    reporting.add_argument("--names", action="store_true", help="ask the resolver for names of addresses, 5 s at most")


def report(session: Session) -> int:
    """Say what went abroad, and who sent it."""
    from fwfeed import reporting

    asked = session.arguments
    if asked.evidence is not None:
        reporting.require_empty(asked.evidence)
    _import_log(session)
    now = session.now
    traffic = reporting.report(session.config, now=now, since=asked.since or _WEEK, names=asked.names)
    _say_what_is_left_out(session)
    if asked.html is not None or asked.evidence is not None:
        _write(session, traffic)
    if session.json:
        from fwfeed.report.traffic import traffic_json

        print_json(traffic_json(traffic))
    elif asked.html is None and asked.evidence is None:
        from fwfeed.report.traffic import traffic_lines

        print_lines(traffic_lines(traffic, session.zone))
    return ExitCode.DONE


def _import_log(session: Session) -> None:
    """Take in what only the kernel's log knows, where root asks; a report without it is still one."""
    if os.geteuid() != 0:
        return
    from fwfeed import reporting
    from fwfeed.ledger import path as ledger_path

    session.tell("reading the kernel's log")
    try:
        reporting.import_log(session.config, now=session.now)
    except FwfeedError as error:
        if not os.path.lexists(ledger_path(Path(session.config.paths.state))):
            raise  # nor can there be anything to report
        way_out = f"; {error.way_out}" if error.way_out else ""
        session.note(f"what only the kernel's log knows is not all there: {error.message}{way_out}")


def _say_what_is_left_out(session: Session) -> None:
    """Say it beside a report: where there is none, the error says more."""
    if os.geteuid() != 0:
        session.note("without root, what only the kernel's log knows is left out")


def _write(session: Session, traffic: Traffic) -> None:
    from fwfeed import reporting
    from fwfeed.report.page import page

    asked = session.arguments
    host = reporting.host()

    def made(zone: tzinfo) -> bytes:
        return page(traffic, language=asked.lang, host=host, version=__version__, zone=zone)

    if asked.html is not None:
        reporting.write_page(asked.html, made(session.zone))
        session.note(f"{asked.html}: written")
    if asked.evidence is not None:
        from fwfeed.report.evidence import evidence

        basis = reporting.basis(session.config, traffic, _configuration(asked.config), __version__)
        tallies = reporting.tallies(session.config, traffic)
        reporting.pack(asked.evidence, evidence(traffic, tallies, basis, made(UTC)))
        session.note(
            f"{asked.evidence}: written; command lines can hold secrets: look it through before you hand it out"
        )


def _configuration(given: Path | None) -> bytes | None:
    from fwfeed.store import files

    return files.read(DEFAULT_CONFIG if given is None else given)


def preview(session: Session) -> int:
    """Say what outbound = "reject" would have cut."""
    from fwfeed import reporting
    from fwfeed.report.preview import preview_json, preview_lines

    _import_log(session)
    found = reporting.preview(session.config, now=session.now, since=session.arguments.since or _WEEK)
    _say_what_is_left_out(session)
    if session.json:
        print_json(preview_json(found))
    else:
        print_lines(preview_lines(found, session.zone))
    return ExitCode.DONE
