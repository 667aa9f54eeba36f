"""COCO: one or several JSON files of images, annotations and categories, for detection, segmentation and poses.

Each file is read twice, an element at a time: once for its lists, once for its annotations, since nothing says which
comes first. The file's name or folder is the split. What a file lists without labels shows nothing, if the file labels
anything. The task: poses if at least half of the objects have keypoints, else segmentation if they have outlines, else
detection; a guess where not all agree.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.datasets.annotations import Place
from app.datasets.archives.base import Archive
from app.datasets.draft import Draft
from app.datasets.findings import Finding
from app.datasets.formats.base import Clues, Format
from app.datasets.formats.coco_classes import Categories
from app.datasets.formats.coco_files import CocoFile, annotation_files, is_coco, json_names
from app.datasets.formats.coco_lists import Images, id_of, shown
from app.datasets.formats.coco_objects import Refused, Rules, is_crowd, parse
from app.datasets.formats.json_stream import Element, NotJson, elements
from app.datasets.mending import add
from app.datasets.work import Wish
from app.errors import Invalid
from app.words import TaskType

LISTS = ("images", "categories")
ANNOTATIONS = ("annotations",)


def recognise(archive: Archive) -> Clues | None:
    """By a JSON file that begins with one of its lists."""
    name = next((name for name in json_names(archive) if is_coco(archive, name)), None)
    return Clues(3, f"{name} lists images or annotations") if name else None


def read(archive: Archive, draft: Draft, wish: Wish) -> None:
    """Boxes, outlines or poses; which, the wish says, else what most annotations have."""
    files = annotation_files(archive, wish, draft.find)
    if not files:
        draft.find(Finding("FORMAT_UNKNOWN", "there is no JSON file"))
    source, images, categories, seen = _Source(archive, draft), Images(archive, draft), Categories(draft), _Survey()
    is_asked = wish.task_type not in (None, TaskType.POSE_ESTIMATION)
    for number, file in enumerate(files):
        for element in source.elements(file, LISTS if is_asked else LISTS + ANNOTATIONS):
            if element.key == "images":
                images.add(number, file, element)
            elif element.key == "categories":
                categories.add(file, element)
            else:
                seen.add(element)
    task, guess = (wish.task_type, None) if wish.task_type else seen.task
    if guess:
        draft.find(Finding("TASK_GUESSED", guess))
    draft.set("task_type", task)
    rules = Rules(task, categories.settle())
    if task is not TaskType.POSE_ESTIMATION or categories.settle_poses(seen.keypoints):
        _read_annotations(source, files, images, rules)
    images.close()


FORMAT = Format(
    name="coco",
    title="COCO",
    tasks=(
        TaskType.OBJECT_DETECTION,
        TaskType.INSTANCE_SEGMENTATION,
        TaskType.POSE_ESTIMATION,
        TaskType.ORIENTED_OBJECT_DETECTION,
    ),
    recognise=recognise,
    read=read,
)


@dataclass
class _Survey:
    """What annotations have, crowd regions aside. `keypoints`: objects by how many they have."""

    objects: int = 0
    outlined: int = 0
    posed: int = 0
    keypoints: Counter[int] = field(default_factory=Counter)

    def add(self, element: Element) -> None:
        entry = element.value
        if not isinstance(entry, dict) or is_crowd(entry):
            return
        self.objects += 1
        self.outlined += bool(entry.get("segmentation"))
        points = entry.get("keypoints")
        if points and isinstance(points, list):
            self.posed += 1
            self.keypoints[len(points) // 3] += 1

    @property
    def task(self) -> tuple[TaskType, str | None]:
        """The task, and why it is a guess, if it is one."""
        for count, task, what in (
            (self.posed, TaskType.POSE_ESTIMATION, "keypoints"),
            (self.outlined, TaskType.INSTANCE_SEGMENTATION, "a segmentation"),
        ):
            if count and count * 2 >= self.objects:
                mixed = f"{count} of {self.objects} objects have {what}: read as {task}"
                return task, mixed if count < self.objects else None
        task = TaskType.OBJECT_DETECTION
        others = max(self.posed, self.outlined)
        return task, f"{others} of {self.objects} objects have more than a box: read as {task}" if others else None


@dataclass
class _Source:
    """The files, an element at a time, until one cannot be read on, which is found once."""

    archive: Archive
    draft: Draft
    failed: set[str] = field(default_factory=set)

    def elements(self, file: CocoFile, wanted: Sequence[str]) -> Iterator[Element]:
        try:
            yield from elements(self.archive.chunks(file.name), wanted)
        except NotJson as error:
            self._fail(file, f"the file {error.message}", error.line)
        except Invalid as error:
            self._fail(file, error.message)

    def _fail(self, file: CocoFile, message: str, line: int | None = None) -> None:
        if file.name not in self.failed:
            self.failed.add(file.name)
            self.draft.find(Finding("LABEL_UNREADABLE", message, file.name, line))


def _read_annotations(source: _Source, files: Sequence[CocoFile], images: Images, rules: Rules) -> None:
    labelling = []
    for number, file in enumerate(files):
        reader = _Reader(source.draft, images, rules, number, file)
        for element in source.elements(file, ANNOTATIONS):
            reader.read(element)
        reader.tell_lost()
        if reader.count:
            labelling.append(number)
    images.mark_backgrounds(labelling)


@dataclass
class _Reader:
    """Reads the annotations of one file. `lost`: those of images that are missing or broken."""

    draft: Draft
    images: Images
    rules: Rules
    number: int
    file: CocoFile
    count: int = 0
    lost: int = 0

    def read(self, element: Element) -> None:
        self.count += 1
        entry = element.value
        if not isinstance(entry, dict) or element.repeated:
            problem = f"has {element.repeated!r} twice" if element.repeated else "is not an object"
            self._find("LABEL_MALFORMED", f"an annotation {problem}", element)
            return
        image_key, category = id_of(entry.get("image_id")), id_of(entry.get("category_id"))
        listed = self.images.get(self.number, image_key) if image_key else None
        if listed is None:
            self._find("LABEL_WITHOUT_IMAGE", f"the file lists no image of id {image_key}", element)
        elif listed.image is None:
            self.lost += 1
        else:
            self.images.mark_labelled(listed.image)
            class_id = self.rules.class_ids.get(category) if category else None
            if class_id is None:
                self._find("CLASS_UNKNOWN", f"no file lists a category of id {category}", element, listed.image.id)
                return
            try:
                parsed = parse(entry, class_id, listed.image, listed.stated, self.rules.task)
            except Refused as refused:
                self._find("LABEL_MALFORMED", str(refused), element, listed.image.id)
                return
            if add(self.draft, listed.image, parsed.annotation, self._place(element)):
                crowd = [("CROWD_SET_ASIDE", "a crowd region: in the index, not in the labels")]
                for code, message in [*parsed.notes, *(crowd if parsed.annotation.crowd else [])]:
                    self._find(code, message, element, listed.image.id)

    def tell_lost(self) -> None:
        if self.lost:
            message = f"{self.lost} annotations belong to images that are missing or broken"
            self.draft.find(Finding("LABEL_WITHOUT_IMAGE", message, self.file.name, value=str(self.lost)))

    def _find(self, code: str, message: str, element: Element, image_id: int | None = None) -> None:
        value = _shown(element)
        self.draft.find(Finding(code, message, self.file.name, element.line, value, image_id=image_id))

    def _place(self, element: Element) -> Place:
        return Place(self.file.name, element.line, _shown(element))


def _shown(element: Element) -> str:
    """Which annotation, and its box; of something else its beginning."""
    entry = element.value
    if not isinstance(entry, dict):
        return shown(entry)
    return f"annotation {str(entry.get('id'))[:50]}: bbox {str(entry.get('bbox'))[:100]}"
