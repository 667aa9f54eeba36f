"""Submit to first training batch, over bare `yolo train` to its first batch, both cold.

The platform is up; its cache is empty, so that it fetches and unpacks the dataset. The bare side is given a fresh copy
that is unpacked already. Neither has the other's scan of the labels.
"""

import shutil
import time
from pathlib import Path
from statistics import median

from benchmarks import through
from benchmarks.bare import FIRST_BATCH, Bare, write_data_yaml
from benchmarks.report import Cell, Report
from benchmarks.scale import Scale
from e2e.backend import running_backend
from e2e.sample import Sample, make_sample
from e2e.training import submit

BARE, PLATFORM = "bare yolo train", "submitted to the platform"


def measure(scale: Scale, scratch: Path) -> Report:
    sample = make_sample(scratch, "object_detection", scale.images, scale.canvas)
    arguments = _warm_up(scale, scratch / "warm-up", sample)
    seconds: dict[str, list[float]] = {BARE: [], PLATFORM: []}
    bare = Bare(scratch / "bare")
    for number in range(scale.pairs):
        seconds[BARE].append(_bare(bare, arguments, sample, f"run-{number}"))
        seconds[PLATFORM].append(_submitted(scale, scratch / f"platform-{number}", sample))
        print(f"  {number + 1}/{scale.pairs} {seconds[BARE][-1]:.2f} s, {seconds[PLATFORM][-1]:.2f} s", flush=True)
    return Report(
        name="start",
        title="Submit to first training batch, cold",
        columns=["side", "median s", "ratio", "ratio min", "ratio max"],
        rows=[_row(name, seconds[name], seconds[BARE]) for name in seconds],
        notes=[f"{scale.pairs} pairs, interleaved; until {FIRST_BATCH} exists; the files are in the page cache"],
        settings=vars(scale),
        samples=seconds,
    )


def _warm_up(scale: Scale, data_dir: Path, sample: Sample) -> Path:
    """Trains once through the platform, for its args.yaml and so that every module is compiled; returns that file."""
    with running_backend(data_dir) as api:
        return through.train(api, data_dir, sample, scale)[1]


def _bare(bare: Bare, arguments: Path, sample: Sample, name: str) -> float:
    dataset = bare.folder / f"dataset-{name}"
    shutil.copytree(sample.folder, dataset)
    return bare.seconds_to_first_batch(arguments, write_data_yaml(dataset), through.MODEL, name)


def _submitted(scale: Scale, data_dir: Path, sample: Sample) -> float:
    with running_backend(data_dir, TICK_SECONDS="1.0") as api:
        dataset = api.add_dataset(sample.archive, "digits", sample.task_type)
        submitted = time.time()
        job_id = submit(api, sample, dataset_id=dataset["id"], **through.request(scale))
        return through.time_of_first_batch(data_dir, job_id) - submitted


def _row(name: str, seconds: list[float], bare: list[float]) -> list[Cell]:
    ratios = [own / base for own, base in zip(seconds, bare, strict=True)]
    return [name, median(seconds), median(ratios), min(ratios), max(ratios)]
