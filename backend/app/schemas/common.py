"""Shapes that every noun shares: the error, a page, a list, and words that a database can store."""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

T = TypeVar("T")


class Shape(BaseModel):
    """The base of every answer; it reads plain objects and table rows alike."""

    model_config = ConfigDict(from_attributes=True)


class Request(BaseModel):
    """The base of every request body: exact JSON types, no unknown fields, no NaN."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


def _storable(value: str) -> str:
    if "\x00" in value:
        raise ValueError("must not contain a NUL character")
    if not value.isascii():
        value.encode()  # half a surrogate pair is a UnicodeEncodeError, which is a ValueError
    return value


Text = Annotated[str, AfterValidator(_storable)]  # PostgreSQL stores neither NUL nor half a surrogate pair


class FieldProblem(Shape):
    field: str
    value: Any = None
    message: str


class ErrorDetail(Shape):
    code: str = Field(description="a stable name, in capitals")
    message: str = Field(description="names the thing, the value and the fix")
    details: dict[str, Any] = Field(default={}, description="INVALID lists `fields`: field, value, message")


class ErrorBody(Shape):
    """What every refusal looks like."""

    error: ErrorDetail


class Items(Shape, Generic[T]):
    items: list[T]


class Page(Shape, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(default=None, description="pass as `cursor` for the next page; null at the end")
