"""A training loop that learns nothing, with the real Reporter: run by a trainer's Python, prints its epochs' seconds.

    STEPS=200 WORK=20000 python epochs.py

The work is plain Python, which holds the interpreter's lock: what a background thread costs shows here if anywhere.
"""

import json
import os
import time

import utils


def main() -> None:
    steps, work = int(os.environ["STEPS"]), int(os.environ["WORK"])
    config = utils.load_config()
    reporter = utils.Reporter(config)
    reporter.start()
    utils.notify_status(reporter, "running")
    seconds = [_train_epoch(reporter, config, epoch, steps, work) for epoch in range(1, config.epochs + 1)]
    unsent = len(reporter._outbox.pending())
    reporter.close(0)
    print(json.dumps({"seconds": seconds, "unsent": unsent, "superseded": reporter.superseded}))


def _train_epoch(reporter: utils.Reporter, config: utils.TrainConfig, epoch: int, steps: int, work: int) -> float:
    """As a trainer reports: progress once a second at most, numbers once an epoch."""
    started = time.perf_counter()
    for step in range(1, steps + 1):
        loss = _step(work)
        reporter.progress("train", epoch=epoch, epochs=config.epochs, step=step, steps=steps)
    utils.send_training_metrics(reporter, epoch, {"train/loss": loss, "lr": 0.01})
    utils.send_validation_result(reporter, epoch, ("mAP50-95", 0.5), {"mAP50": 0.7, "precision": 0.6, "recall": 0.6})
    return time.perf_counter() - started


def _step(work: int) -> float:
    total = 0.0
    for number in range(1, work):
        total += 1.0 / number
    return total


if __name__ == "__main__":
    main()
