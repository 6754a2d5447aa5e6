"""What is refused, and what never is: outbound = reject and drop, and inbound = restrict, with real packets."""

from __future__ import annotations

import json
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.lab.world import ABROAD, CONTAINER, JP, SYSTEM_PYTHON, KernelLog, Neighbour, World

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
OUT = "OUTBOUND_FOREIGN"
IN = "INBOUND_FOREIGN"
PORT = 8443
BLOCKS = pytest.mark.parametrize(("action", "seen"), [("reject", "refused"), ("drop", "silence")])
SPECIAL = (
    'include = ["special-purpose"]\nexclude = ["203.0.113.0/24", "2001:db8:2::/48"]'  # the lab's abroad is special
)

_TRY = """
import ipaddress, socket, sys
kind, source, address, port, payload = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
    s.settimeout(0.8)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    host, _, device = address.partition("%")
    scope = socket.if_nametoindex(device) if device else 0
    if device and family == socket.AF_INET:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    if source:
        s.bind((source.split("#")[0], int((source.split("#") + ["0"])[1])))
    try:
        s.connect((host, int(port), 0, scope) if family == socket.AF_INET6 else (host, int(port)))
        if kind == "udp":
            s.send(payload.encode())
            s.recv(1)
        print("connected")
    except TimeoutError:
        print("silence")
    except OSError as error:
        print({1: "unsent", 13: "refused", 111: "refused", 113: "refused"}.get(error.errno, error))
"""

_HEAR = """
import socket, sys
group, port, device = sys.argv[1:]
family = socket.AF_INET6 if ":" in group else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as s:
    s.bind(("", int(port)))
    index = socket.if_nametoindex(device)
    if group.startswith("ff"):
        member = socket.inet_pton(family, group) + index.to_bytes(4, "little")
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
    elif group.startswith("224"):
        member = socket.inet_aton(group) + bytes(4) + index.to_bytes(4, "little")
        s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    s.settimeout(20)
    print("ready", flush=True)
    print(s.recv(100).decode())
"""

_ECHO = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.create_server((sys.argv[1], 9000), family=family) as server:
    print("ready", flush=True)
    connection = server.accept()[0]
    while heard := connection.recv(9):
        connection.sendall(heard)
"""

_TALK = """
import socket, sys
with socket.create_connection((sys.argv[1], 9000), 5) as s:
    for line in sys.stdin:
        s.sendall(b"x")
        print(s.recv(1).decode(), flush=True)
"""


def attempt(lab: World, name: str, address: str, port: int = PORT, *, kind: str = "tcp", source: str = "") -> str:
    """Say what becomes of a new connection within 0.8 s, before anything is sent a second time."""
    done = lab.run(name, SYSTEM_PYTHON, "-c", _TRY, kind, source, address, str(port), "x")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def applied(lab: World, *arguments: str) -> None:
    done = lab.fwfeed(*(arguments or ("update",)))
    assert done.returncode == 0, done.stderr
    assert "proved in the kernel" in lab.fwfeed("status").stdout


def listen_everywhere(lab: World) -> None:
    for neighbour in (JP, ABROAD):
        for address in neighbour.addresses:
            lab.listen(neighbour.name, address, PORT)


def spelled(address: str) -> str:
    """Return an address as the kernel's log spells it."""
    return ip_address(address).exploded


def lines_to(log: KernelLog, address: str, *words: str) -> list[str]:
    return log.matching(OUT, *words, f"DST={spelled(address)} ")


def link_local(lab: World, name: str, device: str) -> str:
    listing = json.loads(lab.run(name, "ip", "-json", "-6", "address", "show", "dev", device, "scope", "link").stdout)
    address: str = next(each["local"] for entry in listing for each in entry["addr_info"] if "local" in each)
    return address


@BLOCKS
def test_what_leaves_the_country_is_refused_and_logged_once_and_domestic_connections_go_on(
    lab: World, log: KernelLog, action: str, seen: str
) -> None:
    lab.configure(outbound=f'action = "{action}"')
    applied(lab)
    listen_everywhere(lab)
    for name, way in (("host", "IN= "), (CONTAINER.name, f"IN={lab.device(CONTAINER)}")):
        for address in JP.addresses:
            assert attempt(lab, name, address) == "connected"
        for address in ABROAD.addresses:
            assert attempt(lab, name, address) == seen
            # a datagram of the host's own that is not let go is an error of sending it, however it is refused
            assert attempt(lab, name, address, kind="udp") == ("unsent" if name == "host" else seen)
            for protocol in ("TCP", "UDP"):
                found = lines_to(log, address, way, f"PROTO={protocol}")
                assert len(found) == 1, found
    assert not log.matching(OUT, f"OUT={lab.device(JP)}", "PROTO=TCP")


