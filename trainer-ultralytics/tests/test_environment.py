"""What Ultralytics may do beside training: nothing. Each test starts a fresh Python, as settings are read on import."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from environment import INTEGRATIONS

TRAINER = Path(__file__).resolve().parents[1]
PREPARED = "from pathlib import Path; import environment; environment.prepare_ultralytics(Path('work')); "


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """With no way to programs or to a package index."""
    (folder / "work").mkdir(exist_ok=True)
    environment = {
        "PATH": str(folder / "no-programs"),
        "HOME": str(folder),
        "PYTHONPATH": str(TRAINER),
        "OMP_NUM_THREADS": "1",
        "PIP_NO_INDEX": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_integrations_are_off_whatever_the_user_has_set(tmp_path: Path) -> None:
    own = tmp_path / ".config" / "Ultralytics" / "settings.json"
    own.parent.mkdir(parents=True)
    own.write_text(json.dumps(dict.fromkeys(INTEGRATIONS, True) | {"sync": True}))
    code = "import json; from ultralytics.utils import SETTINGS, ONLINE, AUTOINSTALL, SETTINGS_FILE;"
    ended = run_python(
        PREPARED + code + "print(json.dumps([dict(SETTINGS), ONLINE, AUTOINSTALL, str(SETTINGS_FILE)]))", tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    settings, online, autoinstall, file = json.loads(ended.stdout.splitlines()[-1])
    assert not any(settings[name] for name in (*INTEGRATIONS, "sync"))
    assert (online, autoinstall) == (False, False)
    assert Path(file).is_relative_to(tmp_path / "work")
    assert "settings updated" not in ended.stderr + ended.stdout


@pytest.mark.slow
def test_every_key_is_known_so_that_nothing_is_reset(tmp_path: Path) -> None:
    code = "import json; from ultralytics.utils import SETTINGS; print(json.dumps(list(SETTINGS.defaults)))"
    ended = run_python(PREPARED + code, tmp_path)
    written = json.loads((tmp_path / "work" / "ultralytics" / "Ultralytics" / "settings.json").read_text())
    assert set(written) == set(json.loads(ended.stdout.splitlines()[-1]))


def test_nothing_is_installed_if_a_checkpoint_names_an_unknown_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("no_such_module")
    exec("class Model: pass", vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.save({"model": module.Model()}, tmp_path / "model.pt")
    load = "import checkpoint; checkpoint.load_model(Path('model.pt').resolve(), 'object_detection', Path('work'))"
    ended = run_python("from pathlib import Path; " + load, tmp_path)
    assert ended.returncode == 1
    assert "model.pt cannot be loaded" in ended.stderr and "no_such_module" in ended.stderr
    assert "disabled by YOLO_AUTOINSTALL=False" in ended.stdout + ended.stderr
    assert "attempting AutoUpdate" not in ended.stdout + ended.stderr


def test_refused_if_ultralytics_was_imported_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from environment import prepare_ultralytics

    monkeypatch.setitem(sys.modules, "ultralytics", sys)
    monkeypatch.delenv("YOLO_AUTOINSTALL", raising=False)
    with pytest.raises(RuntimeError, match="already imported"):
        prepare_ultralytics(tmp_path)
    assert "YOLO_AUTOINSTALL" not in os.environ
