"""What becomes of a connection: firewalld's order of zones, policies and rules, and never a pass that is not sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.lockout import Answer, Connection, Finding, Service, inbound, outbound
from fwfeed.prefixes import Family
from fwfeed.ruleset import read

SERVICES = {
    "ssh": Service((("22", "tcp"),)),
    "web": Service((("80", "tcp"), ("440-450", "tcp"))),
    "dhcpv6-client": Service((("546", "udp"),), narrowed=True),
    "local-ssh": Service((("22", "tcp"),), narrowed=True),
    "bundle": Service((("80", "tcp"),), wider=True),
}
SETS = {
    "ipsets/JP.xml": b'<ipset type="hash:net"><entry>198.51.100.0/24</entry></ipset>',
    "ipsets/JP6.xml": b"""<ipset type="hash:net"><option name="family" value="inet6"/>
        <entry>2001:db8:1::/48</entry></ipset>""",
    "ipsets/MACS.xml": b'<ipset type="hash:mac"><entry>02:00:00:00:00:01</entry></ipset>',
}
DOMESTIC, FOREIGN, FOREIGN6 = "198.51.100.7", "203.0.113.7", "2001:db8:2::7"


def to(address: str, protocol: str = "tcp", port: int = 22) -> Connection:
    network = ip_network(address)
    span = int(network.network_address), int(network.broadcast_address)
    return Connection(family=Family(network.version), span=span, protocol=protocol, port=port)


def comes_in(connection: Connection, zones: Mapping[str, str], *of: str, policy: str = "") -> Finding:
    """Return what becomes of a connection, with zones by their names as XML, at an interface of any of those zones."""
    content = {f"zones/{name}.xml": text.encode() for name, text in zones.items()}
    policies = {"policies/own.xml": policy.encode()} if policy else {}
    return inbound(read({**SETS, **content, **policies}, {}, {}), connection, of or ("here",), SERVICES)


def goes_out(connection: Connection, *policies: str) -> Finding:
    content = {f"policies/p{number}.xml": text.encode() for number, text in enumerate(policies)}
    return outbound(read({**SETS, **content}, {}, {}), connection, SERVICES)


SSH = '<service name="ssh"/>'
MAC = '<rule><source mac="02:00:00:00:00:01"/><accept/></rule>'


@pytest.mark.parametrize(
    ("zone", "address", "answer"),
    [
        ("<zone/>", FOREIGN, Answer.CUT),
        ('<zone target="ACCEPT"/>', FOREIGN, Answer.PASSES),
        ('<zone target="DROP"/>', FOREIGN, Answer.CUT),
        ('<zone target="%%REJECT%%"/>', FOREIGN, Answer.CUT),
        (f"<zone>{SSH}</zone>", FOREIGN, Answer.PASSES),
        (f"<zone>{SSH}</zone>", FOREIGN6, Answer.PASSES),
        ('<zone><service name="web"/></zone>', FOREIGN, Answer.CUT),
        ('<zone><port port="22" protocol="tcp"/></zone>', FOREIGN, Answer.PASSES),
        ('<zone><port port="20-30" protocol="tcp"/></zone>', FOREIGN, Answer.PASSES),
        ('<zone><port port="23-30" protocol="tcp"/></zone>', FOREIGN, Answer.CUT),
        ('<zone><port port="22" protocol="udp"/></zone>', FOREIGN, Answer.CUT),
        ('<zone><protocol value="tcp"/></zone>', FOREIGN, Answer.PASSES),
        ('<zone><protocol value="gre"/></zone>', FOREIGN, Answer.CUT),
        ('<zone><service name="nobody-knows"/></zone>', FOREIGN, Answer.UNKNOWN),
        ('<zone><service name="dhcpv6-client"/></zone>', FOREIGN, Answer.CUT),
        ('<zone><service name="local-ssh"/></zone>', FOREIGN, Answer.UNKNOWN),
        ('<zone><service name="bundle"/></zone>', FOREIGN, Answer.UNKNOWN),
        ('<zone><source-port port="1024-65535" protocol="tcp"/></zone>', FOREIGN, Answer.UNKNOWN),
        (f'<zone>{SSH}<forward-port port="22" protocol="tcp" to-port="2222"/></zone>', FOREIGN, Answer.UNKNOWN),
        (f'<zone>{SSH}<forward-port port="80" protocol="tcp" to-port="8080"/></zone>', FOREIGN, Answer.PASSES),
        (f'<zone>{SSH}<masquerade/><icmp-block name="redirect"/><forward/></zone>', FOREIGN, Answer.PASSES),
        (f'<zone>{SSH}<rule><log prefix="x"/></rule></zone>', FOREIGN, Answer.PASSES),
        (f'<zone><rule>{SSH}<log prefix="x"/></rule></zone>', FOREIGN, Answer.CUT),
        (f"<zone>{SSH}<rule><mystery/></rule></zone>", FOREIGN, Answer.UNKNOWN),
        (f"<zone><rule>{SSH}<accept/></rule></zone>", FOREIGN, Answer.PASSES),
        (f'<zone><rule>{SSH}<accept><limit value="1/m"/></accept></rule></zone>', FOREIGN, Answer.UNKNOWN),
        (f'<zone>{SSH}<rule><reject><limit value="1/m"/></reject></rule></zone>', FOREIGN, Answer.UNKNOWN),
        (f"<zone>{SSH}<rule><reject/></rule></zone>", FOREIGN, Answer.CUT),
        (f'<zone>{SSH}<rule priority="1"><reject/></rule></zone>', FOREIGN, Answer.PASSES),
        (f'<zone><rule priority="-1">{SSH}<accept/></rule><rule><drop/></rule></zone>', FOREIGN, Answer.PASSES),
        (f'<zone>{SSH}<rule family="ipv6"><drop/></rule></zone>', FOREIGN, Answer.PASSES),
        (f'<zone>{SSH}<rule family="ipv6"><drop/></rule></zone>', FOREIGN6, Answer.CUT),
        ('<zone><rule family="ipv4"><source ipset="JP"/><accept/></rule></zone>', DOMESTIC, Answer.PASSES),
        ('<zone><rule family="ipv4"><source ipset="JP"/><accept/></rule></zone>', FOREIGN, Answer.CUT),
        ('<zone><rule family="ipv4"><source ipset="JP" invert="True"/><accept/></rule></zone>', FOREIGN, Answer.PASSES),
        ('<zone><rule><source ipset="JP" invert="yes"/><accept/></rule></zone>', FOREIGN6, Answer.CUT),
        ('<zone><rule><source ipset="ELSE"/><accept/></rule></zone>', FOREIGN, Answer.UNKNOWN),
        ('<zone><rule><source ipset="MACS"/><accept/></rule></zone>', FOREIGN, Answer.UNKNOWN),
        ('<zone><rule><source mac="02:00:00:00:00:01"/><accept/></rule></zone>', FOREIGN, Answer.UNKNOWN),
        ('<zone><rule><source address="203.0.113.0/28"/><accept/></rule></zone>', FOREIGN, Answer.PASSES),
        ('<zone><rule><source address="203.0.113.7"/><accept/></rule></zone>', "203.0.113.0/28", Answer.UNKNOWN),
        ('<zone><rule><destination address="192.0.2.1"/><accept/></rule></zone>', FOREIGN, Answer.UNKNOWN),
        (f"<zone><rule>{SSH}<accept/></rule>{MAC}</zone>", FOREIGN, Answer.PASSES),
        (f"<zone><rule>{SSH}<accept/></rule>{MAC.replace('accept', 'drop')}</zone>", FOREIGN, Answer.UNKNOWN),
        ("", FOREIGN, Answer.UNKNOWN),
    ],
)
def test_a_zone_decides_as_firewalld_has_it(zone: str, address: str, answer: Answer) -> None:
    assert comes_in(to(address), {"here": zone} if zone else {}).answer is answer


def test_a_zone_of_sources_goes_before_that_of_the_interface() -> None:
    zones = {"jp": f'<zone><source ipset="JP"/>{SSH}</zone>', "here": "<zone/>"}
    assert comes_in(to(DOMESTIC), zones) == Finding(Answer.PASSES, "zone jp")
    assert comes_in(to(FOREIGN), zones) == Finding(Answer.CUT, "zone here")
    assert comes_in(to(FOREIGN6), zones) == Finding(Answer.CUT, "zone here")
    assert comes_in(to("198.51.0.0/16"), zones) == Finding(Answer.UNKNOWN, "zone here")
    zones["other"] = '<zone><source address="198.51.100.7"/></zone>'
    assert comes_in(to(DOMESTIC), zones) == Finding(Answer.UNKNOWN, "zone other")
    zones["other"] = '<zone><source mac="02:00:00:00:00:01"/></zone>'
    assert comes_in(to(FOREIGN), zones) == Finding(Answer.CUT, "zone other")


def test_an_interface_that_may_be_in_two_zones_leaves_it_open() -> None:
    zones = {"one": f"<zone>{SSH}</zone>", "two": "<zone/>"}
    assert comes_in(to(FOREIGN), zones, "one", "two") == Finding(Answer.UNKNOWN, "zone two")
    assert comes_in(to(FOREIGN), zones, "one").answer is Answer.PASSES
    assert comes_in(to(FOREIGN, port=23), zones, "one", "two").answer is Answer.CUT


@pytest.mark.parametrize(
    ("policy", "answer"),
    [
        ('<policy target="DROP" priority="-5">{in}</policy>', Answer.CUT),
        ('<policy target="DROP" priority="5">{in}</policy>', Answer.PASSES),
        ('<policy target="CONTINUE">{in}</policy>', Answer.PASSES),
        ('<policy target="CONTINUE">{in}<rule priority="-2"><log prefix="x"/></rule></policy>', Answer.PASSES),
        ('<policy target="CONTINUE">{in}<rule><reject/></rule></policy>', Answer.CUT),
        ('<policy target="DROP"><ingress-zone name="here"/><egress-zone name="HOST"/></policy>', Answer.CUT),
        ('<policy target="DROP"><ingress-zone name="there"/><egress-zone name="HOST"/></policy>', Answer.PASSES),
        ('<policy target="DROP"><ingress-zone name="ANY"/><egress-zone name="ANY"/></policy>', Answer.PASSES),
        ('<policy target="DROP"><ingress-zone name="HOST"/><egress-zone name="ANY"/></policy>', Answer.PASSES),
    ],
)
def test_policies_to_this_host_are_asked_as_well(policy: str, answer: Answer) -> None:
    text = policy.replace("{in}", '<ingress-zone name="ANY"/><egress-zone name="HOST"/>')
    assert comes_in(to(FOREIGN), {"here": f"<zone>{SSH}</zone>"}, policy=text).answer is answer


OUT = '<ingress-zone name="HOST"/><egress-zone name="ANY"/>'
REJECT = f"""<policy target="CONTINUE" priority="-100">{OUT}{{}}
    <rule family="ipv4" priority="1"><destination ipset="JP" invert="True"/><reject/></rule></policy>"""


@pytest.mark.parametrize(
    ("policy", "connection", "answer"),
    [
        (REJECT, to(DOMESTIC), Answer.PASSES),
        (REJECT, to(FOREIGN), Answer.CUT),
        (REJECT, to(FOREIGN6), Answer.PASSES),
        (REJECT.replace("reject", "drop"), to(FOREIGN), Answer.CUT),
        (REJECT.replace("<reject/>", '<log prefix="x"/>'), to(FOREIGN), Answer.PASSES),
        (REJECT.replace("<reject/>", '<log prefix="x"/><reject type="tcp-reset"/>'), to(FOREIGN), Answer.CUT),
        (REJECT.replace("<reject/>", '<protocol value="udp"/><reject/>'), to(FOREIGN), Answer.PASSES),
        (REJECT.replace("<reject/>", '<protocol value="udp"/><reject/>'), to(FOREIGN, "", 0), Answer.UNKNOWN),
        (REJECT.replace("<reject/>", '<icmp-type name="echo-request"/><reject/>'), to(FOREIGN), Answer.PASSES),
        (REJECT.replace("ANY", "public"), to(FOREIGN), Answer.UNKNOWN),
        (REJECT.replace("HOST", "ANY"), to(FOREIGN), Answer.PASSES),
        (REJECT, to("203.0.113.0/24", "", 0), Answer.CUT),
        (REJECT, to("198.51.0.0/16", "", 0), Answer.UNKNOWN),
    ],
)
def test_what_goes_out_meets_the_policies_from_this_host(policy: str, connection: Connection, answer: Answer) -> None:
    assert goes_out(connection, policy.replace("{}", "")).answer is answer


def test_an_exception_before_the_rejection_lets_pass_wholly_or_in_part() -> None:
    exception = '<rule family="ipv4" priority="{}"><destination address="203.0.113.0/25"/><accept/></rule>'
    before, after = (REJECT.replace("{}", exception.replace("{}", priority)) for priority in ("0", "2"))
    assert goes_out(to(FOREIGN), before) == Finding(Answer.PASSES, "policy p0")
    assert goes_out(to(FOREIGN), after) == Finding(Answer.CUT, "policy p0")
    assert goes_out(to("203.0.113.0/25", "", 0), before).answer is Answer.PASSES
    assert goes_out(to("203.0.113.0/24", "", 0), before) == Finding(Answer.UNKNOWN, "policy p0")


def test_policies_are_asked_by_priority() -> None:
    accept = f'<policy target="ACCEPT" priority="-200">{OUT}</policy>'
    assert goes_out(to(FOREIGN), REJECT.replace("{}", ""), accept).answer is Answer.PASSES
    assert goes_out(to(FOREIGN), REJECT.replace("{}", ""), accept.replace("-200", "-50")).answer is Answer.CUT


def test_without_any_policy_everything_passes_out() -> None:
    assert goes_out(to(FOREIGN)).answer is Answer.PASSES


# Against an oracle that walks one packet through zones and rules as they were drawn, in a space of sixteen addresses.


@dataclass(frozen=True)
class Drawn:
    """A rule: about a prefix of the space (or all but it), a port or none; accept, reject or drop."""

    prefix: IPv4Network | None
    inverted: bool
    port: int | None
    action: str
    priority: int

    @property
    def xml(self) -> str:
        invert = ' invert="True"' if self.inverted else ""
        peer = f'<PEER address="{self.prefix}"{invert}/>' if self.prefix else ""
        port = f'<port port="{self.port}" protocol="tcp"/>' if self.port else ""
        return f'<rule family="ipv4" priority="{self.priority}">{peer}{port}<{self.action}/></rule>'

    def matches(self, address: IPv4Address, port: int) -> bool:
        peer = self.prefix is None or (address in self.prefix) is not self.inverted
        return peer and self.port in {None, port}


PREFIXES = st.integers(28, 32).flatmap(
    lambda length: st.integers(0, 15).map(lambda last: IPv4Network((f"192.0.2.{last}", length), strict=False))
)
RULES = st.lists(
    st.builds(
        Drawn,
        prefix=st.none() | PREFIXES,
        inverted=st.booleans(),
        port=st.sampled_from([None, 22, 80]),
        action=st.sampled_from(["accept", "reject", "drop"]),
        priority=st.integers(-2, 2),
    ),
    max_size=5,
)


def walk(rules: Sequence[Drawn], address: IPv4Address, port: int) -> set[bool]:
    """Return what the first rules that match may do: of one priority, any may be the first. Empty: none matches."""
    for priority in range(-2, 3):
        here = [rule for rule in rules if rule.priority == priority and rule.matches(address, port)]
        denying = [rule for rule in here if rule.action != "accept"]
        if priority == 0 and denying:
            return {False}
        if here:
            return {rule.action == "accept" for rule in here}
    return set()


@given(policy=RULES, policy_priority=st.sampled_from([-1, 1]), zone=RULES, target=st.booleans(), span=PREFIXES)
def test_what_is_said_of_a_span_is_so_of_each_of_its_addresses(
    policy: list[Drawn],
    policy_priority: int,
    zone: list[Drawn],
    target: bool,  # noqa: FBT001 - drawn
    span: IPv4Network,
) -> None:
    policy_rules = "".join(rule.xml for rule in policy)
    zone_rules = "".join(rule.xml for rule in zone)
    content = {
        "zones/here.xml": f'<zone target="{"ACCEPT" if target else "default"}">{zone_rules}</zone>'.replace(
            "PEER", "source"
        ),
        "policies/p.xml": (
            f'<policy target="CONTINUE" priority="{policy_priority}"><ingress-zone name="ANY"/>'
            f'<egress-zone name="HOST"/>{policy_rules}</policy>'
        ).replace("PEER", "source"),
        "policies/q.xml": f'<policy target="CONTINUE" priority="-1">{OUT}{policy_rules}</policy>'.replace(
            "PEER", "destination"
        ),
    }
    ruleset = read({path: text.encode() for path, text in content.items()}, {}, {})
    connection = to(str(span))
    coming, going = inbound(ruleset, connection, ["here"], {}), outbound(ruleset, connection, {})
    for address in span:
        chains = (policy, zone) if policy_priority < 0 else (zone, policy)
        ends = next((found for chain in chains if (found := walk(chain, address, 22))), {target})
        holds(coming, ends, alone=span.prefixlen == 32)
        holds(going, walk(policy, address, 22) or {True}, alone=span.prefixlen == 32)


def holds(finding: Finding, ends: set[bool], *, alone: bool) -> None:
    """Check an answer against what may become of one address; of one alone, no more may be left open than that."""
    if len(ends) == 2:
        assert finding.answer is Answer.UNKNOWN
    elif alone:
        assert finding.answer is (Answer.PASSES if True in ends else Answer.CUT)
    else:
        assert finding.answer is not (Answer.CUT if True in ends else Answer.PASSES)


def test_the_oracle_can_tell() -> None:
    drop = Drawn(IPv4Network("192.0.2.0/30"), inverted=False, port=None, action="drop", priority=1)
    accept = Drawn(None, inverted=False, port=22, action="accept", priority=1)
    assert walk([drop], IPv4Address("192.0.2.1"), 22) == {False}
    assert walk([drop], IPv4Address("192.0.2.4"), 22) == set()
    assert walk([drop, accept], IPv4Address("192.0.2.1"), 22) == {False, True}
    assert walk([drop, accept], IPv4Address("192.0.2.1"), 80) == {False}
