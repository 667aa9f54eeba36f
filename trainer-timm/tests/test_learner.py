"""How a model learns: what is frozen, what mixed precision skips, how rare classes weigh, how the rate goes."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from catalogue import with_defaults
from learner import Learner, seed_everything
from recipe import make_loss, make_optimizer, make_scheduler
from utils import TrainConfig, TrainerFailure, load_config

pytestmark = pytest.mark.filterwarnings("default")  # those of other people's packages, in this process

CPU = torch.device("cpu")
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    from trainings import environment_for

    for name, value in environment_for(tmp_path, EPOCHS="10", LEARNING_RATE="0.01").items():
        monkeypatch.setenv(name, value)
    return load_config()


def learner(config: TrainConfig, **chosen: Any) -> Learner:
    seed_everything(0)
    config.hyperparameters.update({"warmup_epochs": 0, **chosen})
    return Learner(timm.create_model("test_resnet", num_classes=2), config, [4, 4], CPU)


def batches(count: int = 2, value: float = 1.0) -> list[Batch]:
    choose = torch.Generator().manual_seed(0)
    one = torch.randn(4, 3, 32, 32, generator=choose) * value
    return [(one, torch.tensor([0, 1, 0, 1]), torch.arange(4)) for _ in range(count)]


def nothing(step: int, steps: int) -> None: ...


def test_only_the_head_learns_while_the_rest_is_frozen(config: TrainConfig) -> None:
    trained = learner(config, freeze_epochs=1)
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    trained.train_epoch(1, batches(), nothing)
    changed = {name for name, tensor in trained.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == trained.head == {"fc.weight", "fc.bias"}
    trained.train_epoch(2, batches(), nothing)
    changed = {name for name, tensor in trained.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert "conv1.0.weight" in changed or len(changed) > 10


@pytest.mark.parametrize("number_type", [torch.bfloat16, torch.float16])
def test_it_learns_in_sixteen_bits(config: TrainConfig, number_type: torch.dtype) -> None:
    """As on a GPU, here on a CPU."""
    trained = learner(config)
    trained.number_type = number_type
    trained.scaler = torch.amp.GradScaler("cpu", enabled=number_type == torch.float16, init_scale=256.0)
    losses = [trained.train_epoch(epoch, batches(), nothing)["train/loss"] for epoch in range(1, 5)]
    assert losses[-1] < losses[0]
    assert next(trained.model.parameters()).dtype == torch.float32


def test_nan_loss_if_a_batch_is_not_finite(config: TrainConfig) -> None:
    with pytest.raises(TrainerFailure, match="in 1 of 3 batches") as caught:
        learner(config).train_epoch(1, [*batches(2), *batches(1, torch.nan)], nothing)
    assert caught.value.code == "NAN_LOSS"


def test_accumulated_batches_are_one_update(config: TrainConfig) -> None:
    """Twice the same four images, as one update of eight: as good as once."""
    same = [learner(config, accumulate=every, clip_grad=0.1) for every in (1, 2)]
    for one in same:
        for module in one.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.0
    same[0].train_epoch(1, batches(1), nothing)
    same[1].train_epoch(1, batches(2), nothing)
    for first, second in zip(same[0].model.parameters(), same[1].model.parameters(), strict=True):
        assert torch.allclose(first, second, atol=1e-6)


def test_rare_classes_weigh_more_and_an_average_image_one() -> None:
    chosen = with_defaults({"class_balance": 1.0})
    weights = make_loss(chosen, [90, 10], mixes=False).weight
    assert isinstance(weights, torch.Tensor)
    assert weights.tolist() == pytest.approx([100 / 180, 5.0])
    assert make_loss(with_defaults({}), [90, 10], mixes=False).weight is None


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.67, 0.34, 0.01]),
        ("step", [1, 0.1, 0.01, 0.01]),  # the next is due when it ends
        ("cosine", [1, 0.7525, 0.2575, 0.01]),
    ],
)
def test_learning_rate_starts_as_asked_and_falls_as_scheduled(
    config: TrainConfig, schedule: str, rates: list[float]
) -> None:
    chosen = with_defaults({"schedule": schedule, "warmup_epochs": 0})
    optimizer = make_optimizer(timm.create_model("test_resnet"), config, chosen)
    scheduler, found = make_scheduler(optimizer, config, chosen, updates_per_epoch=9), []
    for update in (0, 30, 60, 89.99999):
        scheduler.step_update(update)
        found.append(optimizer.param_groups[0]["lr"] / config.learning_rate)
    assert found == pytest.approx(rates, abs=0.002)


def test_warmup_ends_at_the_learning_rate_however_long_it_is(config: TrainConfig) -> None:
    chosen = with_defaults({"schedule": "constant", "warmup_epochs": 100})
    optimizer = make_optimizer(timm.create_model("test_resnet"), config, chosen)
    scheduler = make_scheduler(optimizer, config, chosen, updates_per_epoch=3)
    scheduler.step_update(0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0001)
    scheduler.step_update(11)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
