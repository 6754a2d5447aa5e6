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

from fwfeed.config import FOREIGN_ZONE, Config, Inbound, InboundConfig, Outbound, OutboundConfig, SetConfig
from fwfeed.config import texts as as_
from fwfeed.errors import ExitCode, TemplateFault
from fwfeed.prefixes import Family
from fwfeed.render import maxelem, render
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
    "empty-ipv6": Case(Config(), ipv6=()),
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
        "zones/east.xml",
        "zones/log-outbound.xml",
    ]
    assert rendered.default_zone == FOREIGN_ZONE


def test_the_default_zone_is_left_alone_unless_restricting() -> None:
    assert render(candidate(Config()), Config(), templates()).default_zone is None


@given(st.text("&<>';#% ABCabc09", min_size=1, max_size=100).filter(lambda text: text == as_.log_prefix(text)))
def test_a_prefix_survives_xml_whatever_it_is_made_of(prefix: str) -> None:
    config = Config(
        outbound=OutboundConfig(prefix=prefix), inbound=InboundConfig(action=Inbound.RESTRICT, prefix=prefix)
    )
    rendered = render(candidate(config), config, templates())
    logs = [log for raw in rendered.files.values() for log in ET.fromstring(raw).iter("log")]
    assert len(logs) == 5  # two rules in each of two policies, and one in the zone
    assert {log.get("prefix") for log in logs} == {prefix}


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
