"""Vision Platform from Python: `Client` for the public API, `find_access` for where it is."""

from vision_client.access import Access, find_access
from vision_client.api import Client
from vision_client.errors import AccessMissing, ApiError, Unreachable, VisionError

__all__ = ["Access", "AccessMissing", "ApiError", "Client", "Unreachable", "VisionError", "find_access"]
