"""What is wrong with a dataset as a whole, found by passes over the draft.

Extreme imbalance: a class with fewer than a hundredth of the objects of the commonest one.
"""

from collections import Counter
from collections.abc import Iterable

from app.datasets.classes import sort_used
from app.datasets.draft import Draft
from app.datasets.findings import Action, Finding
from app.datasets.work import SPLITS, Split
from app.words import TaskType

IMBALANCE = 100
TRAINED: tuple[Split, ...] = ("train", "val")
Shown = dict[Split, Counter[str]]  # objects, in classification images, of every class that a split shows


def tidy(draft: Draft, unread: Iterable[str], junk: int, *, tell_unused: bool) -> None:
    """Before there are splits: leave out what belongs nowhere, number the classes as trainers do.

    `unread`: files of the upload that nobody looked into; `junk`: how many more were none from the start.
    `tell_unused` is False where the reader has named the images that it left out.
    """
    if tell_unused:
        _find_images(draft, "name IS NULL", "IMAGE_UNUSED", "nothing in the upload says where the image belongs")
    draft.connection.execute("DELETE FROM images WHERE name IS NULL")
    for name in unread:
        draft.find(Finding("FILE_IGNORED", "the file is neither an image nor a part of the labels", name))
    if junk:
        message = "files were left out: hidden ones, what operating systems leave behind, archives in the archive"
        draft.find(Finding("FILE_IGNORED", f"{junk} {message}", value=str(junk)))
    if draft.task_type is TaskType.IMAGE_CLASSIFICATION:
        _tidy_classification(draft)


def check(draft: Draft) -> None:
    """When every image has its split: what to tell of splits, classes and labels."""
    if not draft.connection.execute("SELECT 1 FROM images").fetchone():
        draft.find(Finding("NO_IMAGES", "no image that can be read is left in the dataset"))
        return
    if not draft.classes:
        draft.find(Finding("NO_CLASSES", "the dataset has no class"))
        return
    shown = _shown(draft)
    _check_splits(draft, shown)
    _check_classes(draft, shown)
    if draft.task_type is TaskType.IMAGE_CLASSIFICATION:
        return
    _find_images(
        draft,
        "NOT background AND id NOT IN (SELECT image_id FROM annotations)",
        "IMAGE_UNLABELLED",
        "the image has no labelled object, and nothing says that it shows none",
    )
    if draft.task_type is TaskType.INSTANCE_SEGMENTATION:
        _find_joined(draft)


def _find_images(draft: Draft, condition: str, code: str, message: str, action: Action | None = None) -> None:
    query = f"SELECT id, entry FROM images WHERE {condition} ORDER BY archive, entry"
    for image_id, entry in draft.connection.execute(query):
        draft.find(Finding(code, message, entry, image_id=image_id, action=action))


def _tidy_classification(draft: Draft) -> None:
    """An image without a class has no folder, and a class without an image would be none to a trainer."""
    without = "id NOT IN (SELECT image_id FROM annotations)"
    _find_images(draft, without, "IMAGE_UNLABELLED", "the image has no class", Action.DROPPED)
    draft.connection.execute(f"DELETE FROM images WHERE {without}")
    for name in sort_used(draft):
        message = f"class {name!r} has no image, so it is no class of the dataset"
        draft.find(Finding("CLASS_UNUSED", message, value=name, action=Action.DROPPED))


def _shown(draft: Draft) -> Shown:
    query = (
        "SELECT split, classes.name, count(*) FROM annotations JOIN images ON images.id = image_id "
        "JOIN classes ON classes.id = class_id WHERE NOT crowd GROUP BY split, class_id ORDER BY class_id"
    )
    shown: Shown = {}
    for split, name, count in draft.connection.execute(query):
        shown.setdefault(split, Counter())[name] = count
    return shown


def _check_splits(draft: Draft, shown: Shown) -> None:
    used = {split for (split,) in draft.connection.execute("SELECT DISTINCT split FROM images")}
    for split in TRAINED:
        if split not in used:
            draft.find(Finding("SPLIT_EMPTY", f"the {split} split has no images; training needs train and val"))
    if "train" in used and not shown.get("train"):
        draft.find(Finding("NO_LABELS", "no image of the train split has a labelled object"))
    classes = set().union(*shown.values())
    for split in SPLITS:
        if len(classes) > 1 and len(shown.get(split, ())) == 1:
            (name,) = shown[split]
            message = f"the {split} split shows class {name!r} alone, of {len(classes)} classes"
            draft.find(Finding("SPLIT_SINGLE_CLASS", message, value=split))
    for split in (split for split in SPLITS if split in used):
        _check_missing(draft, split, classes - set(shown.get(split, ())))


def _check_missing(draft: Draft, split: Split, missing: set[str]) -> None:
    """Trainers of classifiers number classes by the folders of train and of val, so both must have all of them."""
    is_folder = draft.task_type is TaskType.IMAGE_CLASSIFICATION and split in TRAINED
    for name in sorted(missing):
        if is_folder:
            message = f"the {split} split has no image of class {name!r}; trainers number classes by their folders"
            draft.find(Finding("CLASS_FOLDER_MISSING", message, f"{split}/{name}", value=name))
        else:
            message = f"the {split} split shows no object of class {name!r}, another split does"
            draft.find(Finding("CLASS_MISSING_IN_SPLIT", message, value=name))


def _check_classes(draft: Draft, shown: Shown) -> None:
    totals: Counter[str] = sum(shown.values(), Counter())
    for name in draft.classes:
        if name not in totals:
            draft.find(Finding("CLASS_UNUSED", f"no object of class {name!r} is labelled", value=name))
    if not totals:
        return
    (commonest, most), *_ = totals.most_common()
    for name, count in totals.items():
        if count * IMBALANCE < most:
            message = f"class {name!r} has {count} objects and {commonest!r} {most}, over {IMBALANCE} times as many"
            draft.find(Finding("CLASS_IMBALANCE", message, value=name))


def _find_joined(draft: Draft) -> None:
    query = (
        "SELECT images.id, entry, json_array_length(polygons) AS parts FROM annotations "
        "JOIN images ON images.id = image_id WHERE NOT crowd AND parts > 1 ORDER BY archive, entry, annotations.id"
    )
    for image_id, entry, parts in draft.connection.execute(query):
        message = f"an object has {parts} outlines; its label goes through all of them"
        draft.find(Finding("POLYGON_PARTS_JOINED", message, entry, value=str(parts), image_id=image_id))
