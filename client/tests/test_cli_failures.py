"""What a person reads about a failure: code, cause, advice, exit status or signal, and the log's last lines."""

from tests.vision import TRAIN, Vision


def test_failure_is_explained_if_the_trainer_reported_it(vision: Vision) -> None:
    shown = _failed(vision, "--max-retries", "0", "--set", "behaviour=fail", "--set", "code=NAN_LOSS")
    assert "NAN_LOSS: as the script says" in shown
    assert "The loss is no longer a finite number." in shown  # the cause
    assert "a lower learning rate" in shown  # the advice
    assert "failed, NAN_LOSS, exit code 1" in shown
    assert "Traceback: as the script says" in shown  # the log's last line


def test_failure_of_each_attempt_is_told_with_its_signal(vision: Vision) -> None:
    shown = _failed(vision, "--max-retries", "1", "--set", "behaviour=kill_itself", "--set", "signal=9")
    for number in (1, 2):
        [line] = [line for line in shown.splitlines() if line.startswith(f"attempt {number} ")]
        assert "failed, TRAINER_KILLED, signal 9 (SIGKILL)" in line
    assert "Something other than the platform ended the trainer's process." in shown
    assert "attempt 2 does kill_itself" in shown and "attempt 1 does kill_itself" not in shown


def _failed(vision: Vision, *words: str) -> str:
    vision(*TRAIN, *words, "--watch", code=1)
    newest = vision.json("jobs", "--limit", "1")["items"][0]["id"]
    return vision("job", newest).stdout
