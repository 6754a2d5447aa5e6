"""Tell what a feed's file is that its format does not read: a setting away from being right, more often than damaged.

Only a file that is refused already is looked at, and it is recognised by how it begins: where lines before the one at
fault are well, that line has a slip.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from fwfeed.feeds.ranges import read_range

JSON, CSV = "json", "csv"
"""In the place of a format: a document, or a table, that none of them reads."""

_LOOK = 1 << 16
_LISTED = "one address, CIDR or FIRST-LAST a line"

_PACKED = {
    b"\x1f\x8b": ("gzip data", ".gz"),
    b"BZh": ("bzip2 data", ".bz2"),
    b"\xfd7zXZ\0": ("xz data", ".xz"),
    b"PK\x03\x04": ("a ZIP archive", ""),
    b"\x28\xb5\x2f\xfd": ("Zstandard data", ""),
}
_BOM = b"\xef\xbb\xbf"
_is_mark = re.compile(rb"(?m)^# of file .*").finditer  # in front of each file of a folder
_has_row = re.compile(rb"(?m)^[ \t]*[^#;\s]").search
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

_SCALAR = rb"null|true|false|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_is_json = re.compile(
    rb'\{\s*(?:"|\}|\Z)|\[\s*(?:["{\[\]]|\Z|(?:%b)\s*[,\]])|(?:null|true|false|"(?:[^"\\\n]|\\.)*")\s*\Z' % _SCALAR
).match
_are_bare = re.compile(rb"\[\s*[0-9A-Fa-f.:]*[.:][0-9A-Fa-f.:]*(?:/[0-9]{1,3})?\s*[,\n]").match
_are_json_lines = re.compile(rb"\{[^\n]*\}[ \t\r]*\n\s*\{").match
_AWS = (b'"ip_prefix"', b'"ipv6_prefixes"', b'"createDate"')
_GCP = (b'"ipv4Prefix"', b'"ipv6Prefix"', b'"creationTime"')

_is_delegated = re.compile(r"(?:2(?:\.[0-9]+)?\|)?(?:afrinic|apnic|arin|lacnic|ripencc)\|").match
_ADDRESS = r'"?(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)(?:/[0-9]{1,3})?"?'
_is_geofeed = re.compile(rf'{_ADDRESS}[ \t]*,[ \t]*"?[A-Za-z]{{2}}"?[ \t]*(?:,|\Z)').match
_are_ranges = re.compile(rf"{_ADDRESS}[ \t]*[,\t][ \t]*{_ADDRESS}[ \t]*(?:[,\t]|\Z)").match
_is_address = re.compile(rf"{_ADDRESS}\Z").match
_is_column = re.compile(rf"{_ADDRESS}[ \t]+[^ \t-]").match


class Guess(NamedTuple):
    """What a file seems to be, which of the formats reads it ("", JSON or CSV: none), and what to do."""

    what: str
    format: str
    way_out: str


def guess(raw: bytes, line: int) -> Guess | None:
    """Say what a file seems to be that was refused at this line (0: as a whole), None where nothing is recognised."""
    for magic, (what, suffix) in _PACKED.items():
        if raw.startswith(magic):
            way_out = f"only what a URL ending in {suffix} names is unpacked" if suffix else "unpack it"
            return Guess(what, "", way_out)
    if raw.startswith(_UTF16):
        return Guess("UTF-16 text", "", "save it as UTF-8")
    begin = start = raw.startswith(_BOM) and len(_BOM)
    for _ in range(line - 1):
        start = raw.find(b"\n", start) + 1
    if marks := [mark.end() for mark in _is_mark(raw, 0, start)]:
        begin = marks[-1]
    if _has_row(raw, begin, start):
        return None
    head = raw[start : start + _LOOK].lstrip()
    if _is_json(head):
        return _json(head)
    if _are_bare(head):
        way_out = f"make a list of it, {_LISTED}, without brackets and commas"
        return Guess("a list in brackets, as in JSON, but without quotes", JSON, way_out)
    first, second = (*islice(_rows(head), 2), "", "")[:2]
    return _row(first) or _table(first, second) if first else None


def _rows(head: bytes) -> Iterator[str]:
    """Yield the rows that are no comments, up to one that is no text."""
    for row in head.decode("utf-8", "replace").split("\n"):
        if (text := row.strip(" \t\r")) and not text.startswith(("#", ";")):
            if not text.replace("\t", " ").isprintable() or "\ufffd" in text:
                return
            yield text


def _json(head: bytes) -> Guess:
    if _are_json_lines(head):
        return Guess("JSON lines, a document in each", "", f"make a list of it, {_LISTED}, as with jq -r .cidr")
    for what, name, keys in (("AWS's JSON", "aws", _AWS), ("Google's JSON", "gcp", _GCP)):
        if any(key in head for key in keys):
            return Guess(what, name, f'set format = "{name}"')
    way_out = f'format = "aws" and "gcp" read JSON of theirs; of any other make a list, {_LISTED}, as with jq'
    return Guess("JSON, of no provider that fwfeed knows", JSON, way_out)


def _table(header: str, row: str) -> Guess | None:
    """Recognise a table by the row behind its header: as many fields, of which one is an address."""
    for sign, name in (("\t", "tabs"), (";", "semicolons")):
        fields = [field.strip() for field in row.split(sign)]
        if sign in header and header.count(sign) == len(fields) - 1 and any(map(_is_address, fields)):
            return Guess(f"a table with {name} between its columns (CSV)", "", f"make a list of it, {_LISTED}")
    return None


def _row(row: str) -> Guess | None:
    if _is_delegated(row):
        return Guess(
            "a registry's delegated file", "", "take the feed out, and name the registry in [sources] registries"
        )
    if _is_geofeed(row):
        return Guess("a geofeed (RFC 8805)", "geofeed", 'set format = "geofeed"')
    if _are_ranges(row):
        return Guess("a table of ranges (CSV)", "", f"make a list of it, {_LISTED}")
    if "," in row:
        return Guess("CSV", CSV, f'format = "geofeed" reads CSV of RFC 8805; of any other make a list, {_LISTED}')
    try:
        read_range(re.split("[#;]", row, maxsplit=1)[0].rstrip())
    except ValueError:
        if _is_column(row):
            return Guess("a table", "", f"make a list of it, {_LISTED}; what follows has to begin with # or ;")
        return None
    return Guess("a plain list", "plain", 'set format = "plain"')
