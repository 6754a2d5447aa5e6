"""Fuzz the parsers, guided by coverage (atheris), each in a process of its own; finds go to build/fuzz/<target>/.

    make fuzz [SECONDS=600] [TARGETS="plain aws"]
    tests/fuzz/run.py [--seconds N] [--again FILE] [TARGET...]

A corpus grows in build/fuzz/<target>/corpus and is used again; `--again` runs the target once, on a find.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "build/fuzz"
sys.path.insert(0, str(ROOT))


def main() -> int:
    """Run the targets that were asked for one after the other, and tell whether any made a find."""
    parser = argparse.ArgumentParser(description="Fuzz fwfeed's parsers.")
    parser.add_argument("--seconds", type=int, default=60, help="how long each target runs (default: %(default)s)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run the target on this file alone")
    parser.add_argument("--inner", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    arguments = parser.parse_args()
    if arguments.inner:
        _fuzz(arguments.targets[0], arguments.seconds)
    from tests.fuzz.targets import TARGETS

    targets = arguments.targets or list(TARGETS)
    if unknown := [name for name in targets if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if arguments.again:
        TARGETS[targets[0]].run(arguments.again.read_bytes())
        return 0
    failed = []
    for name in targets:
        print(f"== {name}", flush=True)
        command = [sys.executable, __file__, "--inner", "--seconds", str(arguments.seconds), name]
        if subprocess.run(command, check=False, cwd=ROOT).returncode:
            failed.append(name)
    if failed:
        print(f"finds: {', '.join(failed)}; see {OUTPUT}")
    return 1 if failed else 0


def _fuzz(name: str, seconds: int) -> None:
    """Fuzz one target; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["fwfeed", "tomllib"], enable_loader_override=False):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    folder = OUTPUT / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    words = folder / "words"
    words.write_text("".join(f'"{_escape(word)}"\n' for word in target.words), encoding="ascii")
    options = {
        "artifact_prefix": f"{folder}/",
        "dict": str(words),
        "max_len": 16384,
        "max_total_time": seconds,
        "print_final_stats": 1,
        "rss_limit_mb": 2048,
        "timeout": 10,
        "verbosity": 0,
    }
    atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(corpus)], target.run)
    atheris.Fuzz()


def _escape(word: str) -> str:
    return "".join(c if c.isalnum() else f"\\x{ord(c):02x}" for c in word)


if __name__ == "__main__":
    sys.exit(main())
