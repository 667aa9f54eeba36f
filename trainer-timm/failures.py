"""What an exception means for the attempt: a stable code and an advice."""

from utils import TrainerFailure, is_disk_full

MEMORY = (
    "out of memory",  # of CUDA
    "can't allocate memory",  # of torch's allocator for the CPU
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Cannot allocate memory",
    "unable to allocate",  # of numpy
)


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
    if type(error).__name__ == "BrokenImage":  # not imported: that would import torch
        message = str(error).strip().rpartition("BrokenImage: ")[2]  # a loading process puts its traceback before
        return TrainerFailure("DATASET_INVALID", message, "Correct the dataset and add it again.")
    return TrainerFailure("FRAMEWORK_CRASH", text, "The traceback tells where; the log has more.")


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
