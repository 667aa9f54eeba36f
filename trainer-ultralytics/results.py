"""What Ultralytics found in an image, in the words of contracts/prediction.schema.json."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_CLASSES = 5


def describe(result: Any) -> list[dict[str, Any]]:
    """The predictions of one `ultralytics.engine.results.Results`, best first, coordinates in pixels of its image.

    Everything lies inside the image but the corners of a `rotated_box`: cut off, they would be no rectangle.
    For a whole image these are its five best classes: Ultralytics applies no threshold to them.
    """
    if result.probs is not None:
        return _classes(result)
    found = result.boxes if result.obb is None else result.obb
    order = np.argsort(-_array(found.conf), kind="stable")
    return [_object(result, found, int(index)) for index in order]


def _classes(result: Any) -> list[dict[str, Any]]:
    confidences = _array(result.probs.data)
    best = np.argsort(-confidences, kind="stable")[:MOST_CLASSES]
    return [_named(result, int(index), confidences[index]) for index in best]


def _object(result: Any, found: Any, index: int) -> dict[str, Any]:
    described = _named(result, int(found.cls[index]), float(found.conf[index]))
    described["box"] = _inside(_array(found.xyxy[index]).reshape(2, 2), result).ravel().tolist()
    if result.masks is not None and len(result.masks.xy[index]) >= 3:
        described["polygon"] = _inside(_array(result.masks.xy[index]), result).tolist()
    if result.keypoints is not None:
        described["keypoints"] = _keypoints(result, index)
    if result.obb is not None:
        described["rotated_box"] = np.round(_array(found.xyxyxyxy[index]), 2).tolist()
    return described


def _named(result: Any, class_id: int, confidence: float) -> dict[str, Any]:
    return {"class_id": class_id, "class_name": result.names[class_id], "confidence": round(float(confidence), 4)}


def _keypoints(result: Any, index: int) -> list[dict[str, float | None]]:
    points = _inside(_array(result.keypoints.xy[index]), result)
    confidences = [None] * len(points)
    if result.keypoints.conf is not None:
        confidences = np.round(np.clip(_array(result.keypoints.conf[index]), 0, 1), 4).tolist()
    return [{"x": x, "y": y, "confidence": one} for (x, y), one in zip(points.tolist(), confidences, strict=True)]


def _inside(points: Floats, result: Any) -> Floats:
    height, width = result.orig_shape
    clipped: Floats = np.clip(points, 0.0, np.array([width, height], dtype=np.float64))
    return clipped.round(2)


def _array(values: Any) -> Floats:
    """A tensor or an array, on the CPU."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values, dtype=np.float64)
