"""Files and folders of lists under file:// URLs."""

from __future__ import annotations

import ast
import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from fwfeed.errors import FeedRefused
from fwfeed.fetch.parts import Arrival, Missing, Sink, Validators

_CHUNK = 1 << 20
_FILES = 1000
_MARK = b"# of file "
_BOM = b"\xef\xbb\xbf"


def get(url: str, to: Sink, cap: int, known: Validators | None, *, folders: bool) -> Arrival | None:
    """Write what is at a file:// URL, at most `cap` bytes, to a file; None where it is what `known` stands for.

    With `folders`, a folder stands for all its files in the order of their names, hidden ones and backups left out,
    each behind a comment that names it. Raises Missing or FeedRefused.
    """
    path = Path(unquote(urlsplit(url).path))
    with _explained(url):
        pieces = _folder if folders and path.is_dir() else _file
        sha256 = hashlib.sha256()
        size = 0
        for piece in pieces(path):
            size += len(piece)
            if size > cap:
                raise FeedRefused(f"{url}: more than {cap:,} bytes", "this is not the file it should be; check the URL")
            sha256.update(piece)
    validators = Validators(etag=sha256.hexdigest(), last_modified="")
    if validators == known:
        return None
    with _explained(url):
        for piece in pieces(path):  # once more: what is known already must not be written
            to.write(piece)
    return Arrival(validators=validators, whole=True)


def origin(raw: bytes, line: int) -> tuple[str, int]:
    """Return which file of a folder a line of what `get` wrote comes from, and its line there; "" for no folder."""
    return origins(raw)(line)


def origins(raw: bytes) -> Callable[[int], tuple[str, int]]:
    """Return `origin` for many lines of the same."""
    if not raw.startswith(_MARK):
        return lambda line: ("", line)
    marks = [(number, text) for number, text in enumerate(raw.split(b"\n"), 1) if text.startswith(_MARK)]

    def find(line: int) -> tuple[str, int]:
        if line == 0:  # the file as a whole
            return "", 0
        start, text = marks[bisect_left(marks, (line,)) - 1]
        return str(ast.literal_eval(text.removeprefix(_MARK).decode().strip())), line - start

    return find


def _file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _folder(path: Path) -> Iterator[bytes]:
    names = sorted(name for each in path.iterdir() if each.is_file() and _is_list(name := each.name))
    if len(names) > _FILES:
        raise FeedRefused(f"{path}: more than {_FILES} files", "name a folder of lists alone")
    for name in names:
        yield _MARK + f"{name!a}\n".encode()
        last = b"\n"
        for last in _list(path / name):
            yield last
        if not last.endswith(b"\n"):
            yield b"\n"


def _list(path: Path) -> Iterator[bytes]:
    """Yield a list without its byte order mark, and with no comment that looks like a mark of ours."""
    last = b"\n"
    with path.open("rb") as file:
        if file.read(len(_BOM)) != _BOM:
            file.seek(0)
        while piece := file.read(_CHUNK) + file.readline(_CHUNK):
            begins_line = last.endswith(b"\n")
            last = piece
            piece = piece.replace(b"\n" + _MARK, b"\n#" + _MARK)
            yield b"#" + piece if begins_line and piece.startswith(_MARK) else piece


def _is_list(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(("~", ".bak", ".rpmnew", ".rpmsave", ".swp"))


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Missing(f"{url}: there is no such file", "correct the URL in the configuration") from None
    except OSError as error:
        raise FeedRefused(f"{url}: {error.strerror}", "correct the URL in the configuration, or the rights") from None
