"""How well a model tells classes apart: on all of `val`, by class, and on which images it was sure, wrong or unsure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Tick = Callable[[int, int], None]
TOP = 5
MOST_IN_MATRIX = 1000  # classes


@dataclass(frozen=True)
class Result:
    """What a model said about every image of a split, in the order of its samples."""

    loss: float
    classes: int
    top5: float
    true: torch.Tensor  # class numbers
    predicted: torch.Tensor
    confidence: torch.Tensor  # of the predicted class

    def metrics(self) -> dict[str, float]:
        """Fractions: top1, top5 (1 where there are at most five classes) and macro_f1, each class counted alike.

        Of macro_f1, a class that is neither in the split nor predicted is no part.
        """
        hits = int((self.true == self.predicted).sum())
        scores = [row["f1"] for row in self.per_class(range(self.classes)) if not math.isnan(row["f1"])]
        return {"top1": hits / len(self.true), "top5": self.top5, "macro_f1": float(sum(scores) / len(scores))}

    def per_class(self, names: Sequence[Any]) -> list[dict[str, Any]]:
        """A row a class; a number without meaning (the precision of a class that was never predicted) is NaN."""
        right = self.true[self.true == self.predicted]
        counts = [self._count(numbers) for numbers in (right, self.true, self.predicted)]
        rows = []
        for number, (name, hits, support, predicted) in enumerate(zip(names, *counts, strict=True)):
            measured = {"precision": _ratio(hits, predicted), "recall": _ratio(hits, support)}
            images = {"images": support, "instances": support, "support": support}
            f1 = _ratio(2 * hits, support + predicted)
            rows.append({"class_id": number, "class_name": name, **images, **measured, "f1": f1})
        return rows

    def matrix(self) -> torch.Tensor:
        """Images by [predicted][true]; the square of the number of classes."""
        flat = torch.bincount(self.predicted * self.classes + self.true, minlength=self.classes**2)
        return flat.reshape(self.classes, self.classes)

    def _count(self, numbers: torch.Tensor) -> list[int]:
        counts: list[int] = torch.bincount(numbers, minlength=self.classes).tolist()
        return counts


@torch.inference_mode()  # type: ignore[untyped-decorator]
def evaluate(
    model: torch.nn.Module, loader: Any, classes: int, device: torch.device, number_type: Any, tick: Tick
) -> Result:
    """Ask `model` about every image of `loader`, which keeps their order."""
    model.eval()
    total, top5 = 0.0, 0
    truths, guesses, confidences = [], [], []
    for step, (images, true, _) in enumerate(loader, 1):
        true = true.to(device)
        with torch.autocast(device.type, number_type, enabled=number_type is not None):
            outputs = model(images.to(device, non_blocking=True)).float()
        total += float(torch.nn.functional.cross_entropy(outputs, true, reduction="sum"))
        confidence, order = outputs.softmax(1).topk(min(TOP, classes))
        top5 += int((order == true[:, None]).sum())
        truths.append(true.cpu())
        guesses.append(order[:, 0].cpu())
        confidences.append(confidence[:, 0].cpu())
        tick(step, len(loader))
    truth, guess = torch.cat(truths), torch.cat(guesses)
    return Result(total / len(truth), classes, top5 / len(truth), truth, guess, torch.cat(confidences))


def confusion(result: Result, names: Sequence[str], epoch: int) -> dict[str, Any]:
    """The confusion matrix, rows predicted and columns true, in the shape that every trainer's curves.json has.

    Null for more than MOST_IN_MATRIX classes: nobody reads millions of numbers.
    """
    matrix = None
    if len(names) <= MOST_IN_MATRIX:
        matrix = {"labels": list(names), "confidence": None, "matrix": result.matrix().tolist()}
    about = {"task_type": "image_classification", "epoch": epoch, "names": list(names)}
    return {**about, "confusion_matrix": matrix, "curves": []}


def choose_samples(result: Result, most: int) -> dict[str, list[int]]:
    """Places of images worth looking at: those wrong with most confidence, least certain, and right."""
    right = result.true == result.predicted
    by_confidence = torch.argsort(result.confidence, stable=True).tolist()
    surest = list(reversed(by_confidence))
    return {
        "wrong": [place for place in surest if not right[place]][:most],
        "least_certain": by_confidence[:most],
        "right": [place for place in surest if right[place]][:most],
    }


def describe_samples(
    result: Result, chosen: Mapping[str, Sequence[int]], images: Sequence[str], names: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """The images that `choose_samples` chose, with what they are and what was said: to be shown elsewhere."""
    return {
        kind: [
            {
                "image": images[place],
                "true": names[int(result.true[place])],
                "predicted": names[int(result.predicted[place])],
                "confidence": round(float(result.confidence[place]), 4),
            }
            for place in places
        ]
        for kind, places in chosen.items()
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
