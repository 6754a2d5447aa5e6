"""Find the templates: an administrator's own first, then the ones fwfeed came with."""

from __future__ import annotations

from pathlib import Path

from fwfeed.errors import FwfeedError
from fwfeed.render import TEMPLATES
from fwfeed.store import files


def load(overrides: Path) -> dict[str, tuple[str, str]]:
    """Return every template of `render` by its name, as (path, text). Raises FwfeedError."""
    loaded = {}
    for name in TEMPLATES:
        path = overrides / name
        content = files.read(path)
        if content is None:
            path = _shipped() / name
            content = files.read(path)
        if content is None:
            raise FwfeedError(f"the template {path} is missing", "install fwfeed again")
        try:
            loaded[name] = (str(path), content.decode())
        except UnicodeDecodeError as error:
            raise FwfeedError(f"{path}: not UTF-8: {error.reason}", "correct the template") from None
    return loaded


def _shipped() -> Path:
    """Return the folder of fwfeed's own templates: in the package, or beside it in a checkout that is not installed."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"
