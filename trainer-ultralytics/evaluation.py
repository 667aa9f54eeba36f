"""Ultralytics' validation results in the names of our contract; the confusion matrix and curves of the best model."""

import math
import re
from collections.abc import Mapping
from typing import Any

PARTS = {"B": "box", "M": "mask", "P": "pose"}
TASKS_WITH_PARTS = ("instance_segmentation", "pose_estimation")
CONFIDENCE = 0.25  # of a prediction that counts in the confusion matrix; Ultralytics' 0.001 fills it with noise
POINTS = 201  # of a curve; Ultralytics computes 1000


def metric_name(key: str, task_type: str) -> str:
    """`metrics/mAP50(M)` is `mask/mAP50`; where there is only one part it is not named: `mAP50`."""
    name = key.removeprefix("metrics/").removeprefix("accuracy_")
    match = re.fullmatch(r"(.+)\(([BMP])\)", name)
    if match is None:
        return name
    return f"{PARTS[match[2]]}/{match[1]}" if task_type in TASKS_WITH_PARTS else match[1]


def validation_metrics(metrics: Mapping[str, Any], task_type: str) -> dict[str, float]:
    """What was measured, without the losses."""
    return {metric_name(k, task_type): float(v) for k, v in metrics.items() if k.startswith("metrics/")}


def validation_losses(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items() if key.startswith("val/")}


def per_class_rows(validator: Any, task_type: str) -> list[dict[str, Any]]:
    """A row a class: class_id, class_name, images and instances in the split, and its metrics where it has any."""
    if task_type == "image_classification":
        return _classification_rows(validator.confusion_matrix.matrix, validator.names)
    metrics, names = validator.metrics, [metric_name(key, task_type) for key in validator.metrics.keys]
    results = {int(c): metrics.class_result(i) for i, c in enumerate(metrics.ap_class_index)}
    rows = []
    for class_id, class_name in sorted(validator.names.items()):
        measured = zip(names, map(float, results.get(class_id, ())), strict=False)
        counts = {"images": int(metrics.nt_per_image[class_id]), "instances": int(metrics.nt_per_class[class_id])}
        rows.append({"class_id": class_id, "class_name": class_name, **counts, **dict(measured)})
    return rows


def count_confident_predictions(validator: Any) -> None:
    """Have a validator count only predictions above CONFIDENCE in its confusion matrix. Call at its first batch."""
    count = validator.confusion_matrix.process_batch

    def process_batch(predictions: Any, batch: Any, conf: float = 0.0, **options: Any) -> None:
        count(predictions, batch, conf=max(conf, CONFIDENCE), **options)

    validator.confusion_matrix.process_batch = process_batch


def curves(validator: Any, task_type: str, epoch: int) -> dict[str, Any]:
    """The confusion matrix, rows predicted and columns true, and every curve with a line a class. JSON's own kinds."""
    names = [name for _, name in sorted(validator.names.items())]
    detects = task_type != "image_classification"
    matrix = {
        "labels": [*names, "background"] if detects else names,
        "confidence": CONFIDENCE if detects else None,
        "matrix": [[int(value) for value in row] for row in validator.confusion_matrix.matrix],
    }
    results = zip(validator.metrics.curves, validator.metrics.curves_results, strict=True)
    lines = [_curve(name, result, validator, task_type) for name, result in results]
    return {"task_type": task_type, "epoch": epoch, "names": names, "confusion_matrix": matrix, "curves": lines}


def _curve(name: str, result: Any, validator: Any, task_type: str) -> dict[str, Any]:
    x, lines, x_label, y_label = result
    kept = [round(i * (len(x) - 1) / (POINTS - 1)) for i in range(POINTS)]
    classes = [
        {"class_id": int(c), "class_name": validator.names[int(c)], "y": [_rounded(line[i]) for i in kept]}
        for c, line in zip(validator.metrics.ap_class_index, lines, strict=True)
    ]
    part, axis_labels = metric_name(name, task_type), {"x_label": x_label, "y_label": y_label}
    return {"name": part, **axis_labels, "x": [_rounded(x[i]) for i in kept], "classes": classes}


def _classification_rows(matrix: Any, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Precision and recall of each class, from the matrix [predicted][true]."""
    rows = []
    for class_id, class_name in sorted(names.items()):
        hits, true, predicted = matrix[class_id][class_id], matrix[:, class_id].sum(), matrix[class_id].sum()
        measured = {"precision": _ratio(hits, predicted), "recall": _ratio(hits, true)}
        counts = {"images": int(true), "instances": int(true)}
        rows.append({"class_id": class_id, "class_name": class_name, **counts, **measured})
    return rows


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None
