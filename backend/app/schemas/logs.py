"""A piece of a log over HTTP."""

from pydantic import Field

from app.schemas.common import Shape


class LogPiece(Shape):
    """Part of what an attempt's trainer printed. Offsets are bytes, counted from the first that was ever printed."""

    attempt: int
    offset: int = Field(description="of the text's first byte; later than asked where the oldest output was removed")
    next_offset: int = Field(description="ask for this offset next")
    total: int = Field(description="bytes printed so far")
    text: str = Field(examples=["Epoch 1/10 box_loss 1.42\n"])
    complete: bool = Field(description="the attempt has ended and nothing follows `next_offset`")
