"""The rows of a text feed: its lines without comments and blanks, from bytes that nobody vouches for.

A text of 64 MiB must not become several times that in memory, so it stays bytes, and only rows are decoded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from fwfeed.errors import ParseError, quote
from fwfeed.feeds.ranges import LIMIT

WAY_OUT = "correct that line if the list is yours; otherwise see that the feed's url and format are right"

_BOM = rb"(?:\A\xef\xbb\xbf)?+"
_HTML = re.compile(_BOM + rb"\s*+<")
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_CHUNK = 1 << 20
_ROW_LENGTH = 4096


def rows(raw: bytes, *, comments: str, file: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the text of each line that has any, cut at the first of the `comments` characters.

    Lines end in LF or CR LF, and a byte order mark may begin the first: people edit these files. Comments may hold
    any UTF-8. Raises ParseError for HTML, what is not UTF-8, NUL or a CR alone anywhere, another control character
    in a row, a row of more than 4,096 bytes, and the row that is one too many.
    """
    refuse_html(raw, file)
    _check_utf8(raw, file)
    # Even in a comment: NUL is of UTF-16 or a damaged file, and a CR alone ends lines for those who wrote it, so
    # what looks like one comment could be a whole list.
    if stray := re.search(rb"\x00|\r(?!\n)", raw):
        line = raw.count(b"\n", 0, stray.start()) + 1
        raise ParseError(file, line, f"control character 0x{stray[0][0]:02x}", WAY_OUT)
    mark = re.escape(comments).encode()
    pattern = rb"(?m)^" + _BOM + rb"[ \t]*+([^ \t\r\n%b][^\r\n%b]*+)" % (mark, mark)
    line, position = 1, 0
    for number, found in enumerate(re.finditer(pattern, raw), 1):
        line += raw.count(b"\n", position, found.start())
        position = found.start()
        if number > LIMIT:
            raise ParseError(file, line, f"more than the {LIMIT:,} entries a feed may have", WAY_OUT)
        if found.end(1) - found.start(1) > _ROW_LENGTH:
            raise ParseError(file, line, f"an entry of more than {_ROW_LENGTH:,} bytes", WAY_OUT)
        if control := _CONTROL.search(found[1]):
            raise ParseError(
                file, line, f"control character 0x{control[0][0]:02x}: {quote(found[1].decode())}", WAY_OUT
            )
        yield line, found[1].decode().rstrip(" \t")


def refuse_html(raw: bytes, file: str) -> None:
    """Raise ParseError where the first visible character is `<`: what a server or a captive portal says instead."""
    if found := _HTML.match(raw):
        line = raw.count(b"\n", 0, found.end()) + 1
        what = "XML" if raw[found.end() - 1 :].startswith(b"<?xml") else "HTML"
        message = f"this is {what}, not a list: an error page, or a captive portal's"
        raise ParseError(file, line, message, "open the feed's url in a browser, and correct it if it has moved")


def _check_utf8(raw: bytes, file: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(raw), _CHUNK):
        held = len(decoder.getstate()[0])
        chunk = raw[start : start + _CHUNK]
        try:
            decoder.decode(chunk, final=start + _CHUNK >= len(raw))
        except UnicodeDecodeError as error:
            position = start - held + error.start
            line = raw.count(b"\n", 0, position) + 1
            raise ParseError(file, line, f"byte 0x{raw[position]:02x} is not UTF-8", WAY_OUT) from None
