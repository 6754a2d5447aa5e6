"""fwfeed's packages as the tree makes them, beside stand-ins for what they need of AlmaLinux 10."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from fwfeed import __version__
from tests import needs
from tests.skipping import require

CHECKOUT = Path(__file__).parents[2]
STUBS = Path(__file__).with_name("stubs.spec")

LATER = "99.0.0"

SETUP = "tests/setup rpm, as root"
TOOLS = ("rpmbuild", "createrepo_c", "dnf", "rpmlint", "cpio")


@dataclass(frozen=True)
class Packages:
    """A repository with the package, and later ones to upgrade to."""

    repository: Path
    first: Path
    source: Path
    folder: Path

    sitelib: str = ""
    version: str = __version__

    @cached_property
    def later(self) -> Path:
        """The package of a later version."""
        return later(self.folder / "later", sitelib=self.sitelib)

    def add(self, package: Path) -> None:
        """Put a package into the repository."""
        shutil.copy(package, self.repository)
        publish(self.repository)


def require_tools() -> None:
    """Leave the test out where packages cannot be built."""
    require(needs.program(*TOOLS, hint=SETUP))


def trusting(tree: Path) -> dict[str, str]:
    """Return an environment in which git reads a checkout of anybody's: of one whose tests run, all is run anyway."""
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": str(tree)}


@cache
def macros() -> str:
    """Return the option that has rpm build for AlmaLinux 10."""
    command = [str(CHECKOUT / "tests/setup"), "macros"]
    return f"--macros={subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()}"


def build(
    folder: Path, *options: str, tree: Path = CHECKOUT, sitelib: str = "", spec_check: bool = False
) -> tuple[Path, Path]:
    """Build the package of a tree in a folder; return it and the source package."""
    environment = os.environ | trusting(tree)
    command = [str(tree / "rpm/build"), "rpm", str(folder), "--nodeps", macros(), *options]
    if sitelib:
        command += ["--define", f"sitelib {sitelib}"]
    if not spec_check:
        command += ["--nocheck"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200, env=environment)
    assert done.returncode == 0, done.stderr + done.stdout
    (package,) = folder.glob("*.noarch.rpm")
    (source,) = folder.glob("*.src.rpm")
    return package, source


def stubs(folder: Path, *, shell: bool = False) -> None:
    """Build the stand-ins into a folder; with a shell where nothing else has one."""
    options = ["--define", f"_topdir {folder / 'work'}", "--define", f"_rpmdir {folder}"]
    options += ["--define", "_rpmfilename %%{NAME}.rpm"]
    if shell:
        options += ["--define", f"shell {shutil.which('busybox')}"]
    done = subprocess.run(
        ["rpmbuild", "-bb", "--quiet", *options, STUBS], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder / "work")


def rebuild(folder: Path, source: Path) -> Path:
    """Build the package of a source package alone."""
    command = ["rpmbuild", "--rebuild", "--quiet", "--nodeps", macros(), "--nocheck"]
    command += ["--define", f"_topdir {folder / 'work'}", "--define", f"_rpmdir {folder}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr + done.stdout
    (package,) = folder.rglob("*.noarch.rpm")
    return package


def publish(repository: Path) -> None:
    """Make a folder of packages a repository."""
    subprocess.run(["createrepo_c", "--quiet", repository], check=True, capture_output=True, timeout=300)


def built(folder: Path, *, sitelib: str = "", shell: bool = False) -> Packages:
    """Build all of it."""
    require_tools()
    repository = folder / "repository"
    repository.mkdir(parents=True)
    stubs(repository, shell=shell)
    first, source = build(folder / "first", sitelib=sitelib)
    packages = Packages(repository, first, source, folder, sitelib)
    packages.add(first)
    return packages


def found(folder: Path) -> Packages:
    """Return what was built in a folder."""
    (first,) = folder.glob("first/*.noarch.rpm")
    (source,) = folder.glob("first/*.src.rpm")
    return Packages(folder / "repository", first, source, folder)


def archived(folder: Path) -> Path:
    """Copy the tree without git's own files, as an archive of it unpacks; return the folder."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | trusting(CHECKOUT),
    ).stdout
    for name in filter(None, files.split("\0")):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, place)
    return folder


def later(folder: Path, *, sitelib: str = "") -> Path:
    """Build the package of a later version, whose configuration says something new."""
    tree = archived(folder / "tree")
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    _replace(tree / "fwfeed/__init__.py", f'__version__ = "{__version__}"', f'__version__ = "{LATER}"')
    _replace(tree / "rpm/fwfeed.spec", f"Version:        {__version__}", f"Version:        {LATER}")
    _replace(tree / "rpm/fwfeed.toml", "# fwfeed's configuration", "# The configuration of fwfeed")
    return build(folder / "built", tree=tree, sitelib=sitelib)[0]


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
