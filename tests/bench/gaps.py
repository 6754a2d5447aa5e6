"""Measure what a set lacks, and which connections fail, while 20 of its prefixes change: by fwfeed, and otherwise.

    make gaps                                               # as root; some minutes for each firewalld of the lab
    .venv/bin/python -m tests.bench.gaps --firewalld 2.3.1  # one alone

Each way makes the same update of the same set on the same firewalld, in one run. Nothing about times is asserted: they
stand in the table for a reader to compare. But the exit code is 1 where fwfeed left a gap, or a connection failed or
was logged meanwhile, as that is a law.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network
from pathlib import Path

from fwfeed.apply import activate
from fwfeed.difference import steps
from fwfeed.prefixes import Family, Range, merge
from tests.lab import gaps, world
from tests.lab.gaps import Measured, Update
from tests.lab.matrix import Absent, matrix
from tests.lab.world import World

ROOT = Path(__file__).parents[2]
SIZES = (3_000, 30_000)
CHANGES = 20
CUTS = 3
CROSSOVER = (20, 200, 2_000)
CALLS = 10

# What one call takes, without the start of a process or a proof: the median of each kind, in seconds.
_CALLS = """
import sys, time
from statistics import median
from fwfeed.firewalld import connect
daemon, entries = connect(), sys.argv[1:]
for call in (daemon.add_entry, daemon.remove_entry):
    seconds = []
    for entry in entries:
        started = time.perf_counter()
        call("JP", entry)
        seconds.append(time.perf_counter() - started)
    print(median(seconds))
"""


@dataclass(frozen=True)
class Line:
    """What one way of making the update did."""

    firewalld: str
    entries: int
    way: str
    seconds: float
    of_reload: float
    samples: int
    missing: int
    gap_ms: float
    blind_ms: float
    connections: int
    failed: int
    mislogged: int


@dataclass(frozen=True)
class Cost:
    """What one call takes firewalld, and what fwfeed reckons with."""

    firewalld: str
    entries: int
    add_ms: float
    reckoned_add_ms: float
    remove_ms: float
    reckoned_remove_ms: float


@dataclass(frozen=True)
class Crossing:
    """How long an apply of so many changed prefixes took, how it went in, and what fwfeed reckoned."""

    firewalld: str
    entries: int
    changed: int
    reckoned: float
    seconds: float
    how: str


def line(lab: World, entries: int, way: str, measured: Measured, update: Update, reload_seconds: float) -> Line:
    """Say what was measured; of cut entries the longest gap of one."""
    if update.rests:
        missing = measured.gap(update.rests).missing
        gap = max(measured.gap([rest]).milliseconds for rest in update.rests)
    else:
        whole = measured.gap(update.survivors)
        missing, gap = whole.missing, whole.milliseconds
    return Line(
        firewalld=lab.firewalld.version,
        entries=entries,
        way=way,
        seconds=measured.seconds,
        of_reload=measured.seconds / reload_seconds,
        samples=measured.samples,
        missing=missing,
        gap_ms=gap,
        blind_ms=measured.blind_milliseconds,
        connections=measured.tried,
        failed=measured.failed,
        mislogged=measured.mislogged,
    )


def install(lab: World, update: Update) -> None:
    """Have fwfeed install the old list."""
    lab.publish(*gaps.records(update.old))
    gaps.configure(lab, on_link=True)
    gaps.run_fwfeed(lab, "update")


def fetch(lab: World, update: Update) -> None:
    """Have the next apply install the new list."""
    lab.publish(*gaps.records(update.new))
    gaps.run_fwfeed(lab, "fetch")


def compare(lab: World, entries: int) -> tuple[list[Line], list[str]]:
    """Measure each way, and say where fwfeed broke the law."""
    update = gaps.exchange(entries, CHANGES)
    file = lab.etc / "ipsets/JP.xml"
    install(lab, update)
    old = file.read_bytes()
    fetch(lab, update)
    by_fwfeed = gaps.measure(lab, update, lambda: gaps.run_fwfeed(lab, "apply"))
    new = file.read_bytes()
    gaps.run_fwfeed(lab, "rollback")

    def written(change: Callable[[], object]) -> Callable[[], object]:
        def both() -> None:
            file.write_bytes(new)
            change()

        return both

    by_reload = gaps.measure(lab, update, written(lambda: gaps.reload(lab)))
    go_back(lab, file, old, update)
    at_once = gaps.measure(lab, update, written(lambda: gaps.set_entries(lab, "JP", listed(new))))
    go_back(lab, file, old, update)

    losing = gaps.cut(entries, CUTS)
    fetch(lab, losing)
    by_cuts = gaps.measure(lab, losing, lambda: gaps.run_fwfeed(lab, "apply"))
    seconds = by_reload.seconds
    lines = [
        line(lab, entries, "fwfeed apply", by_fwfeed, update, seconds),
        line(lab, entries, "--reload", by_reload, update, seconds),
        line(lab, entries, "setEntries", at_once, update, seconds),
        line(lab, entries, "fwfeed apply, cut", by_cuts, losing, seconds),
    ]
    broken = [
        f"firewalld {lab.firewalld.version}, {entries} entries, {what}: {missing} samples lacked a survivor, "
        f"{measured.failed} connections failed, {measured.mislogged} were logged"
        for what, measured, watched in (("update", by_fwfeed, update), ("cuts", by_cuts, losing))
        if (missing := measured.gap(watched.survivors).missing) or measured.failed or measured.mislogged
    ]
    return lines, broken


def go_back(lab: World, file: Path, old: bytes, update: Update) -> None:
    """Bring file, runtime and kernel back to the old list, in the quickest way."""
    file.write_bytes(old)
    gaps.set_entries(lab, "JP", listed(old))
    gaps.wait_for_kernel(lab, update.old)


def listed(raw: bytes) -> list[IPv4Network]:
    """Return the entries of an ipset's file."""
    return [IPv4Network(entry) for entry in re.findall(r"<entry>(.*?)</entry>", raw.decode())]


