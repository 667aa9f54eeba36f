"""The last resort: a process that cannot even end in order is gone before its grace period is over."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from trainings import TRAINER, environment_for

PROGRAM = """
import threading, utils
from endings import GracePeriod

reporter = utils.Reporter(utils.load_config())
grace = GracePeriod(1, reporter, lambda: threading.Event().wait())
{claim}
reporter.request_stop()
threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("claim", "code"),
    [("", 3), ("grace.claim()", 3), ("grace.claim(); grace.exit_code = 1", 1), ("reporter._superseded = True", 4)],
)
def test_process_goes_if_the_ending_hangs(tmp_path: Path, claim: str, code: int) -> None:
    (tmp_path / "bucket").mkdir()
    environment = environment_for(tmp_path) | {"PYTHONPATH": str(TRAINER)}
    started = time.monotonic()
    program = [sys.executable, "-c", PROGRAM.format(claim=claim)]
    ended = subprocess.run(program, env=environment, cwd=tmp_path, timeout=60, capture_output=True, text=True)
    assert ended.returncode == code, ended.stderr
    assert time.monotonic() - started >= 0.75
