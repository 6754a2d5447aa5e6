"""The configuration of `make demo`: .venv/bin/python -m tests.demo FOLDER writes it as FOLDER/fwfeed.toml."""

from __future__ import annotations

import json
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def configuration(folder: Path) -> str:
    """Return it for a folder that everything it writes is to be in."""
    text = (CHECKOUT / "tests/data/demo.toml.in").read_text(encoding="utf-8")
    text = text.replace("@DATA@", (CHECKOUT / "tests/data/rir-2018-10-13").as_uri())
    return text.replace("@FOLDER@", json.dumps(str(folder), ensure_ascii=False)[1:-1])  # TOML has JSON's escapes


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    place.mkdir(parents=True, exist_ok=True)
    (place / "fwfeed.toml").write_text(configuration(place), encoding="utf-8")
