"""Sources of ranges beside the registries: lists in other formats, and the special-purpose group.

`Feed` says what a feed is, `parse` reads its file by its format. How the file gets here is for `fetch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from fwfeed.feeds.special import SPECIAL_PURPOSE, special_purpose

__all__ = ["SPECIAL_PURPOSE", "Feed", "Format", "special_purpose"]


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
