"""`vision dataset …`"""

import re
from pathlib import Path
from typing import Annotated

import typer

from vision_client import formatting, tables
from vision_client.api import Client
from vision_client.archive import dataset_archive
from vision_client.cli.common import JsonOption, YesOption, byte_bars, confirm, connect, group
from vision_client.models import Dataset, Page
from vision_client.output import emit, note, say, show

app = group("Bring, list and delete datasets.")

NameArgument = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's id or name.")]


@app.command()
def add(
    path: Annotated[
        Path, typer.Argument(help="A folder or a zip in YOLO layout; for classification a folder per class.")
    ],
    task: Annotated[str, typer.Option(help="What its labels are for, such as object_detection.")],
    name: Annotated[str | None, typer.Option(help="The dataset's name; the file's own unless given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Register a dataset, or a new version of one; the same content twice is stored once."""
    with connect() as client, byte_bars() as start, dataset_archive(path, start) as archive:
        advance = start("uploading", archive.stat().st_size)
        dataset, created = client.upload_dataset(archive, name or _name_of(path), task, advance)
    if not created:
        note("This content was there already; nothing new was stored.")
    _print(dataset, as_json)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """All datasets."""
    with connect() as client:
        items = all_datasets(client)
    if as_json:
        emit({"items": items})
    elif items:
        show(tables.datasets(items))
    else:
        note("No datasets yet; add one with `vision dataset add PATH --task TASK`.")


@app.command("show")
def show_one(dataset: NameArgument, as_json: JsonOption = False) -> None:
    """One dataset: versions, classes and counts."""
    with connect() as client:
        _print(client.dataset(dataset), as_json)


@app.command()
def delete(dataset: NameArgument, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete a dataset with all its versions; refused while a job uses it."""
    with connect() as client:
        found = client.dataset(dataset)
        confirm(f"Delete dataset {found.name!r} with {len(found.versions) or 1} version(s)?", yes=yes)
        client.delete_dataset(found.id)
    if as_json:
        emit({"deleted": found.id})
    else:
        say(f"Deleted dataset {found.name!r} ({found.id}).")


def all_datasets(client: Client) -> list[Dataset]:
    items: list[Dataset] = []
    page: Page[Dataset] | None = None
    while page is None or page.next_cursor:
        page = client.list_datasets(limit=100, cursor=page.next_cursor if page else None)
        items += page.items
    return items


def _name_of(path: Path) -> str:
    """The file's own name, with what a dataset's name cannot hold as a hyphen."""
    return re.sub(r"[^\w.-]+", "-", path.resolve().stem).strip("-")


def _print(dataset: Dataset, as_json: bool) -> None:
    if as_json:
        emit(dataset)
        return
    latest = dataset.latest
    say(f"Dataset {dataset.name!r} ({dataset.id}), {formatting.words(dataset.task_type)}, version {latest.version}")
    for split, count in latest.counts.get("images", {}).items():
        say(f"  {split}: {count} images, {latest.counts.get('instances', {}).get(split, 0)} labelled objects")
    per_class = latest.counts.get("classes", {})
    say("  classes: " + ", ".join(f"{name} ({per_class.get(name, 0)})" for name in latest.classes))
    say(f"  {formatting.size(latest.archive_size)}, sha256 {latest.archive_sha256}")
