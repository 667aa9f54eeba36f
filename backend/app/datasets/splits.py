"""Splits where the source has none: kept from version to version, else shared by class (`sharing.py`).

What a source says stands. Images without a split are shared among all; a missing val is taken from train. Equal content
always gets one split, and what the parent version has stays where it was there, unless the plan is to begin anew.
"""

import sqlite3
from pathlib import Path

from app.datasets.draft import Draft
from app.datasets.findings import Finding
from app.datasets.index import index_uri
from app.datasets.sharing import Shares, share
from app.datasets.work import SPLITS, SplitPlan


def make_splits(draft: Draft, plan: SplitPlan, parent: Path | None) -> None:
    """Give every image a split, as far as the images suffice. `parent` is the index of the version before."""
    connection = draft.connection
    if plan.anew:
        connection.execute("UPDATE images SET split = NULL")
    given = _count(connection, "split IS NOT NULL")
    open_ones = _count(connection, "split IS NULL")
    parent = None if plan.anew else parent
    if open_ones:
        kept = _stay(connection, parent, "'train', 'val', 'test'")
        shares: Shares = {"train": plan.train, "val": plan.val, "test": plan.test}
        share(connection, {split: part for split, part in shares.items() if part}, plan.seed)
        _tell(draft, plan, f"{open_ones} images {'had no split' if given else 'without splits'}", kept)
    if _count(connection, "split = 'train'") and not _count(connection, "split = 'val'"):
        _carve(draft, plan, parent)


def _carve(draft: Draft, plan: SplitPlan, parent: Path | None) -> None:
    """Take val out of train; what lies in test too stays with train."""
    connection = draft.connection
    tested = "SELECT source_sha256 FROM images WHERE split = 'test'"
    connection.execute(f"UPDATE images SET split = NULL WHERE split = 'train' AND source_sha256 NOT IN ({tested})")
    kept = _stay(connection, parent, "'val'")
    if kept:
        kept += _stay(connection, parent, "'train'")
    share(connection, {"train": plan.train, "val": plan.val}, plan.seed)
    _tell(draft, plan, "there was no val, so a part of train is val now", kept)


def _stay(connection: sqlite3.Connection, parent: Path | None, splits: str) -> int:
    """Put images where the parent version has their content, as it is there or as it was brought; how many."""
    if parent is None:
        return 0
    connection.execute("CREATE TEMP TABLE kept_splits (content TEXT PRIMARY KEY, split TEXT) WITHOUT ROWID")
    before = sqlite3.connect(index_uri(parent), uri=True)
    try:
        for column in ("source_sha256", "sha256"):
            rows = before.execute(f"SELECT {column}, split FROM images WHERE split IN ({splits}) ORDER BY id")
            connection.executemany("INSERT OR IGNORE INTO kept_splits VALUES (?, ?)", rows)
    finally:
        before.close()
    changed = connection.execute(
        "UPDATE images SET split = (SELECT split FROM kept_splits WHERE content = source_sha256) "
        "WHERE split IS NULL AND source_sha256 IN (SELECT content FROM kept_splits)"
    ).rowcount
    connection.execute("DROP TABLE kept_splits")
    return changed


def _tell(draft: Draft, plan: SplitPlan, why: str, kept: int) -> None:
    counts = ", ".join(f"{_count(draft.connection, f'split = {split!r}')} {split}" for split in SPLITS)
    stayed = f"; {kept} are where the version before has them" if kept else ""
    draft.find(Finding("SPLIT_MADE", f"{why}: {counts} now, shared by class with seed {plan.seed}{stayed}"))


def _count(connection: sqlite3.Connection, condition: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM images WHERE {condition}").fetchone()[0])
