"""The layers of pyproject.toml hold: api asks services, services know models, and two doors lead outside."""

import subprocess
import sys
from pathlib import Path

BACKEND = Path(__file__).parents[1]


def test_imports_keep_the_layers() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=BACKEND, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
