"""The arrows of design.md, read out of the source: who may import whom, and what the pure core may not touch.

A module that stands in no table fails, so a new one has to be given its place here first.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest

from tests.unit.builders import CHECKOUT

PACKAGE = CHECKOUT / "fwfeed"
LINES = 350

# A unit is a module below fwfeed/, or a package with all its modules. Each of the core may import those before it.
CORE = (
    "errors",
    "prefixes",
    "remark",
    "delegation",
    "flow",
    "logline",
    "tally",
    "times",
    "model",
    "countries",
    "feeds",
    "delegated",
    "config",
    "compile",
    "definition",
    "candidate",
    "difference",
    "gates",
    "render",
    "ruleset",
    "status",
    "nftrules",
    "checks",
    "lockout",
    "traffic",
    "preview",
    "report",
)
EDGES: Mapping[str, frozenset[str]] = {
    "access": frozenset(),
    "fetch": frozenset({"access"}),
    "store": frozenset(
        {"access", "fetch", "signals"}
    ),  # the cache takes what was fetched; a commit is not to be interrupted
    "process": frozenset({"access"}),
    "firewalld": frozenset({"access", "process"}),
    "sessions": frozenset({"process"}),
    "surroundings": frozenset({"process", "fetch"}),
    "units": frozenset({"process"}),
    "signals": frozenset(),
    "privileges": frozenset({"access"}),
    "proof": frozenset({"firewalld"}),
    "kernlog": frozenset({"access", "process"}),
    "netlink": frozenset(),
    "nflog": frozenset({"access", "netlink"}),
    "attribution": frozenset({"netlink", "process"}),
    "ledger": frozenset({"access", "store"}),
    "names": frozenset(),
    "zone": frozenset(),
}
USE_CASES = ("refresh", "review", "apply", "query", "provenance", "observe", "reporting")
TOP = ("daemon", "cli", "__main__")

ALLOWED: Mapping[str, frozenset[str]] = {
    "": frozenset(),  # fwfeed/__init__.py: the version, which everyone may import, and nothing else
    **{unit: frozenset(CORE[:index]) for index, unit in enumerate(CORE)},
    **{unit: frozenset(CORE) | others for unit, others in EDGES.items()},
    **{unit: frozenset(CORE) | frozenset(EDGES) for unit in USE_CASES},
    "daemon": frozenset(CORE) | frozenset(EDGES),
    "cli": frozenset(CORE) | frozenset(EDGES) | frozenset(USE_CASES) | {"daemon"},
    "__main__": frozenset({"cli"}),
}
IMPURE = frozenset(
    {
        "asyncio",
        "dbus",
        "logging",
        "os",
        "random",
        "requests",
        "shutil",
        "socket",
        "sqlite3",
        "subprocess",
        "tempfile",
        "threading",
        "time",
    }
)
PURE_PATHS = frozenset({"PurePath", "PurePosixPath"})
CLOCK = frozenset({"now", "utcnow", "today"})


def sources() -> dict[str, str]:
    """Return the text of every module by its dotted name below fwfeed; a package's own is the package's name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def violations(modules: Mapping[str, str]) -> list[str]:
    """Return everything in these modules that the design does not allow."""
    return [f"{name or 'fwfeed'}: {fault}" for name, text in modules.items() for fault in _faults(name, text)]


def _faults(name: str, text: str) -> Iterator[str]:
    unit = name.partition(".")[0]
    if unit not in ALLOWED:
        yield "stands in no table of test_architecture.py"
        return
    tree = ast.parse(text)
    if not ast.get_docstring(tree):
        yield "has no docstring"
    if len(text.splitlines()) > LINES:
        yield f"has more than {LINES} lines"
    for node in ast.walk(tree):
        for module, imported in _imports(node):
            yield from _import_faults(unit, module, imported)
        if unit in CORE and isinstance(node, ast.Call):
            match node.func:
                case ast.Attribute(attr=method) if method in CLOCK:
                    yield f"asks the clock: {method}()"
                case ast.Name(id="open"):
                    yield "calls open()"


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of each import, the name empty where it is the whole module."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        yield from ((module, alias.name) for alias in node.names)


def _import_faults(unit: str, module: str, name: str) -> Iterator[str]:
    if module.startswith("."):
        yield f"imports {module} by a relative name"  # so that a reader, and this test, sees the whole name
        return
    top, _, below = module.partition(".")
    if top == "fwfeed":
        # `from fwfeed import x` is of the module x, or of a name like __version__
        target = below.partition(".")[0] or ("" if name.startswith("__") else name)
        if target not in {unit, ""} | ALLOWED[unit]:
            yield f"imports {target}"
        return
    if top == "subprocess" and unit != "process":
        yield "imports subprocess, which only process may"
    if unit in CORE and top in IMPURE:
        yield f"is pure, and imports {top}"
    if unit in CORE and top == "pathlib" and name not in PURE_PATHS:
        yield f"is pure, and imports {f'pathlib.{name}' if name else 'pathlib'}"


