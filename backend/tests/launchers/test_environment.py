from app.launchers.environment import allowed

BACKENDS = {
    "PATH": "/usr/bin",
    "LANG": "ko_KR.UTF-8",
    "TZ": "Asia/Seoul",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "DATABASE_URL": "postgresql://vision:secret@db/vision",
    "ACCESS_TOKEN": "secret",
    "PYTHONPATH": "/backend",
    "VIRTUAL_ENV": "/backend/.venv",
    "HTTPS_PROXY": "http://proxy:3128",
}


def test_nothing_but_the_allow_list_passes() -> None:
    names = {"PATH", "LANG", "TZ", "NVIDIA_VISIBLE_DEVICES"}
    assert allowed(BACKENDS) == {name: BACKENDS[name] for name in names}


def test_named_ones_pass_if_the_installation_says_so() -> None:
    assert allowed(BACKENDS, [" HTTPS_PROXY", ""])["HTTPS_PROXY"] == "http://proxy:3128"
    assert "ACCESS_TOKEN" not in allowed(BACKENDS, ["HTTPS_PROXY"])


def test_path_and_encoding_are_there_if_the_backend_has_none() -> None:
    assert allowed({}) == {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
