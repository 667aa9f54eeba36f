"""The platform's parts, built once from the settings and handed to whoever needs them."""

from dataclasses import dataclass

from app.db import Database
from app.launchers.base import Launcher
from app.launchers.subprocess import SubprocessLauncher
from app.services.ownership import Ownership
from app.services.writer import Writer
from app.settings import Settings
from app.storage import Storage, open_storage
from app.trainers import Catalogue, load_catalogue


@dataclass(frozen=True)
class Platform:
    settings: Settings
    database: Database
    storage: Storage
    catalogue: Catalogue
    launcher: Launcher
    writer: Writer
    ownership: Ownership


def build_platform(settings: Settings) -> Platform:
    """Opens every part; starts no thread and changes nothing but the data folder."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database, storage = Database(settings.database), open_storage(settings)
    return Platform(
        settings=settings,
        database=database,
        storage=storage,
        catalogue=load_catalogue(settings.trainers_path),
        launcher=SubprocessLauncher(settings.data_dir),
        writer=Writer(database),
        ownership=Ownership(database, storage),
    )
