"""What firewalld's own check lets pass, and fwfeed's must not (firewalld-facts 5 to 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fwfeed.checks import check_daemon, check_files, check_others
from fwfeed.config import Config, Inbound, InboundConfig, Outbound, OutboundConfig, SetConfig, WatchConfig
from fwfeed.render import Rendered, render
from tests.unit.builders import candidate, shipped, templates

RESTRICT = Config(inbound=InboundConfig(action=Inbound.RESTRICT))
UNWATCHED = Config(watch=WatchConfig(group=None))
LOOP = "{% for entry in ipset.entries %}"


def rendered(config: Config | None = None, **overrides: str) -> Rendered:
    config = config or Config()
    return render(candidate(config), config, templates(**overrides))


def altered(path: str, old: str, new: str, config: Config | None = None) -> Rendered:
    """Return sound files, but for one text in one of them."""
    sound = rendered(config)
    text = sound.files[path].decode()
    assert text.count(old) >= 1, f"{old} is not in {path}"
    return replace(sound, files={**sound.files, path: text.replace(old, new, 1).encode()})


def problems(files: Rendered, others: Sequence[str] = ()) -> list[str]:
    return check_files(files, others)


@pytest.mark.parametrize("config", [Config(), RESTRICT, Config(inbound=InboundConfig(action=Inbound.LOG))])
def test_sound_files_have_no_problems(config: Config) -> None:
    assert problems(rendered(config)) == []


def test_an_empty_set_is_sound() -> None:
    files = render(candidate(Config(), ipv6=()), Config(), templates())
    assert problems(files) == []


def test_a_dangling_ipset_in_a_rule_is_found() -> None:
    files = altered("policies/fwfeed-outbound.xml", 'ipset="JP6"', 'ipset="GONE"', UNWATCHED)
    assert problems(files) == [
        "policies/fwfeed-outbound.xml: no rule names the set JP6",
        "policies/fwfeed-outbound.xml: <destination> names ipset 'GONE', which does not exist",
    ]


def test_a_policy_that_a_template_leaves_without_rules_is_found() -> None:
    start, end = "{% for rule in policy.rules %}", "{% endfor %}"
    files = rendered(policy=shipped("policy").replace(start, "{% for rule in [] %}"))
    assert end in shipped("policy")
    unwatched = "hands all that goes outside {} to NFLOG group 243, where fwfeed watch listens"
    assert [problem for problem in problems(files) if "fwfeed-outbound" in problem] == [
        "policies/fwfeed-outbound.xml: no rule names the set JP",
        "policies/fwfeed-outbound.xml: no rule names the set JP6",
        f"policies/fwfeed-outbound.xml: no rule {unwatched.format('JP')}",
        f"policies/fwfeed-outbound.xml: no rule {unwatched.format('JP6')}",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{% if policy.nflog is not none %}", "{% if false %}"),  # as a template of a version before had it
        ('group="{{ policy.nflog }}"', 'group="7"'),
        ('group="{{ policy.nflog }}"', ""),
        ('queue-size="1"/>', 'queue-size="1"><limit value="1/s"/></nflog>'),
        ("<nflog", '<protocol value="tcp"/>\n    <nflog'),
        ("<nflog", "<audit/>\n    <!-- nflog"),
    ],
)
def test_a_policy_of_which_watch_would_not_be_told_all_is_found(old: str, new: str) -> None:
    text = shipped("policy").replace(old, new)
    if "<!--" in new:
        text = text.replace('queue-size="1"/>', 'queue-size="1"/ -->')
    assert text != shipped("policy")
    config = Config(outbound=OutboundConfig(forwarded=True))
    assert problems(rendered(config, policy=text)) == [
        f"policies/fwfeed-{policy}.xml: no rule hands all that goes outside {name} to NFLOG group 243, "
        "where fwfeed watch listens"
        for policy in ("outbound", "forwarded")
        for name in ("JP", "JP6")
    ]
    assert problems(rendered(replace(config, watch=UNWATCHED.watch), policy=text)) == []


def test_a_dangling_ipset_in_a_zone_is_found() -> None:
    files = rendered(RESTRICT, zone=shipped("zone").replace("{{ rule.ipset }}", "{{ rule.ipset }}x"))
    assert problems(files) == [
        "zones/log-outbound.xml: <source> names ipset 'JPx', which does not exist",
        "zones/log-outbound.xml: <source> names ipset 'JP6x', which does not exist",
    ]


BLOCKS = [Config(outbound=OutboundConfig(action=action)) for action in (Outbound.REJECT, Outbound.DROP)]
ON_LINK = (
    ["127.0.0.0/8", "169.254.0.0/16", "192.0.2.0/24", "198.51.100.0/25", "224.0.0.0/4", "255.255.255.255/32"],
    ["::1/128", "2001:db8:1::/48", "2001:db8:3::/49", "fe80::/10", "ff00::/8"],
)
POLICIES = ("policies/fwfeed-outbound.xml", "policies/fwfeed-forwarded.xml")
RULE = '<rule family="ipv4" priority="9">'
OUTSIDE = '<destination ipset="JP-pass" invert="True"/>'
WARNING = "a rule that drops is not for what goes outside JP-pass alone"


@pytest.mark.parametrize("config", BLOCKS)
def test_a_block_is_sound_with_sets_beside_the_countrys_and_without(config: Config) -> None:
    assert problems(rendered(config)) == []
    alone = render(candidate(config, *ON_LINK), config, templates())
    assert len(alone.sets) == 2
    assert problems(alone) == []


@pytest.mark.parametrize("config", BLOCKS)
@pytest.mark.parametrize("old", ['    <{{ rule.peer }} ipset="{{ rule.passing }}" invert="True"/>\n', ' invert="True"'])
def test_a_block_that_a_template_makes_one_of_everything_is_found(config: Config, old: str) -> None:
    policy = shipped("policy")
    start = policy.index("{% if policy.verdict")
    files = rendered(config, policy=policy[:start] + policy[start:].replace(old, ""))
    verdict = config.outbound.action
    for path in POLICIES:
        assert f"{path}: a rule that {verdict}s is not for what goes outside JP-pass alone" in problems(files)
        assert f"{path}: no rule {verdict}s all that goes outside JP6-pass" in problems(files)


@pytest.mark.parametrize("config", BLOCKS)
def test_a_block_that_does_not_spare_what_is_exempt_is_found(config: Config) -> None:
    files = rendered(config, policy=shipped("policy").replace("rule.passing", "rule.ipset"))
    verdict = config.outbound.action
    assert f"{POLICIES[0]}: a rule that {verdict}s is not for what goes outside JP-pass alone" in problems(files)


@pytest.mark.parametrize("config", BLOCKS)
def test_a_block_that_a_template_leaves_out_or_limits_is_found(config: Config) -> None:
    verdict = config.outbound.action
    missing = sorted(
        f"{path}: no rule {verdict}s all that goes outside {name}" for path in POLICIES for name in PASSING
    )
    assert sorted(problems(rendered(config, policy=shipped("policy").replace("policy.verdict", "none")))) == missing
    limited = shipped("policy").replace(f"<{verdict}/>", f'<{verdict}><limit value="1/s"/></{verdict}>')
    assert sorted(problems(rendered(config, policy=limited))) == missing


PASSING = ("JP-pass", "JP6-pass")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("<rule><drop/></rule>", "a rule that drops is not for what goes outside a set of its family alone"),
        (f"{RULE}<drop/></rule>", WARNING),
        (f'{RULE}<destination ipset="JP"/><drop/></rule>', WARNING),
        (f'{RULE}<destination ipset="JP-pass"/><drop/></rule>', WARNING),
        (f'{RULE}<source ipset="JP-pass" invert="True"/><drop/></rule>', WARNING),
        (f'{RULE}<destination address="192.0.2.0/24" invert="True"/><drop/></rule>', WARNING),
        (
            "<rule><accept/></rule>",
            "a rule accepts everything: nothing after it, of this policy or another, would be asked",
        ),
        (
            f"{RULE}{OUTSIDE}<accept/></rule>",
            "a rule accepts everything: nothing after it, of this policy or another, would be asked",
        ),
    ],
)
def test_a_rule_more_that_decides_about_too_much_is_found(rule: str, problem: str) -> None:
    for config in BLOCKS:
        files = altered(POLICIES[1], "</policy>", f"{rule}</policy>", config)
        assert problems(files) == [f"{POLICIES[1]}: {problem}"]


def test_a_rule_more_that_decides_about_less_is_the_administrators() -> None:
    rule = (
        f'{RULE}{OUTSIDE}<port port="25" protocol="tcp"/><drop/></rule><rule><port port="53" protocol="udp"/><accept/>'
    )
    assert problems(altered(POLICIES[0], "</policy>", f"{rule}</rule></policy>", BLOCKS[0])) == []


@pytest.mark.parametrize("target", ["ACCEPT", "DROP", "REJECT"])
def test_a_policy_that_decides_about_all_that_is_left_is_found(target: str) -> None:
    assert problems(altered(POLICIES[0], 'target="CONTINUE"', f'target="{target}"')) == [
        f"{POLICIES[0]}: its target is {target}, not CONTINUE: it would decide on every packet"
    ]


def test_a_block_between_other_zones_is_found() -> None:
    # of what comes to a host whose own address is foreign, a policy to HOST would refuse all
    files = altered(POLICIES[0], '<egress-zone name="ANY"/>', '<egress-zone name="HOST"/>', BLOCKS[1])
    assert set(problems(files)) == {
        f"{POLICIES[0]}: a rule drops, and the policy is not for what leaves: HOST to ANY, or ANY to ANY"
    }


@pytest.mark.parametrize("config", BLOCKS)
def test_a_block_that_comes_before_neighbour_discovery_or_without_it_is_found(config: Config) -> None:
    verdict = config.outbound.action
    of = f"{POLICIES[0]}: a rule {verdict}s "
    late = problems(rendered(config, policy=shipped("policy").replace('priority="-1"', 'priority="3"')))
    assert set(late) == {f"{of}{name} of IPv6" for name in DISCOVERY}
    none = shipped("policy").replace("neighbour", "x").replace("in policy.discovery", "in policy.discovery[1:]")
    assert set(problems(rendered(config, policy=none))) == {f"{of}{DISCOVERY[0]} of IPv6"}


DISCOVERY = ("neighbour-advertisement", "neighbour-solicitation", "router-advertisement", "router-solicitation")


@pytest.mark.parametrize(
    "rule",
    [
        "<rule><{}/></rule>",
        '<rule family="ipv4" priority="-9"><{}/></rule>',
        '<rule family="ipv4"><source ipset="JP" invert="True"/><{}/></rule>',
    ],
)
@pytest.mark.parametrize("verb", ["accept", "reject", "drop"])
def test_a_rule_of_a_zone_that_decides_about_everybody_is_found(rule: str, verb: str) -> None:
    files = altered("zones/log-outbound.xml", "</zone>", f"{rule.format(verb)}</zone>", RESTRICT)
    assert problems(files) == [f"zones/log-outbound.xml: a rule {verb}s everything, wherever it comes from"]


def test_an_ipset_of_the_administrators_own_is_not_dangling() -> None:
    files = altered("policies/fwfeed-outbound.xml", 'ipset="JP6"', 'ipset="OWN"', UNWATCHED)
    assert problems(files, ["OWN"]) == ["policies/fwfeed-outbound.xml: no rule names the set JP6"]


def test_the_whole_address_space_is_found() -> None:
    files = rendered(ipset=shipped("ipset").replace("{{ entry }}", "{{ '0.0.0.0/0' if '.' in entry else entry }}"))
    assert "ipsets/JP.xml: entry 0.0.0.0/0 is the whole address space" in problems(files)
    assert not [problem for problem in problems(files) if "JP6" in problem]


def test_an_entry_that_is_no_address_is_found() -> None:
    files = altered("ipsets/JP.xml", "192.0.2.0/24", "banana")
    assert problems(files) == [
        "ipsets/JP.xml: entry 'banana' is not an IPv4 address",
        "ipsets/JP.xml: the entries are not those of the candidate",
    ]


@pytest.mark.parametrize("entry", ["192.0.2.1/24", "192.0.2.0", "192.0.2.0/024", " 192.0.2.0/24", "2001:db8::/32", ""])
def test_an_entry_in_another_form_is_found(entry: str) -> None:
    found = problems(altered("ipsets/JP.xml", "192.0.2.0/24", entry))
    assert found[0].startswith("ipsets/JP.xml: entry '")
    assert found[1:] == ["ipsets/JP.xml: the entries are not those of the candidate"]


def test_overlapping_entries_are_found() -> None:
    twice = f"{LOOP}\n  <entry>{{{{ entry }}}}</entry>"
    files = rendered(ipset=shipped("ipset").replace(LOOP, twice))
    assert problems(files) == [
        "ipsets/JP.xml: entries overlap: firewalld would fail to load the set",
        "ipsets/JP6.xml: entries overlap: firewalld would fail to load the set",
    ]


def test_an_entry_inside_another_that_does_not_follow_it_is_found() -> None:
    more = "<entry>198.51.100.0/25</entry>\n  <entry>192.0.2.64/26</entry>"
    files = altered("ipsets/JP.xml", "<entry>198.51.100.0/25</entry>", more)
    assert problems(files) == ["ipsets/JP.xml: entries overlap: firewalld would fail to load the set"]


def test_more_entries_than_maxelem_are_found() -> None:
    files = rendered(ipset=shipped("ipset").replace("{{ ipset.maxelem }}", "1"))
    assert problems(files) == [
        "ipsets/JP.xml: 2 entries do not fit into maxelem 1",
        "ipsets/JP6.xml: 2 entries do not fit into maxelem 1",
    ]


def test_more_entries_than_the_default_maxelem_are_found() -> None:
    # without the option firewalld takes 65536, which a large country's set does not fit into
    entries = [f"198.{18 + (i >> 15)}.{(i >> 7) & 255}.{(i & 127) * 2}/32" for i in range(65537)]
    option = '  <option name="maxelem" value="{{ ipset.maxelem }}"/>\n'
    files = render(candidate(Config(), entries), Config(), templates(ipset=shipped("ipset").replace(option, "")))
    assert problems(files) == ["ipsets/JP.xml: 65537 entries do not fit into maxelem 65536"]


@pytest.mark.parametrize("room", ["", "many", "-1", "1e6"])
def test_a_maxelem_that_is_no_number_is_found(room: str) -> None:
    files = altered("ipsets/JP.xml", 'value="65536"', f'value="{room}"')
    assert problems(files) == [f"ipsets/JP.xml: 2 entries do not fit into maxelem {room}"]


def test_a_rule_of_the_wrong_family_is_found() -> None:
    files = altered("policies/fwfeed-forwarded.xml", 'family="ipv6"', 'family="ipv4"')
    assert problems(files) == ["policies/fwfeed-forwarded.xml: a rule of family ipv4 names ipset 'JP6' of IPv6"]


def test_a_rule_without_a_family_is_found() -> None:
    files = altered("policies/fwfeed-outbound.xml", 'rule family="ipv4" ', "rule ")
    assert problems(files) == ["policies/fwfeed-outbound.xml: a rule of family None names ipset 'JP' of IPv4"]


def test_a_set_of_the_wrong_family_is_found() -> None:
    files = rendered(ipset=shipped("ipset").replace("{{ ipset.family }}", "inet"))
    assert problems(files) == ["ipsets/JP6.xml: the family option does not say IPv6"]


def test_a_set_of_another_type_is_found() -> None:
    files = altered("ipsets/JP.xml", "hash:net", "hash:ip")
    assert problems(files) == ['ipsets/JP.xml: the root is not <ipset type="hash:net">']


@pytest.mark.parametrize("path", ["ipsets/JP.xml", "policies/fwfeed-outbound.xml"])
def test_broken_xml_is_found(path: str) -> None:
    found = problems(altered(path, "</short>", ""))
    assert found[0].startswith(f"{path}: not well-formed XML: ")


def test_an_encoding_that_the_parser_cannot_read_is_found() -> None:
    found = problems(altered("ipsets/JP.xml", "utf-8", "shift_jis"))
    assert found[0].startswith("ipsets/JP.xml: ")


def test_too_long_a_set_name_is_found() -> None:
    config = Config(set=SetConfig(name="J" * 32))  # the IPv6 set's name is one longer; the configuration refuses it
    assert problems(rendered(config)) == [
        f"ipsets/{'J' * 32}6.xml: firewalld allows names of 32 characters at most",
    ]


@pytest.mark.parametrize(("folder", "length"), [("policies", 18), ("zones", 17)])
def test_too_long_a_policy_or_zone_name_is_found(folder: str, length: int) -> None:
    sound = rendered()
    right, wrong = (f"{folder}/{'x' * n}.xml" for n in (length, length + 1))
    files = replace(sound, files={**sound.files, right: b"<x/>", wrong: b"<x/>"})
    assert [problem for problem in problems(files) if "no rule" not in problem] == [
        f"{wrong}: firewalld allows names of {length} characters at most"
    ]


def test_an_entry_that_a_template_drops_is_found() -> None:
    files = rendered(ipset=shipped("ipset").replace(LOOP, "{% for entry in ipset.entries[1:] %}"))
    assert problems(files) == [
        "ipsets/JP.xml: the entries are not those of the candidate",
        "ipsets/JP6.xml: the entries are not those of the candidate",
    ]


def test_an_entry_that_a_template_adds_is_found() -> None:
    files = rendered(ipset=shipped("ipset").replace("{% endfor %}", "{% endfor %}\n  <entry>203.0.113.0/24</entry>"))
    assert problems(files)[0] == "ipsets/JP.xml: the entries are not those of the candidate"


def test_every_problem_is_reported_at_once() -> None:
    files = altered("ipsets/JP.xml", "192.0.2.0/24", "banana")
    text = files.files["policies/fwfeed-outbound.xml"].decode().replace('"JP6"', '"GONE"').encode()
    files = replace(files, files={**files.files, "policies/fwfeed-outbound.xml": text})
    assert len(problems(files)) == 6  # two of the set, two of the name missing, two of rules with another


@pytest.mark.parametrize("value", ["no", "No", "false"])
def test_a_daemon_that_keeps_old_rules_on_reload_is_refused(value: str) -> None:
    (problem,) = check_daemon(f"DefaultZone=public\nFlushAllOnReload={value}\n")
    assert problem.startswith("FlushAllOnReload=no: ")


def test_a_daemon_on_iptables_is_refused() -> None:
    (problem,) = check_daemon("FirewallBackend = iptables\n")
    assert problem.startswith("FirewallBackend is not nftables")


def test_both_problems_of_a_daemon_are_reported() -> None:
    assert len(check_daemon("FlushAllOnReload=no\nFirewallBackend=iptables\n")) == 2


@pytest.mark.parametrize(
    "conf",
    [
        "",
        "FlushAllOnReload=yes\nFirewallBackend=nftables\n",
        "# FlushAllOnReload=no\n  #FirewallBackend=iptables\n#\n",
        "a line without a sign of equality\n",
    ],
)
def test_a_sound_daemon_and_comments_have_no_problems(conf: str) -> None:
    assert check_daemon(conf) == []


def test_the_first_of_two_lines_counts_as_it_does_for_firewalld() -> None:
    assert check_daemon("FlushAllOnReload=yes\nFlushAllOnReload=no\n") == []
    assert len(check_daemon("FlushAllOnReload=no\nFlushAllOnReload=yes\n")) == 1


def test_what_others_name_is_found_wherever_it_stands() -> None:
    others = {
        "zones/work.xml": b'<zone><source ipset="JP"/><rule family="ipv6"><source ipset="JP6"/><accept/></rule></zone>',
        "policies/mine.xml": b'<policy><rule family="ipv4"><destination ipset="JP" invert="true"/></rule></policy>',
        "zones/other.xml": b'<zone><source ipset="JPX"/><source address="192.0.2.0/24"/></zone>',
        "zones/broken.xml": b'<zone><source ipset="JP">',
    }
    assert check_others(others, {"JP", "JP6"}) == [
        "zones/work.xml: <source> names ipset 'JP', which would be removed",
        "zones/work.xml: <source> names ipset 'JP6', which would be removed",
        "policies/mine.xml: <destination> names ipset 'JP', which would be removed",
    ]
    assert check_others(others, set()) == []
