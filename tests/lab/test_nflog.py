"""What is handed to the nflog group: the first packet of each foreign connection with its sender's UID, and no other.

The listener knows the kernel's own words alone: it shares nothing with fwfeed's.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import Popen

import pytest

from tests.lab.test_block import PORT, applied, listen_everywhere
from tests.lab.world import ABROAD, CONTAINER, JP, SYSTEM_PYTHON, KernelLog, World

pytestmark = pytest.mark.lab

GROUP = 243
UID = 4242  # of nobody here
PREFIX = "OUTBOUND_FOREIGN "
TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
RULE = (
    'rule priority="-2" family="ipv4" destination NOT ipset="JP" '
    f'nflog group="{GROUP}" prefix="{PREFIX}" queue-size="1"'
)

# Hears until its stdin is closed; what it says then is what the kernel had handed over by that moment.
_LISTEN = """
import ipaddress, json, socket, struct, sys
def attribute(kind, content):
    return struct.pack("=HH", 4 + len(content), kind) + content
def pieces(raw, head, start):
    while raw:
        length, kind = struct.unpack_from(head, raw)
        yield kind, raw[start:length]
        raw = raw[length + 3 & ~3:]
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:  # NETLINK_NETFILTER
    netlink.bind((0, 0))
    for wanted in (attribute(1, b"\\1\\0\\0\\0"), attribute(2, struct.pack("!IBxxx", 0xFFFF, 2))):  # bind, copy packets
        body = struct.pack("!BBH", 0, 0, int(sys.argv[1])) + wanted
        netlink.send(struct.pack("=IHHII", 16 + len(body), 0x401, 5, 0, 0) + body)
        assert struct.unpack_from("=i", netlink.recv(65536), 16) == (0,)
    print("ready", flush=True)
    sys.stdin.read()
    netlink.setblocking(False)
    while True:
        try:
            raw = netlink.recv(65536)
        except BlockingIOError:
            break
        for kind, message in pieces(raw, "=IH", 20):
            assert kind == 0x400  # NFULNL_MSG_PACKET
            found = {key & 0x3FFF: content for key, content in pieces(message, "=HH", 4)}
            packet = found[9]
            ipv4 = packet[0] >> 4 == 4
            print(json.dumps({
                "prefix": found[10].rstrip(b"\\0").decode(),
                "uid": int.from_bytes(found[11], "big") if 11 in found else None,
                "own": 4 not in found,
                "destination": str(ipaddress.ip_address(packet[16:20] if ipv4 else packet[24:40])),
                "protocol": packet[9 if ipv4 else 6],
            }))
"""

_SEND = """
import os, socket, sys
uid, protocol, address, port = sys.argv[1:]
os.setuid(int(uid))
kind = socket.SOCK_STREAM if int(protocol) == socket.IPPROTO_TCP else socket.SOCK_DGRAM
with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as s:
    s.settimeout(0.5)  # before a first packet is sent again
    try:
        s.connect((address, int(port)))
        if kind == socket.SOCK_DGRAM:
            s.send(b"x")
    except OSError:
        pass
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """A packet that was handed over; `own`: it came in by no interface."""

    prefix: str
    uid: int | None
    own: bool
    destination: str
    protocol: int


class Listener:
    def __init__(self, process: Popen[str]) -> None:
        self._process = process

    def heard(self) -> list[Heard]:
        """Stop listening, and return what came, but for ICMP: neighbours discover each other whenever they like."""
        out, _ = self._process.communicate(timeout=20)
        assert self._process.returncode == 0
        found = [Heard(**json.loads(line)) for line in out.splitlines()]
        return [each for each in found if each.protocol in {TCP, UDP}]


