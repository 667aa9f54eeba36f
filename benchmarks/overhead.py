"""What the platform adds to a training, over bare `yolo train` and beside Ultralytics' own MLflow callback.

Three runs a round, interleaved: bare; through the platform, with MLflow as `make run` has it; bare with Ultralytics'
callback. All have the same arguments, seed and threads: the bare ones are given the args.yaml of the platform's.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import through
from benchmarks.bare import Bare, Run, write_data_yaml
from benchmarks.report import Cell, Report
from benchmarks.scale import Scale
from e2e.backend import running_backend
from e2e.mlflow_server import mlflow_server
from e2e.sample import make_sample

BARE, PLATFORM, CALLBACK = "bare yolo train", "through the platform", "bare, with its MLflow callback"


def measure(scale: Scale, scratch: Path) -> Report:
    runs: dict[str, list[Run]] = {BARE: [], PLATFORM: [], CALLBACK: []}
    with _sides(scale, scratch) as sides:
        for number in range(scale.pairs):
            for name, train in sides.items():
                runs[name].append(train(f"run-{number}"))
                print(f"  {number + 1}/{scale.pairs} {name}: loop {runs[name][-1].loop:.2f} s", flush=True)
    return Report(
        name="overhead",
        title="Platform overhead: the same training, interleaved",
        columns=["side", "loop s", "ratio", "ratio min", "ratio max", "process s", "ratio"],
        rows=[_row(name, runs[name], runs[BARE]) for name in runs],
        notes=[
            f"medians of {scale.pairs} rounds; loop: from its start to the last epoch's validation (results.csv)",
            f"yolo11n, {scale.images} images of {scale.canvas} px at {scale.image_size} px, {scale.epochs} epochs",
        ],
        settings=vars(scale),
        samples=_samples(runs),
    )


@contextmanager
def _sides(scale: Scale, scratch: Path) -> Iterator[dict[str, Callable[[str], Run]]]:
    """What to measure, each run once before: file caches and compiled modules are warm for all."""
    with ExitStack() as stack:
        uri = stack.enter_context(mlflow_server(scratch / "mlflow"))
        data_dir = scratch / "platform"
        api = stack.enter_context(running_backend(data_dir, MLFLOW_TRACKING_URI=uri))
        sample = make_sample(scratch, "object_detection", scale.images, scale.canvas)
        _run, arguments = through.train(api, data_dir, sample, scale)
        given = _Given(arguments, write_data_yaml(sample.folder))
        bare, callback = Bare(scratch / "bare"), Bare(scratch / "callback", mlflow_uri=uri)
        for side in (bare, callback):
            given.train(side, "warm-up")
        yield {
            BARE: lambda name: given.train(bare, name),
            PLATFORM: lambda _name: through.train(api, data_dir, sample, scale)[0],
            CALLBACK: lambda name: given.train(callback, name),
        }


@dataclass(frozen=True)
class _Given:
    arguments: Path
    data: Path

    def train(self, side: Bare, name: str) -> Run:
        return side.train(self.arguments, self.data, through.MODEL, name)


def _row(name: str, runs: list[Run], bare: list[Run]) -> list[Cell]:
    loops = [run.loop / base.loop for run, base in zip(runs, bare, strict=True)]
    processes = [run.process / base.process for run, base in zip(runs, bare, strict=True)]
    loop, process = median(run.loop for run in runs), median(run.process for run in runs)
    return [name, loop, median(loops), min(loops), max(loops), process, median(processes)]


def _samples(runs: dict[str, list[Run]]) -> dict[str, list[float]]:
    loops = {f"{name}, loop s": [run.loop for run in of_side] for name, of_side in runs.items()}
    return loops | {f"{name}, process s": [run.process for run in of_side] for name, of_side in runs.items()}
