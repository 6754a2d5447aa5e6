"""Measure what a million flows take on their way through the ledger into a report, and print it beside a reference.

    .venv/bin/python -m tests.bench.report

The reference counts the same flows in a plain dictionary, and prints what was most: no ledger, no report. What makes
the flows is in both, and is measured alone, too. Each runs as a process of its own. Nothing is asserted.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from fwfeed.flow import Direction, Flow, Sender, Sent
from fwfeed.prefixes import Family
from tests.bench.run import measure
from tests.unit.flows import NOW, PROGRAMS

FLOWS = 1_000_000


def flows() -> Iterator[tuple[Sent, str]]:
    """Yield flows of a week, in order: ten programs, each with a hundred addresses, few of them often."""
    rng = random.Random(3)
    addresses = [f"203.0.113.{end}" for end in range(250)] + [f"198.51.100.{end}" for end in range(250)]
    addresses += [f"2001:db8:{end:x}::1" for end in range(500)]
    rng.shuffle(addresses)
    weights = [0.3 + 30 / (rank + 1) for rank in range(100)]
    where = [rng.choices(addresses[number * 100 :][:100], weights, k=1 << 13) for number in range(len(PROGRAMS))]
    who: list[tuple[Sender, dict[str, object]]] = [(each, values) for _weight, each, values in PROGRAMS]
    step = timedelta(days=7) / FLOWS
    begin = NOW - timedelta(days=7)
    for number in range(FLOWS):
        program = (number * 7 + (number >> 3)) % len(who)
        sender, values = who[program]
        destination = where[program][number * 31 & 0x1FFF]
        flow = Flow(
            at=begin + step * number,
            family=Family.IPV6 if ":" in destination else Family.IPV4,
            protocol=str(values.get("protocol", "TCP")),
            source="198.51.100.1",
            destination=destination,
            source_port=32768 + number % 28000,
            destination_port=int(str(values.get("destination_port") or 443)),
            direction=Direction.OUT,
            interface="eth0",
            uid=int(str(values.get("uid") or 0)),
            prefix="OUTBOUND_FOREIGN ",
        )
        yield Sent(flow=flow, sender=sender), "s"


def make() -> None:
    """Make the flows alone."""
    for _ in flows():
        pass


def naive() -> None:
    """Count them in a dictionary."""
    counted: Counter[tuple[object, ...]] = Counter()
    for sent, _position in flows():
        flow = sent.flow
        hour = flow.at.replace(minute=0, second=0, microsecond=0)
        counted[(hour, flow.destination, flow.destination_port, sent.sender.executable, sent.sender.unit)] += 1
    print(counted.most_common(20))


def whole() -> None:
    """Count them in a ledger, and make the report of it as text and as a page."""
    from fwfeed.config import Config, PathsConfig
    from fwfeed.ledger import Ledger, path
    from fwfeed.ledger.importing import import_flows
    from fwfeed.report.page import page
    from fwfeed.report.traffic import traffic_lines
    from fwfeed.reporting import report

    with tempfile.TemporaryDirectory(prefix="fwfeed-bench-") as folder:
        config = Config(paths=PathsConfig(state=folder))
        began = time.process_time()
        with Ledger.open(path(Path(folder)), keep=timedelta(days=40_000)) as ledger:
            import_flows(ledger, flows(), "bench")
        imported = time.process_time()
        traffic = report(config, now=NOW, since=timedelta(days=7))
        print("\n".join(traffic_lines(traffic)))
        made = page(traffic, language="en", host="bench.example.net", version="0")
        size = path(Path(folder)).stat().st_size >> 20
        done = time.process_time()
    say = f"CPU: {imported - began:.2f} s in (with their making), {done - imported:.2f} s out; "
    say += f"{len(traffic.destinations):,} destinations"
    say += f", ledger {size} MiB, page {len(made) >> 10:,} KiB"
    print(say, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, "MiB", file=sys.stderr)


def write(file: Path) -> None:
    """Write the same flows as lines of the journal, as `journalctl -o json` would."""
    with file.open("w") as out:
        for sent, _position in flows():
            flow = sent.flow
            ipv6 = flow.family is Family.IPV6
            source = ip_address("2001:db8:1::1" if ipv6 else flow.source).exploded
            header = "TC=0 HOPLIMIT=64 FLOWLBL=1" if ipv6 else "TOS=0x00 PREC=0x00 TTL=64 ID=1 DF"
            line = f"OUTBOUND_FOREIGN IN= OUT=eth0 SRC={source} DST={ip_address(flow.destination).exploded} LEN=60"
            line += f" {header} PROTO=TCP SPT={flow.source_port} DPT=443 WINDOW=64240 RES=0x00 SYN URGP=0 UID=0 GID=0 "
            record = {
                "__REALTIME_TIMESTAMP": f"{flow.at.timestamp() * 1e6:.0f}",
                "_TRANSPORT": "kernel",
                "MESSAGE": line,
            }
            out.write(json.dumps(record, separators=(",", ":")) + "\n")  # as journalctl writes it


def count(file: Path) -> None:
    """Count the lines of a file by their destination, in a dictionary."""
    counted: Counter[str] = Counter()
    with file.open() as lines:
        for line in lines:
            counted[json.loads(line)["MESSAGE"].split(" DST=")[1].split(" ")[0]] += 1
    print(counted.most_common(20))


def lines(file: Path) -> None:
    """Read the lines of a file into a ledger, and make the report of it."""
    from fwfeed.config import Config, PathsConfig
    from fwfeed.flow import Known
    from fwfeed.kernlog import of_an_export
    from fwfeed.ledger import Ledger, path
    from fwfeed.ledger.importing import import_flows
    from fwfeed.report.traffic import traffic_lines
    from fwfeed.reporting import report

    with tempfile.TemporaryDirectory(prefix="fwfeed-bench-") as folder:
        config = Config(paths=PathsConfig(state=folder))
        sender = Sender(known=Known.USER, user="root")
        with Ledger.open(path(Path(folder)), keep=timedelta(days=40_000)) as ledger:
            read = of_an_export(file, (config.outbound.prefix, config.inbound.prefix))
            number = import_flows(ledger, ((Sent(flow=flow, sender=sender), "s") for flow in read), "bench")
        assert number == FLOWS
        print("\n".join(traffic_lines(report(config, now=NOW, since=timedelta(days=7)))))


def main() -> None:
    """Print the table."""
    if len(sys.argv) == 2:
        {"make": make, "naive": naive, "whole": whole}[sys.argv[1]]()
        return
    if len(sys.argv) == 3:
        {"count": count, "lines": lines}[sys.argv[1]](Path(sys.argv[2]))
        return
    figures = {
        part: measure(sys.executable, "-m", "tests.bench.report", part, runs=3) for part in ("make", "naive", "whole")
    }
    told = (
        ("making 1,000,000 flows, alone", "make"),
        ("reference: these in a dictionary", "naive"),
        ("these through the ledger into report and page (<= 8 s, 150 M)", "whole"),
    )
    for text, part in told:
        ratio = f"   {figures[part].seconds / figures['naive'].seconds:.2f} x the dictionary"
        print(f"{text:<64}{figures[part].seconds:>7.2f} s{figures[part].mebibytes:>6.0f} MiB{ratio}")
    with tempfile.TemporaryDirectory(prefix="fwfeed-bench-") as folder:
        file = Path(folder) / "journal.json"
        write(file)
        command = (sys.executable, "-m", "tests.bench.report")
        reference, logged = (measure(*command, part, str(file), runs=3) for part in ("count", "lines"))
    print(f"{'reference: 1,000,000 lines of the journal in a dictionary':<64}{reference.seconds:>7.2f} s")
    ratio = f"{logged.seconds / reference.seconds:.2f} x the dictionary"
    text = "these into a report (<= 8 s, 150 M)"
    print(f"{text:<64}{logged.seconds:>7.2f} s{logged.mebibytes:>6.0f} MiB   {ratio}")


if __name__ == "__main__":
    main()
