"""How an attempt learns, from timm's own parts: optimizer, schedule, loss, mixing and averaging of weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.data import Mixup
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from utils import TrainConfig

WARMUP_SHARE = 1 / 3  # of all epochs: a longer warm-up would never reach the learning rate that was asked for
SCHEDULES = {"linear": "poly"}  # ours to timm's


def make_optimizer(model: torch.nn.Module, config: TrainConfig, chosen: Mapping[str, Any]) -> Any:
    """With the learning rate that was asked for; layer decay lowers it towards the input."""
    return create_optimizer_v2(
        model,
        opt=chosen["optimizer"],
        lr=config.learning_rate,
        weight_decay=chosen["weight_decay"],
        momentum=chosen["momentum"],
        layer_decay=chosen["layer_decay"] if chosen["layer_decay"] < 1 else None,
    )


def make_scheduler(optimizer: Any, config: TrainConfig, chosen: Mapping[str, Any], updates_per_epoch: int) -> Any:
    """Asked for a learning rate before every update. It is told how many there were, so it has no state to lose."""
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=SCHEDULES.get(chosen["schedule"], chosen["schedule"]),
        num_epochs=config.epochs,
        min_lr=config.learning_rate * chosen["final_lr"],
        warmup_lr=config.learning_rate * 0.01,
        warmup_epochs=min(chosen["warmup_epochs"], config.epochs * WARMUP_SHARE),
        decay_epochs=config.epochs / 3,
        decay_rate=1.0 if chosen["schedule"] == "linear" else 0.1,
        step_on_epochs=False,
        updates_per_epoch=updates_per_epoch,
    )
    return scheduler


def make_mixup(chosen: Mapping[str, Any], classes: int) -> Any:
    """Blends pairs of a batch and their labels; None where neither MixUp nor CutMix is wanted."""
    if not (chosen["mixup"] or chosen["cutmix"]):
        return None
    return Mixup(
        mixup_alpha=chosen["mixup"],
        cutmix_alpha=chosen["cutmix"],
        prob=chosen["mix_chance"],
        label_smoothing=chosen["label_smoothing"],
        num_classes=classes,
    )


def make_loss(chosen: Mapping[str, Any], counts: Sequence[int], mixes: bool) -> torch.nn.Module:
    """Cross-entropy. Rare classes weigh more by `class_balance`; where labels are mixed, mixing smooths them too."""
    weights = torch.tensor(counts, dtype=torch.float32) ** -chosen["class_balance"]
    weights *= sum(counts) / (weights * torch.tensor(counts)).sum()  # an average image weighs 1
    smoothing = 0.0 if mixes else chosen["label_smoothing"]
    return torch.nn.CrossEntropyLoss(weights if chosen["class_balance"] else None, label_smoothing=smoothing)


def make_average(model: torch.nn.Module, chosen: Mapping[str, Any]) -> Any:
    """A moving average of the weights, made on the model's device; None where none is wanted."""
    return ModelEmaV3(model, decay=chosen["ema_decay"], use_warmup=True) if chosen["ema_decay"] else None


def number_type(chosen: Mapping[str, Any], device: torch.device) -> Any:
    """What a GPU may compute in beside float32; None on a CPU and where it is not wanted."""
    if device.type != "cuda" or chosen["amp"] == "off":
        return None
    if chosen["amp"] == "auto":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return {"bf16": torch.bfloat16, "fp16": torch.float16}[chosen["amp"]]
