"""The options that say how images are shared among splits."""

from typing import Annotated, Any

import typer

SPLITS = ("train", "val", "test")

SplitOption = Annotated[
    str | None, typer.Option(metavar="TRAIN/VAL[/TEST]", help="Shares for images without a split, such as 70/20/10.")
]
SeedOption = Annotated[int, typer.Option(help="Of the split; the same seed splits the same way.", min=0)]


def split_plan(shares: str | None, seed: int) -> dict[str, Any] | None:
    """The API's SplitPlan; None where nothing was asked for."""
    if shares is None:
        return {"seed": seed} if seed else None
    try:
        numbers = [float(share) for share in shares.split("/")]
    except ValueError:
        numbers = []
    if not 2 <= len(numbers) <= 3 or not all(0 <= number < float("inf") for number in numbers) or not all(numbers[:2]):
        raise typer.BadParameter(f"{shares!r} is not like 80/20 or 70/20/10", param_hint="--split")
    total = sum(numbers)
    return {name: number / total for name, number in zip(SPLITS, [*numbers, 0.0], strict=False)} | {"seed": seed}
