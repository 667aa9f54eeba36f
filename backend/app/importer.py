"""Runs imports, the first to be ready first, one at a time, in a thread of its own.

It keeps nothing in memory: an import whose backend was killed is found by its row and its folder, whose lock is free.
"""

import logging
import threading

from app.context import Platform
from app.db import trouble
from app.errors import AppError
from app.services.datasets import running

PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
END_SECONDS = 15.0  # a process that is asked to end has ten
log = logging.getLogger(__name__)


class Importer:
    """Several backends may run one each; an import runs where its files are."""

    def __init__(self, platform: Platform, command: tuple[str, ...] = running.COMMAND) -> None:
        self._tools = running.Tools(
            platform.settings, platform.database, platform.storage, platform.launcher, platform.ownership, command
        )
        self._ending, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="importer", daemon=True)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """An import that runs is put back, and goes on after the next start."""
        self._ending.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(END_SECONDS)

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    def run_next(self) -> bool:
        """Run one import to its end; False if none is ready."""
        return running.run_next(self._tools, self._ending.wait)

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        while not self._ending.is_set():
            self._woken.clear()
            try:
                worked = self.run_next()
                pause = PAUSE_SECONDS
            except Exception as error:
                worked, pause = False, min(2 * pause, LONGEST_PAUSE_SECONDS)
                if isinstance(error, AppError) or trouble(error):
                    log.warning("imports go on in %d s: %s", pause, error)
                else:
                    log.exception("imports go on in %d s", pause)
            if not worked:
                self._woken.wait(pause)
