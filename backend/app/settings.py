"""Settings, all from the environment. Nothing secret has a default.

`ENVIRONMENT=production` expects PostgreSQL and R2 and refuses to start on embedded defaults or example secrets.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE_SECRETS = frozenset({"changeme", "change-me", "example", "minioadmin", "password", "secret"})
SHORTEST_TOKEN = 16
DATABASES = ("postgresql+psycopg://", "sqlite:///")


class Settings(BaseSettings):
    """Every variable that the backend reads; `backend/.env.example` explains them."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # it holds secrets
    )

    environment: Literal["development", "production"] = "development"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    data_dir: Path = REPOSITORY / "var"
    database_url: str = ""
    access_file: Path | None = None
    access_token: SecretStr | None = None

    storage_type: Literal["local", "minio", "r2"] = "local"
    storage_bucket: str = Field(default="vision", pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    storage_path: Path | None = None
    minio_endpoint: str = ""
    minio_access_key: SecretStr = SecretStr("")
    minio_secret_key: SecretStr = SecretStr("")
    r2_endpoint: str = ""
    r2_access_key_id: SecretStr = SecretStr("")
    r2_secret_access_key: SecretStr = SecretStr("")

    backend_internal_url: str = ""
    mlflow_tracking_uri: str = ""
    trainers_path: Path = REPOSITORY
    trainer_environment: str = ""
    slots: str = "auto"
    max_dataset_bytes: int = Field(default=50 * 2**30, ge=1)
    max_image_bytes: int = Field(default=50 * 2**20, ge=1)
    import_memory_bytes: int = Field(default=3 * 2**30, ge=2**29)
    import_stall_seconds: float = Field(default=1800.0, gt=0)

    tick_seconds: float = Field(default=1.0, gt=0)
    stop_flag_seconds: float = Field(default=2.0, ge=0)
    grace_period_seconds: int = Field(default=8, ge=1)
    stall_seconds: float = Field(default=1800.0, gt=0)
    retry_backoff_seconds: float = Field(default=10.0, ge=0)
    prediction_timeout_seconds: float = Field(default=180.0, gt=0)

    collection_hours: float = Field(default=24.0, ge=0)
    retention_work_days: float = Field(default=7.0, ge=0)
    retention_log_days: float = Field(default=90.0, ge=0)
    retention_orphan_days: float = Field(default=7.0, ge=0)
    log_limit_bytes: int = Field(default=10 * 2**30, ge=0)
    cache_limit_bytes: int = Field(default=50 * 2**30, ge=0)
    browse_limit_bytes: int = Field(default=5 * 2**30, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _pick_storage(cls, values: dict[str, Any]) -> dict[str, Any]:
        chosen = {"storage_type": "r2"} if values.get("environment") == "production" else {}
        return chosen | values

    @model_validator(mode="after")
    def _refuse_what_cannot_work(self) -> Self:
        problems = self._production_problems() if self.environment == "production" else []
        problems += self._storage_problems()
        if self.database_url and not self.database.startswith(DATABASES):
            problems.append("DATABASE_URL is not an address that begins with postgresql:// or sqlite:///")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def database(self) -> str:
        """The SQLAlchemy URL: DATABASE_URL, or a SQLite file in DATA_DIR."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir / 'vision.sqlite'}"
        scheme, _, rest = self.database_url.partition("://")
        return f"postgresql+psycopg://{rest}" if scheme in ("postgres", "postgresql") else self.database_url

    @property
    def storage_folder(self) -> Path:
        """The parent of the bucket's folder when STORAGE_TYPE is local."""
        return self.storage_path or self.data_dir / "storage"

    @property
    def access_path(self) -> Path:
        """Where the first start writes the access token, readable by the owner alone."""
        return self.access_file or self.data_dir / "access.json"

    @property
    def url(self) -> str:
        """Where programs on this machine reach the backend; HOST may name every interface."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{_bracketed(host)}:{self.port}"

    def storage_environment(self) -> dict[str, str]:
        """The variables of docs/trainer-contract.md that tell a trainer where the objects are."""
        common = {"STORAGE_TYPE": self.storage_type, "STORAGE_BUCKET": self.storage_bucket}
        match self.storage_type:
            case "local":
                return common | {"STORAGE_PATH": str(self.storage_folder.resolve())}
            case "minio" | "r2":
                return common | {name.upper(): _plain(getattr(self, name)) for name in self._storage_variables()}

    def _storage_variables(self) -> tuple[str, ...]:
        return {
            "local": (),
            "minio": ("minio_endpoint", "minio_access_key", "minio_secret_key"),
            "r2": ("r2_endpoint", "r2_access_key_id", "r2_secret_access_key"),
        }[self.storage_type]

    def _storage_problems(self) -> list[str]:
        problems = [
            f"STORAGE_TYPE={self.storage_type} needs {name.upper()}; set it"
            for name in self._storage_variables()
            if not _plain(getattr(self, name))
        ]
        for name in self._storage_variables():
            value = _plain(getattr(self, name))
            if name.endswith("_endpoint") and value and not value.startswith(("http://", "https://")):
                problems.append(f"{name.upper()}={value!r} has no scheme; write http://{value} or https://{value}")
        return problems

    def _production_problems(self) -> list[str]:
        problems = []
        if not self.database.startswith("postgresql"):
            problems.append("ENVIRONMENT=production needs DATABASE_URL=postgresql://…; SQLite is for one laptop")
        if self.storage_type != "r2":
            problems.append(f"ENVIRONMENT=production needs STORAGE_TYPE=r2, not {self.storage_type!r}")
        if not self.backend_internal_url:
            problems.append("ENVIRONMENT=production needs BACKEND_INTERNAL_URL, where trainers reach the backend")
        secrets = ("access_token", "minio_secret_key", "r2_secret_access_key")
        problems += [
            f"{name.upper()} is an example value; set a real secret"
            for name in secrets
            if _plain(getattr(self, name)).lower() in EXAMPLE_SECRETS
        ]
        if self.access_token is not None and len(_plain(self.access_token)) < SHORTEST_TOKEN:
            problems.append(f"ACCESS_TOKEN has fewer than {SHORTEST_TOKEN} characters; set a longer one, or none")
        if any(f":{word}@" in self.database_url.lower() for word in EXAMPLE_SECRETS):
            problems.append("DATABASE_URL holds an example password; set a real one")
        return problems


def _plain(value: str | SecretStr | None) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else value or ""


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
