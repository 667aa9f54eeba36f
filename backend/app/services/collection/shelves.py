"""The platform's own copies of indexes and thumbnails, which it fetches and draws again when they are wanted."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from app.services.collection import folders, policy
from app.services.collection.place import Finding, Place
from app.services.collection.policy import CacheEntry, Item, Limits
from app.services.datasets import shelf


def survey(place: Place, limits: Limits, now: datetime) -> Iterator[Finding]:
    shelves = shelf.shelves(place.data_dir)
    for each in shelves:
        for path in each.half_made():
            size, changed_at = folders.measure(path)
            if reason := policy.why_left(changed_at, now):
                yield Finding(Item("leftover", _name(place, path), size, reason), partial(folders.remove, path))
    kept = [found for each in shelves for found in each.kept()]
    entries = {CacheEntry(str(found.path), found.bytes, found.used_at, found.in_use): found for found in kept}
    for entry, reason in policy.surplus(entries, limits.browse_bytes, "BROWSE_LIMIT_BYTES", now):
        found = entries[entry]
        yield Finding(Item("cache", _name(place, found.path), found.bytes, reason), found.remove)


def _name(place: Place, path: Path) -> str:
    return str(path.relative_to(place.data_dir))
