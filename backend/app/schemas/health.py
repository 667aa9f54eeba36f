"""What supervisors and load balancers ask."""

from typing import Literal

from pydantic import Field

from app.schemas.common import Shape


class Alive(Shape):
    status: Literal["alive"] = "alive"


class Readiness(Shape):
    ready: bool
    parts: dict[str, bool] = Field(description="database, storage, writer, reconciler, importer")
    problems: list[str] = Field(default=[], description="what a person must do, such as choosing another bucket")
