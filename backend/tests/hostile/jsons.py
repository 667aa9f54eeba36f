"""COCO files made to exhaust whoever reads them, or to say what no dataset says."""

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}
LABEL = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [64, 48, 128, 96]}
CATEGORY = {"id": 1, "name": "cat"}


def coco(*labels: Any, images: Any = (IMAGE,), categories: Any = (CATEGORY,)) -> str:
    return json.dumps({"images": list(images), "annotations": list(labels), "categories": list(categories)})


def nested(depth: int, opening: str, closing: str, place: str = "annotations") -> str:
    return f'{{"{place}": [{opening * depth}1{closing * depth}]}}'


def unreadable() -> Iterator[tuple[str, str | bytes]]:
    """A name for each, and the bytes."""
    yield "lists nested 100,000 deep", nested(100_000, "[", "]")
    yield "objects nested 100,000 deep", nested(100_000, '{"a":', "}")
    yield "a million brackets never closed", '{"annotations": [' + "[" * 1_000_000
    yield "nested where nobody looks", coco(LABEL)[:-1] + ", " + nested(100_000, "[", "]", "licenses")[1:]
    yield "truncated", coco(LABEL)[:-30]
    yield "a string of 20 MB", coco(LABEL | {"id": "x" * 20_000_000})
    yield "an annotation of 20 MB", coco(LABEL | {"segmentation": [[1.5] * 4_000_000]})
    yield "a number of 100,000 digits", coco(LABEL).replace("64", "6" * 100_000)
    yield "half a character", coco(LABEL).replace('"cat"', '"\\ud800"')
    yield "no utf-8", coco(LABEL).encode().replace(b"a.jpg", b"\xff.jpg")
    yield "twice the same list", coco(LABEL)[:-1] + ', "annotations": []}'
    yield "an object as a list", '{"annotations": [], "images": {"a": 1}}'
    yield "several documents", coco(LABEL) * 2


def odd_labels() -> Iterator[tuple[str, str, Any]]:
    """A name, the code of the finding, and the annotation, which is dropped alone."""
    yield "no object", "LABEL_MALFORMED", [[]]
    yield "a number", "LABEL_MALFORMED", 1e308
    yield "a box of boxes", "LABEL_MALFORMED", LABEL | {"bbox": [[64], [48], [128], [96]]}
    yield "a box of objects", "LABEL_MALFORMED", LABEL | {"bbox": {"x": 1}}
    yield "a box of endless numbers", "LABEL_NOT_FINITE", LABEL | {"bbox": [1e999, -1e999, 1e999, 1e999]}
    yield "a box beyond numbers", "LABEL_NOT_FINITE", LABEL | {"bbox": [10**400, 1, 1, 1]}
    yield "a box that is a flag", "LABEL_MALFORMED", LABEL | {"bbox": [True, True, True, True]}
    yield "an id that is a list", "LABEL_WITHOUT_IMAGE", LABEL | {"image_id": [1]}
    yield "a category that is an object", "CLASS_UNKNOWN", LABEL | {"category_id": {"id": 1}}
    yield (
        "a mask of ten billion pixels",
        "LABEL_MALFORMED",
        LABEL | {"segmentation": {"size": [10**5, 10**5], "counts": [0, 10**10]}},
    )
    yield (
        "a mask of negative counts",
        "LABEL_MALFORMED",
        LABEL | {"segmentation": {"size": [480, 640], "counts": [-1, 307201]}},
    )
    yield (
        "a mask of too many counts",
        "LABEL_MALFORMED",
        LABEL | {"segmentation": {"size": [480, 640], "counts": [0] * 400_000}},
    )
    yield (
        "a mask without an end",
        "LABEL_MALFORMED",
        LABEL | {"segmentation": {"size": [480, 640], "counts": "o" * 100_000}},
    )
    yield (
        "a mask of a huge size",
        "LABEL_MALFORMED",
        LABEL | {"segmentation": {"size": [10**300, 10**300], "counts": [1]}},
    )


def specks() -> str:
    """A mask of every second pixel of every second column: 76,800 parts."""
    pixels = ([1, 0] * 240 + [0] * 480) * 320
    runs = [0, *(len(list(run)) for _, run in groupby(pixels))]
    return coco(LABEL | {"segmentation": {"size": [480, 640], "counts": runs}})
