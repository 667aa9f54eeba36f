"""`boto3_serial.py ENDPOINT BUCKET PREFIX FOLDER`: one file after the other, as trainers are usually written."""

import sys
from pathlib import Path

import boto3
from botocore.config import Config

endpoint, bucket, prefix, folder = sys.argv[1:]
config = Config(s3={"addressing_style": "path"}, response_checksum_validation="when_required")
client = boto3.client("s3", endpoint_url=endpoint, config=config)
for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
    for found in page.get("Contents", []):
        target = Path(folder, found["Key"].removeprefix(prefix))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(client.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
