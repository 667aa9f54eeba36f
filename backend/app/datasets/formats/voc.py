"""Pascal VOC: an XML file for each image, in `Annotations` beside `JPEGImages`, or in one folder with the images.

Corners. The development kit counts pixels from 1 and includes the last: (1, 1, W, H) is the whole image, so that the
outer corners are (xmin - 1, ymin - 1, xmax, ymax). supervision reads all files so; datumaro does where it is told to.
labelImg counts from 0 but writes no 0, so its boxes at the left and upper edges are at 1 too. Other tools write 0,
which the kit cannot, and mean the outer corners themselves, as datumaro reads by default. So the boxes at those edges
decide, for the whole upload: more of them at 0 than at 1, and corners are taken as they stand; else as the kit counts.
Either way no box is off by more than one pixel, on its left and upper side.

Splits are those of `ImageSets/Main`, else of the folders. Classes are numbered in the order of their names. A stated
size of 0 × 0 counts as none.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.datasets.annotations import Annotation, Box, Place
from app.datasets.archives.base import Archive
from app.datasets.draft import Draft, SourceImage
from app.datasets.findings import Finding
from app.datasets.formats.base import Clues, Format
from app.datasets.formats.class_names import accepted_names
from app.datasets.formats.numbers import number, whole
from app.datasets.formats.paths import folder_split, short_names
from app.datasets.formats.voc_files import VocImages, has_lists, listed_splits
from app.datasets.formats.voc_xml import CORNERS, FLAGS, Unreadable, VocFile, VocObject, parse
from app.datasets.frames import Frame, Size, disagreement, frame_of
from app.datasets.mending import add
from app.datasets.work import Wish
from app.errors import Invalid
from app.words import TaskType

MAX_XML_BYTES = 16 * 2**20
HEADS_READ, HEAD = 20, 4096
MAX_POSE = 100  # characters


def recognise(archive: Archive) -> Clues | None:
    """By an XML file with `<annotation>`, else by the folders."""
    xmls = _xmls(archive)
    for name in xmls[:HEADS_READ]:
        if b"<annotation>" in (head := _head(archive, name)) or b"<annotation " in head:
            return Clues(3, f"{name} is an annotation")
    folders = {part for name in xmls for part in name.split("/")[:-1]}
    return Clues(2, "it has XML files in Annotations") if "Annotations" in folders else None


def read(archive: Archive, draft: Draft, wish: Wish) -> None:
    """Boxes alone; other shapes of an object are told and left out."""
    draft.set("task_type", wish.task_type or TaskType.OBJECT_DETECTION)
    images = VocImages(archive, (image.entry for image in draft.images()))
    seen = _survey(archive)
    names = sorted(seen.names)
    draft.set_classes(accepted_names(names, None, draft.find, folders=False))
    if seen.from_zero:
        edges = f"{seen.edges[0]} left and upper edges of boxes are at 0, {seen.edges[1]} at 1"
        message = f"{edges}: corners were taken as counting from 0"
        draft.find(Finding("BOX_CONVENTION", message))
    reader = _Reader(draft, images, {name: class_id for class_id, name in enumerate(names)}, seen.from_zero)
    for xml in _xmls(archive):
        reader.read(archive, xml)
    reader.tell_far()
    _place(archive, draft, images, reader.labels)


FORMAT = Format(name="voc", title="Pascal VOC", tasks=(TaskType.OBJECT_DETECTION,), recognise=recognise, read=read)


def _xmls(archive: Archive) -> list[str]:
    return [name for name in archive.files if name.lower().endswith(".xml")]


def _head(archive: Archive, name: str) -> bytes:
    try:
        return archive.head(name, HEAD)
    except Invalid:
        return b""


def _place(archive: Archive, draft: Draft, images: VocImages, labels: Mapping[str, str]) -> None:
    """All images but masks: in the split of a list, else of a folder; where there are lists they alone count."""
    listed, by_lists = listed_splits(archive, images, draft.find), has_lists(archive)
    names = short_names(images.names)
    for entry in images.names:
        if image := draft.image(entry):
            folder = folder_split(entry) or folder_split(labels.get(entry, ""))
            name = "/".join(part for part in names[entry].split("/") if part != "JPEGImages")
            draft.place(image.id, name, listed.get(entry) if by_lists else folder)


@dataclass
class _Survey:
    """Of all files: the classes, and how many boxes at the left and upper edges are at 0, and at 1."""

    names: set[str] = field(default_factory=set)
    edges: Counter[int] = field(default_factory=Counter)

    @property
    def from_zero(self) -> bool:
        return self.edges[0] > self.edges[1]


def _survey(archive: Archive) -> _Survey:
    """Every file once; what cannot be read is left for the reading itself to tell."""
    seen = _Survey()
    for xml in _xmls(archive):
        try:
            file = parse(archive.read(xml, MAX_XML_BYTES))
        except (Invalid, Unreadable):
            continue
        for found in file.objects if file.root == "annotation" else ():
            if name := _class_name(found):
                seen.names.add(name)
            if (corners := _corners(found)) and all(map(math.isfinite, corners)):
                seen.edges.update(math.floor(low) for low in corners[:2] if 0 <= low < 2)
    return seen


def _class_name(found: VocObject) -> str:
    return unicodedata.normalize("NFC", found.texts.get("name", ""))


def _corners(found: VocObject) -> Box | None:
    """Left, top, right, bottom, as they stand but in this order; None if one is missing or no number."""
    numbers = [number(found.texts.get(f"bndbox/{corner}")) for corner in CORNERS]
    xmin, ymin, xmax, ymax = numbers
    if xmin is None or ymin is None or xmax is None or ymax is None:
        return None
    if not all(map(math.isfinite, (xmin, ymin, xmax, ymax))):
        return xmin, ymin, xmax, ymax
    return min(xmin, xmax), min(ymin, ymax), max(xmin, xmax), max(ymin, ymax)


@dataclass
class _Reader:
    """Reads files into the draft. `labels`: images to the file that labels each."""

    draft: Draft
    images: VocImages
    class_ids: Mapping[str, int]
    from_zero: bool
    labels: dict[str, str] = field(default_factory=dict)
    far: list[str] = field(default_factory=list)

    def read(self, archive: Archive, xml: str) -> None:
        try:
            file = parse(archive.read(xml, MAX_XML_BYTES))
        except Invalid as error:
            self.draft.find(Finding("LABEL_UNREADABLE", error.message, xml))
            return
        except Unreadable as error:
            self.draft.find(Finding("LABEL_UNREADABLE", f"the file {error.message}", xml, error.line))
            return
        if file.root != "annotation":
            message = f"its outermost element is <{file.root}>, not <annotation>"
            self.draft.find(Finding("FILE_IGNORED", message, xml))
            return
        entry = self._image_of(xml, file)
        image = self.draft.image(entry) if entry else None
        if image:
            self._read_objects(xml, file, image)

    def _image_of(self, xml: str, file: VocFile) -> str | None:
        """The image's name, once; what is wrong with it is found. A broken one has its finding already."""
        filename = file.texts.get("filename", "")
        found = self.images.of_xml(xml, filename)
        if found is None:
            message = f"there is no image called as the file, nor {filename!r}"
            self.draft.find(Finding("LABEL_WITHOUT_IMAGE", message, xml, value=filename))
            return None
        if found.name in self.labels:
            message = f"{found.name} is labelled by {self.labels[found.name]} already"
            self.draft.find(Finding("LABEL_CONTRADICTS", message, xml, value=filename))
            return None
        self.labels[found.name] = xml
        if found.repaired:
            self.far.append(xml)
        elif filename and _stem(filename) not in ("", _stem(found.name)):
            message = f"it says filename {filename!r}; {found.name}, which is called as the file, was taken"
            self.draft.find(Finding("PATH_REPAIRED", message, xml, value=filename))
        return found.name

    def tell_far(self) -> None:
        if self.far:
            message = f"the images of {len(self.far)} files were found by their names alone, in another folder"
            self.draft.find(Finding("PATH_REPAIRED", message, self.far[0]))

    def _read_objects(self, xml: str, file: VocFile, image: SourceImage) -> None:
        stated = _stated_size(file)
        if problem := disagreement(image, stated):
            value = f"{stated[0]} × {stated[1]}" if stated else None
            self.draft.find(Finding("IMAGE_SIZE_DISAGREES", f"it {problem}", xml, value=value, image_id=image.id))
        frame = frame_of(image, stated)
        for found in file.objects:
            self._read_object(xml, found, image, frame)
        if not file.objects:
            self.draft.mark_background(image.id)
        if left_out := sorted({tag for found in file.objects for tag in found.left_out}):
            message = f"only boxes are read; left out: {', '.join(left_out)}"
            self.draft.find(Finding("LABEL_DETAIL_IGNORED", message, xml, image_id=image.id))

    def _read_object(self, xml: str, found: VocObject, image: SourceImage, frame: Frame) -> None:
        value = _shown(found)
        name, corners, problem = _class_name(found), _corners(found), _problem(found)
        if problem or corners is None:
            finding = Finding("LABEL_MALFORMED", problem or _BOX_PROBLEM, xml, found.line, value, image_id=image.id)
            self.draft.find(finding)
            return
        x1, y1, x2, y2 = corners
        if not self.from_zero:
            if x1 == x2 or y1 == y2:
                message = "the box is one pixel wide or high; it was kept"
                self.draft.find(Finding("BOX_ONE_PIXEL", message, xml, found.line, value, image_id=image.id))
            x1, y1 = (low - 1 if low >= 1 else min(low, 0.0) for low in (x1, y1))
        box = frame.box(x1, y1, x2, y2)
        add(
            self.draft,
            image,
            Annotation(self.class_ids[name], box, attributes=_attributes(found)),
            Place(xml, found.line, value),
        )


