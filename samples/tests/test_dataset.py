"""The layout of each task type, and labels that really lie on the pixels they describe."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from conftest import SMALL, MadeDataset
from digits.dataset import CLASSIFICATION, TASK_TYPES, Request, problems, write_dataset
from digits.labels import LABELS
from PIL import Image, ImageDraw

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
INK_BELOW = 0.8  # of the paper's brightness; ink at the edge of a stroke is pale


def label_rows(label: Path) -> list[Floats]:
    return [np.array(line.split(), dtype=np.float64) for line in label.read_text(encoding="utf-8").splitlines()]


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    images = sorted(folder.glob("images/*/*.jpg"))
    return [(one, folder / "labels" / one.parent.name / f"{one.stem}.txt") for one in images]


def ink_of(image: Path) -> Mask:
    """Where the picture is clearly darker than its paper."""
    grey = np.asarray(Image.open(image).convert("L"), dtype=np.float64)
    dark: Mask = grey < INK_BELOW * np.median(grey)
    return dark


def area_of(row: Floats, task_type: str, side: int) -> Mask:
    """The pixels that a label says are the object's."""
    picture = Image.new("1", (side, side))
    draw = ImageDraw.Draw(picture)
    if task_type in ("object_detection", "pose_estimation"):
        (x, y), (w, h) = row[1:3] * side, row[3:5] * side
        draw.rectangle((x - w / 2, y - h / 2, x + w / 2 - 1, y + h / 2 - 1), fill=1)
    else:
        draw.polygon([tuple(point) for point in row[1:].reshape(-1, 2) * side], fill=1)
    return np.asarray(picture)


def grown(area: Mask, by: int = 2) -> Mask:
    padded = np.pad(area, by)
    shifts = range(2 * by + 1)
    height, width = area.shape
    reached: Mask = np.any([padded[y : y + height, x : x + width] for y in shifts for x in shifts], axis=0)
    return reached


@pytest.mark.parametrize("task_type", LABELS)
def test_all_ink_lies_in_the_labels(made: MadeDataset, task_type: str) -> None:
    for image, label in pairs(made(task_type)):
        ink = ink_of(image)
        areas = [area_of(row, task_type, len(ink)) for row in label_rows(label)]
        assert ink.any()
        assert not (ink & ~grown(np.any(areas, axis=0))).any(), image


@pytest.mark.parametrize("task_type", ["object_detection", "pose_estimation"])
def test_boxes_are_tight(made: MadeDataset, task_type: str) -> None:
    for image, label in pairs(made(task_type)):
        ink = ink_of(image)
        for row in label_rows(label):
            rows, columns = np.nonzero(ink & area_of(row, task_type, len(ink)))
            extent = np.array([np.ptp(columns) + 1, np.ptp(rows) + 1])
            assert (np.abs(extent - row[3:5] * len(ink)) <= 4).all(), (image, row)


def test_polygons_follow_the_stroke_closer_than_boxes(made: MadeDataset) -> None:
    inside, outside = [], []
    for image, label in pairs(made("instance_segmentation")):
        ink = ink_of(image)
        for row in label_rows(label):
            area = area_of(row, "instance_segmentation", len(ink))
            inside.append((ink & area).sum() / area.sum())
            points = row[1:].reshape(-1, 2) * len(ink)
            (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
            outside.append(area.sum() / ((x2 - x1) * (y2 - y1)))
    assert np.mean(inside) > 0.75  # the rest is the hole of a zero and pale edges
    assert np.mean(outside) < 0.9


def test_keypoints_lie_on_the_edges_and_in_the_middle_of_the_box(made: MadeDataset) -> None:
    for image, label in pairs(made("pose_estimation")):
        side = len(ink_of(image))
        for row in label_rows(label):
            assert len(row) == 1 + 4 + 5 * 3
            (cx, cy), (w, h) = row[1:3] * side, row[3:5] * side
            points = row[5:].reshape(5, 3)
            assert (points[:, 2] == 2).all()
            top, bottom, left, right, centre = points[:, :2] * side
            assert [top[1], bottom[1]] == pytest.approx([cy - h / 2, cy + h / 2], abs=0.51)
            assert [left[0], right[0]] == pytest.approx([cx - w / 2, cx + w / 2], abs=0.51)
            assert abs(centre - [cx, cy]).max() < max(w, h) / 4


def test_rotated_glyphs_are_really_turned(made: MadeDataset) -> None:
    angles = []
    for _, label in pairs(made("oriented_object_detection")):
        for row in label_rows(label):
            (x1, y1), (x2, y2) = row[1:5].reshape(2, 2)
            angles.append(np.degrees(np.arctan2(y1 - y2, x2 - x1)))
    assert min(angles) < -30 and max(angles) > 30


@pytest.mark.parametrize("task_type", LABELS)
def test_layout_and_values_are_yolo(made: MadeDataset, task_type: str) -> None:
    folder = made(task_type)
    described = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert described["names"] == ["zero", "one", "two"] and described["nc"] == 3
    assert ("kpt_shape" in described) == (task_type == "pose_estimation")
    for split, count in {"train": SMALL, "val": 3, "test": 3}.items():
        assert len(list((folder / described[split]).iterdir())) == count
        rows = [row for path in (folder / "labels" / split).iterdir() for row in label_rows(path)]
        assert {int(row[0]) for row in rows} == {0, 1, 2}
        assert all((row[1:5] >= 0).all() and (row[1:5] <= 1).all() for row in rows)


def test_classification_has_one_glyph_and_every_class_in_every_split(made: MadeDataset) -> None:
    folder = made(CLASSIFICATION)
    for split in ("train", "val", "test"):
        assert sorted(path.name for path in (folder / split).iterdir()) == ["one", "two", "zero"]
    assert all(ink_of(image).mean() > 0.03 for image in folder.glob("*/*/*.jpg"))


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_same_bytes_if_asked_again(made: MadeDataset, tmp_path: Path, task_type: str) -> None:
    write_dataset(Request(task_type, images=SMALL), tmp_path)
    assert contents(tmp_path) == contents(made(task_type))


def test_other_bytes_if_seed_differs(made: MadeDataset, tmp_path: Path) -> None:
    write_dataset(Request(images=SMALL, seed=1), tmp_path)
    assert contents(tmp_path) != contents(made("object_detection"))


def test_smaller_dataset_begins_the_larger_one(made: MadeDataset, tmp_path: Path) -> None:
    write_dataset(Request(images=4), tmp_path)
    larger = contents(made("object_detection"))
    assert all(larger[path] == data for path, data in contents(tmp_path).items())


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_held_out_image_is_of_the_test_split(tmp_path: Path, task_type: str) -> None:
    image = write_dataset(Request(task_type, images=1, canvas=48, classes=2), tmp_path)
    assert "test" in image.relative_to(tmp_path).parts


def test_all_problems_are_named_if_the_request_is_wrong() -> None:
    found = problems(Request("flying", images=0, canvas=10, classes=11, seed=-1))
    assert len(found) == 5
    assert all(value in " ".join(found) for value in ("'flying'", "--images 0", "--canvas 10", "--classes 11", "-1"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