def test_one_edit_and_an_apply_switch_from_each_action_to_the_next(lab: World, log: KernelLog) -> None:
    listen_everywhere(lab)
    expected = {"log": "connected", "reject": "refused", "drop": "silence", "off": "connected"}
    lab.configure()
    assert lab.fwfeed("fetch").returncode == 0
    for action in ("log", "reject", "drop", "log", "off", "drop", "reject", "off"):
        lab.configure(outbound=f'action = "{action}"')
        applied(lab, "apply")
        for name in ("host", CONTAINER.name):
            for address in ABROAD.addresses:
                before = len(lines_to(log, address, "PROTO=TCP"))
                assert attempt(lab, name, address) == expected[action], (action, name)
                assert len(lines_to(log, address, "PROTO=TCP")) - before == (action != "off")
            for address in JP.addresses:
                assert attempt(lab, name, address) == "connected"


def test_a_limit_of_the_log_is_none_of_the_block(lab: World, log: KernelLog) -> None:
    lab.configure(outbound='action = "reject"\nlimit = "1/h"')
    applied(lab)
    listen_everywhere(lab)
    address = ABROAD.addresses[0]
    assert {attempt(lab, "host", address) for _ in range(12)} == {"refused"}
    assert 1 <= len(lines_to(log, address)) < 12


def test_only_the_hosts_own_connections_are_refused_where_the_configuration_says_so(lab: World) -> None:
    lab.configure(outbound='action = "reject"\nforwarded = false')
    applied(lab)
    listen_everywhere(lab)
    address = ABROAD.addresses[0]
    assert attempt(lab, "host", address) == "refused"
    assert attempt(lab, CONTAINER.name, address) == "connected"


@BLOCKS
def test_established_connections_and_answers_go_on(lab: World, action: str, seen: str) -> None:
    applied(lab)
    with ExitStack() as ends:
        clients = []
        for address in ABROAD.addresses:
            server = lab.start(ABROAD.name, SYSTEM_PYTHON, "-c", _ECHO, address)
            ends.enter_context(server)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            clients.append(ends.enter_context(lab.start("host", SYSTEM_PYTHON, "-c", _TALK, address)))

        def talk() -> list[str]:
            answers = []
            for client in clients:
                assert client.stdin is not None
                assert client.stdout is not None
                client.stdin.write("go\n")
                client.stdin.flush()
                answers.append(client.stdout.readline().strip())
            return answers

        assert talk() == ["x", "x"]
        lab.configure(outbound=f'action = "{action}"')
        applied(lab, "apply")
        assert talk() == ["x", "x"]
        for address in ABROAD.addresses:
            assert attempt(lab, "host", address, 9001) == seen
        for here in (f"{ABROAD.ipv4}.1", f"{ABROAD.ipv6}::1"):
            lab.listen("host", here, 22)
            assert attempt(lab, ABROAD.name, here, 22) == "connected"
            assert lab.run(ABROAD.name, "ping", "-qc1", "-w3", here).returncode == 0


@BLOCKS
def test_what_keeps_a_host_alive_is_not_refused_even_where_the_set_lacks_it(lab: World, action: str, seen: str) -> None:
    """With include = [], everything but the lab's Japan is foreign: the link's own addresses, multicast, broadcast."""
    lab.configure(outbound=f'action = "{action}"')
    applied(lab)
    assert lab.kernel_set("JP") == {"198.51.100.0/24"}
    listen_everywhere(lab)
    for address in ("127.0.0.1", "::1", f"{ABROAD.ipv4}.1", f"{ABROAD.ipv6}::1"):
        lab.listen("host", address, PORT)
        assert attempt(lab, "host", address) == "connected"
    device = lab.device(ABROAD)

    # Neighbour discovery: nobody knows anybody, and the neighbour's address is as foreign as can be.
    for name in ("host", ABROAD.name, JP.name):
        lab.run(name, "ip", "neigh", "flush", "all")
    assert lab.run(ABROAD.name, "ping", "-qc1", "-w3", f"{ABROAD.ipv6}::1").returncode == 0
    assert attempt(lab, "host", JP.addresses[1]) == "connected"
    known = json.loads(lab.run("host", "ip", "-json", "-6", "neigh", "show", "dev", device).stdout)
    assert "lladdr" in next(each for each in known if each["dst"] == ABROAD.addresses[1])

    neighbour = link_local(lab, ABROAD.name, "eth0")
    lab.listen(ABROAD.name, "::", 9443)
    assert attempt(lab, "host", f"{neighbour}%{device}", 9443) == "connected"

    heard = {
        "224.0.0.251": ("", 5353),  # mDNS, and as good as IGMP's reports
        "ff02::fb": ("", 5353),
        "ff02::1:2": ("", 547),  # DHCPv6, always to this group
        "255.255.255.255": ("0.0.0.0#68", 67),  # DHCP, from INIT to REBINDING
    }
    for group, (source, port) in heard.items():
        listener = lab.start(ABROAD.name, SYSTEM_PYTHON, "-c", _HEAR, group, str(port), "eth0")
        with listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "ready\n"
            assert attempt(lab, "host", f"{group}%{device}", port, kind="udp", source=source) == "silence", group
            assert listener.stdout.readline() == "x\n", group
    # ... but what can be routed is foreign, a private address too, and so is a DHCP server's own address
    assert attempt(lab, "host", ABROAD.addresses[0], 67, kind="udp", source="0.0.0.0#68") == "unsent"
    assert attempt(lab, "host", CONTAINER.addresses[0]) == seen


