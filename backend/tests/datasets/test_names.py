"""Names in the version: unique wherever they are unpacked, whatever order they came in."""

import itertools
import unicodedata

import pytest

from app.datasets.draft import Draft
from app.datasets.names import fold, settle_names
from tests.datasets.drafts import CLASSIFICATION, add, codes, draft_of, findings


def place(draft: Draft, entry: str, name: str, **facts: str) -> None:
    image_id = add(draft, entry, "train", [0], **facts)
    draft.place(image_id, name, "train")


def paths(draft: Draft) -> dict[str, str]:
    return dict(draft.connection.execute("SELECT entry, path FROM images ORDER BY entry"))


def settled(*images: tuple[str, str]) -> dict[str, str]:
    with draft_of() as draft:
        for entry, name in images:
            place(draft, entry, name)
        settle_names(draft)
        return paths(draft)


def test_names_stay_if_they_differ() -> None:
    assert settled(("x/a.jpg", "a.jpg"), ("y/b.jpg", "b/a.jpg")) == {
        "x/a.jpg": "images/train/a.jpg",
        "y/b.jpg": "images/train/b/a.jpg",
    }


@pytest.mark.parametrize(
    ("first", "second", "renamed"),
    [
        ("A.jpg", "a.jpg", "a-2.jpg"),
        ("A.JPG", "a.jpg", "a-2.jpg"),
        ("é.jpg", unicodedata.normalize("NFD", "é.jpg"), "é-2.jpg"),
        ("STRASSE.jpg", "straße.jpg", "straße-2.jpg"),
        ("a.jpeg", "a.jpg", "a-2.jpg"),
        ("Dir/a.jpg", "dir/A.jpg", "dir/A-2.jpg"),
    ],
)
def test_second_gets_a_number_if_a_disk_may_not_tell_them_apart(first: str, second: str, renamed: str) -> None:
    images = [("1/x.jpg", first), ("2/x.jpg", second)]
    taken = sorted([first, second])
    found = [settled(*order) for order in (images, images[::-1])]
    assert found[0] == found[1]
    assert set(found[0].values()) >= {f"images/train/{taken[0]}"}
    assert len({fold(path.rpartition(".")[0]) for path in found[0].values()}) == 2
    if taken == [first, second]:
        assert f"images/train/{renamed}" in found[0].values()


def test_numbers_do_not_depend_on_the_order_of_packing() -> None:
    images = [("x/a.jpg", "a.jpg"), ("y/a.jpg", "a.jpg"), ("z/A.jpg", "A.jpg"), ("w/a-2.jpg", "a-2.jpg")]
    found = [settled(*order) for order in itertools.permutations(images)]
    assert all(one == found[0] for one in found)
    assert found[0] == {
        "w/a-2.jpg": "images/train/a-2.jpg",
        "x/a.jpg": "images/train/a-3.jpg",
        "y/a.jpg": "images/train/a-4.jpg",
        "z/A.jpg": "images/train/A.jpg",
    }


def test_renaming_is_told() -> None:
    with draft_of() as draft:
        place(draft, "x/a.jpg", "a.jpg")
        place(draft, "y/a.jpg", "a.jpg")
        settle_names(draft)
        assert codes(draft) == ["NAME_COLLISION"]
        assert findings(draft, "NAME_COLLISION") == [("y/a.jpg", "a-2.jpg", "repaired")]


@pytest.mark.parametrize(
    ("name", "kind", "rewrite", "expected"),
    [
        ("a.JPG", "JPEG", None, "a.JPG"),
        ("a.png", "JPEG", None, "a.jpg"),
        ("a.tif", "TIFF", None, "a.tif"),
        ("a.bmp", "BMP", ".png", "a.png"),
        ("a.jpeg", "JPEG", ".jpg", "a.jpeg"),
        ("a.v2", "PNG", None, "a.v2.png"),
        ("a", "PNG", None, "a.png"),
        ("a.b/c", "WEBP", None, "a.b/c.webp"),
    ],
)
def test_suffix_is_that_of_the_content(name: str, kind: str, rewrite: str | None, expected: str) -> None:
    with draft_of() as draft:
        place(draft, "x", name, format=kind, rewrite=rewrite)  # type: ignore[arg-type]
        settle_names(draft)
        assert paths(draft) == {"x": f"images/train/{expected}"}


def test_same_stem_is_no_collision_in_folders_of_classes() -> None:
    with draft_of(CLASSIFICATION) as draft:
        place(draft, "x/a.jpg", "a.jpg")
        place(draft, "x/a.png", "a.png", format="PNG")
        settle_names(draft)
        assert paths(draft) == {"x/a.jpg": "train/cat/a.jpg", "x/a.png": "train/cat/a.png"}


def test_same_name_in_two_classes_is_no_collision() -> None:
    with draft_of(CLASSIFICATION) as draft:
        for entry, class_id in (("cat/1.jpg", 0), ("dog/1.jpg", 1)):
            add(draft, entry, "train", [class_id])
        settle_names(draft)
        assert list(paths(draft).values()) == ["train/cat/1.jpg", "train/dog/1.jpg"]


def test_file_and_folder_never_have_one_name() -> None:
    found = settled(("1.jpg", "a.jpg"), ("2.jpg", "a.jpg/b.jpg"), ("3.jpg", "c.txt/d.jpg"), ("4.jpg", "c.jpg"))
    files = {fold(path) for path in found.values()} | {
        fold(path.rpartition(".")[0] + ".txt") for path in found.values()
    }
    folders = {fold(path.rpartition("/")[0]) for path in found.values()}
    assert files.isdisjoint(folders)


def test_no_folder_inside_is_called_images() -> None:
    assert settled(("1.jpg", "images/a.jpg")) == {"1.jpg": "images/train/image/a.jpg"}
