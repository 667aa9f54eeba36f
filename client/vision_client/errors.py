"""What can go wrong between a person and the platform, in words meant for the person."""

from typing import Any


class VisionError(Exception):
    """Something the person can act on; shown without a traceback."""


class ApiError(VisionError):
    """The platform refused: its code, its message and, for bad values, every field at once."""

    def __init__(self, code: str, message: str, details: dict[str, Any], status: int) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.status = status

    def lines(self) -> list[str]:
        """The error as shown: `CODE: message`, then a line for each field."""
        fields = self._fields()
        told = fields and all(str(field.get("message")) in self.message for field in fields)
        message = f"{len(fields)} value(s) refused" if told else self.message  # nothing is said twice
        return [f"{self.code}: {message}", *(f"  {_field_line(field)}" for field in fields)]

    def _fields(self) -> list[dict[str, Any]]:
        fields = self.details.get("fields", [])
        return [field for field in fields if isinstance(field, dict)] if isinstance(fields, list) else []


class Unreachable(VisionError):
    """Nothing answered at this address."""


class AccessMissing(VisionError):
    """No address and token are known."""


def _field_line(field: dict[str, Any]) -> str:
    message = str(field.get("message", ""))
    colon = ":" if message[:1].isupper() else ""  # "epochs=0 is not …", but "epochs=0: Input should be …"
    return f"{field.get('field', '?')}={field.get('value')!r}{colon} {message}"