def cost(lab: World, entries: int) -> Cost:
    """Measure single calls."""
    new = [f"10.250.{2 * index}.0/24" for index in range(CALLS)]
    done = lab.run("host", sys.executable, "-c", _CALLS, *new, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    add, remove = (1000 * float(seconds) for seconds in done.stdout.split())
    call = activate._CALL_SECONDS
    return Cost(
        firewalld=lab.firewalld.version,
        entries=entries,
        add_ms=add,
        reckoned_add_ms=1000 * (call + entries * activate._ADD_SECONDS_AN_ENTRY),
        remove_ms=remove,
        reckoned_remove_ms=1000 * (call + entries * activate._REMOVE_SECONDS_AN_ENTRY),
    )


def crossings(lab: World, entries: int) -> Iterator[Crossing]:
    """Have more and more prefixes change at once; each time from where the last one ended."""
    live = listed((lab.etc / "ipsets/JP.xml").read_bytes())
    for changes in CROSSOVER:
        update = gaps.exchange(entries, changes)
        fetch(lab, update)
        started = time.monotonic()
        said = gaps.run_fwfeed(lab, "apply")
        seconds = time.monotonic() - started
        new = listed((lab.etc / "ipsets/JP.xml").read_bytes())
        planned = steps(ranges(live), merge(ranges(new)), Family.IPV4)
        yield Crossing(
            firewalld=lab.firewalld.version,
            entries=entries,
            changed=sum(len(step.added) + (step.removed is not None) for step in planned),
            reckoned=sum(activate._seconds(step, entries) for step in planned),
            seconds=seconds,
            how="calls" if "without a reload" in said else "reload",
        )
        live = new


def ranges(prefixes: list[IPv4Network]) -> list[Range]:
    """Return prefixes as fwfeed's core has them."""
    return [(int(prefix.network_address), int(prefix.broadcast_address)) for prefix in prefixes]


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def gap_table(lines: list[Line]) -> Table:
    """Return the heading and the lines of the first table, as texts."""
    heading = (
        *("firewalld", "entries", "way", "took", "of reload", "samples", "missing", "gap", "blind"),
        *("connections", "failed", "mislogged"),
    )
    return heading, [
        (
            each.firewalld,
            f"{each.entries:,}",
            each.way,
            f"{each.seconds:.2f} s",
            f"{each.of_reload:.2f}",
            f"{each.samples:,}",
            f"{each.missing:,}",
            f"{each.gap_ms:,.0f} ms",
            f"{each.blind_ms:.1f} ms",
            f"{each.connections:,}",
            f"{each.failed:,}",
            f"{each.mislogged:,}",
        )
        for each in lines
    ]


def cost_table(costs: list[Cost]) -> Table:
    """Return the second table."""
    heading = ("firewalld", "entries", "addEntry", "reckoned", "removeEntry", "reckoned")
    return heading, [
        (
            each.firewalld,
            f"{each.entries:,}",
            f"{each.add_ms:.1f} ms",
            f"{each.reckoned_add_ms:.1f} ms",
            f"{each.remove_ms:.1f} ms",
            f"{each.reckoned_remove_ms:.1f} ms",
        )
        for each in costs
    ]


def crossing_table(found: list[Crossing]) -> Table:
    """Return the third table."""
    heading = ("firewalld", "entries", "calls needed", "reckoned", "took", "went in by")
    return heading, [
        (
            each.firewalld,
            f"{each.entries:,}",
            f"{each.changed:,}",
            f"{each.reckoned:.1f} s",
            f"{each.seconds:.1f} s",
            each.how,
        )
        for each in found
    ]


def show(table: Table, *, markdown: bool) -> None:
    """Print a table; what is a number stands at the right."""
    heading, lines = table
    widths = [max(map(len, column)) for column in zip(heading, *lines, strict=True)]
    numbers = [bool(re.match(r"[\d,.]+( m?s)?$", text)) for text in lines[0]]
    rows = [
        [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, numbers, strict=True)
        ]
        for row in (heading, *lines)
    ]
    if markdown:
        rule = ["-" * (width - right) + ":" * right for width, right in zip(widths, numbers, strict=True)]
        rows.insert(1, rule)
    for row in rows:
        print(f"| {' | '.join(row)} |" if markdown else "  ".join(row).rstrip())
    print()


