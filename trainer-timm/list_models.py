"""Writes models.json: every model of the installed timm, so that nobody needs torch to know their names.

Run it after timm was upgraded: `.venv/bin/python list_models.py`. Takes a few minutes; models are made without memory.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg

NON_COMMERCIAL = {"apple-amlr", "cc-by-nc-4.0", "fair-noncommercial-research-license", "seer-license"}
log = logging.getLogger("models")


def main() -> None:
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    log.setLevel(logging.INFO)
    names = timm.list_models()
    tags: dict[str, list[str]] = {}
    for full in timm.list_pretrained():
        name, _, tag = full.partition(".")
        tags.setdefault(name, []).append(tag)
    models = {name: describe(name, tags.get(name, [])) for name in names}
    lines = [f"{json.dumps(name)}: {json.dumps(model)}" for name, model in models.items()]
    head = f'{{"timm": {json.dumps(timm.__version__)}, "models": {{\n'
    (Path(__file__).parent / "models.json").write_text(head + ",\n".join(lines) + "\n}}\n", encoding="utf-8")
    log.info("%d models, %d with pretrained weights", len(models), sum(bool(m["pretrained"]) for m in models.values()))


def describe(name: str, tags: list[str]) -> dict[str, Any]:
    """Parameters in millions, the side of its input in pixels, and the licence of each of its pretrained weights.

    The first of `pretrained` is what `pretrained` means without a tag. A licence is null where timm does not state one.
    """
    first = get_pretrained_cfg(name)
    default = first.tag if first and first.tag in tags else None
    ordered = [tag for tag in tags if tag == default] + sorted(tag for tag in tags if tag != default)
    licences = {tag: get_pretrained_cfg(f"{name}.{tag}" if tag else name).license for tag in ordered}
    described: dict[str, Any] = {
        "parameters_millions": round(count_parameters(name) / 1e6, 2),
        "input_size": first.input_size[-1] if first else 224,
        "pretrained": licences,
    }
    if restricted := [tag for tag, licence in licences.items() if licence in NON_COMMERCIAL]:
        described["non_commercial"] = restricted
    return described


def count_parameters(name: str) -> int:
    """With the classifier that it comes with."""
    try:
        with torch.device("meta"):
            model = timm.create_model(name)
    except Exception as error:
        log.info("%s is made in memory, as it cannot be made without: %s", name, error)
        model = timm.create_model(name)
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    main()
