"""What must not be refused: faults that pass, mirrors that help out, proxies, and nights when nothing is new."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from fwfeed import __version__
from tests.hostile.place import AUSTRALIA, RECORDS, THE_SET, Kept, Place, checksum, newer, today
from tests.hostile.server import Answer, HungUp, Server, Talk, chunk, head, says, whole
from tests.unit.builders import Ended, delegated, snapshot

NEWER = newer()
NAME = "delegated-apnic-extended-latest"


def assert_taken(place: Place, ended: Ended, raw: bytes = NEWER) -> None:
    """Assert that apnic's new file was accepted without a word."""
    assert (ended.code, ended.err) == (0, "")
    assert (place.cache / "apnic" / NAME).read_bytes() == raw
    assert (place.cache / "apnic" / f"{NAME}.md5").read_bytes() == checksum(raw)
    assert place.listed() == THE_SET
    assert "refused" not in place.run("status").out


def moved(place: Place, before: Kept) -> set[str]:
    """Return the files that are others than before."""
    after = place.kept()
    return {str(Path(path).relative_to(place.root)) for path in after if after[path] != before.get(path)}


def test_a_quiet_night_is_five_requests_and_writes_nothing(place: Place) -> None:
    place.accept()
    before = snapshot(place.root)
    ended = place.run("fetch")
    assert (ended.code, ended.err) == (0, "nothing changed\n")
    assert snapshot(place.root) == before, "neither files nor the folders they are in"
    assert sorted(request.path for request in place.server.requests) == [place.path(registry) for registry in RECORDS]
    for request in place.server.requests:
        assert set(request.conditions) == {"if-none-match", "if-modified-since"}
    assert place.server.connections == 5


def test_who_asks_and_for_what_is_told_honestly(place: Place) -> None:
    place.accept()
    place.publish("apnic", NEWER)
    assert_taken(place, place.run("fetch"))
    assert len(place.server.requests) == 6
    for request in place.server.requests:
        assert request.headers["user-agent"] == f"fwfeed/{__version__}"
        assert request.headers["accept-encoding"] == "identity"
        assert not {"cookie", "authorization", "referer"} & set(request.headers)
    for request in place.server.asked(f"{place.path()}.md5"):
        assert request.conditions == {}


@pytest.mark.parametrize("told", [{"ETag"}, {"Last-Modified"}, {"ETag", "Last-Modified"}])
def test_whatever_a_server_knows_a_version_by_is_asked_for(told: set[str], place: Place) -> None:
    place.server.validators = frozenset(told)
    place.accept()
    before = snapshot(place.root)
    assert place.run("fetch").err == "nothing changed\n"
    assert len(place.server.requests) == 5
    asked = {"ETag": "if-none-match", "Last-Modified": "if-modified-since"}
    assert all(set(request.conditions) == {asked[name] for name in told} for request in place.server.requests)
    assert snapshot(place.root) == before


def test_a_server_that_knows_no_versions_has_the_same_file_compared(place: Place) -> None:
    place.server.validators = frozenset()
    place.accept()
    before = place.moving()
    assert place.run("fetch").err == "nothing changed\n"
    assert len(place.server.requests) == 10
    assert place.moving() == before


def test_another_etag_of_the_same_content_is_no_change(place: Place) -> None:
    place.accept()
    before = place.moving()
    raw = (place.site / NAME).read_bytes()
    place.say(whole(raw, ETag='"another"'))
    ended = place.run("fetch")
    assert (ended.code, ended.err) == (0, "nothing changed\n")
    assert place.moving() == before


@pytest.mark.parametrize("etag", ['"\x9b2J"', '"x' + "y" * 5000 + '"', 'W/"1"', ""])
def test_no_etag_does_harm(etag: str, place: Place) -> None:
    raw = (place.site / NAME).read_bytes()
    place.say(whole(raw, ETag=etag))
    place.accept()
    assert place.run("fetch").err == "nothing changed\n"
    asked = place.server.asked(place.path())[0].conditions
    assert asked == ({"if-none-match": etag} if etag.startswith("W/") else {})


def test_a_fault_that_passes_is_healed_by_asking_again(before: str, place: Place) -> None:
    place.configure(retries=1)
    place.publish("apnic", NEWER)
    for path in (place.path(), f"{place.path()}.md5"):
        place.server.answers[path] = [whole(b"", "500 Oh"), place.server.from_folder]
    place.server.forget()
    assert_taken(place, place.run("fetch"))
    asked = [request.path for request in place.server.requests if "apnic" in request.path]
    assert asked == [place.path()] * 2 + [f"{place.path()}.md5"] * 2


