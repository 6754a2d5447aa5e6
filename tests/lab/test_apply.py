"""Applying for real: what is claimed is in the kernel, and what fails leaves everything as it was."""

from __future__ import annotations

import json
import subprocess
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.lab.world import ABROAD, FWFEED, JP, World

pytestmark = pytest.mark.lab

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


def test_only_a_change_of_the_set_makes_a_reload(lab: World) -> None:
    assert lab.fwfeed("update").returncode == 0
    handle = table_handle(lab)
    lab.publish("apnic|KR|ipv4|192.0.2.0|256|20110811|assigned|A3")
    assert lab.fwfeed("update").returncode == 0
    assert table_handle(lab) == handle
    lab.publish("apnic|JP|ipv4|192.0.2.0|16|20110811|assigned|A3")
    updated = lab.fwfeed("update")
    assert updated.returncode == 0, updated.stderr
    assert table_handle(lab) != handle
    assert lab.kernel_set("JP") == {"192.0.2.0/28", "198.51.100.0/24"}


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
    assert "proved: files, firewalld and the kernel hold exactly this" in lab.fwfeed("status").stdout
    lab.firewall_cmd("--ipset=JP", "--remove-entry=198.51.100.0/24")
    assert "NOT SO: the kernel's set JP lacks 256 addresses and has 0 too many" in lab.fwfeed("status").stdout
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
        (("--zone=jp", "--add-service=ftp"), "firewalld's runtime has other settings than zones/jp.xml"),
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


def test_an_apply_without_firewalld_says_so_and_changes_nothing(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    lab.stop("firewalld")
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    assert refused.stderr == (
        "fwfeed: firewalld is not running\nfwfeed: way out: start it: systemctl start firewalld\n"
    )
    assert lab.snapshot() == before


def test_an_apply_without_a_bus_says_so_and_changes_nothing(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    refused = lab.fwfeed("apply", env={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={lab.folder}/none"})
    assert refused.returncode == 1
    assert "the system bus does not answer" in refused.stderr
    assert lab.snapshot() == before


def test_an_apply_without_root_says_so_and_changes_nothing(lab: World) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    # a user namespace without a mapping: not root any more, wherever the checkout lies
    refused = lab.run("host", "unshare", "--user", FWFEED, f"--config={lab.folder}/fwfeed.toml", "apply")
    assert refused.returncode == 1
    assert "needs root" in refused.stderr
    assert lab.snapshot() == before


def test_a_file_of_somebody_else_is_never_overwritten(lab: World) -> None:
    (lab.etc / "ipsets/JP.xml").write_text('<ipset type="hash:ip"><entry>192.0.2.1</entry></ipset>\n')
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    refused = lab.fwfeed("apply")
    assert refused.returncode == 1
    assert f"{lab.etc}/ipsets/JP.xml: not written by fwfeed, and in its way" in refused.stderr
    assert "way out: move the file away, or choose another set.name" in refused.stderr
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


@pytest.mark.parametrize("setting", ["FlushAllOnReload=no", "FirewallBackend=iptables"])
def test_a_firewalld_that_cannot_be_applied_to_safely_is_refused(lab: World, setting: str) -> None:
    assert lab.fwfeed("fetch").returncode == 0
    with (lab.etc / "firewalld.conf").open("a") as file:
        file.write(f"{setting}\n")
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


def test_a_set_that_shrinks_too_much_is_held(lab: World) -> None:
    lab.publish("apnic|JP|ipv4|192.0.2.0|128|20110811|assigned|A3")
    assert lab.fwfeed("update").returncode == 0
    lab.publish()
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    held = lab.fwfeed("apply")
    assert held.returncode == 3
    assert "IPv4 would shrink by 33.3%, from 384 to 256 addresses; allowed is 10.0%" in held.stderr
    assert "HELD by gate max_shrink" in lab.fwfeed("render", "--dry-run").stdout
    assert lab.snapshot() == before
    assert "192.0.2.0/25" in lab.kernel_set("JP")

    lab.configure(gates='max_shrink = "50%"')
    assert lab.fwfeed("apply").returncode == 0
    assert lab.kernel_set("JP") == {"198.51.100.0/24"}


def test_a_foreign_administrator_is_not_locked_out_and_a_domestic_one_may_restrict(lab: World) -> None:
    lab.configure(inbound='action = "restrict"')
    assert lab.fwfeed("fetch").returncode == 0
    before = lab.snapshot()
    for peer, here in zip(ABROAD.addresses, (f"{ABROAD.ipv4}.1", f"{ABROAD.ipv6}::1"), strict=True):
        refused = lab.fwfeed("apply", env={"SSH_CONNECTION": f"{peer} 50000 {here} 22"})
        assert refused.returncode == 5
        assert f"you are logged in from {peer}, outside the set JP" in refused.stderr
        assert f"add {peer} to set.include" in refused.stderr
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
    """A set of the administrator's own, of the other family, in a rule: both checks pass it, the reload does not."""
    (lab.etc / "ipsets/OFFICE.xml").write_text(
        '<ipset type="hash:net"><option name="family" value="inet6"/><entry>2001:db8:9::/48</entry></ipset>\n'
    )
    lab.firewall_cmd("--reload")
    assert lab.fwfeed("update").returncode == 0
    before = lab.kernel_set("JP"), {path: path.read_bytes() for path in lab.etc.rglob("*.xml")}
    lab.publish("apnic|JP|ipv4|192.0.2.0|16|20110811|assigned|A3")
    override(
        lab,
        "policy.xml.j2",
        "{% for rule in policy.rules %}",
        '<rule family="ipv4" priority="-3"><destination ipset="OFFICE"/><accept/></rule>\n'
        "{% for rule in policy.rules %}",
    )
    failed = lab.fwfeed("update")
    assert failed.returncode == 4, failed.stderr
    assert (lab.kernel_set("JP"), {path: path.read_bytes() for path in lab.etc.rglob("*.xml")}) == before
    assert "rolled back: all is as before" in failed.stderr
    assert lab.firewall_cmd("--state") == "running"


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
