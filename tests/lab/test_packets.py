"""What fwfeed exists for, seen with real packets through a real firewalld."""

from __future__ import annotations

import pytest

from tests.lab.world import ABROAD, CONTAINER, JP, KernelLog, Neighbour, World, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.all_services]

OUT = "OUTBOUND_FOREIGN"
IN = "INBOUND_FOREIGN"
PORT = 8443


def test_the_hosts_own_connections_abroad_are_logged_once_and_domestic_ones_never(lab: World, log: KernelLog) -> None:
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr
    for neighbour in (JP, ABROAD):
        for address in neighbour.addresses:
            lab.listen(neighbour.name, address, PORT)
            assert lab.connect("host", address, PORT)
    assert_logged_once(log, OUT, "IN= ", f"OUT={lab.device(ABROAD)}", "PROTO=TCP")
    assert not log.matching(f"OUT={lab.device(JP)}", "PROTO=TCP")


def test_forwarded_connections_abroad_are_logged_once_and_domestic_ones_never(lab: World, log: KernelLog) -> None:
    assert lab.fwfeed("update").returncode == 0
    for neighbour in (JP, ABROAD):
        for address in neighbour.addresses:
            lab.listen(neighbour.name, address, PORT)
            assert lab.connect(CONTAINER.name, address, PORT)
    assert_logged_once(log, OUT, f"IN={lab.device(CONTAINER)}", f"OUT={lab.device(ABROAD)}", "PROTO=TCP")
    assert not log.matching(f"OUT={lab.device(JP)}", "PROTO=TCP")


def test_forwarded_connections_are_not_logged_when_the_configuration_says_so(lab: World, log: KernelLog) -> None:
    lab.configure(outbound="forwarded = false")
    assert lab.fwfeed("update").returncode == 0
    address = ABROAD.addresses[0]
    lab.listen(ABROAD.name, address, PORT)
    assert lab.connect(CONTAINER.name, address, PORT)
    assert lab.connect("host", address, PORT)
    wait_until(lambda: bool(log.matching(OUT, "IN= ")), "the host's own connection to be logged")
    assert not log.matching(OUT, f"IN={lab.device(CONTAINER)}")


def test_datagrams_abroad_are_logged_once_a_flow(lab: World, log: KernelLog) -> None:
    assert lab.fwfeed("update").returncode == 0
    address = ABROAD.addresses[0]
    script = (
        "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('',0));"
        "[s.sendto(b'x',(sys.argv[1],9)) for _ in range(5)]"
    )
    assert lab.run("host", "/usr/bin/python3", "-c", script, address).returncode == 0
    wait_until(lambda: bool(log.matching(OUT, "PROTO=UDP")), "the datagrams to be logged")
    # Without an answer the flow is never established, so each datagram is a new connection to firewalld.
    lines = log.matching(OUT, "PROTO=UDP", f"DST={address}")
    assert 1 <= len(lines) <= 5
    assert len({line.split("SPT=")[1].split()[0] for line in lines}) == 1


def test_inbound_log_logs_foreign_connections_and_keeps_none_out(lab: World, log: KernelLog) -> None:
    lab.configure(inbound='action = "log"')
    assert lab.fwfeed("update").returncode == 0
    for neighbour in (JP, ABROAD):
        for here in (f"{neighbour.ipv4}.1", f"{neighbour.ipv6}::1"):
            lab.listen("host", here, 22)
            assert lab.connect(neighbour.name, here, 22)
    assert_logged_once(log, IN, f"IN={lab.device(ABROAD)}", "PROTO=TCP", direction="SRC")
    assert not log.matching(IN, f"IN={lab.device(JP)}", "PROTO=TCP")


def test_inbound_restrict_lets_japan_in_and_rejects_and_logs_the_rest(lab: World, log: KernelLog) -> None:
    lab.configure(inbound='action = "restrict"')
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr
    assert lab.firewall_cmd("--get-default-zone") == "log-outbound"
    for neighbour, admitted in ((JP, True), (ABROAD, False)):
        for here in (f"{neighbour.ipv4}.1", f"{neighbour.ipv6}::1"):
            lab.listen("host", here, 22)
            assert lab.connect(neighbour.name, here, 22) is admitted
    assert_logged_once(log, IN, f"IN={lab.device(ABROAD)}", "PROTO=TCP", direction="SRC", rejected=True)
    assert not log.matching(IN, f"IN={lab.device(JP)}", "PROTO=TCP")


def test_inbound_restrict_admits_foreigners_to_foreign_services_alone(lab: World, log: KernelLog) -> None:
    lab.configure(inbound='action = "restrict"\nforeign_services = ["https"]')
    assert lab.fwfeed("update").returncode == 0
    here = f"{ABROAD.ipv4}.1"
    for port, admitted in ((443, True), (22, False)):
        lab.listen("host", here, port)
        assert lab.connect(ABROAD.name, here, port) is admitted


def test_switching_restrict_off_gives_the_default_zone_back(lab: World) -> None:
    before = lab.firewall_cmd("--get-default-zone")
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("update").returncode == 0
    lab.configure()
    applied = lab.fwfeed("apply")
    assert applied.returncode == 0, applied.stderr
    assert lab.firewall_cmd("--get-default-zone") == before
    assert f"DefaultZone={before}" in (lab.etc / "firewalld.conf").read_text()
    assert [path.name for path in (lab.etc / "zones").glob("*.xml")] == ["trusted.xml"]
    assert "log-outbound" not in lab.firewall_cmd("--get-zones").split()


def assert_logged_once(log: KernelLog, *words: str, direction: str = "DST", rejected: bool = False) -> None:
    """Each of the foreign neighbour's two addresses has lines of exactly one connection with these words.

    One line, but for a rejected connection over IPv6: the kernel tries that a second time by itself.
    """
    for address in (ABROAD.addresses[0], "2001:0db8:0002:0000:0000:0000:0000:0002"):
        lines = (*words, f"{direction}={address} ")
        wait_until(lambda lines=lines: bool(log.matching(*lines)), f"a line with {lines}")  # type: ignore[misc] # bound now, not when the loop has moved on
        found = log.matching(*lines)
        assert len({line.split("SPT=")[1].split()[0] for line in found}) == 1
        assert len(found) == 1 or (rejected and ":" in address), found


def test_the_neighbours_are_who_the_other_tests_take_them_for() -> None:
    neighbours: tuple[Neighbour, ...] = (JP, ABROAD, CONTAINER)
    assert len({neighbour.ipv4 for neighbour in neighbours}) == len({n.ipv6 for n in neighbours}) == 3


def test_a_host_none_of_whose_interfaces_is_in_a_zone_is_logged_as_well(lab: World, log: KernelLog) -> None:
    """As on a VPS without NetworkManager: firewalld asks no policy of what is forwarded then, and forwards nothing."""
    (lab.etc / "zones/trusted.xml").unlink()
    lab.firewall_cmd("--reload")
    assert lab.firewall_cmd("--get-active-zones").split() in ([], ["public", "(default)"])
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr
    assert "proved in the kernel" in lab.fwfeed("status").stdout
    lab.listen("abroad", ABROAD.addresses[0], PORT)
    assert lab.connect("host", ABROAD.addresses[0], PORT)
    assert len(log.matching("OUTBOUND_FOREIGN", f"DST={ABROAD.addresses[0]} ")) == 1
    assert not lab.connect("container", ABROAD.addresses[0], PORT)
