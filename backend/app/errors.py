"""Every refusal the platform can give: one family, one handler in `main.py`.

The class docstring is the default message. A message names the thing, the value and the fix.
"""

from typing import Any


class AppError(Exception):
    """Something went wrong."""

    code = "INTERNAL"
    status = 500
    retry_after: int | None = None  # seconds

    def __init__(self, message: str | None = None, **details: Any) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.details = details
        super().__init__(self.message)


class NotFound(AppError):
    """There is no such thing here."""

    code = "NOT_FOUND"
    status = 404


class Unauthorized(AppError):
    """This request needs `Authorization: Bearer <access token>`."""

    code = "UNAUTHORIZED"
    status = 401


class Forbidden(AppError):
    """This token is not for this job and attempt."""

    code = "FORBIDDEN"
    status = 403


class Invalid(AppError):
    """A value is refused; `details.fields` lists each field, its value and what is allowed."""

    code = "INVALID"
    status = 422


class Conflict(AppError):
    """The thing is in a state that does not allow this."""

    code = "CONFLICT"
    status = 409


class StaleTransition(Conflict):
    """The job changed meanwhile; read it again."""

    code = "STALE_TRANSITION"


class Superseded(Conflict):
    """A newer attempt or another process owns this job: stop at once and touch storage no more."""

    code = "SUPERSEDED"


class TooLarge(AppError):
    """The request is larger than allowed."""

    code = "TOO_LARGE"
    status = 413


class RangeNotSatisfiable(AppError):
    """The Range header asks for bytes behind the end; `details.size` says how many there are."""

    code = "RANGE_NOT_SATISFIABLE"
    status = 416


class PredictionFailed(AppError):
    """The trainer's predict.py did not answer."""

    code = "PREDICTION_FAILED"
    status = 502


class StorageUnavailable(AppError):
    """The object storage did not answer; try again."""

    code = "STORAGE_UNAVAILABLE"
    status = 503
    retry_after = 10


class DiskFull(StorageUnavailable):
    """There is no room on this machine's disk; make some, or set DATA_DIR to a larger one."""

    code = "DISK_FULL"


class ImportFailed(AppError):
    """The import ended without a verdict; it can be started again."""

    code = "IMPORT_FAILED"


class DatabaseBusy(AppError):
    """Something else has been writing to the database for too long; try again."""

    code = "DATABASE_BUSY"
    status = 503
    retry_after = 5


class DatabaseUnavailable(AppError):
    """The database did not answer; nothing was stored; try again."""

    code = "DATABASE_UNAVAILABLE"
    status = 503
    retry_after = 5


class Busy(AppError):
    """Too many requests wait; try again."""

    code = "BUSY"
    status = 503
    retry_after = 5