def test_every_module_keeps_to_the_design() -> None:
    assert violations(sources()) == []


def test_every_unit_of_the_tables_is_there() -> None:
    assert {name.partition(".")[0] for name in sources()} == set(ALLOWED)


def test_no_unit_is_in_two_tables() -> None:
    units = sorted((*CORE, *EDGES, *USE_CASES, *TOP))
    assert all(one != other for one, other in pairwise(units))


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("brand_new", '"""New."""', "stands in no table of test_architecture.py"),
        ("brand_new.part", '"""New."""', "stands in no table of test_architecture.py"),
        ("errors", "import enum", "has no docstring"),
        ("store.lock", "import enum", "has no docstring"),
        ("errors", '"""Long."""' + "\n" * (LINES + 1), "has more than 350 lines"),
        ("", '"""Root."""\nfrom fwfeed.cli import main', "imports cli"),
        ("prefixes", '"""Core."""\nfrom fwfeed.model import Snapshot', "imports model"),
        ("prefixes", '"""Core."""\nimport fwfeed.model', "imports model"),
        ("gates", '"""Core."""\nfrom fwfeed import fetch', "imports fetch"),
        ("gates", '"""Core."""\ndef f():\n    from fwfeed.store.files import read', "imports store"),
        ("config.texts", '"""Core."""\nfrom fwfeed.render import render', "imports render"),
        ("config.texts", '"""Core."""\nfrom .schema import Config', "imports .schema by a relative name"),
        ("fetch", '"""Edge."""\nfrom fwfeed.store import files', "imports store"),
        ("process", '"""Edge."""\nfrom fwfeed import firewalld', "imports firewalld"),
        ("store.cache", '"""Edge."""\nfrom fwfeed.process import run', "imports process"),
        ("firewalld", '"""Edge."""\nfrom fwfeed.refresh import refresh', "imports refresh"),
        ("firewalld", '"""Edge."""\nimport subprocess', "imports subprocess, which only process may"),
        ("apply.plan", '"""Use."""\nfrom fwfeed.refresh import refresh', "imports refresh"),
        ("query", '"""Use."""\nfrom fwfeed import apply', "imports apply"),
        ("refresh", '"""Use."""\nfrom fwfeed.cli import main', "imports cli"),
        ("daemon.timetable", '"""Top."""\nfrom fwfeed.apply import apply', "imports apply"),
        ("apply.plan", '"""Use."""\nfrom fwfeed.daemon import serve', "imports daemon"),
        ("cli", '"""Top."""\nimport subprocess', "imports subprocess, which only process may"),
        *[("model", f'"""Core."""\nimport {module}', f"is pure, and imports {module}") for module in sorted(IMPURE)],
        ("model", '"""Core."""\nfrom os.path import join', "is pure, and imports os"),
        ("model", '"""Core."""\nfrom pathlib import Path', "is pure, and imports pathlib.Path"),
        ("model", '"""Core."""\nimport pathlib', "is pure, and imports pathlib"),
        *[("model", f'"""Core."""\ndatetime.{call}()', f"asks the clock: {call}()") for call in sorted(CLOCK)],
        ("model", '"""Core."""\nopen("x")', "calls open()"),
    ],
)
def test_each_rule_can_fail(name: str, text: str, fault: str) -> None:
    assert f"{name or 'fwfeed'}: {fault}" in violations({name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.texts", '"""Core."""\nfrom pathlib import PurePosixPath\nfrom fwfeed.config.schema import Config'),
        ("fetch", '"""Edge."""\nfrom fwfeed import __version__\nimport os'),
        ("store.cache", '"""Edge."""\nfrom fwfeed.fetch import Delivery'),
        ("process", '"""Edge."""\nimport subprocess'),
        ("cli", '"""Top."""\nfrom fwfeed import apply, config, query, refresh'),
    ],
)
def test_what_the_design_allows_is_no_violation(name: str, text: str) -> None:
    assert violations({name: text}) == []


def test_starting_the_command_imports_nothing_slow() -> None:
    # what makes --help quick: each command imports what it needs when it runs
    slow = {"jinja2", "netaddr", "requests", "dbus", "sqlite3", "apscheduler"}
    script = "import sys; before = set(sys.modules); import fwfeed.cli; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    loaded = set(done.stdout.split())
    assert "fwfeed.cli" in loaded
    assert not slow & loaded
