"""A JSON object of large arrays, an element at a time, in bounded memory, with the line of each element.

Blocks are scanned for their structure alone (strings, brackets, commas), which numpy does at once; only whole elements
go to the JSON parser. So depth, length and repeated keys are judged before anything is built, NaN is told with the
element that has it, and the order of the arrays does not matter.
"""

import codecs
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DEPTH = 64
MAX_ELEMENT = 16 * 2**20  # bytes
_QUOTE = ord('"')
_STEPS = np.zeros(256, dtype=np.int32)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1
_SEPARATES = np.zeros(256, dtype=bool)
_SEPARATES[list(b"[]{},:")] = True
_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_SPACE = b" \t\r\n"
_CLOSING = {"[": "]", "{": "}"}


class NotJson(Exception):
    """The file cannot be read on; `line` says where."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message, self.line = message, line


@dataclass(frozen=True, slots=True)
class Element:
    """One of the array `key`. `repeated`: a key that an object in it has twice, of which the last counts."""

    key: str
    value: Any
    line: int
    repeated: str | None = None


def elements(blocks: Iterable[bytes], wanted: Collection[str]) -> Iterator[Element]:
    """The elements of the wanted arrays of the object, in the order of the file; the rest is skipped, not judged.

    Raises NotJson where the file ends, is nested too deep, or is not what was expected.
    """
    scanner, reader = _Scanner(), _Reader(wanted)
    for number, block in enumerate(blocks):
        yield from reader.take(*scanner.scan(block if number else _without_mark(block)))
    reader.end()


def _without_mark(block: bytes) -> bytes:
    if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise NotJson("is UTF-16; save it as UTF-8", 1)
    return block.removeprefix(codecs.BOM_UTF8)


class _Scanner:
    """Finds where the outer two levels begin, end and are divided."""

    def __init__(self) -> None:
        self._is_inside = 0  # 1 within a string
        self._depth = 0
        self._waiting = b""  # a backslash whose character comes with the next block

    def scan(self, block: bytes) -> tuple[bytes, list[int], list[int]]:
        """The block, the places in it of brackets, commas and colons of the outer levels, and the depth after each."""
        data, self._waiting = self._waiting + block, b""
        plain = data
        if b"\\" in data:
            plain = _ESCAPE.sub(b"__", data)
            if plain.endswith(b"\\"):
                self._waiting, data, plain = b"\\", data[:-1], plain[:-1]
        return (data, *self._places(np.frombuffer(plain, dtype=np.uint8))) if data else (data, [], [])

    def _places(self, data: NDArray[np.uint8]) -> tuple[list[int], list[int]]:
        inside = (np.cumsum(data == _QUOTE, dtype=np.int32) + self._is_inside) & 1
        steps = _STEPS[data]
        steps[inside == 1] = 0
        depths = np.cumsum(steps, dtype=np.int32) + self._depth
        self._is_inside, self._depth = int(inside[-1]), int(depths[-1])
        if depths.max() > MAX_DEPTH:
            raise NotJson(f"is nested more than {MAX_DEPTH} levels deep")
        outer = np.maximum(depths, depths - steps) <= 2
        places = np.flatnonzero(outer & (inside == 0) & _SEPARATES[data])
        return places.tolist(), depths[places].tolist()


class _Reader:
    """Follows the outer levels: one object of keys and values; values that are arrays have elements."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = wanted
        self._seen: set[str] = set()
        self._key: str | None = None  # of the value that is being read
        self._open = ""  # brackets: {, {[ or {{
        self._text: list[bytes] = []  # since the last bracket, comma or colon
        self._length = 0
        self._line = self._text_line = 1
        self._is_over = False

    def take(self, data: bytes, places: list[int], depths: list[int]) -> Iterator[Element]:
        start = 0
        for place, depth in zip(places, depths, strict=True):
            self._add(data[start:place])
            if (element := self._mark(chr(data[place]), depth)) is not None:
                yield element
            start = place + 1
        self._add(data[start:])

    def end(self) -> None:
        text, line = self._taken()
        if self._is_over and text:
            raise NotJson("has something after its end", line)
        if not self._is_over:
            raise NotJson("ends in the middle; copy it again from where it came", self._line)

    def _add(self, text: bytes) -> None:
        """Keep the text where it may be wanted, and count its lines."""
        if self._open != "{{" and (self._open != "{[" or self._key in self._wanted):
            self._length += len(text)
            if self._length > MAX_ELEMENT:
                raise NotJson(f"has an element of more than {MAX_ELEMENT:,} bytes", self._text_line)
            self._text.append(text)
        self._line += text.count(b"\n")

    def _taken(self) -> tuple[bytes, int]:
        """The text, and the line on which it begins."""
        text, line = b"".join(self._text), self._text_line
        self._text, self._length, self._text_line = [], 0, self._line
        stripped = text.lstrip(_SPACE)
        return stripped.rstrip(_SPACE), line + text[: len(text) - len(stripped)].count(b"\n")

    def _mark(self, mark: str, depth: int) -> Element | None:
        """What a bracket, comma or colon of the outer levels ends."""
        text, line = self._taken()
        if self._is_over or not self._open:
            self._begin(mark, text, line)
        elif mark in "[{":
            self._enter(mark, text, line)
        elif self._open == "{":
            self._divide(mark, text, line)
        elif mark in "]}":
            if mark != _CLOSING[self._open[-1]]:
                raise NotJson(f"has {mark!r} where another bracket is open", self._line)
            is_array, self._open = self._open == "{[", "{"
            return self._element(text, line) if is_array and text else None
        elif mark == "," and self._open == "{[" and self._key in self._wanted:
            return self._element(text, line)
        return None

    def _begin(self, mark: str, text: bytes, line: int) -> None:
        if self._is_over or text or mark != "{":
            raise NotJson("is not one JSON object {…}", line)
        self._open = "{"

    def _enter(self, mark: str, text: bytes, line: int) -> None:
        if self._key is None or text:
            raise NotJson(f"has {mark!r} where a key is expected", line)
        if mark == "{" and self._key in self._wanted:
            raise NotJson(f"has an object as {self._key!r}; a list is expected", line)
        self._open += mark

    def _divide(self, mark: str, text: bytes, line: int) -> None:
        """A colon ends a key, a comma a value, a bracket the whole."""
        if mark == ":":
            if self._key is not None:
                raise NotJson("has two colons without a comma between", line)
            self._key = self._parsed(text, line)[0]
            if not isinstance(self._key, str):
                raise NotJson(f"has {text[:50]!r} as a key", line)
            if self._key in self._seen and self._key in self._wanted:
                raise NotJson(f"has the key {self._key!r} twice", line)
            self._seen.add(self._key[:100])
            return
        if self._key in self._wanted and text not in (b"", b"null"):
            raise NotJson(f"has {text[:50].decode(errors='replace')!r} as {self._key!r}; a list is expected", line)
        self._key = None
        if mark in "]}":
            if mark == "]":
                raise NotJson("has ']' where '}' is expected", line)
            self._is_over, self._open = True, ""

    def _element(self, text: bytes, line: int) -> Element:
        value, repeated = self._parsed(text, line)
        return Element(self._key or "", value, line, repeated)

    def _parsed(self, text: bytes, line: int) -> tuple[Any, str | None]:
        repeated: list[str] = []

        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            found = dict(pairs)
            if len(found) < len(pairs):
                repeated.append(Counter(key for key, _ in pairs).most_common(1)[0][0])
            return found

        try:
            value = json.loads(text.decode(), object_pairs_hook=unique)
            if b"\\ud" in text.lower():
                json.dumps(value, ensure_ascii=False).encode()
        except ValueError as error:  # of JSON, of UTF-8, of half a surrogate pair, of a number of 5,000 digits
            raise NotJson(f"is no JSON: {error} in {text[:50].decode(errors='replace')!r}", line) from error
        return value, repeated[0] if repeated else None