@BLOCKS
def test_what_is_always_allowed_is_not_refused_but_is_logged_and_nothing_is_opened_for_it(
    lab: World, log: KernelLog, action: str, seen: str
) -> None:
    allowed = (f"{ABROAD.ipv4}.3", f"{ABROAD.ipv6}::3")
    for address, length in zip(allowed, (24, 64), strict=True):
        lab.run(ABROAD.name, "ip", "address", "add", f"{address}/{length}", "dev", "eth0", "nodad")
        lab.listen(ABROAD.name, address, PORT)
        lab.listen(ABROAD.name, address, 25)
    inside = CONTAINER.addresses[0]
    lab.listen(CONTAINER.name, inside, PORT)
    assert attempt(lab, ABROAD.name, inside) == "refused", "no zone forwards this"
    # somebody else's policy, which comes after ours
    lab.firewall_cmd("--permanent", "--new-policy=nomail")
    for setting in (
        "--add-ingress-zone=HOST",
        "--add-egress-zone=ANY",
        "--add-rich-rule=rule port port=25 protocol=tcp reject",
    ):
        lab.firewall_cmd("--permanent", "--policy=nomail", setting)
    listed = ", ".join(f'"{address}"' for address in (*allowed, inside))
    lab.configure(outbound=f'action = "{action}"', apply=f"always_allow = [{listed}]")
    applied(lab)
    for name in ("host", CONTAINER.name):
        for address in allowed:
            assert attempt(lab, name, address) == "connected"
            assert lines_to(log, address)
        for address in ABROAD.addresses:
            assert attempt(lab, name, address) == seen
    assert attempt(lab, "host", allowed[0], 25) == "refused"
    assert attempt(lab, ABROAD.name, inside) == "refused"
    looked = lab.fwfeed("lookup", allowed[0], ABROAD.addresses[0], JP.addresses[0]).stdout
    assert looked.count("  exempt: connections to it are not refused\n") == 1
    assert looked.index("exempt") < looked.index(f"\n{ABROAD.addresses[0]}")


@BLOCKS
def test_a_template_that_would_refuse_everything_is_refused_before_anything_changes(
    lab: World, action: str, seen: str
) -> None:
    applied(lab)
    text = (ROOT / "templates/policy.xml.j2").read_text()
    start = text.index("{% if policy.verdict")
    peer = '    <{{ rule.peer }} ipset="{{ rule.passing }}" invert="True"/>\n'
    assert peer in text[start:]
    folder = lab.folder / "templates"
    folder.mkdir()
    (folder / "policy.xml.j2").write_text(text[:start] + text[start:].replace(peer, ""))
    lab.configure(outbound=f'action = "{action}"')
    before = lab.snapshot()
    for command in ("check", "apply"):
        refused = lab.fwfeed(command)
        assert refused.returncode == 1
        wrong = f"policies/fwfeed-outbound.xml: a rule that {action}s is not for what goes outside JP-pass alone"
        assert wrong in refused.stderr
    assert lab.snapshot() == before
    assert attempt(lab, "host", JP.addresses[0]) == "refused", "by nobody listening, at once"


RESET = 'protocol value="tcp" reject type="tcp-reset"'
RULE = 'rule priority="{}" family="ipv4" destination NOT ipset="JP-pass" {}'


