"""Real packets of real processes: `fwfeed watch` names each sender, and says so where nobody can."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import attributing
from tests.lab.attributing import Place, Watching, place
from tests.skipping import require

pytestmark = pytest.mark.lab


@pytest.fixture
def at() -> Iterator[Place]:
    require(attributing.missing())
    with place() as made:
        yield made


@pytest.fixture
def watching(at: Place, tmp_path: Path) -> Watching:
    output, said = tmp_path / "output", tmp_path / "said"
    with output.open("wb") as out, said.open("wb") as err:
        process = at.watch(out, err)
    return Watching(at, process, output, said)


def python(at: Place, code: str, *arguments: str, namespace: str = "host") -> subprocess.Popen[bytes]:
    return at.start(namespace, "/usr/bin/python3", "-c", code, *arguments)


def runs(process: subprocess.Popen[bytes]) -> str:
    return os.readlink(f"/proc/{process.pid}/exe")  # noqa: PTH115 - "(deleted)" is no part of a path


FORGED = """
import socket, struct
s = socket.socket(2, 3, 255)
tcp = struct.pack("!HHIIBBHHH", 4444, 443, 20 << 16, 1, 0x50, 2, 1024, 0, 0)
ends = map(socket.inet_aton, ("{source}", "203.0.113.2"))
s.sendto(struct.pack("!BBHHHBBH4s4s", 69, 0, 40, 1, 0, 64, {protocol}, 0, *ends) + tcp, ("203.0.113.2", 0))
"""
BOUND = "s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())"
OPENS = "import os, socket, time; {}; os.write(1, b'x'); time.sleep(60)"
STAYS = "import socket, sys, time\n{}\ntime.sleep(60)"


@pytest.mark.parametrize(
    ("code", "protocol", "destination"),
    [
        ("s = socket.create_connection(('203.0.113.2', 443))", "TCP", "203.0.113.2"),
        ("s = socket.create_connection(('2001:db8:2::2', 443))", "TCP", "2001:db8:2::2"),
        ("s = socket.socket(socket.AF_INET6); s.connect(('::ffff:203.0.113.2', 443))", "TCP", "203.0.113.2"),
        ("s = socket.socket(type=2); s.connect(('203.0.113.2', 443)); s.send(b'x')", "UDP", "203.0.113.2"),
        ("s = socket.socket(type=2); s.sendto(b'x', ('203.0.113.2', 443))", "UDP", "203.0.113.2"),
        ("s = socket.socket(10, 2); s.connect(('2001:db8:2::2', 443)); s.send(b'x')", "UDP", "2001:db8:2::2"),
        ("s = socket.socket(10, 2); s.sendto(b'x', ('2001:db8:2::2', 443))", "UDP", "2001:db8:2::2"),
        ("s = socket.socket(10, 2); s.sendto(b'x', ('::ffff:203.0.113.2', 443))", "UDP", "203.0.113.2"),
        (f"s = socket.socket(); {BOUND}; s.connect(('203.0.113.2', 443))", "TCP", "203.0.113.2"),
        (f"s = socket.socket(10); {BOUND}; s.connect(('2001:db8:2::2', 443))", "TCP", "2001:db8:2::2"),
        (f"s = socket.socket(type=2); {BOUND}; s.sendto(b'x', ('203.0.113.2', 443))", "UDP", "203.0.113.2"),
        (f"s = socket.socket(10, 2); {BOUND}; s.sendto(b'x', ('2001:db8:2::2', 443))", "UDP", "2001:db8:2::2"),
        ("s = socket.socket(type=2); s.bind(('', 5353)); s.sendto(b'x', ('203.0.113.2', 443))", "UDP", "203.0.113.2"),
    ],
    ids=[
        "tcp",
        "tcp6",
        "tcp-mapped",
        "udp",
        "udp-sendto",
        "udp6",
        "udp6-sendto",
        "udp-mapped",
        "bound-tcp",
        "bound-tcp6",
        "bound-udp",
        "bound-udp6",
        "udp-bound",
    ],
)
def test_a_socket_is_named_with_its_process(
    at: Place, watching: Watching, code: str, protocol: str, destination: str
) -> None:
    listening = at.start("peer", "nc", "-6lk" if ":" in destination else "-lk", "443")
    attributing.wait_until(lambda: b":443" in at.run("peer", "ss", "-Hltn").stdout, "the peer listens")
    source = python(at, STAYS.format(code), f"fw{at.tag}p")
    flow = watching.flow(protocol=protocol, destination_port=443)
    listening.kill()
    assert flow["destination"] == destination
    assert flow["known"] == "socket"
    assert flow["pid"] == source.pid
    assert flow["executable"] == os.path.realpath("/usr/bin/python3")
    assert not flow["deleted"]
    assert not flow["container"]
    assert flow["command"].startswith("/usr/bin/python3 -c import socket")
    assert (flow["user"], flow["uid"]) == ("root", 0)
    assert flow["direction"] == "out"
    assert flow["interface"] == f"fw{at.tag}p"
    assert flow["prefix"] == "OUTBOUND_FOREIGN "
    assert abs(time.time() - _epoch(flow["started"])) < 30
    assert flow["parents"][0] == os.path.realpath(sys.executable)
    assert 0 <= flow["delay"] < 5
    assert ", sender known of 100.0 %, 0 events lost\n" in watching.end()


def _epoch(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_an_unanswered_connection_is_one_flow(at: Place, watching: Watching) -> None:
    at.run("peer", "nft", "add table inet t; add chain inet t i { type filter hook input priority 0; policy drop; }")
    source = python(at, STAYS.format("s = socket.socket(); s.settimeout(9); s.connect(('203.0.113.2', 443))"))
    assert watching.flow(destination_port=443)["pid"] == source.pid
    time.sleep(3.5)  # the kernel has tried twice more
    assert len(watching.flows()) == 1


def test_a_connect_of_a_moment_has_its_user_at_least(at: Place, watching: Watching) -> None:
    done = at.run("host", "/usr/bin/python3", "-c", "import socket; socket.socket().connect_ex(('203.0.113.2', 9))")
    assert done.returncode == 0
    flow = watching.flow(protocol="TCP", destination_port=9)  # refused at once
    assert flow["user"] == "root"
    assert flow["known"] in {"socket", "user"}
    assert (flow["pid"] is None) == (flow["known"] == "user")


def test_what_has_gone_is_not_given_to_somebody_else(at: Place, watching: Watching) -> None:
    watching.process.send_signal(signal.SIGSTOP)
    at.run("host", "/usr/bin/python3", "-c", "import socket; socket.socket(type=2).sendto(b'x', ('203.0.113.2', 9))")
    watching.process.send_signal(signal.SIGCONT)
    flow = watching.flow(protocol="UDP", destination_port=9)
    assert (flow["known"], flow["pid"], flow["executable"], flow["user"]) == ("user", None, "", "root")
    assert ", sender known of 0.0 %, " in watching.end()


def test_a_port_taken_over_by_another_user_is_not_his_flow(at: Place, watching: Watching) -> None:
    watching.process.send_signal(signal.SIGSTOP)
    send = "import socket; s = socket.socket(type=2); s.bind(('', 7777)); s.sendto(b'x', ('203.0.113.2', 9))"
    at.run("host", "/usr/bin/python3", "-c", send)
    taken = at.start(
        "host", "/usr/bin/python3", "-c",
        "import os, socket, time; os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(type=2); s.bind(('', 7777)); os.write(1, b'x'); time.sleep(60)",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert taken.stdout is not None
    assert taken.stdout.read(1) == b"x"
    watching.process.send_signal(signal.SIGCONT)
    flow = watching.flow(protocol="UDP", destination_port=9)
    assert (flow["known"], flow["pid"], flow["user"]) == ("user", None, "root")


def test_a_forked_child_is_itself(at: Place, watching: Watching) -> None:
    code = (
        "import os, socket, time\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    s = socket.socket(type=2); s.sendto(b'x', ('203.0.113.2', 443))\n"
        "else: print(child, flush=True)\n"
        "time.sleep(60)"
    )
    parent = at.start("host", "/usr/bin/python3", "-c", code, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        flow = watching.flow(protocol="UDP", destination_port=443)
        assert flow["pid"] == child != parent.pid
        assert flow["parents"][0] == os.path.realpath("/usr/bin/python3")
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("name", ["evil", "evil (deleted)", "ev\x1b[31mil\n"], ids=["plain", "so-called", "escapes"])
def test_a_deleted_executable_is_told(at: Place, watching: Watching, tmp_path: Path, name: str) -> None:
    copy = tmp_path / name
    shutil.copy("/usr/bin/nc", copy)
    listening = at.start("peer", "nc", "-lk", "443")
    attributing.wait_until(lambda: b":443" in at.run("peer", "ss", "-Hltn").stdout, "the peer listens")
    source = at.start("host", str(copy), "203.0.113.2", "443", stdin=subprocess.PIPE)
    first = watching.flow(destination_port=443)
    shown = str(copy).replace("\x1b", "?").replace("\n", "?")
    assert (first["pid"], first["executable"], first["deleted"]) == (source.pid, shown, False)
    source.kill()
    listening_too = at.start("peer", "nc", "-lku", "444")  # so that nothing ends it
    attributing.wait_until(lambda: b":444" in at.run("peer", "ss", "-Hlun").stdout, "the peer listens")
    waits = at.start("host", str(copy), "-u", "203.0.113.2", "444", stdin=subprocess.PIPE)
    attributing.wait_until(lambda: runs(waits) == str(copy), "it runs")
    copy.unlink()
    assert waits.stdin is not None
    waits.stdin.write(b"x")
    waits.stdin.flush()
    then = watching.flow(destination_port=444)
    listening.kill()
    listening_too.kill()
    assert (then["pid"], then["executable"], then["deleted"]) == (waits.pid, shown, True)


def test_a_name_of_another_mount_namespace_is_not_the_hosts(at: Place, watching: Watching, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    shutil.copy(os.path.realpath("/usr/bin/python3"), evil)
    hidden = os.path.realpath(shutil.which("ping") or "")
    run = 'mount --make-rprivate / && mount --bind "$0" "$1" && exec "$1" -c "$2"'
    code = STAYS.format("s = socket.socket(type=2); s.sendto(b'x', ('203.0.113.2', 443))")
    waits = at.start("host", "unshare", "-m", "sh", "-c", run, str(evil), hidden, code)
    flow = watching.flow(destination_port=443)
    assert (flow["pid"], flow["executable"], flow["container"]) == (waits.pid, hidden, "another mount namespace")


def test_a_ping_without_root_is_named_by_its_echo_socket(at: Place, watching: Watching) -> None:
    send = STAYS.format(
        "s = socket.socket(2, 2, socket.IPPROTO_ICMP)\ns.sendto(bytes((8, 0, 0, 0, 0, 0, 0, 1)), ('203.0.113.2', 0))"
    )
    source = python(at, send)
    flow = watching.flow(protocol="ICMP")
    assert (flow["known"], flow["pid"]) == ("socket", source.pid)
    assert flow["source_port"] is None


@pytest.mark.parametrize("address", ["203.0.113.2", "2001:db8:2::2"])
def test_of_icmp_the_holders_of_raw_sockets_are_suspects(at: Place, watching: Watching, address: str) -> None:
    six = ":" in address
    code = STAYS.format(
        f"s = socket.socket({10 if six else 2}, 3, {58 if six else 1})\n"
        f"s.sendto(bytes(({128 if six else 8}, 0, {0 if six else 247}, 255, 0, 0, 0, 0)), ('{address}', 0))"
    )
    others = [
        "s = socket.socket(17, 3, socket.htons(3))",  # goes past the hooks
        f"s = socket.socket({10 if six else 2}, 3, {58 if six else 1}); os.fchown(s.fileno(), 65534, -1)",
    ]
    for other in others:
        opened = at.start("host", "/usr/bin/python3", "-c", OPENS.format(other), stdout=subprocess.PIPE)
        assert opened.stdout is not None
        assert opened.stdout.read(1) == b"x"
    source = python(at, code)
    flow = watching.flow(protocol="ICMPv6" if six else "ICMP")
    assert (flow["known"], flow["pid"], flow["user"]) == ("suspects", None, "root")
    assert flow["suspects"] == [f"{source.pid} {os.path.realpath('/usr/bin/python3')}"]


def test_a_forged_tcp_packet_has_suspects(at: Place, watching: Watching) -> None:
    source = python(at, STAYS.format(FORGED.format(protocol=6, source="203.0.113.1")))
    flow = watching.flow(protocol="TCP", source_port=4444)
    assert (flow["known"], flow["pid"]) == ("suspects", None)
    assert [each.split()[0] for each in flow["suspects"]] == [str(source.pid)]


@pytest.mark.parametrize(
    ("destination", "source"), [("203.0.113.2", "192.0.2.130"), ("2001:db8:2::2", "2001:db8:3::2")]
)
def test_what_is_forwarded_has_its_namespace(at: Place, watching: Watching, destination: str, source: str) -> None:
    init = at.start("container", "sleep", "60")
    attributing.wait_until(lambda: runs(init).endswith("sleep"), "it runs")
    family = 10 if ":" in destination else 2
    python(
        at,
        STAYS.format(f"s = socket.socket({family}, 2); s.sendto(b'x', ('{destination}', 443))"),
        namespace="container",
    )
    flow = watching.flow(protocol="UDP", destination_port=443)
    assert (flow["direction"], flow["known"], flow["source"]) == ("forwarded", "namespace", source)
    if flow["container"].startswith("one of "):  # of a test beside this one
        assert at.namespace("container") in flow["container"]
    else:
        assert (flow["container"], flow["pid"]) == (at.namespace("container"), init.pid)
    assert flow["interface"] == f"fw{at.tag}p"


def test_what_comes_from_nowhere_is_not_known(at: Place, watching: Watching) -> None:
    for each in ("all", f"fw{at.tag}c"):
        at.run("host", "sysctl", "-qw", f"net.ipv4.conf.{each}.rp_filter=0")
    forged = FORGED.format(protocol=17, source="198.51.100.77")
    assert at.run("container", "/usr/bin/python3", "-c", forged).returncode == 0
    flow = watching.flow(source="198.51.100.77", source_port=4444)
    assert (flow["direction"], flow["known"], flow["container"], flow["pid"]) == ("forwarded", "not known", "", None)


def test_two_namespaces_with_one_address_are_both_named(at: Place, watching: Watching) -> None:
    other = at.namespace("peer")
    at.run("peer", "ip", "address", "add", "192.0.2.130/32", "dev", "lo")
    for name in ("peer", "container"):
        process = at.start(name, "sleep", "60")
        attributing.wait_until(lambda sleeper=process: runs(sleeper).endswith("sleep"), "it runs")  # type: ignore[misc]
    python(at, STAYS.format("s = socket.socket(type=2); s.sendto(b'x', ('203.0.113.2', 443))"), namespace="container")
    flow = watching.flow(destination_port=443)
    assert flow["container"].startswith("one of ")  # and maybe of tests beside this one
    assert {at.namespace("container"), other} <= set(flow["container"].removeprefix("one of ").split(", "))
    assert flow["pid"] is None


def test_a_burst_is_seen_whole(at: Place, watching: Watching) -> None:
    watching.process.send_signal(signal.SIGSTOP)
    code = "import socket\nfor n in range(2000): s = socket.socket(type=2); s.sendto(b'x', ('203.0.113.2', 10000 + n))"
    at.run("host", "/usr/bin/python3", "-c", code)
    watching.process.send_signal(signal.SIGCONT)
    attributing.wait_until(lambda: len(watching.flows()) == 2000, "all were seen")
    assert {each["destination_port"] for each in watching.flows()} == set(range(10000, 12000))
    assert ", 0 events lost\n" in watching.end()


def test_what_is_lost_is_counted(at: Place, watching: Watching) -> None:
    watching.process.send_signal(signal.SIGSTOP)
    code = (
        "import socket, sys\n"
        "for n in range(int(sys.argv[1])): s = socket.socket(type=2); s.sendto(b'x', ('203.0.113.2', 1 + n % 60000))"
    )
    count = 30000
    at.run("host", "/usr/bin/python3", "-c", code, str(count))
    watching.process.send_signal(signal.SIGCONT)
    attributing.wait_until(lambda: _steady(watching), "all that is left was seen", 120)
    at.run("host", "/usr/bin/python3", "-c", code, "1")  # the next one says how many are missing
    attributing.wait_until(lambda: _steady(watching), "the next one was seen")
    said = watching.end().splitlines()[-1]
    found = re.search(r": ([\d,]+) connections .* ([\d,]+) events? lost$", said)
    assert found is not None, said
    seen, lost = (int(each.replace(",", "")) for each in found.groups())
    assert lost > 0
    assert seen + lost == count + 1


def _steady(watching: Watching) -> bool:
    before = watching.output.stat().st_size
    time.sleep(1)
    return watching.output.stat().st_size == before > 0


def test_a_line_is_inert(at: Place, tmp_path: Path) -> None:
    output, said = tmp_path / "output", tmp_path / "said"
    with output.open("wb") as out, said.open("wb") as err:
        watch = at.watch(out, err, "--verbose")
    evil = '\x1b[2J\n2026-01-01 out TCP pid=1 command="x" \u202e'
    code = STAYS.format("s = socket.socket(type=2); s.sendto(b'x', ('203.0.113.2', 443))")
    source = python(at, code, evil)
    attributing.wait_until(lambda: b"443" in output.read_bytes(), "it was seen")
    watch.send_signal(signal.SIGINT)
    assert watch.wait(20) == 0
    (line,) = output.read_text().splitlines()
    assert line.isprintable()
    assert " out UDP 203.0.113.1:" in line
    assert f" known=socket pid={source.pid} user=root " in line
    assert 'command=\\"x\\"' in line
    assert ": 1 connection to 1 address, sender known of 100.0 %, 0 events lost\n" in said.read_text()


def test_a_terminal_has_a_table(at: Place, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    said = tmp_path / "said"
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        with said.open("wb") as err, os.fdopen(theirs, "wb") as terminal:
            watch = at.watch(terminal, err, "--verbose")
        python(
            at,
            STAYS.format(
                "s = socket.socket(type=2)\n"
                "for port in (443, 443, 444): s.sendto(b'x', ('203.0.113.2', port)); time.sleep(0.1)"
            ),
        )
        shown = b""
        deadline = time.monotonic() + 20
        while b"203.0.113.2:444" not in shown and time.monotonic() < deadline:
            if select.select([ours], [], [], 1)[0]:
                shown += os.read(ours, 65536)
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(20) == 0
        shown += os.read(ours, 65536)
    finally:
        os.close(ours)
    assert b"2 foreign connections" in shown
    assert b"203.0.113.2:443" in shown
    assert b"python3" in shown
    assert shown.endswith(b"\x1b[?25h\x1b[?1049l")


def test_a_second_watch_is_told_of_the_first(at: Place, watching: Watching) -> None:
    done = at.run("host", attributing.FWFEED, "watch")
    assert done.returncode == 1
    assert b"another program listens to NFLOG group 243" in done.stderr
    assert b"way out:" in done.stderr
    assert watching.process.poll() is None


def test_without_what_makes_root_root_it_says_so(at: Place) -> None:
    """Of the user root, so that the checkout can be read wherever it is, but with none of his capabilities."""
    done = at.run("host", "setpriv", "--bounding-set", "-all", "--inh-caps", "-all", attributing.FWFEED, "watch")
    assert done.returncode == 1
    assert b"cannot listen to NFLOG group 243" in done.stderr
    assert b"way out: root may be without CAP_NET_ADMIN here" in done.stderr


def test_the_kernels_log_tells_of_the_same_flow(at: Place, watching: Watching, tmp_path: Path) -> None:
    from fwfeed.kernlog import of_the_ring

    python(at, STAYS.format("s = socket.socket(10, 2); s.sendto(b'x', ('2001:db8:2::2', 443))"))
    live = watching.flow(protocol="UDP", destination_port=443)
    logged = [
        (moment, kind)
        for moment, port, kind in of_the_ring(("OUTBOUND_FOREIGN ",))
        if kind.interface == f"fw{at.tag}p" and port == live["source_port"]
    ]
    assert len(logged) == 1
    moment, kind = logged[0]
    assert (kind.destination, kind.protocol) == ("2001:db8:2::2", "UDP")
    assert kind.direction == "out"
    assert abs(moment / 1_000_000 - _epoch(live["at"])) < 5


def test_raw_bytes_of_netlink_are_recorded(at: Place) -> None:
    """FWFEED_WRITE_NFLOG=FILE records what the unit tests parse."""
    if not (file := os.environ.get("FWFEED_WRITE_NFLOG")):
        return
    code = (
        "import sys, time, json, select\nfrom fwfeed import nflog\n"
        "r = nflog.Reader(243)\nkept = []\nwas = nflog.parse\n"
        "nflog.parse = lambda body, came: kept.append(body.hex()) or was(body, came)\n"
        "print('x', flush=True)\nend = time.time() + 4\n"
        "while time.time() < end: r.read(); time.sleep(0.01)\n"
        "open(sys.argv[1], 'w').write(json.dumps(kept, indent=0))"
    )
    recording = at.start("host", sys.executable, "-c", code, file, stdout=subprocess.PIPE)
    assert recording.stdout is not None
    recording.stdout.readline()
    send = (
        "import socket\n"
        "for family, address in ((2, '203.0.113.2'), (10, '2001:db8:2::2')):\n"
        "    socket.socket(family, 1).connect_ex((address, 443))\n"
        "    socket.socket(family, 2).sendto(b'x', (address, 53))\n"
        "s = socket.socket(10, 2)\n"
        "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, bytes((0, 0, 1, 4, 0, 0, 0, 0)))\n"
        "s.sendto(b'x', ('2001:db8:2::2', 54))\n"
    )
    at.run("host", "/usr/bin/python3", "-c", send)
    at.run("host", "ping", "-c1", "-W1", "203.0.113.2")
    at.run("host", "ping", "-c1", "-W1", "2001:db8:2::2")
    at.run("container", "/usr/bin/python3", "-c", send)
    assert recording.wait(20) == 0
    assert json.loads(Path(file).read_text())


def test_a_ledger_gets_all_that_was_shown_and_how_many_were_lost(at: Place, tmp_path: Path) -> None:
    code = (
        "import json, os, sys\n"
        "from fwfeed.observe import observe\n"
        "shown, recorded, lost = [], [], []\n"
        "summary = observe(243, lambda sent: shown.append(sent.flow.destination_port), stop=0,\n"
        "    record=lambda batch, _until: recorded.append([sent.flow.destination_port for sent in batch]),\n"
        "    lost=lambda count, now: lost.append(count), ready=lambda: print('watching', flush=True))\n"
        "print(json.dumps([shown, recorded, lost, summary.flows, summary.lost]))"
    )
    watch = at.start("host", sys.executable, "-c", code, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert watch.stdin is not None
    assert watch.stdout is not None
    assert watch.stdout.readline() == b"watching\n"
    send = "import socket\nfor n in range({}): s = socket.socket(type=2); s.sendto(b'x', ('203.0.113.2', 1 + n))"
    watch.send_signal(signal.SIGSTOP)
    at.run("host", "/usr/bin/python3", "-c", send.format(30000))
    watch.send_signal(signal.SIGCONT)
    time.sleep(0.2)
    watch.stdin.write(b"x")  # while it is at it
    watch.stdin.flush()
    shown, recorded, lost, flows, lost_in_all = json.loads(watch.stdout.read())
    assert watch.wait(20) == 0
    assert flows == len(shown) > 1000
    assert [port for batch in recorded for port in batch] == shown
    assert max(map(len, recorded)) <= 1000
    assert sum(lost) == lost_in_all > 0
