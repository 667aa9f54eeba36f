"""Pictures as people bring them, made what Ultralytics expects."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from utils import TrainerFailure

Image.MAX_IMAGE_PIXELS = 250_000_000  # line-scan cameras make large pictures; twice as many are refused as a bomb
_open = Image.open  # before Ultralytics replaces it by one that installs a package for what it cannot identify


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Upright as EXIF says, 8 bits, (height, width, BGR). Raises TrainerFailure IMAGE_INVALID."""
    try:
        with _open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I"):  # 16 bits of grey, as industrial cameras give
                upright = Image.fromarray(np.clip(np.asarray(upright) // 256, 0, 255).astype(np.uint8))
            return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])
    except (OSError, SyntaxError, ValueError, ImportError, Image.DecompressionBombError) as error:
        reason = str(error).replace(str(path), repr(path.name))
        raise TrainerFailure("IMAGE_INVALID", f"{path.name} is not an image that can be read: {reason}") from error