@pytest.mark.parametrize(
    ("by_hand", "said"),
    [
        (
            ("--policy=fwfeed-outbound", "--remove-rich-rule", RULE.format(2, "reject")),
            "the kernel lacks the rule of policies/fwfeed-outbound.xml that rejects ip daddr != @JP-pass",
        ),
        (
            ("--policy=fwfeed-forwarded", "--remove-rich-rule", RULE.format(1, RESET)),
            "fwfeed-forwarded.xml that rejects ip daddr != @JP-pass and meta l4proto == tcp",
        ),
        (
            ("--policy=fwfeed-outbound", "--add-rich-rule", 'rule priority="-9" family="ipv4" accept'),
            "the kernel has other rules than those of policies/fwfeed-outbound.xml",
        ),
        (
            ("--policy=fwfeed-outbound", "--remove-rich-rule",
             'rule priority="-1" family="ipv6" icmp-type name="neighbour-advertisement" accept'),
            "that accepts icmpv6 type == nd-neighbor-advert",
        ),
        (
            ("--ipset=JP-pass", "--add-entry=192.0.2.0/24"),
            "the kernel's set JP-pass lacks 0 addresses and has 256 too many",
        ),
        (
            ("--ipset=JP-pass", "--remove-entry=224.0.0.0/4"),
            "the kernel's set JP-pass lacks 268,435,456 addresses",
        ),
        (
            ("--zone=log-outbound", "--remove-rich-rule",
             'rule family="ipv6" source ipset="JP6" service name="ssh" accept'),
            "the kernel lacks the rule of zones/log-outbound.xml that accepts ip6 saddr == @JP6 and tcp dport == 22",
        ),
        (
            ("--zone=log-outbound", "--remove-rich-rule",
             'rule family="ipv4" source address="203.0.113.9/32" accept'),
            "the kernel lacks the rule of zones/log-outbound.xml that accepts ip saddr == 203.0.113.9/32",
        ),
    ],
)  # fmt: skip
def test_a_rule_that_was_changed_by_hand_is_noticed_and_healed(lab: World, by_hand: tuple[str, ...], said: str) -> None:
    lab.configure(outbound='action = "reject"', inbound='action = "restrict"', apply='always_allow = ["203.0.113.9"]')
    applied(lab)
    files = {path: path.read_bytes() for path in lab.etc.rglob("*.xml")}
    lab.firewall_cmd(*by_hand)
    assert said in lab.fwfeed("status").stdout
    applied(lab, "apply")
    assert {path: path.read_bytes() for path in lab.etc.rglob("*.xml")} == files


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("flush", "chain", "{}_post"), "the kernel lacks the rule of policies/fwfeed-outbound.xml that drops"),
        (("insert", "rule", "{}_pre accept"), "the kernel has other rules than those of policies/fwfeed-outbound.xml"),
        (("flush", "chain", "{}"), "the kernel has the rules of policies/fwfeed-outbound.xml, but no packet comes to"),
    ],
)
def test_a_kernel_that_was_changed_behind_firewalld_is_noticed_and_healed(
    lab: World, change: tuple[str, str, str], said: str
) -> None:
    lab.configure(outbound='action = "drop"')
    applied(lab)
    verb, kind, what = change
    rest = what.format("filter_OUT_policy_fwfeed-outbound").split()
    if lab.run("host", "nft", verb, kind, "inet", "firewalld", *rest).returncode != 0:
        return  # firewalld 2 owns its table: nobody else can
    assert said in lab.fwfeed("status").stdout
    applied(lab, "apply")
    assert attempt(lab, "host", ABROAD.addresses[0]) == "silence"


def give_address(lab: World, neighbour: Neighbour, address: str, length: int, *, here: str = "") -> None:
    """Give a neighbour one more address, and the host one on that network, or a route."""
    lab.run(neighbour.name, "ip", "address", "add", f"{address}/{length}", "dev", "eth0", "nodad")
    add = ("address", "add", f"{here}/{length}") if here else ("route", "add", f"{address}/{length}")
    done = lab.run("host", "ip", *add, "dev", lab.device(neighbour), *(("nodad",) if here else ()))
    assert done.returncode == 0, done.stderr


