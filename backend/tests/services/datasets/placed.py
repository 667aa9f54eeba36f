"""A version where the platform would have put it: rows and objects."""

from typing import Any

from app.datasets.index import Index
from app.db import Database
from app.models import DatasetVersion
from app.storage import Storage
from tests import factories
from tests.datasets.versioned import Made


def place(
    database: Database, storage: Storage, made: Made, dataset_id: str = "", name: str = "digits", **fields: Any
) -> DatasetVersion:
    """A further version of the dataset, or the first of a new one."""
    with Index(made.index) as index:
        classes = index.classes
    values: dict[str, Any] = {"classes": classes, "index_sha256": made.index_sha256, "format": "yolo"}
    with database.write_session() as session:
        if not dataset_id:
            row = factories.dataset(session, name=name, highest_version=1)
            version = row.versions[0]
            for column, value in (values | fields).items():
                setattr(version, column, value)
        else:
            number = fields.setdefault("version", 2)
            fields.setdefault("sha256", f"{number:064}")
            version = factories.dataset_version(session, dataset_id=dataset_id, **values | fields)
    folder = f"datasets/{version.dataset_id}/{version.version}"
    storage.put_file(f"{folder}/data.zip", made.archive)
    storage.put_file(f"{folder}/index.sqlite", made.index)
    return version
