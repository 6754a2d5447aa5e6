"""Work out what an apply would do, and whether it may: reads, never writes."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fwfeed import access, checks, firewalld
from fwfeed.compile import recipe
from fwfeed.config import Config
from fwfeed.definition import recipe_changes
from fwfeed.errors import CheckFailed, FwfeedError, Held
from fwfeed.model import Candidate, Generation, Verdict
from fwfeed.proof import Content, intended_sets
from fwfeed.render import Rendered, render
from fwfeed.store import candidates, comparison, files, generations, manifests, templates
from fwfeed.store.comparison import Comparison
from fwfeed.store.generations import Generations

CONF = "firewalld.conf"
FALLBACK_ZONE = "public"  # firewalld's own default


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultZone:
    """The default zone as configured and as wanted, and the one to give back once fwfeed needs none of its own.

    `wanted` None: it is none of fwfeed's business.
    """

    configured: str
    wanted: str | None
    replaced: str | None

    @property
    def changes(self) -> bool:
        """Whether an apply would change it."""
        return self.wanted not in (None, self.configured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What /etc/firewalld (`root`) is to hold of ours, and what it holds now.

    `installed` has every path that is ours or would be; `readable` is False where the folder could not be looked into,
    and `installed` is all None then. `clashes` are files of others, other than ours, in the places of ours.
    """

    root: Path
    rendered: Rendered
    readable: bool
    installed: Content
    clashes: tuple[str, ...]
    default_zone: DefaultZone
    generations: list[Generation]

    @property
    def wanted(self) -> Content:
        """Every path of `installed`, as it is to be; None: to be removed."""
        return {path: self.rendered.files.get(path) for path in self.installed}

    @property
    def changes(self) -> Content:
        """The files that are to be written (or removed, None), in the order of their paths."""
        return {path: new for path, new in self.wanted.items() if self.installed[path] != new}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an apply of the candidate would do."""

    candidate: Candidate
    target: Target
    comparison: Comparison


def plan(config: Config, elsewhere: Path | None = None) -> Plan:
    """Work out what the candidate would change below /etc/firewalld.

    `elsewhere` is a folder to plan for instead: nothing in it is ours, as manifests speak of /etc/firewalld alone.
    Raises FwfeedError where there is no candidate or it was compiled for other settings, and TemplateFault.
    """
    state = Path(config.paths.state)
    candidate = candidates.load(state)
    wanted = recipe(config)
    if candidate.recipe != wanted:
        differing = recipe_changes(candidate.recipe, wanted) or "the order of names"
        message = "the candidate was compiled for other settings of [set] or [sources] than the configuration has now"
        raise FwfeedError(f"{message}: {differing}", candidates.way_to_fetch(state, wanted))
    rendered = render(candidate, config, templates.load(Path(config.paths.templates)))
    target = aim(config, rendered, elsewhere)
    return Plan(
        candidate=candidate, target=target, comparison=comparison.compare(config, candidate, target.generations)
    )


def plan_back(config: Config, generation: Generation) -> Target:
    """Work out what going back to an older generation would change. Raises FwfeedError where it is damaged."""
    store = Generations.below(Path(config.paths.state))
    content = store.content(generation)
    for path, known in generation.files.items():
        raw = content[path]
        if raw is None or manifests.digest(raw) != known:
            place = store.root / f"{generation.number:06d}" / "files" / path
            raise FwfeedError(f"{place} is not what was installed then", "go back to another one: fwfeed history")
    whole = {path: raw for path, raw in content.items() if raw is not None}
    rendered = Rendered(files=whole, sets=tuple(intended_sets(whole)), default_zone=generation.default_zone)
    return aim(config, rendered)


def plan_nothing(config: Config) -> Target:
    """Work out what it takes that nothing of ours is below /etc/firewalld any more."""
    return aim(config, Rendered(files={}, sets=(), default_zone=None))


def aim(config: Config, rendered: Rendered, elsewhere: Path | None = None) -> Target:
    """Compare what is to be installed with what is."""
    root = elsewhere or Path(config.paths.firewalld)
    history = Generations.below(Path(config.paths.state)).all(root) if elsewhere is None else []
    owned = generations.owned(history)
    paths = sorted(owned | set(rendered.files))
    readable = not root.exists() or (
        os.access(root, os.R_OK | os.X_OK, effective_ids=True)
        and (not (root / CONF).exists() or os.access(root / CONF, os.R_OK, effective_ids=True))
    )
    installed = {path: files.read(root / path) if readable else None for path in paths}
    conf = (files.read(root / CONF) or b"") if readable else b""
    return Target(
        root=root,
        rendered=rendered,
        readable=readable,
        installed=installed,
        clashes=tuple(
            path
            for path, old in installed.items()
            if (readable and ((root / path).is_symlink() or (root / path).parent.is_symlink()))
            or (old is not None and path not in owned and old != rendered.files.get(path))
        ),
        default_zone=_default_zone(conf.decode(errors="replace"), rendered, history),
        generations=history,
    )


def check(planned: Plan) -> None:
    """Look for everything that would go wrong. Raises CheckFailed with all problems, or Held."""
    check_target(planned.target, planned.comparison.verdicts)


def check_target(planned: Target, verdicts: tuple[Verdict, ...] = ()) -> None:
    """Look for everything that would go wrong. Raises CheckFailed with all problems, or Held for what gates found."""
    root = planned.root
    if not root.is_dir():
        raise CheckFailed([f"{root} does not exist"], "dnf install firewalld")
    if not planned.readable:
        raise CheckFailed([f"{root} cannot be read"], access.as_root())
    conf = (files.read(root / CONF) or b"").decode(errors="replace")
    problems = [f"{root / path}: not written by fwfeed, and in its way" for path in planned.clashes]
    problems += (f"{root / CONF}: {problem}" for problem in checks.check_daemon(conf))
    removed = {Path(path).stem for path, new in planned.changes.items() if new is None and path.startswith("ipsets/")}
    with files.explained("read", root):
        others = {path.stem for path in root.glob("ipsets/*.xml")} - removed
        naming = [path for folder in ("policies", "zones") for path in sorted(root.glob(f"{folder}/*.xml")) if removed]
    theirs = {
        str(path): files.read(path) or b"" for path in naming if str(path.relative_to(root)) not in planned.wanted
    }
    dangling = checks.check_others(theirs, removed)
    problems += checks.check_files(planned.rendered, others) + dangling
    if problems:
        hint = "have them name another set first, or keep this one's name in set.name" if dangling else ""
        raise CheckFailed(problems, "move the file in the way elsewhere" if planned.clashes else hint)
    if verdicts:
        raise Held(
            "\n".join(verdict.reason for verdict in verdicts),
            "what is live stays; see the change: fwfeed diff; if it is right: fwfeed approve",
        )
    with (
        files.explained("write", "a copy to check below the folder for temporary files"),
        tempfile.TemporaryDirectory(prefix="fwfeed-check-", ignore_cleanup_errors=True) as folder,
    ):
        staged = Path(folder) / "firewalld"
        with files.explained("copy", root):
            shutil.copytree(root, staged, ignore_dangling_symlinks=True)  # no links: a write must not follow one out
            for path, content in planned.changes.items():
                (staged / path).parent.mkdir(exist_ok=True)
                if content is None:
                    (staged / path).unlink()
                else:
                    (staged / path).write_bytes(content)
            if planned.default_zone.changes:
                (staged / CONF).write_text(checks.with_default_zone(conf, str(planned.default_zone.wanted)))
        firewalld.offline_check(staged)


def _default_zone(conf: str, rendered: Rendered, history: list[Generation]) -> DefaultZone:
    configured = checks.parse_conf(conf).get("DefaultZone") or FALLBACK_ZONE
    # an unfinished generation may have come far enough to change it, or not far enough to give it back
    current = generations.current(history)
    possible = [*([current] if current else []), *generations.unfinished(history)]
    changed = [(each.default_zone, each.replaced_zone) for each in possible if each.default_zone is not None]
    ours, replaced = changed[-1] if changed else (None, None)
    if rendered.default_zone is not None:
        if configured not in (ours, rendered.default_zone):
            replaced = configured
        elif ours is None:
            replaced = FALLBACK_ZONE
        return DefaultZone(configured=configured, wanted=rendered.default_zone, replaced=replaced)
    given_back = replaced or FALLBACK_ZONE
    return DefaultZone(configured=configured, wanted=given_back if configured == ours else None, replaced=None)
