import pytest

from app.slots import count, environment, parse


@pytest.mark.parametrize(
    ("setting", "gpus", "slots"),
    [
        ("auto", [], ["cpu:0"]),
        ("auto", ["0", "1"], ["gpu:0", "gpu:1", "cpu:0"]),
        ("auto", ["GPU-8f6a"], ["gpu:GPU-8f6a", "cpu:0"]),
        ("cpu:2", ["0"], ["cpu:0", "cpu:1"]),
        ("gpu:1", ["2", "3"], ["gpu:2"]),
        ("gpu:2", [], ["gpu:0", "gpu:1"]),
        ("gpu:1, cpu:1", ["0"], ["gpu:0", "cpu:0"]),
    ],
)
def test_slots_are_what_was_asked_for(setting: str, gpus: list[str], slots: list[str]) -> None:
    assert list(parse(setting, gpus)) == slots


@pytest.mark.parametrize("setting", ["", "tpu:1", "gpu", "gpu:-1", "gpu:x", "cpu:0", "cpu:1,cpu:1", "gpu:3"])
def test_refused_if_setting_makes_no_sense(setting: str) -> None:
    with pytest.raises(ValueError, match="SLOTS="):
        parse(setting, ["0", "1"])


def test_no_gpu_is_visible_if_on_the_cpu() -> None:
    assert environment(["cpu:0"]) == {"DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}


def test_only_own_gpus_are_visible_and_counted_from_0() -> None:
    told = environment(["gpu:2", "gpu:5"])
    assert (told["DEVICE"], told["CUDA_VISIBLE_DEVICES"]) == ("0,1", "2,5")


def test_count_by_kind() -> None:
    assert count(["gpu:0", "gpu:1", "cpu:0"], "gpu") == 2
