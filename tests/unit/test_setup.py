"""tests/setup, which `make test` and `make demo` begin with, and the configuration of the latter."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from fwfeed import config
from tests import demo
from tests.unit.builders import CHECKOUT

# Of `python -c ...` it answers what asks for its version, and no more.
OLD = """#!/bin/sh
case "$*" in *version_info\\[:2\\]*) echo 3.10 ;; *) exit 1 ;; esac
"""


def setup(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [CHECKOUT / "tests/setup", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_python_that_is_too_old_is_told_at_once(tmp_path: Path) -> None:
    python, folder = tmp_path / "python3", tmp_path / "venv"
    python.write_text(OLD)
    python.chmod(0o755)
    done = setup("venv", python, folder)
    assert done.returncode == 1
    assert done.stderr == (f"setup: fwfeed needs Python 3.11 or later; {python} is 3.10 (PYTHON=... names another)\n")
    assert not folder.exists()


def test_a_python_that_is_not_there_is_told_too(tmp_path: Path) -> None:
    done = setup("venv", tmp_path / "nothing", tmp_path / "venv")
    assert done.returncode == 1
    assert f"{tmp_path}/nothing is no Python, or not there (PYTHON=... names another)" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_pip_cannot_install_into_is_told_at_once(tmp_path: Path) -> None:
    checkout = tmp_path / "a$b"
    (checkout / "tests").mkdir(parents=True)
    copy = Path(shutil.copy(CHECKOUT / "tests/setup", checkout / "tests"))
    command = [str(copy), "venv", sys.executable, ".venv"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=checkout)
    assert done.returncode == 1
    assert done.stderr == (
        f"setup: pip cannot install into a folder with $ in its path: {checkout}; put the checkout elsewhere\n"
    )
    assert [path.name for path in checkout.iterdir()] == ["tests"]


def test_the_python_that_is_chosen_is_one_that_fwfeed_supports() -> None:
    done = setup("python")
    code = "import sys; sys.exit(sys.version_info < (3, 11))"
    assert subprocess.run([done.stdout.strip(), "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("name", ["plain", "with a blank", 'quote " & back\\slash | \u65e5\u672c'])
def test_the_demo_works_in_whatever_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / name
    data = checkout / "tests/data"
    data.mkdir(parents=True)
    (data / "demo.toml.in").write_text((CHECKOUT / "tests/data/demo.toml.in").read_text())
    monkeypatch.setattr(demo, "CHECKOUT", checkout)
    text = demo.configuration(checkout / "build/demo")
    assert config.parse(text, file="fwfeed.toml").paths.cache == f"{checkout}/build/demo/cache"
    url = tomllib.loads(text)["sources"]["apnic"]["url"]
    assert unquote(urlsplit(url).path) == f"{data}/rir-2018-10-13/delegated-apnic-extended-latest.xz"
