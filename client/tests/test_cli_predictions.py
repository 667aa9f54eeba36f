import hashlib
from pathlib import Path

from PIL import Image

from tests.vision import Vision, make_image


def test_image_is_predicted_and_drawn(vision: Vision, trained: int, tmp_path: Path) -> None:
    image = make_image(tmp_path / "new.png")
    result = vision("predict", image, "--job", trained, "--save", tmp_path / "seen.png", "--confidence", "0.4")
    assert "1 seen in" in result.stdout and "zero" in result.stdout and "0.400" in result.stdout
    with Image.open(tmp_path / "seen.png") as picture:
        assert picture.size == (640, 640) and len(picture.getcolors(1 << 20) or []) > 2
    prediction = vision.json("predict", image, "--job", trained)
    assert prediction["job_id"] == trained and prediction["checkpoint"]["epoch"] == 2
    assert prediction["result"]["predictions"][0]["box"] == [1, 2, 3, 4]


def test_prediction_is_refused_if_the_file_is_no_image(vision: Vision, trained: int, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    result = vision("predict", tmp_path / "text.png", "--job", trained, "--save", tmp_path / "seen.png", code=4)
    assert "not an image" in result.stderr and not (tmp_path / "seen.png").exists()


def test_prediction_is_refused_if_the_image_does_not_exist(vision: Vision, tmp_path: Path) -> None:
    assert "does not exist" in vision("predict", tmp_path / "gone.png", "--job", 1, code=2).stderr


def test_checkpoint_is_downloaded_whole(vision: Vision, trained: int, tmp_path: Path) -> None:
    items = vision.json("checkpoints", trained)["items"]
    best = next(item for item in items if item["kind"] == "best" and item["current"])
    target = tmp_path / "best.bin"
    written = vision.json("checkpoints", trained, "--download", "best", "-o", target)
    assert written["file"] == str(target) and written["checkpoint"]["sha256"] == best["sha256"]
    assert hashlib.sha256(target.read_bytes()).hexdigest() == best["sha256"]
    assert best["sha256"][:12] in vision("checkpoints", trained).stdout


def test_checkpoint_is_refused_if_there_is_none_of_that_kind(vision: Vision, trained: int) -> None:
    assert "it has: best, last" in vision("checkpoints", trained, "--download", "worst", code=4).stderr
