"""Who sent a flow, by what the kernel and its tables say of sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fwfeed.attribution import Attribution, holders, spaces, tables
from fwfeed.attribution.diag import Socket
from fwfeed.attribution.holders import Holders
from fwfeed.attribution.processes import Process, Processes
from fwfeed.attribution.spaces import Spaces
from fwfeed.flow import Known
from fwfeed.prefixes import Family
from tests.unit.flows import flow

ROW = "  1: 00000000:{:04X} 00000000:0000 07 00000000:00000000 00:00000000 00000000 {} 0 {} 2 0 0\n"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no search end early because this machine is busy, nor be forgotten that one did."""
    monkeypatch.setattr(holders, "_SEARCH_SECONDS", 60.0)
    monkeypatch.setattr(holders, "_TIRED_SECONDS", 600.0)
    monkeypatch.setattr(spaces, "_WALK_SECONDS", 60.0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Attribution]:
    monkeypatch.setattr(tables, "raw", lambda *_asked: set())
    attribution = Attribution()
    yield attribution
    attribution.close()


def test_a_socket_that_nobody_holds_says_nothing_of_its_user(
    asked: Attribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked._diag, "find", lambda *_flow: Socket(0, 0, exact=True))
    found = asked.sender(flow(uid=None))
    assert (found.known, found.user) == (Known.NOT, "")


def test_an_echo_socket_of_another_user_is_not_his_flow(asked: Attribution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "echoing", lambda *_asked: [(4711, 1000)])
    monkeypatch.setattr(asked._holders, "of", lambda *_asked: 1)
    ping = flow(protocol="ICMP", source_port=None, destination_port=None, uid=0)
    assert asked.sender(ping, echo=7).known is Known.USER
    assert asked.sender(flow(protocol="ICMP", source_port=None, destination_port=None), echo=7).pid == 1


def test_raw_sockets_are_of_a_protocol_and_a_user(tmp_path: Path) -> None:
    rows = [ROW.format(1, 0, 11), ROW.format(255, 0, 12), ROW.format(1, 1000, 13), ROW.format(6, 0, 14)]
    (tmp_path / "raw").write_text("head\n" + "".join(rows))
    assert tables.raw(Family.IPV4, 1, None, tmp_path) == {11, 12, 13}
    assert tables.raw(Family.IPV4, 1, 0, tmp_path) == {11, 12}
    assert tables.raw(Family.IPV4, 1, 1000, tmp_path) == {13}
    assert tables.raw(Family.IPV6, 1, None, tmp_path) == set()


@pytest.mark.parametrize("case", ["the host's", "another", "none"])
def test_a_file_that_the_host_has_not_at_its_path_is_elsewhere(case: str, tmp_path: Path) -> None:
    proc, root, file = tmp_path / "proc", tmp_path / "root", tmp_path / "dnf"
    file.write_text("x")
    named = root / str(file).lstrip("/")
    for folder in (proc / "1", proc / "77", named.parent):
        folder.mkdir(parents=True)
    (proc / "stat").write_text("btime 1\n")
    (proc / "77/stat").write_text(f"77 (x) S 0 {'0 ' * 17}100 0")
    (proc / "77/exe").symlink_to(file)
    (proc / "1/root").symlink_to(root)
    if case == "another":
        named.write_text("x")
    elif case == "the host's":
        named.hardlink_to(file)
    found = Processes(str(proc)).describe(77)
    assert found is not None
    assert (found.executable, found.deleted, found.elsewhere) == (str(file), False, case != "the host's")


SOCKET = "socket:[4711]"


