"""The demo's story on a real backend, with a trainer that follows a script in place of the one that takes minutes."""

import socket
from pathlib import Path

import demo
import pytest
from run_platform import read_choices

from tests.backend import Backend

SCRIPTED = {"framework": "scripted", "model_name": "scripted-n", "image_size": 64, "epochs": 2}


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = {**demo.TRAINING, **SCRIPTED, "hyperparameters": {"behaviour": "complete"}}
    monkeypatch.setattr(demo, "TRAINING", training)
    monkeypatch.setattr(demo, "IMAGES", 12)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))


@pytest.mark.usefixtures("quick")
def test_story_is_told_twice_on_the_same_data(
    backend: Backend, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with backend.client() as client:
        job, image = demo.show(client, None)
        assert demo.show(client, None)[0].id > job.id
    out = capsys.readouterr().out
    picture = tmp_path / "demo" / f"prediction-job-{job.id}.png"
    assert image.is_file() and picture.is_file() and str(picture) in out
    assert "/test/" in str(image)
    for part in ("mAP50 1.000", "checkpoints/job-", "API docs", f"{client.url}/docs", "registered before"):
        assert part in out


@pytest.mark.usefixtures("quick")
def test_demo_fails_if_the_model_has_not_learned(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "NEEDED_MAP50", 1.01)
    with backend.client() as client, pytest.raises(demo.DemoFailed, match=r"mAP50 1\.000; at least 1\.01"):
        demo.show(client, None)


@pytest.mark.usefixtures("quick")
def test_demo_fails_with_the_log_if_the_job_fails(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(demo.TRAINING, "hyperparameters", {"behaviour": "fail", "code": "NAN_LOSS"})
    with (
        backend.client() as client,
        pytest.raises(demo.DemoFailed, match=r"NAN_LOSS[\s\S]*Traceback: as the script says"),
    ):
        demo.show(client, None)


def test_running_platform_is_used_and_left_running(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(backend.access_file.parent))
    with demo.running_platform() as (client, platform):
        assert platform is None and client.system().version
    with backend.client() as again:
        assert again.is_ready()


def test_another_port_is_taken_if_the_default_is_in_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.delenv("MLFLOW_PORT", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        choices = read_choices({"PORT": str(port), "MLFLOW_PORT": str(port)}, tmp_path / "none")
        freed = demo._free_ports(choices)
    assert port not in (freed.port, freed.mlflow_port)
    assert freed.mlflow_uri == f"http://127.0.0.1:{freed.mlflow_port}"
