"""What a host says that it cannot do without, in the files of a host made for the purpose."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from fwfeed import config, surroundings
from fwfeed.surroundings import Need, Role


def put(root: Path, path: str, *lines: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def test_a_host_that_says_nothing_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "etc/yum.repos.d/folder.repo").mkdir(parents=True)
    (tmp_path / "etc/resolv.conf").mkdir()
    assert surroundings.resolvers(tmp_path) == []
    assert surroundings.time_servers(tmp_path) == []
    assert surroundings.repositories(tmp_path) == []


def test_resolvers_are_those_behind_the_local_one(tmp_path: Path) -> None:
    put(
        tmp_path,
        "etc/resolv.conf",
        "# nameserver 192.0.2.9",
        "nameserver 192.0.2.1",
        "search example.net",
        "nameserver x",
    )
    put(tmp_path, "run/systemd/resolve/resolv.conf", "nameserver 192.0.2.2", "nameserver fe80::1%eth0")
    assert [need.name for need in surroundings.resolvers(tmp_path)] == ["192.0.2.1"]
    put(tmp_path, "etc/resolv.conf", "nameserver 127.0.0.53")
    assert surroundings.resolvers(tmp_path) == [
        Need(Role.RESOLVER, "192.0.2.2", (("192.0.2.2", 53),), "udp"),
        Need(Role.RESOLVER, "fe80::1", (("fe80::1", 53),), "udp"),
    ]


def test_time_servers_are_chronys_and_timesyncds(tmp_path: Path) -> None:
    put(
        tmp_path,
        "etc/chrony.conf",
        "pool 2.pool.example.net iburst",
        "#server no.example.net",
        "sourcedir /run/chrony-dhcp",
        "confdir /etc/chrony.d",
        "include /etc/more/*.conf",
        "server",
    )
    put(tmp_path, "run/chrony-dhcp/eth0.sources", "server 192.0.2.3 iburst")
    put(tmp_path, "run/chrony-dhcp/eth0.txt", "server no.example.net")
    put(tmp_path, "etc/chrony.d/a.conf", "peer peer.example.net", "include /etc/chrony.conf")
    put(tmp_path, "etc/more/b.conf", "server more.example.net")
    put(
        tmp_path, "etc/systemd/timesyncd.conf", "[Time]", "NTP=one.example.net 192.0.2.4", "#FallbackNTP=no.example.net"
    )
    found = surroundings.time_servers(tmp_path)
    assert {need.name for need in found} == {
        "2.pool.example.net",
        "192.0.2.3",
        "peer.example.net",
        "more.example.net",
        "one.example.net",
        "192.0.2.4",
    }
    assert all(need.hosts == ((need.name, 123),) for need in found)


def test_repositories_are_the_enabled_ones_with_all_their_hosts(tmp_path: Path) -> None:
    put(
        tmp_path,
        "etc/yum.repos.d/a.repo",
        "[base]",
        "name=Base $releasever",
        "mirrorlist=https://mirrors.example.net/list/$releasever/base",
        "baseurl=http://one.example.net/$basearch/, https://two.example.net:8443/",
        "    https://$region.example.net/x",
        "[off]",
        "enabled=0",
        "baseurl=https://off.example.net/",
        "[here]",
        "baseurl=file:///srv/repo",
        "[own-proxy]",
        "enabled=1",
        "metalink=https://metalink.example.net/?a=b",
        "proxy=http://proxy.example.net:3128",
    )
    put(tmp_path, "etc/yum.repos.d/broken.repo", "no section")
    put(tmp_path, "etc/yum.repos.d/a.repo.rpmnew", "[new]", "baseurl=https://no.example.net")
    put(tmp_path, "etc/dnf/vars/region", "tokyo")
    hosts = (
        ("one.example.net", 80),
        ("two.example.net", 8443),
        ("tokyo.example.net", 443),
        ("mirrors.example.net", 443),
    )
    assert surroundings.repositories(tmp_path) == [
        Need(Role.UPDATES, "base", hosts, "tcp"),
        Need(Role.UPDATES, "own-proxy", (("proxy.example.net", 3128),), "tcp"),
    ]
    put(tmp_path, "etc/dnf/dnf.conf", "[main]", "proxy=https://all.example.net:3129")
    assert [need.hosts for need in surroundings.repositories(tmp_path)] == [
        (("all.example.net", 3129),),
        (("proxy.example.net", 3128),),
    ]


def test_sources_are_where_a_refresh_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    text = (
        "[set]\ninclude = ['lab']\n[sources]\nregistries = ['apnic', 'arin']\nmirrors = ['https://mirror.example.net/x']\n"
        "[sources.arin]\nurl = 'file:///srv/arin'\n"
        "[[feed]]\nname = 'lab'\nurl = 'https://192.0.2.1/list'\nformat = 'plain'\n"
    )
    settings = config.parse(text, file="fwfeed.toml")
    assert surroundings.sources(settings) == [
        Need(Role.SOURCE, "apnic", (("mirror.example.net", 443), ("ftp.apnic.net", 443)), "tcp"),
        Need(Role.SOURCE, "lab", (("192.0.2.1", 443),), "tcp"),
    ]
    assert surroundings.names(settings, Path("/nonexistent")) == ["mirror.example.net", "ftp.apnic.net"]
    monkeypatch.setenv("https_proxy", "http://192.0.2.8:3128")
    assert [need.hosts for need in surroundings.sources(settings)] == [(("192.0.2.8", 3128),)] * 2
    assert surroundings.names(settings, Path("/nonexistent")) == []


def test_what_is_no_name_is_not_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "etc/chrony.conf", "server $evil", "server a..b", f"server {'x' * 300}", "server good.example.net")
    settings = config.parse("[sources]\nregistries = ['arin']\n[sources.arin]\nurl = 'file:///srv'", file="x")
    assert surroundings.names(settings, tmp_path) == ["good.example.net"]


def test_names_are_resolved_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(name: str, *_rest: object, **_more: object) -> list[tuple[object, ...]]:
        if name == "slow.example.net":
            time.sleep(5)
        if name == "gone.example.net":
            raise OSError
        return [
            (0, 0, 0, "", ("2001:db8::1%eth0", 0)),
            (0, 0, 0, "", ("192.0.2.1", 0)),
            (0, 0, 0, "", ("192.0.2.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    began = time.monotonic()
    found = surroundings.resolve(["slow.example.net", "gone.example.net", "good.example.net"], 0.3)
    assert time.monotonic() - began < 3
    assert found == {"good.example.net": ["2001:db8::1", "192.0.2.1"]}
    assert surroundings.resolve([], 5) == {}
