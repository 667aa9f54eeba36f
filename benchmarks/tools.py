"""Who fetches from the S3 server: the trainer's own code, boto3, the AWS command line, s5cmd. Each is a program."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from e2e.backend import REPOSITORY
from e2e.stores import BUCKET, Credentials

FILES = "files/"
BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
TRAINER = REPOSITORY / "trainer-ultralytics"
PART_BYTES = 8 * 2**20  # as the platform uploads
ANY_TRAINING = {
    "JOB_ID": "1",
    "TASK_TYPE": "object_detection",
    "MODEL_NAME": "none",
    "DATASET_ID": "bench",
    "DATASET_VERSION": "1",
    "EPOCHS": "1",
    "BATCH_SIZE": "1",
    "LEARNING_RATE": "0.1",
}


def trainer(what: str, target: Path) -> list[str]:
    """`what`: the dataset, with its cache in `target`, or the key of one object."""
    return [str(TRAINER / ".venv/bin/python"), str(HERE / "fetch_version.py"), what, str(target)]


def trainer_environment(storage: Mapping[str, str], sha256: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(TRAINER), "DATASET_SHA256": sha256, **ANY_TRAINING, **storage}


def boto3_serial(credentials: Credentials, prefix: str, target: Path) -> list[str]:
    return [sys.executable, str(HERE / "boto3_serial.py"), credentials["endpoint"], BUCKET, prefix, str(target)]


def aws_recursive(credentials: Credentials, prefix: str, target: Path) -> list[str]:
    options = ["--endpoint-url", credentials["endpoint"], "--only-show-errors"]
    return [str(BIN / "aws"), *options, "s3", "cp", "--recursive", f"s3://{BUCKET}/{prefix}", str(target)]


def s5cmd(credentials: Credentials, source: str, target: Path) -> list[str]:
    return [*_s5cmd(credentials), "cp", f"s3://{BUCKET}/{source}", f"{target}/"]


def s5cmd_upload(credentials: Credentials, folder: Path) -> list[str]:
    return [*_s5cmd(credentials), "cp", f"{folder}/", f"s3://{BUCKET}/{FILES}"]


def environment(credentials: Credentials, folder: Path) -> dict[str, str]:
    """Of the usual tools: who they are, and path addressing; nothing of the person who measures."""
    config = folder / "aws-config"
    config.write_text("[default]\ns3 =\n    addressing_style = path\n")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_CONFIG_FILE": str(config),
        "AWS_ACCESS_KEY_ID": credentials["access_key"],
        "AWS_SECRET_ACCESS_KEY": credentials["secret_key"],
        "AWS_DEFAULT_REGION": credentials["region"],
        "AWS_REGION": credentials["region"],
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


def upload_archive(credentials: Credentials, archive: Path, key: str) -> None:
    """In the parts that the platform uploads in."""
    client = boto3.client(
        "s3",
        endpoint_url=credentials["endpoint"],
        aws_access_key_id=credentials["access_key"],
        aws_secret_access_key=credentials["secret_key"],
        region_name=credentials["region"],
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES)
    client.upload_file(str(archive), BUCKET, key, Config=parts)


def _s5cmd(credentials: Credentials) -> list[str]:
    return [str(BIN / "s5cmd"), "--endpoint-url", credentials["endpoint"], "--log", "error"]
