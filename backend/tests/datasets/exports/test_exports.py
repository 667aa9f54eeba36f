"""A version written as COCO and as Pascal VOC, and read back."""

import io
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pytest

from app.datasets import exports
from app.datasets.annotations import Annotation
from app.datasets.index import Index
from app.errors import Invalid
from tests.datasets.versioned import Made, Shot, box, make_version, picture, shots


def write(made: Made, name: str) -> zipfile.ZipFile:
    """The export, as a reader who can seek sees it."""
    with zipfile.ZipFile(made.archive) as archive, Index(made.index) as index:
        data = b"".join(exports.stream(name, index, lambda image: iter([archive.read(image.path)])))
    packed = zipfile.ZipFile(io.BytesIO(data))
    assert packed.testzip() is None
    return packed


def boxes(packed: zipfile.ZipFile, name: str) -> list[list[int]]:
    root = ElementTree.fromstring(packed.read(f"Annotations/{name}.xml"))
    corners = ("xmin", "ymin", "xmax", "ymax")
    return [[int(found.findtext(f"bndbox/{corner}", "")) for corner in corners] for found in root.iter("object")]


def test_coco_has_a_document_for_each_split_and_every_image(tmp_path: Path) -> None:
    made = make_version(tmp_path, shots(3))
    packed = write(made, "coco")
    train, val = (json.loads(packed.read(f"annotations/instances_{split}.json")) for split in ("train", "val"))
    assert [image["file_name"] for image in train["images"]] == ["0000.jpg", "0001.jpg"]
    assert [category["name"] for category in val["categories"]] == ["zero", "one"]
    assert train["annotations"][0]["bbox"] == [8, 6, 8, 6] and train["annotations"][0]["category_id"] == 1
    assert packed.read("val/0002.jpg") == made.shots[2].data


def test_crowd_regions_stay_in_coco_and_not_in_voc(tmp_path: Path) -> None:
    made = make_version(tmp_path, [Shot("a.jpg", data=picture(), annotations=[box(), box(1, 0.5, crowd=True)])])
    document = json.loads(write(made, "coco").read("annotations/instances_train.json"))
    assert [annotation["iscrowd"] for annotation in document["annotations"]] == [0, 1]
    assert len(boxes(write(made, "voc"), "a")) == 1


def test_polygon_keeps_its_parts_and_its_area(tmp_path: Path) -> None:
    parts = ((0.0, 0.0, 0.5, 0.0, 0.5, 0.5, 0.0, 0.5), (0.5, 0.5, 1.0, 0.5, 1.0, 1.0))
    shot = Shot("a.jpg", data=picture(size=(40, 20)), annotations=[Annotation(0, (0, 0, 1, 1), parts)])
    document = json.loads(write(make_version(tmp_path, [shot]), "coco").read("annotations/instances_train.json"))
    [annotation] = document["annotations"]
    assert annotation["segmentation"] == [[0, 0, 20, 0, 20, 10, 0, 10], [20, 10, 40, 10, 40, 20]]
    assert annotation["area"] == 200 + 100


def test_voc_ids_differ_if_names_do_not(tmp_path: Path) -> None:
    names = [("a.jpg", "train"), ("x/A.jpg", "train"), ("x_a.jpg", "train"), ("a.jpg", "val")]
    made = make_version(tmp_path, [Shot(name, split, picture(i), [box()]) for i, (name, split) in enumerate(names)])
    packed = write(made, "voc")
    assert packed.read("ImageSets/Main/train.txt").split() == [b"a", b"x_A", b"train_x_a"]
    assert packed.read("ImageSets/Main/val.txt").split() == [b"val_a"]
    assert packed.read("JPEGImages/val_a.jpg") == made.shots[3].data


def test_voc_keeps_flags_and_escapes_names(tmp_path: Path) -> None:
    flagged = box(attributes={"difficult": True})
    made = make_version(tmp_path, [Shot("a.jpg", data=picture(), annotations=[flagged])], ["<b>&고양이", "one"])
    root = ElementTree.fromstring(write(made, "voc").read("Annotations/a.xml"))
    assert (root.findtext("object/name"), root.findtext("object/difficult")) == ("<b>&고양이", "1")
    assert root.findtext("size/width") == "32"


def test_refused_if_the_format_cannot_say_it(tmp_path: Path) -> None:
    made = make_version(tmp_path)
    with closing(sqlite3.connect(made.index)) as connection, connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'task_type'", ['"image_classification"'])
    with Index(made.index) as index, pytest.raises(Invalid, match="export it as yolo"):
        exports.stream("coco", index, lambda image: iter(()))
