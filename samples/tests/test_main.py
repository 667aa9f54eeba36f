"""The command line: what it writes, what it prints, and what it refuses."""

import hashlib
import json
from pathlib import Path

import pytest
from digits.__main__ import main

SMALL = ["--images", "8", "--canvas", "64"]


def test_folder_zip_and_bucket_hold_the_same_if_all_are_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = ["--out", str(tmp_path / "out"), "--zip", str(tmp_path / "d.zip"), "--storage", str(tmp_path / "bucket")]
    assert main([*SMALL, *places, "--dataset-id", "tiny"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["images"] == {"train": 8, "val": 3, "test": 3}
    assert (said["dataset_id"], said["version"]) == ("tiny", 1)
    stored = (tmp_path / "bucket" / "datasets" / "tiny" / "1" / "data.zip").read_bytes()
    assert stored == (tmp_path / "d.zip").read_bytes()
    assert hashlib.sha256(stored).hexdigest() == said["archive_sha256"]
    held_out = (tmp_path / "bucket" / said["test_image_key"]).read_bytes()
    assert held_out == Path(said["test_image"]).read_bytes()


def test_held_out_image_is_in_neither_train_nor_val(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--out", str(tmp_path)]) == 0
    held_out = Path(json.loads(capsys.readouterr().out)["test_image"]).read_bytes()
    trained_on = [one.read_bytes() for split in ("train", "val") for one in (tmp_path / "images" / split).iterdir()]
    assert held_out not in trained_on


def test_every_problem_is_named_if_the_options_are_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    wrong = ["--task", "flying", "--images", "0", "--out", str(tmp_path), "--dataset-id", "../up"]
    assert main(wrong) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert all(word in said.err for word in ("'flying'", "--images 0", "not empty", "'../up'"))
    assert [one.name for one in tmp_path.iterdir()] == ["mine.txt"]


def test_refused_if_there_is_nowhere_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL) == 2
    assert "--out, --zip or --storage" in capsys.readouterr().err
