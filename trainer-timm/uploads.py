"""Checkpoints on their way to storage, off the training thread: training waits neither for a hash nor for a network.

What waits leaves in rounds of at most one `best` and one `last`. So neither keeps the other from a slow storage, and a
`last` is not there before every `best` up to its epoch. Only a stop turns that round, and a resume mends what it cost.
"""

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils import Reporter, TrainConfig, upload_checkpoint


@dataclass(frozen=True, eq=False)  # itself alone: its metrics have no hash
class Saved:
    """A checkpoint as it was after `epoch` completed epochs, in a file that nobody else writes to."""

    path: Path
    epoch: int
    metrics: Mapping[str, float]


class Uploads:
    """Uploads the newest `best` and `last` in the background; one that waits gives way to a newer one of its kind."""

    def __init__(
        self, store: Any, config: TrainConfig, reporter: Reporter, on_stored: Callable[[str, str, int], None]
    ) -> None:
        self._store, self._config, self._reporter, self._on_stored = store, config, reporter, on_stored
        self._folder = config.work_dir / "uploads"
        self._waiting: dict[str, Saved] = {}
        self._leaving: dict[str, Saved] = {}
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self.epochs = {"best": 0, "last": 0}  # newest handed over, by kind
        threading.Thread(target=self._work, name="uploads", daemon=True).start()

    def submit(self, kinds: list[str], source: Path, epoch: int, metrics: Mapping[str, float]) -> None:
        """Upload a copy of `source`, whose owner will write to it again, as `kinds`. Raises an earlier failure."""
        self.raise_failure()
        self._folder.mkdir(exist_ok=True)
        saved = Saved(self._folder / f"{epoch}-{'-'.join(kinds)}{source.suffix}", epoch, dict(metrics))
        shutil.copyfile(source, saved.path)
        with self._changed:
            replaced = {self._waiting.get(kind) for kind in kinds}
            for kind in kinds:
                self._waiting[kind], self.epochs[kind] = saved, epoch
            self._discard(*replaced)
            self._changed.notify_all()

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to upload; whether that came to pass. Raises what went wrong."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while (self._waiting or self._leaving) and not self._failure:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._changed.wait(left)
        self.raise_failure()
        return True

    def raise_failure(self) -> None:
        """Raises Superseded or TrainerFailure, when an upload ended so."""
        if self._failure:
            raise self._failure

    def _work(self) -> None:
        while not self._failure:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                self._leaving, self._waiting = self._waiting, {}
            try:
                while self._leaving:
                    self._upload_next()
            except Exception as error:
                self._failure = error
            with self._changed:
                self._changed.notify_all()

    def _upload_next(self) -> None:
        kind, saved = self._choose()
        self._upload(kind, saved)
        with self._changed:
            del self._leaving[kind]
            self._discard(saved)
            self._changed.notify_all()

    def _choose(self) -> tuple[str, Saved]:
        """`best` first; once asked to stop the newest `last`, for there may be time for one alone."""
        with self._changed:
            stopping = self._reporter.should_stop
            if stopping and "last" in self._waiting:
                older, self._leaving["last"] = self._leaving.get("last"), self._waiting.pop("last")
                self._discard(older)
            first = "last" if stopping else "best"
            kind = first if first in self._leaving else next(iter(self._leaving))
            return kind, self._leaving[kind]

    def _upload(self, kind: str, saved: Saved) -> None:
        key = upload_checkpoint(self._store, self._config, self._reporter, kind, saved.path, saved.epoch, saved.metrics)
        self._on_stored(kind, key, saved.epoch)

    def _discard(self, *done: Saved | None) -> None:
        """Remove the files that nothing waits for any more."""
        for saved in done:
            if saved and saved not in (*self._leaving.values(), *self._waiting.values()):
                saved.path.unlink(missing_ok=True)
