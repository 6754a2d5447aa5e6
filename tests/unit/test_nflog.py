"""Messages of NFLOG as a kernel wrote them, and as nobody should."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed import nflog
from fwfeed.netlink import attribute, attributes, message, messages
from fwfeed.nflog import Packet, parse
from tests.unit.builders import CHECKOUT

CAPTURED = [bytes.fromhex(each) for each in json.loads((CHECKOUT / "tests/data/flows/nflog.json").read_text())]
CAME = 1_795_593_000.5
EXPECTED = [
    ("TCP", "203.0.113.1", 35414, "203.0.113.2", 443, "out", 0, None),
    ("UDP", "203.0.113.1", 48650, "203.0.113.2", 53, "out", 0, None),
    ("TCP", "2001:db8:2::1", 60504, "2001:db8:2::2", 443, "out", 0, None),
    ("UDP", "2001:db8:2::1", 42805, "2001:db8:2::2", 53, "out", 0, None),
    ("UDP", "2001:db8:2::1", 49288, "2001:db8:2::2", 54, "out", 0, None),  # behind destination options
    ("ICMP", "203.0.113.1", None, "203.0.113.2", None, "out", 0, 61677),
    ("ICMPv6", "2001:db8:2::1", None, "2001:db8:2::2", None, "out", 0, 61678),
    ("TCP", "192.0.2.130", 43300, "203.0.113.2", 443, "forwarded", None, None),
    ("UDP", "192.0.2.130", 58057, "203.0.113.2", 53, "forwarded", None, None),
    ("TCP", "2001:db8:3::2", 59356, "2001:db8:2::2", 443, "forwarded", None, None),
    ("UDP", "2001:db8:3::2", 60971, "2001:db8:2::2", 53, "forwarded", None, None),
    ("UDP", "2001:db8:3::2", 55095, "2001:db8:2::2", 54, "forwarded", None, None),
]


def known(body: bytes) -> Packet:
    packet = parse(body, CAME)
    assert packet is not None
    return packet


def test_captured_messages_are_read() -> None:
    found = [known(body) for body in CAPTURED]
    assert [
        (
            each.flow.protocol,
            each.flow.source,
            each.flow.source_port,
            each.flow.destination,
            each.flow.destination_port,
            str(each.flow.direction),
            each.flow.uid,
            each.echo,
        )
        for each in found
    ] == EXPECTED
    assert [each.number for each in found] == list(range(len(CAPTURED)))
    assert {each.flow.prefix for each in found} == {"OUTBOUND_FOREIGN "}


def test_the_time_is_the_kernels_where_it_has_one() -> None:
    assert known(CAPTURED[0]).flow.at.timestamp() == CAME
    assert known(CAPTURED[7]).flow.at.timestamp() != CAME
    assert parse(CAPTURED[7], CAME + 9999) is not None
    assert known(CAPTURED[0]).came == CAME


def packet(payload: bytes, **changed: bytes) -> bytes:
    fields = {"prefix": b"P \0", "uid": struct.pack("!I", 5), "out": struct.pack("!I", 1)} | changed
    kinds = {"prefix": 10, "uid": 11, "out": 5, "in_": 4, "stamp": 3, "number": 12}
    return bytes(4) + b"".join(attribute(kinds[name], value) for name, value in fields.items()) + attribute(9, payload)


def ipv4(protocol: int, behind: bytes, fragment: int = 0, words: int = 5) -> bytes:
    addresses = bytes((198, 51, 100, 1, 203, 0, 113, 5))
    return struct.pack("!BBHHHBBH", 0x40 | words, 0, 99, 1, fragment, 64, protocol, 0) + addresses + behind


def ipv6(protocol: int, behind: bytes) -> bytes:
    return struct.pack("!IHBB", 6 << 28, len(behind), protocol, 64) + bytes(15) + b"\1" + bytes(15) + b"\2" + behind


PORTS = struct.pack("!HH", 1234, 443) + bytes(16)


@pytest.mark.parametrize(
    ("payload", "protocol", "ports"),
    [
        (ipv4(6, PORTS), "TCP", (1234, 443)),
        (ipv4(6, bytes(4) + PORTS, words=6), "TCP", (1234, 443)),
        (ipv4(132, PORTS), "132", (1234, 443)),
        (ipv4(17, PORTS, fragment=0x2000), "UDP", (1234, 443)),
        (ipv4(17, PORTS, fragment=1), "UDP", (None, None)),
        (ipv4(6, PORTS[:3]), "TCP", (None, None)),
        (ipv4(47, PORTS), "47", (None, None)),
        (ipv6(6, PORTS), "TCP", (1234, 443)),
        (ipv6(0, bytes((6, 0)) + bytes(6) + PORTS), "TCP", (1234, 443)),
        (ipv6(43, bytes((60, 1)) + bytes(14) + bytes((17, 0)) + bytes(6) + PORTS), "UDP", (1234, 443)),
        (ipv6(44, bytes((17, 0, 0, 1)) + bytes(4) + PORTS), "UDP", (1234, 443)),
        (ipv6(44, bytes((17, 0, 0, 8)) + bytes(4) + PORTS), "UDP", (None, None)),
        (ipv6(0, bytes((6, 255)) + bytes(6) + PORTS), "TCP", (None, None)),
        (ipv6(0, bytes(3)), "0", (None, None)),
    ],
)
def test_headers(payload: bytes, protocol: str, ports: tuple[int | None, int | None]) -> None:
    flow = known(packet(payload)).flow
    assert (flow.protocol, (flow.source_port, flow.destination_port)) == (protocol, ports)


@pytest.mark.parametrize(
    "payload", [b"", b"\x45", ipv4(6, b"", words=4), ipv6(6, b"")[:39], b"\x00" * 60, b"\xf5" * 60]
)
def test_what_is_no_packet_is_none(payload: bytes) -> None:
    assert parse(packet(payload), CAME) is None


@pytest.mark.parametrize("kind", range(130, 140))
def test_how_neighbours_find_each_other_is_no_flow(kind: int) -> None:
    found = parse(packet(ipv6(58, bytes((kind,)) + bytes(23))), CAME)
    assert (found is None) == (kind in {133, 134, 135, 136})
    behind = parse(packet(ipv6(0, bytes((58, 0)) + bytes(6) + bytes((kind,)) + bytes(23))), CAME)
    assert (behind is None) == (found is None)
    assert parse(packet(ipv4(1, bytes((kind,)) + bytes(7))), CAME) is not None


def test_a_packet_without_interface_or_user() -> None:
    assert parse(packet(ipv4(6, PORTS), out=b""), CAME) is None
    assert known(packet(ipv4(6, PORTS), uid=b"\1\2")).flow.uid is None
    assert known(packet(ipv4(6, PORTS), uid=b"\xff" * 4)).flow.uid is None
    assert str(known(packet(ipv4(6, PORTS), out=b"", in_=struct.pack("!I", 1))).flow.direction) == "in"


def test_a_prefix_is_inert() -> None:
    assert known(packet(ipv4(6, PORTS), prefix=b"\x1b[31m\xff\0rest")).flow.prefix == "?[31m\ufffd"


@pytest.mark.parametrize("stamp", [b"", b"\xff" * 16, struct.pack("!QQ", int(CAME), 1_000_000), bytes(16), bytes(15)])
def test_a_stamp_without_sense_is_not_believed(stamp: bytes) -> None:
    assert known(packet(ipv4(6, PORTS), stamp=stamp)).flow.at.timestamp() == CAME


@given(st.binary(), st.sampled_from(CAPTURED), st.integers(0, 200), st.integers(0, 40))
def test_no_bytes_are_an_error(raw: bytes, body: bytes, place: int, length: int) -> None:
    for hostile in (raw, body[:place], body[:place] + raw + body[place + length :]):
        parse(hostile, CAME)
        for _kind, _sequence, inner in messages(hostile):
            assert len(inner) <= len(hostile)


@given(st.dictionaries(st.integers(0, 100), st.binary(max_size=50)), st.integers(0, 65535))
def test_what_is_written_is_read_back(values: dict[int, bytes], kind: int) -> None:
    body = b"".join(attribute(each, value) for each, value in values.items())
    assert list(messages(message(kind, 1, 7, body) * 1)) == [(kind, 7, body)]
    assert attributes(body, 0) == values


def test_gaps_are_counted_exactly_over_the_end_of_the_numbers() -> None:
    reader = nflog.Reader.__new__(nflog.Reader)
    reader.lost, reader._next, reader._overrun = 0, None, False
    for number in (5, 6, 9, 0xFFFFFFFE, 0xFFFFFFFF, 0, 2):
        reader._count(number)
    assert reader.lost == 2 + (0xFFFFFFFE - 10) + 1
