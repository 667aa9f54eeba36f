import json
import stat
from pathlib import Path

import pytest
from vision_client.access import Access, find_access, login_file, store_login
from vision_client.errors import AccessMissing


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_environment_wins_if_both_variables_are_set(tmp_path: Path) -> None:
    file = write(tmp_path / "access.json", {"url": "http://file", "token": "from-file"})
    environment = {"VISION_URL": "http://here", "VISION_TOKEN": "secret", "VISION_ACCESS_FILE": str(file)}
    assert find_access(environment) == Access("http://here", "secret")


def test_named_file_is_read_if_there_are_no_variables(tmp_path: Path) -> None:
    file = write(tmp_path / "access.json", {"url": "http://file", "token": "from-file"})
    assert find_access({"VISION_ACCESS_FILE": str(file), "HOME": str(tmp_path)}) == Access("http://file", "from-file")


@pytest.mark.parametrize("name", ["VISION_URL", "VISION_TOKEN"])
def test_refused_if_only_half_of_the_variables_is_set(name: str, tmp_path: Path) -> None:
    with pytest.raises(AccessMissing, match="together"):
        find_access({name: "x", "HOME": str(tmp_path)})


def test_login_is_found_if_nothing_else_is(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    path = store_login(Access("http://stored", "kept"), environment)
    assert find_access(environment) == Access("http://stored", "kept")
    assert path == tmp_path / ".config/vision/access.json" == login_file(environment)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_login_is_replaced_if_stored_twice(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "settings")}
    store_login(Access("http://old", "a"), environment)
    store_login(Access("http://new", "b"), environment)
    assert find_access(environment) == Access("http://new", "b")


def test_missing_access_says_what_to_do_if_nothing_is_known(tmp_path: Path) -> None:
    with pytest.raises(AccessMissing, match=r"make run.*vision login"):
        find_access({"HOME": str(tmp_path)})


def test_missing_file_is_named_if_it_was_asked_for(tmp_path: Path) -> None:
    store_login(Access("http://another", "token"), {"HOME": str(tmp_path)})
    with pytest.raises(AccessMissing, match=r"gone\.json"):
        find_access({"HOME": str(tmp_path), "VISION_ACCESS_FILE": str(tmp_path / "gone.json")})


@pytest.mark.parametrize("content", ["text", ["list"], {"url": "http://x"}])
def test_damaged_file_is_named_if_it_cannot_be_read(content: object, tmp_path: Path) -> None:
    file = write(tmp_path / "access.json", content)
    with pytest.raises(AccessMissing, match=r"access\.json is not"):
        find_access({"VISION_ACCESS_FILE": str(file)})
