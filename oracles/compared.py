"""Labels of two readers side by side: the same images, and for each the same classes and boxes."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from oracles.imported import Imported

Labels = dict[str, list[tuple[str, tuple[float, ...]]]]  # image name to (class, numbers)


def boxes_of(version: Imported) -> Labels:
    """By the image's base name."""
    found = version.objects().items()
    return {PurePosixPath(name).name: [(one.class_name, one.box) for one in objects] for name, objects in found}


def assert_same(ours: Labels, theirs: Labels, tolerance: float) -> None:
    """Equal but for `tolerance` pixels in each number."""
    assert sorted(ours) == sorted(theirs)
    for name in ours:
        left, right = (sorted((label, _rough(box)) for label, box in labels[name]) for labels in (ours, theirs))
        assert [label for label, _ in left] == [label for label, _ in right], name
        for (label, mine), (_, other) in zip(left, right, strict=True):
            assert len(mine) == len(other), name
            worst = max((abs(a - b) for a, b in zip(mine, other, strict=True)), default=0.0)
            assert worst <= tolerance, f"{name}: {label} {mine} and {other} differ by {worst:.4f} px"


def _rough(numbers: Iterable[float]) -> tuple[float, ...]:
    """So that tiny differences do not change the order in which two lists are sorted."""
    return tuple(round(float(number), 2) for number in numbers)
