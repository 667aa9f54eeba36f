"""`vision dataset add`: send what a person has, wait until it is read, tell what was found."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from vision_client import formatting, imports, report
from vision_client.api import Client
from vision_client.archive import dataset_archive
from vision_client.cli.common import REFUSED, JsonOption, byte_bars, connect, step_bar
from vision_client.cli.splitting import SeedOption, SplitOption, split_plan
from vision_client.errors import VisionError
from vision_client.models import Import
from vision_client.output import emit, note, say, show

STORED = "storage:"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")
PHASES = {"fetch": "fetching", "unpack": "unpacking", "inspect": "looking at images", "read": "reading labels"}
PHASES |= {"check": "checking", "write": "writing", "store": "storing"}


def add(
    path: Annotated[
        str, typer.Argument(help="A folder, a zip or a tar (gz, zst); storage:KEY for what is in storage already.")
    ],
    name: Annotated[str | None, typer.Option(help="The dataset's name; the file's own unless given.")] = None,
    task: Annotated[str | None, typer.Option(help="What the labels are for; recognised unless given.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="yolo, coco, voc, …; recognised unless given.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse on warnings too.")] = False,
    split: SplitOption = None,
    seed: SeedOption = 0,
    to: Annotated[int | None, typer.Option(metavar="VERSION", help="Join the images of this version.", min=1)] = None,
    resume: Annotated[int | None, typer.Option(metavar="IMPORT", help="Go on with an upload that broke off.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a dataset, or a new version of one, in whatever format it has; the same content twice is stored once."""
    wanted = {
        "name": name or _name_of(path),
        "task_type": task,
        "format": form,
        "strict": strict,
        "split": split_plan(split, seed),
        "adds_to": to,
    }
    request = {key: value for key, value in wanted.items() if value is not None}
    with connect() as client:
        if path.startswith(STORED):
            started = client.create_import({**request, "source": _source(path.removeprefix(STORED))})
        else:
            started = _upload(client, Path(path), request, resume)
        finish(client, started, as_json=as_json)


def finish(client: Client, started: Import, *, as_json: bool) -> None:
    """Wait for an import's end and show what came of it; the exit code is 4 where it was not accepted."""
    with step_bar() as show:
        ended = started
        for ended in imports.changes(client, started):
            if ended.progress:
                title = PHASES.get(ended.progress.phase, ended.progress.phase)
                show(title, ended.progress.done, ended.progress.total)
    if as_json:
        emit(_result(client, ended))
    else:
        _tell(client, ended)
    if ended.is_new is False:
        note("This content was there already; nothing new was stored.")
    if ended.status != "accepted":
        raise typer.Exit(REFUSED)


def _upload(client: Client, path: Path, request: dict[str, Any], resume: int | None) -> Import:
    with byte_bars() as start, dataset_archive(path, start) as archive:
        announced = imports.announce(archive, request)
        upload = client.create_import(announced) if resume is None else client.read_import(resume)
        if upload.status != "receiving" or upload.size != announced["size"]:
            raise VisionError(f"import {upload.id} does not wait for these bytes; add the dataset without --resume")
        try:
            return imports.send(client, upload, archive, start("uploading", announced["size"]))
        except BaseException:
            note(f"The upload broke off; go on with: vision dataset add {path} --resume {upload.id}")
            raise


def _source(key: str) -> dict[str, str]:
    return {"key": key} if key.endswith(ARCHIVES) else {"prefix": key.rstrip("/")}


def _result(client: Client, ended: Import) -> Any:
    """The dataset where there is one, with the import that made it."""
    if ended.status != "accepted" or ended.dataset_id is None:
        return {"import": ended}
    return {**client.dataset(ended.dataset_id).model_dump(mode="json"), "import": ended.model_dump(mode="json")}


def _tell(client: Client, ended: Import) -> None:
    if ended.report and ended.report.groups:
        for line in report.lines(ended.report):
            show(line, remark=True)
    if ended.status == "accepted" and ended.dataset_id is not None and ended.version is not None:
        found = client.dataset(ended.dataset_id)
        say(f"Dataset {found.name!r} ({found.id}), {formatting.words(found.task_type)}, version {ended.version}")
        for fact in list(report.version_lines(client.dataset_version(found.id, ended.version)))[1:]:
            say(fact)
    else:
        reason = ended.error.message if ended.error else "see the findings above"
        note(f"Not added, import {ended.id} was {ended.status}: {reason}", style="red")


def _name_of(path: str) -> str:
    """The file's own name, with what a dataset's name cannot hold as a hyphen."""
    own = Path(path.removeprefix(STORED)).resolve().name
    suffix = next((known for known in sorted(ARCHIVES, key=len, reverse=True) if own.lower().endswith(known)), "")
    return re.sub(r"[^\w.-]+", "-", own[: len(own) - len(suffix)]).strip("-.")
