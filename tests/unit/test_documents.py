"""What the documents say is what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from fwfeed import config
from fwfeed.errors import ExitCode
from fwfeed.feeds import Format

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLE = (ROOT / "rpm/fwfeed.toml").read_text()
SNIPPETS = [
    pytest.param(textwrap.dedent(text), id=f"{file.name}-{number}")
    for file in (ROOT / "README.md", ROOT / "README.ja.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, text in enumerate(re.findall(r"^ *```toml\n(.*?)^ *```$", file.read_text(), re.MULTILINE | re.DOTALL))
]


def test_the_shipped_configuration_changes_no_default() -> None:
    assert config.parse(EXAMPLE, file="fwfeed.toml") == config.Config()


def test_the_shipped_configuration_is_commented_out_as_a_whole() -> None:
    assert tomllib.loads(EXAMPLE) == {}


def test_there_are_snippets_of_the_configuration_to_try() -> None:
    assert len(SNIPPETS) > 3


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_what_the_documents_show_can_be_appended_to_the_shipped_configuration(snippet: str) -> None:
    assert config.parse(EXAMPLE + snippet, file="fwfeed.toml") != config.Config()


def test_the_commented_keys_of_the_shipped_configuration_are_the_defaults() -> None:
    switched_on = re.sub(r"^#(?=[a-z_]+ = |\[)", "", EXAMPLE, flags=re.MULTILINE)
    assert config.parse(switched_on, file="fwfeed.toml") == config.Config()


def test_the_shipped_configuration_names_every_key() -> None:
    named = set(re.findall(r"^(?:#|# )?([a-z_]+) = ", EXAMPLE, flags=re.MULTILINE))
    schema = (ROOT / "fwfeed/config/__init__.py").read_text()
    read = set(re.findall(r'table\.(?:text|texts|flag|choice|number|number_or_off)\("([a-z_]+)"', schema))
    assert len(read) > 25
    assert named == read | {"url"}


def test_the_commented_feeds_of_the_shipped_configuration_are_good_ones_of_every_format() -> None:
    switched_on = re.sub(r"^# (?=\[\[feed\]\]|[a-z_]+ = )", "", EXAMPLE, flags=re.MULTILINE)
    names = re.findall(r'\[\[feed\]\]\nname = ("[a-z-]+")', switched_on)
    switched_on = switched_on.replace("#[set]", f"[set]\nexclude = [{', '.join(names)}]")
    feeds = config.parse(switched_on, file="fwfeed.toml").feeds
    assert [feed.name for feed in feeds] == [name.strip('"') for name in names]
    assert {feed.format for feed in feeds} == set(Format)


def test_the_readme_shows_the_help_as_it_is() -> None:
    command = [str(Path(sys.executable).with_name("fwfeed")), "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"COLUMNS": "100", "PATH": "/usr/bin"}
    )
    assert done.stdout.strip() in README


def test_the_readme_has_every_exit_code() -> None:
    table = dict(re.findall(r"^\| (\d) \| `?([A-Z_]+)`? \|", README, flags=re.MULTILINE))
    assert table == {str(code.value): code.name for code in ExitCode}
