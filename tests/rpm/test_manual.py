"""Manual pages and completion as they are installed: found, rendered without a complaint, and complete."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fwfeed.cli import parser
from fwfeed.report.probe import Level
from tests import needs
from tests.rpm.packages import CHECKOUT, SETUP
from tests.rpm.roots import Root
from tests.skipping import require

PAGES = {"fwfeed": "man1/fwfeed.1.gz", "fwfeed.toml": "man5/fwfeed.toml.5.gz"}
LOCALE = {"LC_ALL": "C.UTF-8", "MANWIDTH": "100", "MANROFFOPT": "-c"}


def commands() -> dict[str, argparse.ArgumentParser]:
    (subparsers,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(subparsers.choices)


def options(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:
        if action.help != argparse.SUPPRESS:
            yield from action.option_strings


@pytest.fixture(scope="module")
def man(installed: Root) -> Path:
    require(needs.program("man", "lexgrog", "mandb", "groff", hint=SETUP))
    return installed.folder / "usr/share/man"


def rendered(page: Path) -> str:
    done = subprocess.run(
        ["man", "--warnings", "--no-justification", "--no-hyphenation", "-P", "cat", "-l", page],
        capture_output=True, text=True, check=True, timeout=60, env={**os.environ, **LOCALE},
    )  # fmt: skip
    assert done.stderr == ""
    return re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)


def said_of(name: str, page: str) -> str:
    """Return what stands below a command's name, up to the next."""
    found = re.search(rf"^ +fwfeed {name}\b.*?(?=^ +fwfeed [a-z]|^[A-Z])", page, flags=re.MULTILINE | re.DOTALL)
    assert found, name
    return found[0]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_rendered_without_a_warning_and_found_by_its_name(name: str, man: Path, tmp_path: Path) -> None:
    assert f"{name.upper()}(" in rendered(man / PAGES[name])
    shutil.copytree(man, tmp_path / "man")
    subprocess.run(["mandb", "--quiet", "--create", "--no-straycats", tmp_path / "man"], check=True, timeout=60)
    found = subprocess.run(
        ["whatis", "-M", tmp_path / "man", name], capture_output=True, text=True, check=False, timeout=60
    )
    assert found.stdout.startswith(f"{name} ("), found.stderr
    assert "fwfeed" in found.stdout.partition(" - ")[2] or "country" in found.stdout
    parsed = subprocess.run(["lexgrog", man / PAGES[name]], capture_output=True, text=True, check=False, timeout=60)
    assert f'"{name} - ' in parsed.stdout


def test_the_page_has_every_command_and_option(man: Path) -> None:
    page = rendered(man / PAGES["fwfeed"])
    common = set(options(parser()))
    assert len(common) > 6
    section = page.partition("\nOPTIONS\n")[2].partition("\nEXIT STATUS\n")[0]
    assert {name for name in common if not re.search(rf"^ .*(?<!\S){name}\b", section, flags=re.MULTILINE)} == set()
    for name, command in commands().items():
        text = said_of(name, page)
        assert (command.description or "?")[:20] in text
        for option in set(options(command)) - common:
            assert re.search(rf"^ +(?:-[\w-]+, )*{option}\b", text, flags=re.MULTILINE), (name, option)


