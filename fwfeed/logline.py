"""Read what the kernel logs of a packet: `PREFIXIN= OUT=eth0 SRC=... DST=... PROTO=TCP SPT=... DPT=...`.

Whoever attacks can get text of his into a log. So a line counts only where the kernel's message begins with the prefix,
and goes on as nf_log_syslog writes it, field by field; all else is no flow, and never an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from fwfeed.flow import Direction, Kind
from fwfeed.prefixes import Family, format_address, parse_ipv4, parse_ipv6

LONGEST = 2048
"""A longer line is none of the kernel's: a record of its log has less than 1 KiB, and syslog adds time and host."""

Line = tuple[int, int | None, Kind]
"""What a line tells of a flow: when it began, in microseconds since 1970, its source port, and all else.

Lines that differ in nothing else mostly share one Kind: to make a Flow of each would take longer than to read it.
"""
Read = Callable[[bytes], Line | None]

_KINDS = 16_384
_NAME = rb"([!-.0-~]{0,15})"  # of an interface: no space and no slash
_match = re.compile(
    rb"IN=" + _NAME + rb" OUT=" + _NAME + rb" "
    rb"(?:(?:PHYSIN|PHYSOUT|MAC|MACSRC|MACDST|MACPROTO)=[!-~]* ){0,6}"
    rb"SRC=([0-9A-Fa-f.:]{2,39}) DST=([0-9A-Fa-f.:]{2,39}) LEN=[0-9]{1,5} "
    rb"(?:TOS=0x[0-9A-F]{2} PREC=0x[0-9A-F]{2} TTL=[0-9]{1,3} ID=[0-9]{1,5}"
    rb"|TC=[0-9]{1,3} HOPLIMIT=[0-9]{1,3} FLOWLBL=[0-9]{1,7}) "
    rb"(?:[ -<>-Z]{1,120} |AH SPI=0x[0-9a-f]{8} )?"  # no field, but words as DF, FRAG:8 or OPT (...)
    rb"PROTO=([A-Za-z0-9]{1,8})(?: SPT=([0-9]{1,5}) DPT=([0-9]{1,5}))?((?: [ -~]*)?)"
).fullmatch
_neighbours = re.compile(rb" TYPE=13[3-6](?: |$)").match  # how those of IPv6 find each other: no flow
_uid = re.compile(rb" UID=([0-9]{1,10}) GID=[0-9]{1,10}(?: |$)").match
_repeated = re.compile(rb" (?:IN|OUT|SRC|DST|PROTO|SPT|DPT)=").search
_stamp = re.compile(rb'"__REALTIME_TIMESTAMP" ?: ?"([0-9]{1,16})"').search
_number = re.compile("[0-9]{1,16}", re.ASCII).fullmatch
_MESSAGE, _KERNEL = b'"MESSAGE":"', b'"_TRANSPORT":"kernel"'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NOBODY = (1 << 32) - 1
# not strftime's, which are the locale's
_MONTHS = dict(zip(re.findall("...", "JanFebMarAprMayJunJulAugSepOctNovDec"), range(1, 13), strict=True))


def microseconds(moment: datetime) -> int:
    """Return a moment as a Line has it."""
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(microseconds: int) -> datetime:
    """Return the moment that a Line has."""
    return _EPOCH + microseconds * _MICROSECOND


def stamp_of(entry: bytes) -> int | None:
    """Return when an entry of `journalctl -o json` was made, as a Line has it, or None."""
    found = _stamp(entry)
    return None if found is None else int(found[1])


def parse(line: bytes, at: int, prefixes: tuple[bytes, ...], start: int = 0, end: int = 1 << 30) -> Line | None:
    """Read a message of the kernel's, from `start` to `end` of a line; None where it is none of these prefixes."""
    if min(end, len(line)) - start > LONGEST:
        return None
    for prefix in prefixes:
        if line.startswith(prefix, start) and (found := _match(line, start + len(prefix), end)) is not None:
            came, went, source, destination, protocol, from_port, to_port, rest = found.groups()
            kind = _kind(prefix, came, went, source, destination, protocol, to_port, rest)
            port = None if from_port is None else int(from_port)
            return None if kind is None or (port or 0) > 65535 else (at, port, kind)
    return None


@lru_cache(maxsize=_KINDS)
def _kind(
    prefix: bytes,
    came: bytes,
    went: bytes,
    from_address: bytes,
    to_address: bytes,
    protocol: bytes,
    to_port: bytes | None,
    rest: bytes,
) -> Kind | None:
    source, family = _address(from_address)
    destination, other = _address(to_address)
    if not source or not destination or family is not other or not (came or went):
        return None
    if protocol == b"ICMPv6" and _neighbours(rest):
        return None
    if b"[" in rest:  # an ICMP error quotes the packet that it is about
        head, _bracket, quoted = rest.partition(b"[")
        rest = head + quoted.rpartition(b"]")[2]
    if _repeated(rest):
        return None
    uid = None
    if (place := rest.find(b" UID=")) >= 0:
        named = _uid(rest, place)
        if named is None or rest.find(b" UID=", place + 1) >= 0:
            return None
        uid = int(named[1])
        if uid >= _NOBODY:
            return None
    port = None if to_port is None else int(to_port)
    if (port or 0) > 65535:
        return None
    return Kind(
        family=family,
        protocol=protocol.decode(),
        source=source,
        destination=destination,
        destination_port=port,
        direction=Direction.OUT if not came else Direction.FORWARDED if went else Direction.IN,
        interface=(went or came).decode(),
        uid=uid,
        prefix=prefix.decode(),
    )


