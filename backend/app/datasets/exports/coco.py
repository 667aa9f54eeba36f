"""COCO: `{split}/{name}` and `annotations/instances_{split}.json`, for poses `person_keypoints_{split}.json`.

Format: the COCO data format, object detection and keypoint detection. Boxes are [x, y, width, height] in pixels of the
upright image from the outer corner of its first pixel; category ids begin at 1. An oriented box, for which COCO has no
form, is a polygon of its four corners.
"""

import json
from collections.abc import Iterator
from typing import Any

from app.datasets.annotations import Annotation, Polygon
from app.datasets.exports.base import Export, ExportedFile, OpenImage
from app.datasets.index import Index, IndexedImage
from app.datasets.work import SPLITS
from app.words import TaskType

DIGITS = 4  # of a pixel
TASKS = (
    TaskType.OBJECT_DETECTION,
    TaskType.INSTANCE_SEGMENTATION,
    TaskType.POSE_ESTIMATION,
    TaskType.ORIENTED_OBJECT_DETECTION,
)
PIECE = 2**18


def _files(index: Index, open_image: OpenImage) -> Iterator[ExportedFile]:
    kind = "person_keypoints" if index.task_type is TaskType.POSE_ESTIMATION else "instances"
    for split in SPLITS:
        if index.images(split=split, limit=1):
            yield ExportedFile(f"annotations/{kind}_{split}.json", _pieces(_document(index, split)))
    for image in index.every_image():
        yield ExportedFile(f"{image.split}/{image.name}", open_image(image), image.size)


EXPORT = Export(TASKS, _files)


def _document(index: Index, split: str) -> Iterator[str]:
    """The JSON of one split in order: info, images, annotations, categories."""
    yield '{"info": {"description": "exported by Vision Platform"}, "licenses": [], "images": ['
    yield from _joined(_image(image) for image in index.every_image(split))
    yield '], "annotations": ['
    yield from _joined(
        _annotation(number, image, annotation)
        for image in index.every_image(split)
        for number, annotation in index.annotations(image.id)
    )
    yield f'], "categories": {_json(_categories(index))}}}'


def _image(image: IndexedImage) -> dict[str, Any]:
    return {"id": image.id, "file_name": image.name, "width": image.width, "height": image.height}


def _annotation(number: int, image: IndexedImage, annotation: Annotation) -> dict[str, Any]:
    x1, y1, x2, y2 = annotation.box or (0.0, 0.0, 1.0, 1.0)
    width, height = image.width, image.height
    polygons = [_pixels(polygon, width, height) for polygon in annotation.polygons]
    box = [_rounded(x1 * width), _rounded(y1 * height), _rounded((x2 - x1) * width), _rounded((y2 - y1) * height)]
    content: dict[str, Any] = {
        "id": number,
        "image_id": image.id,
        "category_id": annotation.class_id + 1,
        "bbox": box,
        "area": _rounded(sum(map(_area, polygons)) if polygons else box[2] * box[3]),
        "iscrowd": int(annotation.crowd),
        "segmentation": polygons,
    }
    if annotation.keypoints:
        content["keypoints"] = [
            number for x, y, seen in annotation.keypoints for number in _keypoint(x * width, y * height, seen)
        ]
        content["num_keypoints"] = sum(seen > 0 for _, _, seen in annotation.keypoints)
    return content


def _keypoint(x: float, y: float, seen: int) -> tuple[float, float, int]:
    """COCO writes a keypoint that is not labelled as three zeros."""
    return (_rounded(x), _rounded(y), seen) if seen else (0, 0, 0)


def _categories(index: Index) -> list[dict[str, Any]]:
    meta = index.meta
    shape = meta.get("kpt_shape")
    points = {"keypoints": meta.get("kpt_names") or [str(n) for n in range(shape[0])], "skeleton": []} if shape else {}
    return [{"id": number, "name": name, "supercategory": "", **points} for number, name in enumerate(index.classes, 1)]


def _pixels(polygon: Polygon, width: int, height: int) -> list[float]:
    return [_rounded(value * (height if place % 2 else width)) for place, value in enumerate(polygon)]


def _area(polygon: list[float]) -> float:
    """In square pixels, by the shoelace formula."""
    xs, ys = polygon[::2], polygon[1::2]
    return abs(sum(xs[i - 1] * ys[i] - xs[i] * ys[i - 1] for i in range(len(xs)))) / 2


def _rounded(value: float) -> float:
    return round(value, DIGITS)


def _joined(records: Iterator[dict[str, Any]]) -> Iterator[str]:
    between = ""
    for record in records:
        yield f"{between}{_json(record)}"
        between = ",\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _pieces(texts: Iterator[str]) -> Iterator[bytes]:
    waiting = bytearray()
    for text in texts:
        waiting += text.encode()
        if len(waiting) >= PIECE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)
