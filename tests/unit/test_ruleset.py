"""A zone or policy is the same whether firewalld tells it in a file, over D-Bus, or in rich rules."""

from __future__ import annotations

import pytest

from fwfeed.prefixes import Family
from fwfeed.ruleset import Action, Element, Peer, Rule, as_xml, parse, policy_of, read, rich_rule, zone_of


def test_a_zone_over_dbus_is_the_zone_of_the_file() -> None:
    raw = b"""<zone target="DROP"><source address="192.0.2.0/24"/><source ipset="JP"/><source mac="02:00:00:00:00:01"/>
    <service name="ssh"/><port port="2222" protocol="tcp"/><protocol value="gre"/><source-port port="5" protocol="udp"/>
    <forward-port port="80" protocol="tcp" to-port="8080"/>
    <rule family="ipv4" priority="-3"><source address="192.0.2.9" invert="True"/>
    <reject type="tcp-reset"/></rule></zone>"""
    settings = {
        "target": ["DROP"],
        "sources": ["192.0.2.0/24", "ipset:JP", "02:00:00:00:00:01"],
        "services": ["ssh"],
        "ports": ["2222 tcp"],
        "protocols": ["gre"],
        "source_ports": ["5 udp"],
        "forward_ports": ["80 tcp 8080 "],
        "rules_str": ['rule priority="-3" family="ipv4" source NOT address="192.0.2.9" reject type="tcp-reset"'],
        "masquerade": ["True"],
    }
    zone = zone_of(parse(raw))
    over_dbus = zone_of(as_xml("zone", settings))
    assert over_dbus.sources == zone.sources
    assert set(over_dbus.rules) == set(zone.rules)
    assert len(zone.rules) == 6
    assert over_dbus.target == zone.target == "DROP"
    assert zone.rules[0] == Rule(
        action=Action.REJECT, priority=-3, family=Family.IPV4, source=Peer("address", "192.0.2.9", inverted=True)
    )


@pytest.mark.parametrize("source", ["2001:db8:a:b::/64", "2001:db8:0:1:2:3::/96", "2001:db8::/32"])
def test_a_source_with_colons_is_a_mac_only_where_it_is_one(source: str) -> None:
    assert zone_of(as_xml("zone", {"sources": [source]})).sources == (Peer("address", source, inverted=False),)


def test_a_policy_over_dbus_is_the_policy_of_the_file() -> None:
    raw = b"""<policy target="REJECT" priority="-15"><ingress-zone name="HOST"/><egress-zone name="ANY"/>
    <service name="ssh"/><rule><destination ipset="JP"/><accept/></rule></policy>"""
    settings = {
        "target": ["REJECT"],
        "priority": ["-15"],
        "ingress_zones": ["HOST"],
        "egress_zones": ["ANY"],
        "services": ["ssh"],
        "rich_rules": ['rule destination ipset="JP" accept'],
    }
    assert policy_of(parse(raw)) == policy_of(as_xml("policy", settings))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (
            'rule service name="ssh" accept limit value="1/m"',
            Rule(action=Action.ACCEPT, element=Element("service", "ssh", ""), limited=True),
        ),
        (
            'rule priority="-2" family="ipv4" destination NOT ipset="JP" log prefix="A B" limit value="10/s" drop',
            Rule(action=Action.DROP, priority=-2, family=Family.IPV4, destination=Peer("ipset", "JP", inverted=True)),
        ),
        (
            'rule port port="1-9" protocol="tcp" reject',
            Rule(action=Action.REJECT, element=Element("port", "1-9", "tcp")),
        ),
        ('rule log prefix="it\'s a reject" level="info"', None),
        (
            'rule priority="-2" family="ipv4" destination NOT ipset="JP" nflog group="243" prefix="A" queue-size="1"',
            None,
        ),
        ('rule icmp-block name="redirect"', None),
        ('rule protocol value="tcp" mark set="1"', None),
        ('rule log prefix="cut off', Rule(action=Action.DIVERT, element=Element("unreadable", "", ""))),
    ],
)
def test_rich_rules_are_read(text: str, rule: Rule | None) -> None:
    tree = as_xml("zone", {"rules_str": [text]})
    assert zone_of(tree).rules == (() if rule is None else (rule,))
    assert rich_rule(text).tag == "rule"


def test_broken_files_are_refused() -> None:
    for path in ("zones/x.xml", "policies/x.xml", "ipsets/x.xml"):
        with pytest.raises(ValueError, match="not well-formed"):
            read({path: b"<zone"}, {}, {})


def test_files_go_before_what_firewalld_has() -> None:
    ruleset = read(
        {"zones/a.xml": b'<zone target="DROP"/>', "zones/gone.xml": None},
        {"a": {"target": ["ACCEPT"]}, "b": {"services": ["ssh"]}},
        {},
    )
    assert {name: zone.target for name, zone in ruleset.zones.items()} == {"a": "DROP", "b": "default"}
    assert ruleset.services == {"ssh"}
