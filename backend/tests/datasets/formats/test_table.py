"""Classes from tables of files and labels."""

import pytest

from app.datasets.formats.table import FORMAT, recognise
from tests.datasets.formats.uploads import BROKEN, Read, Upload, reader

table = reader(FORMAT)
IMAGES: dict[str, str | bytes] = {"img/a.png": b"", "img/b.png": b""}
BOTH = {"img/a.png": ["cat"], "img/b.png": ["dog"]}


@pytest.mark.parametrize(
    "text",
    [
        "filename,label\na.png,cat\nb.png,dog\n",
        "a.png,cat\nb.png,dog",
        "label;image\r\ncat;img/a.png\r\ndog;img/b.png\r\n",
        "\ufefffile\tclass\na.png\tcat\nb.png\tdog\n",
        "id|breed\na|cat\n\nb|dog\n",
        '"file","label"\n"img/a.png"," cat "\n"./img/b.png","dog"\n',
        "파일,라벨\nC:\\data\\img\\a.png,cat\n/home/me/img/b.png,dog\n",
        "number,name,label\n1,a.png,cat\n2,b.png,dog\n",
        "a.png,cat,x\nb.png,dog,y\n",
    ],
)
def test_classes_come_from_the_column_of_labels(text: str, table: Read) -> None:
    files = IMAGES | {"labels.csv": text}
    reading = table(files)
    assert (reading.objects, reading.codes) == (BOTH, [])
    assert reading.draft.classes == ["cat", "dog"]
    assert reading.splits == {"img/a.png": None, "img/b.png": None}
    assert reading.names == {"img/a.png": "a.png", "img/b.png": "b.png"}
    clues = recognise(Upload(files))
    assert clues and clues.score == 3


def test_tabs_divide_a_tsv_alone(table: Read) -> None:
    reading = table(IMAGES | {"labels.tsv": "a.png\tcat, black\nb.png\tdog"})
    assert reading.objects["img/a.png"] == ["cat, black"]


@pytest.mark.parametrize(
    "text",
    [
        "file,label,split\na.png,cat,Training\nb.png,dog,valid\n",
        "a.png,cat,train\nb.png,dog,val\n",
        "train,a,cat\nval,b,dog",
    ],
)
def test_split_comes_from_its_column(text: str, table: Read) -> None:
    reading = table(IMAGES | {"labels.csv": text})
    assert (reading.splits, reading.objects) == ({"img/a.png": "train", "img/b.png": "val"}, BOTH)


def test_split_comes_from_the_name_of_the_table(table: Read) -> None:
    reading = table(IMAGES | {"train.csv": "file,label\na.png,cat", "val.csv": "file,label\nb.png,dog"})
    assert reading.splits == {"img/a.png": "train", "img/b.png": "val"}


def test_split_comes_from_the_folder_if_nothing_else_says_it(table: Read) -> None:
    files = {"train/a.png": b"", "test/b.png": b"", "labels.csv": "a.png,cat\nb.png,dog"}
    assert table(files).splits == {"test/b.png": "test", "train/a.png": "train"}


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ("c.png,cat", "IMAGE_MISSING", "not there"),
        ("b.png", "LABEL_MALFORMED", "has 1 columns, not 3 or more"),
        ("b.png,,train", "LABEL_MALFORMED", "has no label"),
        (",cat,train", "LABEL_MALFORMED", "names no file"),
        ("b.png,cat,both", "LABEL_MALFORMED", "has the split 'both'"),
        ("a.png,cat,train", "LABEL_DUPLICATE", "listed before, as 'cat' in line 2 of t.csv"),
        ("img/a.png,dog,train", "LABEL_CONTRADICTS", "listed before, as 'cat' in line 2 of t.csv"),
    ],
)
def test_row_is_named_with_what_is_wrong(row: str, code: str, words: str, table: Read) -> None:
    if code == "IMAGE_MISSING":
        row += ",train"
    reading = table({"img/a.png": b"", "img/b.png": b"", "t.csv": f"file,label,split\na.png,cat,train\n{row}\n"})
    file, line, _, message = reading.finding(code)
    assert (file, line) == ("t.csv", 3)
    assert words in message


def test_image_is_left_out_if_no_table_names_it(table: Read) -> None:
    reading = table(IMAGES | {"t.csv": "file,label\na.png,cat\n"})
    assert list(reading.splits) == ["img/a.png"]
    assert reading.finding("IMAGE_UNUSED")[0] == "img/b.png"


def test_row_of_a_broken_image_is_no_missing_image(table: Read) -> None:
    reading = table({"a.png": b"", "b.png": BROKEN, "t.csv": "a.png,cat\nb.png,dog\n"})
    assert reading.codes == []


def test_file_is_missing_if_two_folders_have_its_name(table: Read) -> None:
    reading = table({"x/a.png": b"", "y/a.png": b"", "z/b.png": b"", "t.csv": "a.png,cat\nb.png,dog\n"})
    assert reading.finding("IMAGE_MISSING")[2] == "a.png"


@pytest.mark.parametrize(
    "text",
    [
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,1,1,cat,0,0,1,1\n",
        "file,label\nnot_there.png,cat\n",
        "a.png\nb.png\n",
        "",
        "image,breed,colour\na.png,tabby,red\nb.png,siam,white\n",
    ],
)
def test_other_tables_are_not_recognised(text: str) -> None:
    assert recognise(Upload(IMAGES | {"t.csv": text})) is None


def test_format_is_refused_if_it_was_named_and_no_table_fits(table: Read) -> None:
    assert "LABEL_UNREADABLE" in table(IMAGES | {"t.csv": "hello"}).codes
