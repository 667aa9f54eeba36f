"""Housekeeping: logs go to storage and what is old is collected. In a thread of its own, since it may wait."""

import logging
import threading
from datetime import UTC, datetime, timedelta

from app.context import Platform
from app.db import trouble
from app.errors import AppError
from app.services import collection, log_archive

PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 3.0, 300.0
FIRST_COLLECTION = timedelta(minutes=10)  # from the start: whoever starts it may still be looking around
END_SECONDS = 5.0
log = logging.getLogger(__name__)


class Keeper:
    """Several backends may run one each: what one has done, another finds done."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._failed: set[int] = set()  # attempts that are tried last, so that one bad log keeps no other back
        self._collect_at = datetime.now(UTC) + FIRST_COLLECTION

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns within seconds, also while the storage hangs: what is not done is done after the next start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(END_SECONDS)

    def keep(self, now: datetime) -> None:
        """One round. Raises what the storage or the database raises."""
        platform = self._platform
        for attempt in sorted(log_archive.waiting(platform.database), key=lambda attempt: attempt.id in self._failed):
            if self._stopping.is_set():
                return
            platform.ownership.require()
            self._failed.add(attempt.id)
            log_archive.store(platform.database, platform.storage, platform.settings, attempt)
            self._failed.discard(attempt.id)
        if platform.settings.collection_hours and now >= self._collect_at:
            self._collect_at = now + timedelta(hours=platform.settings.collection_hours)
            self._collect(now)

    def _collect(self, now: datetime) -> None:
        platform = self._platform
        place = collection.Place(platform.settings, platform.database, platform.storage, platform.ownership)
        report = collection.collect(place, now, dry_run=False)
        for item in report.items:
            log.info("collected %s %s (%d bytes): %s", item.kind, item.what, item.bytes, item.reason)
        for problem in report.problems:
            log.warning("not collected: %s", problem)

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        while not self._stopping.wait(pause):
            try:
                self.keep(datetime.now(UTC))
                pause = PAUSE_SECONDS
            except Exception as error:
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                if isinstance(error, AppError) or trouble(error):
                    log.warning("housekeeping tries again in %d s: %s", pause, error)
                else:
                    log.exception("housekeeping tries again in %d s", pause)
