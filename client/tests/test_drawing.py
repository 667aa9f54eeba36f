from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageColor
from vision_client.drawing import PALETTE, annotate, save
from vision_client.errors import VisionError
from vision_client.models import PredictionResult

WHITE = (255, 255, 255)
COLOUR = ImageColor.getrgb(PALETTE[1])
SIZE = (160, 120)
SCALE = 4


def make_image(folder: Path, size: tuple[int, int] = SIZE) -> Path:
    path = folder / "image.png"
    Image.new("RGB", size, WHITE).save(path)
    return path


def make_result(*shapes: dict[str, Any], task: str = "object_detection") -> PredictionResult:
    seen = [{"class_id": 1, "class_name": "one", "confidence": 0.9, **shape} for shape in shapes]
    measures = {"width": SIZE[0], "height": SIZE[1], "count": len(seen), "milliseconds": {}}
    return PredictionResult.model_validate({"image": "x", "task_type": task, "predictions": seen, **measures})


def at(picture: Image.Image, x: float, y: float) -> Any:
    return picture.getpixel((round(x * SCALE), round(y * SCALE)))


def test_small_image_is_enlarged_and_its_box_drawn_in_place(tmp_path: Path) -> None:
    picture = annotate(make_image(tmp_path), make_result({"box": [40, 50, 90, 100]}))
    assert picture.size == (SIZE[0] * SCALE, SIZE[1] * SCALE)
    assert at(picture, 40, 75) == at(picture, 90, 75) == at(picture, 65, 100) == COLOUR
    assert at(picture, 65, 75) == at(picture, 30, 75) == WHITE


def test_label_stands_above_the_box(tmp_path: Path) -> None:
    picture = annotate(make_image(tmp_path), make_result({"box": [40, 50, 90, 100]}))
    assert at(picture, 40.5, 49) == COLOUR


def test_label_stays_in_the_picture_if_the_box_leaves_it(tmp_path: Path) -> None:
    picture = annotate(make_image(tmp_path), make_result({"box": [-10, -5, 400, 300]}))
    assert picture.size == (SIZE[0] * SCALE, SIZE[1] * SCALE)


def test_polygon_is_filled_so_that_the_image_shows_through(tmp_path: Path) -> None:
    result = make_result({"polygon": [[20, 20], [120, 20], [120, 100], [20, 100]]}, task="instance_segmentation")
    inside = at(annotate(make_image(tmp_path), result), 70, 60)
    assert inside not in (WHITE, COLOUR) and all(min(WHITE[i], COLOUR[i]) <= inside[i] <= 255 for i in range(3))


def test_keypoint_is_drawn_unless_it_is_unsure(tmp_path: Path) -> None:
    points = [{"x": 30, "y": 30, "confidence": 0.9}, {"x": 100, "y": 80, "confidence": 0.1}, {"x": 60, "y": 90}]
    picture = annotate(make_image(tmp_path), make_result({"box": [10, 10, 150, 110], "keypoints": points}))
    assert at(picture, 30, 30) == at(picture, 60, 90) == COLOUR
    assert at(picture, 100, 80) == WHITE


def test_rotated_box_is_drawn_by_its_corners(tmp_path: Path) -> None:
    corners = [[80, 20], [120, 60], [80, 100], [40, 60]]
    picture = annotate(make_image(tmp_path), make_result({"rotated_box": corners, "box": [40, 20, 120, 100]}))
    assert at(picture, 100, 40) == at(picture, 60, 80) == COLOUR
    assert at(picture, 41, 99) == WHITE


def test_class_is_written_in_the_corner_if_it_has_no_shape(tmp_path: Path) -> None:
    picture = annotate(make_image(tmp_path), make_result({}, {"class_name": "손글씨"}, task="image_classification"))
    assert picture.getpixel((1, 1)) == COLOUR


def test_image_is_turned_if_its_orientation_says_so(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40), WHITE).save(path, exif=exif)
    assert annotate(path, make_result()).size == (320, 640)


def test_picture_is_saved_in_the_format_of_its_name(tmp_path: Path) -> None:
    picture = annotate(make_image(tmp_path), make_result())
    save(picture, tmp_path / "new" / "seen.jpg")
    with Image.open(tmp_path / "new" / "seen.jpg") as saved:
        assert saved.format == "JPEG"


def test_refused_if_the_format_is_unknown_or_the_image_is_none(tmp_path: Path) -> None:
    picture = annotate(make_image(tmp_path), make_result())
    with pytest.raises(VisionError, match=r"seen\.docx cannot be written"):
        save(picture, tmp_path / "seen.docx")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(VisionError, match="cannot be read as an image"):
        annotate(tmp_path / "text.png", make_result())
