"""Every task type trains an epoch, and its checkpoint answers a prediction in the task's own shape."""

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from e2e.backend import REPOSITORY
from e2e.conftest import Stack, local_stack
from e2e.sample import make_sample
from e2e.training import submit

PRIMARY = {
    "instance_segmentation": "mask/mAP50-95",
    "pose_estimation": "pose/mAP50-95",
    "oriented_object_detection": "mAP50-95",
    "image_classification": "top1",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with local_stack(tmp_path_factory.mktemp("tasks")) as stack:
        yield stack


@pytest.mark.parametrize("task_type", PRIMARY)
def test_task_trains_and_predicts(task_type: str, stack: Stack, sample_folder: Path) -> None:
    sample = make_sample(sample_folder, task_type)

    job_id = submit(stack.api, sample, epochs=1)
    job = stack.api.wait_for(job_id, "completed")
    result = stack.api.predict(job_id, sample.test_image)["result"]

    assert job["best"]["metric"] == PRIMARY[task_type]
    assert [row["epoch"] for row in stack.api.items(f"/api/v1/jobs/{job_id}/validations")] == [1]
    jsonschema.validate(result, json.loads((REPOSITORY / "contracts/prediction.schema.json").read_text()))
    assert result["task_type"] == task_type
    if task_type == "image_classification":
        assert result["count"] >= 1
