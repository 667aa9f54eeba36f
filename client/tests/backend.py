"""A real backend in a process of its own, with a trainer that follows a script."""

import json
import os
import signal
import subprocess
from pathlib import Path

from vision_client.api import Client
from vision_client.errors import VisionError

from tests.waiting import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = {
    "TRAINERS_PATH": str(REPOSITORY / "backend" / "tests" / "trainers"),
    "SLOTS": "auto",
    "TICK_SECONDS": "0.1",
    "STOP_FLAG_SECONDS": "0.5",
    "GRACE_PERIOD_SECONDS": "2",
    "RETRY_BACKOFF_SECONDS": "0.1",
    "MLFLOW_TRACKING_URI": "",
}


class Backend:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.access_file = folder / "var" / "access.json"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the `vision` command needs to find it, and nothing of the person's own."""
        return {"VISION_ACCESS_FILE": str(self.access_file), "HOME": str(self.folder), "PATH": os.environ["PATH"]}

    def client(self) -> Client:
        access = json.loads(self.access_file.read_text())
        return Client(access["url"], access["token"])

    def start(self) -> None:
        """Returns once it is ready; a second start listens where the first did."""
        settings = {**SETTINGS, "DATA_DIR": str(self.folder / "var"), "PORT": str(self._port), "HOST": "127.0.0.1"}
        with (self.folder / "backend.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(REPOSITORY / "backend/.venv/bin/python"), "-m", "app", "serve"],
                cwd=REPOSITORY / "backend",
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._is_ready, "the backend to be ready", 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    def clean_up(self) -> None:
        """Ends what still runs, the trainers through the platform itself."""
        if self._process is None or not self._is_ready():
            return self.stop()
        with self.client() as client:
            for job in client.list_jobs(limit=200).items:
                if not job.ended:
                    client.cancel_job(job.id)
            wait_for(lambda: all(job.ended for job in client.list_jobs(limit=200).items), "the trainers to end")
        self.stop()

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            self._process = None
            raise AssertionError(f"the backend ended: {(self.folder / 'backend.log').read_text()}")
        try:
            with self.client() as client:
                self._port = int(client.url.rsplit(":", 1)[1])
                return client.is_ready()
        except (VisionError, OSError, ValueError):
            return False
