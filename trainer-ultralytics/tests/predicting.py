"""Checkpoints of every task with random weights, and a local storage bucket to keep them in."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from checkpoint import TASKS
from environment import prepare_ultralytics
from PIL import Image

TRAINER = Path(__file__).resolve().parents[1]
CONFIGS = {
    "object_detection": "yolo26n.yaml",  # end to end: without the suppression that the others need
    "instance_segmentation": "yolo11n-seg.yaml",
    "pose_estimation": "yolo11n-pose.yaml",
    "oriented_object_detection": "yolo11n-obb.yaml",
    "image_classification": "yolo11n-cls.yaml",
}
CLASS_NAMES = ("영", "one", "two")
IMAGE_SIZE = 64


def write_checkpoint(path: Path, task_type: str, work_dir: Path) -> None:
    """As training saves one, but untrained: with a threshold of 0 it finds plenty, and always the same."""
    prepare_ultralytics(work_dir)
    import torch
    from ultralytics.nn import tasks

    classes = {
        "detect": tasks.DetectionModel,
        "segment": tasks.SegmentationModel,
        "pose": tasks.PoseModel,
        "obb": tasks.OBBModel,
        "classify": tasks.ClassificationModel,
    }
    torch.manual_seed(0)
    task = TASKS[task_type]
    model = classes[task](CONFIGS[task_type], nc=len(CLASS_NAMES), verbose=False)
    model.names = dict(enumerate(CLASS_NAMES))
    model.args = {"task": task, "imgsz": IMAGE_SIZE}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model, "train_args": model.args}, path)


def noise_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """Coarse noise: something different at every place."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST)


def put_picture(bucket: Path, key: str, picture: Image.Image, **options: Any) -> None:
    data = io.BytesIO()
    picture.save(data, Path(key).suffix[1:].replace("jpg", "jpeg"), **options)
    put_bytes(bucket, key, data.getvalue())


def put_bytes(bucket: Path, key: str, data: bytes) -> None:
    (bucket / key).parent.mkdir(parents=True, exist_ok=True)
    (bucket / key).write_bytes(data)


def environment_for(bucket: Path, task_type: str, **more: str) -> dict[str, str]:
    """What a launcher would set."""
    return {
        "TASK_TYPE": task_type,
        "CHECKPOINT": f"checkpoints/{task_type}.pt",
        "STORAGE_TYPE": "local",
        "STORAGE_PATH": str(bucket.parent),
        "STORAGE_BUCKET": bucket.name,
        "DEVICE": "cpu",
        **more,
    }


def run_predict(
    environment: Mapping[str, str], folder: Path, lines: str | None = None
) -> subprocess.CompletedProcess[str]:
    """`python predict.py` from another folder, with nothing of this process' environment but the way to programs."""
    return subprocess.run(
        [sys.executable, str(TRAINER / "predict.py")],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": str(folder), **environment},
        input=lines or "",
        capture_output=True,
        text=True,
        timeout=180,
    )


def answers_of(stdout: str) -> list[dict[str, Any]]:
    """Every line of standard output must be an object: anything else in between fails here."""
    return [dict(json.loads(line)) for line in stdout.splitlines()]