def test_the_page_has_each_file_and_variable_and_the_codes_of_a_plugin(man: Path) -> None:
    page = rendered(man / PAGES["fwfeed"])
    sections = re.split(r"^([A-Z][A-Z ]+)$", page, flags=re.MULTILINE)
    of = {name: " ".join(text.split()) for name, text in zip(sections[1::2], sections[2::2], strict=True)}
    readme = (CHECKOUT / "README.md").read_text()
    table = readme.partition("## What changes on the host")[2].partition("\n## ")[0]
    paths = re.findall(r"^\| (/[\w./-]+)", table, re.MULTILINE)
    assert {"/var/lib/fwfeed/ledger.sqlite", "/var/lib/fwfeed/fwfeed.prom"} < set(paths)
    assert [
        path for path in (*paths, "/etc/fwfeed/fwfeed.toml", "/etc/fwfeed/templates") if path not in of["FILES"]
    ] == []
    for name in ("https_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "SSH_CONNECTION"):
        assert name in of["ENVIRONMENT"]
    for level in Level:
        assert f"{level.value} {level.name} " in of["EXIT STATUS"]
    assert "`" not in of["FILES"]


def test_each_example_of_the_page_is_one_that_fwfeed_takes(man: Path) -> None:
    examples = rendered(man / PAGES["fwfeed"]).partition("\nEXAMPLES\n")[2].partition("\nSEE ALSO\n")[0]
    lines = re.findall(r"^ {7}(\S.*)$", examples, re.MULTILINE)
    typed = [command.partition("fwfeed ")[2] for line in lines for command in line.split("; ")]
    assert len(typed) > 8
    for words in typed:
        parser().parse_args(words.split())


def test_the_page_hides_what_help_hides(man: Path) -> None:
    hidden = [
        option
        for command in commands().values()
        for action in command._actions
        if action.help == argparse.SUPPRESS
        for option in action.option_strings
    ]
    page = rendered(man / PAGES["fwfeed"])
    assert not [option for option in hidden if re.search(rf"{option}\b", page)]


def test_the_page_of_the_configuration_has_every_key_with_its_default(man: Path) -> None:
    page = " ".join(rendered(man / PAGES["fwfeed.toml"]).split())
    keys = re.findall(
        r"^#(?: |)([a-z_]+ = [^ #][^#]*?)(?: {2,}#.*|)$", (CHECKOUT / "rpm/fwfeed.toml").read_text(), re.MULTILINE
    )
    assert len(keys) > 35
    assert [key for key in keys if " ".join(key.split()) not in page] == []


COMPLETE = """
source "$1"; shift
compopt() { :; }  # it only works where somebody types
cd "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_fwfeed
[ ${#COMPREPLY[@]} = 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
"""


class Completion:
    """What bash would offer after some words."""

    def __init__(self, file: Path, folder: Path) -> None:
        self.file = file
        self.folder = folder

    def __call__(self, *words: str) -> list[str]:
        command = ["bash", "-eu", "-c", COMPLETE, "bash", str(self.file), str(self.folder), "fwfeed", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stderr == ""
        return done.stdout.splitlines()


@pytest.fixture
def complete(installed: Root, tmp_path: Path) -> Completion:
    return Completion(installed.folder / "usr/share/bash-completion/completions/fwfeed", tmp_path)


def test_bash_completes_commands_and_common_options(complete: Completion) -> None:
    assert set(complete("")) == set(commands()) | set(options(parser()))
    assert complete("rend") == ["render"]
    assert complete("--conf") == ["--config"]
    assert complete("--quiet", "look") == ["lookup"]


@pytest.mark.parametrize("name", commands())
def test_bash_completes_the_options_of_a_command(name: str, complete: Completion) -> None:
    assert set(complete(name, "-")) == set(options(commands()[name]))
    assert set(complete("--json", name, "--")) == {each for each in options(commands()[name]) if each[:2] == "--"}


def test_bash_completes_files_and_choices_and_nothing_where_words_are_free(complete: Completion) -> None:
    (complete.folder / "my host.toml").touch()
    (complete.folder / "my*.toml").touch()
    assert sorted(complete("--config", "my")) == ["my host.toml", "my*.toml"]
    assert complete("render", "--output", "my h") == ["my host.toml"]
    assert complete("list", "--family", "") == ["4", "6"]
    assert complete("apply", "--confirm-within", "") == []


def test_bash_is_told_of_the_command(complete: Completion) -> None:
    told = subprocess.run(
        ["bash", "-c", f"source {complete.file}; complete -p fwfeed"], capture_output=True, text=True, check=True
    )
    assert told.stdout == "complete -F _fwfeed fwfeed\n"
