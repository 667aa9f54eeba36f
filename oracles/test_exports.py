"""What we export, other readers read as we have it, and it measures the same: mAP by `faster-coco-eval`."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from faster_coco_eval import COCO, COCOeval_faster

from oracles import sources
from oracles.compared import Labels, assert_same, boxes_of
from oracles.imported import Imported, export, import_folder
from oracles.readers import datumaro_labels, supervision_coco, supervision_voc, supervision_yolo

EXACT = 0.05
PIXEL = 0.51  # VOC has whole pixels alone


@pytest.mark.parametrize("kind", ["boxes", "polygons", "keypoints"])
def test_coco_export_agrees(tmp_path: Path, kind: str) -> None:
    version = _imported(tmp_path, kind)
    files = export(version, "coco", tmp_path / "export")
    theirs: Labels = {}
    for path in sorted((files / "annotations").iterdir()):
        theirs |= supervision_coco(files / path.stem.rpartition("_")[2], path)
    assert_same(boxes_of(version), theirs, EXACT)


def test_coco_export_agrees_with_datumaro(tmp_path: Path) -> None:
    version = _imported(tmp_path, "boxes")
    files = export(version, "coco", tmp_path / "export")
    (files / "images").mkdir()
    for split in sources.SPLITS:
        shutil.move(files / split, files / "images" / split)
    assert_same(boxes_of(version), datumaro_labels(files, "coco_instances"), EXACT)


def test_voc_export_agrees(tmp_path: Path) -> None:
    version = _imported(tmp_path, "boxes")
    files = export(version, "voc", tmp_path / "export")
    assert_same(boxes_of(version), supervision_voc(files), PIXEL)
    (files / "labelmap.txt").write_text("".join(f"{name}:::\n" for name in sources.CLASSES))
    theirs = datumaro_labels(files, "voc_detection", coordinate_mode="voc-one-based")
    assert_same(boxes_of(version), theirs, PIXEL)


@pytest.mark.parametrize("name", ["coco", "voc"])
def test_what_was_exported_comes_back(tmp_path: Path, name: str) -> None:
    version = _imported(tmp_path, "boxes")
    again = import_folder(export(version, name, tmp_path / "export"), tmp_path / "again")
    assert_same(boxes_of(version), boxes_of(again), EXACT)
    assert {path for _, path, *_ in version.images.values()} == {path for _, path, *_ in again.images.values()}


@pytest.mark.parametrize("kind", ["boxes", "polygons", "corners"])
def test_canonical_archive_agrees(tmp_path: Path, kind: str) -> None:
    sources.yolo(tmp_path / "source", kind)
    version = import_folder(tmp_path / "source", tmp_path / "import")
    theirs: Labels = {}
    for split in sources.SPLITS:
        theirs |= supervision_yolo(version.unpacked(), split, oriented=kind == "corners")
    assert_same(boxes_of(version), theirs, EXACT)


@pytest.mark.parametrize(("kind", "measure"), [("boxes", "bbox"), ("polygons", "segm"), ("masks", "segm")])
def test_map_is_that_of_the_original(tmp_path: Path, kind: str, measure: str) -> None:
    version = _imported(tmp_path, kind)
    files = export(version, "coco", tmp_path / "export")
    original = json.loads((tmp_path / "source/annotations/instances_train.json").read_text())
    exported = json.loads((files / "annotations/instances_train.json").read_text())
    ours, theirs = (_average_precision(document, measure) for document in (exported, original))
    assert 0.1 < theirs < 0.95
    assert ours == pytest.approx(theirs, abs=1e-9 if kind != "masks" else 0.02)


def _imported(folder: Path, kind: str) -> Imported:
    sources.coco(folder / "source", kind)
    return import_folder(folder / "source", folder / "import")


def _average_precision(document: dict[str, Any], measure: str) -> float:
    """Of the same imperfect detector on both: boxes that miss by a few pixels, some lost, some invented."""
    truth = COCO(document)
    detections = truth.loadRes(_detections(document, measure))
    evaluation = COCOeval_faster(truth, detections, measure)
    evaluation.run()
    return float(evaluation.stats[0])


def _detections(document: dict[str, Any], measure: str) -> list[dict[str, Any]]:
    """The same for the same image and object, whatever the numbers of both are."""
    names = {image["id"]: image["file_name"] for image in document["images"]}
    categories = {category["name"]: category["id"] for category in document["categories"]}
    found = []
    for image_id, name in sorted(names.items(), key=lambda item: item[1]):
        [picture] = [picture for picture in sources.pictures() if picture.name == name]
        chance = random.Random(name)
        for class_id, x1, y1, x2, y2 in picture.boxes:
            moved = x1 + chance.uniform(-3, 3), y1 + chance.uniform(-3, 3)
            if chance.random() < 0.1:
                continue
            own: dict[str, Any] = {"image_id": image_id, "category_id": categories[sources.CLASSES[class_id]]}
            own["score"] = chance.random()
            own["bbox"] = [*moved, x2 - x1, y2 - y1]
            if measure == "segm":
                corners = (*moved, moved[0] + x2 - x1, moved[1] + y2 - y1)
                own["segmentation"] = [sources.ring(corners)]
            found.append(own)
    return found
