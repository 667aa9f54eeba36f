"""Versions made from others: images and classes changed, or an upload that joins."""

from pathlib import Path
from typing import Any

import pytest

from app.words import TaskType
from tests.datasets.imports import LINES, Files, Imported, files_of, folders, make, yolo, yolo_splits
from tests.datasets.versioned import picture


@pytest.fixture
def parent(tmp_path: Path) -> Imported:
    return make(tmp_path / "parent", yolo_splits())


@pytest.fixture
def classified(tmp_path: Path) -> Imported:
    return make(tmp_path / "parent", folders())


def edit(parent: Imported, **changes: Any) -> Imported:
    return make(parent.folder.with_name("edited"), None, parent, edit=changes)


def add(parent: Imported, files: Files, **request: Any) -> Imported:
    return make(parent.folder.with_name("added"), files, parent, adds=True, **request)


def test_version_is_the_same_if_nothing_is_edited(parent: Imported) -> None:
    edited = edit(parent)
    assert edited.packed.sha256 == parent.packed.sha256
    assert edited.packed.archive_sha256 == parent.packed.archive_sha256
    assert (edited.packed.format, edited.packed.task_type) == ("yolo", "object_detection")


def test_images_are_removed_with_their_labels(parent: Imported) -> None:
    edited = edit(parent, remove_images=["images/train/a.jpg"])
    left = {name for name in parent.files if not name.endswith(("a.jpg", "a.txt"))}
    assert set(edited.files) == left
    assert edited.packed.counts["images"] == {"train": 1, "val": 1}


def test_class_is_renamed(parent: Imported) -> None:
    edited = edit(parent, rename_classes={"cat": "고양이"})
    assert edited.packed.classes == ["고양이", "dog"]
    assert edited.files["labels/train/a.txt"] == parent.files["labels/train/a.txt"]


def test_classes_change_places_if_each_gets_the_others_name(parent: Imported) -> None:
    assert edit(parent, rename_classes={"cat": "dog", "dog": "cat"}).packed.classes == ["dog", "cat"]


def test_classes_are_merged_if_one_gets_the_name_of_another(parent: Imported) -> None:
    edited = edit(parent, rename_classes={"dog": "cat"})
    assert edited.packed.classes == ["cat"]
    assert edited.packed.counts["classes"] == {"cat": 6}


def test_object_with_the_labels_of_both_merged_classes_has_one(tmp_path: Path) -> None:
    both = "0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n"
    edited = edit(make(tmp_path / "parent", yolo_splits({"labels/train/a.txt": both})), rename_classes={"dog": "cat"})
    assert edited.files["labels/train/a.txt"] == b"0 0.5 0.5 0.2 0.2\n"
    assert edited.codes["LABEL_DUPLICATE"] == 1


def test_removed_class_takes_its_objects_and_leaves_the_images(parent: Imported) -> None:
    edited = edit(parent, remove_classes=["cat"])
    assert edited.packed.classes == ["dog"]
    assert edited.files["labels/train/a.txt"] == b"0 0.3 0.3 0.2 0.2\n"
    assert edited.packed.counts["images"] == parent.packed.counts["images"]


def test_image_shows_nothing_if_all_its_objects_went_with_a_class(tmp_path: Path) -> None:
    parent = make(tmp_path / "parent", yolo_splits({"labels/train/a.txt": LINES[0]}))
    edited = edit(parent, remove_classes=["cat"])
    assert edited.files["labels/train/a.txt"] == b""
    assert "IMAGE_UNLABELLED" not in edited.codes


def test_splits_are_made_anew(tmp_path: Path) -> None:
    parent = make(tmp_path / "parent", yolo(10))
    edited = edit(parent, split={"train": 0.5, "val": 0.3, "test": 0.2, "seed": 1})
    counts = edited.packed.counts["images"]
    assert (list(counts), sum(counts.values())) == (["train", "val", "test"], 10)
    assert abs(counts["train"] - 5) <= 1 and abs(counts["val"] - 3) <= 1 and edited.codes["SPLIT_MADE"] == 1


def test_everything_an_edit_names_wrongly_is_listed(parent: Imported) -> None:
    edited = edit(
        parent,
        remove_images=["images/train/x.jpg"],
        rename_classes={"cow": "ox", "cat": " "},
        remove_classes=["cat", "wolf"],
    )
    assert (edited.outcome.status, edited.outcome.code) == ("invalid", "INVALID")
    fields = {(field["field"], field["value"]) for field in edited.outcome.details["fields"]}
    assert fields == {
        ("edit.remove_images", "images/train/x.jpg"),
        ("edit.rename_classes", "cow"),
        ("edit.rename_classes", " "),
        ("edit.remove_classes", "cat"),
        ("edit.remove_classes", "wolf"),
    }


def test_val_is_taken_from_train_if_an_edit_leaves_none_and_there_is_enough(parent: Imported) -> None:
    edited = edit(parent, remove_images=["images/val/c.jpg"], split=None)
    assert edited.packed.counts["images"] == {"train": 1, "val": 1}
    assert edited.codes["SPLIT_MADE"] == 1
    refused = make(parent.folder.with_name("second"), None, edited, edit={"remove_images": ["images/train/a.jpg"]})
    assert (refused.outcome.status, refused.codes["SPLIT_EMPTY"]) == ("refused", 1)


def test_merged_folders_keep_all_their_images(classified: Imported) -> None:
    edited = edit(classified, rename_classes={"dog": "cat"}, split={"seed": 1})
    assert edited.packed.counts["classes"] == {"cat": 8}
    assert len(edited.files) == 8


