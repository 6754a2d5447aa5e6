"""What a server can cost: memory, time and room on the disk; and what stops a fetch from outside."""

from __future__ import annotations

import gzip
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import needs
from tests.hostile.place import RECORDS, THE_SET, Place, checksum, environment, measure, newer, started, today
from tests.hostile.server import Answer, Request, Server, Talk, chunk, head, says, unanswering, whole
from tests.skipping import require
from tests.unit.builders import FWFEED, Ended, snapshot

MOST_MEMORY = 200
CAP = 64 << 20
RECORD_CAP = 600_000
NOBODY = "@" * len("ripencc")


def large() -> bytes:
    """Return a good delegated file of registry @@@@@@@, of as many records and bytes as are allowed."""
    # 10.0.0.0/8 and fd00::/8 play the world: documentation has not as many addresses
    half = RECORD_CAP // 2
    heads = f"2|{NOBODY}|2|{RECORD_CAP}|19830101|{today():%Y%m%d}|+0000\n"
    heads += "".join(f"{NOBODY}|*|{kind}|*|{half}|summary\n" for kind in ("ipv4", "ipv6"))
    lines = [f"ZZ|ipv4|10.{n >> 16}.{n >> 8 & 255}.{n & 255}|1|20240101|assigned|" for n in range(half - 1)]
    lines += [f"ZZ|ipv6|fd00:{n >> 16:x}:{n & 65535:x}::|48|20240101|assigned|" for n in range(half - 1)]
    lines += ["JP|ipv4|198.51.100.0|256|20100101|allocated|", "JP|ipv6|2001:db8:1::|48|20100101|allocated|"]
    room = (CAP - len(heads)) // RECORD_CAP - len(f"{NOBODY}|\n")
    return (heads + "".join(f"{NOBODY}|{line.ljust(room, 'x')}\n" for line in lines)).encode()


@pytest.mark.timeout(900)  # beside other tests, on a slow machine
def test_five_of_the_largest_files_at_once_fit_into_200_mib(place: Place) -> None:
    place.configure(deadline="10m")
    raw = large()
    assert CAP - RECORD_CAP < len(raw) <= CAP
    for registry in RECORDS:
        place.publish(registry, raw.replace(NOBODY.encode(), registry.encode()))
    measured = measure(place, "fetch")
    assert (measured.ended.code, measured.ended.err) == (0, "")
    assert place.listed() == THE_SET
    assert measured.mebibytes <= MOST_MEMORY


def endless(before: bytes, piece: bytes) -> Answer:
    def answer(talk: Talk, _request: Request) -> None:
        talk.send(before)
        while True:
            talk.send(piece)

    return answer


def many_headers(talk: Talk, _request: Request) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(98):  # and the length, which is all that http.client takes
        talk.send(b"x-%d: %s\r\n" % (number, b"y" * 65_000))
    talk.send(b"Content-Length: 1\r\n\r\n2")


