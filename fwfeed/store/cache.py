"""The last accepted file of each registry, under the names the registries give them.

Any static web server over the folder is a mirror for other hosts: mirrors = ["https://host/{registry}"].
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fwfeed.fetch import Delivery, file_name
from fwfeed.model import Source
from fwfeed.store import files


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache folder."""

    root: Path

    def path(self, registry: str) -> Path:
        """Return where a registry's file is kept."""
        return self.root / registry / file_name(registry)

    def stage(self, staging: files.Staging, delivery: Delivery) -> None:
        """Write a delivery beside the accepted file of its registry."""
        path = self.path(delivery.registry)
        staging.write(path, delivery.raw)
        staging.write(path.with_name(f"{path.name}.md5"), f"{delivery.md5}  {path.name}\n".encode())

    def stage_meta(self, staging: files.Staging, source: Source, now: datetime) -> None:
        """Write what was found in the delivery beside it."""
        meta = {
            "url": source.url,
            "sha256": source.sha256,
            "serial": source.serial,
            "end_date": source.end_date.isoformat(),
            "records": source.records,
            "accepted": now.astimezone(UTC).isoformat(timespec="seconds"),
        }
        staging.write(self.path(source.registry).with_name("meta.json"), (json.dumps(meta, indent=1) + "\n").encode())
