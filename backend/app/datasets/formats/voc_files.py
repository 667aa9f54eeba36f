"""Which image a Pascal VOC file or a list means, and which split the lists of `ImageSets/Main` give it."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from app.datasets.archives.base import Archive
from app.datasets.findings import Finding
from app.datasets.formats.class_names import Find
from app.datasets.formats.paths import Found, Paths, folder_of, is_image
from app.datasets.formats.split_paths import MAX_LIST_BYTES, MAX_PATH, list_split
from app.datasets.formats.text import numbered_lines, read_text
from app.datasets.work import SPLITS, Split
from app.errors import Invalid

_LISTS = re.compile(r"(?:^|(?P<root>.*)/)ImageSets/(?:Main/)?[^/]+\.txt$", re.IGNORECASE)
_FLAG = re.compile(r"\s+[-+]?[01]$")  # of the lists of a class: has it, has it not, difficult
_MASKS = frozenset({"segmentationclass", "segmentationobject"})
_IMAGE_FOLDERS = ("JPEGImages", "images", "imgs")


class VocImages:
    """The images of an upload, broken ones too, found by stem or by name. Masks of the development kit are none."""

    def __init__(self, archive: Archive, inspected: Iterable[str]) -> None:
        names = sorted({*inspected, *filter(is_image, archive.files)}, key=str.encode)
        self.names = [name for name in names if not _MASKS & {part.lower() for part in name.split("/")[:-1]}]
        self._by_stem = Paths(self.names, without_suffix=True)
        self._by_name = Paths(self.names)

    def of_xml(self, xml: str, filename: str) -> Found | None:
        """The image called as the XML file is, near it; else the one that it names; else either elsewhere."""
        bases = _bases(folder_of(xml))
        by_stem = self._by_stem.find(PurePosixPath(xml).stem, bases)
        by_name = self._by_name.find(filename, bases) if 0 < len(filename) <= MAX_PATH else None
        near = next((found for found in (by_stem, by_name) if found and not found.repaired), None)
        return near or by_stem or by_name

    def of_id(self, written: str, root: str) -> str | None:
        """What a line of a list means."""
        bases = [f"{root}/{folder}" if root else folder for folder in (*_IMAGE_FOLDERS, "")]
        bases = [base.rstrip("/") for base in bases]
        for text in dict.fromkeys((written, _FLAG.sub("", written))):
            finder = self._by_name if is_image(text) else self._by_stem
            if found := finder.find(text, bases):
                return found.name
        return None


def _bases(folder: str) -> list[str]:
    """Where the image of an XML file in `folder` may lie: there, or where `Annotations` has another name."""
    parts = folder.split("/")
    places = [place for place, part in enumerate(parts) if part.lower() in ("annotations", "annotation", "xmls")]
    swapped = [
        "/".join([*parts[:place], *others, *parts[place + 1 :]])
        for place in places
        for others in (*((name,) for name in _IMAGE_FOLDERS), ())
    ]
    return [*swapped, folder]


def has_lists(archive: Archive) -> bool:
    return any(_LISTS.match(name) and list_split(name) for name in archive.files)


def listed_splits(archive: Archive, images: VocImages, find: Find) -> dict[str, Split]:
    """The split of each image that a list names: of several the first of train, val, test, with a finding."""
    splits: dict[str, Split] = {}
    twice: list[str] = []
    lists = [(name, match) for name in archive.files if (match := _LISTS.match(name))]
    for split in SPLITS:
        for name, match in lists:
            if list_split(name) != split:
                continue
            for image in _listed(archive, name, images, match["root"] or "", find):
                if splits.setdefault(image, split) != split:
                    twice.append(image)
    if twice:
        find(Finding("SPLIT_OVERLAP", f"{len(twice)} images are listed in more than one split", twice[0]))
    return splits


def _listed(archive: Archive, name: str, images: VocImages, root: str, find: Find) -> Iterable[str]:
    try:
        text = read_text(archive, name, MAX_LIST_BYTES)
    except Invalid as error:
        find(Finding("LABEL_UNREADABLE", error.message, name))
        return
    for line, written in numbered_lines(text):
        image = images.of_id(written, root) if len(written) <= MAX_PATH else None
        if image is None:
            find(Finding("IMAGE_MISSING", "the list names an image that is not there", name, line, written))
        else:
            yield image