@pytest.mark.parametrize(
    "fault",
    [
        says(head(length=len(NEWER)), NEWER[:100]),
        says(head(Transfer_Encoding="chunked"), chunk(NEWER)),
        says(),
        whole(b"x" * 10_000, "503 Busy"),
    ],
    ids=["cut", "without the last chunk", "hung up", "busy, with a long page"],
)
def test_what_came_of_a_cut_file_does_not_get_into_the_next(fault: Answer, place: Place) -> None:
    place.accept()
    place.configure(retries=1)
    place.publish("apnic", NEWER)
    place.server.answers[place.path()] = [fault, place.server.from_folder]
    assert_taken(place, place.run("fetch"))


def test_a_file_and_its_md5_of_different_days_are_healed_on_the_second_look(before: str, place: Place) -> None:
    place.publish("apnic", NEWER)
    yesterdays = whole((place.site / NAME).read_bytes()[:-1])
    place.server.answers[place.path()] = [yesterdays, place.server.from_folder]
    assert_taken(place, place.run("fetch"))
    assert len(place.server.asked(f"{place.path()}.md5")) == 2


def test_files_of_different_days_are_fine(before: str, place: Place) -> None:
    for days, registry in enumerate(RECORDS):
        place.publish(registry, newer(registry, end=today(1 - days) if before == "first" else today(days % 2)))
    ended = place.run("fetch")
    assert (ended.code, ended.err) == (0, "")


def test_a_body_of_no_told_length_is_fine_where_an_md5_vouches_for_it(before: str, place: Place) -> None:
    place.say(says(head(), NEWER), whole(checksum(NEWER)))
    assert_taken(place, place.run("fetch"))


def test_chunks_of_any_size_are_one_body(before: str, place: Place) -> None:
    pieces = [chunk(NEWER[at : at + 7]) for at in range(0, len(NEWER), 7)]
    place.say(
        says(head(Transfer_Encoding="chunked", Connection="close"), *pieces, b"0\r\nx: y\r\n\r\n"),
        whole(checksum(NEWER)),
    )
    assert_taken(place, place.run("fetch"))


def test_continue_and_early_hints_before_the_answer_are_fine(before: str, place: Place) -> None:
    first = b"HTTP/1.1 100 Continue\r\n\r\n" * 3
    place.say(says(first, head(length=len(NEWER), Connection="close"), NEWER), whole(checksum(NEWER)))
    assert_taken(place, place.run("fetch"))


def test_five_redirects_are_followed(before: str, place: Place) -> None:
    place.publish("apnic", NEWER, "moved")
    places = [place.path(), *(f"/{number}" for number in range(4)), f"/moved{place.path()}"]
    for one, other in pairwise(places):
        place.server.answers[one] = [whole(b"moved", "301 Moved Permanently", Location=other)]
    place.server.answers[f"{place.path()}.md5"] = [
        whole(b"", "308 Permanent Redirect", Location=f"{place.server.url}/moved{place.path()}.md5")
    ]
    assert_taken(place, place.run("fetch"))


def mirrored(place: Place) -> None:
    """Have the configuration name a mirror of all registries, which has what they have."""
    place.configure(mirrors=[f"{place.server.url}/mirror"])
    for registry in RECORDS:
        place.publish(registry, (place.site / place.path(registry).lstrip("/")).read_bytes(), "mirror")


def test_a_mirror_that_lags_is_passed_over(place: Place) -> None:
    place.publish("apnic", newer(serial=5))
    place.accept()
    mirrored(place)
    place.publish("apnic", newer(serial=4), "mirror")
    place.publish("apnic", newer("apnic", "NZ|ipv4|198.19.1.0|256|20240101|allocated", serial=6))
    newest = (place.site / NAME).read_bytes()
    assert_taken(place, place.run("fetch"), newest)


@pytest.mark.parametrize(
    "raw",
    [NEWER[:-9], b"<html>", delegated("apnic", [AUSTRALIA], promised=7), newer("arin"), newer(end=today(30))],
    ids=["cut", "a page", "broken promises", "another registry's", "from the future"],
)
def test_a_mirror_with_a_bad_file_is_passed_over(raw: bytes, before: str, place: Place) -> None:
    mirrored(place)
    place.publish("apnic", raw, "mirror")
    place.publish("apnic", NEWER)
    assert_taken(place, place.run("fetch"))
    assert '"url": "' + place.url() in (place.cache / "apnic/meta.json").read_text()


