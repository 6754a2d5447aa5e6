"""Log lines become flows, and what whoever attacks can write into a log becomes none."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fwfeed.errors import FwfeedError
from fwfeed.flow import Direction, Flow
from fwfeed.kernlog import of_a_file
from fwfeed.logline import LONGEST, Read, lines_of, of_dmesg, of_journal, of_syslog, parse
from fwfeed.prefixes import Family, parse_address
from tests.fuzz.targets import TARGETS
from tests.unit.builders import CHECKOUT
from tests.unit.flows import flow_of

OUT, INTO = "OUTBOUND_FOREIGN ", "INBOUND_FOREIGN "
PREFIXES = (OUT, INTO)
AT = datetime(2026, 7, 1, 12, 34, 56, tzinfo=UTC)
TCP = (
    f"{OUT}IN= OUT=eth0 SRC=198.51.100.1 DST=203.0.113.5 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=37498 DF PROTO=TCP "
    "SPT=43210 DPT=443 WINDOW=64240 RES=0x00 SYN URGP=0 "
)
TCP6 = (
    f"{OUT}IN= OUT=eth0 SRC=2001:0db8:0001:0000:0000:0000:0000:0001 DST=2001:0db8:0002:0000:0000:0000:0000:0002 LEN=80 "
    "TC=0 HOPLIMIT=64 FLOWLBL=772034 PROTO=TCP SPT=43210 DPT=443 WINDOW=64800 RES=0x00 SYN URGP=0 UID=1000 GID=100 "
)
ERROR = (
    f"{OUT}IN= OUT=eth0 SRC=198.51.100.1 DST=203.0.113.5 LEN=88 TOS=0x00 PREC=0xC0 TTL=64 ID=5 PROTO=ICMP TYPE=3 "
    "CODE=3 [SRC=203.0.113.5 DST=198.51.100.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=7 DF PROTO=UDP SPT=1 DPT=53 LEN=40 ] "
)
FLOW = Flow(
    at=AT,
    family=Family.IPV4,
    protocol="TCP",
    source="198.51.100.1",
    destination="203.0.113.5",
    source_port=43210,
    destination_port=443,
    direction=Direction.OUT,
    interface="eth0",
    uid=None,
    prefix=OUT,
)


def read(message: str) -> Flow | None:
    line = parse(message.encode(), int(AT.timestamp() * 1_000_000), tuple(each.encode() for each in PREFIXES))
    return line and flow_of(line)


def known(message: str) -> Flow:
    flow = read(message)
    assert flow is not None
    return flow


def test_a_line_is_read_whole() -> None:
    assert read(TCP) == FLOW


def test_ipv6_is_canonical_and_the_user_is_read() -> None:
    flow = known(TCP6)
    assert (flow.source, flow.destination, flow.uid) == ("2001:db8:1::1", "2001:db8:2::2", 1000)
    assert flow.family is Family.IPV6


@pytest.mark.parametrize(
    ("interfaces", "direction", "interface"),
    [
        ("IN= OUT=eth0", Direction.OUT, "eth0"),
        ("IN=eth1 OUT=eth0 MAC=aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:08:00", Direction.FORWARDED, "eth0"),
        ("IN=br0 OUT= PHYSIN=vnet0 MAC=", Direction.IN, "br0"),
        ("IN=br0 OUT=br0 PHYSIN=vnet0 PHYSOUT=vnet1", Direction.FORWARDED, "br0"),
        ("IN= OUT=veth=SRC=1 ", Direction.OUT, None),
        ("IN= OUT=sixteen_is_much_", Direction.OUT, None),
        ("IN= OUT=", Direction.OUT, None),
    ],
)
def test_the_direction_is_by_the_interfaces(interfaces: str, direction: Direction, interface: str | None) -> None:
    flow = read(TCP.replace("IN= OUT=eth0", interfaces))
    assert (flow and (flow.direction, flow.interface)) == (interface and (direction, interface))


@pytest.mark.parametrize(
    ("tail", "protocol", "ports"),
    [
        ("PROTO=UDP SPT=1 DPT=65535 LEN=40 ", "UDP", (1, 65535)),
        ("PROTO=UDP SPT=1 DPT=53 LEN=40 MARK=0x1 ", "UDP", (1, 53)),
        ("PROTO=ICMP TYPE=8 CODE=0 ID=4586 SEQ=1 ", "ICMP", (None, None)),
        ("PROTO=47 ", "47", (None, None)),
        ("PROTO=47", "47", (None, None)),
        ("PROTO=TCP INCOMPLETE [4 bytes] ", "TCP", (None, None)),
        ("FRAG:64 PROTO=UDP ", "UDP", (None, None)),
        ("MF FRAG:64 OPT (94040000) PROTO=UDP ", "UDP", (None, None)),
        ("PROTO=AH SPI=0x12345678 ", "AH", (None, None)),
        ("PROTO=TCP SPT=1 DPT=65536 ", None, None),
        ("PROTO=TCP SPT=-1 DPT=5 ", None, None),
        ("PROTO=TCP SPT=1 ", None, None),
    ],
)
def test_protocols_and_ports(tail: str, protocol: str | None, ports: tuple[int | None, int | None] | None) -> None:
    flow = read(TCP.replace("DF ", "").partition("PROTO=")[0] + tail)
    assert (flow and (flow.protocol, (flow.source_port, flow.destination_port))) == (protocol and (protocol, ports))


def test_an_icmp_error_is_not_taken_for_what_it_quotes() -> None:
    flow = known(ERROR)
    assert (flow.source, flow.destination, flow.protocol) == ("198.51.100.1", "203.0.113.5", "ICMP")
    assert (flow.source_port, flow.uid) == (None, None)
    assert known(f"{ERROR}UID=0 GID=0 ").uid == 0


@pytest.mark.parametrize(
    "message",
    [
        "",
        OUT,
        f" {TCP}",
        f"x{TCP}",
        f"evil[7]: {TCP}",
        TCP.removeprefix(OUT),
        f"{OUT}{TCP}",
        TCP.replace("SRC=198.51.100.1 ", ""),
        TCP.replace("SRC=198.51.100.1", "SRC=198.51.100.01"),
        TCP.replace("SRC=198.51.100.1", "SRC=198.51.100.256"),
        TCP.replace("SRC=198.51.100.1", "SRC=2001:db8::1"),
        TCP.replace("DST=203.0.113.5", "DST=203.0.113.5 DST=203.0.113.6"),
        TCP.replace("DF ", "DF DST=203.0.113.6 "),
        TCP.replace("DF ", "DF SRC=203.0.113.6 PROTO=TCP SPT=1 DPT=2 "),
        f"{TCP}DST=203.0.113.6 ",
        f"{TCP}PROTO=UDP SPT=1 DPT=2 ",
        f"{TCP}UID=0 GID=0 UID=1 GID=1 ",
        f"{TCP}UID=0 ",
        f"{TCP}UID=4294967295 GID=0 ",
        f"{TCP}UID=99999999999 GID=0 ",
        f"{TCP}UID=\uff11 GID=0 ",
        f"{TCP}\n{TCP}",
        TCP.replace("TOS", "\x1b[31mTOS"),
        TCP.replace("443", "443\0"),
        TCP.replace("443", "\uff14\uff14\uff13"),
        TCP.replace("eth0", "eth0\u202e"),
        TCP + "A" * LONGEST,
        ERROR.replace("TYPE=3", "SRC=203.0.113.9 TYPE=3"),
    ],
)
def test_what_the_kernel_does_not_write_is_no_flow(message: str) -> None:
    assert read(message) is None


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    for message in (text, OUT + text, TCP + text, TCP[:60] + text + TCP[60:]):
        flow = read(message)
        if flow is not None:
            assert message.startswith(OUT)
            assert message.isprintable()


@given(st.text(max_size=40), st.integers(0, len(TCP)), st.integers(0, 40))
def test_text_in_a_line_never_changes_where_it_went(text: str, place: int, length: int) -> None:
    """Whatever is put in for some of a line: it is no flow, or each of its values stands in the line once."""
    message = TCP[:place] + text + TCP[place + length :]
    flow = read(message)
    if flow is not None:
        assert message.count(f"SRC={flow.source} ") == 1
        assert message.count(f"DST={flow.destination} ") == 1
        assert len([word for word in message.split() if word.startswith("DST=")]) == 1


ADDRESSES = st.one_of(
    st.tuples(st.just(Family.IPV4), st.integers(0, Family.IPV4.last)),
    st.tuples(st.just(Family.IPV6), st.integers(0, Family.IPV6.last)),
)


@given(ADDRESSES, st.integers(0, 65535), st.integers(0, 65535), st.none() | st.integers(0, (1 << 32) - 2))
@example((Family.IPV6, 0xFFFF << 32), 0, 0, None)
def test_what_the_kernel_writes_is_read_back(
    address: tuple[Family, int], source_port: int, port: int, uid: int | None
) -> None:
    family, number = address
    digits = f"{number:032x}"
    text = (
        ".".join(str(each) for each in number.to_bytes(4, "big"))
        if family is Family.IPV4
        else ":".join(digits[at : at + 4] for at in range(0, 32, 4))
    )
    middle = "TOS=0x00 PREC=0x00 TTL=64 ID=1 DF" if family is Family.IPV4 else "TC=0 HOPLIMIT=64 FLOWLBL=0"
    tail = "" if uid is None else f"UID={uid} GID=0 "
    flow = known(
        f"{OUT}IN= OUT=e SRC={text} DST={text} LEN=60 {middle} PROTO=UDP SPT={source_port} DPT={port} LEN=8 {tail}"
    )
    assert parse_address(flow.source, family) == parse_address(flow.destination, family) == number
    assert (flow.family, flow.source_port, flow.destination_port, flow.uid) == (family, source_port, port, uid)


# The journal


def entry(**changed: Any) -> bytes:
    fields = {"_TRANSPORT": "kernel", "__REALTIME_TIMESTAMP": str(int(AT.timestamp()) * 1_000_000), "MESSAGE": TCP}
    return json.dumps(fields | changed, separators=(",", ":")).encode()


READERS = {"journal": of_journal(PREFIXES), "odd": of_journal((*PREFIXES, 'with a "quote" '))}


def journal(line: bytes) -> Flow | None:
    """Read it as it is read where prefixes are plain, and where they are not: to the same end."""
    found, other = (read(line) for read in READERS.values())
    assert found == other
    return found and flow_of(found)


def test_an_entry_of_the_kernels_is_read() -> None:
    assert journal(entry()) == FLOW
    assert journal(entry() + b"\n") == FLOW
    assert journal(json.dumps(json.loads(entry()), indent=1).replace("\n", "").encode()) == FLOW
    assert journal(entry(SYSLOG_IDENTIFIER="ker\\nel", PRIORITY=None, OTHER=[1, 2])) == FLOW


@pytest.mark.parametrize(
    "line",
    [
        entry(_TRANSPORT="syslog"),
        entry(_TRANSPORT="stdout", SYSLOG_IDENTIFIER="kernel", TRANSPORT="kernel"),
        entry(_TRANSPORT=["syslog", "kernel"]),
        entry(_TRANSPORT=None),
        entry(MESSAGE=[79, 85, 84]),
        entry(MESSAGE=[TCP, TCP]),
        entry(MESSAGE=None),
        entry(MESSAGE=f"x {TCP}"),
        entry(MESSAGE=f"{TCP}\n"),
        entry(MESSAGE="x", OTHER=TCP),
        entry(MESSAGE='x","MESSAGE":"' + TCP),
        entry(_HOSTNAME=OUT, MESSAGE="x"),
        entry(__REALTIME_TIMESTAMP="x"),
        entry(__REALTIME_TIMESTAMP="9" * 400),
        entry(__REALTIME_TIMESTAMP="9" * 5000),
        entry(__REALTIME_TIMESTAMP=5),
        entry(__REALTIME_TIMESTAMP="1_0"),
        entry().replace(b"eth0", b"eth\xff"),
        entry().replace(b"eth0", b"eth\x00"),
        entry().replace(b"eth0", b"eth\\u0000"),
        entry()[:-1],
        b"[" * 100_000 + OUT.encode(),
        b"[" + entry() + b"]",
        b'"' + TCP.encode() + b'"',
    ],
)
def test_what_others_write_into_the_journal_is_no_flow(line: bytes) -> None:
    assert journal(line) is None


@pytest.mark.parametrize("kind", range(130, 140))
def test_how_neighbours_find_each_other_is_no_flow(kind: int) -> None:
    line = TCP6.replace(
        "PROTO=TCP SPT=43210 DPT=443 WINDOW=64800 RES=0x00 SYN URGP=0", f"PROTO=ICMPv6 TYPE={kind} CODE=0"
    )
    assert (read(line) is None) == (kind in {133, 134, 135, 136})
    assert read(line.replace(" UID=1000 GID=100", "").replace("ICMPv6", "ICMP")) is not None
    assert read(f"{ERROR}".replace("TYPE=3", f"TYPE={kind}")) is not None


def test_a_journal_as_it_was_exported() -> None:
    exported = (CHECKOUT / "tests/data/flows/journal.json").read_bytes()
    found = [flow_of(line) for line in lines_of(exported.splitlines(), of_journal(PREFIXES))]
    assert [(flow.protocol, flow.destination, flow.destination_port, str(flow.direction)) for flow in found] == [
        ("TCP", "203.0.113.3", 25, "out"),
        ("TCP", "192.0.2.2", 8443, "forwarded"),
        ("UDP", "255.255.255.255", 67, "out"),
        ("UDP", "203.0.113.2", 67, "out"),
    ]  # and not how neighbours find each other
    assert found[0].at.timestamp() == pytest.approx(1795589834.840542)


# Text


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        ("Jul  1 21:34:56", AT),
        ("Jul 10 21:34:56", datetime(2025, 7, 10, 12, 34, 56, tzinfo=UTC)),
        ("Jul  2 21:34:55", datetime(2026, 7, 2, 12, 34, 55, tzinfo=UTC)),
        ("Dec 31 23:59:59", datetime(2025, 12, 31, 14, 59, 59, tzinfo=UTC)),
        ("Feb 29 09:00:00", datetime(2024, 2, 29, 0, 0, 0, tzinfo=UTC)),
        ("2026-07-01T21:34:56.000000+09:00", AT),
        ("2026-07-01T12:34:56Z", AT),
        ("Feb 30 09:00:00", None),
        ("Jux  1 09:00:00", None),
        ("Jul  1 25:00:00", None),
        ("2026-13-01T12:34:56Z", None),
        ("0001-01-01T00:00:00+09:00", None),
    ],
)
def test_the_stamps_of_syslog(tokyo: None, stamp: str, at: datetime | None) -> None:
    line = of_syslog(PREFIXES, AT)
    for between in ("host kernel: ", "host kernel: [12345.678901] ", "host kernel: [    5.678901]"):
        found = line(f"{stamp} {between}{TCP}\n".encode())
        assert (found and flow_of(found).at) == at


@pytest.mark.parametrize(
    "line",
    [
        f"Jul  1 12:34:56 host sshd[7]: {TCP}",
        f"Jul  1 12:34:56 host sshd[7]: kernel: {TCP}",
        f"Jul  1 12:34:56 {OUT} kernel: x",
        f"Jul  1 12:34:56 {TCP}",
        f"Jul  1 12:34:56 host kernel: x kernel: {TCP}",
        f"Jul  1 12:34:56 host kernel: [1.5] {TCP}",
        f"Jul  1 12:34:56 a b kernel: {TCP}",
        f"x Jul  1 12:34:56 host kernel: {TCP}",
        f"Jul  1 12:34:56 host kernel: {TCP}\x1b[2J",
        f"Jul  1 12:34:56 host kernel: {TCP}\r\n{TCP}",
        f"Jul  1 12:34:56 host kernel: {TCP}\u00e9",
        TCP,
    ],
)
def test_what_others_write_to_syslog_is_no_flow(line: str) -> None:
    assert of_syslog(PREFIXES, AT)(line.encode()) is None


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        ("[   60.500000]", AT + timedelta(seconds=60.5)),
        ("[Wed Jul  1 21:34:56 2026]", AT),
        ("2026-07-01T21:34:56,000000+09:00", AT),
        ("[9999999999.500000]", AT + timedelta(seconds=9999999999.5)),
        ("[Wed Jul 41 21:34:56 2026]", None),
        ("[60]", None),
        ("60.500000", None),
    ],
)
def test_the_stamps_of_dmesg(tokyo: None, stamp: str, at: datetime | None) -> None:
    found = of_dmesg(PREFIXES, AT)(f"{stamp} {TCP}".encode())
    assert (found and flow_of(found).at) == at


def test_a_file_of_every_horror(tmp_path: Path) -> None:
    good = b"Jul  1 12:34:56 host kernel: " + TCP.encode()
    path = tmp_path / "messages"
    path.write_bytes(
        b"\n".join(
            (good, b"\0" * 5000, b"A" * 3_000_000, b"B" * 3_000_000 + good, b"\xff\xfe", good + b"\r", b"", good)
        )
    )
    assert len(list(of_a_file(path, PREFIXES, AT))) == 3


def test_a_file_that_ends_within_a_hostile_line(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    path.write_bytes(b"A" * 3_000_000 + b"Jul  1 12:34:56 host kernel: " + TCP.encode())
    assert not list(of_a_file(path, PREFIXES, AT))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FwfeedError) as caught:
        list(of_a_file(tmp_path / "messages", PREFIXES, AT))
    assert caught.value.message == f"{tmp_path}/messages: No such file or directory"
    assert caught.value.way_out


@given(st.binary())
def test_no_bytes_are_an_error(raw: bytes) -> None:
    readers: list[Read] = [*READERS.values(), of_syslog(PREFIXES, AT), of_dmesg(PREFIXES, AT)]
    for reader in readers:
        for line in (raw, OUT.encode() + raw, entry() + raw, b"[ 1.000000] " + TCP.encode() + raw):
            list(lines_of([line], reader))


@pytest.mark.parametrize("name", ["logline", "nflog"])
def test_the_fuzz_targets_take_their_seeds(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)


def test_a_hostile_line_costs_little() -> None:
    began = time.process_time()
    for message in (f"{OUT}IN= OUT= " + "MAC= " * 400, TCP.replace("DF ", "DF " * 600), TCP.partition("PROTO")[0] * 9):
        for _ in range(100):
            read(message[:LONGEST])
    assert time.process_time() - began < 2
