"""Images inspected in a process of their own, whose memory is measured.

python -m tests.hostile.inspecting FILE… prints a Looked for each, as a list in JSON; of a zip it prints for all within.
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from app.datasets.archives import open_upload
from app.datasets.draft import Draft
from app.datasets.findings import Finding
from app.datasets.images import encode_upright, inspect
from app.datasets.inspecting import inspect_all
from tests.datasets.pictures import encoded


@dataclass(frozen=True)
class Looked:
    """`codes` of what was found; `taken` if it is an image all the same, written anew if need be."""

    taken: bool
    codes: list[str]
    message: str
    grown_bytes: int
    seconds: float


def inspect_in_child(folder: Path, images: dict[str, bytes]) -> dict[str, Looked]:
    for name, data in images.items():
        (folder / name).write_bytes(data)
    command = [sys.executable, "-m", "tests.hostile.inspecting", *(str(folder / name) for name in images)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return {name: Looked(**line) for name, line in zip(images, json.loads(done.stdout), strict=True)}


def _look(path: Path) -> Looked:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, started = _status("VmRSS"), time.monotonic()
    taken, findings = _look_at_all(path) if path.suffix == ".zip" else _look_at_one(path)
    grown = _status("VmHWM") - before
    message = findings[0].message if findings else ""
    return Looked(taken, [finding.code for finding in findings], message, grown, time.monotonic() - started)


def _look_at_all(path: Path) -> tuple[bool, list[Finding]]:
    """As an import does it, in threads."""
    draft = Draft(path.with_suffix(".sqlite"))
    with open_upload(path, path.parent, 2**32) as archive:
        taken = inspect_all(archive, draft, lambda *_: None)
        draft.close()
        return taken == len(archive.files), []


def _look_at_one(path: Path) -> tuple[bool, list[Finding]]:
    data = path.read_bytes()
    found = inspect(path.name, data)
    if isinstance(found, Finding):
        return False, [found]
    if found.rewrite:
        encode_upright(data, found.rewrite)
    return True, list(found.findings)


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"there is no {key} in /proc/self/status")


if __name__ == "__main__":
    inspect("warm.png", encoded(kind="PNG"))
    inspect("warm.jpg", encoded())
    print(json.dumps([asdict(_look(Path(name))) for name in sys.argv[1:]]))
