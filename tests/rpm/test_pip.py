"""fwfeed as pip installs it, in each of its ways: it finds its templates, and others than root can run it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from email import message_from_string
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.rpm.conftest import once, require_root
from tests.rpm.packages import CHECKOUT, archived
from tests.skipping import leave_out
from tests.unit.builders import ENVIRONMENT, World, world

README = (CHECKOUT / "README.md").read_text()
TEMPLATES = {path.name for path in (CHECKOUT / "templates").glob("*.j2")}
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
OFFLINE = ("--no-index", "--no-deps", "--no-build-isolation", "--use-pep517")
# What fwfeed needs, from wherever the tests have it; what is editable there is not in a folder of these.
DEPENDENCIES = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
NOBODY = 65534


def typed(*command: str | Path, **environment: str) -> str:
    """Run a command that has to work; return what it printed."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, cwd="/", env={**ENVIRONMENT, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree, its wheel and its sdist, the tree of the sdist, and the wheel of that."""
    if find_spec("setuptools") is None or find_spec("wheel") is None:
        leave_out("nothing can be built without setuptools and wheel: tests/setup rpm")

    def make(folder: Path) -> None:
        tree = archived(folder / "tree")
        sdist = f"import os, setuptools.build_meta as b; os.chdir({str(tree)!r}); b.build_sdist({str(folder)!r})"
        typed(sys.executable, "-c", sdist)
        (archive,) = folder.glob("*.tar.gz")
        (folder / "sdist").mkdir()
        typed("tar", "-xzf", archive, "-C", folder / "sdist")
        (unpacked,) = (folder / "sdist").iterdir()
        for name, source in (("wheel", tree), ("wheel of sdist", unpacked)):
            typed(*PIP, "wheel", "--quiet", *OFFLINE, "--wheel-dir", folder / name, source)

    return once(tmp_path_factory, "pip", make)


@pytest.fixture
def compiled(tmp_path: Path) -> World:
    ready = world(tmp_path / "world")
    assert ready.run("fetch").code == 0
    return ready


def in_venv(source: Path, folder: Path, *options: str) -> dict[str, str]:
    typed(sys.executable, "-m", "venv", "--without-pip", folder)
    python = str(folder / "bin/python")
    building = {"PYTHONPATH": os.pathsep.join(DEPENDENCIES)}
    typed(*PIP, "--python", python, "install", "--quiet", *OFFLINE, *options, source, **building)
    # behind its own: another editable fwfeed among them has a finder of the same name
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(DEPENDENCIES))
    return {"python": python}


def editable(source: Path, folder: Path, *options: str) -> dict[str, str]:
    return in_venv(source, folder, *options, "--editable")


def strictly_editable(source: Path, folder: Path) -> dict[str, str]:
    return editable(source, folder, "--config-settings=editable_mode=strict")


