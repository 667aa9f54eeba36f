"""Examples for the API's description; a test holds them to their shapes."""

from pydantic.config import JsonDict

TIME = "2026-11-23T10:00:00Z"

JOB_CREATE: JsonDict = {
    "name": "digits, first try",
    "framework": "ultralytics",
    "task_type": "object_detection",
    "model_name": "yolo11n",
    "dataset_id": "digits",
    "epochs": 12,
    "batch_size": 8,
    "learning_rate": 0.003,
    "image_size": 128,
    "weights": "scratch",
    "hyperparameters": {"optimizer": "AdamW", "mosaic": 0.5},
}

JOB: JsonDict = {
    "id": 1,
    "name": "digits, first try",
    "framework": "ultralytics",
    "task_type": "object_detection",
    "model_name": "yolo11n",
    "dataset_id": "digits",
    "dataset_version": 1,
    "config": {
        "epochs": 12,
        "batch_size": 8,
        "learning_rate": 0.003,
        "image_size": 128,
        "seed": 0,
        "workers": 0,
        "weights": "scratch",
        "save_period": 5,
        "hyperparameters": {"optimizer": "AdamW", "mosaic": 0.5},
    },
    "gpus": 0,
    "priority": 0,
    "max_retries": 2,
    "status": "running",
    "pending_reason": None,
    "stop_intent": None,
    "failure": None,
    "attempt": 1,
    "progress": {
        "phase": "train",
        "epoch": 7,
        "epochs": 12,
        "step": 20,
        "steps": 36,
        "eta_seconds": 61.5,
        "time": TIME,
    },
    "best": {"metric": "mAP50-95", "value": 0.63, "epoch": 6},
    "mlflow_run_id": "3f0c7a52d5a64b0f8a4f3f2c1f0a9b7e",
    "mlflow_url": "http://127.0.0.1:5000/#/runs/3f0c7a52d5a64b0f8a4f3f2c1f0a9b7e",
    "created_at": TIME,
    "updated_at": TIME,
    "started_at": TIME,
    "ended_at": None,
}

HISTORY_ENTRY: JsonDict = {
    "position": 42,
    "time": TIME,
    "attempt": 1,
    "source": "trainer",
    "type": "metrics",
    "sequence": 39,
    "payload": {"epoch": 3, "values": {"train/box_loss": 1.42}},
}

METRICS: JsonDict = {
    "series": [
        {
            "name": "train/box_loss",
            "points": [{"epoch": 1, "step": None, "value": 3.1, "attempt": 1, "time": TIME}],
        }
    ]
}

VALIDATION: JsonDict = {
    "attempt": 1,
    "epoch": 6,
    "primary": {"name": "mAP50-95", "value": 0.63},
    "metrics": {"precision": 0.9, "recall": 0.88, "mAP50": 0.94, "mAP50-95": 0.63},
    "per_class": [{"class_id": 0, "class_name": "zero", "mAP50": 0.97, "mAP50-95": 0.66}],
    "artifact": "artifacts/job-1/attempt-1/curves.json",
    "time": TIME,
}

BATCH: JsonDict = {
    "attempt": 1,
    "instance": "b6f0c2d1e3a4",
    "events": [
        {"sequence": 7, "time": TIME, "type": "metrics", "epoch": 3, "values": {"train/box_loss": 1.42}},
    ],
}

ANSWER: JsonDict = {
    "acknowledged": 7,
    "rejected": [{"sequence": 5, "reason": "values.loss: Input should be a finite number, not nan"}],
    "should_stop": False,
}
