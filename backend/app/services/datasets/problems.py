"""What is wrong with an upload, collected so that a person sees the first twenty at once and how many there are."""

from typing import Any

from app.errors import Invalid

SHOWN = 20


class Problems:
    """Problems by place: a file, or `file:line`."""

    def __init__(self) -> None:
        self._fields: list[dict[str, Any]] = []
        self._count = 0

    def add(self, place: str, value: Any, message: str) -> None:
        self._count += 1
        if self._count <= SHOWN:
            self._fields.append({"field": place, "value": value, "message": message})

    def raise_if_any(self, summary: str) -> None:
        """`Invalid` with `details.fields`, the first of the problems, and `details.total`."""
        if not self._count:
            return
        first = self._fields[0]
        more = f" (and {self._count - 1} more)" if self._count > 1 else ""
        raise Invalid(f"{summary}: {first['field']}: {first['message']}{more}", fields=self._fields, total=self._count)