def for_a_user(source: Path, folder: Path) -> dict[str, str]:
    environment = {"PYTHONUSERBASE": str(folder), "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    typed(*PIP, "install", "--quiet", *OFFLINE, "--user", "--ignore-installed", source, **environment)
    return environment


def into_a_target(source: Path, folder: Path) -> dict[str, str]:
    typed(*PIP, "install", "--quiet", *OFFLINE, "--target", folder, source)
    return {"PYTHONPATH": str(folder)}


def below_a_prefix(source: Path, folder: Path) -> dict[str, str]:
    typed(*PIP, "install", "--quiet", *OFFLINE, "--ignore-installed", "--prefix", folder, source)
    (package,) = folder.rglob("fwfeed/__init__.py")
    return {"PYTHONPATH": str(package.parents[1])}


def from_a_checkout(source: Path, _folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(source)}


@pytest.mark.parametrize(
    ("source", "way"),
    [
        ("tree", in_venv),
        ("tree", editable),
        ("tree", strictly_editable),
        ("tree", from_a_checkout),
        ("wheel/*.whl", in_venv),
        ("wheel/*.whl", for_a_user),
        ("wheel/*.whl", into_a_target),
        ("wheel/*.whl", below_a_prefix),
        ("*.tar.gz", in_venv),
        ("wheel of sdist/*.whl", in_venv),
        ("sdist/*", editable),
    ],
)
def test_the_templates_are_found_however_it_was_installed(
    source: str, way: Callable[[Path, Path], dict[str, str]], made: Path, tmp_path: Path, compiled: World
) -> None:
    (found,) = made.glob(source)
    if source in {"tree", "sdist/*"}:  # pip works in it
        found = Path(shutil.copytree(found, tmp_path / "source"))
    environment = way(found, tmp_path / "installed")
    python = environment.pop("python", sys.executable)
    where = typed(python, "-P", "-c", "import fwfeed; print(fwfeed.__file__)", **environment)
    assert Path(where).is_relative_to(tmp_path), where
    said = typed(python, "-P", "-m", "fwfeed", "--config", compiled.config, "render", "--dry-run", **environment)
    assert "policies/fwfeed-outbound.xml" in said


def test_wheels_have_the_templates_and_nothing_beside_the_package(made: Path) -> None:
    for folder in ("wheel", "wheel of sdist"):
        (wheel,) = (made / folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as opened:
            names = opened.namelist()
            (metadata,) = (opened.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        assert {name for name in names if name.endswith(".j2")} == {f"fwfeed/templates/{name}" for name in TEMPLATES}
        assert {name.partition("/")[0].partition("-")[0] for name in names} == {"fwfeed"}
        modules = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "fwfeed").rglob("*.py")}
        assert modules < set(names)
        about = message_from_string(metadata)
        url = about["Home-page"] or about["Project-URL"]
        spec = (CHECKOUT / "rpm/fwfeed.spec").read_text()
        assert f"\nURL:            {url}\n" in spec
        assert about["Author"] == "The fwfeed authors"


def test_the_sdist_has_what_git_has(made: Path) -> None:
    (unpacked,) = (made / "sdist").iterdir()
    tree = made / "tree"
    wanted = {path.relative_to(tree) for path in tree.rglob("*") if path.is_file() and ".egg-info" not in str(path)}
    assert {path for path in wanted if "__pycache__" not in path.parts and not (unpacked / path).is_file()} == set()
    linked = set(re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", README + (CHECKOUT / "README.ja.md").read_text()))
    assert len(linked) > 5
    assert {link for link in linked if not (unpacked / link).exists()} == set()


def test_nothing_tells_to_install_it_from_an_index() -> None:
    """Somebody else could take the name there."""
    for file in CHECKOUT.rglob("*"):
        if file.suffix in {".md", ".py", ".cfg", ".spec", ".toml"} and {"build", ".venv"}.isdisjoint(file.parts):
            told = re.findall(r"pip3? install (?:-\S+ )*['\"]?fwfeed\b.*", file.read_text())
            assert told == [], file


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody can reach."""
    folder = Path(tempfile.mkdtemp(prefix="fwfeed-pip-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("umask", ["027", "077"])
def test_what_the_readme_says_of_a_checkout_works_with_any_umask(umask: str, public: Path, made: Path) -> None:
    """The lines are typed as they are, by root, but for where they put things."""
    require_root()
    for module in ("jinja2", "netaddr", "requests", "setuptools", "wheel", "ensurepip"):
        if subprocess.run(["/usr/bin/python3", "-c", f"import {module}"], check=False, capture_output=True).returncode:
            leave_out(f"/usr/bin/python3 has no {module}: tests/setup rpm")
    tree = Path(shutil.copytree(made / "tree", public / "tree"))
    for path in (tree, *tree.rglob("*")):  # as git checks it out then
        path.chmod(path.stat().st_mode & ~int(umask, 8))
    for folder in ("units", "sbin"):
        (public / folder).mkdir()
    text = README.partition("From a checkout, without the package.")[2].partition("\n### ")[0]
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    assert [line for line in lines if "systemctl add-wants" in line]
    script = "\n".join(line for line in lines if not re.search(r"dnf |useradd |systemctl ", line))
    for place, ours in (("/opt/fwfeed", "opt"), ("/etc/systemd/system", "units"), ("/usr/local/sbin", "sbin")):
        assert place in script
        script = script.replace(place, str(public / ours))
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(public), "PIP_NO_INDEX": "1"}
    environment |= {"PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_CACHE_DIR": "1", "PIP_NO_DEPS": "1"}
    done = subprocess.run(
        ["sh", "-euc", f'umask {umask}; sudo() {{ "$@"; }}; {script}'],
        cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for unit in (public / "units").iterdir():
        assert unit.stat().st_mode & 0o777 == 0o644
        assert "/usr/bin/fwfeed" not in unit.read_text()
    shutil.rmtree(tree)
    ready = world(public / "world")
    subprocess.run(["chown", "-R", str(NOBODY), ready.root], check=True)
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    for command in (["fetch"], ["render", "--dry-run"]):
        program = str(public / "sbin/fwfeed")
        typed(*nobody, program, "--config", str(ready.config), *command, HOME=str(public))
