"""Run one short command to its end: `python -m app.launchers.once --parent PID --folder F -- COMMAND…`.

SIGTERM, or the end of the parent, ends the command and everything that it started. Standard library alone.
"""

import argparse
import os
import signal
import sys

from app.launchers import processes

NOT_STARTED, STOPPED = 127, 124


def main(arguments: list[str]) -> int:
    """The command's exit code, 128 plus the signal that ended it, or one of ours."""
    options = _parse(arguments)
    processes.die_with(options.parent, signal.SIGTERM)  # which ends the command, too, and what left its session
    processes.adopt_orphans()
    signals = processes.signals_as_bytes(signal.SIGCHLD, signal.SIGTERM)
    try:
        child = processes.start(options.command, options.folder, output=None, process_group=None)
    except OSError as error:
        print(f"cannot start {' '.join(options.command)!r} in {options.folder!r}: {error.strerror}", file=sys.stderr)
        return NOT_STARTED
    code: int | None = None
    while code is None:
        code = STOPPED if signal.SIGTERM in os.read(signals, 512) else child.poll()
    child.returncode = code  # ours is the wait from here on
    processes.end_descendants()
    return code if code >= 0 else 128 - code


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="once")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
