"""Objects of versions that no row names: of a purge or an import that was cut short while the storage was away."""

import re
from collections.abc import Iterator
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.models import Dataset, DatasetVersion, Import
from app.services.collection import policy
from app.services.collection.place import Finding, Place
from app.services.collection.policy import Item, Limits
from app.words import IMPORT_ENDED

FOLDER = re.compile(r"datasets/(ds-[0-9a-f]{8})/([1-9]\d{0,8})/.+")
Name = tuple[str, int]  # of a version: its dataset and its number


def survey(place: Place, limits: Limits, now: datetime) -> Iterator[Finding]:
    """Of datasets that are there; those that are gone go as a whole."""
    groups: dict[Name, policy.Group] = {}
    for found in place.storage.list("datasets"):
        if name := FOLDER.fullmatch(found.key):
            groups.setdefault((name[1], int(name[2])), policy.Group()).add(found.size, found.modified)
    with place.database.read_session() as session:  # after the objects: a row that came since is seen
        datasets, known = set(session.scalars(select(Dataset.id))), _known(session)
    for version, group in groups.items():
        if version[0] in datasets and version not in known:
            what = f"version {version[1]} of {version[0]}"
            if reason := policy.why_unowned(what, group.changed_at, limits, now):
                prefix = f"datasets/{version[0]}/{version[1]}"
                yield Finding(Item("dataset", prefix, group.bytes, reason), partial(_remove, place, version, prefix))


def importing(session: Session) -> set[str]:
    """Datasets that an import has begun to store; the row comes last."""
    return {dataset for dataset in session.scalars(select(Import.dataset_id).where(_is_under_way())) if dataset}


def _known(session: Session) -> set[Name]:
    rows = session.execute(select(DatasetVersion.dataset_id, DatasetVersion.version))
    reserved = session.execute(select(Import.dataset_id, Import.version).where(_is_under_way()))
    return {*rows, *((dataset, number) for dataset, number in reserved if dataset and number)}


def _is_under_way() -> ColumnElement[bool]:
    return Import.status.not_in(IMPORT_ENDED)


def _remove(place: Place, version: Name, prefix: str) -> bool:
    """The number counts as given first, so that no import can take it while its objects go."""
    with place.database.write_session() as session:
        dataset = session.get(Dataset, version[0], with_for_update=True)
        if dataset is not None and version in _known(session):
            return False
        if dataset is not None:
            dataset.highest_version = max(dataset.highest_version, version[1])
    place.storage.delete_prefix(prefix)
    return True
