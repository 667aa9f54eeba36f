"""Checkpoints leave in the background: the newest wins, nothing stays behind, and a failure reaches the training."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import MakeConfig
from obstore.store import LocalStore
from uploads import Uploads
from utils import Reporter, Superseded, TrainConfig, TrainerFailure

MakeUploads = Callable[..., Uploads]


@pytest.fixture
def config(make_config: MakeConfig) -> TrainConfig:
    return make_config()


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


@pytest.fixture
def reporter(config: TrainConfig) -> Iterator[Reporter]:
    reporter = Reporter(config)
    yield reporter
    reporter.close()


@pytest.fixture
def make_uploads(config: TrainConfig, bucket: Path, reporter: Reporter) -> MakeUploads:
    return lambda on_stored=lambda *_: None: Uploads(LocalStore(bucket), config, reporter, on_stored)


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """The file that Ultralytics writes again after every epoch."""
    path = tmp_path / "last.pt"
    path.write_bytes(b"epoch 1")
    return path


def stored_epoch(bucket: Path, kind: str) -> int:
    return int(json.loads((bucket / f"checkpoints/job-12/{kind}.json").read_text())["epoch"])


def test_what_was_handed_over_is_stored_if_the_file_changes_after(
    make_uploads: MakeUploads, bucket: Path, last: Path
) -> None:
    uploads = make_uploads()
    uploads.submit(["best", "last"], last, 1, {"mAP50": 0.5})
    last.write_bytes(b"epoch 2")
    assert uploads.drain()
    [path] = (bucket / "checkpoints/job-12/attempt-1").iterdir()  # one object for both
    assert path.read_bytes() == b"epoch 1"
    assert stored_epoch(bucket, "best") == stored_epoch(bucket, "last") == 1
    assert uploads.epochs == {"best": 1, "last": 1}


def test_one_that_waits_gives_way_to_a_newer_one(
    make_uploads: MakeUploads, config: TrainConfig, bucket: Path, last: Path
) -> None:
    release, first, stored = threading.Event(), threading.Event(), []

    def on_stored(kind: str, key: str, epoch: int) -> None:
        stored.append((kind, epoch))
        first.set()
        release.wait(20)

    uploads = make_uploads(on_stored)
    for epoch in (1, 2, 3):
        last.write_bytes(b"epoch %d" % epoch)
        uploads.submit(["best"], last, epoch, {})
        assert first.wait(20)
    assert not uploads.drain(timeout=0.01)
    release.set()
    assert uploads.drain()
    assert stored == [("best", 1), ("best", 3)]
    assert list((config.work_dir / "uploads").iterdir()) == []


def test_best_and_last_take_turns_if_the_storage_is_slow(make_uploads: MakeUploads, last: Path) -> None:
    """Each epoch is the best so far, and the next one comes before the one before is stored."""
    epoch, stored = 1, []

    def on_stored(kind: str, key: str, number: int) -> None:
        nonlocal epoch
        stored.append((kind, number))
        if epoch < 6:
            epoch += 1
            last.write_bytes(b"epoch %d" % epoch)
            uploads.submit(["best", "last"] if epoch % 2 else ["best"], last, epoch, {})

    uploads = make_uploads(on_stored)
    uploads.submit(["best", "last"], last, 1, {})
    assert uploads.drain()
    assert stored == [("best", 1), ("last", 1), ("best", 3), ("last", 3), ("best", 5), ("last", 5), ("best", 6)]


def test_newest_last_goes_first_if_asked_to_stop(
    make_uploads: MakeUploads, config: TrainConfig, reporter: Reporter, last: Path
) -> None:
    stored = []

    def on_stored(kind: str, key: str, epoch: int) -> None:
        stored.append((kind, epoch))
        if epoch == 1:
            for later, kinds in ((2, ["best", "last"]), (3, ["last"])):
                last.write_bytes(b"epoch %d" % later)
                uploads.submit(kinds, last, later, {})
            reporter.request_stop()

    uploads = make_uploads(on_stored)
    uploads.submit(["best"], last, 1, {})
    assert uploads.drain()
    assert stored == [("best", 1), ("last", 3), ("best", 2)]
    assert list((config.work_dir / "uploads").iterdir()) == []


def test_failure_reaches_the_training_thread(make_uploads: MakeUploads, last: Path) -> None:
    def fail(kind: str, key: str, epoch: int) -> None:
        raise TrainerFailure("STORAGE_ERROR", "gone")

    uploads = make_uploads(fail)
    uploads.submit(["last"], last, 1, {})
    with pytest.raises(TrainerFailure, match="gone"):
        uploads.drain()
    with pytest.raises(TrainerFailure, match="gone"):
        uploads.submit(["last"], last, 2, {})


def test_superseded_if_a_newer_attempt_wrote_the_pointer(make_uploads: MakeUploads, bucket: Path, last: Path) -> None:
    newer = {"key": "a", "sha256": "0" * 64, "size": 1, "epoch": 9, "metrics": {}, "attempt": 2}
    (bucket / "checkpoints/job-12").mkdir(parents=True)
    (bucket / "checkpoints/job-12/last.json").write_text(json.dumps(newer))
    uploads = make_uploads()
    uploads.submit(["best"], last, 1, {})
    with pytest.raises(Superseded):
        uploads.drain()
    assert not (bucket / "checkpoints/job-12/best.json").exists()
