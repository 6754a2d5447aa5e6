"""make repo: a repository that dnf takes packages from, and refuses to where a signature is not right."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import needs
from tests.rpm.conftest import once, require_root
from tests.rpm.packages import CHECKOUT, SETUP, Packages, publish, trusting
from tests.rpm.roots import Root
from tests.skipping import require

KEY = "fwfeed test <fwfeed@example.org>"


class Published:
    """Repositories as `make repo` makes them, and the keyring of who signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signed = folder / "signed"
        self.unsigned = folder / "unsigned"
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        self.environment |= trusting(CHECKOUT) | {"GNUPGHOME": str(folder / "gnupg")}

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=CHECKOUT, env=self.environment, capture_output=True, text=True, check=False, timeout=300
        )

    def must(self, *command: str | Path) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def make(self) -> None:
        """Make one repository of `make repo`, and one without a key of what that has built."""
        (self.folder / "gnupg").mkdir(mode=0o700)
        self.must("gpg", "--batch", "--passphrase", "", "--quick-generate-key", KEY, "rsa2048", "sign", "never")
        folders = (f"PACKAGES={self.folder / 'packages'}", f"REPOSITORY={self.signed}")
        try:
            said = self.must("make", "--silent", "repo", *folders, f"KEY={KEY}", "ARGUMENTS=--nocheck")
            assert "for tests alone" in said
            said = self.must("rpm/repository", self.folder / "packages", self.unsigned, "https://www.example.net/el10")
            assert "not signed" in said
        finally:
            self.run("gpgconf", "--kill", "all")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, packages: Packages) -> Published:
    require_root()
    require(needs.program("make", "gpg", "rpmsign", hint=SETUP))
    # beside what is shared, as that is renamed, and the .repo file names the folder
    place = packages.folder.with_name("published-at")

    def make(marker: Path) -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        Published(place).make()
        marker.mkdir()

    once(tmp_path_factory, "published", make)
    return Published(place)


def host(published: Published, packages: Packages, folder: Path) -> Root:
    """A host with the signed repository's file, beside the one of AlmaLinux's stand-ins."""
    others = folder / "others"
    shutil.copytree(packages.repository, others, ignore=shutil.ignore_patterns("fwfeed-*", "repodata"))
    publish(others)
    root = Root(folder / "root", others, published.signed)
    (root.folder / "etc/yum.repos.d").mkdir(parents=True)
    shutil.copy(published.signed / "fwfeed.repo", root.folder / "etc/yum.repos.d")
    return root


def test_packages_and_metadata_are_signed_with_the_key_that_lies_beside(published: Published, tmp_path: Path) -> None:
    database = f"--dbpath={tmp_path / 'keys'}"
    (package,) = published.signed.glob("*.rpm")
    assert "SIGNATURES NOT OK" in published.run("rpmkeys", database, "--checksig", package).stdout
    published.must("rpmkeys", database, "--import", published.signed / "RPM-GPG-KEY-fwfeed")
    assert "digests signatures OK" in published.must("rpmkeys", database, "--checksig", package)
    metadata = published.signed / "repodata/repomd.xml"
    published.must("gpg", "--batch", "--verify", metadata.with_suffix(".xml.asc"), metadata)


def test_no_secret_of_the_key_is_published(published: Published) -> None:
    assert "PRIVATE KEY" not in (published.signed / "RPM-GPG-KEY-fwfeed").read_text()
    shown = published.must("gpg", "--batch", "--show-keys", published.signed / "RPM-GPG-KEY-fwfeed")
    assert KEY in shown
    assert "sec" not in shown.split()


def test_a_host_installs_from_it_with_every_check_on(published: Published, packages: Packages, tmp_path: Path) -> None:
    root = host(published, packages, tmp_path)
    settings = (root.folder / "etc/yum.repos.d/fwfeed.repo").read_text()
    assert "\ngpgcheck=1\nrepo_gpgcheck=1\n" in settings
    root.change("install", "fwfeed")
    assert root.verify() == ""


def test_a_host_refuses_another_package_under_the_same_metadata_key(
    published: Published, packages: Packages, tmp_path: Path
) -> None:
    root = host(published, packages, tmp_path)
    copy = tmp_path / "forged"
    shutil.copytree(published.signed, copy)
    shutil.copy(packages.first, copy)  # without a signature
    publish(copy)
    settings = root.folder / "etc/yum.repos.d/fwfeed.repo"
    text = settings.read_text().replace(f"baseurl=file://{published.signed}", f"baseurl=file://{copy}")
    settings.write_text(text.replace("repo_gpgcheck=1", "repo_gpgcheck=0"))
    done = root.dnf("install", "fwfeed")
    assert done.returncode == 1
    assert "is not signed" in done.stdout + done.stderr
    shutil.copy(published.signed / "repodata/repomd.xml.asc", copy / "repodata")  # of the metadata as they were
    settings.write_text(text)
    done = root.dnf("install", "fwfeed")
    assert done.returncode == 1
    assert "verification error: Bad GPG signature" in done.stdout + done.stderr
    assert root.versions() == ""


def test_without_a_key_it_says_that_hosts_cannot_check(published: Published) -> None:
    settings = (published.unsigned / "fwfeed.repo").read_text()
    assert "baseurl=https://www.example.net/el10\n" in settings
    assert "gpgcheck=0" in settings
    assert not (published.unsigned / "RPM-GPG-KEY-fwfeed").exists()
    assert not (published.unsigned / "repodata/repomd.xml.asc").exists()


def test_a_key_that_is_not_there_publishes_nothing(published: Published, tmp_path: Path) -> None:
    command = ("rpm/repository", published.folder / "packages", tmp_path / "repo", "", "nobody@example.org")
    done = published.run(*command)
    assert done.returncode == 1
    assert "there is no secret key nobody@example.org" in done.stderr
    assert not list((tmp_path / "repo").iterdir())
