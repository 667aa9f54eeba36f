"""`python -m digits`: a sample dataset in a folder, a zip or a local storage bucket. Prints what it made as JSON."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from digits.archive import store_dataset, store_image, write_zip
from digits.dataset import TASK_TYPES, Request, problems, write_dataset


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    request = Request(options.task, options.images, options.canvas, options.classes, options.seed)
    wrong = problems(request) + _option_problems(options)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 2
    print(json.dumps(_make(request, options)))
    return 0


def _make(request: Request, options: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "dataset")
        image = write_dataset(request, folder)
        made: dict[str, object] = {"task_type": request.task_type, "classes": request.class_names}
        made["images"] = request.counts
        archive = Path(options.zip or Path(scratch, "data.zip"))
        if options.zip or options.storage:
            made["archive_sha256"] = write_zip(folder, archive)
        if options.zip:
            made["zip"] = str(archive)
        if options.storage:
            made["dataset_id"] = options.dataset_id
            made["version"] = store_dataset(archive, options.storage, options.dataset_id)
            made["test_image_key"] = store_image(image, options.storage, options.dataset_id)
        if options.out:
            shutil.copytree(folder, options.out, dirs_exist_ok=True)
            made["folder"] = str(options.out)
            made["test_image"] = str(options.out / image.relative_to(folder))
        return made


def _option_problems(options: argparse.Namespace) -> list[str]:
    found = []
    if not (options.out or options.zip or options.storage):
        found.append("nothing to write: give --out, --zip or --storage")
    if options.out and options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        found.append(f"--out {str(options.out)!r} is not empty; give a new or an empty folder")
    if not options.dataset_id or options.dataset_id.startswith(".") or set(options.dataset_id) & set("/\\\0"):
        found.append(f"--dataset-id {options.dataset_id!r} is not a plain name")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="digits", description=__doc__)
    defaults = Request()
    parser.add_argument("--task", default=defaults.task_type, help=f"one of {', '.join(TASK_TYPES)}")
    parser.add_argument("--images", type=int, default=defaults.images, help="training images; more for val and test")
    parser.add_argument("--canvas", type=int, default=defaults.canvas, help="side of an image in pixels")
    parser.add_argument("--classes", type=int, default=defaults.classes, help="how many of the digits, from zero up")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--out", type=Path, help="folder for the canonical layout; new or empty")
    parser.add_argument("--zip", type=Path, help="file for the same as one uncompressed zip")
    parser.add_argument("--storage", type=Path, help="folder of a local storage bucket")
    parser.add_argument("--dataset-id", default="digits", help="the dataset's id in --storage")
    return parser


if __name__ == "__main__":
    sys.exit(main())
