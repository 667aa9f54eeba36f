"""Where the platform is and the token that opens it.

`VISION_URL` with `VISION_TOKEN`, else the file that `VISION_ACCESS_FILE` names, else what `vision login` stored.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vision_client.errors import AccessMissing

HOW_TO_GET_ACCESS = (
    "start the platform with `make run` (it writes var/access.json, which ./vision finds), "
    "or store another platform's token with `vision login URL`, or set VISION_URL and VISION_TOKEN"
)


@dataclass(frozen=True)
class Access:
    url: str
    token: str


def find_access(environment: Mapping[str, str] = os.environ) -> Access:
    """Raises AccessMissing when nothing says where the platform is, naming what was looked at."""
    url, token = environment.get("VISION_URL", ""), environment.get("VISION_TOKEN", "")
    if url and token:
        return Access(url, token)
    if url or token:
        missing = "VISION_TOKEN" if url else "VISION_URL"
        raise AccessMissing(f"{missing} is not set; set VISION_URL and VISION_TOKEN together, or neither")
    return _read(_access_file(environment))


def login_file(environment: Mapping[str, str] = os.environ) -> Path:
    configuration = environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or Path.home()) / ".config"
    return Path(configuration) / "vision" / "access.json"


def store_login(access: Access, environment: Mapping[str, str] = os.environ) -> Path:
    """Writes the file that is looked at last, readable by the owner alone."""
    path = login_file(environment)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"url": access.url, "token": access.token}, file)
    partial.replace(path)
    return path


def _access_file(environment: Mapping[str, str]) -> Path:
    named = environment.get("VISION_ACCESS_FILE")
    path = Path(named) if named else login_file(environment)
    if path.is_file():
        return path
    reason = f"VISION_ACCESS_FILE={named!r} is not a file" if named else "no platform is known here"
    raise AccessMissing(f"{reason}; {HOW_TO_GET_ACCESS}")


def _read(path: Path) -> Access:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Access(str(content["url"]), str(content["token"]))
    except PermissionError as error:
        raise AccessMissing(f"{path} may only be read by the one who started the platform") from error
    except (ValueError, KeyError, TypeError) as error:
        raise AccessMissing(f'{path} is not {{"url": …, "token": …}}; {HOW_TO_GET_ACCESS}') from error
