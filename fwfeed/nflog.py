"""Packets as the kernel hands them out over NFLOG, each the first of a connection: `Reader`, and the pure `parse`."""

from __future__ import annotations

import errno
import socket
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

from fwfeed import access
from fwfeed.errors import FwfeedError, printable
from fwfeed.flow import Direction, Flow
from fwfeed.netlink import ask, attribute, attributes, messages
from fwfeed.prefixes import Family, format_address

_PROTOCOL = 12  # NETLINK_NETFILTER
_PACKET = 4 << 8  # of NFNL_SUBSYS_ULOG
_CONFIG = _PACKET | 1
_BIND, _PF_BIND = 1, 3
_COMMAND, _MODE, _BUFFER, _TIMEOUT, _THRESHOLD, _FLAGS = 1, 2, 3, 4, 5, 6
_COPY_PACKET = 2
_NUMBERED = 1

_HEADER, _STAMP, _IN, _OUT, _PAYLOAD, _PREFIX, _UID, _NUMBER = 1, 3, 4, 5, 9, 10, 11, 12

_BYTES = 128  # the headers of any packet that makes sense
_ONE_SKB = 512  # the kernel's default is a page for each packet, and the socket would hold a tenth as many
_RECEIVE_BUFFER = 8 << 20
_MOST = 256

_LISTENERS = Path("/proc/net/netfilter/nfnetlink_log")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOBODY = (1 << 32) - 1
_NAMES = {1: "ICMP", 6: "TCP", 17: "UDP", 50: "ESP", 51: "AH", 58: "ICMPv6", 136: "UDPLITE"}
_WITH_PORTS = frozenset({6, 17, 33, 132, 136})
_ECHO = {1: 8, 58: 128}
_NEIGHBOURS = range(133, 137)  # types of ICMPv6 by which neighbours find each other
_EXTENSIONS = frozenset({0, 43, 60, 135, 139, 140})


@dataclass(frozen=True, slots=True)
class Packet:
    """A flow's first packet.

    `came` is when it was read, in seconds of time.time(); `echo` the identifier of an echo request, by which the kernel
    knows its socket; `number` counts the kernel's messages, so that a gap says how many were lost; `out` is the number
    of the interface by which it left, 0 where it did not.
    """

    flow: Flow
    came: float
    echo: int | None
    number: int | None
    out: int = 0


def is_listened_to(group: int, table: Path = _LISTENERS) -> bool | None:
    """Return whether anybody reads a group in this network namespace; None where that cannot be read (needs root).

    The table has a line for each group that somebody has bound, its number first (Linux, nfnetlink_log.c).
    """
    try:
        return any(int(line.split()[0]) == group for line in table.read_text(encoding="ascii").splitlines())
    except (OSError, ValueError, IndexError):
        return None


def parse(body: bytes, came: float) -> Packet | None:
    """Read one message of NFLOG; None where it has no IP packet in it, a broken one, or no flow."""
    return _packet(attributes(body, 4), came)


