"""An upload in memory, read by a format as an import does: every image is in the draft before `read` begins."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from app.datasets.draft import Draft, SourceImage
from app.datasets.formats.base import Format
from app.datasets.formats.paths import is_image
from app.datasets.work import Wish
from app.errors import Invalid

CHUNK = 2**20
BROKEN = b"broken"  # an image that inspection dropped


class Upload:
    """Names and bytes as `Archive` gives them; text is UTF-8. `reads` counts what was read whole."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        ordered = sorted(files.items(), key=lambda item: item[0].encode())
        self._data = {name: data.encode() if isinstance(data, str) else data for name, data in ordered}
        self.reads: list[str] = []

    @property
    def files(self) -> Mapping[str, int]:
        return {name: len(data) for name, data in self._data.items()}

    @property
    def ignored(self) -> int:
        return 0

    def read(self, name: str, limit: int) -> bytes:
        self.reads.append(name)
        if len(self._data[name]) > limit:
            raise Invalid(f"{name} has {len(self._data[name])} bytes; at most {limit} are allowed")
        return self._data[name]

    def head(self, name: str, length: int) -> bytes:
        return self._data[name][:length]

    def chunks(self, name: str) -> Iterator[bytes]:
        data = self._data[name]
        return (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))


@dataclass(frozen=True)
class Reading:
    """What a format made of an upload."""

    draft: Draft

    @cached_property
    def splits(self) -> dict[str, str | None]:
        """Of the images that were placed."""
        return dict(self.rows("SELECT entry, split FROM images WHERE name IS NOT NULL ORDER BY id"))

    @cached_property
    def names(self) -> dict[str, str]:
        return dict(self.rows("SELECT entry, name FROM images WHERE name IS NOT NULL ORDER BY id"))

    @cached_property
    def codes(self) -> list[str]:
        return [code for (code,) in self.rows("SELECT code FROM findings ORDER BY id")]

    @cached_property
    def backgrounds(self) -> list[str]:
        return [entry for (entry,) in self.rows("SELECT entry FROM images WHERE background ORDER BY id")]

    @cached_property
    def objects(self) -> dict[str, list[str]]:
        """Class names by image, in the order of the source."""
        query = """SELECT entry, classes.name FROM annotations JOIN images ON images.id = image_id
                   JOIN classes ON classes.id = class_id ORDER BY annotations.id"""
        found: dict[str, list[str]] = {}
        for entry, name in self.rows(query):
            found.setdefault(entry, []).append(name)
        return found

    @property
    def boxes(self) -> list[tuple[float, ...]]:
        rows = self.rows("SELECT x1, y1, x2, y2 FROM annotations ORDER BY id")
        return [tuple(round(value, 6) for value in row) for row in rows]

    def json(self, column: str) -> list[Any]:
        rows = self.rows(f"SELECT {column} FROM annotations ORDER BY id")
        return [value and json.loads(value) for (value,) in rows]

    def finding(self, code: str) -> tuple[str | None, int | None, str | None, str]:
        """File, line, value and message of the only finding of this code."""
        (found,) = self.rows(f"SELECT file, line, value, message FROM findings WHERE code = '{code}'")
        return found  # type: ignore[no-any-return]

    def rows(self, query: str) -> list[Any]:
        return self.draft.connection.execute(query).fetchall()


Files = Mapping[str, str | bytes]
Read = Callable[..., Reading]


def reader(known: Format) -> Any:
    """A fixture: the format's reading of files and of what a person wishes; images are 640 by 480."""

    @pytest.fixture
    def read() -> Iterator[Read]:
        drafts: list[Draft] = []

        def read_now(files: Files | Upload, **wish: Any) -> Reading:
            upload = files if isinstance(files, Upload) else Upload(files)
            drafts.append(Draft(Path(":memory:")))
            for name in upload.files:
                if is_image(name) and upload.head(name, len(BROKEN)) != BROKEN:
                    drafts[-1].add_image(SourceImage(0, name, "0" * 64, "JPEG", 640, 480, 1))
            known.read(upload, drafts[-1], Wish(**wish))
            return Reading(drafts[-1])

        yield read_now
        for draft in drafts:
            draft.connection.close()

    return read
