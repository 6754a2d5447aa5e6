"""What is known of foreign connections: where one went, and who sent it. Pure.

A flow is one connection, told by its first packet. Where they come from is the business of `kernlog` and `nflog`, who
sent them that of `attribution`, and keeping them that of `ledger`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fwfeed.prefixes import Family


class Direction(StrEnum):
    """Which way a flow goes, as seen from this host."""

    OUT = "out"
    FORWARDED = "forwarded"
    IN = "in"


class Known(StrEnum):
    """How it is known who sent a flow."""

    SOCKET = "socket"  # the process that holds the socket of exactly this flow
    USER = "user"  # no process was found that holds the socket: only whose it was
    SUSPECTS = "suspects"  # no socket can match (ICMP, raw): who holds raw sockets
    NAMESPACE = "namespace"  # forwarded: the container or namespace that has the address
    NOT = "not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What flows have in common that differ in time and source port alone.

    Addresses are canonical text, `protocol` is a name as in TCP, UDP, ICMP or ICMPv6, or a number. `destination_port`
    is None where the protocol has none. `interface` is the one it left by (came in by, for IN). `uid` is the
    kernel's word on the sender, None where it gave none; `prefix` the log prefix.
    """

    family: Family
    protocol: str
    source: str
    destination: str
    destination_port: int | None
    direction: Direction
    interface: str
    uid: int | None
    prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow(Kind):
    """One connection, by its first packet; `at` is in UTC."""

    at: datetime
    source_port: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sent a flow, as far as it is known; empty texts and None are not known.

    `executable` is a path, without the mark of a deleted file, which `deleted` tells. `command` is the command line as
    one text. `unit` is systemd's, `container` a name or id. `parents` are the executables of the chain of parents, the
    nearest first. `package` owns the executable, as rpm -qf says. `suspects` are the holders of raw sockets, as text.
    Nothing of it is trusted: whoever attacks chooses names and arguments.
    """

    known: Known
    pid: int | None = None
    executable: str = ""
    deleted: bool = False
    command: str = ""
    user: str = ""
    unit: str = ""
    container: str = ""
    started: datetime | None = None
    parents: tuple[str, ...] = ()
    package: str = ""
    suspects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A flow and who sent it; `delay` is the seconds from the packet to the name, None where that was not measured."""

    flow: Flow
    sender: Sender
    delay: float | None = None
