"""How well a model tells classes apart: on all of `val`, by class, and on which images it was sure, wrong or unsure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Tick = Callable[[int, int], None]
TOP = 5


@dataclass(frozen=True)
class Result:
    """What a model said about every image of a split, in the order of its samples."""

    loss: float
    matrix: torch.Tensor  # images by [predicted][true]
    top5: float
    true: torch.Tensor  # class numbers
    predicted: torch.Tensor
    confidence: torch.Tensor  # of the predicted class

    def metrics(self) -> dict[str, float]:
        """Fractions: top1, top5 (1 where there are at most five classes) and macro_f1, each class counted alike."""
        hits = float(self.matrix.diagonal().sum() / self.matrix.sum())
        return {"top1": hits, "top5": self.top5, "macro_f1": self._macro_f1()}

    def _macro_f1(self) -> float:
        """Over the classes that are in the split or were predicted."""
        scores = [row["f1"] for row in self.per_class(range(len(self.matrix))) if not math.isnan(row["f1"])]
        return float(sum(scores) / len(scores))

    def per_class(self, names: Sequence[Any]) -> list[dict[str, Any]]:
        """A row a class; a number without meaning (the precision of a class that was never predicted) is NaN."""
        rows = []
        for number, name in enumerate(names):
            hits = float(self.matrix[number, number])
            support, predicted = float(self.matrix[:, number].sum()), float(self.matrix[number].sum())
            measured = {"precision": _ratio(hits, predicted), "recall": _ratio(hits, support)}
            counts = {"images": int(support), "instances": int(support), "support": int(support)}
            f1 = _ratio(2 * hits, support + predicted)
            rows.append({"class_id": number, "class_name": name, **counts, **measured, "f1": f1})
        return rows


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
    matrix = torch.bincount(guess * classes + truth, minlength=classes**2).reshape(classes, classes)
    return Result(total / len(truth), matrix, top5 / len(truth), truth, guess, torch.cat(confidences))


def confusion(result: Result, names: Sequence[str], epoch: int) -> dict[str, Any]:
    """The confusion matrix, rows predicted and columns true, in the shape that every trainer's curves.json has."""
    matrix = {"labels": list(names), "confidence": None, "matrix": result.matrix.tolist()}
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


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
