"""What a data.yaml, or darknet's obj.data, says of a dataset. It is read, never followed out of the upload nor run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import yaml

from app.datasets.archives.base import Archive
from app.datasets.findings import Finding
from app.datasets.formats.class_names import Find
from app.datasets.formats.paths import split_of
from app.datasets.formats.text import read_text
from app.datasets.formats.yaml_nodes import MAX_BYTES, entries, items, line_of, parse, scalar, shown
from app.datasets.work import SPLITS, Split
from app.errors import Invalid
from app.words import TaskType

MAX_KEYPOINTS = 1_000
MAX_CANDIDATES = 20
_USUAL = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NAMES_KEY = re.compile(r"\bnames\b[\"']?\s*:")
_NUMBER = re.compile(r"\d{1,9}")
_TASKS = {
    "detect": TaskType.OBJECT_DETECTION,
    "segment": TaskType.INSTANCE_SEGMENTATION,
    "pose": TaskType.POSE_ESTIMATION,
    "obb": TaskType.ORIENTED_OBJECT_DETECTION,
}


@dataclass(frozen=True, slots=True)
class Written:
    """A path as a file says it, and where."""

    path: str
    file: str
    line: int | None


@dataclass(frozen=True)
class Description:
    """`ids`: what labels call a class, to its place in `names`; both None where no names are given."""

    file: str
    names: list[str] | None = None
    ids: Mapping[int, int] | None = None
    kpt_shape: tuple[int, int] | None = None
    flip_idx: list[int] | None = None
    task: TaskType | None = None
    splits: Mapping[Split, Sequence[Written]] = field(default_factory=dict)
    root: str | None = None
    names_file: str | None = None
    broken: bool = False


def candidates(archive: Archive) -> list[str]:
    """YAML files that may describe the dataset, likeliest first."""
    found = [name for name in archive.files if name.lower().endswith((".yaml", ".yml"))]
    usual = [name for name in found if PurePosixPath(name).name.lower() in _USUAL]
    ordered = sorted(found, key=lambda name: (name not in usual, name.count("/"), name))[:MAX_CANDIDATES]
    return [name for name in ordered if name in usual or _has_names(archive, name)]


def _has_names(archive: Archive, name: str) -> bool:
    try:
        return archive.files[name] <= MAX_BYTES and bool(_NAMES_KEY.search(read_text(archive, name, MAX_BYTES)))
    except Invalid:
        return False


def find_description(archive: Archive, find: Find) -> Description | None:
    """The dataset's description, the likeliest of several; others that name other classes are a finding."""
    files = candidates(archive)
    if not files:
        darknet = sorted(name for name in archive.files if name.lower().endswith(".data"))
        return read_darknet(archive, darknet[0]) if darknet else None
    first = read_description(archive, files[0], find)
    for file in files[1:]:
        other = read_description(archive, file, lambda _: None)
        if other.names is not None and first.names is not None and other.names != first.names:
            message = f"{file} and {files[0]} name different classes"
            find(Finding("CLASS_NAMES_DISAGREE", message, file, value=", ".join(other.names[:20])))
    return first


def read_description(archive: Archive, file: str, find: Find) -> Description:
    """`names`, `nc`, `kpt_shape`, `flip_idx`, `task`, `path` and the splits; nothing else in it is looked at."""
    try:
        node = parse(read_text(archive, file, MAX_BYTES))
        if not isinstance(node, yaml.MappingNode):
            raise Invalid("is not a mapping with `names`")
    except Invalid as error:
        find(Finding("DATA_YAML_INVALID", f"{file} {error.message.removeprefix(file).strip()}", file))
        return Description(file, broken=True)
    return _Reader(file, node, find).read()


