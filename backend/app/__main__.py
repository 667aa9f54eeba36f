"""The backend's own commands: `python -m app serve | token | openapi`, installed as `vision-backend`."""

import argparse
import json
import logging
import signal
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime

import uvicorn
from pydantic import ValidationError

from app.db import Database
from app.main import create_app
from app.migrate import migrate
from app.services import access
from app.settings import Settings

OPEN_STREAMS_SECONDS = 2  # an event stream never ends by itself; its client reconnects where it was


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="vision-backend", description="Vision Platform's backend.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve the API; settings come from the environment, see .env.example")
    commands.add_parser("token", help="make a new access token; the old one stops working at once")
    commands.add_parser("openapi", help="print the API's OpenAPI description as JSON")
    command = parser.parse_args(arguments).command
    if command == "openapi":
        return print_openapi()
    try:
        settings = Settings()
    except ValidationError as error:
        return _refuse_settings(error)
    return serve(settings) if command == "serve" else make_token(settings)


def serve(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM. With PORT=0 the system chooses the port, and the access file has the real one."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        listener = _bind(settings.host, settings.port)
    except OSError as error:
        print(f"HOST={settings.host} PORT={settings.port} cannot be used: {error.strerror or error}", file=sys.stderr)
        return 1
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=OPEN_STREAMS_SECONDS,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn raises again what it has stopped for
    with suppress(KeyboardInterrupt):
        _Server(config, settings.url).run(sockets=[listener])
    return 0


def make_token(settings: Settings) -> int:
    """Replace the access token, also of a backend that runs."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    migrate(database)
    print("\n".join(access.rotate(database, settings, datetime.now(UTC))))
    database.dispose()
    return 0


def print_openapi() -> int:
    """The description depends on no setting and opens nothing."""
    json.dump(create_app(Settings.model_construct()).openapi(), sys.stdout, indent=2, ensure_ascii=False)
    print()
    return 0


class _Server(uvicorn.Server):
    """Says where it is once it answers."""

    def __init__(self, config: uvicorn.Config, url: str) -> None:
        super().__init__(config)
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"Vision Platform is at {self._url}, its API is described at {self._url}/docs", flush=True)


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: nobody waits at a backend that is still starting."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _refuse_settings(error: ValidationError) -> int:
    print("These settings are refused:", file=sys.stderr)
    for problem in error.errors():
        name = "".join(str(part).upper() for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        print(f"  {name}={problem['input']!r}: {message}" if name else f"  {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
