"""What becomes of an upload in Pascal VOC."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.datasets.archives import open_upload
from app.datasets.draft import Draft, SourceImage
from app.datasets.formats.paths import is_image
from app.datasets.formats.voc import FORMAT
from app.datasets.work import Wish
from tests.datasets.formats.uploads import BROKEN, Read, Reading, Upload, reader

read = reader(FORMAT)
BCCD = os.environ.get("VISION_BCCD")
CORNERS = (11, 21, 110, 220)


def voc_object(name: str = "cat", corners: tuple[object, ...] = CORNERS, extra: str = "") -> str:
    box = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{name}</name>{extra}<bndbox>{box}</bndbox></object>"


def voc_file(*objects: str, filename: str = "a.jpg", size: tuple[int, int] = (640, 480)) -> str:
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return "\n".join([f"<annotation><filename>{filename}</filename>{stated}", *objects, "</annotation>"])


ONE = voc_file(voc_object())


def fractions(x1: float, y1: float, x2: float, y2: float) -> tuple[float, ...]:
    return tuple(round(value, 6) for value in (x1 / 640, y1 / 480, x2 / 640, y2 / 480))


def test_splits_are_those_of_the_lists_if_there_are_lists(read: Read) -> None:
    files: dict[str, str | bytes] = {f"VOC/JPEGImages/{stem}.jpg": b"" for stem in "abcd"}
    files |= {f"VOC/Annotations/{stem}.xml": voc_file(voc_object(), filename=f"{stem}.jpg") for stem in "abcd"}
    lists = {"train": "a\r\n", "val": "b 1\n", "test": "c\n", "trainval": "a\nb\n", "cat_train": "d 1\n"}
    found = read(files | {f"VOC/ImageSets/Main/{name}.txt": text for name, text in lists.items()})
    assert found.splits == {
        "VOC/JPEGImages/a.jpg": "train",
        "VOC/JPEGImages/b.jpg": "val",
        "VOC/JPEGImages/c.jpg": "test",
        "VOC/JPEGImages/d.jpg": None,
    }
    assert list(found.names.values()) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert found.codes == []


def test_there_are_no_splits_if_the_folder_is_flat(read: Read) -> None:
    found = read({"a.jpg": b"", "a.xml": ONE, "b.png": b"", "b.xml": voc_file(filename="b.png"), "c.jpg": b""})
    assert found.splits == {"a.jpg": None, "b.png": None, "c.jpg": None}
    assert found.backgrounds == ["b.png"]
    assert found.codes == []


@pytest.mark.parametrize(
    ("image", "xml"),
    [
        ("train/a.jpg", "train/a.xml"),
        ("train/images/a.jpg", "train/annotations/a.xml"),
        ("images/train/a.jpg", "annotations/train/a.xml"),
        ("VOC/train/JPEGImages/a.jpg", "VOC/train/Annotations/a.xml"),
    ],
)
def test_splits_are_those_of_the_folders_if_there_are_no_lists(read: Read, image: str, xml: str) -> None:
    found = read({image: b"", xml: ONE})
    assert found.splits == {image: "train"}
    assert found.objects == {image: ["cat"]}
    assert found.codes == []


def test_masks_are_no_images_if_they_are_called_like_them(read: Read) -> None:
    found = read({"JPEGImages/a.jpg": b"", "SegmentationClass/a.png": b"", "Annotations/a.xml": ONE})
    assert list(found.splits) == ["JPEGImages/a.jpg"]


def test_each_year_keeps_its_own_if_there_are_several(read: Read) -> None:
    files: dict[str, str | bytes] = {}
    for year, split in (("VOC2007", "train"), ("VOC2012", "val")):
        files[f"{year}/JPEGImages/a.jpg"] = b""
        files[f"{year}/Annotations/a.xml"] = voc_file(voc_object(year))
        files[f"{year}/ImageSets/Main/{split}.txt"] = "a"
    found = read(files)
    assert found.splits == {"VOC2007/JPEGImages/a.jpg": "train", "VOC2012/JPEGImages/a.jpg": "val"}
    assert found.objects == {"VOC2007/JPEGImages/a.jpg": ["VOC2007"], "VOC2012/JPEGImages/a.jpg": ["VOC2012"]}
    assert found.names == {"VOC2007/JPEGImages/a.jpg": "VOC2007/a.jpg", "VOC2012/JPEGImages/a.jpg": "VOC2012/a.jpg"}


def test_the_first_split_wins_if_an_image_is_listed_twice(read: Read) -> None:
    lists = {"ImageSets/Main/train.txt": "a", "ImageSets/Main/val.txt": "a"}
    found = read({"JPEGImages/a.jpg": b"", "Annotations/a.xml": ONE, **lists})
    assert found.splits == {"JPEGImages/a.jpg": "train"}
    assert found.codes == ["SPLIT_OVERLAP"]


def test_a_listed_image_is_missed_if_it_is_not_there(read: Read) -> None:
    found = read({"JPEGImages/a.jpg": b"", "Annotations/a.xml": ONE, "ImageSets/Main/train.txt": "a\nghost\n"})
    assert found.finding("IMAGE_MISSING")[:3] == ("ImageSets/Main/train.txt", 2, "ghost")


def test_nothing_is_said_of_the_label_if_its_image_is_broken(read: Read) -> None:
    found = read({"a.jpg": BROKEN, "a.xml": ONE, "b.jpg": b"", "b.xml": voc_file(voc_object(), filename="b.jpg")})
    assert found.codes == []
    assert list(found.splits) == ["b.jpg"]


def test_a_label_is_named_if_it_has_no_image(read: Read) -> None:
    found = read({"b.jpg": b"", "b.xml": voc_file(voc_object(), filename="b.jpg"), "a.xml": ONE})
    assert found.finding("LABEL_WITHOUT_IMAGE")[:3] == ("a.xml", None, "a.jpg")


def test_the_name_of_the_file_wins_if_its_text_names_another_image(read: Read) -> None:
    found = read({"a.jpg": b"", "b.jpg": b"", "b.xml": ONE})
    assert found.objects == {"b.jpg": ["cat"]}
    assert found.codes == ["PATH_REPAIRED"]


def test_the_name_in_the_text_counts_if_no_image_is_called_as_the_file(read: Read) -> None:
    found = read({"photo.jpg": b"", "0001.xml": voc_file(voc_object(), filename="photo.jpg")})
    assert found.objects == {"photo.jpg": ["cat"]}
    assert found.codes == []


def test_the_image_is_found_by_name_if_it_lies_elsewhere(read: Read) -> None:
    found = read({"pictures/deep/a.jpg": b"", "labels/xml/a.xml": ONE})
    assert found.objects == {"pictures/deep/a.jpg": ["cat"]}
    assert found.codes == ["PATH_REPAIRED"]


def test_a_second_file_is_refused_if_the_image_has_one(read: Read) -> None:
    found = read({"JPEGImages/a.jpg": b"", "Annotations/a.xml": ONE, "old/a.xml": voc_file(voc_object("dog"))})
    assert found.objects == {"JPEGImages/a.jpg": ["cat"]}
    assert found.finding("LABEL_CONTRADICTS")[0] == "old/a.xml"


def test_classes_are_sorted_if_they_appear_in_any_order(read: Read) -> None:
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object("zebra"), voc_object("강아지"), voc_object("=cmd()"))})
    assert found.draft.classes == ["=cmd()", "zebra", "강아지"]
    assert found.objects == {"a.jpg": ["zebra", "강아지", "=cmd()"]}


def test_corners_count_from_one_and_include_the_last_if_none_is_at_zero(read: Read) -> None:
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object(corners=(1, 1, 640, 480)), voc_object())})
    assert found.boxes == [(0, 0, 1, 1), fractions(10, 20, 110, 220)]
    assert found.codes == []


def test_corners_stand_as_they_are_if_boxes_begin_at_zero(read: Read) -> None:
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object(corners=(0, 0, 640, 480)), voc_object())})
    assert found.boxes == [(0, 0, 1, 1), fractions(11, 21, 110, 220)]
    assert found.codes == ["BOX_CONVENTION"]


def test_a_single_zero_changes_nothing_if_more_boxes_begin_at_one(read: Read) -> None:
    objects = [voc_object(corners=corners) for corners in ((1, 1, 50, 50), (1, 9, 60, 60), (0, 9, 70, 70))]
    found = read({"a.jpg": b"", "a.xml": voc_file(*objects)})
    assert found.boxes == [fractions(0, 0, 50, 50), fractions(0, 8, 60, 60), fractions(0, 8, 70, 70)]
    assert found.codes == []


def test_a_box_of_one_pixel_is_kept_and_told_if_its_corners_are_equal(read: Read) -> None:
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object(corners=(181, 329, 181, 329)))})
    assert found.boxes == [fractions(180, 328, 181, 329)]
    assert found.finding("BOX_ONE_PIXEL")[:3] == ("a.xml", 2, "cat 181 329 181 329")


@pytest.mark.parametrize("corners", [(110, 220, 11, 21), ("110.0", "21", "1.1e1", " 220 ")])
def test_corners_are_put_in_order_if_they_are_swapped(read: Read, corners: tuple[object, ...]) -> None:
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object(corners=corners))})
    assert found.boxes == [fractions(10, 20, 110, 220)]
    assert found.codes == []


def test_floats_keep_their_fractions_if_a_tool_writes_them(read: Read) -> None:
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object(corners=(11.25, 21.5, 110.75, 220.5)))})
    assert found.boxes == [fractions(10.25, 20.5, 110.75, 220.5)]


@pytest.mark.parametrize(
    ("corners", "code"),
    [
        (("nan", 1, 9, 9), "LABEL_NOT_FINITE"),
        ((1, 1, "inf", 9), "LABEL_NOT_FINITE"),
        ((-20, -20, 50, 50), "BOX_OUTSIDE"),
        ((1, 1, 5000, 5000), "BOX_OUTSIDE"),
        (("", 1, 9, 9), "LABEL_MALFORMED"),
        (("1_0", 1, 9, 9), "LABEL_MALFORMED"),
        (("1,5", 1, 9, 9), "LABEL_MALFORMED"),
    ],
)
def test_a_bad_corner_is_found_with_its_line_if_it_is_no_pixel(
    read: Read, corners: tuple[object, ...], code: str
) -> None:
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object(), voc_object(corners=corners))})
    file, line, value, _ = found.finding(code)
    assert (file, line) == ("a.xml", 3)
    assert value == " ".join(["cat", *(str(corner) for corner in corners)]).strip()


@pytest.mark.parametrize(
    "content",
    [
        "<object><name>cat</name></object>",
        "<object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>",
        voc_object(extra="<name>dog</name>"),
    ],
)
def test_an_object_is_malformed_if_it_lacks_a_name_or_box_or_has_two(read: Read, content: str) -> None:
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object(), content)})
    assert found.finding("LABEL_MALFORMED")[:2] == ("a.xml", 3)
    assert found.objects == {"a.jpg": ["cat"]}


def test_flags_and_pose_are_attributes_if_they_say_something(read: Read) -> None:
    extra = "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult><occluded>true</occluded>"
    plain = "<pose>Unspecified</pose><truncated>0</truncated>"
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object(extra=extra), voc_object("dog", extra=plain))})
    assert found.json("attributes") == [{"truncated": True, "occluded": True, "pose": "Left"}, None]


def test_parts_are_left_out_with_a_note_if_an_object_has_them(read: Read) -> None:
    part = "<part><name>head</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object(extra=part))})
    assert (found.draft.classes, found.boxes) == (["cat"], [fractions(10, 20, 110, 220)])
    assert found.codes == ["LABEL_DETAIL_IGNORED"]


def test_a_stated_size_is_told_if_it_is_not_the_images(read: Read) -> None:
    found = read({"a.jpg": b"", "a.xml": voc_file(voc_object(), size=(1280, 960))})
    assert found.boxes == [fractions(10, 20, 110, 220)]
    assert found.finding("IMAGE_SIZE_DISAGREES")[2] == "1280 × 960"


def test_a_stated_size_counts_as_none_if_it_is_zero(read: Read) -> None:
    assert read({"a.jpg": b"", "a.xml": voc_file(voc_object(), size=(0, 0))}).codes == []


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (0, 0)])
def test_labels_are_turned_if_the_stated_size_is_that_of_the_raw_image(size: tuple[int, int]) -> None:
    draft = Draft(Path(":memory:"))
    draft.add_image(SourceImage(0, "a.jpg", "0" * 64, "JPEG", 480, 640, 6))  # 640 by 480, shown with its left side up
    FORMAT.read(Upload({"a.jpg": b"", "a.xml": voc_file(voc_object(corners=(1, 1, 48, 64)), size=size)}), draft, Wish())
    (box,) = draft.connection.execute("SELECT x1, y1, x2, y2 FROM annotations").fetchall()
    assert box == pytest.approx((1 - 64 / 480, 0, 1, 48 / 640) if size == (640, 480) else (0, 0, 48 / 480, 64 / 640))


def test_a_file_is_ignored_if_it_is_xml_of_something_else(read: Read) -> None:
    found = read({"a.jpg": b"", "a.xml": ONE, "pom.xml": "<project><object><name>x</name></object></project>"})
    assert found.finding("FILE_IGNORED")[0] == "pom.xml"
    assert found.draft.classes == ["cat"]


def test_utf16_is_read_if_the_file_says_so(read: Read) -> None:
    found = read({"a.jpg": b"", "a.xml": f"<?xml version='1.0' encoding='UTF-16'?>{ONE}".encode("utf-16")})
    assert found.objects == {"a.jpg": ["cat"]}


def test_it_is_recognised_by_an_annotation() -> None:
    assert FORMAT.recognise(Upload({"a.jpg": b"", "a.xml": ONE})) is not None
    assert FORMAT.recognise(Upload({"a.jpg": b"", "a.xml": "<project/>"})) is None
    assert FORMAT.recognise(Upload({"a.jpg": b""})) is None


@pytest.fixture
def bccd(tmp_path: Path) -> Iterator[Reading]:
    """The real one, opened as an import opens it; each of its images has 640 by 480 pixels."""
    draft = Draft(tmp_path / "index.sqlite")
    with open_upload(Path(BCCD or ""), tmp_path, 2**30) as archive:
        for name in filter(is_image, archive.files):
            draft.add_image(SourceImage(0, name, "0" * 64, "JPEG", 640, 480, 1))
        FORMAT.read(archive, draft, Wish())
    yield Reading(draft)
    draft.close()


@pytest.mark.skipif(not BCCD, reason="VISION_BCCD does not say where the blood cells are")
def test_every_blood_cell_is_kept_or_named_if_the_real_dataset_is_read(bccd: Reading) -> None:
    kept = Counter(name for names in bccd.objects.values() for name in names)
    dropped = bccd.rows("SELECT count(*) FROM findings WHERE action IN ('dropped', 'refused')")[0][0]
    assert kept.total() + dropped == 4888
    assert kept == {"RBC": 4155, "WBC": 372, "Platelets": 361}
    assert bccd.codes == ["BOX_ONE_PIXEL"] * 2
    assert Counter(bccd.splits.values()) == {"train": 205, "val": 87, "test": 72}
    assert all(0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 for x1, y1, x2, y2 in bccd.boxes)
