"""Images shared among splits so that every split shows every class in the same proportion.

Follows Sechidis, Tsoumakas, Vlahavas, "On the Stratification of Multi-Label Data" (2011), made simple: the rarest class
first, each image to the split that lacks most of that class. Contents are shared, not images, so that copies stay
together; their order is drawn from the seed and the content alone.
"""

import hashlib
import sqlite3

from app.datasets.work import Split

NOTHING = -1  # the class of images without any object
Shares = dict[Split, float]


def share(connection: sqlite3.Connection, weights: Shares, seed: int) -> None:
    """Give images without a split one of those in `weights`. A copy goes where the other is.

    A class of two contents or more gets one in train and one in val, unless one is there already.
    """
    connection.create_function("draw", 1, lambda content: _draw(seed, content), deterministic=True)
    for statement in _PREPARE:
        connection.execute(statement)
    shares: Shares = {split: weight / sum(weights.values()) for split, weight in weights.items()}
    counts = connection.execute(_COUNTS).fetchall()
    given = {class_id: dict.fromkeys(shares, 0) for class_id, _ in counts}
    behind = dict.fromkeys(shares, 0.0)  # what rounding took from a split so far, the next class gives back
    for class_id, count in counts:
        contents = [content for (content,) in connection.execute(_OPEN, (class_id,))]
        exact = {split: part * count - given[class_id][split] + behind[split] for split, part in shares.items()}
        present = _present(connection, class_id)
        quotas = _whole(exact, len(contents), [split for split in shares if split not in present])
        behind = {split: behind[split] + part * len(contents) - quotas[split] for split, part in shares.items()}
        for content in contents:
            split = max(quotas, key=lambda split: quotas[split])
            quotas[split] -= 1
            _give(connection, content, split, given)
    _fill_empty(connection, shares)
    for statement in _FINISH:
        connection.execute(statement)


def _give(connection: sqlite3.Connection, content: str, split: Split, given: dict[int, dict[Split, int]]) -> None:
    connection.execute("UPDATE contents SET split = ? WHERE content = ?", (split, content))
    for (class_id,) in connection.execute("SELECT class_id FROM shown WHERE content = ?", (content,)):
        given[class_id][split] += 1


def _draw(seed: int, content: str) -> str:
    return hashlib.sha256(f"{seed}:{content}".encode()).hexdigest()


_PREPARE = (
    "CREATE TEMP TABLE contents (content TEXT PRIMARY KEY, split TEXT, place TEXT, is_open INTEGER) WITHOUT ROWID",
    "INSERT INTO contents SELECT source_sha256, max(split), draw(source_sha256), max(split) IS NULL FROM images "
    "GROUP BY source_sha256",
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


def _whole(exact: Shares, count: int, empty: list[Split]) -> dict[Split, int]:
    """Whole numbers that sum to `count`, near those; by largest remainder, and one for each of `empty` if they last."""
    positive = {split: max(value, 0.0) for split, value in exact.items()}
    scale = count / (sum(positive.values()) or 1)
    quotas = {split: int(value * scale) for split, value in positive.items()}
    by_remainder = sorted(exact, key=lambda split: quotas[split] - positive[split] * scale)
    for split in by_remainder[: count - sum(quotas.values())]:
        quotas[split] += 1
    for split in empty:
        richest = max(quotas, key=lambda other: quotas[other])
        if quotas[split] == 0 and quotas[richest] > 1:
            quotas[richest] -= 1
            quotas[split] += 1
    return quotas


def _fill_empty(connection: sqlite3.Connection, shares: Shares) -> None:
    """No split stays empty while train has images to spare: classes of a single image all went there."""
    for split in shares:
        counts = dict(connection.execute("SELECT split, count(*) FROM contents GROUP BY split"))
        if not counts.get(split) and counts.get("train", 0) > 1:
            last = "SELECT content FROM contents WHERE split = 'train' AND is_open ORDER BY place DESC LIMIT 1"
            connection.execute(f"UPDATE contents SET split = ? WHERE content = ({last})", (split,))
