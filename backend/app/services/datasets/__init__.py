"""Datasets: from an uploaded zip to an immutable version that trainers fetch."""

from app.services.datasets.register import Registered, check_request, delete, find, list_datasets, register
from app.services.datasets.upload import check_length, receive, upload_folder

__all__ = [
    "Registered",
    "check_length",
    "check_request",
    "delete",
    "find",
    "list_datasets",
    "receive",
    "register",
    "upload_folder",
]
