"""A version in somebody else's format: COCO and Pascal VOC. YOLO needs no writing: data.zip is YOLO as it is."""

from collections.abc import Iterator

from app.datasets.exports import coco, voc
from app.datasets.exports.base import Export, OpenImage
from app.datasets.exports.zipping import zipped
from app.datasets.index import Index
from app.errors import Invalid

EXPORTS: dict[str, Export] = {"coco": coco.EXPORT, "voc": voc.EXPORT}


def stream(name: str, index: Index, open_image: OpenImage) -> Iterator[bytes]:
    """The bytes of a zip, made as they are read; `index` stays open until the last.

    `Invalid` at once where the format cannot say what the version holds.
    """
    export = EXPORTS[name]
    task_type = index.task_type
    if task_type not in export.tasks:
        able = [other for other, known in EXPORTS.items() if task_type in known.tasks]
        raise Invalid(f"format={name!r} has no form for {task_type}; export it as {' or '.join(['yolo', *able])}")
    return zipped(export.files(index, open_image))
