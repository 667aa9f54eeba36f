"""The R2 settings against a server that, like R2, takes only the region `auto`; boto3 reads back what was written."""

import hashlib
import json
from pathlib import Path

from e2e.backend import running_backend
from e2e.sample import Sample
from e2e.stores import r2_settings, s3_server, s3_witness
from e2e.training import submit


def test_training_keeps_everything_in_r2_if_chosen(tmp_path: Path, detection: Sample) -> None:
    with s3_server("auto") as credentials, running_backend(tmp_path, **r2_settings(credentials)) as api:
        witness = s3_witness(credentials)

        job_id = submit(api, detection, epochs=1)
        job = api.wait_for(job_id, "completed")

        dataset = api.get(f"/api/v1/datasets/{job['dataset_id']}")
        archive = witness.read(f"datasets/{dataset['id']}/1/data.zip")
        pointer = json.loads(witness.read(f"checkpoints/job-{job_id}/best.json"))
        assert hashlib.sha256(archive).hexdigest() == dataset["latest"]["archive_sha256"]
        assert hashlib.sha256(witness.read(pointer["key"])).hexdigest() == pointer["sha256"]
        assert witness.keys(f"artifacts/job-{job_id}/")
        assert not (tmp_path / "storage").exists()
