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
from typing import Any

from fwfeed.flow import Direction, Flow
from fwfeed.prefixes import Family, format_address, parse_ipv4, parse_ipv6

LONGEST = 2048
"""A longer line is none of the kernel's: a record of its log has less than 1 KiB, and syslog adds time and host."""

Read = Callable[[bytes], Flow | None]

_NAME = r"([!-.0-~]{0,15})"  # of an interface: no space and no slash
_match = re.compile(
    rf"IN={_NAME} OUT={_NAME} "
    r"(?:(?:PHYSIN|PHYSOUT|MAC|MACSRC|MACDST|MACPROTO)=[!-~]* ){0,6}"
    r"SRC=([0-9A-Fa-f.:]{2,39}) DST=([0-9A-Fa-f.:]{2,39}) LEN=[0-9]{1,5} "
    r"(?:TOS=0x[0-9A-F]{2} PREC=0x[0-9A-F]{2} TTL=[0-9]{1,3} ID=[0-9]{1,5}"
    r"|TC=[0-9]{1,3} HOPLIMIT=[0-9]{1,3} FLOWLBL=[0-9]{1,7}) "
    r"(?:[ -<>-Z]{1,120} |AH SPI=0x[0-9a-f]{8} )?"  # no field, but words as DF, FRAG:8 or OPT (...)
    r"PROTO=([A-Za-z0-9]{1,8})(?: SPT=([0-9]{1,5}) DPT=([0-9]{1,5}))?((?: [ -~]*)?)",
    re.ASCII,
).fullmatch
_neighbours = re.compile(r" TYPE=13[3-6](?: |$)", re.ASCII).match  # how those of IPv6 find each other: no flow
_uid = re.compile(r" UID=([0-9]{1,10}) GID=[0-9]{1,10}(?: |$)", re.ASCII).match
_repeated = re.compile(r" (?:IN|OUT|SRC|DST|PROTO|SPT|DPT)=").search
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOBODY = (1 << 32) - 1
# not strftime's, which are the locale's
_MONTHS = dict(zip(re.findall("...", "JanFebMarAprMayJunJulAugSepOctNovDec"), range(1, 13), strict=True))


def parse(message: str, at: datetime, prefixes: tuple[str, ...]) -> Flow | None:
    """Read one message of the kernel's; None where it is no line of these prefixes."""
    if not message.startswith(prefixes) or len(message) > LONGEST:
        return None
    for prefix in prefixes:
        if message.startswith(prefix):
            found = _match(message, len(prefix))
            if found is not None:
                return _flow(found, at, prefix)
    return None


def _flow(found: re.Match[str], at: datetime, prefix: str) -> Flow | None:
    came, went, source, destination, protocol, from_port, to_port, rest = found.groups()
    source, family = _address(source)
    destination, other = _address(destination)
    if not source or not destination or family is not other or not (came or went):
        return None
    if protocol == "ICMPv6" and _neighbours(rest):
        return None
    if "[" in rest:  # an ICMP error quotes the packet that it is about
        head, _bracket, quoted = rest.partition("[")
        rest = head + quoted.rpartition("]")[2]
    if _repeated(rest):
        return None
    uid = None
    if (place := rest.find(" UID=")) >= 0:
        named = _uid(rest, place)
        if named is None or rest.find(" UID=", place + 1) >= 0:
            return None
        uid = int(named[1])
        if uid >= _NOBODY:
            return None
    source_port = None if from_port is None else int(from_port)
    destination_port = None if to_port is None else int(to_port)
    if max(source_port or 0, destination_port or 0) > 65535:
        return None
    return Flow(
        at=at,
        family=family,
        protocol=protocol,
        source=source,
        destination=destination,
        source_port=source_port,
        destination_port=destination_port,
        direction=Direction.OUT if not came else Direction.FORWARDED if went else Direction.IN,
        interface=went or came,
        uid=uid,
        prefix=prefix,
    )


@lru_cache(maxsize=65536)
def _address(text: str) -> tuple[str, Family]:
    """Return an address in canonical form, which is empty where it is none."""
    try:
        if ":" in text:
            return format_address(parse_ipv6(text), Family.IPV6), Family.IPV6
        parse_ipv4(text)
    except ValueError:
        return "", Family.IPV4
    return text, Family.IPV4


def of_journal(prefixes: tuple[str, ...]) -> Read:
    """Return what reads a line of `journalctl -o json`. The kernel's own word is what has _TRANSPORT=kernel."""
    plain = all(json.dumps(prefix) == f'"{prefix}"' for prefix in prefixes)
    marks = tuple(prefix.encode() for prefix in prefixes)

    def read(line: bytes) -> Flow | None:
        if plain and not any(mark in line for mark in marks):  # most of a journal is not worth reading
            return None
        try:
            entry = _entry(line)
            message, stamp = entry.get("MESSAGE"), entry.get("__REALTIME_TIMESTAMP")
            if entry.get("_TRANSPORT") != "kernel" or not isinstance(message, str) or not isinstance(stamp, str):
                return None
            if not (stamp.isascii() and stamp.isdecimal()):
                return None
            return parse(message, _EPOCH + timedelta(microseconds=int(stamp)), prefixes)
        except (OverflowError, RecursionError, ValueError):
            return None

    return read


def _entry(line: bytes) -> dict[str, Any]:
    """Return the fields of an entry of the journal. Raises ValueError, and RecursionError as json does."""
    text = line.decode()
    parts = text.rstrip().split('"')
    # without escapes each quote begins or ends a text: with nothing else between them, these are all the fields
    if "\\" not in text and parts[0] == "{" and parts[-1] == "}" and len(parts) % 4 == 1:
        colons, commas = set(parts[2::4]), set(parts[4:-1:4])
        if colons == {":"} and commas <= {","}:
            return dict(zip(parts[1::4], parts[3::4], strict=True))
    entry = json.loads(text)
    return entry if isinstance(entry, dict) else {}


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


def flows(lines: Iterable[bytes], read: Read) -> Iterator[Flow]:
    """Yield the flows that lines tell of."""
    for line in lines:
        if len(line) <= 4 * LONGEST and (flow := read(line)) is not None:
            yield flow


def _either(prefixes: tuple[str, ...]) -> bytes:
    return b"|".join(re.escape(prefix.encode()) for prefix in prefixes)


def _text(
    stamped: Callable[[bytes], re.Match[bytes] | None],
    time: Callable[[bytes], datetime | None],
    prefixes: tuple[str, ...],
) -> Read:
    def read(line: bytes) -> Flow | None:
        found = stamped(line)
        if found is None or not line.isascii() or (at := time(found[1])) is None:
            return None
        return parse(line[found.end() :].decode("ascii").rstrip("\r\n"), at, prefixes)

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
