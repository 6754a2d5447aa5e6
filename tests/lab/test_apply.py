"""Applying for real: what is claimed is in the kernel, and what fails leaves everything as it was."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.lab.matrix import on_one_version
from tests.lab.namespaces import batch
from tests.lab.world import ABROAD, FWFEED, JP, World, wait_until

pytestmark = pytest.mark.lab

REFUSED = on_one_version("fwfeed refuses it by what it reads itself, before firewalld is asked for any change")
STOPPED = on_one_version("when fwfeed is stopped is not firewalld's; how it puts things back then is proved on all")

ROOT = Path(__file__).parents[2]
RULE = (
    'rule priority="-2" family="ipv4" destination NOT ipset="JP" '
    'log prefix="OUTBOUND_FOREIGN " level="info" limit value="10/s"'
)


def table_handle(lab: World) -> str:
    """Return the handle of firewalld's table: a reload makes a new one."""
    listing = lab.run("host", "nft", "--handle", "list", "table", "inet", "firewalld").stdout
    return listing.splitlines()[0].rpartition("handle ")[2]


def override(lab: World, name: str, old: str, new: str) -> None:
    """Put an administrator's own template in place: the shipped one with one piece replaced."""
    text = (ROOT / "templates" / name).read_text()
    assert old in text
    folder = lab.folder / "templates"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text.replace(old, new))


def test_an_update_puts_the_set_into_the_kernel_and_a_second_one_does_nothing(lab: World) -> None:
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr
    assert "applied generation 1" in updated.stdout
    assert lab.kernel_set("JP") == {"198.51.100.0/24"}
    assert lab.kernel_set("JP6") == {"2001:db8:1::/48"}
    assert lab.firewall_cmd("--permanent", "--ipset=JP", "--get-entries") == "198.51.100.0/24"
    assert {"fwfeed-outbound", "fwfeed-forwarded"} <= set(lab.firewall_cmd("--get-policies").split())

    before = lab.snapshot()
    again = lab.fwfeed("update")
    assert (again.returncode, again.stdout) == (0, "nothing to do: the kernel holds what it should\n")
    assert lab.snapshot() == before


