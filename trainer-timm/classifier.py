"""A checkpoint as something to ask: a picture in, its most likely classes out."""

from pathlib import Path
from typing import Any

import torch
from building import restore_model, validation_transform
from checkpoint import load_checkpoint
from hardware import choose_device
from PIL import Image


class Classifier:
    """Knows from the checkpoint itself which model it is and how it wants its pictures."""

    def __init__(self, path: Path, device: str) -> None:
        """`device` as DEVICE. Raises TrainerFailure CHECKPOINT_INVALID or BAD_CONFIGURATION."""
        checkpoint = load_checkpoint(path)
        self.device = choose_device(device or None)
        self.class_names = checkpoint.class_names
        self.transform = validation_transform(checkpoint.description)
        self.model = restore_model(checkpoint).to(self.device).eval()

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def classify(self, picture: Image.Image, most: int) -> list[dict[str, Any]]:
        """At most `most` classes in the words of contracts/prediction.schema.json, best first."""
        outputs = self.model(self.transform(picture)[None].to(self.device))
        confidences, numbers = outputs[0].float().softmax(0).topk(min(most, len(self.class_names)))
        return [
            {"class_id": number, "class_name": self.class_names[number], "confidence": round(min(confidence, 1.0), 4)}
            for number, confidence in zip(numbers.tolist(), confidences.tolist(), strict=True)
        ]
