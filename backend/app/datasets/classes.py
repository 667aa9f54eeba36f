"""The draft's classes, renumbered: sorted as trainers number folders, joined with a parent's, merged or removed."""

from collections.abc import Mapping, Sequence

from app.datasets.draft import Draft


def renumber(draft: Draft, names: Sequence[str], numbers: Mapping[int, int | None]) -> None:
    """From now on class i is `names[i]`, and what was class `old` is `numbers[old]`; None: its objects are removed."""
    connection = draft.connection
    connection.execute("PRAGMA defer_foreign_keys = ON")
    connection.execute("CREATE TEMP TABLE numbers (old INTEGER PRIMARY KEY, new INTEGER)")
    connection.executemany("INSERT INTO numbers VALUES (?, ?)", numbers.items())
    connection.execute("DELETE FROM annotations WHERE class_id IN (SELECT old FROM numbers WHERE new IS NULL)")
    connection.execute(
        "UPDATE annotations SET class_id = (SELECT new FROM numbers WHERE old = class_id) "
        "WHERE class_id IN (SELECT old FROM numbers WHERE new <> old)"
    )
    connection.execute("DROP TABLE numbers")
    connection.execute("DELETE FROM classes")
    draft.set_classes(names)


def sort_used(draft: Draft) -> list[str]:
    """Number the classes of a classification dataset as trainers do: folders with images, in the order of their names.

    Gives the names of those that no image has; they are gone.
    """
    before = draft.classes
    used = {class_id for (class_id,) in draft.connection.execute("SELECT DISTINCT class_id FROM annotations")}
    names = sorted(before[class_id] for class_id in used)
    numbers = {name: number for number, name in enumerate(names)}
    renumber(draft, names, {old: numbers.get(name) for old, name in enumerate(before)})
    return [name for name in before if name not in numbers]
