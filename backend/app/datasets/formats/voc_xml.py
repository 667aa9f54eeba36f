"""One Pascal VOC file: what it says, with the line of each object. Document types and entities are refused.

Form: the VOC 2012 development kit, `annotation/object/bndbox`; `occluded` as later tools write it.
"""

from dataclasses import dataclass, field
from xml.sax import SAXException, SAXParseException
from xml.sax.expatreader import ExpatLocator
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl

from defusedxml.common import DefusedXmlException
from defusedxml.sax import parseString

MAX_DEPTH = 64
MAX_TEXT = 1000  # characters of one value
CORNERS = ("xmin", "ymin", "xmax", "ymax")
FLAGS = ("difficult", "truncated", "occluded")
_OF_IMAGE = frozenset({"filename", "size/width", "size/height"})
_OF_OBJECT = frozenset({"name", "pose", *FLAGS, *(f"bndbox/{corner}" for corner in CORNERS)})
_LEFT_OUT = frozenset({"part", "polygon", "robndbox", "actions", "point", "mask"})


class Unreadable(Exception):
    """It is no XML, or XML that is refused."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message, self.line = message, line


@dataclass
class VocObject:
    """Texts as they stand there. `left_out`: what of it has no place in a box; `twice`: what it says more than once."""

    line: int
    texts: dict[str, str] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)
    twice: str | None = None


@dataclass
class VocFile:
    """`root` is `annotation` for what is ours."""

    root: str = ""
    texts: dict[str, str] = field(default_factory=dict)
    objects: list[VocObject] = field(default_factory=list)


def parse(data: bytes) -> VocFile:
    """What the file says. `Unreadable` names the reason and, where there is one, the line."""
    handler = _Handler()
    try:
        parseString(data, handler, forbid_dtd=True)
    except DefusedXmlException as error:
        raise Unreadable("declares a document type or entities, which are refused; remove the <!DOCTYPE …>") from error
    except SAXParseException as error:
        raise Unreadable(f"is no well-formed XML: {error.getMessage()}", error.getLineNumber()) from error
    except (SAXException, ValueError, LookupError) as error:  # encodings that there are not, or that lie
        raise Unreadable(f"is no readable XML: {error}") from error
    return handler.file


class _Handler(ContentHandler):
    def __init__(self) -> None:
        super().__init__()
        self.file = VocFile()
        self._path: list[str] = []
        self._text = ""
        self._locator: ExpatLocator | None = None

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        if len(self._path) >= MAX_DEPTH:
            raise Unreadable(f"is nested more than {MAX_DEPTH} deep", self._line())
        if not self._path:
            self.file.root = name
        self._path.append(name)
        self._text = ""
        if self._path[1:] == ["object"]:
            self.file.objects.append(VocObject(self._line()))
        elif self._path[1:2] == ["object"] and len(self._path) == 3 and name in _LEFT_OUT:
            self.file.objects[-1].left_out.add(name)

    def characters(self, content: str) -> None:
        if len(self._text) < MAX_TEXT:
            self._text += content[:MAX_TEXT]

    def endElement(self, name: str) -> None:
        inner = self._path[1:]
        if inner[:1] == ["object"]:
            self._note(self.file.objects[-1], "/".join(inner[1:]))
        elif (key := "/".join(inner)) in _OF_IMAGE:
            self.file.texts.setdefault(key, self._text.strip())
        self._path.pop()
        self._text = ""

    def _note(self, found: VocObject, key: str) -> None:
        if key in _OF_OBJECT:
            if key in found.texts:
                found.twice = key
            found.texts[key] = self._text.strip()

    def _line(self) -> int:
        return int(self._locator.getLineNumber() or 1) if self._locator else 1
