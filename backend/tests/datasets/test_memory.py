"""The memory of an import does not grow with what is in it, but for names."""

import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app.datasets.run import UPLOAD
from app.datasets.work import Outcome
from app.settings import REPOSITORY
from tests.datasets.imports import prepare
from tests.datasets.versioned import picture

MIB = 2**20
IMAGES, OBJECTS = 10_000, 20


def write_upload(path: Path) -> None:
    draw = random.Random(0)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.yaml", f"names: {[f'class {number}' for number in range(80)]}")
        for number in range(IMAGES):
            lines = (
                f"{draw.randrange(80)} 0.5 0.5 {draw.uniform(0.1, 0.9):.6f} {draw.uniform(0.1, 0.9):.6f}\n"
                for _ in range(OBJECTS)
            )
            archive.writestr(f"images/{number}.png", picture(number, ".png", (10, 10)))
            archive.writestr(f"labels/{number}.txt", "".join(lines))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_thousand_objects_take_little_memory(tmp_path: Path) -> None:
    prepare(tmp_path / "one", None, max_bytes=1000 * MIB)
    write_upload(tmp_path / "one" / UPLOAD)
    command = [sys.executable, "-m", "app.datasets", str(tmp_path / "one")]
    process = subprocess.Popen(command, cwd=REPOSITORY / "backend")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    outcome = Outcome.model_validate_json((tmp_path / "one" / "outcome.json").read_bytes())
    assert outcome.packed is not None
    assert sum(outcome.packed.counts["instances"].values()) == IMAGES * OBJECTS
    assert usage.ru_maxrss * 1024 < 250 * MIB
