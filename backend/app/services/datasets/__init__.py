"""Datasets: from what a person brings to an immutable version that trainers fetch."""

from app.services.datasets.removal import Room
from app.services.datasets.versions import find, find_version, list_datasets

__all__ = ["Room", "find", "find_version", "list_datasets"]
