"""The real S3 server of the tests, and boto3 as an independent witness of what is in it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from app.settings import REPOSITORY, Settings

TESTING = REPOSITORY / "testing"


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    access_key: str
    secret_key: str
    region: str

    def settings(self, storage_type: str, bucket: str, **changes: Any) -> Settings:
        """Settings of `minio` or `r2` at this server."""
        names = {
            "minio": ("minio_endpoint", "minio_access_key", "minio_secret_key"),
            "r2": ("r2_endpoint", "r2_access_key_id", "r2_secret_access_key"),
        }[storage_type]
        values: dict[str, Any] = {"_env_file": None, "storage_type": storage_type, "storage_bucket": bucket}
        values |= dict(zip(names, (self.endpoint, self.access_key, self.secret_key), strict=True))
        return Settings(**values | changes)

    def witness(self) -> Any:
        """A boto3 client, with the settings that Swift, MinIO and R2 need."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@contextmanager
def s3_server(region: str, *buckets: str) -> Iterator[S3Server]:
    """Run testing/s3_server.py with these buckets; it ends with the block."""
    command = [str(TESTING / ".venv/bin/python"), str(TESTING / "s3_server.py"), "--region", region]
    command += [word for bucket in buckets for word in ("--bucket", bucket)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield S3Server(**json.loads(process.stdout.readline()))
        finally:
            process.terminate()
