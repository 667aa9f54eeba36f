"""What an exception means for the attempt: a stable code and an advice."""

from pathlib import Path
from traceback import walk_tb

from utils import TrainerFailure, is_disk_full

MEMORY = (
    "out of memory",  # of CUDA
    "can't allocate memory",  # of torch's allocator for the CPU
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Cannot allocate memory",
    "unable to allocate",  # of numpy
)
NAN = ("NaN/Inf", "NaN persisted")
DATA_MODULES = ("utils.py", "dataset.py", "base.py", "build.py")


def failure_of(error: BaseException) -> TrainerFailure:
    """The failure that `error` is or stands for. Its cause, where not itself, is kept for the traceback."""
    if isinstance(error, TrainerFailure):
        return error
    failure = _describe(error)
    failure.__cause__ = error
    return failure


def _describe(error: BaseException) -> TrainerFailure:
    text = f"{type(error).__name__}: {error}"
    if any(is_disk_full(cause) for cause in _causes(error)):
        return TrainerFailure("DISK_FULL", text, "Free some space, or set WORK_DIR or CACHE_DIR to a larger disk.")
    if isinstance(error, MemoryError) or any(sign in text for sign in MEMORY):
        return TrainerFailure("OUT_OF_MEMORY", text, "Lower BATCH_SIZE or IMAGE_SIZE, or choose a smaller model.")
    if any(sign in text for sign in NAN):
        return TrainerFailure("NAN_LOSS", text, "Lower LEARNING_RATE, raise warmup_epochs, or set amp to false.")
    if _is_about_data(error):
        return TrainerFailure("DATASET_INVALID", text, "Correct the dataset and add it again.")
    return TrainerFailure("FRAMEWORK_CRASH", text, "The traceback tells where; the log has more.")


def _is_about_data(error: BaseException) -> bool:
    """Whether it came out of Ultralytics' reading of the dataset, or out of our description of it."""
    return any(_innermost_is_data(cause) for cause in _causes(error))


def _innermost_is_data(error: BaseException) -> bool:
    paths = [Path(frame.f_code.co_filename) for frame, _ in walk_tb(error.__traceback__)]
    own = [path for path in paths if "ultralytics" in path.parts]
    return bool(own) and own[-1].parent.name == "data" and own[-1].name in DATA_MODULES


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
