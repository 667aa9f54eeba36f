"""Submit to first training batch, over bare `yolo train` to its first batch, both cold.

The platform is up. Each pair has a new dataset: the platform fetches and unpacks it, the bare side finds it unpacked;
both scan its labels and start their framework from nothing.
"""

import time
from pathlib import Path
from statistics import median

from benchmarks import through
from benchmarks.bare import FIRST_BATCH, Bare, write_data_yaml
from benchmarks.report import Cell, Report
from benchmarks.scale import Scale
from e2e.api import Api
from e2e.backend import running_backend
from e2e.sample import Sample, make_sample
from e2e.training import submit

BARE, PLATFORM = "bare yolo train", "submitted to the platform"


def measure(scale: Scale, scratch: Path) -> Report:
    seconds: dict[str, list[float]] = {BARE: [], PLATFORM: []}
    data_dir, bare = scratch / "platform", Bare(scratch / "bare")
    with running_backend(data_dir, TICK_SECONDS="1.0") as api:
        arguments = _warm_up(api, data_dir, bare, _sample(scratch, scale, 0), scale)
        for number in range(1, scale.pairs + 1):
            sample = _sample(scratch, scale, number)
            seconds[BARE].append(_bare(bare, arguments, sample))
            seconds[PLATFORM].append(_submitted(api, data_dir, sample, scale))
            print(f"  {number}/{scale.pairs} {seconds[BARE][-1]:.2f} s, {seconds[PLATFORM][-1]:.2f} s", flush=True)
    return Report(
        name="start",
        title="Submit to first training batch, cold",
        columns=["side", "median s", "ratio", "ratio min", "ratio max"],
        rows=[_row(name, seconds[name], seconds[BARE]) for name in seconds],
        notes=[f"{scale.pairs} pairs, interleaved, a new dataset each; until {FIRST_BATCH} exists"],
        settings=vars(scale),
        samples=seconds,
    )


def _sample(scratch: Path, scale: Scale, seed: int) -> Sample:
    return make_sample(scratch, "object_detection", scale.images, scale.canvas, seed)


def _warm_up(api: Api, data_dir: Path, bare: Bare, sample: Sample, scale: Scale) -> Path:
    """One training on each side, so that modules are compiled and fonts known; returns the args.yaml."""
    arguments = through.train(api, data_dir, sample, scale)[1]
    _bare(bare, arguments, sample)
    return arguments


def _bare(bare: Bare, arguments: Path, sample: Sample) -> float:
    return bare.seconds_to_first_batch(arguments, write_data_yaml(sample.folder), through.MODEL, sample.folder.name)


def _submitted(api: Api, data_dir: Path, sample: Sample, scale: Scale) -> float:
    dataset = api.add_dataset(sample.archive, sample.folder.name, sample.task_type)
    submitted = time.time()
    job_id = submit(api, sample, dataset_id=dataset["id"], **through.request(scale))
    seconds = through.time_of_first_batch(data_dir, job_id) - submitted
    api.http.post(f"/api/v1/jobs/{job_id}/cancel")  # refused where a tiny job is over already
    api.wait_for(job_id, "cancelled", "completed")
    return seconds


def _row(name: str, seconds: list[float], bare: list[float]) -> list[Cell]:
    ratios = [own / base for own, base in zip(seconds, bare, strict=True)]
    return [name, median(seconds), median(ratios), min(ratios), max(ratios)]
