"""Pascal VOC: `JPEGImages/`, `Annotations/{id}.xml`, `ImageSets/Main/{split}.txt`.

Format: the VOC 2012 development kit. It has whole pixels only, counted from 1, the last included: the outer corners
are rounded to the nearest, and the left and upper ones grow by 1, as formats/voc.py reads them. Ids are flat: folders
of a name become `_`, and what two splits both have gets the split in front.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import PurePosixPath
from xml.etree import ElementTree

from app.datasets.annotations import Annotation
from app.datasets.exports.base import Export, ExportedFile, OpenImage
from app.datasets.index import Index, IndexedImage
from app.datasets.work import SPLITS
from app.words import TaskType

FLAGS = ("truncated", "difficult", "occluded")


def _files(index: Index, open_image: OpenImage) -> Iterator[ExportedFile]:
    names, classes = _Ids(), index.classes
    for split in SPLITS:
        listed = []
        for image in index.every_image(split):
            listed.append(own := names.take(image))
            file = f"{own}{PurePosixPath(image.name).suffix}"
            yield ExportedFile(f"JPEGImages/{file}", open_image(image), image.size)
            objects = [annotation for _, annotation in index.annotations(image.id) if not annotation.crowd]
            yield ExportedFile(f"Annotations/{own}.xml", iter([_xml(file, image, objects, classes)]))
        if listed:
            yield ExportedFile(f"ImageSets/Main/{split}.txt", iter(["\n".join([*listed, ""]).encode()]))


EXPORT = Export((TaskType.OBJECT_DETECTION,), _files)


class _Ids:
    """Gives each image an id that no other has, also where case does not count."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, image: IndexedImage) -> str:
        own = str(PurePosixPath(image.name).with_suffix("")).replace("/", "_")
        split = f"{image.split}_{own}"
        for name in chain((own, split), (f"{split}_{number}" for number in range(2, len(self._taken) + 3))):
            if name.casefold() not in self._taken:
                self._taken.add(name.casefold())
                return name
        raise AssertionError("there are more names than images")


def _xml(file: str, image: IndexedImage, objects: list[Annotation], classes: list[str]) -> bytes:
    root = ElementTree.Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", file)
    size = ElementTree.SubElement(root, "size")
    for name, value in {"width": image.width, "height": image.height, "depth": 3}.items():
        _add(size, name, value)
    _add(root, "segmented", 0)
    for annotation in objects:
        _add_object(root, image, annotation, classes[annotation.class_id])
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode").encode() + b"\n"


def _add_object(root: ElementTree.Element, image: IndexedImage, annotation: Annotation, name: str) -> None:
    element = ElementTree.SubElement(root, "object")
    _add(element, "name", name)
    _add(element, "pose", annotation.attributes.get("pose", "Unspecified"))
    for flag in FLAGS:
        _add(element, flag, int(bool(annotation.attributes.get(flag))))
    box = ElementTree.SubElement(element, "bndbox")
    x1, y1, x2, y2 = annotation.box or (0.0, 0.0, 1.0, 1.0)
    left, top = min(round(x1 * image.width) + 1, image.width), min(round(y1 * image.height) + 1, image.height)
    right, bottom = max(round(x2 * image.width), left), max(round(y2 * image.height), top)
    for corner, value in {"xmin": left, "ymin": top, "xmax": right, "ymax": bottom}.items():
        _add(box, corner, value)


def _add(parent: ElementTree.Element, tag: str, value: object) -> None:
    ElementTree.SubElement(parent, tag).text = str(value)