def test_when_mirror_and_registry_are_bad_both_are_told(before: str, place: Place) -> None:
    mirrored(place)
    kept = place.moving()
    place.publish("apnic", NEWER[:-9], "mirror")
    place.say(whole(b"", "500 Oh"))
    told = f"apnic: {place.server.url}/mirror{place.path()}"
    ended = place.run("fetch")
    place.assert_refused(ended, told, kept)
    assert f"; {place.url()}: HTTP 500 Oh" in ended.err


def test_a_mirror_that_vanishes_costs_nothing(place: Place) -> None:
    mirrored(place)
    place.accept()
    for registry in RECORDS:
        (place.site / "mirror" / place.path(registry).lstrip("/")).unlink()
    before = place.moving()
    ended = place.run("fetch")
    assert (ended.code, ended.err) == (0, "nothing changed\n")
    assert place.moving() == before


# The next are about proxies. A real one: it connects where it is asked to, and hands on bytes both ways.


def proxying(talk: Talk) -> None:
    raw = talk.receive()
    method, target, _ = raw.split(b" ", 2)
    assert method == b"CONNECT"
    host, port = target.decode().split(":")
    with socket.create_connection((host, int(port))) as upstream:
        talk.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=handing_back, args=(upstream, talk))
        back.start()
        try:
            while True:
                upstream.sendall(talk.receive())
        except (HungUp, OSError):
            with suppress(OSError):
                upstream.shutdown(socket.SHUT_RDWR)
            back.join()


def handing_back(upstream: socket.socket, talk: Talk) -> None:
    with suppress(OSError, HungUp):
        while raw := upstream.recv(1 << 16):
            talk.send(raw)
    talk.cut()


def dripping(talk: Talk) -> None:
    talk.receive()
    talk.send(b"HTTP/1.1 200 Connection established\r\n")
    while True:
        talk.drip(b"x: y\r\n")


def dripping_behind(talk: Talk) -> None:
    talk.receive()
    talk.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    talk.receive()
    talk.send(b"\x16\x03\x03\x40\x00")  # the head of a record of 16 kB
    while True:
        talk.drip(b"\x02")


def resetting(talk: Talk) -> None:
    talk.receive()
    talk.send(b"HTTP/1.1 200 Connection established\r\n")
    with suppress(HungUp):
        talk.stall()
    talk.reset()


def stalling(talk: Talk) -> None:
    talk.stall()


