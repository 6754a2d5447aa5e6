"""Nobody is locked out unasked: what the prover foretells, and what a real sshd's clients find afterwards."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab import ssh as lab_ssh
from tests.lab.matrix import on_one_version
from tests.lab.ssh import Ssh, serving
from tests.lab.test_apply import override
from tests.lab.world import ABROAD, JP, SYSTEM_PYTHON, World, wait_until
from tests.skipping import require

pytestmark = pytest.mark.lab

JUDGED = on_one_version("who is logged in, and whether the files to come admit him, is fwfeed's own to find out")

RESTRICT = 'action = "restrict"'


@pytest.fixture
def sshd(lab: World) -> Iterator[Ssh]:
    require(lab_ssh.missing())
    with serving(lab) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Administrator:
    """Somebody who is logged in, and what fwfeed has to say when he asks for restrict; nothing: it goes in."""

    neighbour: str
    address: str  # of the host, as this one reaches it
    refused: str = ""
    inbound: str = RESTRICT
    more: str = ""  # tables of the configuration
    port: int = 22


HERE = {neighbour.name: (f"{neighbour.ipv4}.1", f"{neighbour.ipv6}::1") for neighbour in (JP, ABROAD)}
OUTSIDE = "outside the set JP, and zone log-outbound would not let you in again"
INSIDE = r"inside the set JP, and zone \S+ would not let you in again"
TABLE = {
    "foreign": Administrator(neighbour="abroad", address=HERE["abroad"][0], refused=OUTSIDE),
    "foreign v6": Administrator(neighbour="abroad", address=HERE["abroad"][1], refused=OUTSIDE),
    "domestic": Administrator(neighbour="jp", address=HERE["jp"][0]),
    "domestic v6": Administrator(neighbour="jp", address=HERE["jp"][1]),
    "foreign, with a service for all": Administrator(
        neighbour="abroad", address=HERE["abroad"][0], inbound=f'{RESTRICT}\nforeign_services = ["ssh"]'
    ),
    "foreign, and in the set": Administrator(
        neighbour="abroad", address=HERE["abroad"][0], more=f'include = ["{ABROAD.addresses[0]}"]'
    ),
    "foreign, and another is in the set": Administrator(
        neighbour="abroad", address=HERE["abroad"][0], refused=OUTSIDE, more=f'include = ["{ABROAD.ipv4}.3"]'
    ),
    "domestic, without the service": Administrator(
        neighbour="jp",
        address=HERE["jp"][0],
        refused=f"{INSIDE}: add a service with that port to inbound.services",
        inbound=f'{RESTRICT}\nservices = ["https"]',
    ),
    "domestic, on another port": Administrator(
        neighbour="jp",
        address=HERE["jp"][1],
        refused=INSIDE,
        port=2222,
    ),
}
ON_ALL = {"foreign", "domestic v6"}
"""That firewalld then does what was foretold."""


@pytest.mark.parametrize(
    "who", [pytest.param(who, id=name, marks=() if name in ON_ALL else JUDGED) for name, who in TABLE.items()]
)
def test_an_administrator_who_is_logged_in_is_refused_what_would_lock_him_out(lab: World, who: Administrator) -> None:
    require(lab_ssh.missing())
    if who.port != 22:
        lab.firewall_cmd("--permanent", f"--add-port={who.port}/tcp")
        lab.firewall_cmd("--reload")
    lab.configure(inbound=who.inbound, set=who.more or "include = []")
    assert lab.fwfeed("fetch").returncode == 0
    with serving(lab, who.port) as sshd:
        before = lab.snapshot()
        applied = sshd.fwfeed(who.neighbour, who.address, "apply")
        if not who.refused:
            assert applied.returncode == 0, applied.stderr
            assert sshd.gets_in(who.neighbour, who.address)
            return
        assert applied.returncode == 5, applied.stderr
        assert f"you are logged in from {peer(who)} to port {who.port}, " in applied.stderr
        assert re.search(who.refused, applied.stderr)
        assert "way out: change the settings named there; or, for this once: --allow-lockout" in applied.stderr
        assert lab.snapshot() == before

        # from the console, while he is logged in
        with sshd.session(who.neighbour, who.address):
            for command in ("apply", "update"):
                beside = lab.fwfeed(command)
                assert beside.returncode == 5, beside.stderr
                assert f"somebody is logged in from {peer(who)} to port {who.port}" in beside.stderr
            assert {key: value for key, value in lab.snapshot().items() if "/cache/" not in key} == {
                key: value for key, value in before.items() if "/cache/" not in key
            }

        # and it is true: he would have been locked out
        asked = sshd.fwfeed(who.neighbour, who.address, "apply", "--allow-lockout")
        assert asked.returncode == 0, asked.stderr
        assert f"warning: you are logged in from {peer(who)}" in asked.stderr
        assert not sshd.gets_in(who.neighbour, who.address)


def peer(who: Administrator) -> str:
    neighbour = {"jp": JP, "abroad": ABROAD}[who.neighbour]
    return neighbour.addresses[":" in who.address]


@JUDGED
def test_without_a_session_nothing_is_refused_and_who_only_knocks_is_nobody(lab: World, sshd: Ssh) -> None:
    lab.configure(inbound=RESTRICT)
    assert lab.fwfeed("fetch").returncode == 0
    command = ["ip", "netns", "exec", lab.namespace("abroad"), SYSTEM_PYTHON, "-c", KNOCK, HERE["abroad"][0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as knocking:
        assert knocking.stdout is not None
        assert knocking.stdout.readline().startswith(b"SSH-2.0")
        assert "ESTAB" in lab.run("host", "ss", "-Htn", "sport = 22").stdout
        applied = lab.fwfeed("apply")
        knocking.kill()
    assert applied.returncode == 0, applied.stderr
    assert "logged in" not in applied.stderr
    assert not sshd.gets_in("abroad", HERE["abroad"][0])


KNOCK = """
import socket, sys
with socket.create_connection((sys.argv[1], 22)) as knocking:
    print(knocking.recv(100).decode(), flush=True)
    sys.stdin.read()
