"""The little of netlink that fwfeed speaks: a message out, messages in, attributes; all bounds are checked."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

REQUEST, ACKNOWLEDGE, DUMP = 1, 4, 0x300
ERROR, DONE = 2, 3

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_KIND = 0x3FFF  # without the marks of nested and big-endian


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Return a message."""
    return HEADER.pack(HEADER.size + len(body), kind, flags, sequence, 0) + body


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute, with what fills it up."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def messages(raw: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield kind, sequence and body of each whole message."""
    position, end = 0, len(raw)
    while end - position >= HEADER.size:
        length, kind, _flags, sequence, _port = HEADER.unpack_from(raw, position)
        if not HEADER.size <= length <= end - position:
            return
        yield kind, sequence, raw[position + HEADER.size : position + length]
        position += length + 3 & ~3


def attributes(raw: bytes, start: int) -> dict[int, bytes]:
    """Return the attributes from an offset on; of one that comes twice the first, and none after a broken one."""
    found: dict[int, bytes] = {}
    position, end = start, len(raw)
    while end - position >= 4:
        length, kind = _ATTRIBUTE.unpack_from(raw, position)
        if not 4 <= length <= end - position:
            break
        found.setdefault(kind & _KIND, raw[position + 4 : position + length])
        position += length + 3 & ~3
    return found


def errno_of(body: bytes) -> int:
    """Return what an ERROR message says: 0 is an acknowledgement."""
    return -int(_ERRNO.unpack_from(body)[0]) if len(body) >= _ERRNO.size else 0


def ask(channel: socket.socket, kind: int, sequence: int, body: bytes) -> None:
    """Send a request and wait for its acknowledgement. Raises OSError with what the kernel says."""
    channel.send(message(kind, REQUEST | ACKNOWLEDGE, sequence, body))
    while True:
        for came, number, answer in messages(channel.recv(65536)):
            if came == ERROR and number == sequence:
                if code := errno_of(answer):
                    raise OSError(code, os.strerror(code))
                return