def use_proxy(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")


def test_a_proxy_is_used(before: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.publish("apnic", NEWER)
    place.server.forget()
    with Server(None, greet=proxying) as proxy:
        use_proxy(proxy.port, monkeypatch)
        assert_taken(place, place.run("fetch"))
        assert proxy.connections == place.server.connections == 5


def test_a_quiet_night_behind_a_proxy_is_quiet(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(None, greet=proxying) as proxy:
        use_proxy(proxy.port, monkeypatch)
        place.accept()
        before = snapshot(place.root)
        assert place.run("fetch").err == "nothing changed\n"
        assert len(place.server.requests) == 5
        assert snapshot(place.root) == before


def assert_proxy_blamed(place: Place, reason: str, way_out: str) -> None:
    """Assert that a fetch says what is wrong with the proxy in one line, and what to do; and that nothing moved."""
    accepted = place.state.exists()
    kept = place.moving()
    ended = place.run("fetch")
    said = f"fwfeed: {', '.join(sorted(RECORDS))}: the proxy {reason}"
    hint = f"way out: {way_out}; without a proxy: unset HTTPS_PROXY, or name the host in no_proxy"
    lines = ended.err.splitlines()
    if accepted:
        assert len(lines) == 2, ended.err
        assert re.fullmatch(
            rf"{re.escape(said)}; the files accepted last, the oldest to [0-9-]+, serve on; {re.escape(hint)}", lines[0]
        )
        assert lines[1] == "nothing changed"
    else:
        assert lines == [said, f"fwfeed: {hint}"]
    assert ended.code == 3
    place.assert_unmoved(kept)
    assert "secret" not in ended.err + place.run("status").out


LOOK = "see that HTTPS_PROXY is http://HOST:PORT, and that a proxy for HTTP answers there"


@pytest.mark.parametrize("retries", [0, 2])
def test_a_dead_proxy_is_told_once(retries: int, before: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.configure(retries=retries)
    with Server(None) as gone:
        pass
    use_proxy(gone.port, monkeypatch)
    tried = f" (tried {retries + 1} times)" if retries else ""
    reason = f"127.0.0.1:{gone.port} of HTTPS_PROXY: [Errno 111] Connection refused{tried}"
    assert_proxy_blamed(place, reason, LOOK)


def greeting(raw: bytes) -> Callable[[Talk], None]:
    def greet(talk: Talk) -> None:
        talk.receive()
        talk.send(raw)
        talk.close()

    return greet


WHO = "it wants to know who asks: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"


@pytest.mark.parametrize(
    ("raw", "reason", "way_out"),
    [
        (
            head("407 Proxy Authentication \x1b[2JRequired", length=0),
            "Tunnel connection failed: 407 Proxy Authentication ?[2JRequired",
            WHO,
        ),
        (head("403 Forbidden", length=0), "Tunnel connection failed: 403 Forbidden", "have the proxy let it through"),
        (head("502 Bad Gateway", length=0), "Tunnel connection failed: 502 Bad Gateway", LOOK),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "this is not HTTP: SSH-2.0-OpenSSH_9.9", LOOK),
    ],
)
def test_a_proxy_that_refuses_or_is_none_is_told_once(
    raw: bytes, reason: str, way_out: str, before: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(None, greet=greeting(raw)) as proxy:
        use_proxy(proxy.port, monkeypatch)
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy.port}")
        assert_proxy_blamed(place, f"127.0.0.1:{proxy.port} of HTTPS_PROXY: {reason}", way_out)


@pytest.mark.parametrize(
    ("url", "place_told"),
    [
        ("nonsense://", "(without a host)"),
        ("http://user:secret@", "(without a host)"),
        ("http://user:secret@127.0.0.1:port", "127.0.0.1:port"),
    ],
)
def test_a_proxy_of_another_form_is_told_once_and_without_its_password(
    url: str, place_told: str, before: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_proxy(1, monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", url)
    assert_proxy_blamed(place, f"{place_told} of HTTPS_PROXY: not of the form http://HOST:PORT", LOOK)


def test_the_variable_that_names_the_proxy_is_told(before: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    use_proxy(1, monkeypatch)
    monkeypatch.delenv("HTTPS_PROXY")
    for name in ("ALL_PROXY", "all_proxy", "https_proxy"):  # the later goes before the earlier
        monkeypatch.setenv(name, f"http://127.0.0.1:{len(name)}")
        assert f"the proxy 127.0.0.1:{len(name)} of {name}: " in place.run("fetch").err


def test_a_host_that_the_proxy_is_not_for_is_asked_itself(
    before: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_proxy(1, monkeypatch)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    place.server.forget()
    assert place.run("fetch").code == 0
    assert place.server.connections == 5


@pytest.mark.parametrize("greet", [stalling, dripping, resetting])
def test_a_proxy_that_takes_its_time_is_cut_at_the_deadline_and_told_once(
    greet: Callable[[Talk], None], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.accept()
    place.configure(deadline="1s")
    with Server(None, greet=greet) as proxy:
        use_proxy(proxy.port, monkeypatch)
        begun = time.monotonic()
        assert_proxy_blamed(place, f"127.0.0.1:{proxy.port} of HTTPS_PROXY: not done within 1 s", LOOK)
        assert 0.9 < time.monotonic() - begun < 4.5  # less than a second for each, on a machine that does much else


def granting(talk: Talk) -> None:
    talk.receive()
    talk.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    talk.close()


@pytest.mark.parametrize(
    ("greet", "reason", "way_out"),
    [
        (dripping_behind, "not done within 1 s", "raise sources.deadline, or name a mirror in [sources] mirrors"),
        (granting, ": ", "check the network, or name a mirror in [sources] mirrors"),
    ],
)
def test_a_proxy_that_lets_through_and_then_fails_is_named_in_the_way_out(
    greet: Callable[[Talk], None], reason: str, way_out: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.accept()
    place.configure(deadline="1s", retries=0)
    with Server(None, greet=greet) as proxy:
        use_proxy(proxy.port, monkeypatch)
        kept = place.moving()
        begun = time.monotonic()
        ended = place.run("fetch")
        assert time.monotonic() - begun < 4.5  # less than a second for each, on a machine that does much else
    for registry in RECORDS:
        place.assert_refused(ended, f"{registry}: {place.url(registry)}: ", kept)
    assert reason in ended.err
    where = f"the proxy 127.0.0.1:{proxy.port} of HTTPS_PROXY"
    assert f"{way_out}; it goes through {where}; without a proxy: unset HTTPS_PROXY" in ended.err


def test_a_proxy_that_reads_along_is_named_where_its_certificate_is_not_trusted(
    before: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = place.moving()
    with Server(None, greet=proxying) as proxy:
        use_proxy(proxy.port, monkeypatch)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", DEFAULT_CA_BUNDLE_PATH)
        ended = place.run("fetch")
    assert ended.code == 3
    assert f"(REQUESTS_CA_BUNDLE); it goes through the proxy 127.0.0.1:{proxy.port} of HTTPS_PROXY; " in ended.err
    place.assert_unmoved(kept)
