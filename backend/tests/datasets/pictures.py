"""Small pictures in every format, with parts that can be told apart after turning."""

import io
from typing import Any

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
WIDTH, HEIGHT = 48, 32
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # what a camera held that way does to the scene


def picture(mode: str = "RGB", width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Red, green, blue and white quarters: every turn of it is another picture."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("lime", (width // 2, 0, width, height // 2))
    image.paste("blue", (0, height // 2, width // 2, height))
    image.paste("white", (width // 2, height // 2, width, height))
    return image.convert(mode)


def encoded(image: Image.Image | None = None, kind: str = "JPEG", **options: Any) -> bytes:
    output = io.BytesIO()
    (image or picture()).save(output, kind, **options)
    return output.getvalue()


def turned(kind: str, orientation: int) -> bytes:
    """The picture as a camera writes it that was held another way: upright only by its EXIF."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turn = TURNS[orientation]
    scene = picture()
    return encoded(scene.transpose(turn) if turn is not None else scene, kind, exif=exif)


def decoded(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def quarters(image: Image.Image) -> list[tuple[bool, ...]]:
    """Which channels are bright in the middle of each quarter: top left, top right, bottom left, bottom right."""
    pixels = np.asarray(image.convert("RGB"))
    height, width = pixels.shape[:2]
    points = [(y * height // 4, x * width // 4) for y in (1, 3) for x in (1, 3)]
    return [tuple(bool(channel > 127) for channel in pixels[point]) for point in points]