def test_containers_keep_their_way_out_under_restrict_whatever_their_addresses_are(lab: World, log: KernelLog) -> None:
    """Private ones, which special-purpose has in the set, and public domestic ones, as routed virtual machines have."""
    give_address(lab, CONTAINER, "10.0.0.2", 24, here="10.0.0.1")
    give_address(lab, CONTAINER, "fd00:1::2", 64, here="fd00:1::1")
    give_address(lab, CONTAINER, "198.51.100.130", 32)
    give_address(lab, CONTAINER, "2001:db8:1:8::2", 128)
    lab.configure(set=SPECIAL, inbound='action = "restrict"')
    applied(lab)
    assert "10.0.0.0/8" in lab.kernel_set("JP")
    listen_everywhere(lab)
    for source in ("10.0.0.2", "fd00:1::2", "198.51.100.130", "2001:db8:1:8::2"):
        foreign = ABROAD.addresses[":" in source]
        assert attempt(lab, CONTAINER.name, foreign, source=source) == "connected"
        assert len(lines_to(log, foreign, f"SRC={spelled(source)} ")) == 1
        if source in ("10.0.0.2", "fd00:1::2"):
            assert attempt(lab, CONTAINER.name, JP.addresses[":" in source], source=source) == "connected"
    # and the zone of their interface, which trusts them, judges what they want of the host
    for here in ("10.0.0.1", "fd00:1::1"):
        lab.listen("host", here, PORT)
        assert attempt(lab, CONTAINER.name, here) == "connected"
    for here in (f"{ABROAD.ipv4}.1", f"{ABROAD.ipv6}::1"):
        lab.listen("host", here, 22)
        assert attempt(lab, ABROAD.name, here, 22) != "connected"
    assert log.matching(IN, f"IN={lab.device(ABROAD)}")
    assert not log.matching(IN, f"IN={lab.device(CONTAINER)}")


def test_restrict_admits_the_set_private_neighbours_and_the_link_to_services_alone(lab: World, log: KernelLog) -> None:
    give_address(lab, JP, "10.0.1.2", 24, here="10.0.1.1")
    give_address(lab, JP, "fd00:2::2", 64, here="fd00:2::1")
    lab.configure(set=SPECIAL, inbound='action = "restrict"\nservices = ["ssh", "dhcpv6-client"]')
    applied(lab)
    for source, here in (
        (JP.addresses[0], f"{JP.ipv4}.1"),
        (JP.addresses[1], f"{JP.ipv6}::1"),
        ("10.0.1.2", "10.0.1.1"),
        ("fd00:2::2", "fd00:2::1"),
    ):
        for port, admitted in ((22, True), (PORT, False)):
            lab.listen("host", here, port)
            assert (attempt(lab, JP.name, here, port, source=source) == "connected") is admitted
    assert not log.matching(IN, f"IN={lab.device(JP)}")


@pytest.mark.parametrize("members", ["include = []", SPECIAL])
def test_restrict_admits_the_link_to_services_and_dhcpv6_answers_come(lab: World, members: str) -> None:
    lab.configure(set=members, inbound='action = "restrict"')
    applied(lab)
    here = link_local(lab, "host", lab.device(ABROAD))
    for port, admitted in ((22, True), (PORT, False)):
        lab.listen("host", "::", port)
        assert (attempt(lab, ABROAD.name, f"{here}%eth0", port) == "connected") is admitted
    # a server's answer comes from another address than the group that was asked, so no connection is known
    with lab.start("host", SYSTEM_PYTHON, "-c", _HEAR, "::", "546", lab.device(ABROAD)) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        assert attempt(lab, ABROAD.name, f"{here}%eth0", 546, kind="udp") == "silence"
        assert client.stdout.readline() == "x\n"


def test_what_is_always_allowed_reaches_every_port_under_restrict_and_a_ban_still_holds(lab: World) -> None:
    allowed = (f"{ABROAD.ipv4}.3", f"{ABROAD.ipv6}::3")
    for address, length in zip(allowed, (24, 64), strict=True):
        lab.run(ABROAD.name, "ip", "address", "add", f"{address}/{length}", "dev", "eth0", "nodad")
    lab.configure(inbound='action = "restrict"', apply=f'always_allow = ["{allowed[0]}", "{allowed[1]}"]')
    applied(lab)
    for source, foreign, here in zip(allowed, ABROAD.addresses, (f"{ABROAD.ipv4}.1", f"{ABROAD.ipv6}::1"), strict=True):
        lab.listen("host", here, PORT)
        assert attempt(lab, ABROAD.name, here, source=source) == "connected"
        assert attempt(lab, ABROAD.name, here, source=foreign) != "connected"
    # as fail2ban does it, to the default zone: it holds for the set's own members, too
    for banned, here in ((allowed[0], f"{ABROAD.ipv4}.1"), (JP.addresses[0], f"{JP.ipv4}.1")):
        lab.listen("host", here, 22)
        who = ABROAD.name if banned == allowed[0] else JP.name
        assert attempt(lab, who, here, 22, source=banned) == "connected"
        lab.firewall_cmd(
            "--zone=log-outbound", "--add-rich-rule", f'rule family="ipv4" source address="{banned}" reject'
        )
        assert attempt(lab, who, here, 22, source=banned) == "refused"
    assert "proved" in lab.fwfeed("status").stdout
