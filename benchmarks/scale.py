"""How much to measure."""

from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True)
class Scale:
    """Sizes of the measured training, of the load and of the datasets."""

    pairs: int = 5
    images: int = 320
    canvas: int = 160
    image_size: int = 128
    epochs: int = 3
    load_seconds: float = 15.0
    warm_up_seconds: float = 2.0
    import_images: int = 5_000
    import_side: int = 800  # about a gigabyte together
    archive_bytes: int = 2**30
    browse_images: int = 50_000
    browse_pages: int = 100

    @classmethod
    def quick(cls) -> Self:
        training = cls(pairs=1, images=12, canvas=96, image_size=64, epochs=2, load_seconds=2.0, warm_up_seconds=0.5)
        datasets = replace(training, import_images=60, import_side=320, archive_bytes=4 * 2**20)
        return replace(datasets, browse_images=600, browse_pages=5)

    def with_pairs(self, pairs: int) -> Self:
        return replace(self, pairs=pairs)
