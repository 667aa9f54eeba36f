"""A detector trains through the whole platform, on a local folder with SQLite and on an S3 server with PostgreSQL."""

import hashlib
import json
import math
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from e2e.backend import REPOSITORY
from e2e.conftest import Stack, local_stack, minio_stack
from e2e.sample import CLASSES, Sample
from e2e.training import submit

EPOCHS = 2
TRAINER = REPOSITORY / "trainer-ultralytics"


@dataclass(frozen=True)
class Trained:
    stack: Stack
    job: dict[str, Any]
    history: list[dict[str, Any]]

    @property
    def id(self) -> int:
        return int(self.job["id"])

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.history if entry["type"] == kind]


@pytest.fixture(scope="module", params=["local", "minio"])
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, detection: Sample
) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp(request.param)
    with {"local": local_stack, "minio": minio_stack}[request.param](folder) as stack:
        job_id = submit(stack.api, detection, epochs=EPOCHS)
        job = stack.api.wait_for(job_id, "completed")
        yield Trained(stack, job, stack.api.history(job_id))


def test_job_says_what_it_reached(trained: Trained) -> None:
    job = trained.job

    assert job["failure"] is None and job["attempt"] == 1
    assert job["best"]["metric"] == "mAP50-95" and 1 <= job["best"]["epoch"] <= EPOCHS
    [attempt] = job["attempts"]
    assert (attempt["outcome"], attempt["exit_code"], attempt["slots"]) == ("completed", 0, ["cpu:0"])


def test_history_is_whole_and_in_order(trained: Trained) -> None:
    positions = [entry["position"] for entry in trained.history]
    statuses = [entry["payload"]["to"] for entry in trained.of_type("status") if entry["source"] == "platform"]
    phases = {entry["payload"]["phase"] for entry in trained.of_type("progress")}

    assert positions == list(range(positions[0], positions[0] + len(positions)))
    assert statuses[-3:] == ["starting", "running", "completed"]
    assert phases == {"download", "prepare", "train", "validate", "upload"}


