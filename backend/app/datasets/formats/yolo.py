"""YOLO, as Ultralytics, Roboflow, CVAT, Label Studio and darknet write it: a text file for each image.

It lies beside the image or in parallel folders: `images/{split}`, `{split}/images`, one for all, or as data.yaml or
lists name them. An empty label file says that an image shows nothing; an image without one is unlabelled.
"""

from collections.abc import Mapping

from app.datasets.annotations import Place
from app.datasets.archives.base import Archive
from app.datasets.draft import Draft, SourceImage
from app.datasets.findings import Finding
from app.datasets.formats.base import Clues, Format
from app.datasets.formats.class_names import accepted_names
from app.datasets.formats.description import Description, candidates, find_description
from app.datasets.formats.lines import Refused, Rules, annotation_of
from app.datasets.formats.name_files import names_of_files
from app.datasets.formats.pairing import Files, looks_like_labels, sort_files
from app.datasets.formats.paths import short_names
from app.datasets.formats.split_paths import assign
from app.datasets.formats.survey import Survey, inferred_kpt_shape, label_lines, recognised_task, survey
from app.datasets.mending import add
from app.datasets.work import Wish
from app.errors import Invalid
from app.words import TaskType

HEADS_READ = 20


def recognise(archive: Archive) -> Clues | None:
    """By a description with class names, else by label files of images."""
    if described := candidates(archive) or [name for name in archive.files if name.lower().endswith("obj.data")]:
        return Clues(3, f"{described[0]} describes one")
    files = sort_files(archive)
    labels = list(files.labels.values())[:HEADS_READ]
    if any(looks_like_labels(archive, label) for label in labels):
        return Clues(2, f"{labels[0]} labels an image")
    return None


def read(archive: Archive, draft: Draft, wish: Wish) -> None:
    """Detection, segmentation, poses or oriented boxes; which, the wish says, else the description, else the lines."""
    description = find_description(archive, draft.find)
    images = {image.entry: image for image in draft.images()}
    files = sort_files(archive, images)
    is_told = _is_told(wish, description)
    seen = Survey() if is_told else survey(archive, dict.fromkeys(files.labels.values()))
    rules = _rules(archive, draft, wish, files, seen, description)
    splits = assign(archive, files.images, files.lists, description, draft.find)
    names = short_names(list(images))
    for entry, image in images.items():
        if entry in splits:
            draft.place(image.id, names[entry], splits[entry])
            if rules and entry in files.labels:
                _read_label(archive, draft, image, files.labels[entry], rules)
    _tell_rest(draft, files)


FORMAT = Format(
    name="yolo",
    title="YOLO",
    tasks=(
        TaskType.OBJECT_DETECTION,
        TaskType.INSTANCE_SEGMENTATION,
        TaskType.POSE_ESTIMATION,
        TaskType.ORIENTED_OBJECT_DETECTION,
    ),
    recognise=recognise,
    read=read,
)


def _is_told(wish: Wish, description: Description | None) -> bool:
    """Whether task and classes are known before a label is read, so that reading each once will do."""
    task = wish.task_type or (description and (description.kpt_shape or description.task))
    if task is TaskType.POSE_ESTIMATION and not (description and description.kpt_shape):
        return False
    return bool(task and description and description.names is not None)


def _rules(
    archive: Archive, draft: Draft, wish: Wish, files: Files, seen: Survey, description: Description | None
) -> Rules | None:
    """Task, classes and keypoints, set in the draft too; None if the labels cannot be read without what is missing."""
    task, guess = (wish.task_type, None) if wish.task_type else recognised_task(seen, description)
    if guess:
        draft.find(Finding("TASK_GUESSED", guess))
    draft.set("task_type", task)
    names, ids = _classes(archive, draft, files, seen, description)
    draft.set_classes(names)
    shape = description.kpt_shape if description else None
    if task is TaskType.POSE_ESTIMATION:
        shape = shape or _guessed_shape(draft, seen)
        draft.set("kpt_shape", shape)
        draft.set("flip_idx", description.flip_idx if description else None)
        if shape is None:
            return None
    return Rules(task, ids, shape)


def _guessed_shape(draft: Draft, seen: Survey) -> tuple[int, int] | None:
    shape = inferred_kpt_shape(seen)
    if shape:
        draft.find(Finding("TASK_GUESSED", f"kpt_shape is not given; all lines fit {shape[0]} keypoints of {shape[1]}"))
    else:
        message = "kpt_shape is not given, and the lines do not agree on a number of keypoints"
        draft.find(Finding("KEYPOINTS_DISAGREE", message))
    return shape


def _classes(
    archive: Archive, draft: Draft, files: Files, seen: Survey, description: Description | None
) -> tuple[list[str], Mapping[int, int]]:
    """Names, and what labels call them: of the description, of a file of names, else the numbers themselves."""
    named = names_of_files(archive, files.names, description, draft.find)
    if description and description.names is not None and description.ids is not None:
        return accepted_names(description.names, description.file, draft.find, folders=False), description.ids
    if named:
        names = accepted_names(named.names, named.file, draft.find, folders=False)
    else:
        names = [str(number) for number in range(max(seen.classes, default=-1) + 1)]
        if not (description and description.broken):
            message = f"nothing names the classes; the {len(names)} numbers of the labels stand for them"
            draft.find(Finding("CLASS_NAMES_MISSING", message) if names else Finding("NO_CLASSES", "there is no label"))
    return names, {number: number for number in range(len(names))}


def _read_label(archive: Archive, draft: Draft, image: SourceImage, label: str, rules: Rules) -> None:
    is_background = True
    try:
        for number, line in label_lines(archive, label):
            is_background = False
            _read_line(draft, image, Place(label, number, line), rules)
    except Invalid as error:
        draft.find(Finding("LABEL_UNREADABLE", error.message, label, image_id=image.id))
    else:
        if is_background:
            draft.mark_background(image.id)


def _read_line(draft: Draft, image: SourceImage, place: Place, rules: Rules) -> None:
    try:
        annotation = annotation_of(place.value or "", rules)
    except Refused as refused:
        draft.find(Finding(refused.code, refused.message, place.file, place.line, place.value, image_id=image.id))
    else:
        add(draft, image, annotation, place)


def _tell_rest(draft: Draft, files: Files) -> None:
    for label in files.orphans:
        draft.find(Finding("LABEL_WITHOUT_IMAGE", "no image of the upload has this name", label))
    if files.far:
        message = f"{len(files.far)} labels were found by their names alone, in another folder than expected"
        draft.find(Finding("PATH_REPAIRED", message, files.labels[files.far[0]]))
