"""A trainer's output in rotated files. Standard library alone.

Files are named by the logical offset of their first byte, so that a byte range means the same before and after the
oldest file went.
"""

import os
from pathlib import Path

SEGMENT_BYTES, TOTAL_BYTES = 4 * 2**20, 64 * 2**20


class RotatedLog:
    """Append only; the oldest files go when the total exceeds the limit.

    A full disk loses output, never the trainer: what was lost is said as soon as there is space again.
    """

    def __init__(self, folder: Path, segment_bytes: int, total_bytes: int) -> None:
        self._folder, self._segment_bytes, self._total_bytes = folder, segment_bytes, total_bytes
        self._start = self._end = self._lost = 0
        folder.mkdir(mode=0o700, exist_ok=True)
        self._open()

    def write(self, data: bytes) -> None:
        if self._lost and self._append(f"\n[{self._lost} bytes of output were lost: the disk was full]\n".encode()):
            self._lost = 0
        self._lost += len(data) - self._append(data)

    def close(self) -> None:
        os.close(self._file)

    def _append(self, data: bytes) -> int:
        """How many bytes were written."""
        before = self._end
        try:
            if before > self._start and before - self._start + len(data) > self._segment_bytes:
                self._rotate()
            while self._end - before < len(data):
                self._end += os.write(self._file, data[self._end - before :])
        except OSError:
            pass  # a full disk: the caller counts what is missing
        return self._end - before

    def _rotate(self) -> None:
        os.close(self._file)
        self._start = self._end
        self._open()
        segments = sorted(self._folder.glob("*.log"))
        while len(segments) > 1 and self._end - int(segments[0].stem) > self._total_bytes:
            segments.pop(0).unlink(missing_ok=True)

    def _open(self) -> None:
        path = self._folder / f"{self._start:016d}.log"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
