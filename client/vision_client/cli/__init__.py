"""The `vision` command."""

import typer

from vision_client.cli import datasets, jobs, platform, predictions
from vision_client.cli.common import VisionGroup

app = typer.Typer(
    name="vision",
    cls=VisionGroup,
    help="Train vision models on your own platform: bring a dataset, train, watch, keep the best checkpoint, use it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(datasets.app, name="dataset")
app.command("train")(jobs.train)
app.command("watch")(jobs.watch_job)
app.command("jobs")(jobs.list_jobs)
app.command("job")(jobs.show_job)
app.command("show", hidden=True)(jobs.show_job)
app.command("logs")(jobs.logs)
app.command("cancel")(jobs.cancel)
app.command("retry")(jobs.retry)
app.command("delete")(jobs.delete)
app.command("predict")(predictions.predict)
app.command("checkpoints")(predictions.checkpoints)
app.command("models")(platform.models)
app.command("status")(platform.status)
app.command("gc")(platform.gc)
app.command("login")(platform.login)


def main() -> None:
    app()
