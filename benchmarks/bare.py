"""Ultralytics without the platform: `yolo train` with the arguments that the platform's own run was given."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from e2e.backend import REPOSITORY

TRAINER_BIN = REPOSITORY / "trainer-ultralytics/.venv/bin"
OURS = ("data", "model", "name", "project", "save_dir")  # of args.yaml: where things are, not what is done
FIRST_BATCH = "train_batch0.jpg"  # Ultralytics draws the first batch right after it was trained on
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Run:
    """Seconds of one training: the loop by Ultralytics' own clock (results.csv), and the whole process."""

    loop: float
    process: float


class Bare:
    """A folder to train in, with Ultralytics' settings of its own: every integration off but the one asked for."""

    def __init__(self, folder: Path, *, mlflow_uri: str | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.environment = {
            "PATH": f"{TRAINER_BIN}:{os.environ['PATH']}",
            "HOME": str(folder),
            "YOLO_CONFIG_DIR": str(folder / "config"),
            "YOLO_OFFLINE": "true",
            "MPLBACKEND": "Agg",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }
        if mlflow_uri:
            self.environment["MLFLOW_TRACKING_URI"] = mlflow_uri
        (folder / "config").mkdir()
        chosen = [f"mlflow={bool(mlflow_uri)}", "sync=False", "tensorboard=False"]
        self._run(["settings", *chosen], folder / "settings.log")

    def train(self, arguments: Path, data: Path, model: str, name: str) -> Run:
        """`arguments` is the args.yaml of the platform's run; `data` a data.yaml with an absolute path."""
        started = time.monotonic()
        self._run(self._command(arguments, data, model, name), self.folder / f"{name}.log")
        process = time.monotonic() - started
        return Run(loop=loop_seconds(self.folder / "runs" / name), process=process)

    def seconds_to_first_batch(self, arguments: Path, data: Path, model: str, name: str) -> float:
        """From the command to the end of the first batch; the rest of the training is not waited for."""
        with (self.folder / f"{name}.log").open("wb") as log:
            started = time.time()
            process = subprocess.Popen(
                [str(TRAINER_BIN / "yolo"), *self._command(arguments, data, model, name)],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            picture = self.folder / "runs" / name / FIRST_BATCH
            while not picture.exists():
                if process.poll() is not None:
                    raise SystemExit(f"yolo train ended before its first batch; its log: {log.name}")
                time.sleep(POLL_SECONDS)
            return picture.stat().st_mtime - started
        finally:
            process.kill()
            process.wait()

    def _command(self, arguments: Path, data: Path, model: str, name: str) -> list[str]:
        config = self.folder / f"{name}.yaml"
        lines = arguments.read_text().splitlines()
        config.write_text("\n".join(line for line in lines if line.partition(":")[0] not in OURS) + "\n")
        ours = {"data": data, "model": f"{model}.yaml", "project": self.folder / "runs", "name": name}
        return ["detect", "train", f"cfg={config}", *(f"{key}={value}" for key, value in ours.items())]

    def _run(self, command: list[str], log: Path) -> None:
        with log.open("wb") as output:
            done = subprocess.run(
                [str(TRAINER_BIN / "yolo"), *command],
                env=self.environment,
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise SystemExit(f"yolo {command[0]} failed: {log.read_text(errors='replace')[-3000:]}")


def loop_seconds(run: Path) -> float:
    """When the last epoch was over, by Ultralytics' own clock, which starts with the training loop."""
    rows = (run / "results.csv").read_text().splitlines()
    return float(rows[-1].split(",")[rows[0].split(",").index("time")])


def write_data_yaml(dataset: Path) -> Path:
    """The data.yaml of an extracted sample with its absolute path in it."""
    path = dataset / "absolute.yaml"
    path.write_text(f"path: {dataset}\n{(dataset / 'data.yaml').read_text()}")
    return path
