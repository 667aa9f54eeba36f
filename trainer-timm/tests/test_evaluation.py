"""The numbers of a validation, against what one counts by hand, and the images that are shown."""

import math

import pytest
import torch
from evaluation import MOST_IN_MATRIX, Result, choose_samples, confusion, describe_samples, evaluate

NAMES = ["cat", "dog", "owl", "fox"]


def result(true: list[int], predicted: list[int], confidence: list[float] | None = None) -> Result:
    sure = torch.tensor(confidence or [0.5] * len(true))
    return Result(0.1, len(NAMES), 1.0, torch.tensor(true), torch.tensor(predicted), sure)


def test_numbers_are_those_one_counts_by_hand() -> None:
    found = result([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2])
    rows = {row["class_name"]: row for row in found.per_class(NAMES)}
    assert (rows["cat"]["precision"], rows["cat"]["recall"], rows["cat"]["support"]) == (1.0, 2 / 3, 3)
    assert (rows["dog"]["precision"], rows["dog"]["recall"]) == (0.5, 0.5)
    assert rows["owl"]["f1"] == pytest.approx(2 / 3)
    assert rows["fox"]["support"] == 0 and math.isnan(rows["fox"]["precision"]) and math.isnan(rows["fox"]["f1"])
    assert found.metrics()["top1"] == 4 / 6
    assert found.metrics()["macro_f1"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)


def test_confusion_has_rows_predicted_and_columns_true() -> None:
    matrix = confusion(result([0, 0, 2], [0, 1, 2]), NAMES, 3)["confusion_matrix"]
    assert matrix["labels"] == NAMES
    assert matrix["matrix"] == [[1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_confusion_is_left_out_if_there_are_too_many_classes() -> None:
    assert confusion(result([0], [0]), ["x"] * (MOST_IN_MATRIX + 1), 3)["confusion_matrix"] is None


def test_samples_are_the_surest_mistakes_the_least_certain_and_the_surest_hits() -> None:
    found = result([0, 0, 1, 1, 2], [0, 1, 1, 0, 2], [0.9, 0.8, 0.3, 0.95, 0.99])
    chosen = choose_samples(found, 2)
    assert chosen == {"wrong": [3, 1], "least_certain": [2, 1], "right": [4, 0]}
    images = [f"val/{number}.png" for number in range(5)]
    first = describe_samples(found, chosen, images, NAMES)["wrong"][0]
    assert first == {"image": "val/3.png", "true": "dog", "predicted": "cat", "confidence": 0.95}


def test_top5_counts_the_class_among_the_five_best() -> None:
    """A model that always says the same, of seven classes: the worst two are never among its five best."""

    class Same(torch.nn.Module):  # type: ignore[misc]
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.arange(7.0, 0.0, -1.0).repeat(len(images), 1)

    loader = [(torch.zeros(7, 3, 2, 2), torch.arange(7), torch.arange(7))]
    found = evaluate(Same(), loader, 7, torch.device("cpu"), None, lambda step, steps: None)
    assert found.metrics()["top5"] == 5 / 7 and found.metrics()["top1"] == 1 / 7
    assert found.loss > 0 and found.confidence[0] == pytest.approx(float(torch.arange(7.0, 0, -1).softmax(0)[0]))
