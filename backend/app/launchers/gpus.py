"""Which GPUs this machine has, by the numbers or names that CUDA_VISIBLE_DEVICES takes."""

import logging
import subprocess
from collections.abc import Mapping

log = logging.getLogger(__name__)

QUERY = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
QUERY_SECONDS = 20


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """What CUDA_VISIBLE_DEVICES names where it is set, else every GPU that nvidia-smi lists; none without a driver."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return _until_invalid(named.split(","))
    try:
        answer = subprocess.run(QUERY, capture_output=True, text=True, timeout=QUERY_SECONDS, check=True)
    except FileNotFoundError:
        return []
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("nvidia-smi failed, so no GPU is offered; set SLOTS=gpu:N to insist: %s", error)
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip().isdecimal()]


def _until_invalid(names: list[str]) -> list[str]:
    """CUDA ignores everything from the first invalid name on; -1 and an empty word are the usual ones."""
    found: list[str] = []
    for name in (name.strip() for name in names):
        if not name or name.startswith("-"):
            break
        found.append(name)
    return found
