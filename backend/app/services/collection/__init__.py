"""What grows is collected by policy, visibly: work folders, caches, logs, uploads, objects of what was deleted.

policy.py says what goes and why, and is pure; the other modules look at one kind of place each and remove.
"""

from app.services.collection.collector import Report, collect
from app.services.collection.place import Place
from app.services.collection.policy import Item

__all__ = ["Item", "Place", "Report", "collect"]
