"""A gap meter: what the kernel's sets lack, and which connections fail, while something changes the sets.

A sampler asks the kernel for single elements, over netlink and not through nft, which would take a process a question;
a client on the host goes on opening connections to Japan. Both run beside the change, as programs of their own in the
host's namespace: this module is those programs too.

An answer is about the first address of an entry. There it is exact; elsewhere an entry that is just being added beside
it could hide the right answer from a question, though not from a packet.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Address, IPv4Network, collapse_addresses
from pathlib import Path
from typing import Any

from tests.lab.whole import addresses
from tests.lab.world import FWFEED, JP, SYSTEM_PYTHON, KernelLog, World

ROOT = Path(__file__).parents[2]
BUS_NAME = "org.fedoraproject.FirewallD1"
OUT = "OUTBOUND_FOREIGN"
PORT = 8443
JAPAN = IPv4Network(f"{JP.ipv4}.0/24")

# What outbound = "reject" spares anyway. With it in the set, as by default, there is no second set of what is spared.
ON_LINK = ("127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32", "::1/128", "fe80::/10", "ff00::/8")
_ON_LINK = [IPv4Network(each) for each in ON_LINK if ":" not in each]

_SAMPLE_PAUSE_SECONDS = 0.0001  # so that two cores are enough for firewalld beside the sampler
_CONNECT_PAUSE_SECONDS = 0.002
_WAITING_CONNECTIONS = 64  # the listener's backlog has room for twice as many
_DROPPED_SECONDS = 0.9  # TCP tries again after a second: what is connected before has lost nothing

_FWFEED_SECONDS = 900  # what it reckons to be done within a minute can take a busy machine long

_SET_ENTRIES = """
import dbus, sys
_, bus_name, name = sys.argv
path = "/" + bus_name.replace(".", "/")
bus, entries = dbus.SystemBus(), sys.stdin.read().split()
bus.call_blocking(bus_name, path, bus_name + ".ipset", "setEntries", "sas", (name, entries), timeout=120)
"""


@dataclass(frozen=True, slots=True)
class Update:
    """Two lists for one set, and what to look at on the way from the old to the new one, by first addresses."""

    old: tuple[IPv4Network, ...]
    new: tuple[IPv4Network, ...]
    survivors: tuple[IPv4Address, ...]
    coming: tuple[IPv4Address, ...]
    going: tuple[IPv4Address, ...]
    rests: tuple[IPv4Address, ...] = ()  # what survives of entries that lose a part

    @property
    def watched(self) -> tuple[IPv4Address, ...]:
        return (*self.survivors, *self.rests, *self.coming, *self.going)

    def done(self) -> Update:
        """Return what stays as it is once this is done: for what changes nothing, and should."""
        return replace(self, old=self.new, survivors=(*self.survivors, *self.coming), coming=(), going=())


def exchange(entries: int, changes: int) -> Update:
    """Have a set of so many entries lose half of the changes, and gain the other half, all over the set.

    Of those that come, one half has a survivor beside it, so that both could be one larger entry; the survivors
    looked at are some of these, the first, middle and last entry, and the lab's Japan.
    """
    blocks = _blocks(entries)
    half = changes // 2
    step = len(blocks) // half
    going = [blocks[3 + index * step] for index in range(half)]
    beside = [blocks[7 + index * 2 * step] for index in range(half // 2)]
    assert not set(going) & set(beside)
    coming = [IPv4Network((int(block.broadcast_address) + 1, 24)) for block in beside]
    coming += [IPv4Network(((10 << 24) + (240 << 16) + (index << 9), 24)) for index in range(half - len(beside))]
    looked_at = (blocks[0], blocks[len(blocks) // 2], blocks[-1], beside[0], beside[-1])
    assert not set(looked_at) & set(going)
    return Update(
        old=(*blocks, JAPAN),
        new=(*(block for block in blocks if block not in set(going)), *coming, JAPAN),
        survivors=(*_firsts(looked_at), JAPAN.network_address),
        coming=_firsts((coming[0], coming[-1])),
        going=_firsts((going[0], going[-1])),
    )


def cut(entries: int, cuts: int) -> Update:
    """Have some entries lose their first half."""
    blocks = _blocks(entries)
    losing = [blocks[11 + index * (len(blocks) // cuts)] for index in range(cuts)]
    halves = {block: list(block.subnets()) for block in losing}
    return Update(
        old=(*blocks, JAPAN),
        new=(*(halves[block][1] if block in halves else block for block in blocks), JAPAN),
        survivors=_firsts((blocks[0], blocks[len(blocks) // 2], blocks[-1], JAPAN)),
        coming=(),
        going=_firsts(losing),
        rests=_firsts(rest for _lost, rest in halves.values()),
    )


def records(prefixes: Iterable[IPv4Network]) -> list[str]:
    """Return the lines of a delegated file that give Japan these prefixes; its own the lab's file has anyway."""
    return [
        f"apnic|JP|ipv4|{prefix.network_address}|{prefix.num_addresses}|20110811|assigned|A3"
        for prefix in prefixes
        if prefix != JAPAN
    ]


