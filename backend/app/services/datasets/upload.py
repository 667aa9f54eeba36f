"""An upload on its way to the disk: in a folder of its own that goes when the work is done, or a day after a crash."""

import errno
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from anyio import to_thread

from app.errors import StorageUnavailable, TooLarge

PREFIX = "upload-"
ABANDONED_AFTER_SECONDS = 24 * 3600
WRITE_SIZE = 2**20


@contextmanager
def upload_folder(data_dir: Path) -> Iterator[Path]:
    """A private folder below `data_dir`, removed at the end; removes those that a crash left behind, too."""
    uploads = data_dir / "uploads"
    uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in uploads.glob(f"{PREFIX}*"):
        if time.time() - left.stat().st_mtime > ABANDONED_AFTER_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=uploads))
    try:
        yield folder
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise StorageUnavailable(f"the disk of {data_dir} is full; an upload needs twice its size") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_length(announced: str | None, max_bytes: int) -> None:
    """Refuse by its Content-Length what is too large, before a byte of it is taken."""
    if announced is not None and announced.isdecimal() and int(announced) > max_bytes:
        raise TooLarge(_too_large(max_bytes))


async def receive(chunks: AsyncIterator[bytes], path: Path, max_bytes: int) -> None:
    """Write a request's body to `path`. `TooLarge` as soon as it has more than `max_bytes`."""
    buffer, size = bytearray(), 0
    with path.open("wb") as file:
        async for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise TooLarge(_too_large(max_bytes))
            buffer += chunk
            if len(buffer) >= WRITE_SIZE:
                await to_thread.run_sync(file.write, bytes(buffer))
                buffer.clear()
        await to_thread.run_sync(file.write, bytes(buffer))


def _too_large(max_bytes: int) -> str:
    return f"the upload has more than {max_bytes} bytes (MAX_DATASET_BYTES)"