class _Reader:
    """One YAML description, with the findings about it."""

    def __init__(self, file: str, node: yaml.MappingNode, find: Find) -> None:
        self.file, self.find = file, find
        self.values: dict[str, yaml.Node] = {}
        for key, value in entries(node):
            if key in self.values:
                self.complain(value, f"has `{key[:60]}` twice")
            self.values[key] = value

    def complain(self, node: yaml.Node | None, message: str, code: str = "DATA_YAML_INVALID") -> None:
        self.find(Finding(code, f"{self.file} {message}", self.file, line_of(node), shown(node) if node else None))

    def read(self) -> Description:
        named = self.names()
        shape = self.kpt_shape()
        if "download" in self.values:
            self.complain(self.values["download"], "has `download`, which is never run", "DOWNLOAD_IGNORED")
        return Description(
            self.file,
            names=None if named is None else [named[number] for number in sorted(named)],
            ids=None if named is None else {number: place for place, number in enumerate(sorted(named))},
            kpt_shape=shape,
            flip_idx=self.flip_idx(shape),
            task=_TASKS.get(scalar(self.values.get("task")) or ""),
            splits=self.splits(),
            root=scalar(self.values.get("path")),
        )

    def names(self) -> dict[int, str] | None:
        """Class names by the id that labels use."""
        node = self.values.get("names")
        if node is None:
            return None
        if isinstance(node, yaml.SequenceNode):
            written = [(str(number), value) for number, value in enumerate(items(node))]
        else:
            written = entries(node)
        if not written:
            self.complain(node, "must have a list of class names in `names`, or a mapping from ids to names")
            return None
        named = self.named(written)
        self.check_nc(named)
        if named and max(named) >= len(named):
            message = f"{self.file} has gaps in its ids: {len(named)} classes up to id {max(named)}"
            self.find(Finding("CLASS_IDS_RENUMBERED", message, self.file, line_of(node)))
        return named

    def named(self, written: list[tuple[str, yaml.Node]]) -> dict[int, str]:
        named: dict[int, str] = {}
        for key, value in written:
            if not _NUMBER.fullmatch(key):
                self.complain(value, f"names a class by {key[:60]!r}, which is no whole number", "CLASS_NAMES_DISAGREE")
            elif not isinstance(value, yaml.ScalarNode):
                self.complain(value, f"has no plain name for class {key}", "CLASS_NAME_INVALID")
            else:
                if int(key) in named:
                    self.complain(value, f"names class {key} twice", "CLASS_NAMES_DISAGREE")
                named[int(key)] = value.value.strip()
        return named

    def check_nc(self, named: dict[int, str]) -> None:
        node = self.values.get("nc")
        if scalar(node) is None:
            return
        text = scalar(node) or ""
        if not _NUMBER.fullmatch(text):
            self.complain(node, "must have a whole number in `nc`")
        elif named and int(text) not in (len(named), max(named) + 1):
            self.complain(node, f"says nc: {text} and names {len(named)} classes", "CLASS_NAMES_DISAGREE")

    def kpt_shape(self) -> tuple[int, int] | None:
        node = self.values.get("kpt_shape")
        if node is None:
            return None
        match _whole_numbers(node):
            case [points, numbers] if 1 <= points <= MAX_KEYPOINTS and numbers in (2, 3):
                return points, numbers
        self.complain(node, "must have [keypoints, 2 or 3] in `kpt_shape`")
        return None

    def flip_idx(self, shape: tuple[int, int] | None) -> list[int] | None:
        node = self.values.get("flip_idx")
        if node is None or shape is None:
            return None
        indices = _whole_numbers(node)
        if indices is None or sorted(indices) != list(range(shape[0])):
            self.complain(node, f"must hold each of 0 to {shape[0] - 1} once in `flip_idx`")
            return None
        return indices

    def splits(self) -> dict[Split, list[Written]]:
        splits: dict[Split, list[Written]] = {}
        for key, node in self.values.items():
            split = split_of(key)
            if split is None:
                continue
            for value in items(node) if isinstance(node, yaml.SequenceNode) else [node]:
                if not isinstance(value, yaml.ScalarNode):
                    self.complain(value, f"must have a path or a list of paths in `{key}`")
                elif (path := scalar(value)) is not None:
                    splits.setdefault(split, []).append(Written(path, self.file, line_of(value)))
        return {split: splits[split] for split in SPLITS if split in splits}


def _whole_numbers(node: yaml.Node) -> list[int] | None:
    words = [scalar(item) or "" for item in items(node)]
    return [int(word) for word in words] if words and all(map(_NUMBER.fullmatch, words)) else None


def read_darknet(archive: Archive, file: str) -> Description:
    """obj.data: lines of `key = value`; `train`, `valid` and `names` are paths of further files."""
    try:
        text = read_text(archive, file, MAX_BYTES)
    except Invalid:
        return Description(file)
    splits: dict[Split, list[Written]] = {}
    names_file = None
    for line, content in enumerate(text.splitlines(), start=1):
        key, _, value = (part.strip() for part in content.partition("="))
        split = split_of(key)
        if split and value:
            splits.setdefault(split, []).append(Written(value, file, line))
        elif key == "names":
            names_file = value or None
    return Description(file, splits=splits, names_file=names_file)
