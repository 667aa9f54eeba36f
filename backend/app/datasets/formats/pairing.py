"""Which text file labels which image, wherever the two folders lie; what of the text files is something else."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from app.datasets.archives.base import Archive
from app.datasets.formats.paths import folder_of, folder_split, is_image
from app.datasets.formats.split_paths import list_split
from app.errors import Invalid

_NAMES_FILES = frozenset({"classes.txt", "obj.names"})
_HEAD = 4096


@dataclass
class Files:
    """The files of a YOLO dataset. `labels`: image to label file, absent where it has none."""

    images: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)  # label files of no image
    lists: list[str] = field(default_factory=list)  # of image paths
    names: list[str] = field(default_factory=list)  # of classes
    far: list[str] = field(default_factory=list)  # paired by their names alone


def sort_files(archive: Archive, inspected: Iterable[str] = ()) -> Files:
    """Images with their labels. `inspected`: images that the suffix does not show."""
    files = Files(images=sorted({*inspected, *filter(is_image, archive.files)}, key=str.encode))
    texts = {name for name in archive.files if name.lower().endswith((".txt", ".names"))}
    files.names = sorted(name for name in texts if _is_names_file(name))
    free = {_key(name): name for name in sorted(texts - set(files.names))}
    used: set[str] = set()
    for image in files.images:
        label = next((free[key] for key in _label_keys(image) if key in free), None)
        if label:
            files.labels[image] = label
            used.add(label)
    _pair_by_stem(files, [name for name in free.values() if name not in used], used)
    _sort_rest(archive, files, sorted(texts - set(files.names) - used))
    return files


def _is_names_file(name: str) -> bool:
    base = name.rpartition("/")[2].lower()
    return base in _NAMES_FILES or base.endswith(".names")


def _key(name: str) -> str:
    """A label's name without its suffix, with `labels` told apart from nothing but case."""
    folder, _, base = name.rpartition("/")
    parts = [part.lower() if part.lower() in ("labels", "images") else part for part in folder.split("/")]
    return "/".join([*parts, base[: base.rfind(".")]])


def _label_keys(image: str) -> Sequence[str]:
    """Beside the image, or where `labels` stands for the last (or, nested, the first) folder called `images`."""
    key = _key(image)
    parts = key.split("/")
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    swapped = ["/".join([*parts[:place], "labels", *parts[place + 1 :]]) for place in (places[-1:] + places[:1])]
    return [*swapped, key]


def _pair_by_stem(files: Files, unused: Sequence[str], used: set[str]) -> None:
    """JPEGImages/a.jpg and labels/a.txt: where one image and one label have a name, and no split speaks against it."""
    labels = _unique(name for name in unused if _is_in_labels(name))
    images = _unique(image for image in files.images if image not in files.labels)
    for stem in sorted(labels.keys() & images.keys()):
        label, image = labels[stem], images[stem]
        if folder_split(label) in (None, folder_split(image)) or folder_split(image) is None:
            files.labels[image] = label
            files.far.append(image)
            used.add(label)


def _unique(names: Iterable[str]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    twice: set[str] = set()
    for name in names:
        stem = PurePosixPath(name).stem
        if found.setdefault(stem, name) != name:
            twice.add(stem)
    return {stem: name for stem, name in found.items() if stem not in twice}


def _is_in_labels(name: str) -> bool:
    return "labels" in folder_of(name).lower().split("/")


def _sort_rest(archive: Archive, files: Files, rest: Iterable[str]) -> None:
    """Text files of no image: lists of images, labels whose image is missing, or nothing of ours."""
    for name in rest:
        if _is_in_labels(name) or (list_split(name) is None and looks_like_labels(archive, name)):
            files.orphans.append(name)
        elif list_split(name):
            files.lists.append(name)


def looks_like_labels(archive: Archive, name: str) -> bool:
    """Whether the first line is five numbers or more; a file without lines is not."""
    try:
        words = archive.head(name, _HEAD).decode("utf-8-sig", "replace").strip().split("\n")[0].split()
    except Invalid:
        return False
    if len(words) < 5:
        return False
    try:
        return all(float(word) == float(word) for word in words[:5])
    except ValueError:
        return False
