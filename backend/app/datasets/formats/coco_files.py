"""Which JSON files of an upload are COCO annotations, and of which split."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from app.datasets.archives.base import Archive
from app.datasets.findings import Finding
from app.datasets.formats.class_names import Find
from app.datasets.formats.paths import folder_split, split_of
from app.datasets.work import SPLITS, Split, Wish
from app.errors import Invalid
from app.words import TaskType

HEAD = 2**16
_ARRAYS = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_WORDS = re.compile(r"[^A-Za-z0-9]+")
_OTHERS = ("captions_", "panoptic_", "stuff_")
POSES, INSTANCES = "person_keypoints_", "instances_"


@dataclass(frozen=True, slots=True)
class CocoFile:
    name: str
    split: Split | None


def json_names(archive: Archive) -> list[str]:
    return [name for name in archive.files if name.lower().endswith(".json")]


def is_coco(archive: Archive, name: str) -> bool:
    """Whether it begins as an object with one of COCO's lists in sight."""
    try:
        head = archive.head(name, HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    except Invalid:
        return False
    return head.startswith(b"{") and _ARRAYS.search(head) is not None


def annotation_files(archive: Archive, wish: Wish, find: Find) -> list[CocoFile]:
    """Train first, then val, test and those without a split. Where none looks like COCO, all JSON files are tried."""
    names = json_names(archive)
    names = [name for name in names if is_coco(archive, name)] or names
    files = [CocoFile(name, split_of_file(name)) for name in _of_boxes(names, wish, find)]
    return sorted(files, key=lambda file: SPLITS.index(file.split) if file.split else len(SPLITS))


def split_of_file(name: str) -> Split | None:
    """What its own name says (instances_train2017.json), else its folder (train/_annotations.coco.json)."""
    words = {split for word in _WORDS.split(PurePosixPath(name).stem) if (split := split_of(word))}
    return words.pop() if len(words) == 1 else folder_split(name)


def _of_boxes(names: list[str], wish: Wish, find: Find) -> list[str]:
    """Without the files of COCO's other challenges; and instances or poses, since both label the same images."""
    kept = []
    has_both = all(any(_base(name).startswith(family) for name in names) for family in (POSES, INSTANCES))
    unwanted = INSTANCES if wish.task_type is TaskType.POSE_ESTIMATION else POSES
    for name in names:
        if _base(name).startswith(_OTHERS):
            find(Finding("FILE_IGNORED", "captions, stuff and panoptic annotations are not read", name))
        elif has_both and _base(name).startswith(unwanted):
            task = "pose_estimation" if unwanted == POSES else "instance_segmentation"
            find(Finding("FILE_IGNORED", f"it labels the same images for another task; it is read for {task}", name))
        else:
            kept.append(name)
    return kept


def _base(name: str) -> str:
    return PurePosixPath(name).name.lower()