def test_folders_stay_in_order_if_classes_are_renamed(classified: Imported) -> None:
    edited = edit(classified, rename_classes={"cat": "zebra"})
    assert edited.packed.classes == ["dog", "zebra"]
    assert edited.packed.counts["classes"] == {"dog": 4, "zebra": 4}
    assert {name.split("/")[1] for name in edited.files} == {"dog", "zebra"}


def test_images_of_a_removed_folder_are_left_out(tmp_path: Path) -> None:
    emus = {f"emu/{number}.png": picture(90 + number, ".png", (12, 12)) for number in range(4)}
    files = folders(emus)
    edited = edit(make(tmp_path / "parent", files), remove_classes=["emu"])
    assert edited.packed.classes == ["cat", "dog"]
    assert edited.codes["IMAGE_UNLABELLED"] == 4


def test_upload_joins_with_its_classes_matched_by_name(parent: Imported) -> None:
    new: Files = {"data.yaml": "names: [emu, dog]", "images/d.jpg": picture(30), "labels/d.txt": LINES[2]}
    added = add(parent, new)
    assert added.packed.classes == ["cat", "dog", "emu"]
    assert added.packed.counts["classes"] == {"cat": 3, "dog": 4, "emu": 1}
    assert added.files["labels/train/d.txt"].split()[0::5] == [b"2", b"1"]
    assert {name: data for name, data in parent.files.items() if name != "data.yaml"}.items() <= added.files.items()


def test_new_folder_takes_its_place_among_the_others(classified: Imported) -> None:
    bears = {
        f"{name}/{number}.png": picture(60 + number, ".png", (12, 12)) for name in ("bear",) for number in range(4)
    }
    dogs: Files = {f"dog/{number}.png": picture(70 + number, ".png", (12, 12)) for number in range(2)}
    added = add(classified, {**bears, **dogs})
    assert added.packed.classes == ["bear", "cat", "dog"]
    assert added.packed.counts["classes"] == {"bear": 4, "cat": 4, "dog": 6}
    assert all(data == added.files[name] for name, data in classified.files.items())


def test_numbers_are_those_of_the_version_if_the_upload_names_no_classes(parent: Imported) -> None:
    added = add(parent, {"images/d.jpg": picture(30), "labels/d.txt": LINES[2]})
    assert added.packed.classes == ["cat", "dog"]
    assert added.packed.counts["classes"] == {"cat": 4, "dog": 4}
    assert added.codes["CLASS_NUMBERS_TAKEN"] == 1


def test_images_that_join_share_the_splits_and_others_stay(tmp_path: Path) -> None:
    parent = make(tmp_path / "parent", yolo(10))
    more = {name.replace("/", "/new-"): data for name, data in yolo(20).items() if "data.yaml" not in name}
    added = add(parent, {"data.yaml": "names: [cat, dog]", **more})
    assert added.codes["IMAGE_DUPLICATE"] == 10
    before = dict(parent.rows("SELECT path, split FROM images"))
    assert before.items() <= added.splits.items()
    assert added.packed.counts["images"] == {"train": 16, "val": 4}


def test_known_image_is_left_out_and_its_new_labels_are_told(parent: Imported) -> None:
    again: Files = {"data.yaml": "names: [cat, dog]", "images/a.jpg": picture(0), "labels/a.txt": LINES[0]}
    added = add(parent, again)
    assert added.packed.sha256 == parent.packed.sha256
    assert {code: added.codes.get(code) for code in ("IMAGE_DUPLICATE", "IMAGE_TWO_LABELS")} == {
        "IMAGE_DUPLICATE": 1,
        "IMAGE_TWO_LABELS": 1,
    }


def test_name_of_the_version_stays_if_a_new_image_has_it_too(parent: Imported) -> None:
    new: Files = {"data.yaml": "names: [cat, dog]", "images/A.jpg": picture(30), "labels/A.txt": LINES[2]}
    added = add(parent, new)
    assert {"images/train/a.jpg", "images/train/A-2.jpg"} <= added.files.keys()
    assert added.files["images/train/a.jpg"] == parent.files["images/train/a.jpg"]


def test_folders_cannot_be_alike(classified: Imported) -> None:
    edited = edit(classified, rename_classes={"dog": "Cat"})
    assert [field["value"] for field in edited.outcome.details["fields"]] == ["Cat"]
    names = ("Cat/1", "Cat/2", "dog/8", "dog/9")
    added = add(classified, {f"{name}.png": picture(60 + int(name[-1]), ".png", (12, 12)) for name in names})
    assert added.outcome.status == "refused" and added.codes["CLASS_NAME_INVALID"] == 1


def test_classes_that_are_alike_are_told(parent: Imported) -> None:
    added = add(parent, {"data.yaml": "names: [Cat]", "images/d.jpg": picture(30), "labels/d.txt": LINES[0]})
    assert added.packed.classes == ["cat", "dog", "Cat"]
    assert added.codes["CLASS_NAMES_ALIKE"] == 1


def test_poses_with_other_keypoints_cannot_join(tmp_path: Path) -> None:
    parent = make(tmp_path / "parent", files_of(TaskType.POSE_ESTIMATION))
    lines = "0 0.5 0.5 0.2 0.2 0.5 0.5 2\n"
    other: Files = {"data.yaml": "names: [cat]\nkpt_shape: [1, 3]", "images/d.jpg": picture(30), "labels/d.txt": lines}
    added = add(parent, other)
    assert (added.outcome.status, added.codes["KEYPOINTS_DISAGREE"]) == ("refused", 1)


def test_upload_of_another_task_cannot_join(parent: Imported) -> None:
    added = add(parent, folders())
    assert (added.outcome.status, next(iter(added.codes))) == ("refused", "FORMAT_UNKNOWN")


def test_version_without_its_index_is_no_parent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"parent\.sqlite is missing"):
        make(tmp_path / "one", None, edit={})
