"""How an attempt ends within GRACE_PERIOD, also where its main thread cannot leave what it is in."""

import os
import threading
import time
from collections.abc import Callable

from utils import Reporter

COMPLETED, FAILED, BAD_CONFIGURATION, STOPPED, SUPERSEDED = range(5)


class GracePeriod:
    """Watches for a request to stop. The main thread claims the ending when it left the loop at a batch boundary.

    Where that takes too long (a batch of minutes, a hanging download, an import) the watcher ends the attempt instead,
    and when even the ending takes too long, the process goes without it. `end` reports and returns the exit code.
    """

    def __init__(self, seconds: float, reporter: Reporter, end: Callable[[], int]) -> None:
        self.exit_code: int | None = None  # known once the outcome is reported
        self._seconds, self._reporter, self._end = seconds, reporter, end
        self._claimed = threading.Lock()
        threading.Thread(target=self._watch, name="grace period", daemon=True).start()

    def claim(self) -> None:
        """Called once, by the main thread when it begins to end. Does not return where the watcher was first."""
        if not self._claimed.acquire(blocking=False):
            threading.Event().wait()

    def _watch(self) -> None:
        while not self._reporter.should_stop:
            time.sleep(0.2)
        asked = time.monotonic()
        time.sleep(self._seconds * 0.5)
        if self._claimed.acquire(blocking=False):
            threading.Thread(target=lambda: os._exit(self._end()), name="ending", daemon=True).start()
        time.sleep(max(0.0, asked + self._seconds * 0.9 - time.monotonic()))
        os._exit(self.exit_code or (SUPERSEDED if self._reporter.superseded else STOPPED))