def _packet(found: dict[int, bytes], came: float) -> Packet | None:
    headers = _headers(found.get(_PAYLOAD, b""))
    if headers is None:
        return None
    family, number, source, destination, from_port, to_port, echo = headers
    went, entered = _index(found.get(_OUT)), _index(found.get(_IN))
    if not (went or entered):
        return None
    uid = _integer(found.get(_UID))
    return Packet(
        Flow(
            at=_at(found.get(_STAMP), came),
            family=family,
            protocol=_NAMES.get(number, str(number)),
            source=source,
            destination=destination,
            source_port=from_port,
            destination_port=to_port,
            direction=Direction.OUT if not entered else Direction.FORWARDED if went else Direction.IN,
            interface=_interface(went or entered, int(came) // 10),
            uid=None if uid == _NOBODY else uid,
            prefix=printable(found.get(_PREFIX, b"").split(b"\0")[0].decode(errors="replace")),
        ),
        came,
        echo,
        _integer(found.get(_NUMBER)),
        went,
    )


def _headers(raw: bytes) -> tuple[Family, int, str, str, int | None, int | None, int | None] | None:
    if len(raw) < 20:
        return None
    if raw[0] >> 4 == 4:
        family, start = Family.IPV4, (raw[0] & 15) * 4
        protocol = raw[9]
        whole = (raw[6] << 8 | raw[7]) & 0x1FFF == 0  # not a later fragment
        source, destination = _address(raw[12:16]), _address(raw[16:20])
        if start < 20:
            return None
    elif raw[0] >> 4 == 6 and len(raw) >= 40:
        family = Family.IPV6
        source, destination = _address(raw[8:24]), _address(raw[24:40])
        protocol, start, whole = _behind_extensions(raw)
    else:
        return None
    if whole and protocol == 58 and len(raw) > start and raw[start] in _NEIGHBOURS:
        return None
    from_port = to_port = echo = None
    if whole and protocol in _WITH_PORTS and len(raw) >= start + 4:
        from_port, to_port = raw[start] << 8 | raw[start + 1], raw[start + 2] << 8 | raw[start + 3]
    elif whole and protocol in _ECHO and len(raw) >= start + 6 and raw[start] == _ECHO[protocol]:
        echo = raw[start + 4] << 8 | raw[start + 5]
    return family, protocol, source, destination, from_port, to_port, echo


@lru_cache(maxsize=4096)
def _address(raw: bytes) -> str:
    return format_address(int.from_bytes(raw, "big"), Family.IPV4 if len(raw) == 4 else Family.IPV6)


def _behind_extensions(raw: bytes) -> tuple[int, int, bool]:
    """Return the protocol behind the extension headers, where it starts, and whether it can be read there."""
    protocol, start = raw[6], 40
    while protocol in _EXTENSIONS or protocol == 44:
        if len(raw) < start + 8:
            return protocol, start, False
        if protocol == 44:
            if (raw[start + 2] << 8 | raw[start + 3]) & 0xFFF8:
                return raw[start], start, False
            protocol, start = raw[start], start + 8
        else:
            protocol, start = raw[start], start + 8 * (raw[start + 1] + 1)
    return protocol, start, True


def _integer(value: bytes | None) -> int | None:
    return int.from_bytes(value, "big") if value is not None and len(value) == 4 else None


def _index(value: bytes | None) -> int:
    return _integer(value) or 0


def _at(stamp: bytes | None, came: float) -> datetime:
    """Return the kernel's stamp, which what came in has; what this host sends has none, but is handed out at once."""
    if stamp is not None and len(stamp) == 16:
        seconds, micros = struct.unpack("!QQ", stamp)
        if abs(seconds - came) < 3600 and micros < 1_000_000:
            return _EPOCH + timedelta(seconds=seconds, microseconds=micros)
    return _EPOCH + timedelta(seconds=came)


@lru_cache(maxsize=256)
def _interface(index: int, _while: int) -> str:
    """Return the name of an interface, anew every ten seconds."""
    try:
        return printable(socket.if_indextoname(index))
    except OSError:
        return str(index)


class Reader:
    """A group's packets, as they come; `lost` counts those that the kernel could not hand out."""

    def __init__(self, group: int) -> None:
        """Listen to the group. Raises FwfeedError."""
        self.lost = 0
        self._next: int | None = None
        self._overrun = False
        self._channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _PROTOCOL)
        try:
            self._listen(group)
        except FwfeedError:
            self._channel.close()
            raise
        except OSError as error:
            self._channel.close()
            message = f"cannot listen to NFLOG group {group}: {error.strerror}"
            way_out = access.as_root(access.WITHOUT_NET_ADMIN) if error.errno == errno.EPERM else ""
            raise FwfeedError(message, way_out) from None

    def _listen(self, group: int) -> None:
        channel = self._channel
        channel.bind((0, 0))
        # past the host's limit, as a burst of connections is when it counts
        for option in (socket.SO_RCVBUF, getattr(socket, "SO_RCVBUFFORCE", 33)):
            try:
                channel.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BUFFER)
            except PermissionError:
                continue
        for sequence, family in enumerate((socket.AF_INET, socket.AF_INET6), 1):
            ask(channel, _CONFIG, sequence, _about(0, _command(_PF_BIND), family))
        try:
            ask(channel, _CONFIG, 3, _about(group, _command(_BIND)))
        except OSError as error:
            # whose it is already; that it is allowed at all was seen above
            if error.errno not in {errno.EPERM, errno.EBUSY}:
                raise
            message = f"another program listens to NFLOG group {group}"
            way_out = "only one can listen; what fwfeed-watch.service sees: fwfeed report --since 1h; or stop it"
            raise FwfeedError(message, way_out) from None
        ask(
            channel,
            _CONFIG,
            4,
            _about(
                group,
                attribute(_MODE, struct.pack("!IBx", _BYTES, _COPY_PACKET))
                + attribute(_BUFFER, struct.pack("!I", _ONE_SKB))
                + attribute(_TIMEOUT, struct.pack("!I", 0))
                + attribute(_THRESHOLD, struct.pack("!I", 1))
                + attribute(_FLAGS, struct.pack("!H", _NUMBERED)),
            ),
        )
        channel.setblocking(False)  # noqa: FBT003 - positional alone

    def fileno(self) -> int:
        """Return what to poll."""
        return self._channel.fileno()

    def read(self) -> list[Packet]:
        """Return what has come, up to a few hundred packets, without waiting."""
        found: list[Packet] = []
        while len(found) < _MOST:
            try:
                raw = self._channel.recv(65536)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._overrun = True
                continue
            came = time.time()
            for kind, _sequence, body in messages(raw):
                if kind == _PACKET:
                    fields = attributes(body, 4)
                    self._count(_integer(fields.get(_NUMBER)))
                    if (packet := _packet(fields, came)) is not None:
                        found.append(packet)
        return found

    def _count(self, number: int | None) -> None:
        if number is not None:
            if self._next is not None and number != self._next:
                self.lost += number - self._next & 0xFFFFFFFF
                self._overrun = False
            self._next = number + 1 & 0xFFFFFFFF

    def close(self) -> None:
        """Stop listening."""
        if self._overrun:  # and nothing came since, to say how many
            self.lost += 1
            self._overrun = False
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def _command(command: int) -> bytes:
    return attribute(_COMMAND, bytes((command,)))


def _about(group: int, body: bytes, family: int = socket.AF_UNSPEC) -> bytes:
    return struct.pack("!BBH", family, 0, group) + body
