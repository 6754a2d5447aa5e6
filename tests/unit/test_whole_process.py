"""The real command on the five real files: what `make demo` shows, and `fwfeed list` against the oracles."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from ipaddress import IPv6Network, collapse_addresses, summarize_address_range
from pathlib import Path

import pytest

from tests import needs
from tests.demo import configuration
from tests.skipping import require
from tests.unit.test_real_files import (  # noqa: F401 - fixtures
    WANTED,
    extracted,
    ipv4_ends,
    lines,
    raw,
)

FWFEED = str(Path(sys.executable).with_name("fwfeed"))


def fwfeed(config: Path, *arguments: str) -> str:
    done = subprocess.run([FWFEED, "--config", config, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def demo_config(folder: Path, extra: str = "") -> Path:
    """Return the configuration of `make demo`, working below `folder`; `extra` takes the place of its [set]."""
    text = configuration(folder)
    if extra:
        head, _, rest = text.partition("[set]")
        text = f"{head}[set]\n{extra}\n[sources]{rest.partition('[sources]')[2]}"
    config = folder / "fwfeed.toml"
    config.write_text(text)
    return config


def test_the_demo_shows_what_japan_is_made_of_and_every_line_that_would_be_new(tmp_path: Path) -> None:
    config = demo_config(tmp_path)
    fwfeed(config, "fetch")
    shown = fwfeed(config, "render", "--dry-run").splitlines()
    summary = shown.index("set JP (IPv4):  2,814 prefixes,     796,780,286 addresses")
    assert "  JP, apnic                 2,783 prefixes,     203,951,104 addresses" in shown
    assert "  JP, arin                     12 prefixes,         120,576 addresses" in shown
    assert "  JP, apnic                   455 prefixes,        7.72e+32 addresses" in shown
    files = [line.split()[1] for line in shown if line.startswith("+++ ")]
    assert files == [
        "b/ipsets/JP.xml",
        "b/ipsets/JP6.xml",
        "b/policies/fwfeed-forwarded.xml",
        "b/policies/fwfeed-outbound.xml",
    ]
    kinds = Counter(line[0] for line in shown[:summary] if line)
    assert set(kinds) == {"-", "+", "@"}
    assert kinds["-"] == len(files)
    entries = [line for line in shown if line.startswith("+  <entry>")]
    assert len(entries) == 2814 + 584
    assert not (tmp_path / "etc-firewalld").exists()


@pytest.mark.parametrize("countries", WANTED, ids="+".join)
def test_list_prints_what_iprange_and_ipaddress_say(
    countries: tuple[str, ...],
    lines: list[list[str]],  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    names = ", ".join(f'"{country}"' for country in countries)
    config = demo_config(tmp_path, f'name = "ANY"\ncountries = [{names}]\ninclude = []')
    fwfeed(config, "fetch")
    ends = ipv4_ends(lines, countries)
    ipv4 = collapse_addresses(network for pair in ends for network in summarize_address_range(*pair))
    ipv6 = collapse_addresses(IPv6Network(f"{fields[3]}/{fields[4]}") for fields in extracted(lines, countries, "ipv6"))
    assert fwfeed(config, "list", "--family", "4") == "".join(f"{network}\n" for network in ipv4)
    assert fwfeed(config, "list", "--family", "6") == "".join(f"{network}\n" for network in ipv6)
    require(needs.program("iprange", hint="tests/setup lab, as root"))
    ranges = "".join(f"{first}-{last}\n" for first, last in ends)
    printed = subprocess.run(["iprange"], input=ranges, capture_output=True, text=True, check=True).stdout
    assert fwfeed(config, "list", "--family", "4") == printed
