"""python doomed.py EPOCH WEIGHTS: stores a checkpoint as `last` and as `best`, unless it is killed before.

DOOM=bytes:N has the kernel kill it at byte N of any file that it writes; DOOM=calls:N kills it before its N-th call of
a C function while it stores, so between any two things that it does. Without DOOM, somebody else may kill it.
"""

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import utils


def main() -> None:
    epoch, path = int(sys.argv[1]), Path(sys.argv[2])
    config, store = utils.load_config(), utils.get_storage_client()
    reporter = utils.Reporter(config)
    kind, _, number = os.environ.get("DOOM", "").partition(":")
    if kind == "bytes":
        die_at_byte(int(number))
    if kind == "calls":
        sys.setprofile(Countdown(int(number)))
    for name in ("last", "best"):
        utils.upload_checkpoint(store, config, reporter, name, path, epoch, {"mAP50": epoch / 1000})
    sys.setprofile(None)


def die_at_byte(number: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
    resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))


class Countdown:
    def __init__(self, left: int) -> None:
        self._left = left

    def __call__(self, _frame: Any, event: str, _argument: Any) -> None:
        self._left -= event == "c_call"
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
