"""The rendered files, byte for byte against tests/data/golden/<case>/.

After a change that is meant to change them, write them anew and read the difference in git:

    FWFEED_WRITE_GOLDEN=1 .venv/bin/python -m pytest tests/unit/test_render.py
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwfeed.config import (
    FOREIGN_ZONE,
    ApplyConfig,
    Config,
    Inbound,
    InboundConfig,
    Outbound,
    OutboundConfig,
    SetConfig,
    WatchConfig,
)
from fwfeed.config import texts as as_
from fwfeed.errors import ExitCode, TemplateFault
from fwfeed.prefixes import Family
from fwfeed.render import Block, maxelem, render
from tests.unit.builders import CHECKOUT, candidate, shipped, templates

GOLDEN = CHECKOUT / "tests" / "data" / "golden"


@dataclass(frozen=True)
class Case:
    config: Config
    ipv4: Sequence[str] = ("192.0.2.0/24", "198.51.100.0/25")
    ipv6: Sequence[str] = ("2001:db8:1::/48", "2001:db8:3::/49")

    def files(self) -> dict[str, bytes]:
        return dict(render(candidate(self.config, self.ipv4, self.ipv6), self.config, templates()).files)


CASES = {
    "default": Case(Config()),
    "no-limit": Case(Config(outbound=OutboundConfig(limit=None))),
    "not-forwarded": Case(Config(outbound=OutboundConfig(forwarded=False))),
    "outbound-off": Case(Config(outbound=OutboundConfig(action=Outbound.OFF))),
    "inbound-log": Case(Config(inbound=InboundConfig(action=Inbound.LOG, limit="5/m"))),
    "inbound-restrict": Case(
        Config(
            set=SetConfig(name="East", countries=("KR", "TW"), include=()),
            inbound=InboundConfig(action=Inbound.RESTRICT, services=("ssh", "https"), foreign_services=("smtp",)),
        )
    ),
    "inbound-restrict-on-link": Case(
        Config(
            inbound=InboundConfig(action=Inbound.RESTRICT),
            apply=ApplyConfig(always_allow=("203.0.113.9/32", "2001:db8:2::/48")),
        ),
        ipv4=("169.254.0.0/16", "192.0.2.0/24"),
        ipv6=("2001:db8:1::/48", "fe80::/10"),
    ),
    "outbound-reject": Case(Config(outbound=OutboundConfig(action=Outbound.REJECT))),
    "outbound-drop": Case(
        Config(
            outbound=OutboundConfig(action=Outbound.DROP, forwarded=False),
            apply=ApplyConfig(always_allow=("203.0.113.9/32",)),
        ),
        ipv4=("127.0.0.0/8", "169.254.0.0/16", "192.0.2.0/24", "224.0.0.0/4", "255.255.255.255/32"),
        ipv6=("::1/128", "2001:db8:1::/48", "fe80::/10", "ff00::/8"),
    ),
    "empty-ipv6": Case(Config(), ipv6=()),
    "unwatched": Case(Config(watch=WatchConfig(group=None))),
}


@pytest.mark.parametrize("name", CASES)
def test_the_files_are_those_in_the_golden_folder_byte_for_byte(name: str) -> None:
    files = CASES[name].files()
    folder = GOLDEN / name
    if os.environ.get("FWFEED_WRITE_GOLDEN") == "1":
        shutil.rmtree(folder, ignore_errors=True)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    golden = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == golden


def test_every_golden_folder_has_its_case() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_same_input_gives_the_same_bytes(name: str) -> None:
    assert CASES[name].files() == CASES[name].files()


def test_what_the_files_mean_comes_with_them() -> None:
    config = CASES["inbound-restrict"].config
    rendered = render(candidate(config, ["192.0.2.0/24"], []), config, templates())
    ipv4, ipv6 = rendered.sets
    assert (ipv4.name, ipv4.family, ipv4.ranges) == ("East", Family.IPV4, [(0xC0000200, 0xC00002FF)])
    assert (ipv6.name, ipv6.family, ipv6.ranges) == ("East6", Family.IPV6, [])
    assert sorted(path for path in rendered.files if not path.startswith("ipsets/")) == [
        "policies/fwfeed-forwarded.xml",
        "policies/fwfeed-outbound.xml",
        "zones/log-outbound.xml",
    ]
    assert rendered.default_zone == FOREIGN_ZONE


@pytest.mark.parametrize("action", list(Outbound))
def test_a_block_spares_what_is_exempt_by_a_set_beside_the_countrys_where_that_lacks_it(action: Outbound) -> None:
    config = Config(outbound=OutboundConfig(action=action), apply=ApplyConfig(always_allow=("203.0.113.9/32",)))
    rendered = render(candidate(config, ["192.0.2.0/24"], CASES["outbound-drop"].ipv6), config, templates())
    if action in {Outbound.REJECT, Outbound.DROP}:
        assert [each.name for each in rendered.sets] == ["JP", "JP6", "JP-pass"]
        assert [span for span in rendered.sets[2].ranges if span[0] >> 24 in {192, 203}] == [
            (0xC0000200, 0xC00002FF),
            (0xCB007109, 0xCB007109),
        ]
        block = rendered.blocks["fwfeed-outbound"]
        assert (block.verdict, block.ipsets) == (action, ("JP-pass", "JP6"))
        assert rendered.blocks["fwfeed-forwarded"] == Block(action, ("JP-pass", "JP6"), ())
    else:
        assert [each.name for each in rendered.sets] == ["JP", "JP6"]
        assert rendered.blocks == {}


def test_what_is_always_allowed_is_of_its_own_family() -> None:
    config = CASES["inbound-restrict-on-link"].config
    zone = ET.fromstring(CASES["inbound-restrict-on-link"].files()["zones/log-outbound.xml"])
    sources = [(rule.get("family"), rule.find("source")) for rule in zone.iter("rule") if rule.find("service") is None]
    found = [(family, each.get("address")) for family, each in sources if each is not None and each.get("address")]
    assert found == list(zip(("ipv4", "ipv6"), config.apply.always_allow, strict=True))


def test_the_default_zone_is_left_alone_unless_restricting() -> None:
    assert render(candidate(Config()), Config(), templates()).default_zone is None


@given(st.text("&<>';#% ABCabc09", min_size=1, max_size=100).filter(lambda text: text == as_.log_prefix(text)))
def test_a_prefix_survives_xml_whatever_it_is_made_of(prefix: str) -> None:
    config = Config(
        outbound=OutboundConfig(prefix=prefix), inbound=InboundConfig(action=Inbound.RESTRICT, prefix=prefix)
    )
    rendered = render(candidate(config), config, templates())
    logs = [log for raw in rendered.files.values() for log in ET.fromstring(raw).iter("log")]
    assert len(logs) == 6  # two rules in each of two policies, and in the zone
    assert {log.get("prefix") for log in logs} == {prefix}


@pytest.mark.parametrize("action", list(Outbound))
@pytest.mark.parametrize("group", [None, 1, 65535])
def test_what_leaves_is_handed_to_the_group_at_once_and_without_a_limit_and_what_comes_in_is_not(
    action: Outbound, group: int | None
) -> None:
    config = Config(
        outbound=OutboundConfig(action=action, prefix="P ", limit="1/h"),
        inbound=InboundConfig(action=Inbound.LOG),
        watch=WatchConfig(group=group),
    )
    rendered = render(candidate(config), config, templates())
    found = []
    for path, raw in rendered.files.items():
        for rule in ET.fromstring(raw).iter("rule"):
            if (nflog := rule.find("nflog")) is not None:
                destination = rule.find("destination")
                assert destination is not None
                assert int(rule.get("priority", "0")) < 0  # before what refuses
                assert dict(nflog.attrib) == {"group": str(group), "prefix": "P ", "queue-size": "1"}
                assert list(nflog) == []
                assert destination.get("invert") == "True"
                found.append((path, rule.get("family"), destination.get("ipset")))
    paths = ["policies/fwfeed-outbound.xml", "policies/fwfeed-forwarded.xml"]
    wanted = [(path, *each) for path in paths for each in (("ipv4", "JP"), ("ipv6", "JP6"))]
    assert found == ([] if group is None or action is Outbound.OFF else wanted)


def test_special_characters_are_written_as_entities() -> None:
    config = Config(outbound=OutboundConfig(prefix="a&b<c>d'e "))
    content = render(candidate(config), config, templates()).files["policies/fwfeed-outbound.xml"]
    assert b'prefix="a&amp;b&lt;c&gt;d&#39;e "' in content


def fault_of(**overrides: str) -> TemplateFault:
    with pytest.raises(TemplateFault) as caught:
        render(candidate(Config()), Config(), templates(**overrides))
    assert caught.value.code is ExitCode.USAGE
    assert caught.value.way_out == "correct the template, or remove the override"
    return caught.value


def test_an_undefined_name_is_told_with_path_and_line() -> None:
    fault = fault_of(ipset="<ipset>\n{{ ipset.name }}\n{{ nobody }}\n</ipset>\n")
    assert fault.message == "/etc/fwfeed/templates/ipset.xml.j2:3: 'nobody' is undefined"


def test_an_unknown_attribute_inside_a_loop_is_told_with_path_and_line() -> None:
    fault = fault_of(policy=shipped("policy").replace("rule.peer", "rule.pier"))
    assert fault.message.startswith("/etc/fwfeed/templates/policy.xml.j2:9: ")
    assert "pier" in fault.message


def test_a_syntax_error_is_told_with_path_and_line() -> None:
    fault = fault_of(ipset="<ipset>\n\n{% for entry in ipset.entries %}\n</ipset>\n{{ }\n")
    assert fault.message.startswith("/etc/fwfeed/templates/ipset.xml.j2:5: ")


def test_a_loop_left_open_is_told_with_path_and_line() -> None:
    fault = fault_of(policy="<policy>\n{% for rule in policy.rules %}\n</policy>\n")
    assert fault.message.startswith("/etc/fwfeed/templates/policy.xml.j2:")


def test_an_include_of_what_is_not_there_is_told_with_path_and_line() -> None:
    fault = fault_of(ipset="<ipset>\n{% include 'other.j2' %}\n</ipset>\n")
    assert fault.message.startswith("/etc/fwfeed/templates/ipset.xml.j2:2: ")


@pytest.mark.parametrize("expression", ["1 / 0", "ipset.entries + 1", "ipset.name()", "'%d' % 'x'"])
def test_an_expression_that_fails_is_told_with_path_and_line(expression: str) -> None:
    fault = fault_of(ipset=f"<ipset>\n{{{{ {expression} }}}}\n</ipset>\n")
    assert fault.message.startswith("/etc/fwfeed/templates/ipset.xml.j2:2: ")


@given(st.integers(0, 5_000_000))
def test_maxelem_is_a_power_of_two_with_as_much_room_again(entries: int) -> None:
    room = maxelem(entries)
    assert room & (room - 1) == 0
    assert room >= 2 * entries
    assert room >= 65536
    assert room == 65536 or room <= 4 * entries, "no larger than it has to be, either"
