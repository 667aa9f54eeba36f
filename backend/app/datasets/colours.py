"""Pixels as trainers read them: 8 bits a channel, grey or RGB, with or without alpha."""

import numpy as np
from PIL import Image, TiffImagePlugin

_PLAIN = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX")
_CONVERTED = {"CMYK": "RGB", "YCbCr": "RGB", "RGBa": "RGBA", "La": "LA", "PA": "RGBA", "RGBX": "RGB"}
_NAMES = {"CMYK": "CMYK", "YCbCr": "YCbCr", "PA": "a palette with alpha", "RGBa": "premultiplied alpha"}
_TIFF_PLAIN = (1, 5, 8, 32773, 32946)  # none, LZW, Deflate, PackBits, old Deflate: what every reader has
_PNG_DEPTH = 24  # where the header says how many bits a channel has


class Unsupported(Exception):
    """Pixels that nobody can turn into 8 bits without knowing what they mean."""


def conversion(image: Image.Image, data: bytes, kind: str) -> str | None:
    """What has to be converted, in words; None if the pixels can stay as they are written."""
    if image.mode in ("I", "F", "LAB", "HSV"):
        message = f"pixels of mode {image.mode} have no agreed black and white; convert to 8 bits a channel"
        raise Unsupported(message)
    if image.mode.startswith("I;16") or (kind == "PNG" and data[_PNG_DEPTH] == 16):
        return "16 bits a channel, of which the upper 8 were kept"
    if image.mode == "P" and "transparency" in image.info:
        return "a palette with alpha"
    if image.mode not in _PLAIN:
        return _NAMES.get(image.mode, image.mode)
    return _tiff_conversion(image) if kind == "TIFF" else None


def _tiff_conversion(image: Image.Image) -> str | None:
    """A TIFF stays if it is as plain as a PNG; of anything else readers make different things."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    if max(bits) > 8:
        return f"{max(bits)} bits a channel, of which the upper 8 were kept"
    compression = int(tags.get(TiffImagePlugin.COMPRESSION, 1))
    if compression not in _TIFF_PLAIN:
        return f"TIFF compression {TiffImagePlugin.COMPRESSION_INFO.get(compression, compression)}"
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1)
    plain = image.mode in ("L", "RGB") and photometric in (1, 2) and set(bits) == {8}
    return None if plain else f"TIFF pixels of mode {image.mode}"


def convert(image: Image.Image) -> Image.Image:
    """The decoded image in 8 bits: what `conversion` announced, or as it is."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    wanted = _CONVERTED.get(image.mode)
    return image.convert(wanted) if wanted else image


def brightest(image: Image.Image) -> int | None:
    """The highest value of a grey image of 16 bits; None for others, where Pillow has dropped the lower bits."""
    return int(np.asarray(image).max()) if image.mode.startswith("I;16") else None
