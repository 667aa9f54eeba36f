"""Whole imports in this process: files in, an outcome and the version's two files out."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.datasets.annotations import Annotation
from app.datasets.index import Index
from app.datasets.run import ARCHIVE, INDEX, PARENT_INDEX, PARENT_ZIP, UPLOAD, run
from app.datasets.work import Outcome, Packed, Phase, Request
from app.words import TaskType
from tests.datasets.versioned import picture

MAX_BYTES = 10 * 2**20
Files = Mapping[str, str | bytes]
Changes = Mapping[str, str | bytes | None]  # None takes a file away
NO_CHANGES: Changes = {}
Kind = Literal["zip", "tar", "tar.gz"]
LINES = ("0 0.5 0.5 0.2 0.2\n", "1 0.25 0.25 0.5 0.5\n", "0 0.5 0.5 0.4 0.4\n1 0.3 0.3 0.2 0.2\n")


@dataclass(frozen=True)
class Imported:
    folder: Path
    outcome: Outcome

    @property
    def packed(self) -> Packed:
        assert self.outcome.packed is not None, self.outcome.report.groups
        return self.outcome.packed

    @property
    def codes(self) -> dict[str, int]:
        return {group.code: group.count for group in self.outcome.report.groups}

    @property
    def files(self) -> dict[str, bytes]:
        with zipfile.ZipFile(self.folder / ARCHIVE) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    @property
    def splits(self) -> dict[str, str]:
        """By the name that an image had in the upload, or in the version before."""
        return dict(self.rows("SELECT entry, split FROM images ORDER BY entry"))

    def annotations(self, path: str) -> list[Annotation]:
        ((image_id,),) = self.rows(f"SELECT id FROM images WHERE path = '{path}'")
        with Index(self.folder / INDEX) as index:
            return [annotation for _, annotation in index.annotations(image_id)]

    def rows(self, query: str) -> list[Any]:
        with Index(self.folder / INDEX) as index:
            return index.connection.execute(query).fetchall()


def prepare(
    folder: Path, files: Files | None, parent: Imported | None = None, kind: Kind = "zip", **request: Any
) -> None:
    """The folder of an import that has not begun."""
    folder.mkdir(parents=True)
    if files is not None:
        pack(folder / UPLOAD, files, kind)
    if parent is not None:
        (folder / PARENT_ZIP).hardlink_to(parent.folder / ARCHIVE)
        (folder / PARENT_INDEX).hardlink_to(parent.folder / INDEX)
    asked = Request.model_validate({"max_bytes": MAX_BYTES, **request})
    (folder / "request.json").write_text(asked.model_dump_json())


def make(
    folder: Path, files: Files | None, parent: Imported | None = None, kind: Kind = "zip", **request: Any
) -> Imported:
    """Run the import of `files`, or with `edit` the change of `parent`."""
    prepare(folder, files, parent, kind, **request)
    return Imported(folder, run(folder, ignore))


def ignore(phase: Phase, done: int, total: int) -> None:
    del phase, done, total


def pack(path: Path, files: Files, kind: Kind = "zip") -> Path:
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as tar:
        for name, data in files.items():
            content = data.encode() if isinstance(data, str) else data
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def yolo(count: int = 6, changes: Changes = NO_CHANGES) -> dict[str, str | bytes]:
    """Images of two classes without splits."""
    files: dict[str, str | bytes | None] = {"data.yaml": "names: [cat, dog]\n"}
    for number in range(count):
        files[f"images/{number}.jpg"] = picture(number)
        files[f"labels/{number}.txt"] = LINES[number % len(LINES)]
    return _present({**files, **changes})


def yolo_splits(changes: Changes = NO_CHANGES) -> dict[str, str | bytes]:
    """The canonical layout: two images in train, one in val."""
    files: dict[str, str | bytes | None] = {"data.yaml": "names: [cat, dog]\n"}
    for number, place in enumerate(("train/a", "train/b", "val/c")):
        files[f"images/{place}.jpg"] = picture(number)
        files[f"labels/{place}.txt"] = LINES[2]
    return _present({**files, **changes})


def folders(changes: Changes = NO_CHANGES) -> dict[str, str | bytes]:
    """Two classes, four images each, without splits."""
    files: dict[str, str | bytes | None] = {
        f"{name}/{number}.png": picture(number + 10 * (name == "dog"), ".png", (12, 12))
        for name in ("cat", "dog")
        for number in range(4)
    }
    return _present({**files, **changes})


TASK_LINES = {
    TaskType.OBJECT_DETECTION: "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.1 0.1\n",
    TaskType.INSTANCE_SEGMENTATION: "0 0.1 0.1 0.9 0.1 0.5 0.9\n1 0 0 1 0 1 1 0.5 0.5 0 1\n",
    TaskType.ORIENTED_OBJECT_DETECTION: "0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9\n1 0 0 1 0 1 1 0 1\n",
    TaskType.POSE_ESTIMATION: "0 0.5 0.5 0.2 0.2 0.4 0.4 2 0.6 0.6 0\n1 0.5 0.5 0.2 0.2 0.4 0.4 1 0.6 0.6 2\n",
}


def files_of(task_type: TaskType) -> dict[str, str | bytes]:
    """A canonical upload of the task: two images and one, each with an object of both classes."""
    if task_type is TaskType.IMAGE_CLASSIFICATION:
        return {
            f"{split}/{name}/{number}.jpg": picture(10 * number + len(split + name))
            for number, split in enumerate(("train", "val"))
            for name in ("cat", "doggy")
        }
    text = "names: [cat, doggy]\n"
    if task_type is TaskType.POSE_ESTIMATION:
        text += "kpt_shape: [2, 3]\nflip_idx: [1, 0]\n"
    lines = TASK_LINES[task_type]
    return yolo_splits(
        {"data.yaml": text} | {f"labels/{place}.txt": lines for place in ("train/a", "train/b", "val/c")}
    )


def _present(files: Mapping[str, str | bytes | None]) -> dict[str, str | bytes]:
    return {name: data for name, data in files.items() if data is not None}