def configure(lab: World, *, on_link: bool) -> None:
    """Have whatever leaves for abroad refused, and logged up to a number of lines that the kernel's log has room for.

    Without what stays `on_link` in the set, there is a second one of what is not refused.
    """
    lab.configure(
        set=f"include = {json.dumps(ON_LINK if on_link else ())}",
        outbound='action = "reject"\nlimit = "100/s"',
        gates='max_growth = "100%"\nmax_shrink = "90%"\nmax_space = "100%"',
    )


def run_fwfeed(lab: World, *arguments: str) -> str:
    """Run the command, which has to do it, and return what it says."""
    config = str(lab.folder / "fwfeed.toml")
    done = lab.run("host", "at-home", FWFEED, "--config", config, *arguments, timeout=_FWFEED_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def reload(lab: World) -> None:
    """Have firewalld reload, as `firewall-cmd --reload` does."""
    lab.ask(f"{BUS_NAME}.reload")


def set_entries(lab: World, name: str, prefixes: Iterable[IPv4Network]) -> None:
    """Give firewalld's runtime set another list whole."""
    command = ["ip", "netns", "exec", lab.namespace("host"), SYSTEM_PYTHON, "-c", _SET_ENTRIES, BUS_NAME, name]
    text = "\n".join(map(str, prefixes))
    done = subprocess.run(
        command, input=text, env=lab.environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr


@dataclass(slots=True)
class Run:
    """Samples in a row with the same answers; times are of the monotonic clock, in nanoseconds."""

    first: int
    held: list[bool]  # in the order of what is watched
    samples: int = 0
    blind: int = 0  # the longest time between two samples, that before the first one included


@dataclass(frozen=True, slots=True)
class Gap:
    """In how many samples one of some addresses was missing, and for how long: in all, and from first to last."""

    missing: int
    milliseconds: float
    span_milliseconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of the sets and of the connections in the course of a change."""

    watched: tuple[IPv4Address, ...]
    runs: dict[str, list[Run]]  # by the name of the set
    started: int
    returned: int
    tried: int
    failed: int
    mislogged: int

    @property
    def seconds(self) -> float:
        """How long it took until whoever did it was done, and the kernel's sets held it all."""
        return (max(self.returned, *(runs[-1].first for runs in self.runs.values())) - self.started) / 1e9

    @property
    def samples(self) -> int:
        """How many samples were taken while the sets changed, the fewest of a set."""
        return min(sum(run.samples for run in runs[1:-1]) for runs in self.runs.values())

    @property
    def blind_milliseconds(self) -> float:
        """The longest time without a sample while the sets changed."""
        return max(run.blind for runs in self.runs.values() for run in runs[1:]) / 1e6

    def gap(self, of: Sequence[IPv4Address]) -> Gap:
        """Return when one of these addresses was missing, in the worst of the sets."""
        return max((self._gap(runs, of) for runs in self.runs.values()), key=lambda gap: gap.missing)

    def _gap(self, runs: list[Run], of: Sequence[IPv4Address]) -> Gap:
        places = [self.watched.index(address) for address in of]
        # until the first sample that has it again: rather a little too long than too short
        gaps = [
            (run.first, following.first, run.samples)
            for run, following in zip(runs, [*runs[1:], runs[-1]], strict=True)
            if not all(run.held[place] for place in places)
        ]
        if not gaps:
            return Gap(0, 0.0, 0.0)
        whole = sum(end - begin for begin, end, _samples in gaps)
        return Gap(sum(each[2] for each in gaps), whole / 1e6, (gaps[-1][1] - gaps[0][0]) / 1e6)


def measure(lab: World, update: Update, change: Callable[[], object], sets: Sequence[str] = ("JP",)) -> Measured:
    """Have the change made, from the old to the new list, and say what sampler and client saw until it was in."""
    lab.listen(JP.name, JP.addresses[0], PORT)
    watched = update.watched
    log = KernelLog([lab.device(JP)])
    try:
        with (
            _beside(lab, "sample", *sets, "--", *map(str, watched)) as sampler,
            _beside(lab, "connect", JP.addresses[0], str(PORT)) as client,
        ):
            started = time.monotonic_ns()
            change()
            returned = time.monotonic_ns()
            wait_for_kernel(lab, update.new, sets)
            time.sleep(0.1)
            runs = {name: [Run(**run) for run in found] for name, found in _end(sampler).items()}
            tried, failed = _end(client)
        mislogged = len(log.matching(OUT, f"DST={JP.addresses[0]}", "PROTO=TCP"))
    finally:
        log.close()
    final = [address not in update.going for address in watched]
    initial = [address not in update.coming for address in watched]
    for name, found in runs.items():
        assert found[0].held == initial, f"{name} was not the old list when the change began: {found[0]}"
        assert found[-1].held == final, f"{name} is not the new list: {found[-1]}"
    return Measured(watched, runs, started, returned, tried, failed, mislogged)


def wait_for_kernel(lab: World, prefixes: Iterable[IPv4Network], sets: Sequence[str] = ("JP",)) -> None:
    """Wait until the kernel's sets hold exactly these, and what stays on the link where that is in them.

    It is nft that is asked, seldom: to list a large set takes it as long as firewalld needs to fill it.
    """
    deadline = time.monotonic() + 120
    alone = list(collapse_addresses(prefixes))
    accepted = (alone, list(collapse_addresses([*alone, *_ON_LINK])))
    for name in sets:
        while addresses(lab.kernel_set(name)) not in accepted:
            assert time.monotonic() < deadline, f"the kernel's set {name} does not become what it should"
            time.sleep(0.3)


@contextmanager
def _beside(lab: World, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program of this module's while the block does something; `_end` has it tell what it found."""
    process = lab.start("host", "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tests.lab.gaps", *arguments)
    assert process.stdout
    with process:
        try:
            assert process.stdout.readline() == "ready\n", arguments
            yield process
        finally:
            process.kill()


def _end(process: subprocess.Popen[str]) -> Any:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, process.args
    return json.loads(said)


def _blocks(entries: int) -> list[IPv4Network]:
    """Return every other /24 of 10.0.0.0/8, so that with Japan and what stays on the link it is so many entries."""
    return [IPv4Network(((10 << 24) + (index << 9), 24)) for index in range(entries - len(_ON_LINK) - 1)]


def _firsts(prefixes: Iterable[IPv4Network]) -> tuple[IPv4Address, ...]:
    return tuple(prefix.network_address for prefix in prefixes)


# nfnetlink, as linux/netfilter/nf_tables.h has it
_NETLINK_NETFILTER = 12
_GETSETELEM, _NEWSETELEM, _ERROR = 10 << 8 | 13, 10 << 8 | 12, 2
_REQUEST, _NESTED, _INET = 1, 1 << 15, 1
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEM, _ELEM_KEY, _DATA_VALUE = 1, 2, 3, 1, 1, 1


def _attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _question(number: int, name: str, address: IPv4Address) -> bytes:
    """Return the message that asks for one element; the kernel reads the state that packets see."""
    key = _attribute(_ELEM_KEY | _NESTED, _attribute(_DATA_VALUE, address.packed))
    elements = _attribute(_LIST_ELEMENTS | _NESTED, _attribute(_LIST_ELEM | _NESTED, key))
    body = struct.pack("=BBH", _INET, 0, 0) + _attribute(_LIST_TABLE, b"firewalld\0")
    body += _attribute(_LIST_SET, name.encode() + b"\0") + elements
    return struct.pack("=IHHII", 16 + len(body), _GETSETELEM, _REQUEST, number, 0) + body


def _answer(message: bytes, number: int) -> bool:
    _length, kind, _flags, asked, _port = struct.unpack_from("=IHHII", message)
    assert asked == number, f"the kernel answers {asked}, not {number}"
    if kind == _NEWSETELEM:
        return True
    assert kind == _ERROR, kind
    (error,) = struct.unpack_from("=i", message, 16)
    assert error == -errno.ENOENT, os.strerror(-error)  # no element, no set, or no table
    return False


def _stdin_ends(within: float) -> bool:
    return bool(select.select([sys.stdin], [], [], within)[0])


def _sample(sets: Sequence[str], watched: Sequence[IPv4Address]) -> dict[str, list[Run]]:
    """Ask again and again whether the sets hold the addresses, until stdin ends."""
    together = b"".join(_question(number, name, address) for name in sets for number, address in enumerate(watched))
    runs: dict[str, list[Run]] = {name: [] for name in sets}
    before = time.monotonic_ns()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        netlink.bind((0, 0))
        while not _stdin_ends(within=_SAMPLE_PAUSE_SECONDS):
            now = time.monotonic_ns()
            netlink.send(together)
            for found in runs.values():
                held = [_answer(netlink.recv(8192), number) for number in range(len(watched))]
                if not found or found[-1].held != held:
                    found.append(Run(first=now, held=held))
                found[-1].samples += 1
                found[-1].blind = max(found[-1].blind, now - before)
            before = now
    return runs


def _connect(address: str, port: int) -> tuple[int, int]:
    """Open connections until stdin ends; return how many were tried, and how many were refused or not answered.

    None waits for another, as one whose first packet is dropped would keep the rest waiting. A connection counts as
    open when the kernel says so; it is kept until the listener hangs up, to stay within the listener's backlog.
    """
    tried = failed = 0
    poll = select.epoll()
    opening: dict[int, tuple[socket.socket, float]] = {}
    opened: dict[int, socket.socket] = {}
    ended = False
    while not ended or opening:
        ended = ended or _stdin_ends(within=_CONNECT_PAUSE_SECONDS)
        late = time.monotonic() - _DROPPED_SECONDS
        for descriptor, _events in poll.poll(_CONNECT_PAUSE_SECONDS if ended else 0):
            if descriptor in opening:
                connection = opening.pop(descriptor)[0]
                if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    poll.modify(descriptor, select.EPOLLIN)
                    opened[descriptor] = connection
                    continue
                failed += 1
            else:
                connection = opened.pop(descriptor)
            connection.close()
        for descriptor, (connection, since) in list(opening.items()):
            if since < late:  # and nothing was heard of it above
                failed += 1
                connection.close()
                del opening[descriptor]
        if not ended and len(opened) < _WAITING_CONNECTIONS:
            connection = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            # closed with a reset: ports in TIME_WAIT would run out
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("=ii", 1, 0))
            poll.register(connection, select.EPOLLOUT)
            opening[connection.fileno()] = (connection, time.monotonic())
            code = connection.connect_ex((address, port))
            assert code == errno.EINPROGRESS, os.strerror(code)
            tried += 1
    return tried, failed


def _main(program: str, *arguments: str) -> None:
    print("ready", flush=True)
    if program == "connect":
        address, port = arguments
        print(json.dumps(_connect(address, int(port))))
    else:
        border = arguments.index("--")
        runs = _sample(arguments[:border], [IPv4Address(each) for each in arguments[border + 1 :]])
        print(json.dumps({name: [asdict(run) for run in found] for name, found in runs.items()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
