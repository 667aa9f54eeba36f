"""The platform about itself."""

from typing import Literal

from pydantic import Field

from app.schemas.common import Shape


class Slot(Shape):
    name: str = Field(examples=["gpu:0"])
    job_id: int | None = Field(description="the job that holds it; null while it is free")


class System(Shape):
    version: str
    environment: Literal["development", "production"]
    installation_id: str
    slots: list[Slot]
    mlflow_url: str | None
    docs_url: str