_BOX_PROBLEM = "an object needs a bndbox with four numbers, xmin, ymin, xmax and ymax"


def _problem(found: VocObject) -> str | None:
    """Why it is no object."""
    if not _class_name(found):
        return "an object needs a name"
    return f"the object has {found.twice} twice" if found.twice else None


def _shown(found: VocObject) -> str:
    corners = " ".join(found.texts.get(f"bndbox/{corner}", "?") for corner in CORNERS)
    return f"{_class_name(found) or '?'} {corners}"


def _attributes(found: VocObject) -> dict[str, bool | int | str]:
    """The flags that are set, and the pose if there is one."""
    flags: dict[str, bool | int | str] = {
        flag: True for flag in FLAGS if found.texts.get(flag, "").lower() in ("1", "true", "yes")
    }
    pose = found.texts.get("pose", "")[:MAX_POSE]
    return flags | ({"pose": pose} if pose and pose.lower() != "unspecified" else {})


def _stated_size(file: VocFile) -> Size | None:
    width, height = (whole(file.texts.get(f"size/{side}")) for side in ("width", "height"))
    return (width, height) if width and height and width > 0 and height > 0 else None


def _stem(path: str) -> str:
    name = unicodedata.normalize("NFC", path).replace("\\", "/").rpartition("/")[2]
    return name[: name.rfind(".")] if "." in name else name
