"""`vision dataset …`: list, show, compare, change, export, delete; `adding.py` brings them."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from vision_client import formatting, report, tables
from vision_client.api import Client
from vision_client.cli.adding import add, finish
from vision_client.cli.common import JsonOption, YesOption, byte_bars, confirm, connect, group
from vision_client.cli.splitting import SeedOption, SplitOption, split_plan
from vision_client.models import Dataset, Page, VersionDetail
from vision_client.output import emit, emit_line, note, say, show

app = group("Bring datasets, see what is in them, change and export them.")
app.command()(add)

NameArgument = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset's id or name.")]
VersionArgument = Annotated[
    str, typer.Argument(metavar="DATASET[@VERSION]", help="Id or name; the newest version unless one is given.")
]
PairsOption = Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help="Repeat it for several.")]
FORMATS = ("yolo", "coco", "voc")


@app.command("list")
def list_all(
    deleted: Annotated[bool, typer.Option("--deleted", help="Those that can be restored or purged.")] = False,
    as_json: JsonOption = False,
) -> None:
    """All datasets."""
    with connect() as client:
        items = all_datasets(client, deleted=deleted)
    if as_json:
        emit({"items": items})
    elif items:
        show(tables.datasets(items))
    elif deleted:
        note("No dataset is deleted.")
    else:
        note("No datasets yet; add one with `vision dataset add PATH`.")


@app.command("show")
def show_one(dataset: VersionArgument, as_json: JsonOption = False) -> None:
    """One dataset: versions, classes and counts."""
    with connect() as client:
        found, version = resolve(client, dataset)
    if as_json:
        emit({**found.model_dump(mode="json"), "version": version.model_dump(mode="json")})
        return
    others = ", ".join(str(one.version) for one in found.versions if one.version != version.version)
    say(f"Dataset {found.name!r} ({found.id}), {formatting.words(found.task_type)}")
    for line in report.version_lines(version):
        say(line)
    if others:
        say(f"  other versions: {others}")


@app.command("report")
def show_report(
    dataset: VersionArgument,
    code: Annotated[str | None, typer.Option(help="Every finding of this code, such as BOX_OUTSIDE.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What was found when a version was imported, file by file."""
    with connect() as client:
        found, version = resolve(client, dataset)
        if code is not None:
            for finding in client.findings(found.id, version.version, code=code):
                emit_line(finding) if as_json else say(report.finding_line(finding))
            return
    if as_json:
        emit(version.report)
    elif version.report:
        for line in report.lines(version.report):
            show(line)


@app.command()
def compare(
    dataset: NameArgument,
    before: Annotated[int, typer.Argument(help="A version.", min=1)],
    after: Annotated[int, typer.Argument(help="Another version.", min=1)],
    as_json: JsonOption = False,
) -> None:
    """What changed from one version to another: images, labels, splits, class counts."""
    with connect() as client:
        comparison = client.compare_versions(dataset, before, after)
    if as_json:
        emit(comparison)
    else:
        for line in report.comparison_lines(comparison):
            say(line)


@app.command()
def edit(
    dataset: VersionArgument,
    remove_image: Annotated[list[str] | None, typer.Option(metavar="PATH", help="As the version has it.")] = None,
    rename_class: PairsOption = None,
    remove_class: Annotated[list[str] | None, typer.Option(metavar="NAME", help="With its objects.")] = None,
    split: SplitOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a new version: leave out images or classes, rename or merge classes, split anew."""
    plan = split_plan(split, seed)
    changes = {
        "remove_images": remove_image,
        "rename_classes": _pairs(rename_class or []),
        "remove_classes": remove_class,
        "split": {**plan, "anew": True} if plan else None,
    }
    with connect() as client:
        found, version = resolve(client, dataset)
        asked: dict[str, Any] = {name: value for name, value in changes.items() if value}
        finish(client, client.edit_version(found.id, version.version, asked), as_json=as_json)


@app.command()
def export(
    dataset: VersionArgument,
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "yolo",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="NAME-VERSION-FORMAT.zip unless given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version as a zip in YOLO, COCO or Pascal VOC."""
    with connect() as client, byte_bars() as start:
        found, version = resolve(client, dataset)
        target = output or Path(f"{found.name}-{version.version}-{form}.zip")
        client.export_dataset(found.id, version.version, form, target, start("exporting", version.archive_size))
    if as_json:
        emit({"path": str(target), "bytes": target.stat().st_size})
    else:
        say(f"Wrote {target} ({formatting.size(target.stat().st_size)}).")


@app.command()
def delete(dataset: VersionArgument, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Delete a dataset, or one version of it; refused while a job uses it. `restore` brings it back."""
    with connect() as client:
        name, number = _parts(dataset)
        found = client.dataset(name)
        what = f"version {number} of dataset {found.name!r}" if number else f"dataset {found.name!r} ({found.id})"
        confirm(f"Delete {what}?", yes=yes)
        client.delete_dataset(found.id, number)
    if as_json:
        emit({"deleted": found.id, "version": number})
    else:
        name = f"{found.id}@{number}" if number else found.id
        say(f"Deleted {what}. `vision dataset restore {name}` brings it back, `purge` frees its storage.")


@app.command()
def restore(dataset: VersionArgument, as_json: JsonOption = False) -> None:
    """Bring back what was deleted."""
    with connect() as client:
        found = client.restore_dataset(*_parts(dataset))
    if as_json:
        emit(found)
    else:
        say(f"Restored dataset {found.name!r} ({found.id}).")


@app.command()
def purge(dataset: VersionArgument, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Remove for ever what is deleted, and free its storage."""
    confirm(f"Remove {dataset} for ever?", yes=yes)
    with connect() as client:
        client.purge_dataset(*_parts(dataset))
    if as_json:
        emit({"purged": dataset})
    else:
        say(f"Purged {dataset}.")


def all_datasets(client: Client, *, deleted: bool = False) -> list[Dataset]:
    items: list[Dataset] = []
    page: Page[Dataset] | None = None
    while page is None or page.next_cursor:
        cursor = page.next_cursor if page else None
        page = client.list_datasets(limit=100, cursor=cursor, deleted=deleted)
        items += page.items
    return items


def resolve(client: Client, reference: str) -> tuple[Dataset, VersionDetail]:
    """`digits` or `digits@3`: the dataset and the version that is meant."""
    name, number = _parts(reference)
    found = client.dataset(name)
    if number is None:
        if found.latest is None:
            raise typer.BadParameter(f"every version of {name!r} is deleted", param_hint="DATASET")
        number = found.latest.version
    return found, client.dataset_version(found.id, number)


def _parts(reference: str) -> tuple[str, int | None]:
    name, _, number = reference.partition("@")
    if number and not re.fullmatch(r"[1-9]\d{0,8}", number):
        raise typer.BadParameter(f"{number!r} is not a version; write {name}@1", param_hint="DATASET[@VERSION]")
    return name, int(number) if number else None


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = {}
    for pair in given:
        old, separator, new = pair.partition("=")
        if not (old and separator and new):
            raise typer.BadParameter(f"{pair!r} is not OLD=NEW", param_hint="--rename-class")
        pairs[old] = new
    return pairs
