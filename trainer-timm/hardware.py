"""What an attempt computes on."""

import os
import platform
import re
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from utils import TrainConfig, TrainerFailure


def choose_device(name: str | None) -> torch.device:
    """DEVICE as torch's; without it a GPU if there is one. Raises TrainerFailure BAD_CONFIGURATION."""
    if not name:
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if name == "mps" or name == "cpu":
        available = name == "cpu" or torch.backends.mps.is_available()
    else:
        number = int(name.rpartition(":")[2])
        name, available = f"cuda:{number}", torch.cuda.is_available() and number < torch.cuda.device_count()
    if not available:
        message = f"DEVICE={name!r}: torch sees {torch.cuda.device_count()} GPUs here"
        raise TrainerFailure("BAD_CONFIGURATION", message, "Set DEVICE=cpu, or check the driver and the GPU's number.")
    return torch.device(name)


def loading_processes(config: TrainConfig, device: torch.device) -> int:
    """WORKERS; without it as many as a GPU can be fed by, and none beside a CPU that computes anyway."""
    if config.workers is not None:
        return config.workers
    return 0 if device.type == "cpu" else min(8, os.cpu_count() or 1)


def versions() -> dict[str, str]:
    own = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return {**own, "torchvision": str(torchvision.__version__), "timm": str(timm.__version__)}


def hardware(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {"device": str(device), "name": name, "cpus": os.cpu_count() or 0, "threads": torch.get_num_threads()}


def _cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", path.read_text()) if path.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()
