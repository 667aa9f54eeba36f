"""Pixels, as COCO and Pascal VOC state them, to fractions of the upright image.

Both formats state the size of the image that was labelled. Where that is the size of the file's pixels as they lie and
not the size of the upright image, coordinates are turned with the image (EXIF 2.32, orientation). Where both are the
same (half a turn, mirrored, square) coordinates are taken as upright, since annotation tools show images upright.
A stated size that is neither does not scale anything: coordinates stay pixels of the file.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.datasets.annotations import Box, Polygon
from app.datasets.draft import SourceImage

Size = tuple[int, int]  # width, height
_Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """What coordinates count in: an image of `width` by `height` pixels, to be turned by the EXIF `orientation`."""

    width: int
    height: int
    orientation: int = 1

    def point(self, x: float, y: float) -> _Point:
        return _TURNS[self.orientation](x / self.width, y / self.height)

    def box(self, x1: float, y1: float, x2: float, y2: float) -> Box:
        """A box inside out stays so: what is wrong with it is not decided here."""
        (left, top), (right, bottom) = self.point(x1, y1), self.point(x2, y2)
        if self.orientation == 1 or not all(map(math.isfinite, (left, top, right, bottom))):
            return left, top, right, bottom
        low, high = (min(left, right), min(top, bottom)), (max(left, right), max(top, bottom))
        return (*low, *high) if x1 <= x2 and y1 <= y2 else (*high, *low)

    def polygon(self, numbers: Sequence[float]) -> Polygon:
        """`numbers` come in pairs; a last one without a pair is kept, for whoever judges polygons."""
        pairs = zip(numbers[0::2], numbers[1::2], strict=False)
        turned = [value for x, y in pairs for value in self.point(x, y)]
        return (*turned, *numbers[len(turned) :])


def frame_of(image: SourceImage, stated: Size | None) -> Frame:
    """The frame of coordinates whose source states this size of the image, or none."""
    upright = (image.width, image.height)
    if image.orientation >= 5 and stated == _raw_size(image) and stated != upright:
        return Frame(*stated, image.orientation)
    return Frame(*upright)


def disagreement(image: SourceImage, stated: Size | None) -> str | None:
    """What to tell of a stated size that is the image's neither as it lies nor upright."""
    if stated is None or stated in ((image.width, image.height), _raw_size(image)):
        return None
    message = f"states {stated[0]} × {stated[1]} pixels, but {image.entry} has {image.width} × {image.height}"
    return f"{message}; coordinates were read as pixels of the file"


def _raw_size(image: SourceImage) -> Size:
    return (image.height, image.width) if image.orientation >= 5 else (image.width, image.height)


_TURNS: dict[int, Callable[[float, float], _Point]] = {
    1: lambda u, v: (u, v),
    5: lambda u, v: (v, u),
    6: lambda u, v: (1 - v, u),
    7: lambda u, v: (1 - v, 1 - u),
    8: lambda u, v: (v, 1 - u),
}
