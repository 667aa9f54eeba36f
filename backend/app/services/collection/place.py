"""What collecting needs of the platform, and what it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.db import Database
from app.services.collection.policy import Item
from app.services.ownership import Ownership
from app.settings import Settings
from app.storage import Storage


@dataclass(frozen=True)
class Place:
    settings: Settings
    database: Database
    storage: Storage
    ownership: Ownership

    @property
    def data_dir(self) -> Path:
        return self.settings.data_dir.resolve()


@dataclass(frozen=True)
class Finding:
    """Something that goes. `remove` gives False where it came into use since it was looked at."""

    item: Item
    remove: Callable[[], bool | None]