def test_only_a_change_of_rules_makes_a_reload(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    handle = table_handle(lab)
    lab.publish("apnic|KR|ipv4|192.0.2.0|256|20110811|assigned|A3")
    assert lab.fwfeed("update").returncode == 0
    assert table_handle(lab) == handle
    lab.publish("apnic|JP|ipv4|192.0.2.0|16|20110811|assigned|A3")
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr
    assert "without a reload" in updated.stdout
    assert table_handle(lab) == handle
    assert lab.kernel_set("JP") == {"192.0.2.0/28", "198.51.100.0/24"}

    def permanent() -> list[str]:
        return lab.firewall_cmd("--permanent", "--ipset=JP", "--get-entries").split()

    if lab.firewall_cmd("--version") >= "2.5":  # it takes note of a changed file, and reads it when it reloads
        wait_until(
            lambda: "out-of-band" in (lab.folder / "firewalld.log").read_text(), "firewalld to have noticed the file"
        )
        lab.firewall_cmd("--reload")
        handle = table_handle(lab)
    # until then firewalld looks at a changed file after five seconds
    wait_until(lambda: permanent() == ["192.0.2.0/28", "198.51.100.0/24"], "firewalld to have read the file")
    lab.configure(outbound="forwarded = false")
    applied = lab.fwfeed("apply")
    assert applied.returncode == 0, applied.stderr
    assert "by a reload" in applied.stdout
    assert table_handle(lab) != handle


def test_the_real_files_of_japan_with_special_purpose_ranges_reach_the_kernel(lab: World) -> None:
    data = ROOT / "tests/data/rir-2018-10-13"
    registries = ("afrinic", "apnic", "arin", "lacnic", "ripencc")
    lab.configure(
        set="",
        sources='max_age = "off"\n'
        + "\n".join(
            f'[sources.{name}]\nurl = "file://{data}/delegated-{name}-extended-latest.xz"' for name in registries
        ),
    )
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr
    for family, name in ((4, "JP"), (6, "JP6")):
        listed = lab.fwfeed("list", "--family", str(family)).stdout.split()
        assert len(listed) > 500
        # as networks, because nft writes single addresses and IPv4-mapped ones in another way
        assert {ip_network(element) for element in lab.kernel_set(name)} == {ip_network(each) for each in listed}
    found = json.loads(lab.fwfeed("lookup", "--json", "133.1.2.3", "8.8.8.8", "10.1.2.3").stdout)
    assert [(each["prefix"], each["kernel"]) for each in found] == [
        ("133.0.0.0/8", "holds"),
        (None, "lacks"),
        ("10.0.0.0/8", "holds"),
    ]


def test_status_and_the_next_apply_notice_and_heal_a_set_that_was_changed_by_hand(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    assert "proved in the kernel" in lab.fwfeed("status").stdout
    lab.firewall_cmd("--ipset=JP", "--remove-entry=198.51.100.0/24")
    assert "the kernel's set JP lacks 256 addresses and has 0 too many" in lab.fwfeed("status").stdout
    assert json.loads(lab.fwfeed("status", "--json").stdout)["installed"]["proved"] is False
    assert lab.fwfeed("apply").returncode == 0
    assert lab.kernel_set("JP") == {"198.51.100.0/24"}
    assert json.loads(lab.fwfeed("status", "--json").stdout)["installed"]["proved"] is True


@pytest.mark.parametrize(
    ("by_hand", "said"),
    [
        (
            ("--policy=fwfeed-outbound", "--remove-rich-rule", RULE),
            "the kernel lacks the rule of policies/fwfeed-outbound.xml that logs 'OUTBOUND_FOREIGN '",
        ),
        (
            ("--policy=fwfeed-outbound", "--add-service=ssh"),
            "firewalld's runtime has other settings than policies/fwfeed-outbound.xml",
        ),
        (
            (
                "--zone=log-outbound",
                "--remove-rich-rule",
                'rule family="ipv4" source ipset="JP" service name="ssh" accept',
            ),
            "firewalld's runtime has other settings than zones/log-outbound.xml",
        ),
        (("--set-default-zone=public",), "the default zone is public, not log-outbound"),
        (("--permanent", "--ipset=JP", "--add-entry=192.0.2.0/24"), "ipsets/JP.xml was changed since"),
    ],
)
def test_whatever_else_was_changed_by_hand_is_noticed_and_healed(
    lab: World, by_hand: tuple[str, ...], said: str
) -> None:
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("update").returncode == 0
    files = {path: path.read_bytes() for path in lab.etc.rglob("*.xml")}
    lab.firewall_cmd(*by_hand)
    assert said in lab.fwfeed("status").stdout
    applied = lab.fwfeed("apply")
    assert applied.returncode == 0, applied.stderr
    assert "applied generation 2" in applied.stdout
    assert "proved" in lab.fwfeed("status").stdout
    assert {path: path.read_bytes() for path in lab.etc.rglob("*.xml")} == files
    assert lab.firewall_cmd("--get-default-zone") == "log-outbound"


def test_a_set_that_gets_another_name_takes_its_old_files_with_it(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    lab.configure(set='name = "HOME"\ninclude = []')
    applied = lab.fwfeed("apply")
    assert applied.returncode == 0, applied.stderr
    assert sorted(path.name for path in (lab.etc / "ipsets").glob("*.xml")) == ["HOME.xml", "HOME6.xml"]
    assert lab.kernel_set("HOME") == {"198.51.100.0/24"}
    assert lab.run("host", "nft", "list", "set", "inet", "firewalld", "JP").returncode != 0


def test_outbound_off_removes_the_policies(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    lab.configure(outbound='action = "off"')
    assert lab.fwfeed("apply").returncode == 0
    assert not list((lab.etc / "policies").glob("fwfeed-*"))
    assert "fwfeed-outbound" not in lab.firewall_cmd("--get-policies").split()


@STOPPED
def test_two_commands_at_once_take_turns(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    command = ["ip", "netns", "exec", lab.namespace("host"), FWFEED, "--config", f"{lab.folder}/fwfeed.toml", "-v"]
    both = [
        subprocess.Popen([*command, "apply"], env=lab.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    results = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    outputs = sorted(stdout.decode().split()[0] for stdout, _ in results)
    assert outputs == ["applied", "nothing"]
    assert any(b"waiting for another fwfeed command" in stderr for _, stderr in results)


@REFUSED
def test_an_apply_without_firewalld_says_so_and_changes_nothing(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    lab.stop("firewalld")
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    assert refused.stderr == (
        "fwfeed: firewalld is not running\n"
        "fwfeed: way out: systemctl start firewalld; where it is masked: systemctl unmask firewalld\n"
    )
    assert lab.snapshot() == before


@REFUSED
def test_an_apply_without_a_bus_says_so_and_changes_nothing(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    refused = lab.fwfeed("apply", env={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={lab.folder}/none"})
    assert refused.returncode == 1
    assert "the system bus does not answer" in refused.stderr
    assert lab.snapshot() == before


@REFUSED
def test_an_apply_without_root_says_so_and_changes_nothing(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    # a user namespace without a mapping: not root any more, wherever the checkout lies
    refused = lab.run("host", "unshare", "--user", FWFEED, f"--config={lab.folder}/fwfeed.toml", "apply")
    assert refused.returncode == 1
    assert "needs root" in refused.stderr
    assert lab.snapshot() == before


@REFUSED
def test_a_file_of_somebody_else_is_never_overwritten(lab: World) -> None:
    (lab.etc / "ipsets/JP.xml").write_text('<ipset type="hash:ip"><entry>192.0.2.1</entry></ipset>\n')
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    assert f"{lab.etc}/ipsets/JP.xml: not written by fwfeed, and in its way" in refused.stderr
    assert "way out: move the file in the way elsewhere" in refused.stderr
    assert lab.snapshot() == before


def test_a_template_that_firewalld_does_not_understand_is_refused_before_anything_changes(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    override(lab, "policy.xml.j2", "<short>", "<banana/><short>")
    before = lab.snapshot()
    for command in ("check", "apply"):
        refused = lab.fwfeed(command)
        assert refused.returncode == 1, refused.stdout
        assert "banana" in refused.stderr
    assert lab.snapshot() == before


def test_a_reference_that_firewalld_lets_pass_is_refused_before_anything_changes(lab: World) -> None:
    override(lab, "policy.xml.j2", 'ipset="{{ rule.ipset }}"', 'ipset="NOWHERE"')
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    assert "names ipset 'NOWHERE', which does not exist" in refused.stderr
    assert lab.snapshot() == before


@REFUSED
@pytest.mark.parametrize("setting", ["FlushAllOnReload=no", "FirewallBackend=iptables"])
def test_a_firewalld_that_cannot_be_applied_to_safely_is_refused(lab: World, setting: str) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    conf = lab.etc / "firewalld.conf"
    key = setting.partition("=")[0]
    conf.write_text(re.sub(rf"^{key}=.*$", setting, conf.read_text(), flags=re.MULTILINE))
    assert setting in conf.read_text()
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    assert setting.partition("=")[0] in refused.stderr
    assert lab.snapshot() == before


def test_panic_mode_is_left_alone(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    lab.firewall_cmd("--panic-on")
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    assert "panic mode" in refused.stderr
    assert lab.snapshot() == before


@REFUSED
def test_a_set_that_shrinks_too_much_is_held(lab: World) -> None:
    lab.publish("apnic|JP|ipv4|192.0.2.0|128|20110811|assigned|A3")
    assert lab.fwfeed("update").returncode == 0
    lab.publish()
    lab.configure(gates='max_shrink = "50%"')
    assert lab.fwfeed("fetch").returncode == 0
    lab.configure()
    before = lab.snapshot()
    held = lab.fwfeed("apply")
    assert held.returncode == 3
    assert "IPv4: the set would shrink by 33.3%, from 384 to 256 addresses; allowed is 10.0%" in held.stderr
    assert "HELD by gate max_shrink" in lab.fwfeed("render", "--dry-run").stdout
    assert lab.snapshot() == before
    assert "192.0.2.0/25" in lab.kernel_set("JP")

    assert lab.fwfeed("approve").returncode == 0
    assert lab.fwfeed("apply").returncode == 0
    assert lab.kernel_set("JP") == {"198.51.100.0/24"}


@REFUSED
def test_a_foreign_administrator_is_not_locked_out_and_a_domestic_one_may_restrict(lab: World) -> None:
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    for peer, here in zip(ABROAD.addresses, (f"{ABROAD.ipv4}.1", f"{ABROAD.ipv6}::1"), strict=True):
        refused = lab.fwfeed("apply", env={"SSH_CONNECTION": f"{peer} 50000 {here} 22"})
        assert refused.returncode == 5
        assert f"you are logged in from {peer} to port 22, outside the set JP" in refused.stderr
        assert f"add a service with that port to inbound.foreign_services, or {peer} to set.include" in refused.stderr
        assert lab.snapshot() == before
    # sudo takes SSH_CONNECTION away from fwfeed, but not from the shell it was typed in
    command = f'env -u SSH_CONNECTION "{FWFEED}" --config "{lab.folder}/fwfeed.toml" apply; exit $?'
    shell = lab.run(
        "host", "sh", "-c", command, env={"SSH_CONNECTION": f"{ABROAD.addresses[0]} 50000 {ABROAD.ipv4}.1 22"}
    )
    assert shell.returncode == 5
    assert lab.snapshot() == before
    admitted = lab.fwfeed("apply", env={"SSH_CONNECTION": f"{JP.addresses[0]} 50000 {JP.ipv4}.1 22"})
    assert admitted.returncode == 0, admitted.stderr


def test_an_apply_that_firewalld_cannot_load_is_rolled_back(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    broken_policy(lab)
    before = lab.kernel_set("JP"), {path: path.read_bytes() for path in lab.etc.rglob("*.xml")}
    lab.publish("apnic|JP|ipv4|192.0.2.0|16|20110811|assigned|A3")
    failed = lab.fwfeed("update")
    assert failed.returncode == 4, failed.stderr
    assert (lab.kernel_set("JP"), {path: path.read_bytes() for path in lab.etc.rglob("*.xml")}) == before
    assert "rolled back: what was installed before is back" in failed.stderr
    assert lab.firewall_cmd("--state") == "running"


@REFUSED
def test_a_file_at_a_path_that_fwfeed_has_given_up_is_somebody_elses(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    lab.configure(set='name = "HOME"\ninclude = []')
    assert lab.fwfeed("apply").returncode == 0
    theirs = lab.etc / "ipsets/JP.xml"
    theirs.write_text('<ipset type="hash:net"><entry>192.0.2.0/24</entry></ipset>\n')
    lab.publish("apnic|JP|ipv4|192.0.2.0|16|20110811|assigned|A3")
    assert lab.fwfeed("update").returncode == 0
    assert "192.0.2.0/24" in theirs.read_text()
    lab.configure()
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    assert "JP.xml: not written by fwfeed" in refused.stderr
    assert lab.snapshot() == before


@REFUSED
def test_a_full_disk_stops_an_apply_before_anything_changes(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    folder = str(lab.etc / "ipsets")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "fwfeed-test", folder], check=True)
    try:
        before = lab.snapshot()
        refused = lab.fwfeed("apply")  # one page has room for JP.xml, none for JP6.xml
        assert refused.returncode == 1
        assert f"fwfeed: cannot write {folder}/JP6.xml: No space left on device\n" in refused.stderr
        assert lab.snapshot() == before
    finally:
        subprocess.run(["umount", folder], check=True)


@REFUSED
def test_an_ssh_port_that_restrict_would_not_admit_is_noticed(lab: World) -> None:
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    refused = lab.fwfeed("apply", env={"SSH_CONNECTION": f"{JP.addresses[0]} 50000 {JP.ipv4}.1 2222"})
    assert refused.returncode == 5
    assert f"you are logged in from {JP.addresses[0]} to port 2222, inside the set JP" in refused.stderr
    assert lab.snapshot() == before
    unknown = lab.fwfeed("apply", env={"SSH_CONNECTION": "UNKNOWN 65535 UNKNOWN 65535"})
    assert unknown.returncode == 5
    assert "does not say from where ('UNKNOWN')" in unknown.stderr
    assert lab.snapshot() == before


def test_entries_that_others_have_put_into_the_runtime_of_their_sets_are_named_before_a_reload(lab: World) -> None:
    lab.firewall_cmd("--permanent", "--new-ipset=bans", "--type=hash:ip")
    lab.firewall_cmd("--permanent", "--ipset=bans", "--add-entry=192.0.2.1")
    lab.firewall_cmd("--reload")
    for end in range(2, 10):
        lab.firewall_cmd("--ipset=bans", f"--add-entry=192.0.2.{end}")
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    session = {"SSH_CONNECTION": f"192.0.2.9 50000 {JP.ipv4}.1 22"}
    refused = lab.fwfeed("apply", env=session)
    assert refused.returncode == 5
    assert "ipset bans: 192.0.2.2, 192.0.2.3, " in refused.stderr
    assert lab.snapshot() == before
    # of somebody who is in none of these, they are nobody's way in
    done = lab.fwfeed("apply", env={"SSH_CONNECTION": f"{JP.addresses[0]} 50000 {JP.ipv4}.1 22"})
    assert done.returncode == 0
    dropped = next(line for line in done.stderr.splitlines() if "what only the runtime had" in line)
    assert "ipset bans: " in dropped
    assert dropped.endswith(" and 3 more")
    assert "192.0.2.1," not in dropped


def test_what_only_the_runtime_admits_is_not_dropped_under_a_session(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    lab.firewall_cmd("--add-port=2222/tcp")
    before = lab.snapshot()
    session = {"SSH_CONNECTION": f"{JP.addresses[0]} 50000 {JP.ipv4}.1 2222"}
    refused = lab.fwfeed("apply", env=session)
    assert refused.returncode == 5
    assert "zone public: 2222 tcp" in refused.stderr
    assert lab.snapshot() == before
    unattended = lab.fwfeed("apply")
    assert unattended.returncode == 0
    assert "warning: the reload dropped what only the runtime had: zone public: 2222 tcp" in unattended.stderr
    lab.firewall_cmd("--permanent", "--add-port=2222/tcp")
    lab.firewall_cmd("--reload")
    lab.publish("apnic|JP|ipv4|192.0.2.0|16|20110811|assigned|A3")
    assert lab.fwfeed("update", env=session).returncode == 0


def test_restrict_off_does_not_lock_out_through_the_zone_that_is_given_back(lab: World) -> None:
    lab.firewall_cmd("--set-default-zone=drop")
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("update").returncode == 0
    lab.configure()
    before = lab.snapshot()
    session = {"SSH_CONNECTION": f"{JP.addresses[0]} 50000 {JP.ipv4}.1 22"}
    refused = lab.fwfeed("apply", env=session)
    assert refused.returncode == 5
    assert "zone drop, the default zone again, would not let you in" in refused.stderr
    assert lab.snapshot() == before
    lab.firewall_cmd("--permanent", "--zone=drop", "--add-service=ssh")
    lab.firewall_cmd("--reload")
    assert lab.fwfeed("apply", env=session).returncode == 0


def test_what_others_add_to_a_zone_of_ours_is_no_reason_for_a_reload(lab: World) -> None:
    """As fail2ban does, to the default zone."""
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("update").returncode == 0
    ban = 'rule family="ipv4" source address="203.0.113.2" reject'
    lab.firewall_cmd("--zone=log-outbound", "--add-rich-rule", ban)
    before = lab.snapshot()
    assert lab.fwfeed("update").stdout.startswith("nothing to do")
    assert "proved" in lab.fwfeed("status").stdout
    assert lab.snapshot() == before
    lab.firewall_cmd("--zone=log-outbound", "--add-port=9999/tcp")
    lab.publish("apnic|JP|ipv4|192.0.2.0|16|20110811|assigned|A3")
    session = {"SSH_CONNECTION": f"{JP.addresses[0]} 50000 {JP.ipv4}.1 22"}
    assert "without a reload" in lab.fwfeed("update", env=session).stdout
    assert ban in lab.firewall_cmd("--zone=log-outbound", "--list-rich-rules")
    assert lab.firewall_cmd("--zone=log-outbound", "--list-ports") == "9999/tcp"
    lab.configure(inbound='action = "restrict"\nprefix = "OTHER "')
    refused = lab.fwfeed("apply", env=session)
    assert refused.returncode == 5
    assert "zone log-outbound: 9999 tcp" in refused.stderr


def test_check_writes_nothing_through_links(lab: World) -> None:
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("fetch").returncode == 0
    conf = lab.folder / "real.conf"
    (lab.etc / "firewalld.conf").rename(conf)
    (lab.etc / "firewalld.conf").symlink_to(conf)
    before = conf.read_bytes()
    sound = lab.fwfeed("check")  # which tries the other default zone, in a copy
    assert sound.returncode == 0, sound.stderr
    assert conf.read_bytes() == before

    elsewhere = lab.folder / "elsewhere"
    (lab.etc / "zones").rename(elsewhere)
    (lab.etc / "zones").symlink_to(elsewhere)
    refused = lab.fwfeed("check")
    assert refused.returncode == 1
    assert "zones/log-outbound.xml: not written by fwfeed, and in its way" in refused.stderr
    assert [path.name for path in elsewhere.iterdir()] == ["trusted.xml"]


def test_a_zone_without_a_file_does_not_stop_an_apply(lab: World) -> None:
    lab.firewall_cmd("--permanent", "--new-zone=mine")
    lab.firewall_cmd("--reload")
    lab.firewall_cmd("--permanent", "--delete-zone=mine")
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr


def test_a_default_zone_that_was_edited_into_the_file_is_noticed(lab: World) -> None:
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("update").returncode == 0
    conf = lab.etc / "firewalld.conf"
    conf.write_text(conf.read_text().replace("DefaultZone=log-outbound", "DefaultZone=home"))
    applied = lab.fwfeed("apply")
    assert applied.returncode == 0, applied.stderr
    assert "applied generation 2" in applied.stdout
    assert "DefaultZone=log-outbound" in conf.read_text()
    lab.configure()
    assert lab.fwfeed("apply").returncode == 0
    assert lab.firewall_cmd("--get-default-zone") == "home"


def test_an_interface_that_restrict_does_not_reach_is_named(lab: World) -> None:
    lab.configure(inbound='action = "restrict"')
    lab.firewall_cmd("--permanent", "--zone=public", f"--add-interface={lab.device(ABROAD)}")
    lab.firewall_cmd("--reload")
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr
    device = lab.device(ABROAD)
    assert f"warning: interface {device} is bound to zone public" in updated.stderr
    status = json.loads(lab.fwfeed("status", "--json").stdout)
    assert status["unreached_interfaces"][device] == "public"
    assert status["actions"]["inbound"] == "restrict"


def test_an_interface_that_moved_since_the_apply_is_named(lab: World) -> None:
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("update").returncode == 0
    device = lab.device(ABROAD)
    assert device not in json.loads(lab.fwfeed("status", "--json").stdout)["unreached_interfaces"]
    before = dict(parse_metrics(lab.fwfeed("metrics").stdout))
    lab.firewall_cmd("--zone=public", f"--change-interface={device}")
    said = lab.fwfeed("status").stdout
    assert said.startswith("WARNING  JP: ")
    assert f"  WARNING: interface {device} is bound to zone public" in said
    probed = lab.fwfeed("check", "--nagios")
    assert (probed.returncode, f"interface {device} is bound to zone public" in probed.stdout) == (1, True)
    after = dict(parse_metrics(lab.fwfeed("metrics").stdout))
    name = "fwfeed_unreached_interfaces"
    assert after[name] == before[name] + 1
    lab.firewall_cmd("--zone=log-outbound", f"--change-interface={device}")
    assert device not in json.loads(lab.fwfeed("status", "--json").stdout)["unreached_interfaces"]


def test_a_bridge_of_containers_is_not_named_and_one_to_the_world_is(lab: World) -> None:
    lab.configure(inbound='action = "restrict"')
    batch("link add docker0 type bridge", "link set docker0 up", namespace=lab.namespace("host"))
    lab.firewall_cmd("--permanent", "--zone=public", "--add-interface=docker0")
    lab.firewall_cmd("--reload")
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr
    assert "docker0" not in updated.stderr
    assert "docker0" not in json.loads(lab.fwfeed("status", "--json").stdout)["unreached_interfaces"]
    batch("address add 192.0.2.1/24 dev docker0", namespace=lab.namespace("host"))
    batch("route add default via 192.0.2.2 dev docker0", namespace=lab.namespace("host"))
    assert json.loads(lab.fwfeed("status", "--json").stdout)["unreached_interfaces"]["docker0"] == "public"


def parse_metrics(text: str) -> Iterator[tuple[str, float]]:
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            yield name, float(value)


def test_status_says_whether_anybody_watches(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    assert "\noutbound: log, own and forwarded · inbound: off · watch: not running\n" in lab.fwfeed("status").stdout
    watching = lab.start("host", FWFEED, f"--config={lab.folder}/fwfeed.toml", "watch", "--record", "--quiet")
    try:
        wait_until(lambda: "watch: running" in lab.fwfeed("status").stdout, "watch to be seen")
        assert "watch: running, 0 lost\n" in lab.fwfeed("status").stdout
        assert json.loads(lab.fwfeed("status", "--json").stdout)["watch"] == {"listening": True, "lost": 0}
    finally:
        watching.terminate()
        watching.communicate(timeout=20)
    assert "watch: not running\n" in lab.fwfeed("status").stdout
    lab.configure(watch='group = "off"')
    assert lab.fwfeed("update").returncode == 0
    assert "watch: off\n" in lab.fwfeed("status").stdout


def broken_policy(lab: World) -> None:
    """Have the next apply fail after its files are in place: both checks pass this, the reload does not."""
    (lab.etc / "ipsets/OFFICE.xml").write_text(
        '<ipset type="hash:net"><option name="family" value="inet6"/><entry>2001:db8:9::/48</entry></ipset>\n'
    )
    lab.firewall_cmd("--reload")
    rule = '<rule family="ipv4" priority="-3"><destination ipset="OFFICE"/><accept/></rule>\n'
    loop = "{% for rule in policy.rules %}"
    override(lab, "policy.xml.j2", loop, rule + loop)


def test_a_failed_restrict_gives_files_zone_and_sets_back(lab: World) -> None:
    lab.firewall_cmd("--set-default-zone=work")
    assert lab.fwfeed("update").returncode == 0
    before = {path: path.read_bytes() for path in lab.etc.rglob("*") if path.is_file()}
    broken_policy(lab)
    lab.configure(inbound='action = "restrict"')
    failed = lab.fwfeed("apply")
    assert failed.returncode == 4, failed.stderr
    after = {path: path.read_bytes() for path in before}
    assert after == before
    assert lab.firewall_cmd("--get-default-zone") == "work"
    assert "log-outbound" not in lab.firewall_cmd("--get-zones").split()
    assert lab.kernel_set("JP") == {"198.51.100.0/24"}
    status = json.loads(lab.fwfeed("status", "--json").stdout)["installed"]
    assert (status["generation"], status["proved"]) == (1, True)


def test_a_set_edited_through_firewalld_does_not_stop_a_rollback(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    lab.firewall_cmd("--permanent", "--ipset=JP", "--add-entry=192.0.2.9")
    edited = (lab.etc / "ipsets/JP.xml").read_bytes()
    broken_policy(lab)
    failed = lab.fwfeed("apply")
    assert failed.returncode == 4, failed.stderr
    assert (lab.etc / "ipsets/JP.xml").read_bytes() == edited
    assert lab.kernel_set("JP") == {"192.0.2.9", "198.51.100.0/24"}


def test_a_rollback_that_fails_says_so(lab: World) -> None:
    """A policy of the administrator's that firewalld accepts in its check and fails to load."""
    assert lab.fwfeed("fetch").returncode == 0
    (lab.etc / "ipsets/OTHER.xml").write_text(
        '<ipset type="hash:net"><option name="family" value="inet6"/><entry>2001:db8:9::/48</entry></ipset>\n'
    )
    (lab.etc / "policies/other.xml").write_text(
        '<policy target="CONTINUE"><ingress-zone name="HOST"/><egress-zone name="ANY"/>'
        '<rule family="ipv4"><destination ipset="OTHER"/><accept/></rule></policy>\n'
    )
    failed = lab.fwfeed("apply")
    assert failed.returncode == 6, failed.stderr
    assert "the apply failed: " in failed.stderr
    assert "and so did putting things back: " in failed.stderr
    assert not list(lab.etc.glob("ipsets/JP*"))
    (lab.etc / "policies/other.xml").unlink()
    lab.stop("firewalld")
    lab.start_firewalld()
    assert lab.fwfeed("apply").returncode == 0


def test_an_overlapping_set_of_somebody_elses_costs_what_firewalld_makes_of_it(lab: World) -> None:
    """Its check accepts it, and its reload fails (firewalld#1344), up to 2.5: there it logs the error and goes on."""
    assert lab.fwfeed("fetch").returncode == 0
    (lab.etc / "ipsets/OTHER.xml").write_text(
        '<ipset type="hash:net"><entry>192.0.2.0/24</entry><entry>192.0.2.0/25</entry></ipset>\n'
    )
    applied = lab.fwfeed("apply")
    goes_on = lab.firewalld.release >= (2, 5)
    assert applied.returncode == (0 if goes_on else 6), applied.stderr
    assert bool(list(lab.etc.glob("ipsets/JP*"))) is goes_on
    if goes_on:
        assert lab.kernel_set("JP") == {"198.51.100.0/24"}
        assert "proved" in lab.fwfeed("status").stdout


@STOPPED
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_mid_apply_is_a_failure_that_is_rolled_back(lab: World, number: signal.Signals) -> None:
    """Told to stop as soon as its first file is in place; being told again must not stop the rollback."""
    assert lab.fwfeed("fetch").returncode == 0
    before = {path: path.read_bytes() for path in lab.etc.rglob("*") if path.is_file()}
    with lab.start_fwfeed("apply") as process:
        while not (lab.etc / "ipsets/JP.xml").exists() and process.poll() is None:
            time.sleep(0.001)
        for _ in range(2):
            os.kill(process.pid, number)
            time.sleep(0.05)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 4, said
    assert f"interrupted by {number.name}" in said
    assert {path: path.read_bytes() for path in lab.etc.rglob("*") if path.is_file()} == before
    assert lab.run("host", "nft", "list", "set", "inet", "firewalld", "JP").returncode != 0


@STOPPED
@pytest.mark.parametrize("code", [0, 4])
def test_a_lost_terminal_changes_nothing_about_the_outcome(lab: World, code: int) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    if code:
        broken_policy(lab)
    apply = f'"{FWFEED}" -v --config "{lab.folder}/fwfeed.toml" apply'
    done = lab.run("host", "bash", "-c", f"{apply} 2>&1 >/dev/null | head -c1 >/dev/null; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == code
    assert (lab.etc / "ipsets/JP.xml").exists() is (code == 0)
    assert lab.firewall_cmd("--state") == "running"


@STOPPED
def test_a_firewalld_that_is_restarted_in_mid_apply_ends_in_one_whole_generation(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    with lab.start_fwfeed("apply") as process:
        while not (lab.etc / "ipsets/JP.xml").exists():
            time.sleep(0.001)
        lab.stop("firewalld")
        lab.start_firewalld()
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode in {0, 4}, said
    assert (lab.etc / "ipsets/JP.xml").exists() is (process.returncode == 0)
    assert lab.fwfeed("apply").returncode == 0
    assert "proved" in lab.fwfeed("status").stdout


@STOPPED
def test_an_apply_that_was_killed_is_finished_by_the_next(lab: World) -> None:
    """Killed between its files and its reload: nothing on disk is left to do, and yet all is."""
    assert lab.fwfeed("update").returncode == 0
    lab.configure(outbound='prefix = "ABROAD "')
    policy = lab.etc / "policies/fwfeed-outbound.xml"
    with lab.start_fwfeed("apply") as process:
        while "ABROAD" not in policy.read_text():
            time.sleep(0.0005)
        process.kill()
    finished = lab.fwfeed("apply")
    assert finished.returncode == 0, finished.stderr
    assert "applied generation 3" in finished.stdout
    assert "proved" in lab.fwfeed("status").stdout
    assert 'log prefix "ABROAD "' in lab.run("host", "nft", "list", "ruleset").stdout


@STOPPED
def test_a_killed_restrict_can_still_be_switched_off(lab: World) -> None:
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("fetch").returncode == 0
    conf = lab.etc / "firewalld.conf"
    with lab.start_fwfeed("apply") as process:
        while "DefaultZone=log-outbound" not in conf.read_text() and process.poll() is None:
            time.sleep(0.001)
        process.kill()
    lab.configure()
    applied = lab.fwfeed("apply")
    assert applied.returncode == 0, applied.stderr
    assert lab.firewall_cmd("--get-default-zone") == "public"
    assert not (lab.etc / "zones/log-outbound.xml").exists()


def test_a_default_zone_that_is_gone_is_not_given_back(lab: World) -> None:
    lab.firewall_cmd("--permanent", "--new-zone=mine")
    lab.firewall_cmd("--reload")
    lab.firewall_cmd("--set-default-zone=mine")
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("update").returncode == 0
    lab.firewall_cmd("--permanent", "--delete-zone=mine")
    lab.firewall_cmd("--reload")
    lab.configure()
    applied = lab.fwfeed("apply")
    assert applied.returncode == 0, applied.stderr
    assert "warning: zone mine, the default before fwfeed, is gone: public takes its place" in applied.stderr
    assert lab.firewall_cmd("--get-default-zone") == "public"


@REFUSED
@pytest.mark.parametrize("path", ["/etc/hostname", "../outside.xml", "ipsets/../../x.xml", "firewalld.conf"])
def test_a_manifest_that_names_other_files_is_refused(lab: World, path: str) -> None:
    assert lab.fwfeed("update").returncode == 0
    manifest = lab.folder / "state/generations/000001/manifest.json"
    document = json.loads(manifest.read_text())
    document["files"][path] = "0" * 64
    manifest.write_text(json.dumps(document, indent=1) + "\n")
    before = lab.snapshot()
    for command in ("apply", "check", "status"):
        refused = lab.fwfeed(command)
        assert refused.returncode == 1
        assert f"{manifest}: not a manifest: it names files that fwfeed does not write" in refused.stderr
    assert lab.snapshot() == before


@REFUSED
def test_generations_that_others_could_have_written_are_refused(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    folder = lab.folder / "state/generations"
    for mode, owner in ((0o777, 0), (0o755, 65534)):
        folder.chmod(mode)
        os.chown(folder, owner, -1)
        before = lab.snapshot()
        refused = lab.fwfeed("apply")
        assert refused.returncode == 1
        assert f"{folder} must be a folder of root's that nobody else can write" in refused.stderr
        assert lab.snapshot() == before
    os.chown(folder, 0, -1)
    assert lab.fwfeed("apply").returncode == 0


@REFUSED
def test_a_candidate_that_is_no_file_does_not_hang_an_apply(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    candidate = lab.folder / "state/candidate/candidate.json"
    candidate.unlink()
    os.mkfifo(candidate)
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    assert f"{candidate}: not a regular file" in refused.stderr


@pytest.mark.parametrize("kind", ["hash:mac", "hash:ip,port"])
def test_a_set_of_somebody_elses_by_our_name_is_no_traceback(lab: World, kind: str) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    lab.firewall_cmd("--permanent", "--new-ipset=JP", f"--type={kind}")
    lab.firewall_cmd(
        "--permanent",
        "--ipset=JP",
        "--add-entry=" + ("02:00:00:00:00:01" if kind == "hash:mac" else "192.0.2.1,tcp:80"),
    )
    lab.firewall_cmd("--reload")
    before = lab.snapshot()
    for command, code in (("apply", 1), ("lookup 192.0.2.1", 0), ("status", 0)):
        ended = lab.fwfeed(*command.split())
        assert ended.returncode == code, ended.stderr
        if command.startswith("lookup"):
            assert "not known: the kernel's set JP is not a set of IPv4 addresses" in ended.stdout
        assert "Traceback" not in ended.stderr
    assert lab.snapshot() == before
