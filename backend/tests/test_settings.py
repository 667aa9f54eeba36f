"""Settings: defaults for one laptop, refusals in production, and a file that explains every variable."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from app.settings import EXAMPLE_SECRETS, REPOSITORY, Settings

ENV_EXAMPLE = REPOSITORY / "backend" / ".env.example"
PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://vision:8f3a-long@db/vision",
    "R2_ENDPOINT": "https://account.r2.cloudflarestorage.com",
    "R2_ACCESS_KEY_ID": "key",
    "R2_SECRET_ACCESS_KEY": "3fb2c8d1",
    "BACKEND_INTERNAL_URL": "http://backend:8000",
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def _read(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], env_file: Path | None = None) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    arguments: dict[str, Any] = {"_env_file": env_file}
    return Settings(**arguments)


def test_defaults_are_for_one_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _read(monkeypatch, {})
    assert (settings.host, settings.storage_type) == ("127.0.0.1", "local")
    assert settings.database == f"sqlite:///{REPOSITORY / 'var' / 'vision.sqlite'}"
    assert settings.access_path == REPOSITORY / "var" / "access.json"


def test_nothing_secret_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _read(monkeypatch, {})
    secrets = [getattr(settings, name) for name, field in Settings.model_fields.items() if "Secret" in str(field)]
    assert secrets
    assert all(secret is None or secret.get_secret_value() == "" for secret in secrets)


def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _read(monkeypatch, {"ACCESS_TOKEN": "", "PORT": "", "STORAGE_PATH": "", "DATABASE_URL": ""})
    assert (settings.access_token, settings.port, settings.storage_path) == (None, 8000, None)


def test_production_starts_on_real_values(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _read(monkeypatch, PRODUCTION)
    assert settings.storage_type == "r2"
    assert settings.database == "postgresql+psycopg://vision:8f3a-long@db/vision"
    assert settings.storage_environment() == {
        "STORAGE_TYPE": "r2",
        "STORAGE_BUCKET": "vision",
        "R2_ENDPOINT": "https://account.r2.cloudflarestorage.com",
        "R2_ACCESS_KEY_ID": "key",
        "R2_SECRET_ACCESS_KEY": "3fb2c8d1",
    }


@pytest.mark.parametrize("word", sorted(EXAMPLE_SECRETS))
@pytest.mark.parametrize(
    ("name", "value"),
    [("ACCESS_TOKEN", "{}"), ("R2_SECRET_ACCESS_KEY", "{}"), ("DATABASE_URL", "postgresql://vision:{}@db/vision")],
)
def test_production_refuses_an_example_secret(
    name: str, value: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match=f"{name} .*example"):
        _read(monkeypatch, PRODUCTION | {name: value.format(word.upper())})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DATABASE_URL": ""}, "needs DATABASE_URL=postgresql://"),
        ({"DATABASE_URL": "sqlite:///vision.sqlite"}, "SQLite is for one laptop"),
        ({"STORAGE_TYPE": "local"}, "needs STORAGE_TYPE=r2, not 'local'"),
        ({"R2_ENDPOINT": ""}, "STORAGE_TYPE=r2 needs R2_ENDPOINT"),
        ({"BACKEND_INTERNAL_URL": ""}, "needs BACKEND_INTERNAL_URL"),
        ({"ACCESS_TOKEN": "short"}, "fewer than 16 characters"),
    ],
)
def test_production_refuses_embedded_defaults(
    changes: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match=words):
        _read(monkeypatch, PRODUCTION | changes)


def test_production_names_every_reason_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as caught:
        _read(monkeypatch, {"ENVIRONMENT": "production", "ACCESS_TOKEN": "changeme"})
    for word in ("DATABASE_URL", "BACKEND_INTERNAL_URL", "ACCESS_TOKEN", "R2_ENDPOINT", "R2_SECRET_ACCESS_KEY"):
        assert word in str(caught.value)
    assert "changeme" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"STORAGE_TYPE": "minio"}, "needs MINIO_ENDPOINT; set it; STORAGE_TYPE=minio needs MINIO_ACCESS_KEY"),
        ({"STORAGE_TYPE": "r2", "R2_ENDPOINT": "r2.example"}, "R2_ENDPOINT='r2.example' has no scheme"),
        ({"STORAGE_BUCKET": "../elsewhere"}, "storage_bucket"),
        ({"DATABASE_URL": "vision.sqlite"}, "begins with postgresql:// or sqlite:///"),
        ({"DATABASE_URL": "mysql://db"}, "begins with postgresql:// or sqlite:///"),
        ({"PORT": "70000"}, "port"),
        ({"TICK_SECONDS": "0"}, "tick_seconds"),
    ],
)
def test_value_is_refused_if_it_cannot_work(
    changes: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match=words):
        _read(monkeypatch, changes)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_by_one_driver(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _read(monkeypatch, {"DATABASE_URL": f"{scheme}://user:p@host/name"})
    assert settings.database == "postgresql+psycopg://user:p@host/name"


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80")],
)
def test_address_is_one_that_this_machine_can_reach(host: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _read(monkeypatch, {"HOST": host, "PORT": "80"}).url == url


def test_secrets_do_not_show_in_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "3fb2c8d1" not in repr(_read(monkeypatch, PRODUCTION))


def _explained() -> dict[str, str]:
    return dict(re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=(.*)$", ENV_EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))


def test_example_file_names_every_variable_and_no_other() -> None:
    assert set(_explained()) == {name.upper() for name in Settings.model_fields}


def test_example_file_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _read(monkeypatch, {})
    for name, shown in _explained().items():
        default = getattr(settings, name.lower())
        if shown:
            assert shown == str(default), name
        else:
            assert not isinstance(default, int | float), name
            assert isinstance(default, Path | SecretStr | None) or default == "", name


def test_example_file_starts_as_it_is_and_uncommented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uncommented = tmp_path / "uncommented"
    uncommented.write_text(re.sub(r"^# ([A-Z][A-Z0-9_]*=)", r"\1", ENV_EXAMPLE.read_text(), flags=re.MULTILINE))
    defaults = _read(monkeypatch, {})
    assert _read(monkeypatch, {}, ENV_EXAMPLE) == _read(monkeypatch, {}, uncommented) == defaults
