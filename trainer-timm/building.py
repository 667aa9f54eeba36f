"""The model of an attempt, made by timm: its weights, its size, and the pictures as it wants them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from catalogue import default_image_size, load_models, with_defaults
from checkpoint import FORMAT, Checkpoint
from timm.data import create_transform, resolve_data_config
from timm.models import get_pretrained_cfg
from utils import Reporter, TrainConfig, TrainerFailure

DROPS = ("drop_rate", "drop_path_rate")


def model_arguments(config: TrainConfig) -> dict[str, Any]:
    """What timm is told beside the name. Models whose layers depend on the input's size are made for it."""
    chosen = with_defaults(config.hyperparameters)
    arguments = {name: chosen[name] for name in DROPS if chosen[name]}
    first, size = get_pretrained_cfg(config.model_name), config.image_size or default_image_size()
    if first and first.fixed_input_size and size != first.input_size[-1]:
        arguments["img_size"] = size
    return arguments


def make_model(
    config: TrainConfig, class_names: Sequence[str], weights: Path | Checkpoint | str | None, reporter: Reporter
) -> torch.nn.Module:
    """On the CPU. `weights` is a file of timm's own, a checkpoint, "hub", or None for random ones.

    Raises TrainerFailure BAD_CONFIGURATION where the model cannot be made so, and WEIGHTS_MISSING.
    """
    arguments: dict[str, Any] = {"num_classes": len(class_names), **model_arguments(config)}
    if isinstance(weights, Path):
        overlay = {"file": str(weights), "source": "", "custom_load": False}
        arguments |= {"pretrained": True, "pretrained_cfg_overlay": overlay}
    elif weights == "hub":
        arguments |= {"pretrained": True, "cache_dir": config.cache_dir / "weights" / "timm"}
    try:
        model: torch.nn.Module = timm.create_model(config.model_name, **arguments)
    except (TypeError, AssertionError, NotImplementedError) as error:
        named = ", ".join(f"{name}={value}" for name, value in model_arguments(config).items())
        message = f"{config.model_name} cannot be made with {named or 'these parameters'}: {error}"
        raise TrainerFailure("BAD_CONFIGURATION", message, _sizes_hint(config)) from error
    except Exception as error:
        if weights is None or isinstance(weights, Checkpoint):
            raise
        raise _weights_missing(config, weights, error) from error
    if isinstance(weights, Checkpoint):
        take_weights(model, config, class_names, weights, reporter)
    _try_size(model, config)
    return model


def take_weights(
    model: torch.nn.Module, config: TrainConfig, class_names: Sequence[str], given: Checkpoint, reporter: Reporter
) -> None:
    """Another training's weights. The head stays random where the classes are others, and a warning says so."""
    architecture, wanted = given.description["architecture"], config.model_name.partition(".")[0]
    if architecture != wanted:
        message = f"{config.weights} holds weights of {architecture}, not of {wanted}"
        raise TrainerFailure("WEIGHTS_MISSING", message, f"Set MODEL_NAME={architecture}, or choose other weights.")
    own, others = model.state_dict(), given.class_names != tuple(class_names)
    head = head_names(model) if others else set()
    fitting = {k: v for k, v in given.weights.items() if k in own and own[k].shape == v.shape and k not in head}
    missing = sorted(set(own) - set(fitting) - head)
    if missing:
        message = f"{config.weights} does not fit {config.model_name}: {', '.join(missing)[:500]}"
        raise TrainerFailure("WEIGHTS_MISSING", message, "Set the IMAGE_SIZE that it was trained with, or scratch.")
    model.load_state_dict(fitting, strict=False)
    if others:
        old = ", ".join(given.class_names)[:200]
        message = (
            f"{config.weights} was trained on other classes ({old}): the head starts anew ({', '.join(sorted(head))})"
        )
        reporter.warning("HEAD_REPLACED", message)


def head_names(model: torch.nn.Module) -> set[str]:
    """The parameters that tell classes apart, by their names in the state."""
    classifier = model.get_classifier()
    modules = classifier if isinstance(classifier, tuple | list) else (classifier,)
    layers = [module for module in modules if isinstance(module, torch.nn.Module)]
    own = {id(parameter) for layer in layers for parameter in layer.parameters()}
    return {name for name, parameter in model.named_parameters() if id(parameter) in own}


