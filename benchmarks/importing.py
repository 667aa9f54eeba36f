"""An import of many images and of one large archive: files a second, and the memory of the process that does it."""

import json
import shutil
from pathlib import Path
from statistics import median

from benchmarks.pictures import Upload, write_upload
from benchmarks.process import Cost, cost_of
from benchmarks.report import Cell, Report
from benchmarks.scale import Scale
from e2e.backend import BACKEND

MAX_BYTES = 100 * 2**30
PHOTOGRAPH = 2560  # pixels wide
MEBIBYTE = 2**20


def measure(scale: Scale, scratch: Path) -> Report:
    many = write_upload(scratch / "many.zip", scale.import_side, images=scale.import_images)
    large = write_upload(scratch / "large.zip", PHOTOGRAPH, size=scale.archive_bytes)
    uploads = {f"{many.images} images": many, f"one zip of {large.size // MEBIBYTE} MiB": large}
    costs: dict[str, list[Cost]] = {name: [] for name in uploads}
    for number in range(1, scale.pairs + 1):
        for name, upload in uploads.items():
            costs[name].append(run_import(upload.path, scratch / "import"))
            shutil.rmtree(scratch / "import")
            print(f"  {number}/{scale.pairs} {name}: {costs[name][-1].seconds:.2f} s", flush=True)
    return Report(
        name="importing",
        title="Import of a dataset, in the process that does it",
        columns=["upload", "images", "MiB", "median s", "CPU s", "images/s", "MiB/s", "peak MiB"],
        rows=[_row(name, uploads[name], costs[name]) for name in uploads],
        notes=[
            "python -m app.datasets: every image decoded and hashed, labels checked, the canonical zip and its index",
            f"images of {scale.import_side} and of {PHOTOGRAPH} pixels; {scale.pairs} times each, interleaved",
        ],
        settings=vars(scale),
        samples={f"{name}, s": [cost.seconds for cost in costs[name]] for name in uploads},
    )


def run_import(upload: Path, folder: Path) -> Cost:
    """Import `upload` in a new `folder`, which has data.zip and index.sqlite then."""
    folder.mkdir()
    (folder / "upload").symlink_to(upload)
    (folder / "request.json").write_text(json.dumps({"max_bytes": MAX_BYTES}))
    cost = cost_of([BACKEND / ".venv/bin/python", "-m", "app.datasets", folder], folder=BACKEND)
    outcome = json.loads((folder / "outcome.json").read_text())
    if outcome["status"] != "accepted":
        raise SystemExit(f"The import of {upload} was not accepted: {json.dumps(outcome)[:2000]}")
    return cost


def _row(name: str, upload: Upload, costs: list[Cost]) -> list[Cell]:
    seconds = median(cost.seconds for cost in costs)
    mebibytes = upload.size / MEBIBYTE
    return [
        name,
        upload.images,
        round(mebibytes),
        seconds,
        median(cost.cpu_seconds for cost in costs),
        round(upload.images / seconds),
        round(mebibytes / seconds, 1),
        round(max(cost.peak_bytes for cost in costs) / MEBIBYTE),
    ]
