"""A host, a peer abroad and a container in namespaces, and a rule that hands the host's new flows to NFLOG.

container (192.0.2.130, 2001:db8:3::2) --- host (203.0.113.1, 2001:db8:2::1) --- peer (203.0.113.2, 2001:db8:2::2)
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tests import needs
from tests.lab.namespaces import batch, tagged

FWFEED = str(Path(sys.executable).with_name("fwfeed"))
GROUP = 243

_RULES = f"""
table inet fwfeed-test {{
    chain output {{
        type filter hook output priority 0
        ct state new ip daddr 203.0.113.0/24 jump seen
        ct state new ip6 daddr 2001:db8:2::/48 jump seen
    }}
    chain forward {{
        type filter hook forward priority 0
        ct state new jump seen
    }}
    chain seen {{
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} return
        log prefix "OUTBOUND_FOREIGN " group {GROUP}
        log prefix "OUTBOUND_FOREIGN " level info
    }}
}}
"""


def missing() -> str:
    """Say what keeps it from running here, or nothing."""
    return needs.networking() or needs.kernel_log() or needs.program("nc", "ping", hint="tests/setup lab, as root")


@dataclass
class Place:
    """What `place` made."""

    tag: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    peer: str = "203.0.113.2"
    peer6: str = "2001:db8:2::2"

    def namespace(self, name: str) -> str:
        return f"fwfeed-{self.tag}-{name}"

    def command(self, name: str, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace(name), *command]

    def start(self, name: str, *command: str, **how: Any) -> subprocess.Popen[bytes]:
        """Start a program in a namespace; its PID is that of the program itself, as ip becomes it."""
        process = subprocess.Popen(self.command(name, *command), **how)
        self.processes.append(process)
        return process

    def run(self, name: str, *command: str, **how: Any) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.command(name, *command), check=False, capture_output=True, timeout=60, **how)

    def watch(
        self, output: IO[bytes], said: IO[bytes], *options: str, config: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start fwfeed watch on the host and wait until it listens."""
        configured = [] if config is None else ["--config", str(config)]
        process = self.start(
            "host", FWFEED, *configured, "watch", *(options or ("--json", "--verbose")), stdout=output, stderr=said
        )
        wait_until(lambda: b"listening" in Path(said.name).read_bytes(), "fwfeed watch listens")
        return process


@dataclass
class Watching:
    """A running fwfeed watch, and what it has shown."""

    at: Place
    process: subprocess.Popen[bytes]
    output: Path
    said: Path

    def flows(self) -> list[dict[str, Any]]:
        whole = self.output.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def flow(self, **wanted: Any) -> dict[str, Any]:
        """Wait for the one flow with these values."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [each for each in self.flows() if all(each[name] == value for name, value in wanted.items())]
            return bool(found)

        wait_until(there, f"a flow with {wanted}; there are {self.flows()}")
        assert len(found) == 1, found
        return found[0]

    def end(self) -> str:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        return self.said.read_text()


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)


@contextmanager
def place() -> Iterator[Place]:
    with tagged() as tag:
        at = Place(tag)
        names = [at.namespace(name) for name in ("host", "peer", "container")]
        batch(*(f"netns add {name}" for name in names))
        host, peer, container = names
        batch(
            f"link add fw{tag}p type veth peer name eth0 netns {peer}",
            f"link add fw{tag}c type veth peer name eth0 netns {container}",
            "link set lo up",
            f"address add 203.0.113.1/25 dev fw{tag}p",
            f"address add 2001:db8:2::1/64 dev fw{tag}p nodad",
            f"address add 192.0.2.129/25 dev fw{tag}c",
            f"address add 2001:db8:3::1/64 dev fw{tag}c nodad",
            f"link set fw{tag}p up",
            f"link set fw{tag}c up",
            namespace=host,
        )
        for name, ipv4, gateway, ipv6 in (
            (peer, "203.0.113.2", "203.0.113.1", "2001:db8:2"),
            (container, "192.0.2.130", "192.0.2.129", "2001:db8:3"),
        ):
            batch(
                "link set lo up",
                f"address add {ipv4}/25 dev eth0",
                f"address add {ipv6}::2/64 dev eth0 nodad",
                "link set eth0 up",
                f"route add default via {gateway}",
                f"route add default via {ipv6}::1",
                namespace=name,
            )
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.ping_group_range=0 0"):
            at.run("host", "sysctl", "-qw", setting)
        done = at.run("host", "nft", "-f", "-", input=_RULES.encode())
        assert done.returncode == 0, done.stderr
        try:
            yield at
        finally:
            for process in at.processes:
                process.kill()
                process.wait()
                for stream in (process.stdin, process.stdout, process.stderr):
                    if stream is not None:
                        stream.close()
