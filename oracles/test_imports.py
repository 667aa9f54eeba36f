"""What we import, `supervision` and `datumaro` read from the same source: every class, box and split must agree."""

import os
import shutil
from pathlib import Path

import pytest

from oracles import sources
from oracles.compared import Labels, assert_same, boxes_of
from oracles.imported import Imported, import_folder
from oracles.readers import (
    datumaro_classes,
    datumaro_labels,
    supervision_classes,
    supervision_coco,
    supervision_voc,
    supervision_yolo,
)

EXACT = 0.05  # pixels: what eight digits of a fraction and two readers' rounding leave
MASK = 1.0  # a mask has whole pixels; its outline runs along their edges
BCCD = os.environ.get("VISION_BCCD", "")  # a zip in Pascal VOC: 364 blood-cell images, 4,888 objects
COCO_FORMS = {"boxes": "coco_instances", "polygons": "coco_instances", "masks": "coco_instances"}


@pytest.mark.parametrize("kind", ["boxes", "polygons", "keypoints", "corners"])
def test_yolo_agrees(tmp_path: Path, kind: str) -> None:
    sources.yolo(tmp_path / "source", kind)
    version = import_folder(tmp_path / "source", tmp_path / "import")
    theirs: Labels = {}
    for split in sources.SPLITS:
        theirs |= supervision_yolo(tmp_path / "source", split, oriented=kind == "corners")
    assert_same(boxes_of(version), theirs, EXACT)
    if kind == "boxes":  # the only kind that datumaro reads
        assert_same(boxes_of(version), datumaro_labels(tmp_path / "source", "yolo"), EXACT)
    assert _splits(version) == {picture.name: picture.split for picture in sources.pictures()}


@pytest.mark.parametrize("kind", ["boxes", "polygons", "masks", "keypoints"])
def test_coco_agrees(tmp_path: Path, kind: str) -> None:
    sources.coco(tmp_path / "source", kind)
    version = import_folder(tmp_path / "source", tmp_path / "import")
    tolerance = MASK if kind == "masks" else EXACT
    theirs: Labels = {}
    for path in sorted((tmp_path / "source" / "annotations").iterdir()):
        theirs |= supervision_coco(tmp_path / "source" / path.stem.rpartition("_")[2], path)
    assert_same(boxes_of(version), theirs, tolerance)
    assert _splits(version) == {picture.name: picture.split for picture in sources.pictures()}


@pytest.mark.parametrize("kind", ["boxes", "polygons", "masks"])
def test_coco_agrees_with_datumaro(tmp_path: Path, kind: str) -> None:
    sources.coco(tmp_path / "source", kind)
    version = import_folder(tmp_path / "source", tmp_path / "import")
    shutil.copytree(tmp_path / "source", tmp_path / "theirs")
    (tmp_path / "theirs" / "images").mkdir()
    for split in sources.SPLITS:
        (tmp_path / "theirs" / split).rename(tmp_path / "theirs" / "images" / split)
    theirs = datumaro_labels(tmp_path / "theirs", COCO_FORMS[kind])
    assert_same(boxes_of(version), theirs, MASK if kind == "masks" else EXACT)


def test_class_folders_agree(tmp_path: Path) -> None:
    sources.class_folders(tmp_path / "source")
    version = import_folder(tmp_path / "source", tmp_path / "import")
    ours: Labels = {name: [(label, ()) for label, _ in found] for name, found in boxes_of(version).items()}
    assert_same(ours, datumaro_classes(tmp_path / "source"), 0)
    split = {name for name, where in _splits(version).items() if where == "train"}
    assert_same({name: ours[name] for name in split}, supervision_classes(tmp_path / "source" / "train"), 0)


@pytest.mark.skipif(not BCCD, reason="VISION_BCCD names no zip")
def test_every_blood_cell_agrees(tmp_path: Path) -> None:
    shutil.unpack_archive(BCCD, tmp_path / "source", "zip")
    root = next((tmp_path / "source").rglob("Annotations")).parent
    version = import_folder(root, tmp_path / "import")
    theirs = supervision_voc(root)
    assert len(version.images) == 364
    dropped = [code for code, _ in version.findings() if code in {"BOX_EMPTY", "LABEL_DUPLICATE", "BOX_OUTSIDE"}]
    kept = sum(len(found) for found in version.objects().values())
    assert kept + len(dropped) == 4888, (kept, dropped)
    assert_same(boxes_of(version), theirs, EXACT)


def _splits(version: Imported) -> dict[str, str]:
    return {Path(name).name: split for name, (split, *_) in version.images.items()}
