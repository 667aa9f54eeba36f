"""Pixels of a source to fractions of the upright image, held against Pillow's own turning."""

import math

import pytest
from PIL import Image, ImageOps

from app.datasets.draft import SourceImage
from app.datasets.frames import Frame, disagreement, frame_of

WIDTH, HEIGHT = 40, 30  # as the file lies
BOX = (4, 6, 12, 21)


def source(orientation: int, width: int = WIDTH, height: int = HEIGHT) -> SourceImage:
    """The image of a file of that size; its own width and height are upright."""
    upright = (height, width) if orientation >= 5 else (width, height)
    return SourceImage(1, "a.jpg", "0" * 64, "JPEG", *upright, orientation)


def turned(orientation: int) -> tuple[int, int, int, int]:
    """Where Pillow moves the pixels of the box."""
    picture = Image.new("L", (WIDTH, HEIGHT))
    picture.paste(255, BOX)
    picture.getexif()[0x0112] = orientation
    found = ImageOps.exif_transpose(picture).getbbox()
    assert found
    return found


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_coordinates_turn_with_the_image_if_the_raw_size_is_stated(orientation: int) -> None:
    frame = frame_of(source(orientation), (WIDTH, HEIGHT))
    x1, y1, x2, y2 = frame.box(*BOX)
    assert (x1 * HEIGHT, y1 * WIDTH, x2 * HEIGHT, y2 * WIDTH) == pytest.approx(turned(orientation))
    corners = frame.polygon(BOX)
    assert sorted((corners[0], corners[2])) == pytest.approx([x1, x2])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_coordinates_stay_if_the_upright_size_is_stated_or_none(orientation: int) -> None:
    image = source(orientation)
    for stated in ((image.width, image.height), None):
        assert frame_of(image, stated) == Frame(image.width, image.height)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_coordinates_stay_if_both_sizes_are_the_same(orientation: int) -> None:
    assert frame_of(source(orientation, 30, 30), (30, 30)) == Frame(30, 30)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("box", [(12, 6, 4, 21), (4, 21, 12, 6), (12, 21, 4, 6)])
def test_a_box_stays_inside_out_if_it_is_turned(orientation: int, box: tuple[int, int, int, int]) -> None:
    x1, y1, x2, y2 = Frame(WIDTH, HEIGHT, orientation).box(*box)
    assert x1 > x2 or y1 > y2


@pytest.mark.parametrize("orientation", [1, 5, 6, 7, 8])
def test_nan_stays_nan_if_it_is_turned(orientation: int) -> None:
    assert any(math.isnan(value) for value in Frame(WIDTH, HEIGHT, orientation).box(math.nan, 6, 12, 21))


def test_a_number_without_a_pair_is_kept() -> None:
    assert Frame(10, 10, 6).polygon([1, 2, 3]) == (0.8, 0.1, 3)


def test_a_stated_size_disagrees_if_it_is_neither_raw_nor_upright() -> None:
    image = source(6)
    assert disagreement(image, None) is disagreement(image, (WIDTH, HEIGHT)) is disagreement(image, (30, 40)) is None
    assert "80 × 60" in (disagreement(image, (80, 60)) or "")
