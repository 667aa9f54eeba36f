"""A real S3 server on loopback: OpenStack Swift with its s3api, in a temporary folder that is removed at exit.

    testing/.venv/bin/python testing/s3_server.py --bucket vision

prints one line of JSON when it is ready, {"endpoint", "access_key", "secret_key", "region"}, and serves until SIGTERM,
SIGINT or, where its standard input is a pipe, until that closes: a test that dies takes its server along.
"""

import argparse
import configparser
import ctypes
import json
import os
import secrets
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import boto3
from botocore.config import Config
from swift.common.ring import RingBuilder

HOST = "127.0.0.1"
ACCOUNT, USER = "test", "tester"
STORAGE_SERVERS = ("account", "container", "object")
SERVERS = (*STORAGE_SERVERS, "proxy")
PIPELINE = (
    "catch_errors gatekeeper healthcheck proxy-logging bulk s3api tempauth copy slo dlo versioned_writes symlink "
    "proxy-server"
)
READY_SECONDS = 60.0
START_ATTEMPTS = 3
PR_SET_PDEATHSIG = 1

Ports = dict[str, int]


class PortTaken(Exception):
    """Another program took one of the ports between our choosing and Swift's binding it."""


def main() -> None:
    arguments = _parse_arguments()
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    with serving(arguments.region, arguments.bucket) as (credentials, servers):
        print(json.dumps(credentials), flush=True)
        _wait(servers)


@contextmanager
def serving(region: str, buckets: list[str]) -> Iterator[tuple[dict[str, str], list[subprocess.Popen[bytes]]]]:
    """Run the server; yields its credentials and its processes, which end with the block."""
    secret = secrets.token_hex(16)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3-server-", dir=_scratch())))
        ports, servers = _start(folder, region, secret, stack)
        credentials = {
            "endpoint": f"http://{HOST}:{ports['proxy']}",
            "access_key": f"{ACCOUNT}:{USER}",
            "secret_key": secret,
            "region": region,
        }
        client = s3_client(credentials)
        for bucket in buckets:
            client.create_bucket(Bucket=bucket)
        yield credentials, servers


