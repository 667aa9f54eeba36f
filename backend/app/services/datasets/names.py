"""What a dataset may be called, and whether an import fits the dataset that has the name already."""

import re
import unicodedata

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid
from app.models import Dataset
from app.words import TaskType

NAME = re.compile(r"\w[\w.-]{0,99}")
ID = re.compile(r"ds-[0-9a-f]{8}")


def check_request(session: Session, name: str, task_type: TaskType | None) -> tuple[str, TaskType | None]:
    """The name to register under and its task, before any byte is taken. `Invalid` or `Conflict` if it cannot be used.

    The task is that of the dataset of this name, where there is one.
    """
    name = unicodedata.normalize("NFC", name)
    if not NAME.fullmatch(name) or ID.fullmatch(name):
        message = "use 1 to 100 letters, digits, '_', '-' and '.', and not the form of an id (ds-1234abcd)"
        raise Invalid(f"name={name!r}: {message}", fields=[{"field": "name", "value": name, "message": message}])
    known = session.scalar(select(Dataset).where(Dataset.name == name, Dataset.deleted_at.is_(None)))
    if known is None:
        return name, task_type
    if task_type not in (None, known.task_type):
        raise Conflict(f"dataset {name!r} is for {known.task_type}, not {task_type}; choose another name")
    return name, TaskType(known.task_type)
