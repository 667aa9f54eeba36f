"""A checkpoint as a model in memory. Loading one runs code that it carries: only here, in the trainer's own process."""

from pathlib import Path
from typing import Any

from environment import prepare_ultralytics
from utils import TASK_TYPES, TrainerFailure

TASKS = dict(zip(TASK_TYPES, ("detect", "segment", "pose", "obb", "classify"), strict=True))


def load_model(path: Path, task_type: str, work_dir: Path) -> Any:
    """The `ultralytics.YOLO` of a `.pt` file at an absolute path. Raises TrainerFailure CHECKPOINT_INVALID.

    Ultralytics is only ever given a file that exists: it would look for another by that name on its hub.
    """
    if not path.is_absolute() or not path.is_file() or path.suffix != ".pt":
        raise TrainerFailure("CHECKPOINT_INVALID", f"{path} is not a .pt file at an absolute path")
    prepare_ultralytics(work_dir)
    from ultralytics import YOLO

    try:
        model = YOLO(path)
        task = model.task
    except Exception as error:  # whatever unpickling meets
        raise TrainerFailure("CHECKPOINT_INVALID", f"{path.name} cannot be loaded: {error!r}") from error
    if task != TASKS[task_type]:
        hint = "Set the TASK_TYPE that it was trained for."
        raise TrainerFailure("CHECKPOINT_INVALID", f"{path.name} is for {task!r}, not {task_type!r}", hint)
    return model
