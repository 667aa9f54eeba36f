"""Large JSON, an element at a time."""

import json
from typing import Any

import pytest

from app.datasets.formats.json_stream import MAX_DEPTH, MAX_ELEMENT, Element, NotJson, elements

WANTED = ("a", "b")


def parts(text: str | bytes, size: int) -> list[bytes]:
    data = text.encode() if isinstance(text, str) else text
    return [data[start : start + size] for start in range(0, len(data), size)]


def read(text: str | bytes, size: int = 2**20) -> list[Element]:
    return list(elements(parts(text, size), WANTED))


def values(text: str | bytes, size: int = 2**20) -> list[Any]:
    return [element.value for element in read(text, size)]


TRICKY: dict[str, Any] = {
    "x": {"a": [1], "deep": [[[{}]]]},
    "s": 'a "quoted\\" ]}{[,: \\',
    "b": [[1, [2, {"k": "]"}]], {"q": '\\"', "한": "글"}, "\\", None, True, 1.5, []],
    "n": None,
    "a": [{}],
    "e": {},
}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 2**20])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_every_element_comes_out_wherever_blocks_end(size: int, indent: int | None, is_ascii: bool) -> None:
    text = json.dumps(TRICKY, indent=indent, ensure_ascii=is_ascii)
    assert values(text, size) == [*TRICKY["b"], *TRICKY["a"]]


def test_elements_know_their_lines_if_the_file_has_some() -> None:
    found = read('{"a": [\n1,\n\n  2, 3],\r\n"b": [\n{"x":\n1}\n, 4]}')
    assert [(element.key, element.line) for element in found] == [("a", 2), ("a", 4), ("a", 4), ("b", 6), ("b", 8)]


@pytest.mark.parametrize("text", ['\ufeff{"a": [1]}', ' \n{"a": [1]}\n ', '{"a":[1,]}', '{"z":5,"a":[1]}'])
def test_harmless_oddities_are_read(text: str) -> None:
    assert values(text) == [1]


@pytest.mark.parametrize("text", ["{}", '{"a": []}', '{"a": null}', '{"a": [ \n ]}', '{"z": [1, 2]}'])
def test_nothing_comes_out_if_nothing_is_there(text: str) -> None:
    assert values(text) == []


def test_a_repeated_key_is_named_and_its_last_value_counts() -> None:
    (found,) = read('{"a": [{"x": 1, "y": {"k": 1, "k": 2}}]}')
    assert (found.value, found.repeated) == ({"x": 1, "y": {"k": 2}}, "k")


def test_values_that_are_no_numbers_come_out_if_python_wrote_them() -> None:
    assert repr(values('{"a": [NaN, -Infinity, 1e999]}')) == "[nan, -inf, inf]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "middle"),
        ("[]", "one JSON object"),
        ("5", "middle"),
        ('{"a": [1', "middle"),
        ('{"a": ["x', "middle"),
        ('{"a": [1]}x', "after its end"),
        ('{"a": [1]}{}', "one JSON object"),
        ('{"a": [1}', "bracket"),
        ('{"a": [1], "a": [2]}', "twice"),
        ('{"a": {"x": 1}}', "list is expected"),
        ('{"a": 5}', "list is expected"),
        ('{"a" [1]}', "key"),
        ('{"a": "b": 1}', "two colons"),
        ("{5: [1]}", "as a key"),
        ('{"a": [,1]}', "no JSON"),
        ('{"a": [1 2]}', "no JSON"),
        ('{"a": [[1}]}', "no JSON"),
        ('{"a": ["\\ud800"]}', "no JSON"),
        ('{"a": [' + "9" * 5000 + "]}", "no JSON"),
        (b'{"a": ["\xff"]}', "no JSON"),
        ('{"a": [1]}'.encode("utf-16"), "UTF-16"),
        ("[" * 100_000, "levels deep"),
        ('{"z": ' + "[" * 100_000 + "]" * 100_000 + "}", "levels deep"),
        ('{"a": [' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "]}", "levels deep"),
        ("}" * 100_000, "one JSON object"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_the_file_is_refused_if_it_is_not_what_it_says(text: str | bytes, message: str) -> None:
    with pytest.raises(NotJson, match=message):
        read(text)


def test_depth_is_no_reason_if_it_is_below_the_limit() -> None:
    nested = "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2)
    assert len(values(f'{{"a": [{nested}]}}')) == 1


def test_an_element_is_refused_before_it_is_whole_if_it_is_too_long() -> None:
    taken: list[int] = []

    def endless() -> Any:
        yield b'{"a": ["'
        while len(taken) < 1000:
            taken.append(1)
            yield b"x" * 2**20

    with pytest.raises(NotJson, match="more than"):
        list(elements(endless(), WANTED))
    assert len(taken) <= MAX_ELEMENT // 2**20 + 1
