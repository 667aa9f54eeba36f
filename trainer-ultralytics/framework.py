"""The door to Ultralytics: imported late, configured privately, and kept from what it does behind one's back.

Nothing here runs at import; `import_ultralytics` takes seconds and comes first. Seen in ultralytics 8.4.190.
"""

import os
import platform
import re
import sys
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from catalogue import primary_metric
from checkpoint import TASKS
from environment import prepare_ultralytics
from evaluation import validation_metrics
from utils import TrainConfig

FONTS = ("Arial.ttf", "Arial.Unicode.ttf")  # it would download them to label its plots
TRAINERS = {
    "detect": "DetectionTrainer",
    "segment": "SegmentationTrainer",
    "pose": "PoseTrainer",
    "obb": "OBBTrainer",
    "classify": "ClassificationTrainer",
}


def import_ultralytics(config: TrainConfig) -> None:
    """Import torch and Ultralytics with its integrations, installs and downloads off. Takes seconds."""
    prepare_ultralytics(config.work_dir)
    os.environ.pop("ULTRALYTICS_API_KEY", None)  # with it, training would be streamed to Ultralytics' platform
    os.environ["MPLCONFIGDIR"] = str(config.cache_dir / "matplotlib")  # its list of fonts takes a second to make
    _link_fonts(Path(os.environ["YOLO_CONFIG_DIR"]) / "Ultralytics")

    import ultralytics.models.yolo  # noqa: F401

    _refuse_downloads()
    _keep_label_caches_in(config.work_dir / "labels")
    if not sys.stdout.isatty():
        _print_progress_bars_once()


def trainer_class(task_type: str) -> Any:
    """Ultralytics' trainer for one of our task types. Its best epoch is the one with the highest primary metric.

    Its own choice adds up boxes and masks or keypoints, and the top 1 and top 5 of classes: nobody sees that number.
    """
    from ultralytics.models import yolo

    task = TASKS[task_type]
    base, name = getattr(getattr(yolo, task), TRAINERS[task]), primary_metric(task_type)

    def validate(trainer: Any) -> tuple[Any, Any]:
        best = trainer.best_fitness
        metrics, fitness = base.validate(trainer)
        if metrics is not None:
            fitness = validation_metrics(metrics, task_type)[name]
            trainer.best_fitness = fitness if best is None else max(best, fitness)
        return metrics, fitness

    return type(base.__name__, (base,), {"validate": validate})


def reseed(trainer: Any) -> None:
    """Random numbers for a resumed training, before its first batch: by its seed, and others than its first epochs had.

    Ultralytics seeds every start alike. After each resume the images would come again in the order of the first epoch,
    with the same augmentations.
    """
    from ultralytics.utils.torch_utils import init_seeds

    seed = (trainer.args.seed + 7919 * trainer.start_epoch) % 2**32
    init_seeds(seed, deterministic=trainer.args.deterministic)
    trainer.train_loader.generator.manual_seed(seed)
    trainer.train_loader.reset()


def default_callbacks() -> Any:
    """Ultralytics' own callbacks, a fresh dict of lists by name."""
    from ultralytics.utils.callbacks import get_default_callbacks

    return get_default_callbacks()


def load_checkpoint(path: Path) -> tuple[Any, dict[str, Any]]:
    """The model and the whole content of a .pt file. It is unpickled: in a trainer's process alone."""
    from ultralytics.nn import tasks

    model, content = tasks.load_checkpoint(path)
    return model, content


def packaged_model(name: str) -> Path:
    """How the package describes a model of trainer.yaml: one file for all sizes of a family."""
    from ultralytics.utils import ROOT

    family = re.sub(r"^(yolov?\d+)[nslmx]", r"\1", name)
    (path,) = (ROOT / "cfg" / "models").glob(f"*/{family}.yaml")
    return Path(path)


def download_from_hub(name: str, folder: Path) -> Path:
    """Official weights, by Ultralytics' own downloader, into `folder`. Raises ConnectionError."""
    from ultralytics.utils import downloads

    refuse, downloads.safe_download = downloads.safe_download, downloads.safe_download.instead_of
    try:
        return Path(downloads.attempt_download_asset(str(folder / f"{name}.pt")))
    finally:
        downloads.safe_download = refuse


def versions() -> dict[str, str]:
    import torch
    import ultralytics

    own = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return {**own, "ultralytics": str(ultralytics.__version__)}


def hardware(device: Any) -> dict[str, str | int]:
    """What an attempt computes on; `device` is a torch.device."""
    import torch
    from ultralytics.utils.torch_utils import get_cpu_info, get_gpu_info

    name = get_gpu_info(device.index or 0) if device.type == "cuda" else get_cpu_info()
    threads = torch.get_num_threads()
    return {"device": str(device), "name": name, "cpus": os.cpu_count() or 0, "threads": threads}


def _refuse_downloads() -> None:
    """YOLO_OFFLINE makes it give up early, but only after a try: for fonts, for the check of AMP, for weights."""
    from ultralytics.utils import downloads

    if hasattr(downloads.safe_download, "instead_of"):
        return

    def refuse(url: str, *arguments: Any, **options: Any) -> Path:
        raise ConnectionError(f"{url} is not downloaded: this trainer is offline but for pretrained weights")

    refuse.instead_of = downloads.safe_download  # type: ignore[attr-defined]
    downloads.safe_download = refuse


def _keep_label_caches_in(folder: Path) -> None:
    """It unpickles `labels/train.cache` in the dataset, which may come from a stranger; ours are elsewhere."""
    from ultralytics.data import dataset
    from ultralytics.data.utils import load_dataset_cache_file, save_dataset_cache_file

    folder.mkdir(parents=True, exist_ok=True)

    def own(path: Path) -> Path:
        return folder / f"{path.stem}-{sha256(str(path).encode()).hexdigest()[:12]}.cache"

    def save(prefix: str, path: Path, content: dict[str, Any], version: str) -> None:
        save_dataset_cache_file(prefix, own(path), content, version)

    dataset.load_dataset_cache_file = lambda path: load_dataset_cache_file(own(path))
    dataset.save_dataset_cache_file = save


def _link_fonts(folder: Path) -> None:
    """Matplotlib's own font, where Ultralytics looks before it downloads one."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return
    font = Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
    for name in FONTS:
        if font.exists() and not (folder / name).exists():
            (folder / name).symlink_to(font)


def _print_progress_bars_once() -> None:
    """In a log, a bar that redraws itself ten times a second hides everything else."""
    from ultralytics.utils import tqdm

    tqdm.is_noninteractive_console = lambda: True
