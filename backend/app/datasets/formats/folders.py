"""Classification by folders: `{class}/…`, `{split}/{class}/…` or `{class}/{split}/…`, below any common folder.

The class is the first folder (below the split), as torchvision reads it; folders inside it only sort, and say so in a
finding, since somebody may have meant them. Folders are splits where all of them are called so, or two that hold
further folders; so `train` beside `bus` and `car` is a vehicle.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.datasets.annotations import Annotation, Place
from app.datasets.archives.base import Archive
from app.datasets.draft import Draft
from app.datasets.findings import Finding
from app.datasets.formats.base import Clues, Format
from app.datasets.formats.class_names import accepted_names
from app.datasets.formats.paths import is_image, split_of
from app.datasets.mending import add
from app.datasets.work import Split, Wish
from app.words import TaskType

_LABEL_SUFFIXES = (".txt", ".xml", ".json")
_NEVER_CLASSES = frozenset({"images", "labels", "annotations"})


@dataclass(frozen=True, slots=True)
class Member:
    """An image of a class; `name` is its path below the class's folder."""

    split: Split | None
    class_name: str
    name: str


def recognise(archive: Archive) -> Clues | None:
    """By two class folders or more. Many label files beside the images speak for another format."""
    images = [name for name in archive.files if is_image(name)]
    classes = {member.class_name for member in arrange(images).values()} - _NEVER_CLASSES
    if len(classes) < 2:
        return None
    labels = sum(name.lower().endswith(_LABEL_SUFFIXES) for name in archive.files)
    reason = f"images lie in {len(classes)} class folders"
    return Clues(1, f"{reason}, beside {labels} other files") if labels * 2 >= len(images) else Clues(2, reason)


def read(archive: Archive, draft: Draft, wish: Wish) -> None:
    """One class an image; images that lie in no class folder are left out, each with a finding."""
    draft.set("task_type", TaskType.IMAGE_CLASSIFICATION)
    images = list(draft.images())
    members = arrange(_known(archive, [image.entry for image in images]))
    written = sorted({members[image.entry].class_name for image in images if image.entry in members})
    names = accepted_names(written, None, draft.find, folders=True)
    draft.set_classes(names)
    numbers = {name: number for number, name in enumerate(written)}
    for image in images:
        member = members.get(image.entry)
        if member is None:
            draft.find(Finding("IMAGE_UNUSED", "the image lies in no class folder", image.entry, image_id=image.id))
            continue
        draft.place(image.id, member.name, member.split)
        add(draft, image, Annotation(numbers[member.class_name]), Place(image.entry, value=member.class_name))
    _tell_nested(draft, members)


FORMAT = Format(
    name="folders",
    title="a folder per class",
    tasks=(TaskType.IMAGE_CLASSIFICATION,),
    recognise=recognise,
    read=read,
)


def _known(archive: Archive, inspected: Iterable[str]) -> list[str]:
    """All images by name or by content: broken ones count as neighbours, too."""
    return sorted({*inspected, *filter(is_image, archive.files)}, key=str.encode)


def arrange(images: Sequence[str]) -> dict[str, Member]:
    """Split and class of each image; those in no class folder are absent."""
    common = _common_depth(images)
    paths = {image: image.split("/")[common:] for image in images}
    if _has_split_folders(list(paths.values())):
        return {
            image: Member(split, parts[1], "/".join(parts[2:]))
            for image, parts in paths.items()
            if len(parts) > 2 and (split := split_of(parts[0]))
        }
    in_classes = {image: parts for image, parts in paths.items() if len(parts) > 1}
    if in_classes and all(len(parts) > 2 and split_of(parts[1]) for parts in in_classes.values()):
        return {i: Member(split_of(parts[1]), parts[0], "/".join(parts[2:])) for i, parts in in_classes.items()}
    return {image: Member(None, parts[0], "/".join(parts[1:])) for image, parts in in_classes.items()}


def _common_depth(images: Sequence[str]) -> int:
    """How many folders all images share and that mean nothing; a lone class folder does."""
    folders = [image.split("/")[:-1] for image in images]
    depth = 0
    while folders and all(len(parts) > depth + 1 for parts in folders):
        tops = {parts[depth] for parts in folders}
        if len(tops) > 1 or split_of(next(iter(tops))):
            break
        depth += 1
    return depth


def _has_split_folders(paths: Sequence[Sequence[str]]) -> bool:
    tops = {parts[0] for parts in paths if len(parts) > 1}
    with_classes = {split_of(parts[0]) for parts in paths if len(parts) > 2} - {None}
    return bool(tops) and (all(map(split_of, tops)) or len(with_classes) > 1)


def _tell_nested(draft: Draft, members: dict[str, Member]) -> None:
    nested = {member.class_name: image for image, member in members.items() if "/" in member.name}
    for class_name, image in sorted(nested.items()):
        message = f"images in folders inside {class_name!r} count to that class"
        draft.find(Finding("CLASS_FOLDERS_NESTED", message, image, value=class_name))
