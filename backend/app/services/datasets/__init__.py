"""Datasets: from an uploaded zip to an immutable version that trainers fetch."""

from app.services.datasets.names import check_request
from app.services.datasets.register import Registered, register
from app.services.datasets.removal import Room
from app.services.datasets.upload import check_length, receive, upload_folder
from app.services.datasets.versions import find, find_version, list_datasets

__all__ = [
    "Registered",
    "Room",
    "check_length",
    "check_request",
    "find",
    "find_version",
    "list_datasets",
    "receive",
    "register",
    "upload_folder",
]
