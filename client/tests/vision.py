"""The `vision` command as tests call it."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from typer.testing import CliRunner, Result
from vision_client.cli import app

from tests.backend import Backend

EXECUTABLE = Path(sys.executable).with_name("vision")
TRAIN = ("train", "--dataset", "shapes", "--model", "scripted-n")
COMPLETE = (*TRAIN, "--set", "behaviour=complete")


class Vision:
    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._runner = CliRunner(env={**backend.environment, "VISION_URL": None, "VISION_TOKEN": None})

    def __call__(self, *words: str | int | Path, code: int = 0, **options: Any) -> Result:
        """Runs it in this process and checks the exit code."""
        result = self._runner.invoke(app, [str(word) for word in words], **options)
        assert result.exit_code == code, f"{result.stdout}\n{result.stderr}\n{result.exception!r}"
        return result

    def json(self, *words: str | int | Path, code: int = 0) -> Any:
        """The one document on standard output."""
        return json.loads(self(*words, "--json", code=code).stdout)

    def lines(self, *words: str | int | Path, code: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self(*words, "--json", code=code).stdout.splitlines()]

    def train(self, behaviour: str = "complete", *words: str) -> int:
        """Submits a job and returns its number."""
        job = self.json(*TRAIN, "--set", f"behaviour={behaviour}", *words)
        return int(job["id"])

    def start(self, *words: str | int | Path, **options: Any) -> subprocess.Popen[str]:
        """The installed command in a process of its own, for signals and terminals."""
        command = [str(EXECUTABLE), *map(str, words)]
        return subprocess.Popen(command, env=self.backend.environment, text=True, **options)

    def on_terminal(self, *words: str | int | Path, code: int = 0) -> str:
        """Everything that a person at a terminal sees."""
        ours, theirs = pty.openpty()
        process = self.start(*words, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = b""
        with suppress(OSError), open(ours, "rb", buffering=0) as terminal:  # OSError: how Linux says that it was closed
            while chunk := terminal.read(4096):
                shown += chunk
        assert process.wait(30) == code, shown.decode()
        return shown.decode()


def make_dataset(folder: Path, *, train: int = 3, val: int = 2) -> Path:
    """A detection dataset in canonical layout: white squares on black."""
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            make_image(folder / "images" / split / f"{number}.png", shade=len(split) * 20 + number)
            (folder / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (folder / "data.yaml").write_text("names: [square]\ntrain: images/train\nval: images/val\n")
    return folder


def make_image(path: Path, shade: int = 0) -> Path:
    picture = Image.new("RGB", (32, 32), (shade, shade, shade))
    ImageDraw.Draw(picture).rectangle((8, 8, 24, 24), fill="white")
    picture.save(path)
    return path
