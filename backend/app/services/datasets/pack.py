"""From a checked upload to the one object that trainers fetch: data.zip, stored; equal content gives equal bytes.

A version's identity is the sha256 of lines `{sha256}  {path}` in the order of the paths' bytes, as
`find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` prints it for the unpacked files without their `./`.
"""

import hashlib
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.services.datasets.archive import Archive
from app.services.datasets.labels import Description, check_labels, read_description
from app.services.datasets.layout import SPLITS, Layout, class_names, class_of, find_layout
from app.services.datasets.problems import Problems
from app.words import TaskType

MAX_LABEL_BYTES = 16 * 2**20
MAX_YAML_BYTES = 2**19
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can say


@dataclass(frozen=True)
class Packed:
    """What the platform records of a version."""

    sha256: str
    archive_sha256: str
    archive_size: int
    classes: list[str]
    counts: dict[str, Any]


def pack(archive: Archive, task_type: TaskType, target: Path) -> Packed:
    """Check the upload, write data.zip to `target`. `Invalid` names the first twenty problems by file and line."""
    layout = find_layout(list(archive.files), task_type)
    _check_images(archive, layout)
    if task_type is TaskType.IMAGE_CLASSIFICATION:
        classes, counts, generated = class_names(layout), _count_folders(layout), {}
    else:
        description = read_description(archive.read(layout.data_yaml or "data.yaml", MAX_YAML_BYTES), task_type)
        classes, counts = description.names, _count_labels(archive, layout, description, task_type)
        generated = {"data.yaml": _data_yaml(layout, description)}
    counts["files"] = {"ignored": layout.ignored}
    sha256 = _write(archive, layout, generated, target)
    return Packed(sha256, _hash_file(target), target.stat().st_size, classes, counts)


def _check_images(archive: Archive, layout: Layout) -> None:
    problems = Problems()
    for split in layout.splits:
        for image in layout.images[split]:
            if archive.files[layout.sources[image]].file_size == 0:
                problems.add(image, 0, "is an empty file")
    problems.raise_if_any("the archive has images that cannot be read")


def _count_folders(layout: Layout) -> dict[str, Any]:
    images = _count_images(layout)
    per_class = Counter(class_of(image) for split in SPLITS for image in layout.images[split])
    return {"images": images, "instances": dict(images), "classes": dict(sorted(per_class.items()))}


def _count_labels(archive: Archive, layout: Layout, description: Description, task_type: TaskType) -> dict[str, Any]:
    problems, instances = Problems(), dict.fromkeys(layout.splits, 0)
    per_class: Counter[int] = Counter()
    for split in layout.splits:
        for label in layout.labels[split]:
            text = archive.read(layout.sources[label], MAX_LABEL_BYTES)
            classes = check_labels(label, text, description, task_type, problems)
            instances[split] += len(classes)
            per_class.update(classes)
    problems.raise_if_any("the archive has labels that cannot be used")
    named = {name: per_class[index] for index, name in enumerate(description.names)}
    return {"images": _count_images(layout), "instances": instances, "classes": named}


def _count_images(layout: Layout) -> dict[str, int]:
    return {split: len(layout.images[split]) for split in layout.splits}


def _data_yaml(layout: Layout, description: Description) -> bytes:
    """Generated: what a user's data.yaml says beside names and keypoints is never handed on (`download:` runs code)."""
    content: dict[str, Any] = {split: f"images/{split}" for split in layout.splits}
    content |= {"nc": len(description.names), "names": description.names}
    if description.kpt_shape:
        content["kpt_shape"] = list(description.kpt_shape)
    if description.flip_idx:
        content["flip_idx"] = description.flip_idx
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode()


def _write(archive: Archive, layout: Layout, generated: dict[str, bytes], target: Path) -> str:
    """Write the files in the order of their paths, unpacked, with one time for all; gives the version's sha256."""
    identity = hashlib.sha256()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as output:
        for path in sorted([*layout.sources, *generated], key=str.encode):
            if path in generated:
                size, chunks = len(generated[path]), iter([generated[path]])
            else:
                name = layout.sources[path]
                size, chunks = archive.files[name].file_size, archive.chunks(name)
            identity.update(f"{_add(output, path, size, chunks)}  {path}\n".encode())
    return identity.hexdigest()


def _add(output: zipfile.ZipFile, path: str, size: int, chunks: Iterable[bytes]) -> str:
    entry = zipfile.ZipInfo(path, EPOCH)
    entry.create_system, entry.external_attr, entry.file_size = 3, 0o100644 << 16, size
    digest = hashlib.sha256()
    with output.open(entry, "w") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
