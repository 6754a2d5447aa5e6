"""What is in the package and the source package, and that others build the same."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from pathlib import Path

import pytest

from fwfeed import __version__
from tests.rpm.conftest import require_root
from tests.rpm.packages import CHECKOUT, Packages, archived, macros, rebuild, require_tools
from tests.rpm.roots import Root

FULL = f"{__version__}-1.el10"

REQUIRES = {
    "/bin/sh",
    "/usr/bin/python3",
    f"config(fwfeed) = {FULL}",
    "firewalld >= 1.3",
    "iproute",
    "nftables",
    "python(abi) = 3.12",
    "python3-dbus",
    "python3.12dist(jinja2) >= 3.1",
    "python3.12dist(netaddr) >= 1",
    "python3.12dist(requests) >= 2.31",
    "python3.12dist(urllib3) >= 1.26",
    "systemd",
}
DIST = re.match(r"\d+(\.\d+)*?(?=(\.0)*$)", __version__)


def ask(package: Path, *query: str) -> set[str]:
    done = subprocess.run(["rpm", "-qp", *query, package], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.splitlines())


def test_it_requires_what_it_needs_and_nothing_else(packages: Packages) -> None:
    required = ask(packages.first, "--requires")
    assert {need for need in required if not need.startswith("rpmlib(")} == REQUIRES
    assert ask(packages.first, "--recommends") == set()
    assert ask(packages.first, "--suggests") == {"python3dist(apscheduler)"}


def test_what_pip_would_install_is_required(packages: Packages) -> None:
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    needs = [line.split()[0].lower() for line in setup["options"]["install_requires"].strip().splitlines()]
    assert len(needs) > 3
    required = {need.split()[0] for need in ask(packages.first, "--requires")}
    assert {f"python3.12dist({need})" for need in needs} <= required


def test_it_provides_itself(packages: Packages) -> None:
    assert DIST
    dist = {f"{name}(fwfeed) = {DIST[0]}" for name in ("python3dist", "python3.12dist")}
    # rpm 4.19, AlmaLinux 10's, adds the user and the group of sysusers.d, and that of Debian 12 does not
    provided = {each for each in ask(packages.first, "--provides") if not each.startswith(("user(", "group("))}
    assert provided == {f"fwfeed = {FULL}", f"config(fwfeed) = {FULL}"} | dist


def test_no_macro_is_left_in_a_scriptlet(packages: Packages) -> None:
    scripts = "\n".join(ask(packages.first, "--scripts", "--triggers", "--filetriggers"))
    for named in ("systemd-sysusers", "preset fwfeed.timer", "disable --now", "try-restart"):
        assert named in scripts
    assert "%" not in scripts


def test_licence_documents_and_configuration_are_marked(packages: Packages) -> None:
    assert ask(packages.first, "--licensefiles") == {"/usr/share/licenses/fwfeed/LICENSE"}
    assert ask(packages.first, "--configfiles") == {"/etc/fwfeed/fwfeed.toml"}
    assert ask(packages.first, "--qf", "[%{FILENAMES} %{FILEFLAGS:fflags}\n]") >= {"/etc/fwfeed/fwfeed.toml cn"}
    pages = {"/usr/share/man/man1/fwfeed.1.gz", "/usr/share/man/man5/fwfeed.toml.5.gz"}
    documents = {"/usr/share/doc/fwfeed/README.md", "/usr/share/doc/fwfeed/CHANGELOG.md"}
    assert ask(packages.first, "--docfiles") >= pages | documents


def test_every_module_is_there_and_compiled(packages: Packages) -> None:
    files = ask(packages.first, "--list")
    modules = {
        f"/usr/lib/python3.12/site-packages/{path.relative_to(CHECKOUT)}"
        for path in (CHECKOUT / "fwfeed").rglob("*.py")
    }
    assert len(modules) > 50
    assert modules <= files
    compiled = {re.sub(r"__pycache__/(.*)\.cpython-\d+\.pyc", r"\1.py", name) for name in files if ".pyc" in name}
    assert compiled == modules
    assert not [name for name in files if "/tests" in name]


def test_the_templates_are_beside_the_code_and_linked_to_where_an_administrator_looks(installed: Root) -> None:
    code = Path("/usr/lib/python3.12/site-packages/fwfeed/templates")
    names = {path.name for path in (CHECKOUT / "templates").glob("*.j2")}
    assert {path.name for path in (installed.folder / str(code)[1:]).iterdir()} == names
    for name in names:
        link = installed.folder / "usr/share/fwfeed/templates" / name
        assert link.is_symlink()
        assert link.resolve() == installed.folder / str(code)[1:] / name
        assert link.read_text() == (CHECKOUT / "templates" / name).read_text()


def test_the_plugin_runs_fwfeed_whatever_path_its_caller_has_chosen(root: Root) -> None:
    plugin = "/usr/lib64/nagios/plugins/check_fwfeed"
    assert len((root.folder / plugin[1:]).read_text().splitlines()) == 2
    for path in ("usr/bin/fwfeed", "chosen/fwfeed"):
        program = root.folder / path
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/usr/bin/sh\necho $0 $# $*\n")
        program.chmod(0o755)
    command = ["chroot", str(root.folder), plugin, "--warning", "3 d"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={"PATH": "/chosen:/usr/sbin"}
    )
    assert (done.returncode, done.stdout) == (0, "/usr/bin/fwfeed 4 check --nagios --warning 3 d\n"), done.stderr


def test_rpmlint_finds_nothing(packages: Packages) -> None:
    files: list[str | Path] = [packages.first, packages.source, CHECKOUT / "rpm/fwfeed.spec"]
    command = ["rpmlint", "--strict", "-c", CHECKOUT / "tests/rpm/rpmlint.toml", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert " 0 errors, 0 warnings" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.timeout(1200)  # it builds a package whose own tests take minutes beside others
def test_two_builds_are_the_same_and_its_own_tests_pass(packages: Packages, checked: tuple[Path, Path]) -> None:
    for one, other in zip((packages.first, packages.source), checked, strict=True):
        for query in ("[%{FILENAMES} %{FILEDIGESTS} %{FILEMTIMES} %{FILEMODES}\n]", "%{PAYLOADDIGEST}"):
            assert ask(one, "--qf", query) == ask(other, "--qf", query)


def test_the_source_package_is_all_that_a_rebuild_needs(packages: Packages, tmp_path: Path) -> None:
    query = ("--qf", "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEFLAGS:fflags}\n]")
    assert ask(rebuild(tmp_path, packages.source), *query) == ask(packages.first, *query)


OF_AN_ARCHIVE = ("--qf", "[%{FILENAMES} %{FILEDIGESTS} %{FILEMODES:perms}\n]")


def test_an_unpacked_archive_makes_the_same_package(packages: Packages, tmp_path: Path) -> None:
    tree = archived(tmp_path / "tree")
    for left in ("fwfeed/__pycache__/x.pyc", "build/x", ".venv/x", "fwfeed.egg-info/PKG-INFO"):
        (tree / left).parent.mkdir(parents=True, exist_ok=True)
        (tree / left).write_text("left by a run\n")
    (tmp_path / "umask").write_text('umask 077; exec "$@"\n')
    command = ["sh", str(tmp_path / "umask"), str(tree / "rpm/build"), "rpm", str(tree / "out")]
    command += ["--nodeps", macros(), "--nocheck"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "is not a git checkout" in done.stderr
    (package,) = (tree / "out").glob("*.noarch.rpm")
    (source,) = (tree / "out").glob("*.src.rpm")
    assert without_dates(ask(package, *OF_AN_ARCHIVE)) == without_dates(ask(packages.first, *OF_AN_ARCHIVE))
    listed = subprocess.run(
        f"rpm2cpio {source} | cpio -i --quiet --to-stdout '*.tar.gz' | tar -tz",
        shell=True, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    assert not re.search(r"/(build|\.venv|out|__pycache__|\S+\.egg-info)/", listed)


def without_dates(files: set[str]) -> set[str]:
    """Leave out the digests of what has the day of the build in it: the pages, and what Python compiles."""
    return {re.sub(r"(\.pyc|\.[15]\.gz) \S+", r"\1", each) for each in files}


def test_a_checkout_that_git_refuses_is_not_built_and_git_says_why(tmp_path: Path) -> None:
    require_root()
    require_tools()
    tree = archived(tmp_path / "tree")
    subprocess.run(["git", "init", "--quiet"], cwd=tree, check=True)
    subprocess.run(["chown", "-R", "65534:65534", tree], check=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "SUDO_"))}
    environment |= {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["make", "rpm"], cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "dubious ownership" in done.stderr
    assert f"git config --global --add safe.directory {tree}" in done.stderr
    assert f"rpm/build: nothing was built: git does not list the files of {tree}" in done.stderr
    assert not list(tree.rglob("*.rpm"))
    assert not (tree / "build/rpm/work").exists()


def test_the_version_of_the_spec_is_the_programs() -> None:
    spec = (CHECKOUT / "rpm/fwfeed.spec").read_text()
    assert f"\nVersion:        {__version__}\n" in spec
    (newest, *_) = re.findall(r"^\* .* - (\S+)$", spec, flags=re.MULTILINE)
    assert newest == f"{__version__}-1"
