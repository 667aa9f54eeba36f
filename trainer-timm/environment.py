"""What timm and the hub find in their surroundings, set before they are imported."""

import os
from pathlib import Path


def prepare_timm(cache_dir: Path) -> None:
    """Whatever they write goes under `cache_dir`, and nobody is told what we do. Call before importing timm."""
    os.environ |= {
        "HF_HOME": str(cache_dir / "huggingface"),
        "TORCH_HOME": str(cache_dir / "torch"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "DO_NOT_TRACK": "1",
    }


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
