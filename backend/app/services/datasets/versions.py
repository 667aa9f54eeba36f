"""Datasets and their versions as rows: found, listed, those that are deleted apart."""

import unicodedata

from sqlalchemy import ColumnElement, Select, or_, select, tuple_
from sqlalchemy.orm import Session, contains_eager, defer, selectinload
from sqlalchemy.orm.interfaces import ORMOption

from app.errors import Conflict, NotFound
from app.models import Dataset, DatasetVersion


def find(session: Session, reference: str, *, lock: bool = False) -> Dataset:
    """The dataset with this id or name that is not deleted. `NotFound` if there is none.

    With `lock` it cannot be deleted before the transaction ends.
    """
    query = _named(reference).where(Dataset.deleted_at.is_(None))
    if lock:
        query = query.with_for_update(read=True, key_share=True)  # `find_to_change` waits for it
    dataset = session.scalar(query)
    if dataset is None:
        raise NotFound(f"there is no dataset {reference!r}")
    return dataset


def find_to_change(session: Session, reference: str) -> Dataset:
    """As `find`, or a deleted one if none that is there has the name; its row is locked.

    `Conflict` names the ids if several deleted ones have it.
    """
    query = _named(reference).with_for_update().execution_options(populate_existing=True)
    found = list(session.scalars(query.order_by(Dataset.id)))
    kept = [dataset for dataset in found if dataset.deleted_at is None or dataset.id == reference]
    if not found:
        raise NotFound(f"there is no dataset {reference!r}, nor a deleted one")
    if not kept and len(found) > 1:
        ids = [dataset.id for dataset in found]
        raise Conflict(
            f"{len(ids)} deleted datasets have the name {reference!r}; take the id: {', '.join(ids)}", ids=ids
        )
    return (kept or found)[0]


def find_version(session: Session, reference: str, number: int) -> DatasetVersion:
    """A version that is not deleted, of a dataset that is not, without its report and statistics."""
    is_wanted = _is_called(reference), Dataset.deleted_at.is_(None), DatasetVersion.version == number
    query = select(DatasetVersion).join(Dataset).where(*is_wanted, DatasetVersion.deleted_at.is_(None))
    query = query.options(contains_eager(DatasetVersion.dataset))
    version = session.scalar(query.options(defer(DatasetVersion.report), defer(DatasetVersion.statistics)))
    if version is not None:
        return version
    dataset = find(session, reference)
    known = ", ".join(str(version.version) for version in dataset.versions)
    deleted = " any more; it was deleted" if number in dataset.deleted_versions else f"; it has {known}"
    raise NotFound(f"dataset {dataset.name!r} has no version {number}{deleted}")


def newest_index(session: Session, name: str) -> str | None:
    """The storage key of the newest index that the dataset of this name has, if there are both."""
    query = select(DatasetVersion.dataset_id, DatasetVersion.version).join(Dataset).where(_is_called(name))
    kept = Dataset.deleted_at.is_(None), DatasetVersion.deleted_at.is_(None), DatasetVersion.index_sha256.is_not(None)
    found = session.execute(query.where(*kept).order_by(DatasetVersion.version.desc()).limit(1)).one_or_none()
    return f"datasets/{found.dataset_id}/{found.version}/index.sqlite" if found else None


def list_datasets(
    session: Session, *, cursor: str | None, limit: int, deleted: bool = False
) -> tuple[list[Dataset], str | None]:
    """By name, either those that are there or those that are deleted; and the cursor of the next page."""
    query = select(Dataset).order_by(Dataset.name, Dataset.id).limit(limit + 1)
    query = query.where(Dataset.deleted_at.is_not(None) if deleted else Dataset.deleted_at.is_(None))
    if cursor is not None:
        name, _, dataset_id = cursor.rpartition("/")  # no name has one
        query = query.where(tuple_(Dataset.name, Dataset.id) > tuple_(name, dataset_id))
    found = list(session.scalars(query.options(_without_reports())))
    last = found[limit - 1] if len(found) > limit else None
    return found[:limit], f"{last.name}/{last.id}" if last else None


def _named(reference: str) -> Select[Dataset]:
    return select(Dataset).where(_is_called(reference)).options(_without_reports())


def _is_called(reference: str) -> ColumnElement[bool]:
    if "\x00" in reference:  # PostgreSQL would not even look
        raise NotFound(f"there is no dataset {reference!r}")
    return or_(Dataset.id == reference, Dataset.name == unicodedata.normalize("NFC", reference))


def _without_reports() -> ORMOption:
    """They are long, and hardly ever wanted of many versions."""
    return selectinload(Dataset.all_versions).options(defer(DatasetVersion.report), defer(DatasetVersion.statistics))
