"""What `supervision` and `datumaro` read, in one shape: image name to (class, x1, y1, x2, y2 in pixels)."""

from pathlib import Path
from typing import Any

import datumaro
import supervision

from oracles.compared import Labels


def supervision_labels(dataset: Any) -> Labels:
    return {
        Path(path).name: [
            (dataset.classes[class_id], tuple(box)) for box, class_id in zip(found.xyxy, found.class_id, strict=True)
        ]
        for path, found in dataset.annotations.items()
    }


def supervision_coco(images: Path, annotations: Path) -> Labels:
    return supervision_labels(supervision.DetectionDataset.from_coco(str(images), str(annotations)))


def supervision_yolo(root: Path, split: str, *, oriented: bool = False) -> Labels:
    folders = (str(root / "images" / split), str(root / "labels" / split), str(root / "data.yaml"))
    return supervision_labels(supervision.DetectionDataset.from_yolo(*folders, is_obb=oriented))


def supervision_voc(root: Path) -> Labels:
    folders = (str(root / "JPEGImages"), str(root / "Annotations"))
    return supervision_labels(supervision.DetectionDataset.from_pascal_voc(*folders))


def datumaro_labels(root: Path, form: str, **options: Any) -> Labels:
    """Boxes as they are; where an object has its box beside an outline, the box alone."""
    dataset = datumaro.Dataset.import_from(str(root), form, **options)
    names = [category.name for category in dataset.categories()[datumaro.AnnotationType.label]]
    return {
        Path(item.media.path).name: [(names[one.label], _corners(one)) for one in item.annotations if _is_box(one)]
        for item in dataset
    }


def _is_box(annotation: Any) -> bool:
    return bool(annotation.type == datumaro.AnnotationType.bbox)


def _corners(annotation: Any) -> tuple[float, float, float, float]:
    x, y, width, height = annotation.get_bbox()
    return x, y, x + width, y + height


def datumaro_classes(root: Path) -> Labels:
    """Of class folders under split folders; numbers are left out."""
    dataset = datumaro.Dataset.import_from(str(root), "imagenet_with_subset_dirs")
    names = [category.name for category in dataset.categories()[datumaro.AnnotationType.label]]
    return {Path(item.media.path).name: [(names[one.label], ()) for one in item.annotations] for item in dataset}


def supervision_classes(root: Path) -> Labels:
    dataset = supervision.ClassificationDataset.from_folder_structure(str(root))
    found = dataset.annotations.items()
    return {Path(path).name: [(dataset.classes[number], ()) for number in one.class_id] for path, one in found}
