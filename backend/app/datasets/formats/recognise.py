"""Which format an upload has: the one that a person names, else the one that its files speak for most."""

from app.datasets.archives.base import Archive
from app.datasets.findings import Finding
from app.datasets.formats import coco, folders, table, voc, yolo
from app.datasets.formats.base import Clues, Format
from app.datasets.work import Wish

FORMATS: tuple[Format, ...] = (yolo.FORMAT, coco.FORMAT, voc.FORMAT, folders.FORMAT, table.FORMAT)
NAMES_SHOWN = 5


class NotRecognised(Exception):
    """The upload has no format that we read, or several; `finding` says so to the person."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def recognise(archive: Archive, wish: Wish, formats: tuple[Format, ...] = FORMATS) -> Format:
    """The format to read the upload with. A format that lacks the wished task does not count."""
    candidates = [known for known in formats if wish.task_type is None or wish.task_type in known.tasks]
    if wish.format is not None:
        return _named(wish, candidates, formats)
    scored = [(clues, known) for known in candidates if (clues := known.recognise(archive)) is not None]
    if not scored:
        raise NotRecognised(Finding("FORMAT_UNKNOWN", _unknown(archive, formats)))
    highest = max(clues.score for clues, _ in scored)
    best = [(clues, known) for clues, known in scored if clues.score == highest]
    if len(best) > 1:
        raise NotRecognised(Finding("FORMAT_AMBIGUOUS", _ambiguous(best)))
    return best[0][1]


def _named(wish: Wish, candidates: list[Format], formats: tuple[Format, ...]) -> Format:
    for known in formats:
        if known.name == wish.format:
            if known not in candidates:
                message = f"{known.title} has no labels for {wish.task_type}; it has {', '.join(known.tasks)}"
                raise NotRecognised(Finding("FORMAT_UNKNOWN", message, value=wish.format))
            return known
    message = f"{wish.format!r} is no format; there are {', '.join(known.name for known in formats)}"
    raise NotRecognised(Finding("FORMAT_UNKNOWN", message, value=wish.format))


def _unknown(archive: Archive, formats: tuple[Format, ...]) -> str:
    titles = ", ".join(known.title for known in formats)
    shown = ", ".join(list(archive.files)[:NAMES_SHOWN]) or "no files"
    return f"the upload is none of {titles}; files in it: {len(archive.files)}, first of them: {shown}"


def _ambiguous(best: list[tuple[Clues, Format]]) -> str:
    reasons = "; ".join(f"{known.title} ({clues.reason})" for clues, known in best)
    return f"the upload can be read in more than one way: {reasons}"
