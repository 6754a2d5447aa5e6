"""Measure how many connections `fwfeed watch` names rightly, how soon, and what it costs.

    .venv/bin/python -m tests.bench.attribution [--seconds 60] [--rate 200] [--lives 0.05]     # as root

Connections come from processes that stay, and from such as make one and end, in a namespace of their own; each says
which PID it has, from which port it connects, and when it is about to. That is held against what watch says. Its clock
starts before connect(), so the delay has all of the way; watch's own begins when it reads the packet. CPU is that of
fwfeed-watch.service's command, which says nothing and records, under the same load once more.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from tests.lab.attributing import FWFEED, Place, place, wait_until

# Connects at a rate from workers that stay and from children that connect once and end, says PID, port and time.
_SOURCE = """
import os, socket, sys, time
rate, seconds, lives = map(float, sys.argv[1:4])
target, fresh = sys.argv[4], int(sys.argv[5])
def connect():
    s = socket.socket()
    s.bind(("", 0))
    port, at = s.getsockname()[1], time.time()
    s.connect((target, 443))
    os.write(1, f"{os.getpid()} {port} {at!r}\\n".encode())
    return s
start, made, open_ = time.monotonic(), 0, []
while (now := time.monotonic() - start) < seconds:
    while open_ and open_[0][0] <= now:
        open_.pop(0)[1].close()
    if made < now * rate:
        made += 1
        if fresh:
            if os.fork() == 0:
                s = connect()
                time.sleep(lives)
                os._exit(0)
        else:
            open_.append((now + lives, connect()))
    else:
        time.sleep(0.001)
    if fresh:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]: pass
        except ChildProcessError: pass
time.sleep(lives)
"""
_SINK = """
import socket
s = socket.create_server(("", 443), backlog=4096)
kept = []
while True:
    kept.append(s.accept()[0])
    del kept[:-5000]
"""


def main() -> int:
    """Run it, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--lives", type=float, default=0.05, help="seconds each connection lives")
    parser.add_argument("--nice", type=int, default=0, help="of watch, as on a host that has other work to do")
    arguments = parser.parse_args()
    print(
        f"{'processes':<22} {'flows':>7} {'seen':>7} {'right':>8} {'wrong':>6} {'median':>9} {'p99':>9} {'CPU':>7} lost"
    )
    for name, fresh in (("stay", 0), ("one each connection", 1)):
        _measure(name, fresh, arguments.rate, arguments.seconds, arguments.lives, arguments.nice)
    return 0


def _measure(name: str, fresh: int, rate: float, seconds: float, lives: float, nice: int) -> None:
    with place() as at, tempfile.TemporaryDirectory() as folder:
        sink = at.start("peer", sys.executable, "-c", _SINK)
        output, script = Path(folder) / "watch.json", Path(folder) / "connects"
        script.write_text(_SOURCE)
        load = [sys.executable, str(script), str(rate), str(seconds), str(lives), at.peer, str(fresh)]
        with output.open("wb") as file, (Path(folder) / "said").open("wb") as said:
            watch = at.watch(file, said)
            os.setpriority(os.PRIO_PROCESS, watch.pid, nice)
            began = time.monotonic()
            made = at.start("host", *load, stdout=subprocess.PIPE).communicate()[0].decode().splitlines()
            passed = time.monotonic() - began
            time.sleep(0.5)
            watch.send_signal(signal.SIGTERM)
            watch.wait(30)
        spent = _recording(at, Path(folder), load, nice)
        sink.kill()
        remark = (Path(folder) / "said").read_text().strip().splitlines()[-1]
        flows = [json.loads(line) for line in output.read_text().splitlines()]
    # a port may come twice: each connection takes the flow of its port that began last before it was seen
    by_port: dict[int, list[dict[str, object]]] = {}
    for flow in flows:
        by_port.setdefault(flow["source_port"], []).append(flow)
    right = wrong = seen = 0
    delays = []
    for line in made:
        pid, port, since = line.split()
        named = [each for each in by_port.get(int(port), []) if abs(_named(each) - float(since)) < 5]
        seen += bool(named)
        if any(each["pid"] == int(pid) for each in named):
            right += 1
        else:
            wrong += any(each["pid"] is not None for each in named)
        delays += [max(_named(each) - float(since), 0) for each in named[:1]]
    p99 = quantiles(delays, n=100)[98]
    print(
        f"{name:<22} {len(made):>7,} {seen:>7,} {right / len(made):>8.2%} {wrong:>6} {median(delays) * 1000:>6.2f} ms"
        f" {p99 * 1000:>6.2f} ms {spent:>7.1%} {remark.rpartition(', ')[2]}"
        f"   ({len(made) / passed:.0f}/s, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)",
        flush=True,
    )


def _recording(at: Place, folder: Path, load: list[str], nice: int) -> float:
    """Return the share of one core that the service's command takes under a load."""
    state, config = folder / "state", folder / "fwfeed.toml"
    config.write_text(f'[paths]\nstate = "{state}"\n')
    watch = at.start("host", FWFEED, "--config", str(config), "--quiet", "watch", "--record")
    wait_until((state / "ledger.sqlite-wal").exists, "the ledger is open")
    time.sleep(0.5)
    os.setpriority(os.PRIO_PROCESS, watch.pid, nice)
    began, cpu = time.monotonic(), _cpu(watch.pid)
    at.start("host", *load, stdout=subprocess.DEVNULL).wait()
    spent = (_cpu(watch.pid) - cpu) / (time.monotonic() - began)
    watch.send_signal(signal.SIGTERM)
    watch.wait(30)
    return spent


def _named(flow: dict[str, object]) -> float:
    """Return when watch had the name."""
    from datetime import datetime

    return datetime.fromisoformat(str(flow["at"])).timestamp() + float(str(flow["delay"]))


def _cpu(pid: int) -> float:
    """Return the seconds a process has run; the ticks of /proc/PID/stat are too coarse for so few."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


if __name__ == "__main__":
    sys.exit(main())
