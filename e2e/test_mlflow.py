"""A real MLflow server beside the platform holds the run that the job links to."""

from pathlib import Path

import httpx
import pytest

from e2e.conftest import local_stack
from e2e.mlflow_server import mlflow_server
from e2e.sample import Sample
from e2e.training import submit


@pytest.mark.slow
def test_run_holds_parameters_metrics_and_checkpoints(tmp_path: Path, detection: Sample) -> None:
    with mlflow_server(tmp_path / "mlflow") as url, local_stack(tmp_path / "data", MLFLOW_TRACKING_URI=url) as stack:
        job_id = submit(stack.api, detection, epochs=2)
        job = stack.api.wait_for(job_id, "completed")
        answer = httpx.get(f"{url}/api/2.0/mlflow/runs/get", params={"run_id": job["mlflow_run_id"]}, trust_env=False)
        run = answer.raise_for_status().json()["run"]

    metrics = {metric["key"]: metric for metric in run["data"]["metrics"]}
    values = [item["value"] for item in run["data"]["params"] + run["data"]["tags"]]
    assert run["info"]["status"] == "FINISHED" and job["mlflow_run_id"] in job["mlflow_url"]
    assert metrics["train/box_loss"]["step"] == 2
    assert "yolo11n" in values and any(f"checkpoints/job-{job_id}/" in value for value in values)
