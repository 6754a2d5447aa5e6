"""Measure what a million lines of the journal take on their way through the ledger into a report, beside a reference.

    .venv/bin/python -m tests.bench.report

The reference counts the same lines in a plain dictionary, and prints what was most: no ledger, no report. Both read
them from a stand-in for journalctl, and each runs as a process of its own. Nothing is asserted.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, timedelta
from ipaddress import ip_address
from pathlib import Path

from tests.bench.run import measure
from tests.unit.flows import NOW

LINES = 1_000_000

_WEEK = timedelta(days=7)
_USERS = (0, 48, 994, 995)


def write(file: Path) -> None:
    """Write a week's lines as `journalctl -o json` does: four users, each with 250 addresses, few of them often."""
    rng = random.Random(3)
    addresses = [f"203.0.113.{end}" for end in range(250)] + [f"198.51.100.{end}" for end in range(250)]
    addresses += [ip_address(f"2001:db8:{end:x}::1").exploded for end in range(500)]
    source = ip_address("2001:db8::1").exploded
    rng.shuffle(addresses)
    weights = [0.3 + 30 / (rank + 1) for rank in range(len(addresses))]
    step, begin = _WEEK / LINES, NOW - _WEEK
    users = {address: _USERS[rank % 4] for rank, address in enumerate(addresses)}
    with file.open("w") as out:
        for number, address in enumerate(rng.choices(addresses, weights, k=LINES)):
            port = 32768 + number % 28000
            header = f"SRC=192.0.2.1 DST={address} LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID={number % 65536} DF"
            if ":" in address:
                header = f"SRC={source} DST={address} LEN=80 TC=0 HOPLIMIT=64 FLOWLBL={port}"
            tail = f"PROTO=TCP SPT={port} DPT=443 WINDOW=64240 RES=0x00 SYN URGP=0 UID={users[address]} GID=100 "
            at = f"{(begin + step * number).timestamp() * 1e6:.0f}"
            entry = {
                "__CURSOR": f"s=0639;i={number:x};b=a99a;m=1c2f;t=61f;x=6f5a",
                "__REALTIME_TIMESTAMP": at,
                "__MONOTONIC_TIMESTAMP": at[4:],
                "_BOOT_ID": "a99a7b37a1e64dd1a1d5ab0d3c7b2a10",
                "_TRANSPORT": "kernel",
                "MESSAGE": f"OUTBOUND_FOREIGN IN= OUT=eth0 {header} {tail}",
            }
            out.write(json.dumps(entry, separators=(",", ":")) + "\n")  # as journalctl writes it


def count() -> None:
    """Count lines by their destination, in a dictionary."""
    counted: Counter[str] = Counter()
    with subprocess.Popen(["journalctl"], stdout=subprocess.PIPE) as journal:
        for line in journal.stdout or ():
            counted[json.loads(line)["MESSAGE"].split(" DST=")[1].split(" ")[0]] += 1
    print(counted.most_common(20))


def report() -> None:
    """Read the journal into a ledger, and make the report of it as text and as a page."""
    from fwfeed import kernlog, reporting
    from fwfeed.config import Config, PathsConfig
    from fwfeed.report.page import page
    from fwfeed.report.traffic import traffic_lines

    with tempfile.TemporaryDirectory(prefix="fwfeed-bench-") as folder:
        kernlog._JOURNAL = Path(folder)
        config = Config(paths=PathsConfig(state=f"{folder}/state"))
        began = time.process_time()
        number = reporting.import_log(config, now=NOW)
        imported = time.process_time()
        traffic = reporting.report(config, now=NOW, since=_WEEK)
        print("\n".join(traffic_lines(traffic, UTC)))
        made = page(traffic, language="en", host="bench.example.net", version="0", zone=UTC)
        done = time.process_time()
    say = f"{number:,} flows, {len(traffic.destinations):,} destinations; {imported - began:.2f} s of CPU in"
    print(f"{say}, {done - imported:.2f} s out; a page of {len(made) >> 10:,} KiB", file=sys.stderr)


def main() -> None:
    """Print the table."""
    if len(sys.argv) == 2:
        {"count": count, "report": report}[sys.argv[1]]()
        return
    with tempfile.TemporaryDirectory(prefix="fwfeed-bench-") as folder:
        write(Path(folder) / "journal.json")
        stand_in = Path(folder) / "journalctl"
        stand_in.write_text(f"#!/bin/sh\nexec cat {folder}/journal.json\n")
        stand_in.chmod(0o755)
        os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"
        reference, ours = (
            measure(sys.executable, "-m", "tests.bench.report", part, runs=3) for part in ("count", "report")
        )
    print(f"{f'reference: {LINES:,} lines of the journal in a dictionary':<64}{reference.seconds:>7.2f} s")
    text = "these through the ledger into report and page (<= 8 s, 150 MiB)"
    ratio = f"{ours.seconds / reference.seconds:.2f} x the dictionary"
    print(f"{text:<64}{ours.seconds:>7.2f} s{ours.mebibytes:>6.0f} MiB   {ratio}")


if __name__ == "__main__":
    main()
