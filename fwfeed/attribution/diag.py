"""Ask the kernel for the socket of exactly one flow: NETLINK_SOCK_DIAG."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from fwfeed.netlink import ERROR, REQUEST, message, messages
from fwfeed.prefixes import Family

_PROTOCOL = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20
_NUMBERS = {"TCP": 6, "UDP": 17, "UDPLITE": 136}
_FAMILIES = {Family.IPV4: socket.AF_INET, Family.IPV6: socket.AF_INET6}
_LISTENING = 10
_EVERY_STATE = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8
_ANSWER = struct.Struct("!4xHH16s16s")
_OWNER = struct.Struct("=II")  # uid and inode, at the end of an inet_diag_msg
_OWNER_AT = 64
_MAPPED = b"\0" * 10 + b"\xff\xff"
_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket; `inode` is 0 where no process holds it any more, and `exact` whether it is of this flow alone."""

    inode: int
    uid: int
    exact: bool


class Diag:
    """A line to the kernel, of the network namespace in which it was made."""

    def __init__(self) -> None:
        self._channel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _PROTOCOL)
        self._channel.settimeout(_SECONDS)
        self._sequence = 0

    def find(
        self, protocol: str, family: Family, local: tuple[str, int], remote: tuple[str, int], out: int = 0
    ) -> Socket | None:
        """Return the socket by which a packet from `local` to `remote` was sent; None where there is none.

        `out` is the interface by which it left: a socket that is bound to one is found by that one alone, and what is
        in a VRF by none.
        """
        if protocol not in _NUMBERS:
            return None
        found = self._ask(protocol, family, local, remote, out)
        return self._ask(protocol, family, local, remote, 0) if found is None and out else found

    def _ask(
        self, protocol: str, family: Family, local: tuple[str, int], remote: tuple[str, int], out: int
    ) -> Socket | None:
        kind = _FAMILIES[family]
        here, there = (socket.inet_pton(kind, address) for address, _port in (local, remote))
        number = _NUMBERS[protocol]
        # asked for one UDP socket, the kernel takes source and destination the other way round (net/ipv4/udp_diag.c)
        ends = (local[1], remote[1], here, there) if number == 6 else (remote[1], local[1], there, here)
        self._sequence = self._sequence + 1 & 0x7FFFFFFF
        body = (
            struct.pack("=BBBBI", kind, number, 0, 0, _EVERY_STATE)
            + struct.pack("!HH16s16s", *ends)
            + struct.pack("=I", out)
            + _NO_COOKIE
        )
        try:
            self._channel.send(message(_BY_FAMILY, REQUEST, self._sequence, body))
            while True:
                for came, sequence, answer in messages(self._channel.recv(8192)):
                    if sequence == self._sequence:
                        return _socket(answer, local[1], (there, remote[1])) if came != ERROR else None
        except OSError:
            return None

    def close(self) -> None:
        """Hang up."""
        self._channel.close()


def _socket(answer: bytes, port: int, remote: tuple[bytes, int]) -> Socket | None:
    """Read an answer: of a connected socket the other end has to be ours, and a listening one sends nothing."""
    if len(answer) < _OWNER_AT + _OWNER.size:
        return None
    local_port, remote_port, _local, far = _ANSWER.unpack_from(answer)
    if local_port != port:
        return None
    if answer[1] == _LISTENING or (remote_port and (remote_port != remote[1] or _plain(far, answer[0]) != remote[0])):
        return None
    uid, inode = _OWNER.unpack_from(answer, _OWNER_AT)
    return Socket(inode, uid, exact=remote_port != 0)


def _plain(address: bytes, family: int) -> bytes:
    if family == socket.AF_INET:
        return address[:4]
    return address[12:] if address.startswith(_MAPPED) else address
