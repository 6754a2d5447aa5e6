"""Sources of ranges beside the registries: lists in other formats, and the special-purpose group.

`Feed` says what a feed is, `parse` reads its file by its format. How the file gets here is for `fetch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from fwfeed.errors import ParseError
from fwfeed.feeds import cloud, geofeed, hints, plain
from fwfeed.feeds.special import SPECIAL_PURPOSE, Purpose, purpose, special_purpose
from fwfeed.model import Listing

__all__ = ["SPECIAL_PURPOSE", "Feed", "Format", "Purpose", "parse", "purpose", "special_purpose"]


class Format(StrEnum):
    """The formats a feed can have."""

    PLAIN = "plain"
    AWS = "aws"
    GCP = "gcp"
    GEOFEED = "geofeed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """[[feed]]: a list of ranges, and which of them are wanted; an empty filter lets everything through.

    `regions` and `services` are of AWS, `scopes` of GCP, `countries` of a geofeed. `max_age` None: any age.
    """

    name: str
    url: str
    format: Format
    regions: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    max_age: timedelta | None = None

    @property
    def description(self) -> str:
        """What decides which of its addresses are taken, in one line: two feeds of one description are comparable."""
        filters = {
            "regions": self.regions,
            "services": self.services,
            "scopes": self.scopes,
            "countries": self.countries,
        }
        given = [f"{key}={','.join(values)}" for key, values in filters.items() if values]
        return " ".join([self.name, self.format, *given])


def parse(raw: bytes, *, feed: Feed, file: str) -> Listing:
    """Read the bytes of a feed's file by the feed's format, and keep what its filter wants.

    `file` is what messages call it. Raises ParseError, with the line where there is one, for a file that breaks its
    format, for one with more than 200,000 entries, and for a region, service or scope that an AWS or Google file
    does not know; where the file seems to be of another format, it says of which. The sources of each format are in
    `plain`, `cloud` and `geofeed`.
    """
    try:
        return _parse(raw, feed, file)
    except ParseError as error:
        document = feed.format in {Format.AWS, Format.GCP}
        found = hints.guess(raw, 0 if document else error.line)
        # a document says itself what it lacks to be the provider's; rows of a plain list are rows of a geofeed, too
        usual = {Format.PLAIN: set(), Format.GEOFEED: {Format.PLAIN, hints.CSV}}.get(feed.format, {hints.JSON})
        if found is None or found.format in {feed.format, *usual}:
            raise
        reads = f', which format = "{found.format}" reads' if found.format in set(Format) else ""
        message = f"{error.text}; this looks like {found.what}{reads}"
        raise ParseError(file, error.line, message, found.way_out) from None


def _parse(raw: bytes, feed: Feed, file: str) -> Listing:
    match feed.format:
        case Format.PLAIN:
            return plain.parse(raw, file=file)
        case Format.AWS:
            return cloud.parse_aws(raw, file=file, regions=feed.regions, services=feed.services)
        case Format.GCP:
            return cloud.parse_gcp(raw, file=file, scopes=feed.scopes)
        case Format.GEOFEED:
            return geofeed.parse(raw, file=file, countries=feed.countries)
