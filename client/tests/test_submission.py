import pytest
import typer
from vision_client.cli.submission import hyperparameters


def test_settings_keep_their_json_types() -> None:
    settings = [
        "mosaic=0.5",
        "close_mosaic=3",
        "cos_lr=true",
        "optimizer=AdamW",
        "note=a=b",
        "freeze=[0, 1]",
        "lrf=NaN",
    ]
    assert hyperparameters(settings) == {
        "mosaic": 0.5,
        "close_mosaic": 3,
        "cos_lr": True,
        "optimizer": "AdamW",
        "note": "a=b",
        "freeze": [0, 1],
        "lrf": "NaN",
    }


@pytest.mark.parametrize("setting", ["mosaic", "=3"])
def test_setting_is_refused_if_it_has_no_name_or_value(setting: str) -> None:
    with pytest.raises(typer.BadParameter, match="NAME=VALUE"):
        hyperparameters([setting])
