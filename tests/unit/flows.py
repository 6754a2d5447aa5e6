"""Flows, made by hand: of a web server, and of what somebody put on it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from fwfeed.flow import Direction, Flow, Kind, Known, Sender, Sent
from fwfeed.ledger import Ledger
from fwfeed.logline import Line, microseconds, moment_of
from fwfeed.prefixes import Family
from fwfeed.tally import Key, Sum, fold, milliseconds

NOW = datetime(2026, 11, 25, 7, 38, 33, tzinfo=UTC)


def flow(**values: Any) -> Flow:
    """Return a flow to 203.0.113.2, port 443; `values` are what is different."""
    destination = values.get("destination", "203.0.113.2")
    standard: dict[str, Any] = {
        "at": NOW - timedelta(hours=1),
        "family": Family.IPV6 if ":" in destination else Family.IPV4,
        "protocol": "TCP",
        "source": "198.51.100.1",
        "destination": destination,
        "source_port": 40000,
        "destination_port": 443,
        "direction": Direction.OUT,
        "interface": "eth0",
        "uid": 1000,
        "prefix": "OUTBOUND_FOREIGN ",
    }
    return Flow(**{**standard, **values})


def logged(flow: Flow) -> Line:
    """Return what a log tells of a flow."""
    return microseconds(flow.at), flow.source_port, flow


def flow_of(line: Line) -> Flow:
    """Return the flow that a line of a log tells of."""
    at, port, kind = line
    shared = {field.name: getattr(kind, field.name) for field in fields(Kind)}
    return Flow(at=moment_of(at), source_port=port, **shared)


def counted(flows: Iterable[Sent]) -> dict[Key, Sum]:
    """Count flows."""
    return fold((milliseconds(each.flow.at), each.flow, each.sender) for each in flows)


def record(ledger: Ledger, flows: Iterable[Sent], *, watched: tuple[datetime, datetime] | None = None) -> None:
    """Have a ledger count flows."""
    ledger.count(counted(flows), watched=watched)


def sender(executable: str = "/usr/bin/curl", **values: Any) -> Sender:
    """Return a sender whose socket is known; `values` are what is different."""
    return Sender(**{"known": Known.SOCKET, "executable": executable, **values})


def sent(who: Sender | None = None, **values: Any) -> Sent:
    """Return a flow by a sender."""
    return Sent(flow=flow(**values), sender=sender() if who is None else who)


PROGRAMS: tuple[tuple[int, Sender, dict[str, Any]], ...] = (
    (
        40,
        sender(
            "/usr/sbin/php-fpm",
            unit="php-fpm.service",
            user="apache",
            package="php-fpm-8.3.6",
            command="php-fpm: pool www",
        ),
        {"uid": 48},
    ),
    (
        25,
        sender(
            "/usr/bin/python3.12",
            unit="dnf-makecache.service",
            user="root",
            package="python3-3.12.5",
            command="/usr/bin/python3 /usr/bin/dnf makecache --timer",
        ),
        {"uid": 0},
    ),
    (
        8,
        sender(
            "/usr/bin/python3.12",
            unit="certbot-renew.service",
            user="root",
            package="python3-3.12.5",
            command="/usr/bin/python3 /usr/bin/certbot renew --quiet",
        ),
        {"uid": 0},
    ),
    (
        30,
        sender(
            "/usr/sbin/chronyd", unit="chronyd.service", user="chrony", package="chrony-4.6", command="chronyd -F 2"
        ),
        {"uid": 995, "protocol": "UDP", "destination_port": 123},
    ),
    (
        30,
        sender(
            "/usr/sbin/unbound", unit="unbound.service", user="unbound", package="unbound-1.20", command="unbound -d"
        ),
        {"uid": 994, "protocol": "UDP", "destination_port": 53},
    ),
    (
        60,
        sender(
            "/tmp/.x/kworkerds",
            unit="evil.service",
            user="apache",
            deleted=True,
            command="/tmp/.x/kworkerds -o stratum+tcp://203.0.113.66:3333 -u <script>alert(1)</script> \x1b[31m",
        ),
        {"uid": 48, "destination_port": 3333},
    ),
    (6, Sender(known=Known.USER, user="apache"), {"uid": 48}),
    (
        4,
        Sender(known=Known.SUSPECTS, suspects=("/usr/bin/nping (pid 4711)",)),
        {"uid": 0, "protocol": "ICMP", "destination_port": None},
    ),
    (
        10,
        Sender(known=Known.NAMESPACE, container="nextcloud"),
        {"direction": Direction.FORWARDED, "source": "10.88.0.7"},
    ),
    (2, Sender(known=Known.NOT), {"uid": None, "destination": "2001:db8:2::53", "destination_port": 853}),
)


def week(number: int, *, addresses: int = 60, days: int = 7, seed: int = 3) -> list[Sent]:
    """Return the flows of some days before NOW, with a rhythm of their own and something new since yesterday."""
    rng = random.Random(seed)
    weights = [weight for weight, _who, _values in PROGRAMS]
    flows = []
    for _ in range(number):
        _weight, who, values = rng.choices(PROGRAMS, weights)[0]
        back = rng.random() * days * 86400
        if who.unit == "evil.service":
            back = rng.random() * 20 * 3600
        at = NOW - timedelta(seconds=back)
        if at.hour < 7 and rng.random() < 0.6 and who.unit != "evil.service":
            continue
        destination = f"203.0.113.{2 + int(rng.paretovariate(0.7)) % addresses}"
        if who.unit == "evil.service":
            destination = f"203.0.113.{200 + rng.randrange(6)}"
        flows.append(sent(who, **{"at": at, "destination": destination, **values}))
    return flows
