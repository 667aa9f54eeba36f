"""What is in a version, counted: small enough to stand in a database row, drawn as it is by whoever shows it.

`images` and `objects` by split; `classes` {name: {split: objects}}, in the order of the classes; `empty_images` have no
object, labelled or not. Histograms are {"edges": [n + 1 numbers], "counts": [n]}: `boxes` of width, height, area
(fractions of the image) and aspect (width by height in pixels, edges in powers of two; what lies beyond counts in the
last bin); `image_widths` and `image_heights` in pixels; `objects_per_image` with a bin for each count up to 19 and one
for all above. `image_sizes`: the most common, as [width, height, images]. Crowd regions are not counted.
"""

import math
import sqlite3
from typing import Any

from app.datasets.draft import Draft
from app.datasets.work import SPLITS
from app.words import TaskType

BINS = 20
COMMON_SIZES = 10
FURTHEST_ASPECT = 4.0  # as a power of two: 1/16 to 16
_BOXES = "annotations JOIN images ON images.id = image_id WHERE NOT crowd AND x1 IS NOT NULL"


def counts_of(draft: Draft, ignored: int) -> dict[str, Any]:
    """Images and objects by split, objects by class, as the list of datasets shows them."""
    rows = _by_class(draft.connection)
    classes = {name: 0 for name in draft.classes}
    for name, _, count in rows:
        classes[name] += count
    return {
        "images": _images(draft.connection),
        "instances": _objects(draft.connection),
        "classes": classes,
        "files": {"ignored": ignored},
    }


def statistics_of(draft: Draft) -> dict[str, Any]:
    """Everything above. Images have their splits."""
    connection = draft.connection
    classes: dict[str, dict[str, int]] = {name: {} for name in draft.classes}
    for name, split, count in _by_class(connection):
        classes[name][split] = count
    found = {
        "images": _images(connection),
        "objects": _objects(connection),
        "classes": classes,
        "image_widths": _pixels(connection, "width"),
        "image_heights": _pixels(connection, "height"),
        "image_sizes": [list(row) for row in connection.execute(_SIZES, (COMMON_SIZES,))],
    }
    if draft.task_type is not TaskType.IMAGE_CLASSIFICATION:
        found |= {"boxes": _boxes(connection)} | _objects_per_image(connection)
    return found


_SIZES = (
    "SELECT width, height, count(*) FROM images GROUP BY width, height "
    "ORDER BY count(*) DESC, width * height DESC, width LIMIT ?"
)


def _by_class(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
    query = (
        "SELECT classes.name, split, count(*) FROM annotations JOIN images ON images.id = image_id "
        "JOIN classes ON classes.id = class_id WHERE NOT crowd GROUP BY class_id, split"
    )
    return connection.execute(query).fetchall()


def _images(connection: sqlite3.Connection) -> dict[str, int]:
    return _in_order(connection, "SELECT split, count(*) FROM images GROUP BY split")


def _objects(connection: sqlite3.Connection) -> dict[str, int]:
    query = "SELECT split, sum(image_id IS NOT NULL) FROM images LEFT JOIN annotations ON image_id = images.id "
    return _in_order(connection, f"{query} AND NOT crowd GROUP BY split")


def _in_order(connection: sqlite3.Connection, query: str) -> dict[str, int]:
    found = dict(connection.execute(query))
    return {split: found[split] for split in SPLITS if split in found}


def _boxes(connection: sqlite3.Connection) -> dict[str, Any]:
    fractions = [number / BINS for number in range(BINS + 1)]
    columns = {"width": "x2 - x1", "height": "y2 - y1", "area": "(x2 - x1) * (y2 - y1)"}
    found = {
        name: _histogram(connection, f"min(({value}) * {BINS}, {BINS - 1})", _BOXES, fractions)
        for name, value in columns.items()
    }
    step = 2 * FURTHEST_ASPECT / BINS
    edges = [round(2 ** (number * step - FURTHEST_ASPECT), 4) for number in range(BINS + 1)]
    connection.create_function("log2", 1, math.log2, deterministic=True)  # not every SQLite is built with it
    aspect = "log2((x2 - x1) * width / ((y2 - y1) * height))"
    bins = f"max(0, min(({aspect} + {FURTHEST_ASPECT}) / {step}, {BINS - 1}))"
    return found | {"aspect": _histogram(connection, bins, _BOXES, edges)}


def _pixels(connection: sqlite3.Connection, column: str) -> dict[str, Any]:
    """Even bins from the smallest to the largest; a single bin where all are equal."""
    lowest, highest = connection.execute(f"SELECT min({column}), max({column}) FROM images").fetchone()
    if lowest == highest:
        return _histogram(connection, "0", "images", [lowest, highest])
    step = (highest - lowest) / BINS
    edges = [round(lowest + number * step, 2) for number in range(BINS + 1)]
    return _histogram(connection, f"min(({column} - {lowest}) / {step}, {BINS - 1})", "images", edges)


def _objects_per_image(connection: sqlite3.Connection) -> dict[str, Any]:
    counted = (
        f"(SELECT min(count(image_id), {BINS}) AS objects FROM images "
        "LEFT JOIN annotations ON image_id = images.id AND NOT crowd GROUP BY images.id)"
    )
    histogram = _histogram(connection, "objects", counted, list(range(BINS + 2)))
    return {"objects_per_image": histogram, "empty_images": histogram["counts"][0]}


def _histogram(connection: sqlite3.Connection, value: str, source: str, edges: list[Any]) -> dict[str, Any]:
    """Rows of the source by the whole part of the value, which is the number of their bin."""
    query = f"SELECT bin, count(*) FROM (SELECT CAST({value} AS INTEGER) AS bin FROM {source}) GROUP BY bin"
    found = dict(connection.execute(query))
    return {"edges": edges, "counts": [found.get(number, 0) for number in range(len(edges) - 1)]}