@lru_cache(maxsize=_KINDS)
def _address(raw: bytes) -> tuple[str, Family]:
    """Return an address in canonical form, which is empty where it is none."""
    text = raw.decode()
    try:
        if ":" in text:
            return format_address(parse_ipv6(text), Family.IPV6), Family.IPV6
        parse_ipv4(text)
    except ValueError:
        return "", Family.IPV4
    return text, Family.IPV4


def of_journal(prefixes: tuple[str, ...]) -> Read:
    """Return what reads a line of `journalctl -o json`. The kernel's own word is what has _TRANSPORT=kernel."""
    marks = tuple(prefix.encode() for prefix in prefixes)
    plain = all(json.dumps(prefix) == f'"{prefix}"' for prefix in prefixes)

    def read(line: bytes) -> Line | None:
        if not plain:
            return _entry(line, marks)
        start = line.find(_MESSAGE)
        # without an escape, each quote begins or ends a text: none of these can be a part of one
        if start >= 0 and b"\\" not in line and line.endswith((b'"}', b'"}\n')):
            start += len(_MESSAGE)
            if not line.startswith(marks, start) or _KERNEL not in line or (stamp := stamp_of(line)) is None:
                return None
            return parse(line, stamp, marks, start, line.index(b'"', start))
        # most of a journal is not worth reading
        return _entry(line, marks) if any(mark in line for mark in marks) else None

    return read


def _entry(line: bytes, marks: tuple[bytes, ...]) -> Line | None:
    """Read an entry of the journal, however its JSON is written."""
    try:
        entry = json.loads(line)
        message, stamp = entry["MESSAGE"], entry["__REALTIME_TIMESTAMP"]
        if entry["_TRANSPORT"] != "kernel" or not _number(stamp):
            return None
        return parse(message.encode("ascii"), int(stamp), marks)
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):  # other fields, or no JSON at all
        return None


def of_syslog(prefixes: tuple[str, ...], now: datetime) -> Read:
    """Return what reads a line of /var/log/messages, with a stamp of RFC 3339 or of old (`Jul  1 12:34:56`).

    A stamp of old has neither year nor zone: it is the host's own, and the last one that is not after `now`. Who may
    write to syslog can call himself the kernel: the journal knows better.
    """
    stamped = re.compile(
        rb"([A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2}|[0-9]{4}-[0-9-]{5}T[0-9:.]{8,15}(?:Z|[+-][0-9:]{5}))"
        rb" [!-~]{1,255} kernel: (?:\[ *[0-9]{1,10}\.[0-9]{6}\] ?)?(?=" + _either(prefixes) + rb")"
    ).match
    return _text(stamped, _syslog_time(now), prefixes)


def of_dmesg(prefixes: tuple[str, ...], booted: datetime) -> Read:
    """Return what reads a line of dmesg: with seconds since `booted`, of --ctime, or of --time-format iso."""
    stamped = re.compile(
        rb"(\[ *[0-9]{1,10}\.[0-9]{6}\]|\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4}\]"
        rb"|[0-9]{4}-[0-9-]{5}T[0-9:]{8},[0-9]{6}[+-][0-9:]{5}) (?=" + _either(prefixes) + rb")"
    ).match
    return _text(stamped, lambda stamp: _dmesg_time(stamp, booted), prefixes)


def lines_of(lines: Iterable[bytes], read: Read) -> Iterator[Line]:
    """Yield what lines tell of flows."""
    for line in lines:
        if len(line) <= 4 * LONGEST and (found := read(line)) is not None:
            yield found


def _either(prefixes: tuple[str, ...]) -> bytes:
    return b"|".join(re.escape(prefix.encode()) for prefix in prefixes)


def _text(
    stamped: Callable[[bytes], re.Match[bytes] | None],
    time: Callable[[bytes], datetime | None],
    prefixes: tuple[str, ...],
) -> Read:
    marks = tuple(prefix.encode() for prefix in prefixes)

    def read(line: bytes) -> Line | None:
        found = stamped(line)
        if found is None or (at := time(found[1])) is None:
            return None
        return parse(line.rstrip(b"\r\n"), microseconds(at), marks, found.end())

    return read


def _syslog_time(now: datetime) -> Callable[[bytes], datetime | None]:
    @lru_cache(maxsize=1024)
    def minute(stamp: str) -> datetime | None:
        month, day, clock = stamp.split()
        hour, minute = map(int, clock.split(":"))
        local = now.astimezone()
        # a clock may be put back a little; four years, for a 29th of February
        for year in range(local.year + 1, local.year - 5, -1):
            try:
                at = datetime(year, _MONTHS[month], int(day), hour, minute).astimezone(UTC)
            except ValueError:
                continue
            if at <= now + timedelta(days=1):
                return at
        return None

    def read(stamp: bytes) -> datetime | None:
        text = stamp.decode("ascii")
        try:
            if text[0].isdigit():
                return datetime.fromisoformat(text).astimezone(UTC)
            begun = minute(text[:-3])
            return None if begun is None else begun + timedelta(seconds=int(text[-2:]))
        except (KeyError, OverflowError, ValueError):
            return None

    return read


def _dmesg_time(stamp: bytes, booted: datetime) -> datetime | None:
    text = stamp.decode("ascii").strip("[] ")
    try:
        if text[0].isalpha():
            _weekday, month, day, clock, year = text.split()
            hour, minute, second = map(int, clock.split(":"))
            return datetime(int(year), _MONTHS[month], int(day), hour, minute, min(second, 59)).astimezone(UTC)
        if "T" in text:
            return datetime.fromisoformat(text).astimezone(UTC)
        return booted + timedelta(seconds=float(text))
    except (KeyError, OverflowError, ValueError):
        return None