@contextmanager
def listening(lab: World, group: int = GROUP) -> Iterator[Listener]:
    with lab.start("host", SYSTEM_PYTHON, "-c", _LISTEN, str(group)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Listener(process)


def send(lab: World, name: str, address: str, protocol: int = TCP, uid: int = UID) -> None:
    """Try a connection, or send a datagram."""
    done = lab.run(name, SYSTEM_PYTHON, "-c", _SEND, str(uid), str(protocol), address, str(PORT))
    assert done.returncode == 0, done.stderr


def own(address: str, protocol: int = TCP) -> Heard:
    return Heard(prefix=PREFIX, uid=UID, own=True, destination=address, protocol=protocol)


def forwarded(address: str, protocol: int = TCP) -> Heard:
    return Heard(prefix=PREFIX, uid=None, own=False, destination=address, protocol=protocol)


@pytest.mark.parametrize("action", ["log", "reject", "drop"])
def test_each_foreign_connection_is_handed_over_once_and_at_once_and_no_domestic_one(lab: World, action: str) -> None:
    lab.configure(outbound=f'action = "{action}"', inbound='action = "log"')
    applied(lab)
    listen_everywhere(lab)
    here = f"{ABROAD.ipv4}.1"
    lab.listen("host", here, 22)
    with listening(lab) as listener:
        for address in (*ABROAD.addresses, *JP.addresses):
            for protocol in (TCP, UDP):
                for name in ("host", CONTAINER.name):
                    send(lab, name, address, protocol)
        assert lab.connect(ABROAD.name, here, 22)  # an answer to abroad is no connection abroad
        heard = listener.heard()
    assert heard == [
        kind(address, protocol) for address in ABROAD.addresses for protocol in (TCP, UDP) for kind in (own, forwarded)
    ]


def test_the_limit_of_the_log_is_none_of_what_is_handed_over(lab: World, log: KernelLog) -> None:
    lab.configure(outbound='limit = "1/h"', watch="group = 7")
    applied(lab)
    listen_everywhere(lab)
    address = ABROAD.addresses[0]
    with listening(lab, 7) as listener, listening(lab) as other:
        for _ in range(12):
            send(lab, "host", address)
        assert listener.heard() == [own(address)] * 12
        assert other.heard() == []
    assert 1 <= len(log.matching(PREFIX.strip(), f"DST={address} ")) < 12


def test_off_takes_the_rules_out_and_on_puts_them_back(lab: World, log: KernelLog) -> None:
    address = ABROAD.addresses[0]
    listen_everywhere(lab)
    lab.configure()
    assert lab.fwfeed("fetch").returncode == 0
    for group, heard in (('"off"', []), (GROUP, [own(address)]), ('"off"', [])):
        lab.configure(watch=f"group = {group}")
        applied(lab, "apply")
        before = len(log.matching(PREFIX.strip(), f"DST={address} "))
        with listening(lab) as listener:
            send(lab, "host", address)
            assert listener.heard() == heard
        assert len(log.matching(PREFIX.strip(), f"DST={address} ")) == before + 1


@pytest.mark.parametrize("action", ["log", "reject"])
def test_a_rule_that_somebody_took_out_is_noticed_and_healed(lab: World, action: str) -> None:
    lab.configure(outbound=f'action = "{action}"')
    applied(lab)
    lab.firewall_cmd("--policy=fwfeed-outbound", "--remove-rich-rule", RULE)
    lacking = f"the kernel lacks the rule of policies/fwfeed-outbound.xml that logs '{PREFIX}' to group {GROUP}"
    assert f"{lacking}, 1 at a time" in lab.fwfeed("status").stdout
    address = ABROAD.addresses[0]
    with listening(lab) as listener:
        send(lab, "host", address)
        assert listener.heard() == []
    applied(lab, "apply")
    with listening(lab) as listener:
        send(lab, "host", address)
        assert listener.heard() == [own(address)]


def test_a_rule_to_another_group_is_not_the_rule(lab: World) -> None:
    applied(lab)
    lab.firewall_cmd("--policy=fwfeed-outbound", "--remove-rich-rule", RULE)
    lab.firewall_cmd("--policy=fwfeed-outbound", "--add-rich-rule", RULE.replace(str(GROUP), "244"))
    assert "the kernel lacks the rule of policies/fwfeed-outbound.xml that logs" in lab.fwfeed("status").stdout
