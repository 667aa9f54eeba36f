"""Ask a trained model about one image."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message

from app.api.deps import MAX_ID, PlatformDep, describe
from app.context import Platform
from app.errors import Conflict, Invalid, NotFound, PredictionFailed, StorageUnavailable, TooLarge
from app.schemas.common import Text
from app.schemas.predictions import FORM, CheckpointUsed, Prediction, Result
from app.services import predictions

router = APIRouter(prefix="/api/v1/predictions", tags=["predictions"])

FORM_BYTES = 64 * 2**10  # what the form needs beside its image


class Question(BaseModel):
    """The form's fields."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    job_id: Annotated[int, Field(ge=1, le=MAX_ID)]
    image: UploadFile | None = None
    key: Text | None = None
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.25


@router.post(
    "",
    operation_id="predict",
    summary="Predict on an image with a job's best checkpoint",
    response_model_exclude_unset=True,
    responses=describe(NotFound, Conflict, TooLarge, Invalid, PredictionFailed, StorageUnavailable),
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}},
)
async def predict(request: Request, platform: PlatformDep) -> Prediction:
    """Takes some seconds: the model is loaded for each request. One request at a time is answered."""
    limit = platform.settings.max_image_bytes
    async with _limited(request, limit).form(max_files=1, max_fields=8) as form:
        question = _question(form)
        data = await question.image.read() if question.image else b""
        if len(data) > limit:
            raise _too_large(limit)
        return await run_in_threadpool(_answer, platform, question, data)


def _answer(platform: Platform, question: Question, data: bytes) -> Prediction:
    tools = predictions.Tools(
        platform.database, platform.storage, platform.catalogue, platform.launcher, platform.settings
    )
    job_id, confidence = question.job_id, question.confidence
    if question.image is None:
        model, result = predictions.predict(tools, job_id, question.key or "", confidence)
    else:
        predictions.find_model(tools.database, job_id)  # before anything is stored
        with predictions.uploaded(tools.storage, question.image.filename, data) as key:
            model, result = predictions.predict(tools, job_id, key, confidence)
    used = CheckpointUsed(key=model.key, sha256=model.sha256, epoch=model.epoch)
    return Prediction(job_id=job_id, checkpoint=used, result=Result.model_validate(result))


def _limited(request: Request, limit: int) -> Request:
    """The request, refused with TooLarge as soon as its body is known to be: before it fills the disk."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit + FORM_BYTES:
        raise _too_large(limit)
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > limit + FORM_BYTES:
            raise _too_large(limit)
        return message

    return Request(request.scope, receive)


def _question(form: FormData) -> Question:
    """Every problem of the form at once."""
    values = {name: value for name, value in form.multi_items() if value != ""}
    try:
        question = Question.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    if (question.image is None) == (question.key is None):
        given = "both" if question.key else "none of them"
        problem = {"field": "image", "value": None, "message": "give either an image or the key of one"}
        raise Invalid(f"give either an image or the key of one, not {given}", fields=[problem])
    return question


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"an image holds at most {limit} bytes (MAX_IMAGE_BYTES)")
