"""The images that COCO files list, found in the upload and placed.

Ids are told apart as text, so that 7, 7.0 and "7" are one id. They live in a table that goes with the connection.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.datasets.archives.base import Archive
from app.datasets.draft import Draft, SourceImage
from app.datasets.findings import Action, Finding
from app.datasets.formats.coco_files import CocoFile
from app.datasets.formats.json_stream import Element
from app.datasets.formats.numbers import whole
from app.datasets.formats.paths import Paths, folder_of, folder_split, folders_of, is_image, short_names
from app.datasets.frames import Size, disagreement
from app.datasets.work import Split

MAX_PATH = 4096
MAX_ID = 200
MAX_SIDE = 10**9  # of a stated size; what is more is no size
FOLDERS_TRIED = 100
SHOWN = 200
_TABLE = """
CREATE TEMP TABLE coco_images (
    file INTEGER, key TEXT, written TEXT, entry TEXT, width INTEGER, height INTEGER, PRIMARY KEY (file, key)
) WITHOUT ROWID
"""
_INSERT = "INSERT INTO coco_images VALUES (?, ?, ?, ?, ?, ?)"


def id_of(value: object) -> str | None:
    """An id as text; None for what is none."""
    if isinstance(value, str):
        return value.strip() if 0 < len(value.strip()) <= MAX_ID else None
    number = whole(value)
    return str(number) if number is not None else None


def shown(value: object) -> str:
    """The beginning of what stands there."""
    return repr(value)[:SHOWN]


@dataclass(frozen=True, slots=True)
class Listed:
    """An image of a file. `image` is None where it is missing or broken."""

    image: SourceImage | None
    stated: Size | None


class Images:
    """The images of all files, by the file's number and the id there."""

    def __init__(self, archive: Archive, draft: Draft) -> None:
        self._draft = draft
        inspected = (image.entry for image in draft.images())
        names = sorted({*inspected, *filter(is_image, archive.files)}, key=str.encode)
        self._paths, self._names = Paths(names), short_names(names)
        self._folders: dict[Split, list[str]] = {}
        for folder in sorted(folders_of(names)):
            if split := folder_split(f"{folder}/"):
                self._folders.setdefault(split, []).append(folder)
        self._placed: dict[str, tuple[Split | None, int]] = {}  # entry to its split and the file that said so
        self._overlaps: list[str] = []
        self._far: Counter[str] = Counter()
        last = draft.connection.execute("SELECT max(id) FROM images").fetchone()[0] or 0
        self._labelled = bytearray(last + 1)
        draft.connection.execute(_TABLE)

    def add(self, number: int, file: CocoFile, element: Element) -> None:
        """An element of `images`: found, placed, and noted under its id."""
        entry = element.value if isinstance(element.value, dict) else {}
        key, written = id_of(entry.get("id")), entry.get("file_name")
        if key is None or not isinstance(written, str) or not 0 < len(written) <= MAX_PATH or element.repeated:
            problem = f"has {element.repeated!r} twice" if element.repeated else "needs an id and a file_name"
            message, value = f"an image {problem}", shown(element.value)
            self._draft.find(Finding("LABEL_MALFORMED", message, file.name, element.line, value))
            return
        if known := self._row(number, key):
            code = "LABEL_DUPLICATE" if known[0] == written else "LABEL_CONTRADICTS"
            message = f"image id {key} stands for {known[0]!r} already; this entry was left out"
            self._draft.find(Finding(code, message, file.name, element.line, written))
            return
        found, stated = self._find(file, element.line, written), _stated(entry)
        self._draft.connection.execute(_INSERT, (number, key, written, found, *(stated or (None, None))))
        if found and (image := self._draft.image(found)):
            self._place(number, file, element.line, image)
            self._check_size(file, element.line, image, stated)

    def get(self, number: int, key: str) -> Listed | None:
        """The image that an annotation names; None if its file lists no such image."""
        row = self._row(number, key)
        if row is None:
            return None
        _, entry, width, height = row
        return Listed(self._draft.image(entry) if entry else None, (width, height) if width else None)

    def mark_labelled(self, image: SourceImage) -> None:
        self._labelled[image.id] = 1

    def mark_backgrounds(self, numbers: Iterable[int]) -> None:
        """What these files list and nobody labels: who labelled the others has looked at it."""
        query = "SELECT DISTINCT entry FROM coco_images WHERE file = ? AND entry IS NOT NULL"
        for number in numbers:
            for (entry,) in self._draft.connection.execute(query, (number,)):
                image = self._draft.image(entry)
                if image and not self._labelled[image.id]:
                    self._draft.mark_background(image.id)

    def close(self) -> None:
        """Tell what was found of many, and forget the table."""
        for name, count in self._far.items():
            message = f"{count} images were found by the ends of their paths, elsewhere than the file says"
            self._draft.find(Finding("PATH_REPAIRED", message, name))
        if self._overlaps:
            message = f"{len(self._overlaps)} images are listed in more than one split; the first counts"
            self._draft.find(Finding("SPLIT_OVERLAP", message, self._overlaps[0]))
        self._draft.connection.execute("DROP TABLE coco_images")

    def _row(self, number: int, key: str) -> tuple[Any, ...] | None:
        query = "SELECT written, entry, width, height FROM coco_images WHERE file = ? AND key = ?"
        found: tuple[Any, ...] | None = self._draft.connection.execute(query, (number, key)).fetchone()
        return found

    def _find(self, file: CocoFile, line: int, written: str) -> str | None:
        """The name in the upload: near the file, at the top, in a folder of the split, else wherever it ends so."""
        own = folder_of(file.name)
        folders = self._folders.get(file.split, [])[:FOLDERS_TRIED] if file.split else []
        found = self._paths.find(written, [own, "", f"{own}/images".lstrip("/"), "images", *folders])
        if found is None:
            self._draft.find(Finding("IMAGE_MISSING", "the image is not in the upload", file.name, line, written))
            return None
        if found.repaired:
            self._far[file.name] += 1
        return found.name

    def _place(self, number: int, file: CocoFile, line: int, image: SourceImage) -> None:
        """Into the split of the first file that lists it."""
        before = self._placed.get(image.entry)
        if before is None:
            self._placed[image.entry] = (file.split, number)
            self._draft.place(image.id, self._names[image.entry], file.split)
        elif before[1] == number:
            message = f"{image.entry} is listed under two ids; the labels of both were joined"
            where = (file.name, line, image.entry, Action.REPAIRED, image.id)
            self._draft.find(Finding("LABEL_DUPLICATE", message, *where))
        elif before[0] != file.split:
            self._overlaps.append(image.entry)

    def _check_size(self, file: CocoFile, line: int, image: SourceImage, stated: Size | None) -> None:
        if problem := disagreement(image, stated):
            value = f"{stated[0]} × {stated[1]}" if stated else None
            finding = Finding("IMAGE_SIZE_DISAGREES", f"the file {problem}", file.name, line, value, image_id=image.id)
            self._draft.find(finding)


def _stated(entry: dict[str, Any]) -> Size | None:
    width, height = whole(entry.get("width")), whole(entry.get("height"))
    return (width, height) if width and height and 0 < width < MAX_SIDE and 0 < height < MAX_SIDE else None
