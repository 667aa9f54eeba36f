"""`vision login`, `vision status`, `vision models` and `vision gc`."""

from typing import Annotated

import typer

from vision_client import formatting, tables
from vision_client.access import Access, store_login
from vision_client.api import Client
from vision_client.cli.common import REFUSED, JsonOption, connect
from vision_client.models import Collection
from vision_client.output import emit, note, say, show
from vision_client.transport import checked_url


def login(
    url: Annotated[str, typer.Argument(help="Such as http://127.0.0.1:8000.")],
    token: Annotated[
        str | None, typer.Option(envvar="VISION_TOKEN", help="Asked for unless given; better not on a command line.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Store a platform's address and access token, once they are seen to work."""
    access = Access(checked_url(url), token or typer.prompt("Access token", hide_input=True, err=True))
    with Client(access.url, access.token) as client:
        system = client.system()
    path = store_login(access)
    if as_json:
        emit({"url": access.url, "file": path})
    else:
        say(f"Stored in {path}: installation {system.installation_id} at {access.url}")


def status(as_json: JsonOption = False) -> None:
    """The platform: version, slots and who uses them, addresses."""
    with connect() as client:
        system = client.system()
    if as_json:
        emit(system)
        return
    say(f"Vision Platform {system.version} ({system.environment}) at {client.url}")
    say(f"  installation: {system.installation_id}")
    for slot in system.slots:
        say(f"  slot {slot.name}: {f'job {slot.job_id}' if slot.job_id else 'free'}")
    if system.docs_url:
        say(f"  API docs: {system.docs_url}")
    if system.mlflow_url:
        say(f"  MLflow: {system.mlflow_url}")


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go, and why.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what is old and not in use: work folders, caches, logs, objects of deleted jobs. It runs daily, too."""
    with connect() as client:
        collection = client.collect(dry_run=dry_run)
    if as_json:
        emit(collection)
    else:
        _show_collection(collection)
    if collection.problems:
        raise typer.Exit(REFUSED)


def models(as_json: JsonOption = False) -> None:
    """What can be trained: frameworks, tasks and models."""
    with connect() as client:
        catalogue = client.catalogue()
    if as_json:
        emit(catalogue)
        return
    show(tables.catalogue(catalogue.items))
    for framework in catalogue.items:
        settings = ", ".join(framework.hyperparameters.get("properties", {}))
        say(f"\n{framework.title} {framework.version} ({framework.license})")
        say(f"  --set: {settings or formatting.NOTHING}")
    for problem in catalogue.problems:
        note(f"{problem.folder} is not offered: {problem.reason}", style="yellow")


def _show_collection(collection: Collection) -> None:
    if collection.items:
        show(tables.collection(collection.items))
        together = formatting.size(sum(item.bytes for item in collection.items))
        say(f"{together} would go; `vision gc` removes it." if collection.dry_run else f"{together} removed.")
    else:
        note("There is nothing to collect.")
    for problem in collection.problems:
        note(problem, style="red")
