"""Each hostile XML file is a finding, and the files beside it are read all the same."""

import tracemalloc

import pytest

from app.datasets.formats.voc import FORMAT
from tests.datasets.formats.uploads import Read, reader
from tests.hostile import xmls

read = reader(FORMAT)
GOOD: dict[str, str | bytes] = {"good.jpg": b"", "good.xml": xmls.annotation()}
REFUSED = dict(xmls.refused())


@pytest.mark.parametrize("name", REFUSED)
def test_the_file_is_refused_and_named_if_its_xml_is_hostile(read: Read, name: str) -> None:
    files = {**GOOD, "bad.jpg": b"", "bad.xml": REFUSED[name]}
    tracemalloc.start()
    found = read(files)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.finding("LABEL_UNREADABLE")[0] == "bad.xml"
    assert found.objects == {"good.jpg": ["cat"]}
    assert peak < 64 * 2**20


def test_what_a_file_elsewhere_says_is_not_read_if_an_entity_names_it(read: Read) -> None:
    found = read({**GOOD, "bad.jpg": b"", "bad.xml": xmls.external_entity("/etc/hostname")})
    assert "DOCTYPE" in found.finding("LABEL_UNREADABLE")[3]


def test_no_path_is_followed_if_the_file_names_one(read: Read) -> None:
    names = ("../../etc/passwd", "/etc/passwd", "C:\\boot.ini", "file:///etc/passwd", "a" * 5000, "\x01")
    files: dict[str, str | bytes] = {"good.jpg": b""}
    for number, name in enumerate(names[:-1]):
        files[f"{number}.xml"] = xmls.annotation(f"<filename>{name}</filename>{xmls.ONE}")
    found = read(files)
    assert found.codes == ["LABEL_WITHOUT_IMAGE"] * 5


def test_the_class_stays_text_if_it_looks_like_code(read: Read) -> None:
    text = xmls.ONE.replace("cat", "&lt;script&gt;alert(1)&lt;/script&gt;")
    found = read({"a.jpg": b"", "a.xml": xmls.annotation(text)})
    assert found.draft.classes == ["<script>alert(1)</script>"]


@pytest.mark.parametrize("name", ["x" * 300, "a\u202eb", "a&#10;b"])
def test_the_class_is_refused_if_its_name_cannot_be_shown(read: Read, name: str) -> None:
    found = read({"a.jpg": b"", "a.xml": xmls.annotation(xmls.ONE.replace("cat", name))})
    assert "CLASS_NAME_INVALID" in found.codes
