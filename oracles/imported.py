"""An import as the backend runs it, and what it made, read without any of the backend's code."""

import json
import sqlite3
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BACKEND = Path(__file__).resolve().parents[1] / "backend"
MAX_BYTES = 2**31


@dataclass(frozen=True)
class Object:
    """One label in pixels of its image."""

    class_name: str
    box: tuple[float, float, float, float]  # x1, y1, x2, y2
    polygons: list[list[float]]
    keypoints: list[list[float]]


@dataclass(frozen=True)
class Imported:
    """A version on the disk: `folder` has data.zip and index.sqlite."""

    folder: Path
    outcome: dict[str, Any]

    @property
    def images(self) -> dict[str, tuple[str, str, int, int]]:
        """Name in the upload to split, path, width and height."""
        rows = self._rows("SELECT entry, split, path, width, height FROM images")
        return {entry: (split, path, width, height) for entry, split, path, width, height in rows}

    def objects(self) -> dict[str, list[Object]]:
        """Name in the upload to its labels, crowd regions left out."""
        found: dict[str, list[Object]] = {entry: [] for entry in self.images}
        query = (
            "SELECT entry, classes.name, width, height, x1, y1, x2, y2, polygons, keypoints FROM annotations "
            "JOIN images ON images.id = image_id JOIN classes ON classes.id = class_id "
            "WHERE NOT crowd ORDER BY annotations.id"
        )
        for entry, name, width, height, *box, polygons, keypoints in self._rows(query):
            scale = (width, height)
            pixels = [value * scale[place % 2] for place, value in enumerate(box)] if box[0] is not None else [0.0] * 4
            shapes = [[v * scale[i % 2] for i, v in enumerate(shape)] for shape in json.loads(polygons or "[]")]
            points = [[x * width, y * height, seen] for x, y, seen in json.loads(keypoints or "[]")]
            found[entry].append(Object(name, (pixels[0], pixels[1], pixels[2], pixels[3]), shapes, points))
        return found

    def findings(self) -> list[tuple[str, str | None]]:
        """Code and file of each."""
        return [(code, file) for code, file in self._rows("SELECT code, file FROM findings ORDER BY id")]

    def unpacked(self) -> Path:
        """The canonical archive as files, made once."""
        target = self.folder / "canonical"
        if not target.exists():
            with zipfile.ZipFile(self.folder / "data.zip") as archive:
                archive.extractall(target)
        return target

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / "index.sqlite")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


def import_folder(source: Path, folder: Path, **wish: Any) -> Imported:
    """The folder packed and imported; the import must be accepted."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "upload", "w") as archive:
        for path in sorted(source.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(source).as_posix())
    request = {"wish": wish, "max_bytes": MAX_BYTES}
    (folder / "request.json").write_text(json.dumps(request))
    command = [str(BACKEND / ".venv/bin/python"), "-m", "app.datasets", str(folder)]
    done = subprocess.run(command, cwd=BACKEND, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    outcome = json.loads((folder / "outcome.json").read_text())
    assert outcome["status"] == "accepted", json.dumps(outcome["report"], indent=1)[:4000]
    return Imported(folder, outcome)


def export(version: Imported, name: str, target: Path) -> Path:
    """The version in another format, unpacked."""
    program = (
        "import sys, zipfile; from pathlib import Path\n"
        "from app.datasets import exports; from app.datasets.index import Index\n"
        "folder, name, target = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])\n"
        "archive = zipfile.ZipFile(folder / 'data.zip')\n"
        "with Index(folder / 'index.sqlite') as index:\n"
        "    chunks = exports.stream(name, index, lambda image: iter([archive.read(image.path)]))\n"
        "    target.write_bytes(b''.join(chunks))\n"
    )
    target.mkdir(parents=True)
    packed = target / "export.zip"
    command = [str(BACKEND / ".venv/bin/python"), "-c", program, str(version.folder), name, str(packed)]
    subprocess.run(command, cwd=BACKEND, check=True, timeout=120)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(target / "files")
    return target / "files"
