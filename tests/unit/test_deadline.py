"""The time of a transfer: what hangs in a read is cut, from any thread, at once."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme

from fwfeed.fetch import Deadline

MOMENT = 2.0  # seconds: far more than a moment takes, far less than any timeout that could end the same read


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    with ours, theirs:
        yield ours, theirs


def is_over(deadline: Deadline) -> bool:
    """Ask anew: mypy believes that an attribute stays what it was."""
    return deadline.over


def took(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_a_read_that_hangs_ends_when_another_thread_cuts(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _theirs = pair
    with Deadline(60) as deadline, ThreadPoolExecutor(1) as pool:
        deadline.watch(ours)
        reading = pool.submit(ours.recv, 1)
        with pytest.raises(TimeoutError):
            reading.result(timeout=0.1)
        deadline.cut()
        assert took(lambda: reading.result(timeout=30)) < MOMENT
        assert reading.result() == b""
        assert is_over(deadline)


def test_a_read_that_hangs_ends_with_the_time(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Deadline(0.3) as deadline:
        deadline.watch(ours)
        assert not is_over(deadline)
        assert 0.2 < took(lambda: ours.recv(1)) < MOMENT
        assert is_over(deadline)
    theirs.settimeout(MOMENT)
    assert theirs.recv(1) == b"", "the other side sees it too"


def test_a_write_that_hangs_ends_with_the_time(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _theirs = pair
    with Deadline(0.3) as deadline, pytest.raises(BrokenPipeError):
        deadline.watch(ours)
        ours.sendall(bytes(10 << 20))


def test_bytes_that_come_one_by_one_do_not_put_the_end_off(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.05):
            try:
                theirs.send(b"x")
            except OSError:
                return

    with Deadline(0.5) as deadline, ThreadPoolExecutor(1) as pool:
        deadline.watch(ours)
        pool.submit(trickle)

        def read_all() -> None:
            while ours.recv(1):
                pass

        assert 0.4 < took(read_all) < MOMENT
        stop.set()


def test_every_connection_is_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    others = [socket.socketpair() for _ in range(3)]
    with Deadline(60) as deadline:
        for each in (pair, *others):
            deadline.watch(each[0])
        deadline.cut()
        assert [each[1].recv(1) for each in (pair, *others)] == [b""] * 4
    for ours, theirs in others:
        ours.close()
        theirs.close()


def test_a_connection_that_is_made_after_the_end_is_cut_at_once(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Deadline(60) as deadline:
        deadline.cut()
        deadline.watch(ours)
        assert took(lambda: ours.recv(1)) < MOMENT
        assert theirs.recv(1) == b""
        with pytest.raises(BrokenPipeError):
            ours.send(b"x")


def test_a_connection_whose_descriptor_tls_took_away_is_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    """wrap_socket detaches the socket that was shown; what it made of it has to end all the same."""
    ours, theirs = pair
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    with Deadline(60) as deadline, ThreadPoolExecutor(2) as pool:
        deadline.watch(ours)
        serving = pool.submit(server.wrap_socket, theirs, server_side=True)
        with client.wrap_socket(ours, server_hostname="127.0.0.1") as wrapped, serving.result(timeout=30):
            assert ours.fileno() == -1
            reading = pool.submit(wrapped.recv, 1)
            with pytest.raises(TimeoutError):
                reading.result(timeout=0.1)
            deadline.cut()
            began = time.monotonic()
            assert reading.exception(timeout=30) is None or isinstance(reading.exception(), OSError)
            assert time.monotonic() - began < MOMENT


def test_a_handshake_that_hangs_is_cut(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _theirs = pair
    with Deadline(0.3) as deadline:
        deadline.watch(ours)
        began = time.monotonic()
        with pytest.raises(OSError):
            ssl.create_default_context().wrap_socket(ours, server_hostname="127.0.0.1")
        assert time.monotonic() - began < MOMENT


def test_what_was_closed_on_both_sides_is_no_error(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Deadline(60) as deadline:
        deadline.watch(ours)
        theirs.close()
        ours.close()
        deadline.cut()
        deadline.cut()


def test_a_connection_that_the_other_side_broke_off_is_no_error_and_keeps_no_other_from_being_cut(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Deadline(60) as deadline:
        broken = socket.create_connection(listener.getsockname())
        other, _address = listener.accept()
        deadline.watch(broken)
        deadline.watch(pair[0])
        other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        other.close()
        with broken, pytest.raises(ConnectionResetError):
            broken.recv(1)
        deadline.cut()
        assert pair[1].recv(1) == b""


def test_a_connection_that_is_not_watched_stays(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Deadline(60) as deadline:
        deadline.cut()
    theirs.send(b"x")
    assert ours.recv(1) == b"x"


def test_a_connection_outlives_a_deadline_that_was_not_reached(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Deadline(0.2) as deadline:
        deadline.watch(ours)
    time.sleep(0.4)
    assert not is_over(deadline), "leaving the block stops the clock"
    theirs.send(b"x")
    assert ours.recv(1) == b"x"


def test_the_duplicates_are_closed_with_the_block(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Deadline(60) as deadline:
        deadline.watch(ours)
        ours.close()
    theirs.settimeout(MOMENT)
    assert theirs.recv(1) == b"", "nobody holds the other end any more"


def test_what_is_left_of_the_time() -> None:
    with Deadline(10) as deadline:
        first = deadline.left
        assert 9 < first <= 10
        time.sleep(0.05)
        assert deadline.left < first
        assert not is_over(deadline)
        deadline.cut()
        assert deadline.left == 0
        assert is_over(deadline)
        assert deadline.seconds == 10


def test_a_pause_is_as_long_as_it_should_be_and_never_beyond_the_end() -> None:
    with Deadline(60) as deadline:
        assert 0.1 <= took(lambda: deadline.pause(0.1)) < MOMENT
    with Deadline(0.2) as deadline:
        assert took(lambda: deadline.pause(30)) < MOMENT


def test_a_pause_ends_when_another_thread_cuts() -> None:
    with Deadline(60) as deadline, ThreadPoolExecutor(1) as pool:
        pausing = pool.submit(deadline.pause, 30)
        deadline.cut()
        assert took(lambda: pausing.result(timeout=30)) < MOMENT


def test_a_cut_before_the_block_is_a_cut() -> None:
    """A refresh that ends early cuts errands that have not begun yet."""
    deadline = Deadline(60)
    deadline.cut()
    with deadline:
        assert is_over(deadline)
        assert deadline.left == 0
        assert took(lambda: deadline.pause(30)) < MOMENT


def test_its_clock_does_not_keep_a_process_alive() -> None:
    before = threading.active_count()
    for _ in range(3):
        with Deadline(60):
            assert all(thread.daemon for thread in threading.enumerate() if isinstance(thread, threading.Timer))
    time.sleep(0.1)
    assert threading.active_count() <= before
