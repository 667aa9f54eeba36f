"""What Ultralytics finds in its surroundings, set before it is imported.

It reads these when it is imported: nothing is installed, no service is asked whether we are online, nobody is told
what we do, and its own MLflow, ClearML, Comet, … integrations are off, whatever the user's own settings say.
"""

import json
import os
import sys
from pathlib import Path

SETTINGS_VERSION = "0.0.8"
INTEGRATIONS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")


def prepare_ultralytics(work_dir: Path) -> None:
    """Give Ultralytics a private configuration under `work_dir` (an existing folder). Call before importing it."""
    if "ultralytics" in sys.modules:
        if os.environ.get("YOLO_AUTOINSTALL") == "false":
            return  # prepared before
        raise RuntimeError("ultralytics is already imported; call prepare_ultralytics before")
    home = (work_dir / "ultralytics").resolve()
    (home / "Ultralytics").mkdir(parents=True, exist_ok=True)
    (home / "Ultralytics" / "settings.json").write_text(json.dumps(_settings(home), indent=2), encoding="utf-8")
    os.environ |= {
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(home),
        "YOLO_OFFLINE": "true",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }


def _settings(home: Path) -> dict[str, object]:
    """Every key of SettingsManager in ultralytics/utils/__init__.py, so that it has nothing to add or warn about."""
    return {
        "settings_version": SETTINGS_VERSION,
        "datasets_dir": str(home / "datasets"),
        "weights_dir": str(home / "weights"),
        "runs_dir": str(home / "runs"),
        "uuid": "",
        "sync": False,
        "api_key": "",
        "openai_api_key": "",
        **dict.fromkeys(INTEGRATIONS, False),
        "vscode_msg": False,
        "openvino_msg": False,
    }
