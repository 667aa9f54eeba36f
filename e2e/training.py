"""The tiny training that most tests run: yolo11n from random weights on a dozen small images."""

from typing import Any

from e2e.api import Api
from e2e.sample import Sample

MODELS = {
    "object_detection": "yolo11n",
    "instance_segmentation": "yolo11n-seg",
    "pose_estimation": "yolo11n-pose",
    "oriented_object_detection": "yolo11n-obb",
    "image_classification": "yolo11n-cls",
}


def submit(api: Api, sample: Sample, **changes: Any) -> int:
    """Submit a job on the sample, registered first unless `dataset_id` is given; returns the job's id."""
    if "dataset_id" not in changes:
        dataset = api.add_dataset(sample.archive, f"digits-{sample.task_type}", sample.task_type)
        changes["dataset_id"] = dataset["id"]
    request: dict[str, Any] = {
        "framework": "ultralytics",
        "task_type": sample.task_type,
        "model_name": MODELS[sample.task_type],
        "weights": "scratch",
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.002,
        "image_size": 64,
        "seed": 7,
        "workers": 0,
        "save_period": 1,
    }
    return api.submit(**request | changes)
