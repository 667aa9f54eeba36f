"""The platform's closed vocabularies, spelled once."""

from enum import StrEnum
from typing import Literal


class TaskType(StrEnum):
    OBJECT_DETECTION = "object_detection"
    INSTANCE_SEGMENTATION = "instance_segmentation"
    POSE_ESTIMATION = "pose_estimation"
    ORIENTED_OBJECT_DETECTION = "oriented_object_detection"
    IMAGE_CLASSIFICATION = "image_classification"


class JobStatus(StrEnum):
    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
ACTIVE = frozenset({JobStatus.STARTING, JobStatus.RUNNING, JobStatus.STOPPING})


class ImportStatus(StrEnum):
    RECEIVING = "receiving"  # waits for bytes
    QUEUED = "queued"
    RUNNING = "running"
    ACCEPTED = "accepted"
    REFUSED = "refused"  # by what was found in it
    FAILED = "failed"  # not by its own fault; its upload is kept for a day and can be started again
    CANCELLED = "cancelled"


IMPORT_ENDED = frozenset({ImportStatus.ACCEPTED, ImportStatus.REFUSED, ImportStatus.FAILED, ImportStatus.CANCELLED})
Origin = Literal["import", "addition", "edit"]


class Trigger(StrEnum):
    """What can happen to a job; `services.jobs.TRANSITIONS` says what follows."""

    LAUNCH = "launch"
    RUN = "run"
    CANCEL = "cancel"
    STOPPED = "stopped"
    COMPLETE = "complete"
    FAIL = "fail"
    REQUEUE = "requeue"
    RETRY = "retry"


class StopIntent(StrEnum):
    """Why the platform asked a trainer to stop; the trainer itself is never told."""

    CANCEL = "cancel"
    PREEMPT = "preempt"
    STALL = "stall"


class EventSource(StrEnum):
    TRAINER = "trainer"
    PLATFORM = "platform"


class CheckpointKind(StrEnum):
    BEST = "best"
    LAST = "last"


CollectedKind = Literal["work_folder", "cache", "log", "checkpoints", "artifacts", "dataset", "upload", "leftover"]
