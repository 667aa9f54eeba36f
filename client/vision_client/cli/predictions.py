"""`vision predict` and `vision checkpoints`."""

from pathlib import Path
from typing import Annotated

import typer

from vision_client import formatting, tables
from vision_client.api import Client
from vision_client.cli.common import JobArgument, JsonOption, byte_bars, connect
from vision_client.drawing import annotate, save
from vision_client.errors import VisionError
from vision_client.models import Checkpoint, Prediction
from vision_client.output import emit, note, say, show


def predict(
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    job: Annotated[int, typer.Option(min=1, help="Whose best checkpoint to use.")],
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Leave out what is less sure.")] = 0.25,
    save_to: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the image with everything drawn on it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What a trained model sees in an image."""
    with connect() as client:
        prediction = client.predict(job, image, confidence)
    if save_to:
        save(annotate(image, prediction.result), save_to)
        note(f"Wrote {save_to}")
    emit(prediction) if as_json else _print(prediction)


def checkpoints(
    job: JobArgument,
    download: Annotated[str | None, typer.Option(metavar="KIND", help="best or last.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE")] = None,
    as_json: JsonOption = False,
) -> None:
    """The checkpoints of a job; with --download KIND, fetch one."""
    with connect() as client:
        items = client.checkpoints(job)
        if download:
            _download(client, job, _current(items, job, download), output, as_json)
        elif as_json:
            emit({"items": items})
        elif items:
            show(tables.checkpoints(items))
        else:
            note(f"Job {job} has no checkpoints yet.")


def _current(items: list[Checkpoint], job: int, kind: str) -> Checkpoint:
    current = [item for item in items if item.current and item.kind == kind]
    if not current:
        kinds = ", ".join(sorted({item.kind for item in items if item.current})) or "none yet"
        raise VisionError(f"job {job} has no checkpoint {kind!r}; it has: {kinds}")
    return current[0]


def _download(client: Client, job: int, checkpoint: Checkpoint, output: Path | None, as_json: bool) -> None:
    target = output or Path(f"job-{job}-{checkpoint.kind}{Path(checkpoint.key).suffix}")
    with byte_bars() as start:
        client.download_checkpoint(job, checkpoint.kind, target, start(target.name, checkpoint.size))
    if as_json:
        emit({"file": target, "checkpoint": checkpoint})
    else:
        say(f"Wrote {target}: {checkpoint.kind} of epoch {checkpoint.epoch}, {formatting.size(checkpoint.size)}")


def _print(prediction: Prediction) -> None:
    result = prediction.result
    took = formatting.number(sum(result.milliseconds.values()))
    say(f"{result.count} seen in {result.width} × {result.height} pixels, {took} ms in the model")
    if result.predictions:
        show(tables.predictions(prediction))
