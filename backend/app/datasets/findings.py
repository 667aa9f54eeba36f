"""What an import found: every code with its severity, in one table; docs/datasets.md explains each to the reader.

An error refuses the version, a warning does not (in strict mode it does), a note only tells.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Action(StrEnum):
    """What the import did about it. Of an error: nothing, the version is refused."""

    KEPT = "kept"
    REPAIRED = "repaired"
    DROPPED = "dropped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in one place. `file` is a name in the upload; `value` is shortened by whoever stores it."""

    code: str
    message: str
    file: str | None = None
    line: int | None = None
    value: str | None = None
    action: Action | None = None  # the code's own unless given
    image_id: int | None = None


@dataclass(frozen=True)
class Kind:
    """What all findings of one code have in common; `fix` says what the person can do."""

    severity: Severity
    action: Action
    fix: str


def _error(fix: str) -> Kind:
    return Kind(Severity.ERROR, Action.REFUSED, fix)


def _warning(action: Action, fix: str) -> Kind:
    return Kind(Severity.WARNING, action, fix)


def _note(action: Action, fix: str) -> Kind:
    return Kind(Severity.NOTE, action, fix)


KINDS: dict[str, Kind] = {
    # images
    "IMAGE_UNREADABLE": _warning(Action.DROPPED, "Replace the file with one that an image viewer opens."),
    "IMAGE_TRUNCATED": _warning(Action.DROPPED, "Copy the file again from where it came; its end is missing."),
    "IMAGE_TOO_LARGE": _warning(Action.DROPPED, "Scale the image down or cut it into tiles."),
    "IMAGE_TOO_SMALL": _warning(Action.DROPPED, "Scale it up; trainers take no image of fewer than 10 pixels a side."),
    "IMAGE_FORMAT_UNSUPPORTED": _warning(Action.DROPPED, "Convert it to JPEG, PNG, BMP, WebP or TIFF."),
    "IMAGE_SUFFIX_WRONG": _note(Action.REPAIRED, "Nothing to do; the file has the suffix of its content now."),
    "IMAGE_FRAMES": _warning(Action.REPAIRED, "Its first frame was taken; add the others as files of their own."),
    "IMAGE_COLOUR": _note(Action.REPAIRED, "Nothing to do; it was converted to 8 bits, as trainers read it."),
    "IMAGE_ORIENTATION": _note(Action.REPAIRED, "Nothing to do; the image and its labels are upright now."),
    "IMAGE_CLEANED": _note(Action.REPAIRED, "Nothing to do; what stood around or behind the picture was left out."),
    "IMAGE_SIZE_DISAGREES": _warning(Action.KEPT, "Write the image's real size, or check which image is meant."),
    "IMAGE_MISSING": _warning(Action.DROPPED, "Add the image, or remove it from the annotations."),
    "IMAGE_UNUSED": _warning(Action.DROPPED, "List the image in the annotations, or remove it."),
    "IMAGE_UNLABELLED": _warning(Action.KEPT, "Label it; if it is meant to show nothing, give it an empty label file."),
    "IMAGE_DUPLICATE": _warning(Action.KEPT, "Remove all but one of them."),
    "IMAGE_DUPLICATE_ACROSS_SPLITS": _warning(Action.KEPT, "Keep it in one split: validating on it measures memory."),
    "IMAGE_TWO_LABELS": _warning(Action.KEPT, "Decide which of the labels is right and remove the other image."),
    # labels
    "LABEL_WITHOUT_IMAGE": _warning(Action.DROPPED, "Add the image with the same name, or remove the label."),
    "LABEL_UNREADABLE": _error("Correct the file; it is not what its format says."),
    "LABEL_MALFORMED": _error("Correct the line or entry; its form is described in docs/datasets.md."),
    "LABEL_NOT_FINITE": _warning(Action.DROPPED, "Correct or remove the object; NaN and infinity are no coordinates."),
    "LABEL_DUPLICATE": _warning(Action.DROPPED, "Remove the copy."),
    "LABEL_NOT_FOR_TASK": _warning(Action.DROPPED, "Add the polygon, keypoints or corners that the task needs."),
    "BOX_OUTSIDE": _warning(Action.REPAIRED, "Check the coordinates: pixels or fractions, and of which image size?"),
    "BOX_EMPTY": _warning(Action.DROPPED, "Draw the box again; it has no area."),
    "BOX_ONE_PIXEL": _warning(Action.KEPT, "Draw the box again, if it was a click by mistake."),
    "BOX_CONVENTION": _note(Action.REPAIRED, "Nothing to do; it says from which number the source counts pixels."),
    "LABEL_DETAIL_IGNORED": _note(Action.DROPPED, "Nothing to do; it is no part of a label of this task."),
    "POLYGON_PARTS_LEFT_OUT": _warning(
        Action.REPAIRED, "Remove its specks or make it several objects; a label holds a thousand parts."
    ),
    "MASK_HOLES": _note(Action.REPAIRED, "Nothing to do; an outline has no holes, so they were filled."),
    "POLYGON_TOO_SHORT": _warning(Action.DROPPED, "Give the polygon at least three points."),
    "POLYGON_PARTS_JOINED": _note(
        Action.REPAIRED, "Nothing to do; a label holds one outline, so the parts were joined."
    ),
    "CROWD_SET_ASIDE": _note(Action.KEPT, "Nothing to do; crowd regions stay in the index and are not trained on."),
    "LABEL_CONTRADICTS": _error("Keep one label for the image; it is listed with different ones."),
    "TASK_GUESSED": _warning(Action.KEPT, "Name the task with the import if another one is meant."),
    "NO_LABELS": _error("Label objects in images of the train split; there is nothing to learn without."),
    # classes
    "CLASS_OUT_OF_RANGE": _error("Add the class to the names, or correct the label."),
    "CLASS_UNKNOWN": _error("Add the category to the list of categories, or correct the annotation."),
    "CLASS_NAMES_DISAGREE": _error("Make the number of names, their ids and `nc` agree, in every file."),
    "CLASS_NAME_INVALID": _error(
        "Rename the class: 1 to 200 printable characters; a folder has no '/', '\\' or leading '.'."
    ),
    "CLASS_NAMES_MISSING": _warning(
        Action.REPAIRED, "Add data.yaml with `names`, or classes.txt; until then class numbers stand as names."
    ),
    "CLASS_NAMES_IGNORED": _warning(Action.DROPPED, "Make the two files agree, or remove the one that is not meant."),
    "CLASS_NAMES_ALIKE": _warning(Action.KEPT, "Merge the classes if they mean the same."),
    "CLASS_IDS_RENUMBERED": _note(Action.REPAIRED, "Nothing to do; ids with gaps are numbered from 0 now."),
    "CLASS_NUMBERS_TAKEN": _note(
        Action.REPAIRED, "Nothing to do if the numbers mean what they mean in the version; else name the classes."
    ),
    "CLASS_FOLDERS_NESTED": _warning(
        Action.KEPT, "Nothing to do if the inner folders only sort; else put every class's folder on one level."
    ),
    "CLASS_UNUSED": _note(Action.KEPT, "Label objects of it, or remove it from the names."),
    "CLASS_IMBALANCE": _warning(Action.KEPT, "Add images of the rare class, or merge it with another."),
    "CLASS_MISSING_IN_SPLIT": _warning(Action.KEPT, "Move some images of the class to that split."),
    "CLASS_FOLDER_MISSING": _error("Give each class an image in train and in val, or leave the splits to us."),
    "KEYPOINTS_DISAGREE": _error("Give every category the same number of keypoints, and say it in kpt_shape."),
    # splits
    "SPLIT_MADE": _note(Action.REPAIRED, "Nothing to do; name splits in the dataset if you want others."),
    "SPLIT_OVERLAP": _warning(Action.REPAIRED, "Name each image in one split."),
    "SPLIT_LEFT_OUT": _warning(Action.DROPPED, "Add the images of the split, or remove it from the description."),
    "SPLIT_EMPTY": _error("Give train and val at least one image each; two images are the least a dataset can have."),
    "SPLIT_SINGLE_CLASS": _warning(Action.KEPT, "Spread the classes over the splits, or let the platform make them."),
    # the upload as a whole
    "FORMAT_UNKNOWN": _error("Arrange the files as one of the formats of docs/datasets.md, or name the format."),
    "FORMAT_AMBIGUOUS": _error("Name the format and the task."),
    "NO_IMAGES": _error("Send images with the annotations, in one archive."),
    "NO_CLASSES": _error("Name at least one class."),
    "DATA_YAML_INVALID": _error("Correct data.yaml; names, nc, kpt_shape, flip_idx and the splits are read."),
    "PATH_REPAIRED": _note(Action.REPAIRED, "Nothing to do; the path was found elsewhere in the upload."),
    "DOWNLOAD_IGNORED": _note(Action.DROPPED, "Nothing to do; what a description asks to run is never run."),
    "PATH_NOT_FOUND": _error("Correct the path; it is looked up inside the upload and nowhere else."),
    "NAME_COLLISION": _note(Action.REPAIRED, "Nothing to do; one got a number; names must differ by more than case."),
    "FILE_IGNORED": _note(Action.DROPPED, "Nothing to do; the file is no part of a dataset."),
}
