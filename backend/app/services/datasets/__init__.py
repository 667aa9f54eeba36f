"""Datasets: from an uploaded zip to an immutable version that trainers fetch."""

from app.services.datasets.register import Registered, check_request, delete, find, list_datasets, register

__all__ = ["Registered", "check_request", "delete", "find", "list_datasets", "register"]
