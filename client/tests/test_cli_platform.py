import json
import os
import stat
import subprocess
import sys
from pathlib import Path

from tests.backend import REPOSITORY
from tests.vision import Vision


def test_status_shows_the_slots(vision: Vision) -> None:
    system = vision.json("status")
    out = vision("status").stdout
    assert system["installation_id"] in out and all(f"slot {slot['name']}" in out for slot in system["slots"])


def test_models_are_listed_with_their_settings(vision: Vision) -> None:
    out = vision("models").stdout
    assert "scripted-n" in out and "behaviour" in out
    assert vision.json("models")["items"][0]["name"] == "scripted"


def test_collection_is_listed_first_and_then_done(vision: Vision) -> None:
    left = vision.backend.folder / "var/uploads/upload-left"
    left.mkdir(parents=True)
    (left / "upload.zip").write_bytes(b"x" * 5000)
    for path in (left / "upload.zip", left):
        os.utime(path, (0, 0))
    [item] = vision.json("gc", "--dry-run")["items"]
    assert (item["kind"], item["what"]) == ("upload", "uploads/upload-left") and item["reason"].startswith(
        "left behind"
    )
    shown = vision("gc", "--dry-run").stdout
    assert "uploads/upload-left" in shown and "left behind" in shown and "would go" in shown and left.exists()
    assert "removed" in vision("gc").stdout and not left.exists()
    assert "nothing to collect" in vision("gc").stderr and vision.json("gc")["items"] == []


def test_login_is_stored_once_it_works(vision: Vision, tmp_path: Path) -> None:
    access = json.loads(vision.backend.access_file.read_text())
    environment = {"VISION_ACCESS_FILE": None, "HOME": str(tmp_path)}
    vision("login", access["url"], input=f"{access['token']}\n", env=environment)
    stored = tmp_path / ".config/vision/access.json"
    assert json.loads(stored.read_text()) == {"url": access["url"], "token": access["token"]}
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    vision("status", env=environment)


def test_login_is_not_stored_if_the_token_is_wrong(vision: Vision, tmp_path: Path) -> None:
    url = json.loads(vision.backend.access_file.read_text())["url"]
    result = vision("login", url, "--token", "wrong", env={"HOME": str(tmp_path)}, code=4)
    assert "UNAUTHORIZED" in result.stderr and list(tmp_path.iterdir()) == []


def test_platform_that_is_not_there_is_told_without_a_traceback(vision: Vision) -> None:
    environment = {"VISION_URL": "http://127.0.0.1:9", "VISION_TOKEN": "token"}
    result = vision("jobs", "--json", env=environment, code=4)
    assert "make run" in result.stderr and result.stdout == "" and "Traceback" not in result.stderr


def test_wrapper_runs_the_command_from_anywhere(vision: Vision, tmp_path: Path) -> None:
    ran = subprocess.run(
        [REPOSITORY / "vision", "status", "--json"],
        cwd=tmp_path, env=vision.backend.environment, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert json.loads(ran.stdout)["installation_id"]


def test_wrapper_says_what_to_do_if_nothing_is_set_up(tmp_path: Path) -> None:
    wrapper = tmp_path / "vision"
    wrapper.write_bytes((REPOSITORY / "vision").read_bytes())
    wrapper.chmod(0o755)
    ran = subprocess.run([wrapper, "status"], capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 127 and "setup" in ran.stderr


def test_wrapper_finds_the_platform_of_its_folder(tmp_path: Path) -> None:
    wrapper = tmp_path / "vision"
    wrapper.write_bytes((REPOSITORY / "vision").read_bytes())
    wrapper.chmod(0o755)
    (tmp_path / "var").mkdir()
    (tmp_path / "var/access.json").write_text("{}")
    command = tmp_path / "client/.venv/bin/vision"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\necho "$VISION_ACCESS_FILE"\n')
    command.chmod(0o755)
    environment = {"PATH": os.environ["PATH"]}
    ran = subprocess.run([wrapper], env=environment, capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.strip() == str(tmp_path / "var/access.json")


def test_import_needs_nothing_but_the_client(tmp_path: Path) -> None:
    code = "import sys, vision_client; print([name for name in sys.modules if name.split('.')[0] in ('app', 'torch')])"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
