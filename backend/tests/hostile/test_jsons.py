"""Each hostile JSON file is a finding, in bounded memory and time."""

import tracemalloc
from typing import Any

import pytest

from app.datasets.formats.coco import FORMAT
from tests.datasets.formats.uploads import Read, reader
from tests.hostile import jsons

read = reader(FORMAT)
UNREADABLE = dict(jsons.unreadable())
ODD = {name: (code, label) for name, code, label in jsons.odd_labels()}
GOOD = {"id": 9, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": [[0, 0, 9, 0, 9, 9]]}


@pytest.mark.parametrize("name", UNREADABLE)
def test_the_file_is_refused_and_named_if_its_json_is_hostile(read: Read, name: str) -> None:
    files: dict[str, str | bytes] = {"a.jpg": b"", "bad.json": UNREADABLE[name], "good.json": jsons.coco(jsons.LABEL)}
    tracemalloc.start()
    found = read(files)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.finding("LABEL_UNREADABLE")[0] == "bad.json"
    assert found.objects["a.jpg"][0] == "cat"
    assert peak < 200 * 2**20


@pytest.mark.parametrize(("code", "label"), ODD.values(), ids=ODD)
def test_the_annotation_is_found_and_others_read_if_it_is_hostile(read: Read, code: str, label: Any) -> None:
    found = read({"a.jpg": b"", "l.json": jsons.coco(label, GOOD)}, task_type="instance_segmentation")
    assert found.codes == [code]
    assert found.objects == {"a.jpg": ["cat"]}


def test_the_specks_are_left_out_if_a_mask_has_a_hundred_thousand_parts(read: Read) -> None:
    found = read({"a.jpg": b"", "l.json": jsons.specks()})
    assert found.codes == ["POLYGON_PARTS_LEFT_OUT"]
    assert len(found.json("polygons")[0]) == 1000


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "C:\\boot.ini", "http://127.0.0.1:9/a.jpg", "a" * 5000]
)
def test_no_path_is_followed_if_the_file_names_one(read: Read, name: str) -> None:
    found = read({"b.jpg": b"", "l.json": jsons.coco(jsons.LABEL, images=[jsons.IMAGE | {"file_name": name}])})
    assert found.codes[0] in ("IMAGE_MISSING", "LABEL_MALFORMED")
    assert found.splits == {}


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "=cmd()", "'; DROP TABLE images; --"])
def test_the_class_stays_text_if_it_looks_like_code(read: Read, name: str) -> None:
    found = read({"a.jpg": b"", "l.json": jsons.coco(jsons.LABEL, categories=[{"id": 1, "name": name}])})
    assert found.draft.classes == [name]


@pytest.mark.parametrize("name", ["", "x" * 300, "a\u202eb", "a\nb", "a\x00b"])
def test_the_class_is_refused_if_its_name_cannot_be_shown(read: Read, name: str) -> None:
    found = read({"a.jpg": b"", "l.json": jsons.coco(jsons.LABEL, categories=[{"id": 1, "name": name}])})
    assert found.codes == ["CLASS_NAME_INVALID"]


def test_the_draft_stays_whole_if_ids_are_strange(read: Read) -> None:
    ids: list[Any] = ["' OR 1=1", "\u0000", -0.0, 1e300, "９", "x" * 300, {}, True]
    images = [jsons.IMAGE | {"id": one, "file_name": f"{number}.jpg"} for number, one in enumerate(ids)]
    files: dict[str, str | bytes] = {f"{number}.jpg": b"" for number in range(len(ids))}
    found = read({**files, "l.json": jsons.coco(*(jsons.LABEL | {"image_id": one} for one in ids), images=images)})
    assert set(found.codes) == {"LABEL_MALFORMED", "LABEL_WITHOUT_IMAGE"}
    assert len(found.boxes) == 5
