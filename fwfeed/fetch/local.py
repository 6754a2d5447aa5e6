"""Files and folders of lists under file:// URLs."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from fwfeed import access
from fwfeed.errors import FeedRefused
from fwfeed.fetch.parts import Arrival, Missing, Sink, Validators

_CHUNK = 1 << 20
_FILES = 1000
_MARK = b"# of file "
_IS_MARK = re.compile(rb"(?m)^# of file ([!-~]{1,1000})$")
_BOM = b"\xef\xbb\xbf"


def get(url: str, to: Sink, cap: int, known: Validators | None, *, folders: bool) -> Arrival | None:
    """Write what is at a file:// URL, at most `cap` bytes, to a file; None where it is what `known` stands for.

    With `folders`, a folder stands for all its files in the order of their names, hidden ones and backups left out,
    each behind a comment that names it. Raises Missing or FeedRefused.
    """
    path = Path(unquote(urlsplit(url).path))
    with _explained(url, path):
        pieces = _folder if folders and path.is_dir() else _file

        def passed(take: Callable[[bytes], None]) -> Validators:
            sha256 = hashlib.sha256()
            size = 0
            for piece in pieces(path):
                size += len(piece)
                if size > cap:
                    way_out = "this is not the file it should be; check the URL"
                    raise FeedRefused(f"{url}: more than {cap:,} bytes", way_out)
                sha256.update(piece)
                take(piece)
            return Validators(etag=sha256.hexdigest(), last_modified="")

        if passed(lambda _piece: None) == known:
            return None
        # once more, as what is known already must not be written; it can have changed in between
        return Arrival(validators=passed(to.write), whole=True)


def origins(raw: bytes, url: str) -> Callable[[int], tuple[str, int]]:
    """Return what tells which file of a folder a line of what `get` wrote comes from, and its line there.

    "" stands for no folder. Only what is under a file:// URL can be one: anybody can write what looks like a mark.
    """
    found = _IS_MARK.finditer(raw) if url.startswith("file://") and _IS_MARK.match(raw) else iter(())
    marks: list[tuple[int, str]] = []
    line, position = 1, 0
    for mark in found:
        line += raw.count(b"\n", position, mark.start())
        position = mark.start()
        marks.append((line, unquote(mark[1].decode())))

    def find(line: int) -> tuple[str, int]:
        if line == 0 or not marks:  # the file as a whole
            return "", line
        start, name = marks[bisect_left(marks, (line,)) - 1]
        return name, line - start

    return find


def _file(path: Path) -> Iterator[bytes]:
    with _open(path) as file:
        while piece := file.read(_CHUNK):
            yield piece


def _open(path: Path) -> BinaryIO:
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # a pipe would keep us waiting
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise FeedRefused(f"{path}: not a regular file", "correct the URL in the configuration")


def _folder(path: Path) -> Iterator[bytes]:
    names = sorted(name for each in path.iterdir() if each.is_file() and _is_list(name := each.name))
    if len(names) > _FILES:
        raise FeedRefused(f"{path}: more than {_FILES} files", "name a folder of lists alone")
    for name in names:
        yield _MARK + quote(name).encode() + b"\n"
        last = b"\n"
        for last in _list(path / name):
            yield last
        if not last.endswith(b"\n"):
            yield b"\n"


def _list(path: Path) -> Iterator[bytes]:
    """Yield a list without its byte order mark, and with no comment that looks like a mark of ours."""
    last = b"\n"
    with _open(path) as file:
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
def _explained(url: str, path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Missing(f"{url}: there is no such file", "correct the URL in the configuration") from None
    except PermissionError as error:
        refused = path if error.filename is None else Path(os.fsdecode(error.filename))  # of a folder perhaps one list
        raise FeedRefused(f"{url}: {error.strerror}", access.hint_at_source(error, refused)) from None
    except OSError as error:
        raise FeedRefused(f"{url}: {error.strerror}", "correct the URL in the configuration, or the rights") from None