BOMBS: dict[str, tuple[Answer, str]] = {
    "the size of a chunk is negative": (
        endless(head(Transfer_Encoding="chunked") + b"-1\r\n", bytes(1 << 20)),
        "the size of a chunk is negative",
    ),
    "the line of a chunk's size never ends": (
        endless(head(Transfer_Encoding="chunked"), b"0" * (1 << 20)),
        "got more than 65536 bytes when reading chunk size",
    ),
    "the body of a redirect never ends": (
        endless(head("302 Found", Location="/delegated-apnic-extended-latest"), bytes(1 << 20)),
        "more than 5 redirects",
    ),
    "the body of an error never ends": (endless(head("500 Oh"), bytes(1 << 20)), "HTTP 500 Oh"),
    "the body never ends": (endless(head(), bytes(1 << 20)), "more than 67,108,864 bytes"),
    "as many headers of 65 kB as are taken": (many_headers, "more than 65,536 bytes of headers"),
    "a line that never ends": (whole(b"2" * CAP), "the line is longer than 65,536 bytes"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_answer_fills_the_memory(name: str, place: Place) -> None:
    answer, reason = BOMBS[name]
    place.accept()
    kept = place.moving()
    true = whole(checksum(b"2" * CAP)) if "a line" in name else whole(checksum(b""))
    for registry in RECORDS:
        place.say(answer, true, registry=registry)
    measured = measure(place, "fetch")
    place.assert_refused(measured.ended, reason, kept)
    assert measured.mebibytes <= MOST_MEMORY


def test_no_packed_file_fills_the_memory(place: Place) -> None:
    place.accept()
    bomb = gzip.compress(bytes(1 << 27))
    for registry in RECORDS:
        place.urls[registry] = f"{place.server.url}/{registry}.gz"
        place.server.answers[f"/{registry}.gz"] = [whole(bomb)]
        place.server.answers[f"/{registry}.md5"] = [whole(checksum(b""))]
    place.configure()
    kept = place.moving()
    measured = measure(place, "fetch")
    place.assert_refused(measured.ended, f"apnic: {place.url()}: more than 64 MiB when unpacked", kept)
    assert measured.mebibytes <= MOST_MEMORY


DOCUMENTS = {
    "lists in lists": b"[" * (8 << 20),
    "objects in objects": b'{"prefixes":' * ((8 << 20) // 12),
    "as many values as fit": b'{"prefixes":[' + b"{}," * (2 << 20) + b"{}]}",
    "one long string": b'{"prefixes":"' + b"\\u0000" * ((8 << 20) // 6 - 10) + b'"}',
    "one long number": b'{"prefixes":' + b"9" * ((8 << 20) - 20) + b"}",
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_json_fills_the_memory(name: str, place: Place) -> None:
    url = f"{place.server.url}/cloud.json"
    place.configure(feed=[("cloud", f'[[feed]]\nname = "cloud"\nurl = "{url}"\nformat = "gcp"\n')])
    place.server.answers["/cloud.json"] = [whole(DOCUMENTS[name])]
    kept = place.moving()
    measured = measure(place, "fetch")
    place.assert_refused(measured.ended, f"cloud: {url}", kept)
    assert measured.mebibytes <= MOST_MEMORY
    assert measured.seconds < 5


def test_headers_of_no_form_are_no_traceback(place: Place) -> None:
    # urllib3 logs them with one; in this process pytest's own handler of logs would hide it
    place.publish("apnic", newer())
    place.say(says(b"HTTP/1.1 200 OK\r\nwhat is this\r\n: y\r\nContent-Length: 1\r\n\r\n2"))
    measured = measure(place, "fetch")
    assert measured.ended.code == 3
    assert "Traceback" not in measured.ended.err
    assert measured.ended.err.startswith(f"fwfeed: apnic: {place.url()}: ")


def stalling(*pieces: bytes) -> Answer:
    def answer(talk: Talk, _request: Request) -> None:
        talk.send(*pieces)
        talk.stall()

    return answer


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


STALLS: dict[str, Answer] = {
    "before the answer": stalling(),
    "in the headers": stalling(b"HTTP/1.1 200 OK\r\nx: "),
    "in the body": stalling(head(length=len(newer())), newer()[:-50]),
    "until a retry": whole(b"", "503 Busy", Retry_After="15"),
}


def assert_stops(place: Place, number: signal.Signals, stalled: Callable[[], object]) -> None:
    """Assert that a fetch that waits for apnic ends at once, and leaves nothing."""
    kept = place.moving()
    with started(place, "fetch") as process:
        until(stalled)
        time.sleep(0.2)  # for the others to arrive
        assert process.poll() is None
        begun = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        seconds = time.monotonic() - begun
    place.assert_stopped(Ended(process.returncode, out, err), f"fwfeed: interrupted by {number.name}\n", kept)
    assert seconds < 2


@pytest.mark.parametrize(
    ("name", "number"), [*((name, signal.SIGINT) for name in STALLS), ("in the body", signal.SIGTERM)]
)
def test_a_stalled_transfer_can_be_stopped(name: str, number: signal.Signals, before: str, place: Place) -> None:
    place.configure(retries=3)
    place.publish("ripencc", newer("ripencc"))
    place.say(STALLS[name])
    place.server.forget()
    assert_stops(place, number, lambda: place.server.asked(place.path()))


def test_a_stalled_handshake_can_be_stopped(place: Place) -> None:
    place.accept()
    with Server(None, greet=Talk.stall) as other:
        place.urls["apnic"] = f"{other.url}/f"
        place.configure()
        assert_stops(place, signal.SIGINT, lambda: other.connections)


def test_a_connection_that_is_not_taken_can_be_stopped(place: Place) -> None:
    place.accept()
    with unanswering() as port:
        place.urls["apnic"] = f"https://127.0.0.1:{port}/f"
        place.configure()
        assert_stops(place, signal.SIGINT, lambda: len(place.server.requests) == 4)


# The next are about the disk.


@dataclass(frozen=True)
class Disk:
    """Runs a fetch, in a mount namespace of its own, with one of its folders on a small file system."""

    place: Place

    def fetch(self, folder: Path, *, room: int) -> Ended:
        """Fetch with `folder` on a file system that has room for so many bytes more; what it holds then is put back.

        A moment later another 4096 are free, too late for whatever has met the end.
        """
        need = sum(4096 * -(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())
        script = """
            set -e
            cp -a "$1" "$1.copy"
            mount -t tmpfs -o size="$2",mode=755 none "$1"
            cp -a "$1.copy/." "$1"
            head -c 4096 /dev/zero >"$1/filler"
            (sleep 0.7; rm -f "$1/filler") >/dev/null 2>&1 &
            code=0
            "$3" --config "$4" fetch || code=$?
            rm -rf "$1.copy" "$1/filler"
            cp -a "$1" "$1.copy"
            umount "$1"
            rm -rf "$1"
            mv "$1.copy" "$1"
            exit $code
        """
        return self._run(script, folder, need + room + 4096)

    def fetch_read_only(self, folder: Path) -> Ended:
        """Fetch with `folder` on a file system that nobody can write to."""
        script = """
            set -e
            mount --bind "$1" "$1"
            mount -o remount,bind,ro "$1"
            exec "$3" --config "$4" fetch
        """
        return self._run(script, folder, 0)

    def _run(self, script: str, folder: Path, size: int) -> Ended:
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *map(str, (folder, size, FWFEED, self.place.config))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment())
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def disk(place: Place) -> Disk:
    require(needs.mounting())
    return Disk(place)


def test_a_full_disk_is_told_and_nothing_moves(place: Place, disk: Disk) -> None:
    place.accept()
    place.answer(newer("apnic", *(f"AU|asn|{number}|1||allocated" for number in range(1000))))
    kept = place.moving()
    ended = disk.fetch(place.cache, room=8192)
    place.assert_stopped(ended, "No space left on device\nfwfeed: way out: see that the path", kept)
    assert f"fwfeed: cannot write {place.cache}/apnic/.delegated-apnic-extended-latest.fwfeed-new: " in ended.err


def test_a_disk_without_room_for_a_single_byte_is_told(place: Place, disk: Disk) -> None:
    place.accept()
    place.publish("apnic", newer())
    kept = place.moving()
    place.assert_stopped(disk.fetch(place.cache, room=0), "No space left on device\nfwfeed: way out: ", kept)


def test_a_disk_that_has_room_for_the_file_but_not_for_its_meta_is_told(place: Place, disk: Disk) -> None:
    place.accept()
    place.publish("apnic", newer())
    kept = place.moving()
    place.assert_stopped(disk.fetch(place.cache, room=4096), "No space left on device\nfwfeed: way out: ", kept)


def test_a_list_is_not_cut_where_the_disk_ends(place: Place, disk: Disk) -> None:
    # a list has no .md5, and each of its lines is 16 bytes long: every block of the disk ends with a good line
    lines = [f"192.0.2.{number:<7}\n" for number in range(256)]
    place.server.answers["/list.txt"] = [whole("".join(lines[:128]).encode())]
    feed = f'[[feed]]\nname = "list"\nurl = "{place.server.url}/list.txt"\n'
    place.configure(feed=[("list", feed)])
    assert place.run("fetch").code == 0
    kept = place.moving()
    assert len(kept[1]) == 3

    def answer(talk: Talk, _request: Request) -> None:
        talk.send(head(Transfer_Encoding="chunked"), chunk("".join(lines * 16).encode()))
        talk.over.wait(1.2)
        talk.send(b"0\r\n\r\n")

    place.server.answers["/list.txt"] = [answer]
    place.assert_stopped(disk.fetch(place.cache, room=3 * 4096), "No space left on device\nfwfeed: way out: ", kept)


@pytest.mark.parametrize("room", [0, 8192])
def test_no_room_for_the_candidate_is_told_and_nothing_moves(room: int, place: Place, disk: Disk) -> None:
    place.accept()
    place.publish("apnic", newer())
    kept = place.moving()
    ended = disk.fetch(place.state, room=room)
    place.assert_stopped(ended, f"fwfeed: cannot write {place.state}/candidate/", kept)
    assert "fwfeed: way out: " in ended.err


def test_a_quiet_night_needs_no_room(place: Place, disk: Disk) -> None:
    place.accept()
    kept = place.moving()
    ended = disk.fetch(place.cache, room=0)
    assert (ended.code, ended.err) == (0, "nothing changed\n")
    assert place.moving() == kept


def test_a_cache_that_cannot_be_written_is_told(place: Place, disk: Disk) -> None:
    place.accept()
    place.publish("apnic", newer())
    kept = place.moving()
    place.assert_stopped(disk.fetch_read_only(place.cache), "Read-only file system\nfwfeed: way out: ", kept)


@pytest.mark.parametrize("in_the_way", ["cache", "cache/apnic", "state", "state/candidate"])
def test_a_file_in_the_place_of_a_folder_is_told(in_the_way: str, place: Place) -> None:
    path = place.root / in_the_way
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    before = snapshot(place.root, folders=False)
    ended = place.run("fetch")
    assert ended.code == 1
    assert f"{path}" in ended.err
    assert "fwfeed: way out: " in ended.err
    after = snapshot(place.root, folders=False)
    after.pop(str(place.state / "candidate" / "lock"), None)
    assert after == before