def s3_client(credentials: dict[str, str]) -> Any:
    """A boto3 client as Swift, MinIO and R2 need it: path addressing, checksums only where required."""
    config = Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"max_attempts": 5, "mode": "standard"},
    )
    return boto3.client(
        "s3",
        endpoint_url=credentials["endpoint"],
        aws_access_key_id=credentials["access_key"],
        aws_secret_access_key=credentials["secret_key"],
        region_name=credentials["region"],
        config=config,
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A real S3 server for tests (OpenStack Swift with s3api).")
    parser.add_argument("--bucket", action="append", default=[], metavar="NAME", help="make this bucket (repeatable)")
    parser.add_argument("--region", default="us-east-1", help="the only region it accepts; R2's is auto")
    return parser.parse_args()


def _leave(_signal: int, _frame: Any) -> NoReturn:
    raise SystemExit(0)


def _scratch() -> str:
    """The first temporary folder whose file system has user extended attributes: Swift keeps metadata in them."""
    candidates = list(dict.fromkeys([tempfile.gettempdir(), "/var/tmp", "/dev/shm"]))
    for candidate in candidates:
        try:
            with tempfile.NamedTemporaryFile(dir=candidate) as probe:
                os.setxattr(probe.name, "user.probe", b"1")
                return candidate
        except OSError:
            continue
    raise SystemExit(f"None of {', '.join(candidates)} has user extended attributes; set TMPDIR to a folder that has")


def _start(folder: Path, region: str, secret: str, stack: ExitStack) -> tuple[Ports, list[subprocess.Popen[bytes]]]:
    for attempt in range(1, START_ATTEMPTS + 1):
        home = folder / f"start-{attempt}"
        ports = _free_ports()
        _configure(home, ports, region, secret)
        running = ExitStack()
        servers = [running.enter_context(_server(home, name)) for name in SERVERS]
        try:
            _wait_until_ready(home, ports, servers)
        except PortTaken:
            running.close()
            continue
        except BaseException:
            running.close()
            raise
        stack.push(running)
        return ports, servers
    raise SystemExit(f"No free ports for Swift after {START_ATTEMPTS} attempts; try again")


def _free_ports() -> Ports:
    with ExitStack() as stack:
        held = {name: stack.enter_context(socket.socket()) for name in SERVERS}
        for holder in held.values():
            holder.bind((HOST, 0))
        return {name: int(holder.getsockname()[1]) for name, holder in held.items()}


def _configure(home: Path, ports: Ports, region: str, secret: str) -> None:
    devices = home / "devices"
    (devices / "d1").mkdir(parents=True)
    _write(
        home / "swift.conf",
        {
            "swift-hash": {"swift_hash_path_prefix": secrets.token_hex(8), "swift_hash_path_suffix": "test"},
            "storage-policy:0": {"name": "only", "default": "yes"},
        },
    )
    for name in STORAGE_SERVERS:
        _write_ring(home / f"{name}.ring.gz", ports[name])
        sections = {"pipeline:main": {"pipeline": f"{name}-server"}, f"app:{name}-server": {"use": f"egg:swift#{name}"}}
        _write(home / f"{name}-server.conf", {"DEFAULT": _defaults(home, ports[name]), **sections})
    proxy = {"DEFAULT": _defaults(home, ports["proxy"]), **_proxy_sections(region, secret)}
    _write(home / "proxy-server.conf", proxy)


def _defaults(home: Path, port: int) -> dict[str, str]:
    return {
        "swift_dir": str(home),
        "devices": str(home / "devices"),
        "mount_check": "false",
        "bind_ip": HOST,
        "bind_port": str(port),
        "workers": "0",
        "user": "",
        "log_level": "WARNING",
    }


def _proxy_sections(region: str, secret: str) -> dict[str, dict[str, str]]:
    options = {
        "tempauth": {f"user_{ACCOUNT}_{USER}": f"{secret} .admin"},
        "s3api": {"location": region, "s3_acl": "false"},
        "versioned_writes": {"allow_object_versioning": "true"},
    }
    filters = {
        f"filter:{name}": {"use": f"egg:swift#{name.replace('-', '_')}", **options.get(name, {})}
        for name in PIPELINE.split()[:-1]
    }
    app = {"use": "egg:swift#proxy", "account_autocreate": "true", "allow_account_management": "true"}
    return {"pipeline:main": {"pipeline": PIPELINE}, "app:proxy-server": app, **filters}


def _write(path: Path, sections: dict[str, dict[str, str]]) -> None:
    config = configparser.RawConfigParser(default_section="no defaults")
    config.read_dict(sections)
    with path.open("w") as file:
        config.write(file)


def _write_ring(path: Path, port: int) -> None:
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    address = {"ip": HOST, "port": port, "replication_ip": HOST, "replication_port": port}
    builder.add_dev({"region": 1, "zone": 1, "device": "d1", "weight": 1, **address})
    builder.rebalance()
    builder.get_ring().save(str(path))


@contextmanager
def _server(home: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    program = Path(sys.executable).parent / f"swift-{name}-server"
    with (home / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(program), str(home / f"{name}-server.conf"), "-v"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,
        )
    try:
        yield process
    finally:
        process.kill()  # its folder goes too: nothing is worth a graceful end
        process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_until_ready(home: Path, ports: Ports, servers: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    waiting = dict(ports)
    while waiting:
        waiting = {name: port for name, port in waiting.items() if not _listens(port)}
        for name, process in zip(SERVERS, servers, strict=True):
            if process.poll() is not None:
                _report_end(home, name)
        if time.monotonic() > deadline:
            raise SystemExit(f"Swift's {', '.join(waiting)} did not listen within {READY_SECONDS:.0f} s")
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _report_end(home: Path, name: str) -> NoReturn:
    output = (home / f"{name}.log").read_text(errors="replace")
    if "Address already in use" in output or "EADDRINUSE" in output:
        raise PortTaken(name)
    raise SystemExit(f"Swift's {name} server ended while starting:\n{output}")


def _wait(servers: list[subprocess.Popen[bytes]]) -> None:
    """Until standard input closes, if it is a pipe, or a server ends."""
    watched = [0] if _is_pipe(0) else []
    while all(process.poll() is None for process in servers):
        readable, _, _ = select.select(watched, [], [], 0.5)
        if readable and not os.read(0, 4096):
            return
    raise SystemExit("A Swift server ended unexpectedly")


def _is_pipe(descriptor: int) -> bool:
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


if __name__ == "__main__":
    main()
