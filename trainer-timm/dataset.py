"""A dataset in canonical layout, one folder per class under each split, as batches of tensors."""

import ctypes
import random
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from images import SUFFIXES, read_image
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from utils import TrainerFailure

HINT = "The layout is described in docs/trainer-contract.md; correct the dataset and add it again."
SIGNAL_IF_PARENT_DIES = 1  # PR_SET_PDEATHSIG

Sample = tuple[Path, int]
Transform = Callable[[Image.Image], torch.Tensor]


@dataclass(frozen=True)
class Data:
    """The images of a dataset: (path, class number) by split; a class's number is its place in `class_names`."""

    root: Path
    class_names: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]

    def counts(self) -> list[int]:
        """Training images of each class."""
        counts = [0] * len(self.class_names)
        for _, number in self.train:
            counts[number] += 1
        return counts


def find_images(root: Path) -> Data:
    """What there is to learn from; classes are the folders of `train`. Raises TrainerFailure DATASET_INVALID."""
    folders = {split: _class_folders(root / split) for split in ("train", "val")}
    names = tuple(sorted(folders["train"]))
    if unknown := sorted(set(folders["val"]) - set(names)):
        raise _invalid(f"val has classes that train has not: {', '.join(unknown[:10])}")
    if len(names) < 2:
        raise _invalid(f"train has {len(names)} folders of classes; there is nothing to tell apart")
    samples = {split: _samples(folders[split], names) for split in folders}
    if not samples["val"]:
        raise _invalid("the dataset has no image in val")
    with_images = {number for _, number in samples["train"]}
    if empty := [name for number, name in enumerate(names) if number not in with_images]:
        raise _invalid(f"the dataset has no image in train/{empty[0]}")
    return Data(root, names, samples["train"], samples["val"])


def make_loader(
    samples: Sequence[Sample], transform: Transform, batch_size: int, workers: int, device: torch.device, training: bool
) -> Any:
    """Batches of (images, classes, places in `samples`). In training they are shuffled, and an odd rest is left out."""
    return DataLoader(
        Images(samples, transform),
        batch_size=batch_size,
        shuffle=training,
        drop_last=training and len(samples) % batch_size == 1,  # batch normalisation cannot learn from one image
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        worker_init_fn=_start_worker if workers else None,
    )


class BrokenImage(Exception):
    """An image cannot be read. With one argument, so that it survives the way from a loading process."""


class Images(Dataset):  # type: ignore[misc]
    """Each item: the transformed image, its class and its place."""

    def __init__(self, samples: Sequence[Sample], transform: Transform) -> None:
        self.samples, self.transform = samples, transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        path, number = self.samples[index]
        try:
            image = read_image(path)
        except TrainerFailure as failure:
            raise BrokenImage(f"{'/'.join(path.parts[-3:])}: {failure.message}") from failure
        return self.transform(image), number, index


def _start_worker(number: int) -> None:
    """A loading process dies with the trainer, however that ends, and leaves stopping to it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SIGNAL_IF_PARENT_DIES, signal.SIGKILL)
    seed = torch.initial_seed() % 2**32  # another in every worker
    random.seed(seed)
    np.random.seed(seed)


def _class_folders(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise _invalid(f"the dataset has no folder {folder.name}")
    return {path.name: path for path in folder.iterdir() if path.is_dir()}


def _samples(folders: dict[str, Path], names: Sequence[str]) -> tuple[Sample, ...]:
    numbered = ((number, folders[name]) for number, name in enumerate(names) if name in folders)
    return tuple((path, number) for number, folder in numbered for path in _images(folder))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _invalid(message: str) -> TrainerFailure:
    return TrainerFailure("DATASET_INVALID", message, HINT)
