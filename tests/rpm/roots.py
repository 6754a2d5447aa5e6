"""A root to install into, and what dnf and rpm say of it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Root:
    """An empty machine whose scriptlets run, of which systemd says that it is booted."""

    folder: Path
    repository: Path
    configured: Path | None = None
    """Another repository, which a file in the root's /etc/yum.repos.d tells of."""

    def dnf(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run dnf for this root, with the repository alone."""
        for folder in ("run/systemd/system", "var/tmp"):  # the latter for the scriptlets of rpm 4.20
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        own = self.folder / "etc/yum.repos.d" if self.configured else "/dev/null"
        options = [f"reposdir={own}", f"cachedir={self.folder}.cache", "metadata_expire=0", "install_weak_deps=0"]
        options += ["local.gpgcheck=0"]
        command = ["dnf", "-y", f"--installroot={self.folder}", *(f"--setopt={option}" for option in options)]
        command += ["--releasever=10", f"--repofrompath=local,file://{self.repository}", "--repo=local", *arguments]
        if self.configured:
            command.append("--repo=fwfeed")
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        for keyring in Path(f"{self.folder}.cache").glob("*/pubring"):  # dnf leaves the agent of each running
            subprocess.run(["gpgconf", "--homedir", keyring, "--kill", "all"], check=False, timeout=60)
        return done

    def change(self, *arguments: str) -> str:
        """Run dnf, which has to succeed without a scriptlet's complaint; return what it said."""
        done = self.dnf(*arguments)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert not re.search("scriptlet failed|^error:|^warning: %", said, flags=re.MULTILINE), said
        return said

    def verify(self) -> str:
        """Return what differs from what the package brought."""
        return self._rpm("-V", "fwfeed")

    def versions(self) -> str:
        """Return which version is installed, if any."""
        return self._rpm("-qa", "--qf", "%{VERSION}", "fwfeed")

    def erase(self) -> str:
        """Remove the package without dnf; return what rpm said."""
        return self._rpm("-e", "fwfeed")

    def called(self) -> list[str]:
        """Return how systemd's tools were called since this was asked last."""
        log = self.folder / "called"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def ours(self) -> set[str]:
        """Return the paths that have fwfeed in their names."""
        return {
            f"/{path.relative_to(self.folder)}"
            for path in self.folder.rglob("*")
            if "fwfeed" in str(path.relative_to(self.folder))
        }

    def _rpm(self, *arguments: str) -> str:
        command = ["rpm", f"--root={self.folder}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
