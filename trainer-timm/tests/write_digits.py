"""`samples/.venv/bin/python write_digits.py BUCKET`: scikit-learn's 1,797 digits, 32 pixels each, as dataset `tiny`.

A fifth of them is held out as `val`. Run by the environment that has scikit-learn.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from tinysets import store_files


def main() -> None:
    digits, files = load_digits(), {}
    for place, number in enumerate(np.random.default_rng(0).permutation(len(digits.images))):
        pixels = (digits.images[number] * 255 / 16).astype(np.uint8)
        data = io.BytesIO()
        Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(data, "png")
        split = "train" if place % 5 else "val"
        files[f"{split}/{digits.target[number]}/{number}.png"] = data.getvalue()
    store_files(Path(sys.argv[1]), files)


if __name__ == "__main__":
    main()