def describe_model(model: torch.nn.Module, config: TrainConfig, class_names: Sequence[str]) -> dict[str, Any]:
    """What a checkpoint says of itself: JSON's own kinds."""
    chosen, size = with_defaults(config.hyperparameters), config.image_size or default_image_size()
    data = resolve_data_config({"input_size": (3, size, size)}, model=model)
    return {
        "format": FORMAT,
        "task_type": config.task_type,
        "architecture": config.model_name.partition(".")[0],
        "model_arguments": {k: v for k, v in model_arguments(config).items() if k not in DROPS},
        "class_names": list(class_names),
        "input_size": list(data["input_size"]),
        "mean": list(data["mean"]),
        "std": list(data["std"]),
        "interpolation": data["interpolation"],
        "crop_pct": chosen["crop_pct"],
        "crop_mode": chosen["crop_mode"],
        "timm": timm.__version__,
    }


def restore_model(checkpoint: Checkpoint) -> torch.nn.Module:
    """The model that a checkpoint describes, with its weights. Raises TrainerFailure CHECKPOINT_INVALID."""
    description = checkpoint.description
    try:
        arguments = {"num_classes": len(checkpoint.class_names), **description["model_arguments"]}
        model: torch.nn.Module = timm.create_model(description["architecture"], **arguments)
        model.load_state_dict(checkpoint.weights)
    except Exception as error:  # whatever a wrong description meets
        message = f"the checkpoint is no {description['architecture']} of this timm: {error}"
        raise TrainerFailure("CHECKPOINT_INVALID", message[:2000]) from error
    return model


def validation_transform(description: Mapping[str, Any]) -> Any:
    """A picture as the model is asked about it: timm's own preprocessing, nothing random."""
    names = ("interpolation", "mean", "std", "crop_pct", "crop_mode")
    return create_transform(tuple(description["input_size"]), **{name: description[name] for name in names})


def training_transform(description: Mapping[str, Any], chosen: Mapping[str, Any]) -> Any:
    """A picture as the model learns from it: cut, turned, coloured and erased at random, as hyperparameters say."""
    return create_transform(
        tuple(description["input_size"]),
        is_training=True,
        interpolation=description["interpolation"],
        mean=description["mean"],
        std=description["std"],
        train_crop_mode=chosen["train_crop_mode"],
        scale=(chosen["scale_min"], 1.0),
        ratio=(chosen["ratio_min"], 1 / chosen["ratio_min"]),
        hflip=chosen["hflip"],
        vflip=chosen["vflip"],
        color_jitter=chosen["color_jitter"],
        auto_augment=None if chosen["auto_augment"] == "none" else chosen["auto_augment"],
        re_prob=chosen["random_erasing"],
        re_mode="pixel",
    )


def _try_size(model: torch.nn.Module, config: TrainConfig) -> None:
    size = config.image_size or default_image_size()
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        if "memory" in str(error):
            raise
        message = f"{config.model_name} cannot look at images of {size} pixels: {error}"
        raise TrainerFailure("BAD_CONFIGURATION", message, _sizes_hint(config)) from error


def _sizes_hint(config: TrainConfig) -> str:
    own = load_models()[config.model_name.partition(".")[0]]["input_size"]
    return f"Set IMAGE_SIZE={own}, which is this model's own; not every model has drop_rate and drop_path_rate."


def _weights_missing(config: TrainConfig, weights: Path | str, error: Exception) -> TrainerFailure:
    if isinstance(weights, Path):
        message = f"{weights.name} cannot be loaded into {config.model_name}: {error}"
        return TrainerFailure("WEIGHTS_MISSING", message[:2000], "Give the file that timm's hub has for this model.")
    key = f"weights/timm/{config.model_name}.safetensors"
    message = f"{key} is not in the storage, and timm's hub does not give it: {error}"
    return TrainerFailure("WEIGHTS_MISSING", message[:2000], place_file(config.model_name))


def place_file(model_name: str) -> str:
    """How to bring pretrained weights to a machine without internet."""
    first = get_pretrained_cfg(model_name)
    hub = f"https://huggingface.co/{first.hf_hub_id}" if first and first.hf_hub_id else "the model's hub page"
    key = f"weights/timm/{model_name}.safetensors"
    return f"Download model.safetensors from {hub} and put it into storage as {key}, or set WEIGHTS=scratch."
