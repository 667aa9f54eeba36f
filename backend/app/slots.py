"""What this machine can run at once: the slots `gpu:0`, `gpu:1`, … and `cpu:0`.

The word after the colon of a GPU slot is what CUDA_VISIBLE_DEVICES calls that GPU.
"""

import os
from collections.abc import Sequence
from functools import cache

from app.launchers.gpus import visible_gpus

CPU, GPU = "cpu", "gpu"


def slots_of_machine(setting: str) -> tuple[str, ...]:
    """The slots that SLOTS asks for; see `parse`. The machine is looked at once."""
    return parse(setting, _gpus_here())


def parse(setting: str, gpus: Sequence[str]) -> tuple[str, ...]:
    """`auto` is one slot per GPU and one for the CPU; else `gpu:N`, `cpu:N` or both with a comma. Raises ValueError."""
    if setting.strip() == "auto":
        return (*(f"{GPU}:{name}" for name in gpus), f"{CPU}:0")
    found: list[str] = []
    for part in setting.split(","):
        kind, _, number = part.strip().partition(":")
        if kind not in (CPU, GPU) or not number.isdecimal():
            raise ValueError(f"SLOTS={setting!r}: {part.strip()!r} is not auto, cpu:N or gpu:N")
        names = _named(gpus, int(number), setting) if kind == GPU else [str(index) for index in range(int(number))]
        found += [f"{kind}:{name}" for name in names]
    if not found or len(set(found)) != len(found):
        raise ValueError(f"SLOTS={setting!r} gives no slot or one twice; use auto, cpu:N or gpu:N")
    return tuple(found)


def kind(slot: str) -> str:
    return slot.partition(":")[0]


def count(slots: Sequence[str], wanted: str) -> int:
    return sum(kind(slot) == wanted for slot in slots)


def environment(slots: Sequence[str]) -> dict[str, str]:
    """What a trainer on these slots is told. DEVICE counts within CUDA_VISIBLE_DEVICES, from 0."""
    gpus = [slot.partition(":")[2] for slot in slots if kind(slot) == GPU]
    if not gpus:
        return {"DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    devices = ",".join(str(index) for index in range(len(gpus)))
    return {"DEVICE": devices, "CUDA_VISIBLE_DEVICES": ",".join(gpus), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def _named(gpus: Sequence[str], number: int, setting: str) -> list[str]:
    """The first of the GPUs that were found; where none can be found, their usual numbers."""
    if not gpus:
        return [str(index) for index in range(number)]
    if number > len(gpus):
        raise ValueError(f"SLOTS={setting!r}: this machine has {len(gpus)} visible GPUs")
    return list(gpus[:number])


@cache
def _gpus_here() -> tuple[str, ...]:
    return tuple(visible_gpus(os.environ))
