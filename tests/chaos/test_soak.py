"""A short soak, so that the long one is known to work."""

import pytest

from chaos import soak

SEED = "20261123"


@pytest.mark.slow
def test_all_invariants_hold_if_everything_is_killed_for_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"SECONDS": "60", "SEED": SEED, "JOBS": "3"}.items():
        monkeypatch.setenv(name, value)
    assert soak.main() == 0, capsys.readouterr().out
    assert "all hold" in capsys.readouterr().out
