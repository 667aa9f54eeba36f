"""An upload opened and read to its end: here, or in a process of its own where memory is measured.

python -m tests.hostile.opening UPLOAD FOLDER MAX_BYTES prints an Opened as JSON.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from app.datasets.archives import open_upload
from app.errors import AppError
from tests.hostile.guarding import guarded

MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Opened:
    """What came of it; `grown_bytes` is how much memory that took at its peak."""

    files: int = 0
    code: str | None = None
    message: str = ""
    grown_bytes: int = 0


def read_all(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, bytes]:
    """Every file of the upload at `path`; what has to be unpacked goes beside it."""
    with open_upload(path, path.parent, max_bytes) as archive:
        return {name: b"".join(archive.chunks(name)) for name in archive.files}


def open_in_child(path: Path, max_bytes: int = MAX_BYTES) -> Opened:
    command = [sys.executable, "-m", "tests.hostile.opening", str(path), str(path.parent), str(max_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return Opened(**json.loads(done.stdout))


def _open(path: Path, folder: Path, max_bytes: int) -> Opened:
    before = _peak_bytes()
    files, code, message = 0, None, ""
    try:
        with guarded(folder), open_upload(path, folder, max_bytes) as archive:
            files = len(archive.files)
            for name in archive.files:
                for _ in archive.chunks(name):
                    pass
    except AppError as error:
        code, message = error.code, error.message
    return Opened(files, code, message, _peak_bytes() - before)


def _peak_bytes() -> int:
    """Of this process alone: ru_maxrss would have the parent's in it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("there is no VmHWM in /proc/self/status")


if __name__ == "__main__":
    print(json.dumps(asdict(_open(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))))
