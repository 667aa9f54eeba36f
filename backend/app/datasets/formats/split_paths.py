"""Which split an image belongs to: by the description's paths, by lists of paths, or by the folder that it lies in."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from app.datasets.archives.base import Archive
from app.datasets.findings import Finding
from app.datasets.formats.class_names import Find
from app.datasets.formats.description import Description, Written
from app.datasets.formats.paths import Paths, folder_of, folder_split, folders_of, split_of
from app.datasets.formats.text import numbered_lines, read_text
from app.datasets.work import SPLITS, Split
from app.errors import Invalid

MAX_LIST_BYTES = 32 * 2**20
MAX_PATH = 4096


def list_split(name: str) -> Split | None:
    """The split whose images `train.txt`, `val.txt`, `autosplit_train.txt` … would list."""
    path = PurePosixPath(name)
    return split_of(path.stem.lower().removeprefix("autosplit_")) if path.suffix.lower() == ".txt" else None


def assign(
    archive: Archive, images: Sequence[str], lists: Sequence[str], description: Description | None, find: Find
) -> dict[str, Split | None]:
    """The split of every image that has a place; None where the source has no splits, absent where it leaves it out.

    `images`: all of the upload, broken ones too. `lists`: text files that may be lists of images.
    """
    named: Mapping[Split, Sequence[Written]] = description.splits if description else {}
    if not named:
        named = _named_by_lists(lists)
    if not named:
        return {image: folder_split(image) for image in images}
    finder = _Finder(archive, images, description.root if description else None, find)
    found = {split: finder.all_of(split, paths) for split, paths in named.items()}
    _report_missing(found, named, find)
    if not any(found.values()):
        return {image: folder_split(image) for image in images}
    return _shared(found, images, find)


def _named_by_lists(lists: Sequence[str]) -> dict[Split, list[Written]]:
    named: dict[Split, list[Written]] = {}
    for name in lists:
        if split := list_split(name):
            named.setdefault(split, []).append(Written(name, name, None))
    return named


def _report_missing(found: Mapping[Split, Sequence[str]], named: Mapping[Split, Sequence[Written]], find: Find) -> None:
    """Train and val must be there if any split is; a test split that was not sent is left out."""
    any_found = any(found.values())
    for split, images in found.items():
        if images:
            continue
        code = "PATH_NOT_FOUND" if any_found and split != "test" else "SPLIT_LEFT_OUT"
        for path in named[split]:
            message = f"{path.path[:200]!r}, the {split} split of {path.file}, is not in the upload"
            find(Finding(code, message, path.file, path.line, path.path))


def _shared(found: Mapping[Split, Sequence[str]], images: Sequence[str], find: Find) -> dict[str, Split | None]:
    """Each image in one split: the first of train, val, test that names it, else the folder's if no list has it."""
    splits: dict[str, Split | None] = {}
    twice: list[str] = []
    for split in SPLITS:
        for image in found.get(split, ()):
            if splits.setdefault(image, split) != split:
                twice.append(image)
    if twice:
        find(Finding("SPLIT_OVERLAP", f"{len(twice)} images are named in more than one split", twice[0]))
        if found.get("val") and "val" not in splits.values():
            splits = dict.fromkeys(splits)
    for image in images:
        if image not in splits:
            split_of_folder = folder_split(image)
            if split_of_folder and split_of_folder not in found:
                splits[image] = split_of_folder
            else:
                find(Finding("IMAGE_UNUSED", "no split of the description names the image", image))
    return splits


@dataclass
class _Finder:
    """Paths of a description, resolved to images of the upload."""

    archive: Archive
    images: Sequence[str]
    root: str | None
    find: Find

    def __post_init__(self) -> None:
        self._image_paths = Paths(self.images)
        self._folders = Paths(folders_of(self.images))
        self._texts = Paths(name for name in self.archive.files if name.lower().endswith(".txt"))

    def all_of(self, split: Split, paths: Iterable[Written]) -> list[str]:
        """The images of a split, without repetition; a path that is not where it says is a finding."""
        images: dict[str, None] = {}
        for path in paths:
            images.update(dict.fromkeys(self._images_of(path, split)))
        return list(images)

    def _images_of(self, path: Written, split: Split) -> Sequence[str]:
        if len(path.path) > MAX_PATH:
            return ()
        bases = self._bases(path.file)
        if path.path.lower().endswith(".txt"):
            text = self._texts.find(path.path, bases)
            if text is None:
                return ()
            self._repaired(path, text.name, text.repaired)
            return self._listed(text.name)
        folder = self._folders.find(path.path, bases)
        if folder and folder.repaired and folder_split(f"{folder.name}/") not in (None, split):
            folder = None  # valid/images is no repair of train/images
        if folder:
            self._repaired(path, folder.name or ".", folder.repaired or self._is_outside())
            return self._below(folder.name)
        guessed = [image for image in self.images if folder_split(image) == split]
        self._repaired(path, f"the {split} folder", bool(guessed))
        return guessed

    def _below(self, folder: str) -> Sequence[str]:
        return [image for image in self.images if image.startswith(f"{folder}/")] if folder else self.images

    def _is_outside(self) -> bool:
        return (self.root or "").startswith(("/", "\\")) or (self.root or "")[1:2] == ":"

    def _bases(self, file: str) -> list[str]:
        """Where a relative path may start: the description's `path`, its own folder, the top of the upload."""
        own = folder_of(file)
        root = self._folders.find(self.root, (own, "")) if self.root and not self._is_outside() else None
        return list(dict.fromkeys([*([root.name] if root else []), own, ""]))

    def _repaired(self, path: Written, name: str, repaired: bool) -> None:
        if repaired:
            message = f"{path.path[:200]!r} was taken as {name} of the upload"
            self.find(Finding("PATH_REPAIRED", message, path.file, path.line, path.path))

    def _listed(self, file: str) -> list[str]:
        """The images that a text file lists, one a line; one finding says how many were found elsewhere."""
        try:
            lines = list(numbered_lines(read_text(self.archive, file, MAX_LIST_BYTES)))
        except Invalid as error:
            self.find(Finding("LABEL_UNREADABLE", error.message, file))
            return []
        bases, images, repaired = self._bases(file), [], 0
        for line, written in lines:
            found = self._image_paths.find(written, bases) if len(written) <= MAX_PATH else None
            if found is None:
                self.find(Finding("IMAGE_MISSING", "the list names an image that is not there", file, line, written))
                continue
            images.append(found.name)
            repaired += found.repaired
        if repaired:
            message = f"{repaired} of {len(images)} paths of the list were found elsewhere in the upload"
            self.find(Finding("PATH_REPAIRED", message, file))
        return images
