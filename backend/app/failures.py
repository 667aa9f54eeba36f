"""Every way in which an attempt can fail: a stable code, its cause, an advice, and whether a retry can help.

Trainers use the same codes, and may use their own. docs/failures.md holds the same table; a test compares them.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Failure:
    """`pause` lengthens the wait before a retry: what is away comes back later than what fell over."""

    cause: str
    advice: str
    retryable: bool
    pause: int = 1


FAILURES: dict[str, Failure] = {
    "BAD_CONFIGURATION": Failure(
        "The trainer refused its variables; its last log lines name each one.",
        "Correct the named values and submit a new job.",
        retryable=False,
    ),
    "DATASET_MISSING": Failure(
        "The dataset version is not in storage.",
        "Register the dataset again, or look whether its objects were deleted.",
        retryable=False,
    ),
    "DATASET_DIGEST_MISMATCH": Failure(
        "The dataset in storage is not the one that was registered.",
        "Register the dataset again; what was stored is damaged or was replaced.",
        retryable=False,
    ),
    "DATASET_INVALID": Failure(
        "The framework cannot train on this dataset.",
        "Read the message, correct the dataset and register it again.",
        retryable=False,
    ),
    "WEIGHTS_MISSING": Failure(
        "The pretrained weights are neither in storage nor can they be downloaded.",
        "Put them into storage under weights/, or train with weights=scratch.",
        retryable=False,
    ),
    "CHECKPOINT_MISSING": Failure(
        "The checkpoint to continue from is not in storage.",
        "Submit a new job; the weights of this one were deleted.",
        retryable=False,
    ),
    "RESUME_INVALID": Failure(
        "The checkpoint to continue from is damaged or cannot be continued.",
        "Submit a new job, with weights set to the best checkpoint of this one.",
        retryable=False,
    ),
    "STORAGE_ERROR": Failure(
        "The object storage did not answer or refused.",
        "Check that it runs and that its keys and free space suffice.",
        retryable=True,
        pause=12,  # with the default retries, an outage of ten minutes is outlasted
    ),
    "DISK_FULL": Failure(
        "The trainer's disk is full.",
        "Free space where DATA_DIR lies: old work folders and the cache can go.",
        retryable=True,
    ),
    "OUT_OF_MEMORY": Failure(
        "The machine or the GPU ran out of memory.",
        "Submit a new job with a smaller batch_size or image_size, a smaller model or fewer workers.",
        retryable=False,
    ),
    "NAN_LOSS": Failure(
        "The loss is no longer a finite number.",
        "Submit a new job with a lower learning rate, and look for broken labels.",
        retryable=False,
    ),
    "FRAMEWORK_CRASH": Failure(
        "The framework ended with an error of its own.",
        "Read the traceback or the last log lines.",
        retryable=True,
    ),
    "TRAINER_KILLED": Failure(
        "Something other than the platform ended the trainer's process.",
        "Look who sent the signal: a person, a service manager, or the system at shutdown.",
        retryable=True,
    ),
    "TRAINER_LOST": Failure(
        "The trainer is gone and nobody saw it end.",
        "Usually the machine was restarted; nothing needs to be done.",
        retryable=True,
    ),
    "LAUNCH_FAILED": Failure(
        "The trainer could not be started.",
        "Check that the trainer's folder and its environment are in place.",
        retryable=True,
    ),
    "NO_COMPLETION_REPORT": Failure(
        "The trainer ended without an error and without saying that it had completed.",
        "This is a bug in the trainer: it must report `completed` before it exits with 0.",
        retryable=False,
    ),
    "STALLED": Failure(
        "The trainer lived on without making progress, and was stopped.",
        "Look at the last log lines for what it waited for: a disk, the network, a data loader.",
        retryable=True,
    ),
}

_OWN = Failure("The trainer gave a code of its own.", "Read the message and the last log lines.", retryable=False)


def lookup(code: str) -> Failure:
    """What is known of a code; a trainer's own code is not retried."""
    return FAILURES.get(code, _OWN)


def describe(code: str, message: str, hint: str | None = None, traceback: str | None = None) -> dict[str, Any]:
    """A failure as jobs and attempts store it; without a hint of the trainer's, ours."""
    known = lookup(code)
    failure = {"code": code, "message": message, "hint": hint or known.advice, "cause": known.cause}
    return failure | ({"traceback": traceback} if traceback else {})


def as_markdown() -> str:
    """The table of docs/failures.md."""
    head = "| code | cause | advice | retried |\n|---|---|---|---|\n"
    rows = (
        f"| `{code}` | {failure.cause} | {failure.advice} | {'yes' if failure.retryable else 'no'} |"
        for code, failure in FAILURES.items()
    )
    return head + "\n".join(rows) + "\n"
