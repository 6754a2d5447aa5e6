"""Rules as files intend them and as nft says the kernel holds them: read apart, to one form, and compared.

tests/data/nft has what `nft --json list table inet firewalld` said of three releases of firewalld, with the
configuration below, cut down to the chains that fwfeed's rules are in and those that lead there;
tests/lab/test_nft_data.py writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from fwfeed.config import ApplyConfig, Config, Inbound, InboundConfig, Outbound, OutboundConfig, SetConfig, WatchConfig
from fwfeed.nftrules import NftRule, Placed, Service, parse_table, placed, rule_differences
from fwfeed.render import render
from tests.unit.builders import CHECKOUT, candidate, templates

RELEASES = ("1.3.3", "2.3.1", "2.5.2")
CONFIG = Config(
    set=SetConfig(include=()),
    outbound=OutboundConfig(action=Outbound.REJECT),
    inbound=InboundConfig(action=Inbound.RESTRICT),
    apply=ApplyConfig(always_allow=("203.0.113.9/32", "2001:db8:2::9/128")),
)
FILES = dict(render(candidate(CONFIG), CONFIG, templates()).files)
OUTBOUND = "policies/fwfeed-outbound.xml"
OUT = "filter_OUT_policy_fwfeed-outbound"
SERVICES = {
    "ssh": Service(ports=(("22", "tcp"),), destinations={}, whole=True),
    "http": Service(ports=(("80", "tcp"),), destinations={}, whole=True),
    "https": Service(ports=(("443", "tcp"),), destinations={}, whole=True),
    "dhcpv6-client": Service(ports=(("546", "udp"),), destinations={"ipv6": "fe80::/64"}, whole=True),
}
Entries = list[dict[str, Any]]


def said(release: str) -> Entries:
    path = CHECKOUT / "tests" / "data" / "nft" / f"firewalld-{release}.json"
    entries: Entries = json.loads(path.read_text(encoding="utf-8"))["nftables"]
    return entries


def differences(path: str, entries: Entries, raw: bytes | None = None, *, zones_active: bool = True) -> list[str]:
    table = parse_table(json.dumps({"nftables": entries}))
    tree = ET.fromstring(raw or FILES[path])
    return list(rule_differences(path, tree, table, SERVICES.__getitem__, zones_active=zones_active))


def rules_of(entries: Entries, chain: str) -> Iterator[dict[str, Any]]:
    return (entry["rule"] for entry in entries if entry.get("rule", {}).get("chain") == chain)


RULED = [path for path in FILES if not path.startswith("ipsets/")]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("path", RULED)
def test_what_firewalld_makes_of_the_files_is_what_is_looked_for(release: str, path: str) -> None:
    assert differences(path, said(release)) == []


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("path", RULED)
def test_every_rule_that_goes_missing_is_noticed(release: str, path: str) -> None:
    tree = ET.fromstring(FILES[path])
    entries = said(release)
    wanted = {each.rule for each in placed(tree, SERVICES.__getitem__)[0]}
    assert wanted
    gone = 0
    for index, entry in enumerate(entries):
        (rule,) = parse_table(json.dumps({"nftables": [entry]})).chains.get(entry.get("rule", {}).get("chain"), [None])
        name = path.partition("/")[2].removesuffix(".xml")
        if rule in wanted and f"_{name}_" in entry["rule"]["chain"]:
            (problem,) = differences(path, entries[:index] + entries[index + 1 :])
            assert problem.startswith(f"the kernel lacks the rule of {path} that ")
            gone += 1
    assert gone == len(wanted)


def test_a_missing_rule_is_named_by_what_it_does() -> None:
    entries = [
        entry for entry in said("2.3.1") if entry.get("rule", {}).get("chain") not in (f"{OUT}_pre", f"{OUT}_post")
    ]
    assert differences(OUTBOUND, entries)[-3:] == [
        f"the kernel lacks the rule of {OUTBOUND} that rejects ip daddr != @JP-pass",
        f"the kernel lacks the rule of {OUTBOUND} that rejects ip6 daddr != @JP6-pass and meta l4proto == tcp",
        f"the kernel lacks the rule of {OUTBOUND} that rejects ip6 daddr != @JP6-pass",
    ]


OTHERWISE = f"the kernel has other rules than those of {OUTBOUND}, or has them in another order"


def limited(expressions: Entries) -> None:
    expressions.insert(1, {"limit": {"rate": 1, "burst": 5, "per": "second"}})


def dropping(expressions: Entries) -> None:
    expressions[-1] = {"drop": None}


def of_the_other_set(expressions: Entries) -> None:
    expressions[0]["match"]["right"] = "@JP"


def of_the_set_itself(expressions: Entries) -> None:
    expressions[0]["match"]["op"] = "=="


def of_the_source(expressions: Entries) -> None:
    expressions[0]["match"]["left"]["payload"]["field"] = "saddr"


@pytest.mark.parametrize("change", [limited, dropping, of_the_other_set, of_the_set_itself, of_the_source])
@pytest.mark.parametrize("release", RELEASES)
def test_a_rule_that_refuses_something_else_is_not_the_rule(release: str, change: Callable[[Entries], None]) -> None:
    entries = said(release)
    for rule in rules_of(entries, f"{OUT}_post"):
        change(rule["expr"])
    assert len(differences(OUTBOUND, entries)) == 4


LACKING = f"the kernel lacks the rule of {OUTBOUND} that logs 'OUTBOUND_FOREIGN ' to group 243, 1 at a time"


@pytest.mark.parametrize(
    "change", [{"group": 244}, {"group": None}, {"queue-threshold": 100}, {"queue-threshold": None}, {"prefix": "X "}]
)
@pytest.mark.parametrize("release", RELEASES)
def test_a_rule_that_hands_over_elsewhere_or_later_is_not_the_rule(release: str, change: dict[str, object]) -> None:
    entries = said(release)
    changed = 0
    for rule in rules_of(entries, f"{OUT}_pre"):
        for expression in rule["expr"]:
            if "group" in expression.get("log", {}):
                told = expression["log"] | change
                expression["log"] = {key: value for key, value in told.items() if value is not None}
                changed += 1
    assert changed == 2
    assert differences(OUTBOUND, entries) == [LACKING] * 2


@pytest.mark.parametrize("release", RELEASES)
def test_without_a_group_a_rule_that_hands_over_is_one_too_many(release: str) -> None:
    config = replace(CONFIG, watch=WatchConfig(group=None))
    raw = render(candidate(config), config, templates()).files[OUTBOUND]
    assert b"nflog" not in raw
    assert differences(OUTBOUND, said(release), raw) == [OTHERWISE]


@pytest.mark.parametrize("where", ["pre", "post", "allow", "deny", "log"])
def test_a_rule_more_in_a_policy_is_noticed(where: str) -> None:
    more = {"rule": {"family": "inet", "table": "firewalld", "chain": f"{OUT}_{where}", "expr": [{"accept": None}]}}
    assert differences(OUTBOUND, [more, *said("1.3.3")]) == [OTHERWISE]


def test_a_rule_more_in_a_zone_is_somebody_elses() -> None:
    more = {"rule": {"chain": "filter_IN_log-outbound_deny", "expr": [{"drop": None}]}}
    assert differences("zones/log-outbound.xml", [more, *said("1.3.3")]) == []


def test_rules_in_another_order_are_noticed_and_of_one_priority_in_any_are_not() -> None:
    entries = said("1.3.3")
    places = [index for index, entry in enumerate(entries) if entry.get("rule", {}).get("chain") == f"{OUT}_post"]
    tcp4, tcp6, all4, all6 = (entries[index] for index in places)

    def ordered(*rules: dict[str, Any]) -> list[str]:
        for index, rule in zip(places, rules, strict=True):
            entries[index] = rule
        return differences(OUTBOUND, entries)

    assert ordered(tcp6, tcp4, all6, all4) == []
    assert ordered(tcp4, all4, tcp6, all6) == [OTHERWISE]


@pytest.mark.parametrize("chain", ["filter_OUTPUT", OUT])
def test_rules_that_no_packet_comes_to_are_no_proof(chain: str) -> None:
    entries = [entry for entry in said("2.3.1") if entry.get("rule", {}).get("chain") != chain]
    unreached = f"the kernel has the rules of {OUTBOUND}, but no packet comes to them"
    for zones_active in (True, False):
        assert differences(OUTBOUND, entries, zones_active=zones_active) == [unreached] * 2


@pytest.mark.parametrize("release", RELEASES)
def test_what_is_forwarded_has_to_come_to_a_policy_only_where_a_zone_has_an_interface_or_source(release: str) -> None:
    path, chain = "policies/fwfeed-forwarded.xml", "filter_FWD_policy_fwfeed-forwarded"
    entries = [
        entry for entry in said(release) if {"jump": {"target": chain}} not in entry.get("rule", {}).get("expr", ())
    ]
    assert entries != said(release)
    unreached = f"the kernel has the rules of {path}, but no packet comes to them"
    assert differences(path, entries) == [unreached] * 2
    assert differences(path, entries, zones_active=False) == []


def match(protocol: str, field: str, right: object, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


def log(prefix: str | None = "JP-OUT ") -> dict[str, Any]:
    return {"log": {"level": "info"} if prefix is None else {"prefix": prefix, "level": "info"}}


def nflog() -> dict[str, Any]:
    return {"log": {"prefix": "JP-OUT ", "group": 243, "queue-threshold": 1}}


def parsed(*expressions: dict[str, Any]) -> list[NftRule]:
    rule = {"family": "inet", "table": "firewalld", "chain": "c", "handle": 321, "expr": list(expressions)}
    version = {"metainfo": {"version": "1.0.9", "release_name": "Old Doc Yak #3", "json_schema_version": 1}}
    return parse_table(json.dumps({"nftables": [version, {"rule": rule}]})).chains.get("c", [])


NEW = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["new", "untracked"]}}
NEW_SET = {"match": {"op": "==", "left": {"ct": {"key": "state"}}, "right": {"set": ["new", "untracked"]}}}
IPV4 = {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": "ipv4"}}
LIMIT = {"limit": {"rate": 30, "burst": 5, "per": "minute"}}
COUNTER = {"counter": {"packets": 0, "bytes": 0}}
NOT_JP = match("ip", "daddr", "@JP", "!=")


@pytest.mark.parametrize(
    ("expressions", "matches", "does"),
    [
        ([NOT_JP, log()], {"ip daddr != @JP"}, "log 'JP-OUT '"),
        ([match("ip", "daddr", "@JP"), log()], {"ip daddr == @JP"}, "log 'JP-OUT '"),
        ([match("ip6", "saddr", "@JP6"), LIMIT, log()], {"ip6 saddr == @JP6", "limit 30/minute"}, "log 'JP-OUT '"),
        ([IPV4, NEW, NOT_JP, COUNTER, {"drop": None}], {"ip daddr != @JP"}, "drop"),
        ([IPV4, NEW_SET, {"accept": None}], {"meta nfproto == ipv4"}, "accept"),
        ([log(None)], set(), "log ''"),
        ([{"log": None}], set(), "log ''"),
        ([NOT_JP, nflog()], {"ip daddr != @JP"}, "log 'JP-OUT ' to group 243, 1 at a time"),
        ([{"log": {"group": 0}}], set(), "log '' to group 0"),
        ([match("ip", "saddr", "192.0.2.1"), {"accept": None}], {"ip saddr == 192.0.2.1/32"}, "accept"),
        (
            [match("ip", "saddr", {"prefix": {"addr": "192.0.2.0", "len": 24}}), {"accept": None}],
            {"ip saddr == 192.0.2.0/24"},
            "accept",
        ),
        ([match("ip6", "saddr", "2001:db8:0::1"), {"accept": None}], {"ip6 saddr == 2001:db8::1/128"}, "accept"),
        ([match("tcp", "dport", {"range": [22, 23]}), {"accept": None}], {"tcp dport == 22-23"}, "accept"),
        ([match("tcp", "dport", {"set": [443, 80]}), {"accept": None}], {"tcp dport == {443, 80}"}, "accept"),
        ([{"reject": None}], set(), "reject"),
        ([{"reject": {"type": "icmp", "expr": "port-unreachable"}}], set(), "reject"),
        ([{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}], set(), "reject icmpx admin-prohibited"),
        ([{"reject": {"type": "tcp reset"}}], set(), "reject tcp reset"),
        ([{"jump": {"target": "d"}}], set(), "jump d"),
    ],
)
def test_a_rule_of_the_kernels_is_told_by_what_it_asks_and_does(
    expressions: Entries, matches: set[str], does: str
) -> None:
    assert parsed(*expressions) == [NftRule(frozenset(matches), does)]


def test_established_connections_are_not_taken_for_new_ones() -> None:
    established = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
    (rule,) = parsed(established, {"accept": None})
    assert len(rule.matches) == 1


def test_a_rule_that_logs_and_then_decides_is_two() -> None:
    assert [rule.does for rule in parsed(NOT_JP, log("A "), {"drop": None})] == ["log 'A '", "drop"]


def test_a_rule_that_does_nothing_is_none() -> None:
    assert parsed() == parsed(COUNTER) == parsed(NOT_JP) == []


def rules(xml: str) -> tuple[list[Placed], bool]:
    return placed(ET.fromstring(f"<policy>{xml}</policy>"), SERVICES.__getitem__)


@pytest.mark.parametrize(
    ("xml", "suffix", "matches", "does"),
    [
        ('<rule><log prefix="A "/></rule>', "log", set(), "log 'A '"),
        ('<rule priority="-1"><nflog group="7" prefix="A " queue-size="1"/></rule>', "pre", set(),
         "log 'A ' to group 7, 1 at a time"),
        ('<rule><nflog prefix="A "/></rule>', "log", set(), "log 'A ' to group 0"),
        ('<rule priority="-1"><nflog group="7"><limit value="5/m"/></nflog></rule>', "pre", {"limit 5/minute"},
         "log '' to group 7"),
        ('<rule priority="-1"><drop/></rule>', "pre", set(), "drop"),
        ('<rule priority="1" family="ipv6"><drop/></rule>', "post", {"meta nfproto == ipv6"}, "drop"),
        ('<rule family="ipv4"><source ipset="JP"/><accept/></rule>', "allow", {"ip saddr == @JP"}, "accept"),
        ('<rule family="ipv4"><source address="192.0.2.1" invert="yes"/><reject/></rule>', "deny",
         {"ip saddr != 192.0.2.1/32"}, "reject"),
        ('<rule priority="-1"><log prefix="A "><limit value="5/m"/></log></rule>', "pre",
         {"limit 5/minute"}, "log 'A '"),
        ('<rule><port port="22" protocol="tcp"/><accept/></rule>', "allow", {"tcp dport == 22"}, "accept"),
    ],
)  # fmt: skip
def test_a_rule_of_a_file_has_its_chain(xml: str, suffix: str, matches: set[str], does: str) -> None:
    found, whole = rules(xml)
    assert [(each.suffix, each.rule) for each in found] == [(suffix, NftRule(frozenset(matches), does))]
    assert whole


def test_a_rule_that_logs_and_refuses_is_two_and_the_limit_is_of_its_own_part() -> None:
    xml = '<rule family="ipv4" priority="-1"><log prefix="A "><limit value="5/m"/></log><drop/></rule>'
    ipv4 = "meta nfproto == ipv4"
    assert [each.rule for each in rules(xml)[0]] == [
        NftRule(frozenset({ipv4, "limit 5/minute"}), "log 'A '"),
        NftRule(frozenset({ipv4}), "drop"),
    ]


@pytest.mark.parametrize(
    "xml",
    [
        '<rule family="ipv4"><source mac="00:00:5e:00:53:01"/><accept/></rule>',
        '<rule family="ipv4"><masquerade/></rule>',
        '<rule><icmp-type name="echo-request"/><accept/></rule>',
        '<rule family="ipv4"><reject type="icmp-host-prohibited"/></rule>',
        '<rule><mark set="1"/></rule>',
        '<rule><nflog group="one"/></rule>',
        '<rule priority="first"><accept/></rule>',
        '<service name="ssh"/>',
    ],
)
def test_what_cannot_be_told_is_left_out_and_said_to_be(xml: str) -> None:
    assert rules(xml) == ([], False)


def test_a_policy_of_which_not_all_can_be_told_may_have_more_but_not_less() -> None:
    own = b'<rule family="ipv4"><masquerade/></rule></policy>'
    raw = FILES[OUTBOUND].replace(b"</policy>", own)
    more = {"rule": {"chain": f"{OUT}_pre", "expr": [{"accept": None}]}}
    assert differences(OUTBOUND, [more, *said("1.3.3")], raw) == []
    less = [entry for entry in said("1.3.3") if entry.get("rule", {}).get("chain") != f"{OUT}_post"]
    assert len(differences(OUTBOUND, less, raw)) == 4