def tell(on: str, lines: list[Line], costs: list[Cost], found: list[Crossing], *, markdown: bool) -> None:
    """Print all that was measured."""
    print(f"{on}\n")
    for table in (gap_table(lines), cost_table(costs), crossing_table(found)):
        if table[1]:
            show(table, markdown=markdown)


def machine() -> str:
    """Say what this was measured on."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    nft = subprocess.run(["nft", "--version"], capture_output=True, text=True, check=True).stdout.split(" (")[0]
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores{f' of {model[1]}' if model else ''}, Linux {platform.release()}, {nft}, "
        f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}"
    )


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    versions = matrix(ROOT / "build/lab", os.environ.get("FWFEED_LAB_FIREWALLD"))
    parser.add_argument("--firewalld", choices=versions, help="measure this version of the lab's alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    parser.add_argument("--markdown", action="store_true", help="print tables for a document")
    options = parser.parse_args()
    if reason := world.missing():
        parser.error(reason)
    on = machine()
    lines: list[Line] = []
    costs: list[Cost] = []
    found: list[Crossing] = []
    broken: list[str] = []
    try:
        for version, firewalld in versions.items():
            if options.firewalld not in (None, version):
                continue
            if isinstance(firewalld, Absent):
                parser.error(firewalld.reason)
            for entries in SIZES:
                print(f"firewalld {version}, {entries:,} entries ...", file=sys.stderr)
                with (
                    tempfile.TemporaryDirectory(prefix="fwfeed-gaps-") as name,
                    world.world(Path(name), firewalld) as lab,
                ):
                    more, laws = compare(lab, entries)
                    lines += more
                    broken += laws
                    costs.append(cost(lab, entries))
                    if entries == SIZES[-1]:
                        found += crossings(lab, entries)
    finally:  # what was measured before somebody lost patience is worth showing
        tell(f"{on}; at the end load {os.getloadavg()[0]:.1f}", lines, costs, found, markdown=options.markdown)
    if options.json:
        figures = {
            "machine": on,
            "broken": broken,
            "gaps": [asdict(each) for each in lines],
            "calls": [asdict(each) for each in costs],
            "crossover": [asdict(each) for each in found],
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(f"BROKEN: {each}" for each in broken) or "fwfeed: no gap, no failed and no mislogged connection")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
