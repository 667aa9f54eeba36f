"""Handwritten digits: which of them each split may use, and how one is drawn at a size and an angle.

The digits are the 1,797 of scikit-learn's `load_digits` (8x8 pixels, 0 to 16), which come with the package.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_digits

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Pools = Mapping[str, list[list[Floats]]]

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLIT_SHARES = {"train": 0.7, "val": 0.2, "test": 0.1}
INK_THRESHOLD = 0.35
FULL_INK = 16.0


@dataclass(frozen=True)
class Glyph:
    """One drawn digit: `ink` from 0 to 1, one connected stroke, exactly zero outside it.

    `corners` are the four corners (x, y) of the box around the upright digit, turned with it, clockwise from the
    upright digit's top left, in pixels of `ink`.
    """

    class_id: int
    ink: Floats
    corners: Floats

    @property
    def mask(self) -> Mask:
        return self.ink > 0


def load_pools(classes: int, seed: int) -> Pools:
    """For each split and class, the 8x8 digits that this split alone may use."""
    digits = load_digits()
    pools: dict[str, list[list[Floats]]] = {split: [] for split in SPLIT_SHARES}
    for class_id in range(classes):
        images = np.unique(digits.images[digits.target == class_id], axis=0)
        order = np.random.default_rng([seed, class_id]).permutation(len(images))
        for split, chosen in _divide(order).items():
            pools[split].append([images[index] / FULL_INK for index in chosen])
    return pools


def draw_glyph(digit: Floats, class_id: int, size: int, degrees: float = 0.0) -> Glyph:
    """The digit `size` pixels high, turned counterclockwise by `degrees` about its middle, cut to its stroke's box."""
    upright = _cut(_largest_stroke(_resized(digit, size)))
    if not degrees:
        height, width = upright.shape
        return Glyph(class_id, upright, _box_corners(width, height))
    return _turned(upright, class_id, degrees)


def _divide(order: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    train_end = round(len(order) * SPLIT_SHARES["train"])
    val_end = round(len(order) * (SPLIT_SHARES["train"] + SPLIT_SHARES["val"]))
    return dict(zip(SPLIT_SHARES, np.split(order, [train_end, val_end]), strict=True))


def _resized(digit: Floats, size: int) -> Floats:
    """Scaled so that the digit's own rows, not the 8x8 frame, are `size` pixels high."""
    rows = np.flatnonzero(digit.max(axis=1) > INK_THRESHOLD)
    framed = np.pad(digit, 1)  # strokes end round instead of being cut by the frame
    frame = round(size * len(framed) / (rows[-1] - rows[0] + 1))
    scaled = Image.fromarray(framed.astype(np.float32)).resize((frame, frame), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(scaled, dtype=np.float64), 0.0, 1.0)


def _largest_stroke(ink: Floats) -> Floats:
    """Only the largest connected stroke: a label holds one outline, and nothing drawn may lie outside it."""
    labelled, count = ndimage.label(ink > INK_THRESHOLD)
    sizes = np.bincount(labelled.ravel(), minlength=count + 1)[1:]
    return np.where(labelled == int(sizes.argmax()) + 1, ink, 0.0)


def _cut(ink: Floats) -> Floats:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _turned(upright: Floats, class_id: int, degrees: float) -> Glyph:
    height, width = upright.shape
    side = int(np.ceil(np.hypot(width, height))) + 2
    top, left = (side - height) // 2, (side - width) // 2
    frame = np.zeros((side, side), dtype=np.float32)
    frame[top : top + height, left : left + width] = upright
    turned = Image.fromarray(frame).rotate(degrees, Image.Resampling.BICUBIC)
    ink = _largest_stroke(np.clip(np.asarray(turned, dtype=np.float64), 0.0, 1.0))
    corners = _rotate(_box_corners(width, height) + np.array([left, top]), degrees, np.array([side / 2, side / 2]))
    return Glyph(class_id, ink, corners)


def _box_corners(width: int, height: int) -> Floats:
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)


def _rotate(points: Floats, degrees: float, centre: Floats) -> Floats:
    """Counterclockwise as seen on the screen, where y points down: as PIL's `rotate` turns."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: Floats = (points - centre) @ matrix.T + centre
    return turned
