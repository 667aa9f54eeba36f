"""What of a dataset reaches Ultralytics."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from dataset import describe_dataset
from utils import TrainerFailure

POSE = "pose_estimation"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "dataset"
    for split in ("train", "val"):
        (root / "images" / split).mkdir(parents=True)
        (root / "images" / split / "a.JPG").touch()
    return root


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    root = tmp_path / "classes"
    for name in ("train/cat", "train/dog", "val/cat", "val/dog"):
        (root / name).mkdir(parents=True)
        (root / name / "a.png").touch()
    return root


def described(root: Path, task_type: str = "object_detection", **content: Any) -> Any:
    (root / "data.yaml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    path = describe_dataset(root, task_type, root.parent)
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def refusal(root: Path, task_type: str = "object_detection") -> str:
    with pytest.raises(TrainerFailure) as caught:
        describe_dataset(root, task_type, root.parent)
    assert caught.value.code == "DATASET_INVALID"
    return caught.value.message


def test_only_names_and_paths_of_our_own_are_written(root: Path) -> None:
    content = described(
        root, names=["고양이", "dog"], download="rm -rf /", path="/etc", train="/etc", nc=2, masks_dir="x"
    )
    assert content == {
        "path": str(root),
        "train": "images/train",
        "val": "images/val",
        "names": {0: "고양이", 1: "dog"},
    }


def test_test_split_is_named_if_it_is_there(root: Path) -> None:
    (root / "images/test").mkdir()
    assert described(root, names=["a"])["test"] == "images/test"


@pytest.mark.parametrize("names", [["a", "b"], {0: "a", 1: "b"}, {1: "b", 0: "a"}])
def test_names_may_be_a_list_or_numbered(root: Path, names: Any) -> None:
    assert described(root, names=names)["names"] == {0: "a", 1: "b"}


@pytest.mark.parametrize("names", [None, [], {}, "cat", {1: "a", 2: "b"}, {"x": "a"}, 3])
def test_refused_if_names_are_no_list(root: Path, names: Any) -> None:
    (root / "data.yaml").write_text(yaml.safe_dump({"names": names}))
    assert "is not a list of class names" in refusal(root)


def test_keypoints_are_taken_for_poses_alone(root: Path) -> None:
    content: dict[str, Any] = {"names": ["a"], "kpt_shape": [2, 3], "flip_idx": [1, 0]}
    assert "kpt_shape" not in described(root, **content)
    assert described(root, POSE, **content).items() >= {"kpt_shape": [2, 3], "flip_idx": [1, 0]}.items()
    assert "flip_idx" not in described(root, POSE, names=["a"], kpt_shape=[2, 3])


@pytest.mark.parametrize("keypoints", [{}, {"kpt_shape": [0, 3]}, {"kpt_shape": [4, 5]}, {"kpt_shape": "17x3"}])
def test_refused_if_the_shape_of_keypoints_is_wrong(root: Path, keypoints: dict[str, Any]) -> None:
    (root / "data.yaml").write_text(yaml.safe_dump({"names": ["a"], **keypoints}))
    assert "kpt_shape" in refusal(root, POSE)


def test_refused_if_flipped_keypoints_are_no_permutation(root: Path) -> None:
    (root / "data.yaml").write_text(yaml.safe_dump({"names": ["a"], "kpt_shape": [2, 2], "flip_idx": [0, 0]}))
    assert "flip_idx" in refusal(root, POSE)


@pytest.mark.parametrize("text", ["- a\n- b\n", "names: [a", "!!python/object/apply:os.mkdir [evil]", "", "\x00"])
def test_refused_if_data_yaml_is_no_mapping(root: Path, text: str) -> None:
    (root / "data.yaml").write_text(text)
    assert "data.yaml" in refusal(root)
    assert not Path("evil").exists()


def test_refused_if_data_yaml_is_missing(root: Path) -> None:
    assert "data.yaml cannot be read" in refusal(root)


@pytest.mark.parametrize("split", ["train", "val"])
def test_refused_if_a_split_has_no_image(root: Path, split: str) -> None:
    (root / "images" / split / "a.JPG").rename(root / "images" / split / "a.txt")
    assert refusal(root) == f"the dataset has no image in images/{split}"


def test_classification_gets_the_folder_itself(classes: Path) -> None:
    assert describe_dataset(classes, "image_classification", classes.parent) == classes


def test_refused_if_val_has_a_class_that_train_has_not(classes: Path) -> None:
    (classes / "val/bird").mkdir()
    assert refusal(classes, "image_classification") == "val has classes that train has not: bird"


def test_refused_if_a_class_has_no_image_to_train_on(classes: Path) -> None:
    (classes / "train/dog/a.png").unlink()
    assert refusal(classes, "image_classification") == "the dataset has no image in train/dog"
