"""One picture: paper with uneven light, some digits in ink that do not touch, and where each of them lies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from digits.glyphs import Floats, Glyph, draw_glyph

GLYPH_SHARES = (0.225, 0.4)  # of the canvas' side: 36 to 64 pixels on 160
MAX_GLYPHS = 4
MAX_DEGREES = 60.0
GAP = 2
PLACING_TRIES = 40


@dataclass(frozen=True)
class Placed:
    """A glyph whose ink begins at pixel (`left`, `top`) of the canvas."""

    glyph: Glyph
    left: int
    top: int

    @property
    def corners(self) -> Floats:
        moved: Floats = self.glyph.corners + np.array([self.left, self.top])
        return moved

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 around the ink; x2 and y2 are the first column and row without any."""
        rows, columns = np.nonzero(self.glyph.mask)
        left, top = self.left, self.top
        return (
            left + int(columns.min()),
            top + int(rows.min()),
            left + int(columns.max()) + 1,
            top + int(rows.max()) + 1,
        )

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 around both the ink and the turned box."""
        low, high = self.corners.min(axis=0), self.corners.max(axis=0)
        x1, y1, x2, y2 = self.box
        return (min(x1, low[0]), min(y1, low[1]), max(x2, high[0]), max(y2, high[1]))


def place_glyphs(
    rng: np.random.Generator, pools: Sequence[Sequence[Floats]], canvas: int, first_class: int, *, turned: bool
) -> list[Placed]:
    """One to four glyphs that do not touch; the first is of `first_class`, so that every class appears."""
    placed: list[Placed] = []
    for number in range(int(rng.integers(1, MAX_GLYPHS + 1))):
        class_id = int(rng.integers(len(pools))) if number else first_class
        found = _find_place(rng, _random_glyph(rng, pools, class_id, canvas, turned), canvas, placed)
        if found:
            placed.append(found)
    return placed


def place_centred(rng: np.random.Generator, pools: Sequence[Sequence[Floats]], canvas: int, class_id: int) -> Placed:
    """A single large glyph near the middle, for classification."""
    size = int(canvas * rng.uniform(0.5, 0.7))
    glyph = draw_glyph(pools[class_id][int(rng.integers(len(pools[class_id])))], class_id, size)
    height, width = glyph.ink.shape
    shift = canvas * 0.1
    left = round((canvas - width) / 2 + rng.uniform(-shift, shift))
    top = round((canvas - height) / 2 + rng.uniform(-shift, shift))
    return Placed(glyph, min(max(left, 0), canvas - width), min(max(top, 0), canvas - height))


def draw_canvas(rng: np.random.Generator, canvas: int, placed: Sequence[Placed]) -> Image.Image:
    """The glyphs in dark ink on light, unevenly lit, slightly grainy paper."""
    picture = np.full((canvas, canvas, 3), rng.uniform(190, 245, size=3))
    picture *= _light(rng, canvas)[..., None]
    for one in placed:
        height, width = one.glyph.ink.shape
        region = picture[one.top : one.top + height, one.left : one.left + width]
        ink = one.glyph.ink[..., None]
        region[:] = region * (1 - ink) + rng.uniform(10, 90, size=3) * ink
    picture += rng.normal(0, 4, size=picture.shape)
    return Image.fromarray(np.clip(picture.round(), 0, 255).astype(np.uint8))


def _random_glyph(
    rng: np.random.Generator, pools: Sequence[Sequence[Floats]], class_id: int, canvas: int, turned: bool
) -> Glyph:
    digit = pools[class_id][int(rng.integers(len(pools[class_id])))]
    size = round(canvas * rng.uniform(*GLYPH_SHARES))
    return draw_glyph(digit, class_id, size, float(rng.uniform(-MAX_DEGREES, MAX_DEGREES)) if turned else 0.0)


def _find_place(rng: np.random.Generator, glyph: Glyph, canvas: int, others: Sequence[Placed]) -> Placed | None:
    """A place inside the canvas away from all others; None when none was found."""
    height, width = glyph.ink.shape
    for _ in range(PLACING_TRIES):
        left, top = (int(rng.integers(0, canvas - side + 1)) for side in (width, height))
        candidate = Placed(glyph, left, top)
        if not any(_near(candidate, other) for other in others):
            return candidate
    return None


def _near(one: Placed, other: Placed) -> bool:
    a, b = one.extent, other.extent
    return a[0] < b[2] + GAP and b[0] < a[2] + GAP and a[1] < b[3] + GAP and b[1] < a[3] + GAP


def _light(rng: np.random.Generator, canvas: int) -> Floats:
    """Brightness that falls by up to a fifth from one side to the opposite one."""
    angle, fall = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.2)
    across = np.linspace(-0.5, 0.5, canvas)
    slope = across[None, :] * np.cos(angle) + across[:, None] * np.sin(angle)
    light: Floats = 1 - fall * (slope - slope.min()) / (slope.max() - slope.min())
    return light
