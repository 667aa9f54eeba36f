"""A model that learns: one epoch at a time, and its whole state in one dict."""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from building import head_names
from catalogue import with_defaults
from recipe import make_average, make_loss, make_mixup, make_optimizer, make_scheduler, number_type
from timm.utils import dispatch_clip_grad
from utils import TrainConfig, TrainerFailure

Tick = Callable[[int, int], None]  # after each batch: its number and of how many; may raise to leave


class Learner:
    """The model and everything that changes with it."""

    def __init__(self, model: torch.nn.Module, config: TrainConfig, counts: list[int], device: torch.device) -> None:
        """`counts` are the training images of each class."""
        self.chosen, self.config, self.device = with_defaults(config.hyperparameters), config, device
        self.layout = torch.channels_last if self.chosen["channels_last"] else torch.contiguous_format
        self.model = model.to(device=device, memory_format=self.layout)
        self.head = head_names(model)
        self.learnable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.optimizer = make_optimizer(self.model, config, self.chosen)
        self.average = make_average(self.model, self.chosen)
        self.mixup = make_mixup(self.chosen, len(counts))
        self.loss = make_loss(self.chosen, counts, self.mixup is not None).to(device)
        self.number_type = number_type(self.chosen, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.number_type == torch.float16)
        self.every = self.chosen["accumulate"]
        self.scheduler: Any = None

    @property
    def judged(self) -> torch.nn.Module:
        """What is validated and kept: the average of the weights, where there is one."""
        return self.average.module if self.average else self.model

    def train_epoch(self, epoch: int, loader: Any, tick: Tick) -> dict[str, float]:
        """Learn from every batch, as epoch number `epoch` (from 1). Returns the mean loss and the learning rate.

        Raises TrainerFailure NAN_LOSS, and whatever `tick` raises.
        """
        steps = len(loader)
        updates_before = (epoch - 1) * math.ceil(steps / self.every)
        if self.scheduler is None:
            self.scheduler = make_scheduler(self.optimizer, self.config, self.chosen, math.ceil(steps / self.every))
        self._set_mode(epoch)
        total, broken = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for step, (images, classes, _) in enumerate(loader, 1):
            if step % self.every == 1 or self.every == 1:
                self.scheduler.step_update(updates_before + (step - 1) // self.every)
            size = self.every if step <= steps - steps % self.every else steps % self.every
            loss = self._backward(images, classes, size)
            total += torch.nan_to_num(loss, 0.0, 0.0, 0.0)
            broken += ~torch.isfinite(loss)
            if step % self.every == 0 or step == steps:
                self._update(updates_before + math.ceil(step / self.every))
            tick(step, steps)
        self._refuse_nan(int(broken), steps)
        return {"train/loss": float(total) / steps, "lr": self.learning_rate}

    @property
    def learning_rate(self) -> float:
        """Of the layers that learn fastest."""
        return float(max(group["lr"] for group in self.optimizer.param_groups))

    def state(self) -> dict[str, Any]:
        """Everything that a continued training needs, random numbers included: tensors and JSON's own kinds.

        The schedule is not in it: it follows from the number of updates so far.
        """
        return {
            "model": self.model.state_dict(),
            "ema": self.average.module.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_state(),
        }

    def continue_from(self, state: Mapping[str, Any], updates_per_epoch: int) -> None:
        """Take up a state that `state` returned, whole. Raises whatever torch does where it does not fit."""
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.module.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler = make_scheduler(self.optimizer, self.config, self.chosen, updates_per_epoch)
        self.scaler.load_state_dict(state["scaler"])
        restore_random_state(state["random"])

    def _set_mode(self, epoch: int) -> None:
        """Ready to learn. For the first `freeze_epochs` the head alone is, the rest stays as it came."""
        frozen = epoch <= self.chosen["freeze_epochs"] and bool(self.head)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in self.learnable and (not frozen or name in self.head))
        self.model.train()
        if frozen:
            for module in self.model.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.eval()  # its statistics would change with every batch

    def _backward(self, images: torch.Tensor, classes: torch.Tensor, share: int) -> torch.Tensor:
        """Add one batch's gradients, as one of `share` batches of an update. Returns its loss, without gradient."""
        images = images.to(self.device, non_blocking=True, memory_format=self.layout)
        classes = classes.to(self.device, non_blocking=True)
        if self.mixup and len(images) > 1:
            even = len(images) - len(images) % 2
            images, classes = self.mixup(images[:even], classes[:even])
        with torch.autocast(self.device.type, self.number_type, enabled=self.number_type is not None):
            loss = self.loss(self.model(images).float(), classes)
        self.scaler.scale(loss / share).backward()
        return loss.detach()

    def _update(self, updates: int) -> None:
        if self.chosen["clip_grad"]:
            self.scaler.unscale_(self.optimizer)
            dispatch_clip_grad(self.model.parameters(), self.chosen["clip_grad"], mode="norm")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.model, step=updates)

    def _refuse_nan(self, broken: int, steps: int) -> None:
        """A scaler of fp16 leaves out the batches that overflow; without one, a single NaN stays in the weights."""
        allowed = steps // 2 if self.scaler.is_enabled() else 0
        if broken > allowed:
            message = f"the loss was not a finite number in {broken} of {steps} batches"
            raise TrainerFailure("NAN_LOSS", message, "Lower LEARNING_RATE, set clip_grad to 1, or set amp to off.")


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # on every device


def random_state() -> dict[str, Any]:
    """Of Python, NumPy and torch, as plain lists and numbers: `weights_only` loads nothing else."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(numbers), gauss],
        "numpy": [str(name), np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state().tolist(),
        "cuda": torch.cuda.get_rng_state().tolist() if torch.cuda.is_available() else None,
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(torch.tensor(state["torch"], dtype=torch.uint8))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.tensor(state["cuda"], dtype=torch.uint8))
