"""A trainer's fetch of a dataset version beside the usual tools, from one S3 server, in turns.

The same bytes lie there twice: as the version's one archive, and as its files. A second job on the version has to find
it in the cache: it is run against an address where nobody listens.
"""

import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from statistics import median

from benchmarks import tools
from benchmarks.importing import MEBIBYTE, run_import
from benchmarks.pictures import write_upload
from benchmarks.process import Cost, cost_of
from benchmarks.report import Cell, Report
from benchmarks.scale import Scale
from e2e.stores import Credentials, minio_settings, s3_server

NOBODY = "http://127.0.0.1:9"
FETCH, OBJECT, SECOND = "trainer: fetch and unpack", "trainer: the archive alone", "trainer: a second job"
BOTO3, AWS, S5CMD = "boto3, one file after the other", "aws s3 cp --recursive", "s5cmd cp, the files"
S5CMD_OBJECT = "s5cmd cp, the archive"
KEY = "datasets/bench/1/data.zip"
Side = Callable[[Path], Cost]


@dataclass(frozen=True)
class Version:
    """What lies in the bucket, as the archive at KEY and as files below tools.FILES."""

    archive: Path
    sha256: str
    files: int


def measure(scale: Scale, scratch: Path) -> Report:
    version = _make_version(scale, scratch)
    with s3_server("us-east-1") as credentials:
        _upload(version, credentials, scratch / "files")
        costs = _measure_all(scale, _sides(version, credentials, scratch), scratch / "target")
    seconds = {name: [cost.seconds for cost in costs[name]] for name in costs}
    size = version.archive.stat().st_size / MEBIBYTE
    return Report(
        name="fetching",
        title="A version of a dataset, from an S3 server to the disk",
        columns=["side", "median s", "CPU s", "MiB/s", "speed", "of", "min", "max"],
        rows=[_row(name, costs[name], seconds, size) for name in costs],
        notes=[
            f"{version.files} files, {size:.0f} MiB; {scale.pairs} rounds in turns; whole programs with their start",
            "speed is against boto3 over the same files (aim: the trainer 3), for the archive against s5cmd (aim: 0.9)",
            "the trainer verifies sha256, unpacks and flushes to the disk; the others copy",
            "the second job is given an address where nobody listens: it downloads nothing",
        ],
        settings=vars(scale),
        samples={f"{name}, s": values for name, values in seconds.items()},
    )


def _make_version(scale: Scale, scratch: Path) -> Version:
    """A version as an import makes it, and its files unpacked, to be uploaded."""
    upload = write_upload(scratch / "upload.zip", scale.import_side, images=scale.import_images)
    run_import(upload.path, scratch / "import")
    archive = scratch / "import/data.zip"
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(scratch / "files")
        files = len(packed.namelist())
    with archive.open("rb") as file:
        return Version(archive, file_digest(file, "sha256").hexdigest(), files)


def _upload(version: Version, credentials: Credentials, files: Path) -> None:
    tools.upload_archive(credentials, version.archive, KEY)
    cost_of(tools.s5cmd_upload(credentials, files), tools.environment(credentials, files.parent))
    shutil.rmtree(files)


def _sides(version: Version, credentials: Credentials, scratch: Path) -> dict[str, Side]:
    """Each fetches into the new folder that it is given; the second job finds what the first has left there."""
    settings = tools.environment(credentials, scratch)
    away = minio_settings(credentials | {"endpoint": NOBODY})

    def tool(command: Callable[[Credentials, str, Path], list[str]], source: str) -> Side:
        return lambda target: cost_of(command(credentials, source, target), settings)

    def trainer(what: str, storage: dict[str, str]) -> Side:
        return lambda target: cost_of(tools.trainer(what, target), tools.trainer_environment(storage, version.sha256))

    return {
        FETCH: trainer("dataset", minio_settings(credentials)),
        SECOND: trainer("dataset", away),
        BOTO3: tool(tools.boto3_serial, tools.FILES),
        AWS: tool(tools.aws_recursive, tools.FILES),
        S5CMD: tool(tools.s5cmd, f"{tools.FILES}*"),
        OBJECT: trainer(KEY, minio_settings(credentials)),
        S5CMD_OBJECT: tool(tools.s5cmd, KEY),
    }


def _measure_all(scale: Scale, sides: Mapping[str, Side], target: Path) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    for number in range(1, scale.pairs + 1):
        for name, side in sides.items():
            if name != SECOND:
                shutil.rmtree(target, ignore_errors=True)
                target.mkdir()
                os.sync()  # so that nobody pays for what the one before left to be written
            costs[name].append(side(target))
        told = ", ".join(f"{name} {costs[name][-1].seconds:.2f} s" for name in (FETCH, BOTO3, OBJECT, S5CMD_OBJECT))
        print(f"  {number}/{scale.pairs} {told}", flush=True)
    return costs


def _row(name: str, costs: list[Cost], seconds: Mapping[str, list[float]], mebibytes: float) -> list[Cell]:
    own, cpu = median(seconds[name]), median(cost.cpu_seconds for cost in costs)
    if name == SECOND:
        return [name, own, cpu, None, None, None, None, None]
    against = S5CMD_OBJECT if name in (OBJECT, S5CMD_OBJECT) else BOTO3
    speeds = [other / one for one, other in zip(seconds[name], seconds[against], strict=True)]
    return [name, own, cpu, round(mebibytes / own, 1), median(speeds), against, min(speeds), max(speeds)]
