"""How much to measure."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True)
class Scale:
    """Sizes of the measured training and of the load."""

    pairs: int = 5
    images: int = 320
    canvas: int = 160
    image_size: int = 128
    epochs: int = 3
    load_seconds: float = 15.0
    warm_up_seconds: float = 2.0

    @classmethod
    def quick(cls) -> Self:
        return cls(pairs=1, images=12, canvas=96, image_size=64, epochs=2, load_seconds=2.0, warm_up_seconds=0.5)

    def with_pairs(self, pairs: int) -> Self:
        return replace(self, pairs=pairs)