def links(proc: Path, pid: int, *targets: str) -> None:
    (proc / str(pid) / "fd").mkdir(parents=True)
    for number, target in enumerate(targets):
        (proc / str(pid) / "fd" / str(number)).symlink_to(target)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What links are read."""
    made: list[str] = []

    def read(path: str) -> str:
        made.append(path)
        return os.readlink(path)  # noqa: PTH115 - as what it stands in for

    monkeypatch.setattr(holders, "_read_link", read)
    return made


def test_one_with_many_links_does_not_hide_another(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holders, "_LINKS", 20)
    links(tmp_path, 900, *["/dev/null"] * 3000)
    links(tmp_path, 800, *["/dev/null"] * 10, SOCKET)
    assert Holders(str(tmp_path)).of(4711, 0) == 800
    assert len(reads) < 50


def test_while_each_has_a_process_of_its_own_the_newest_is_looked_at_first(tmp_path: Path, reads: list[str]) -> None:
    found = Holders(str(tmp_path))
    for pid in range(1000, 1010):  # each stays for a while
        (tmp_path / "loadavg").write_text(f"0.0 0.0 0.0 1/1 {pid}\n")
        links(tmp_path, pid, "/dev/null", f"socket:[{pid}]")
        reads.clear()
        assert found.of(pid, 0) == pid
    assert all("/1009/" in path for path in reads)
    links(tmp_path, 1010, "socket:[4711]", "/dev/null")
    (tmp_path / "1009/fd/2").symlink_to("socket:[4712]")
    assert found.of(4712, 0) == 1009
    (tmp_path / "1009/fd/3").symlink_to("socket:[4713]")
    (tmp_path / "loadavg").write_text("0.0 0.0 0.0 1/1 1010\n")
    reads.clear()
    assert found.of(4713, 0) == 1009  # one of those that stay: these go first again
    assert all("/1009/" in path for path in reads)


def test_the_many_links_of_one_are_read_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "_LINKS", 2)
    links(tmp_path, 900, *["/dev/null"] * 100, SOCKET, *["/dev/null"] * 100)
    names = [str(number) for number in range(201)]
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: names if path.endswith("900/fd") else listdir(path))
    assert Holders(str(tmp_path)).of(4711, 0) == 900


def test_a_search_ends_in_time(tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holders, "_SEARCH_SECONDS", -1.0)
    links(tmp_path, 900, *["/dev/null"] * 3000)
    links(tmp_path, 800, SOCKET)
    assert Holders(str(tmp_path)).of(4711, 0) is None
    assert len(reads) <= 256
    assert Holders(str(tmp_path)).of_all([4711]) == {}


@pytest.mark.parametrize(
    ("named", "elsewhere", "deleted", "container"),
    [
        ("web", True, False, "web"),
        ("web", False, True, "web"),
        ("web", False, False, ""),  # anybody can call a scope of his own docker-ID
        ("", True, False, "another mount namespace"),
        ("", False, True, ""),
        ("", False, False, ""),
    ],
)
def test_a_container_has_files_of_its_own(named: str, *, elsewhere: bool, deleted: bool, container: str) -> None:
    process = Process(
        pid=7,
        uid=0,
        executable="/usr/bin/curl",
        deleted=deleted,
        elsewhere=elsewhere,
        command="curl",
        unit="docker.scope",
        container=named,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        parents=(),
    )
    assert Attribution._container(process) == container


def test_a_walk_over_namespaces_ends_in_time_and_is_not_repeated_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spaces, "_WALK_SECONDS", -1.0)
    net = tmp_path / "5/net"
    net.mkdir(parents=True)
    (tmp_path / "5/ns").mkdir()
    (tmp_path / "5/ns/net").touch()
    (net / "fib_trie").write_text("           |-- 192.0.2.130\n              /32 host LOCAL\n")
    found = Spaces(tmp_path)
    assert found.having("192.0.2.130") == []
    monkeypatch.setattr(spaces, "_WALK_SECONDS", 60.0)
    monkeypatch.setattr(spaces, "_AGAIN_SECONDS", -1.0)
    found._took = 1000.0
    assert found.having("192.0.2.130") == []
    found._took = 0.0
    assert [space.pid for space in found.having("192.0.2.130")] == [5]


def test_who_makes_searches_long_does_so_for_himself_alone(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of sockets that nobody holds, as while they are in flight, all links are read; he has any number of them."""
    monkeypatch.setattr(holders, "_SEARCH_SECONDS", -1.0)
    monkeypatch.setattr(holders, "_SHORT_SECONDS", -1.0)
    links(tmp_path, 900, *["/dev/null"] * 600)
    found = Holders(str(tmp_path))
    assert found.of(1, os.geteuid()) is None
    monkeypatch.setattr(holders, "_SEARCH_SECONDS", 60.0)  # not for him
    reads.clear()
    assert found.of(2, os.geteuid()) is None
    assert len(reads) <= 256
    links(tmp_path, 800, SOCKET)
    assert found.of(4711, 12345) == 800  # of another user


def test_of_a_namespace_so_many_addresses_are_read(tmp_path: Path) -> None:
    net = tmp_path / "5/net"
    net.mkdir(parents=True)
    (net / "if_inet6").write_text("".join(f"20010db8{number:024x} 02 40 00 80 eth0\n" for number in range(30_000)))
    (net / "fib_trie").write_text("           |-- 192.0.2.130\n              /32 host LOCAL\n")
    assert len(Spaces(tmp_path)._addresses(5)) == 4096
    (net / "if_inet6").write_text("x" * (1 << 20) + f"\n20010db8{1:024x} 02 40 00 80 eth0\n")
    assert Spaces(tmp_path)._addresses(5) == {"192.0.2.130"}
