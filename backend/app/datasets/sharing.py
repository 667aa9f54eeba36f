"""Images shared among splits so that every split shows every class in the same proportion.

Follows Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data" (2011), made simple: the rarest class
first, each image to the split that lacks most of that class. Contents are shared, not images, so that copies stay
together; their order is drawn from the seed and the content alone.
"""

import hashlib
import sqlite3

from app.datasets.work import SPLITS, Split

NOTHING = -1  # the class of images without any object
Shares = dict[Split, float]
Needs = dict[Split, float]  # by split: how many contents it still lacks


def share(connection: sqlite3.Connection, shares: Shares, seed: int) -> None:
    """Give images without a split one of those in `shares`, which are weights. A copy goes where the other is.

    A class of two contents or more gets one in train and one in val, unless one is there already.
    """
    connection.create_function("draw", 1, lambda content: _draw(seed, content), deterministic=True)
    for statement in _PREPARE:
        connection.execute(statement)
    counts = connection.execute(_COUNTS).fetchall()
    needs = {class_id: _quotas(count, shares, _present(connection, class_id)) for class_id, count in counts}
    total = connection.execute("SELECT count(*) FROM contents WHERE split IS NULL").fetchone()[0]
    overall = {split: total * part / sum(shares.values()) for split, part in shares.items()}
    for class_id, _ in counts:
        for (content,) in connection.execute(_OPEN, (class_id,)).fetchall():
            split = _neediest(needs[class_id], overall)
            connection.execute("UPDATE contents SET split = ? WHERE content = ?", (split, content))
            overall[split] -= 1
            for (shown,) in connection.execute("SELECT class_id FROM shown WHERE content = ?", (content,)):
                needs[shown][split] -= 1
    _fill_empty(connection, shares)
    for statement in _FINISH:
        connection.execute(statement)


def _draw(seed: int, content: str) -> str:
    return hashlib.sha256(f"{seed}:{content}".encode()).hexdigest()


_PREPARE = (
    "CREATE TEMP TABLE contents (content TEXT PRIMARY KEY, split TEXT, place TEXT) WITHOUT ROWID",
    "INSERT INTO contents SELECT source_sha256, max(split), draw(source_sha256) FROM images GROUP BY source_sha256",
    "CREATE TEMP TABLE shown (class_id INTEGER, content TEXT, PRIMARY KEY (class_id, content)) WITHOUT ROWID",
    "INSERT OR IGNORE INTO shown SELECT class_id, source_sha256 FROM annotations "
    "JOIN images ON images.id = image_id WHERE NOT crowd",
    "CREATE INDEX temp.shown_content ON shown (content)",
    f"INSERT INTO shown SELECT {NOTHING}, content FROM contents WHERE content NOT IN (SELECT content FROM shown)",
)
_COUNTS = (
    "SELECT class_id, count(*) FROM shown JOIN contents USING (content) WHERE split IS NULL "
    f"GROUP BY class_id ORDER BY class_id = {NOTHING}, count(*), class_id"
)
_OPEN = "SELECT content FROM shown JOIN contents USING (content) WHERE class_id = ? AND split IS NULL ORDER BY place"
_FINISH = (
    "UPDATE images SET split = (SELECT split FROM contents WHERE content = source_sha256) WHERE split IS NULL",
    "DROP TABLE shown",
    "DROP TABLE contents",
)


def _present(connection: sqlite3.Connection, class_id: int) -> set[str]:
    query = "SELECT DISTINCT split FROM shown JOIN contents USING (content) WHERE class_id = ? AND split IS NOT NULL"
    return {split for (split,) in connection.execute(query, (class_id,))}


def _quotas(count: int, shares: Shares, present: set[str]) -> Needs:
    """Whole numbers that sum to `count`, in proportion; by largest remainder, and one for a split that has none."""
    exact = {split: count * part / sum(shares.values()) for split, part in shares.items()}
    quotas = {split: int(value) for split, value in exact.items()}
    by_remainder = sorted(shares, key=lambda split: (quotas[split] - exact[split], SPLITS.index(split)))
    for split in by_remainder[: count - sum(quotas.values())]:
        quotas[split] += 1
    for split in (split for split in SPLITS if split in shares and split not in present):
        richest = max(quotas, key=lambda other: quotas[other])
        if quotas[split] == 0 and quotas[richest] > 1:
            quotas[richest] -= 1
            quotas[split] += 1
    return {split: float(quota) for split, quota in quotas.items()}


def _neediest(needs: Needs, overall: Needs) -> Split:
    """The split that lacks most of the class, of equal ones most of all, of equal ones the first."""
    return max(needs, key=lambda split: (needs[split], overall[split]))


def _fill_empty(connection: sqlite3.Connection, shares: Shares) -> None:
    """No split stays empty while train has images to spare: classes of a single image all went there."""
    for split in shares:
        counts = dict(connection.execute("SELECT split, count(*) FROM contents GROUP BY split"))
        if not counts.get(split) and counts.get("train", 0) > 1:
            last = "SELECT content FROM contents WHERE split = 'train' ORDER BY place DESC LIMIT 1"
            connection.execute(f"UPDATE contents SET split = ? WHERE content = ({last})", (split,))
