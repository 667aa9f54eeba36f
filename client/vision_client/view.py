"""What a person sees of a running job: a fold over its history. No terminal, no network."""

from dataclasses import dataclass, field
from typing import Any

from vision_client.models import HistoryEntry, Job, Primary, Progress

HEADLINES = frozenset({"mAP50", "mAP50-95", "top1", "top5"})


@dataclass
class View:
    """The newest known state. Collections are replaced, never changed: another thread draws while this one folds."""

    job: Job
    status: str = ""
    progress: Progress | None = None
    slots: list[str] = field(default_factory=list)
    losses: dict[str, float | None] = field(default_factory=dict)
    learning_rate: float | None = None
    validations: dict[int, Primary] = field(default_factory=dict)
    best_epoch: int | None = None
    headlines: dict[str, float | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    trouble: str | None = None

    def __post_init__(self) -> None:
        self.status = self.status or self.job.status
        self.progress = self.progress or self.job.progress

    def refresh(self, job: Job) -> None:
        self.job = job
        self.status = job.status

    def apply(self, entry: HistoryEntry) -> None:
        self.trouble = None
        payload = entry.payload
        match entry.source, entry.type:
            case "platform", "status":
                self._change_status(payload)
            case "platform", "launch":
                self.slots = [str(slot) for slot in payload.get("slots") or []]
            case _, "progress":
                self.progress = Progress.model_validate(payload)
            case _, "metrics":
                self._take_metrics(payload.get("values") or {})
            case _, "validation":
                self._take_validation(payload)
            case _, "checkpoint" if payload.get("kind") == "best":
                self.best_epoch = payload.get("epoch")
            case _, "warning":
                self.warnings = [*self.warnings, f"{payload.get('code')}: {payload.get('message')}"]

    @property
    def best(self) -> tuple[int, Primary] | None:
        """The epoch whose weights are stored as best, as the platform says it; before there are any, the highest."""
        if self.best_epoch is not None and self.best_epoch in self.validations:
            return self.best_epoch, self.validations[self.best_epoch]
        known = [(epoch, primary) for epoch, primary in self.validations.items() if primary.value is not None]
        return max(known, key=lambda pair: pair[1].value or 0.0, default=None)

    def _change_status(self, payload: dict[str, Any]) -> None:
        self.status = str(payload.get("to", self.status))
        if self.status in {"pending", "starting"}:
            self.progress, self.slots = None, []

    def _take_metrics(self, values: dict[str, float | None]) -> None:
        self.losses = self.losses | {loss_name(name): value for name, value in values.items() if is_train_loss(name)}
        rates = [value for name, value in values.items() if name == "lr" or name.startswith("lr/")]
        self.learning_rate = rates[0] if rates else self.learning_rate

    def _take_validation(self, payload: dict[str, Any]) -> None:
        primary = Primary.model_validate(payload["primary"])
        self.validations = {**self.validations, int(payload["epoch"]): primary}
        self.headlines = headlines(payload.get("metrics") or {}, primary)


def is_train_loss(name: str) -> bool:
    return name.startswith("train/") and "loss" in name


def loss_name(name: str) -> str:
    """`train/box_loss` as `box`."""
    return name.removeprefix("train/").removesuffix("_loss")


def headlines(metrics: dict[str, float | None], primary: Primary) -> dict[str, float | None]:
    """The metrics that the field quotes first; the primary one alone where none of them is there."""
    quoted = {name: value for name, value in metrics.items() if name.rsplit("/", 1)[-1] in HEADLINES}
    return quoted or {primary.name: primary.value}