"""


def test_an_address_that_is_always_allowed_gets_in(lab: World, sshd: Ssh) -> None:
    lab.configure(inbound=RESTRICT, apply=f'always_allow = ["{ABROAD.addresses[0]}"]')
    assert lab.fwfeed("fetch").returncode == 0
    applied = sshd.fwfeed("abroad", HERE["abroad"][0], "apply")
    assert applied.returncode == 0, applied.stderr
    assert sshd.gets_in("abroad", HERE["abroad"][0])
    assert not sshd.gets_in("abroad", HERE["abroad"][1])


@JUDGED
def test_a_template_that_forgets_who_is_always_allowed_is_refused(lab: World, sshd: Ssh) -> None:
    assert sshd.port == 22
    lab.configure(inbound=RESTRICT, apply=f'always_allow = ["{ABROAD.ipv4}.0/24"]')
    folder = lab.folder / "templates"
    folder.mkdir()
    (folder / "zone.xml.j2").write_text(
        "<zone><rule family='ipv4'><source address='203.0.113.0/25'/><service name='ssh'/><accept/></rule></zone>\n"
    )
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 5, refused.stderr
    assert (
        f"{ABROAD.ipv4}.0/24 is in apply.always_allow, and zone log-outbound may not let it in to port 22: "
        f"correct the templates in {folder}, or apply.always_allow"
    ) in refused.stderr
    assert lab.snapshot() == before


def test_an_interface_of_another_zone_is_judged_by_that_zone(lab: World, sshd: Ssh) -> None:
    lab.firewall_cmd("--permanent", "--zone=public", f"--add-interface={lab.device(ABROAD)}")
    lab.firewall_cmd("--reload")
    lab.configure(inbound=RESTRICT)
    assert lab.fwfeed("fetch").returncode == 0
    checked = lab.fwfeed("check")
    assert checked.returncode == 0, checked.stderr
    assert f"warning: interface {lab.device(ABROAD)} is bound to zone public" in checked.stderr
    applied = sshd.fwfeed("abroad", HERE["abroad"][0], "apply")
    assert applied.returncode == 0, applied.stderr
    assert sshd.gets_in("abroad", HERE["abroad"][0])


@JUDGED
def test_a_check_says_what_an_apply_would_refuse(lab: World, sshd: Ssh) -> None:
    lab.configure(inbound=RESTRICT)
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    with sshd.session("abroad", HERE["abroad"][0]):
        checked = lab.fwfeed("check", "--json")
    assert checked.returncode == 0
    (first, *_) = json.loads(checked.stdout)["warnings"]
    assert first.startswith(
        f"apply would refuse, unless with --allow-lockout: somebody is logged in from {ABROAD.ipv4}.2"
    )
    lab.stop("firewalld")
    assert "not looked at is what only a running firewalld tells" in lab.fwfeed("check").stderr
    assert {key: value for key, value in before.items() if key.startswith("/")} == lab.snapshot()


@JUDGED
def test_what_was_cut_on_purpose_keeps_no_update_of_entries_out(lab: World, sshd: Ssh) -> None:
    lab.configure(inbound=RESTRICT)
    with sshd.session("abroad", HERE["abroad"][0]):
        assert lab.fwfeed("update", "--allow-lockout").returncode == 0
        lab.publish("apnic|JP|ipv4|192.0.2.0|16|20110811|assigned|A3")
        updated = lab.fwfeed("update")
        assert updated.returncode == 0, updated.stderr
        assert lab.kernel_set("JP") == {"192.0.2.0/28", "198.51.100.0/24"}
        # but a change of rules is asked for by somebody who can say it again
        lab.configure(inbound=f'{RESTRICT}\nservices = ["ssh"]')
        before = lab.snapshot()
        assert lab.fwfeed("apply").returncode == 5
        assert lab.snapshot() == before


@JUDGED
def test_entries_that_leave_the_set_under_a_session_are_refused_by_night_as_well(lab: World, sshd: Ssh) -> None:
    lab.configure(inbound=RESTRICT, gates='max_shrink = "90%"', set=f'include = ["{ABROAD.ipv4}.0/24"]')
    assert lab.fwfeed("update").returncode == 0
    lab.configure(inbound=RESTRICT, gates='max_shrink = "90%"', set=f'include = ["{ABROAD.ipv4}.128/25"]')
    with sshd.session("abroad", HERE["abroad"][0]):
        assert lab.fwfeed("fetch").returncode == 0
        before = lab.snapshot()
        refused = lab.fwfeed("update")
        assert refused.returncode == 5, refused.stderr
        assert f"somebody is logged in from {ABROAD.ipv4}.2 to port 22, outside the set JP" in refused.stderr
        assert lab.snapshot() == before
    wait_until(lambda: "ESTAB" not in lab.run("host", "ss", "-Htn", "sport = 22").stdout, "the session to end")
    assert lab.fwfeed("update").returncode == 0
    assert not sshd.gets_in("abroad", HERE["abroad"][0])


@JUDGED
def test_outbound_what_this_host_needs_is_named_before_it_is_cut(lab: World) -> None:
    """A resolver, the gateway and most time servers are abroad, and a template has the policy reject."""
    override(lab, "policy.xml.j2", "</log>", "</log>\n    <reject/>")
    etc = lab.folder / "etc"
    (etc / "resolv.conf").write_text(f"nameserver {ABROAD.ipv4}.53\nnameserver {JP.addresses[0]}\n")
    (etc / "chrony.conf").write_text(
        "".join(f"server {name}.example.net\n" for name in ("home", "away", "both", "new"))
    )
    assert lab.run("host", "ip", "route", "add", "default", "via", ABROAD.addresses[0]).returncode == 0
    lab.configure(outbound="forwarded = false")
    assert lab.fwfeed("fetch").returncode == 0
    known = {"home": [f"{JP.ipv4}.9"], "away": [f"{ABROAD.ipv4}.9", "2001:db8:1::9"], "both": []}
    known["both"] = known["home"] + known["away"]
    record = lab.folder / "state/candidate/hosts.json"
    record.write_text(json.dumps({f"{name}.example.net": addresses for name, addresses in known.items()}))
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 5, refused.stderr
    # that one has an IPv6 address at home does not help a host without a way out over IPv6
    needed = (
        f"default gateway at {ABROAD.addresses[0]}",
        f"resolver at {ABROAD.ipv4}.53",
        (f"time server away.example.net at {ABROAD.ipv4}.9"),
    )
    assert refused.stderr.splitlines() == [
        *(
            f"fwfeed: this host needs the {each}, and policy fwfeed-outbound would cut it: "
            "add it to set.include or apply.always_allow"
            for each in needed
        ),
        "fwfeed: way out: change the settings named there; or, for this once: --allow-lockout",
    ]
    assert lab.snapshot() == before

    for neighbour in (ABROAD, JP):
        lab.listen(neighbour.name, neighbour.addresses[0], 53)
    assert lab.connect("host", ABROAD.addresses[0], 53)
    applied = lab.fwfeed("apply", "--allow-lockout")
    assert applied.returncode == 0, applied.stderr
    assert (
        "warning: whether the time server new.example.net can be reached is not known: "
        "new.example.net was not resolved yet; fwfeed fetch records it"
    ) in applied.stderr
    assert not lab.connect("host", ABROAD.addresses[0], 53)
    assert lab.connect("host", JP.addresses[0], 53)

    # entries alone change nothing about what was cut on purpose
    lab.publish("apnic|JP|ipv4|192.0.2.0|16|20110811|assigned|A3")
    assert lab.fwfeed("update").returncode == 0


def test_an_interface_that_only_the_runtime_binds_is_in_no_other_zone_after_the_reload(lab: World, sshd: Ssh) -> None:
    lab.firewall_cmd("--zone=trusted", f"--add-interface={lab.device(ABROAD)}")
    lab.configure(inbound=RESTRICT)
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    refused = sshd.fwfeed("abroad", HERE["abroad"][0], "apply")
    assert refused.returncode == 5, refused.stderr
    assert "zone log-outbound may not let you in again" in refused.stderr
    assert lab.snapshot() == before


def test_restrict_can_be_switched_off_from_an_interface_that_network_manager_bound(lab: World, sshd: Ssh) -> None:
    """It binds each to the default zone by its name, and to the next one when that goes."""
    lab.configure(inbound=RESTRICT)
    assert lab.fwfeed("update").returncode == 0
    lab.firewall_cmd("--zone=log-outbound", f"--add-interface={lab.device(JP)}")
    lab.configure()
    applied = sshd.fwfeed("jp", HERE["jp"][0], "apply")
    assert applied.returncode == 0, applied.stderr
    assert sshd.gets_in("jp", HERE["jp"][0])
