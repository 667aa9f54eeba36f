"""Pictures as people bring them, upright and in RGB."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from utils import TrainerFailure

Image.MAX_IMAGE_PIXELS = 250_000_000  # line-scan cameras make large pictures; twice as many are refused as a bomb
SUFFIXES = {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"}


def read_image(path: Path) -> Image.Image:
    """Upright as EXIF says, 8 bits a channel, RGB. Raises TrainerFailure IMAGE_INVALID."""
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I"):  # 16 bits of grey, as industrial cameras give
                upright = Image.fromarray(np.clip(np.asarray(upright) // 256, 0, 255).astype(np.uint8))
            return upright.convert("RGB")
    except (OSError, SyntaxError, ValueError, ImportError, Image.DecompressionBombError) as error:
        reason = str(error).replace(str(path), repr(path.name))
        raise TrainerFailure("IMAGE_INVALID", f"{path.name} is not an image that can be read: {reason}") from error
