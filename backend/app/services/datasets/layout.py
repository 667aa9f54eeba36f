"""The canonical layout, found in the names of an archive: which file is an image of which split, with which labels.

Detection-like tasks: `images/{split}/…`, `labels/{split}/…` and data.yaml. Classification: `{split}/{class}/…`.
All of it may lie one folder deep. Other formats will be further readers that answer the same `Layout`.
"""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from app.services.datasets.problems import Problems
from app.words import TaskType

SPLITS = ("train", "val", "test")
REQUIRED_SPLITS = ("train", "val")
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
DATA_YAML = ("data.yaml", "data.yml")
JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})


@dataclass
class Layout:
    """Canonical path to the name in the archive, for every file that goes into the dataset."""

    images: dict[str, list[str]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    labels: dict[str, list[str]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    sources: dict[str, str] = field(default_factory=dict)
    data_yaml: str | None = None
    ignored: int = 0

    @property
    def splits(self) -> list[str]:
        return [split for split in SPLITS if self.images[split]]


def find_layout(names: list[str], task_type: TaskType) -> Layout:
    """Sort an archive's names into splits. `Invalid` lists what is missing or in a wrong place."""
    wanted = [name for name in names if not _is_junk(name)]
    top = set(SPLITS) if task_type is TaskType.IMAGE_CLASSIFICATION else {"images", "labels", *DATA_YAML}
    prefix = _common_folder(wanted, top)
    layout, problems = Layout(ignored=len(names) - len(wanted)), Problems()
    place = _place_in_classes if task_type is TaskType.IMAGE_CLASSIFICATION else _place_in_yolo
    for name in sorted(wanted):
        path = name.removeprefix(prefix)
        if place(layout, path, problems):
            layout.sources[path] = name
        elif path not in DATA_YAML:
            layout.ignored += 1
    if layout.data_yaml:
        layout.data_yaml = prefix + layout.data_yaml
    _check(layout, task_type, problems)
    return layout


def _is_junk(name: str) -> bool:
    return any(part in JUNK or part.startswith(".") for part in name.split("/"))


def _common_folder(names: list[str], top: set[str]) -> str:
    """`folder/` where everything lies in one folder that is not itself part of the layout, else nothing."""
    first = {name.partition("/")[0] for name in names}
    return f"{first.pop()}/" if len(first) == 1 and first.isdisjoint(top) else ""


def _place_in_yolo(layout: Layout, path: str, problems: Problems) -> bool:
    kind, _, rest = path.partition("/")
    if path in DATA_YAML:
        layout.data_yaml = layout.data_yaml or path
        return False
    if kind not in ("images", "labels") or not rest:
        return False
    split, _, inner = rest.partition("/")
    if kind == "labels" and path.endswith(".cache"):
        return False  # Ultralytics' own, and a pickle: never handed on
    if split not in SPLITS or not inner:
        problems.add(path, split, f"lies in no split; use {kind}/{{{','.join(SPLITS)}}}/…")
        return False
    if kind == "images":
        return _add_image(layout, path, split, problems)
    if not path.endswith(".txt"):
        problems.add(path, PurePosixPath(path).suffix, "is not a label file; use .txt")
        return False
    layout.labels[split].append(path)
    return True


def _place_in_classes(layout: Layout, path: str, problems: Problems) -> bool:
    split, *folders, _ = path.split("/")
    if split not in SPLITS:
        return False
    if len(folders) != 1:
        problems.add(path, path, "does not lie in a class folder; use {split}/{class}/{file}")
        return False
    return _add_image(layout, path, split, problems)


def _add_image(layout: Layout, path: str, split: str, problems: Problems) -> bool:
    suffix = PurePosixPath(path).suffix
    if suffix.lower() not in IMAGE_SUFFIXES:
        problems.add(path, suffix, f"is not an image that trainers read; use {' '.join(sorted(IMAGE_SUFFIXES))}")
        return False
    layout.images[split].append(path)
    return True


def _check(layout: Layout, task_type: TaskType, problems: Problems) -> None:
    if task_type is TaskType.IMAGE_CLASSIFICATION:
        _check_classes(layout, problems)
        folder = "{split}/{class}/"
    else:
        _check_pairs(layout, problems)
        folder = "images/{split}/"
    for split in REQUIRED_SPLITS:
        if not layout.images[split]:
            where = folder.replace("{split}", split)
            problems.add(where, None, f"the {split} split has no images; training needs train and val")
    if task_type is not TaskType.IMAGE_CLASSIFICATION and layout.data_yaml is None:
        problems.add("data.yaml", None, "is missing beside images/; it holds `names`, the list of classes")
    problems.raise_if_any("the archive is not in the canonical layout")


def _check_pairs(layout: Layout, problems: Problems) -> None:
    """Every label has its image, and no two images share one label."""
    for split in SPLITS:
        owners: dict[str, str] = {}
        for image in layout.images[split]:
            label = label_of(image)
            if label in owners:
                problems.add(image, image, f"has the same label file as {owners[label]}; rename one")
            owners[label] = image
        for label in layout.labels[split]:
            if label not in owners:
                problems.add(label, label, f"labels an image that is not in images/{split}")


def _check_classes(layout: Layout, problems: Problems) -> None:
    """Trainers number classes by the folders of each split, so those that they read have the same ones."""
    known = class_names(layout)
    for split in REQUIRED_SPLITS:
        found = {class_of(image) for image in layout.images[split]}
        for name in sorted(set(known) - found) if found else []:
            problems.add(f"{split}/{name}", name, f"the {split} split has no images of class {name!r}")


def label_of(image: str) -> str:
    """`images/train/a/b.jpg` is labelled by `labels/train/a/b.txt`."""
    return str(PurePosixPath("labels" + image.removeprefix("images")).with_suffix(".txt"))


def class_of(image: str) -> str:
    return image.split("/")[1]


def class_names(layout: Layout) -> list[str]:
    """The classes of a classification dataset: its folders, in the order that trainers number them."""
    return sorted({class_of(image) for split in SPLITS for image in layout.images[split]})