def test_stream_resumes_where_it_was_left(trained: Trained) -> None:
    middle = trained.history[len(trained.history) // 2]["position"]

    with closing(trained.stack.api.stream(trained.id, after=middle)) as entries:
        following = next(entries)

    assert following["position"] == middle + 1


def test_metrics_have_a_point_an_epoch(trained: Trained) -> None:
    series = trained.stack.api.series(trained.id)

    losses = series["train/box_loss"]
    assert [point["epoch"] for point in losses] == [1, EPOCHS]
    assert all(math.isfinite(point["value"]) for point in losses)
    assert {"train/cls_loss", "train/dfl_loss", "val/box_loss"} <= set(series)
    assert any(name == "lr" or name.startswith("lr/") for name in series)


def test_learning_rate_is_the_one_asked_for(trained: Trained) -> None:
    rates = [
        point["value"]
        for name, points in trained.stack.api.series(trained.id).items()
        if name.startswith("lr")
        for point in points
    ]

    assert 0 < max(rates) <= 0.002


def test_every_epoch_is_validated_by_class(trained: Trained) -> None:
    validations = trained.stack.api.items(f"/api/v1/jobs/{trained.id}/validations")

    assert [row["epoch"] for row in validations] == [1, EPOCHS]
    assert validations[-1]["primary"]["name"] == "mAP50-95"
    assert {"precision", "recall", "mAP50", "mAP50-95"} <= set(validations[-1]["metrics"])
    named = {row["class_name"] for validation in validations for row in validation["per_class"]}
    assert named <= set(CLASSES)


def test_checkpoint_loads_in_ultralytics_and_predicts(trained: Trained, detection: Sample, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(trained.stack.api.download(f"/api/v1/jobs/{trained.id}/checkpoints/best"))
    [best] = [row for row in trained.stack.api.checkpoints(trained.id) if row["kind"] == "best"]

    loaded = _load_checkpoint(path, detection.test_image)

    assert hashlib.sha256(path.read_bytes()).hexdigest() == best["sha256"]
    assert loaded["task"] == "detect" and loaded["names"] == CLASSES
    assert loaded["scale"] == "n" and loaded["boxes"] > 0


def test_storage_holds_the_checkpoints_that_the_pointers_name(trained: Trained) -> None:
    witness, folder = trained.stack.witness, f"checkpoints/job-{trained.id}/"
    schema = json.loads((REPOSITORY / "contracts/pointer.schema.json").read_text())
    pointers = {kind: json.loads(witness.read(f"{folder}{kind}.json")) for kind in ("best", "last")}

    for pointer in pointers.values():
        jsonschema.validate(pointer, schema)
        assert hashlib.sha256(witness.read(pointer["key"])).hexdigest() == pointer["sha256"]
    assert pointers["last"]["epoch"] == EPOCHS
    assert hashlib.sha256(witness.read(f"{folder}best.pt")).hexdigest() == pointers["best"]["sha256"]
    kept = {f"{folder}best.json", f"{folder}last.json", f"{folder}best.pt"} | {row["key"] for row in pointers.values()}
    assert set(witness.keys(folder)) == kept


def test_artifacts_download_as_they_were_made(trained: Trained) -> None:
    artifacts = trained.stack.api.items(f"/api/v1/jobs/{trained.id}/artifacts")

    assert {"curves", "plot", "sample_predictions"} <= {row["kind"] for row in artifacts}
    for row in artifacts:
        content = trained.stack.api.download(f"/api/v1/jobs/{trained.id}/artifacts/{row['id']}")
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        assert content == trained.stack.witness.read(row["key"])


def test_log_reads_by_its_tail_and_by_bytes(trained: Trained) -> None:
    path = f"/api/v1/jobs/{trained.id}/logs"
    whole = trained.stack.api.get(path, offset=0, limit=1_000_000)
    piece = trained.stack.api.get(path, offset=10, limit=20)
    tail = trained.stack.api.get(path, tail=3)

    assert whole["complete"] and "Ultralytics" in whole["text"]
    assert piece["text"] == whole["text"].encode()[10:30].decode()
    assert whole["text"].endswith(tail["text"]) and len(tail["text"].splitlines()) == 3


def test_prediction_keeps_the_contract(trained: Trained, detection: Sample) -> None:
    answer = trained.stack.api.predict(trained.id, detection.test_image)

    schema = json.loads((REPOSITORY / "contracts/prediction.schema.json").read_text())
    jsonschema.validate(answer["result"], schema)
    assert answer["job_id"] == trained.id and answer["result"]["width"] == 96
    [best] = [row for row in trained.stack.api.checkpoints(trained.id) if row["kind"] == "best"]
    assert answer["checkpoint"]["sha256"] == best["sha256"]


def test_mlflow_away_is_one_warning_and_no_mlflow_is_none(trained: Trained) -> None:
    warnings = [entry["payload"]["code"] for entry in trained.of_type("warning")]

    assert len([code for code in warnings if "MLFLOW" in code]) == (1 if trained.stack.name == "minio" else 0)
    assert trained.job["mlflow_run_id"] is None


def test_nothing_of_the_attempt_still_runs(trained: Trained) -> None:
    from e2e.backend import trainer_processes

    assert trainer_processes(trained.stack.data_dir) == []


def test_objects_go_with_the_job_and_the_dataset(trained: Trained) -> None:
    api, witness = trained.stack.api, trained.stack.witness
    refused = api.http.delete(f"/api/v1/datasets/{trained.job['dataset_id']}")

    api.delete(f"/api/v1/jobs/{trained.id}")
    after_job = witness.keys("checkpoints/") + witness.keys("artifacts/")
    api.delete(f"/api/v1/datasets/{trained.job['dataset_id']}")
    purged = api.http.post(f"/api/v1/datasets/{trained.job['dataset_id']}/purge")

    assert purged.status_code == 204
    assert refused.status_code == 409
    assert after_job == [] and witness.keys("datasets/") == []


def _load_checkpoint(path: Path, image: Path) -> dict[str, Any]:
    command = [str(TRAINER / ".venv/bin/python"), str(TRAINER / "tests/load_checkpoint.py"), str(path), str(image)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return loaded
