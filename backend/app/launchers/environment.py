"""Which of the backend's own variables a trainer may see. Everything else, secrets first, stays here."""

from collections.abc import Iterable, Mapping

ALLOWED = ("PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
ALLOWED_PREFIX = "NVIDIA_"
DEFAULTS = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


def allowed(source: Mapping[str, str], extra: Iterable[str] = ()) -> dict[str, str]:
    """The allow-listed variables of `source`; `extra` are names that the installation adds (TRAINER_ENVIRONMENT)."""
    names = {*ALLOWED, *(name.strip() for name in extra)}
    wanted = {name: value for name, value in source.items() if name in names or name.startswith(ALLOWED_PREFIX)}
    return DEFAULTS | wanted
