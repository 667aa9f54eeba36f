"""What Python reports of itself while a hostile input is handled: files written elsewhere, connections, commands.

Audit hooks cannot be taken away, so there is one, which listens only while something is guarded.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# which of the arguments are changed
CHANGES = {
    "os.mkdir": slice(1),
    "os.rename": slice(2),
    "os.remove": slice(1),
    "os.rmdir": slice(1),
    "os.truncate": slice(1),
    "os.link": slice(1, 2),
    "os.symlink": slice(1, 2),
    "shutil.rmtree": slice(1),
}
CONNECTIONS = {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
COMMANDS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"}

_allowed: Path | None = None
_seen: list[str] = []
_installed: list[bool] = []


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Fails at the end if anything was written outside `folder`, or a connection or a foreign program was started."""
    global _allowed
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    _seen.clear()
    _allowed = folder.resolve()
    try:
        yield
    finally:
        _allowed = None
    assert not _seen, f"outside {folder}: {_seen}"


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _allowed is None:
        return
    if (
        event in CONNECTIONS
        or (event in COMMANDS and arguments[0] != sys.executable)
        or (event == "open" and arguments[2] & WRITING and _is_outside(arguments[0]))
        or (event in CHANGES and any(_is_outside(path) for path in arguments[CHANGES[event]]))
    ):
        _seen.append(f"{event} {arguments!r:.300}")


def _is_outside(path: Any) -> bool:
    """If this is a path, and not below the folder; Python's own caches of compiled modules are left aside."""
    if not isinstance(path, str | bytes | os.PathLike) or _allowed is None:
        return False
    text = os.path.realpath(os.fsdecode(path))
    return not (text.startswith(f"{_allowed}{os.sep}") or text in (str(_allowed), os.devnull) or "__pycache__" in text)
