from rich.console import Console
from vision_client.live import LiveDisplay
from vision_client.view import View

from tests.factories import make_entry, make_job


def drawn(view: View) -> str:
    console = Console(width=140, force_terminal=False)
    with console.capture() as capture:
        console.print(LiveDisplay(view))
    return capture.get()


def make_trained_view() -> View:
    view = View(make_job())
    view.apply(make_entry("launch", source="platform", slots=["cpu:0"]))
    view.apply(make_entry("progress", phase="train", epoch=4, epochs=12, step=26, steps=32, eta_seconds=81.2))
    view.apply(make_entry("metrics", epoch=3, values={"train/box_loss": 1.4216, "val/box_loss": 9.0, "lr": 0.0028}))
    for epoch, value in ((2, 0.61), (3, 0.52)):
        primary = {"name": "mAP50-95", "value": value}
        view.apply(
            make_entry("validation", epoch=epoch, primary=primary, metrics={"mAP50": value + 0.2, "precision": 0.8})
        )
    view.apply(make_entry("warning", code="TRACKING_AWAY", message="MLflow does not answer"))
    return view


def test_display_shows_what_the_newest_reports_say() -> None:
    text = drawn(make_trained_view())
    for part in (
        "running · attempt 1 on cpu:0",
        "train  epoch 4 of 12",
        "26 of 32",
        "box 1.422   lr 0.0028",
        "mAP50 0.720",
    ):
        assert part in text
    assert "mAP50-95 0.610 at epoch 2" in text
    assert "about 1 min 21 s left" in text
    assert "TRACKING_AWAY: MLflow does not answer" in text
    assert "9" not in text.split("losses")[1].splitlines()[0]


def test_display_says_why_a_job_waits() -> None:
    reason = "waiting for the CPU slot: in use by job 2"
    text = drawn(View(make_job(status="pending", attempt=0, started_at=None, pending_reason=reason)))
    assert f"pending · {reason}" in text


def test_display_says_that_the_connection_is_lost_until_something_arrives() -> None:
    view = make_trained_view()
    view.trouble = "connection refused"
    assert "connection lost, trying again (connection refused)" in drawn(view)
    view.apply(make_entry("system", cpu_percent=50.0, memory_bytes=1))
    assert "connection lost" not in drawn(view)


def test_progress_starts_anew_if_the_job_is_requeued() -> None:
    view = make_trained_view()
    view.apply(make_entry("status", source="platform", to="pending", reason="retry"))
    assert view.status == "pending" and view.progress is None


def test_status_is_the_platforms_if_a_trainer_reports_another() -> None:
    view = View(make_job(status="running"))
    view.apply(make_entry("status", status="completed"))
    assert view.status == "running"


def test_epoch_counts_once_if_a_later_attempt_repeats_it() -> None:
    view = make_trained_view()
    view.apply(make_entry("validation", attempt=2, epoch=3, primary={"name": "mAP50-95", "value": 0.7}, metrics={}))
    assert sorted(view.validations) == [2, 3]
    assert view.best is not None and view.best[0] == 3


def test_best_is_what_is_stored_as_best_if_another_epoch_measured_higher() -> None:
    view = make_trained_view()
    view.apply(make_entry("checkpoint", kind="last", epoch=2))
    assert view.best is not None and view.best[0] == 2
    view.apply(make_entry("checkpoint", kind="best", epoch=3))
    assert view.best is not None and view.best[0] == 3


def test_bar_is_drawn_if_nothing_but_a_phase_is_known() -> None:
    view = View(make_job(status="starting"))
    view.apply(make_entry("progress", phase="download"))
    assert "download" in drawn(view)
