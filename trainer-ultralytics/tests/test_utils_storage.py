"""Storage, on a local folder and on a real S3 server with the settings of minio and r2."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import obstore
import pytest
import utils
from conftest import MakeConfig, contract_validator
from s3 import Relay, S3Server
from utils import Pace, Reporter, Superseded, TrainConfig, TrainerFailure

QUICK = Pace(first_retry=0.01, longest_retry=0.05, download_patience=0.3, upload_patience=30)


@dataclass(frozen=True)
class Place:
    """A bucket: through our client, and as an independent reader sees it."""

    store: Any
    digests: Callable[[], dict[str, str]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utils, "PACE", QUICK)


def local_environment(folder: Path) -> dict[str, str]:
    return {"STORAGE_TYPE": "local", "STORAGE_PATH": str(folder), "STORAGE_BUCKET": "vision"}


def s3_environment(storage_type: str, server: S3Server) -> dict[str, str]:
    names = utils.STORAGE_VARIABLES[storage_type]
    values = (server.endpoint, server.access_key, server.secret_key)
    return {"STORAGE_TYPE": storage_type, "STORAGE_BUCKET": "vision", **dict(zip(names, values, strict=True))}


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    (tmp_path / "storage").mkdir()
    return _open(local_environment(tmp_path / "storage"), monkeypatch, lambda: _digests_of(tmp_path / "storage/vision"))


@pytest.fixture(params=["local", "minio", pytest.param("r2", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Every kind of storage, empty."""
    if request.param == "local":
        yield request.getfixturevalue("local")
        return
    for name in ("ENDPOINT_URL_S3", "ACCESS_KEY_ID", "SESSION_TOKEN", "REGION", "SKIP_SIGNATURE"):
        monkeypatch.setenv(f"AWS_{name}", "true")  # somebody's own settings must not leak in
    server = request.getfixturevalue(f"{request.param}_server")
    environment = s3_environment(request.param, server)
    found = _open(environment, monkeypatch, lambda: server.digests("vision"))
    yield found
    obstore.delete(found.store, [item["path"] for item in obstore.list(found.store).collect()])


def _open(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, digests: Callable[[], dict[str, str]]) -> Place:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Place(utils.get_storage_client(), digests)


def _digests_of(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def config(make_config: MakeConfig) -> TrainConfig:
    return make_config()


@pytest.fixture
def reporter(config: TrainConfig) -> Reporter:
    return Reporter(config)


def reported(config: TrainConfig) -> list[dict[str, Any]]:
    lines = (config.work_dir / "outbox.jsonl").read_text().splitlines()
    return [json.loads(line.partition(" ")[2]) for line in lines]


def weights(tmp_path: Path, content: bytes, name: str = "last.pt") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive(**files: str) -> bytes:
    """A zip as the platform writes it; `__` in a name stands for a slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, text in files.items():
            bundle.writestr(name.replace("__", "/"), text)
    return buffer.getvalue()


def add_dataset(store: Any, content: bytes, version: int = 1, dataset: str = "digits") -> str:
    latest = {"version": version, "archive_sha256": sha256(content)}
    obstore.put(store, f"datasets/{dataset}/{version}/data.zip", content)
    obstore.put(store, f"datasets/{dataset}/latest", json.dumps(latest).encode())
    return sha256(content)


def cached(root: Path) -> list[str]:
    """What the cache holds beside its locks."""
    return [path.name for path in (root / "cache/datasets").iterdir() if path.suffix not in (".lock", ".fetching")]


def code_of(action: Callable[[], object]) -> str:
    with pytest.raises(TrainerFailure) as caught:
        action()
    return caught.value.code


# ------------------------------------------------------------------------------------------------------ checkpoints


def test_the_pointer_names_whole_weights_if_a_checkpoint_is_uploaded(
    place: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    path = weights(tmp_path, b"epoch 1")
    key = utils.upload_checkpoint(place.store, config, reporter, "last", path, 1, {"mAP50": float("nan")})
    assert key == f"checkpoints/job-12/attempt-1/1-{sha256(b'epoch 1')[:12]}.pt"
    pointer = utils.read_pointer(place.store, config, "last")
    contract_validator("pointer").validate(pointer)
    assert pointer and pointer == {
        "key": key,
        "sha256": sha256(b"epoch 1"),
        "size": 7,
        "epoch": 1,
        "metrics": {"mAP50": None},
        "attempt": 1,
    }
    assert place.digests()[key] == sha256(b"epoch 1")
    assert set(place.digests()) == {key, "checkpoints/job-12/last.json"}
    [event] = reported(config)
    contract_validator("events", "event").validate(event)
    assert (event["kind"], event["key"], event["size"], event["epoch"]) == ("last", key, 7, 1)


def test_what_was_superseded_is_deleted_unless_the_other_pointer_names_it(
    place: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    def upload(kind: str, epoch: int) -> str:
        path = weights(tmp_path, f"epoch {epoch}".encode())
        return utils.upload_checkpoint(place.store, config, reporter, kind, path, epoch, {})

    first, again = upload("best", 1), upload("last", 1)
    assert first == again
    second = upload("last", 2)
    assert {first, second} < set(place.digests())  # best still names the first
    third = upload("last", 3)
    assert {first, third} < set(place.digests()) and second not in place.digests()
    assert upload("best", 3) == third
    pointers = {"checkpoints/job-12/best.json", "checkpoints/job-12/last.json"}
    assert set(place.digests()) == {third, *pointers}


def test_nothing_is_deleted_if_the_same_checkpoint_is_uploaded_again(
    place: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    path = weights(tmp_path, b"epoch 1")
    keys = {utils.upload_checkpoint(place.store, config, reporter, "last", path, 1, {}) for _ in range(2)}
    assert set(place.digests()) == {*keys, "checkpoints/job-12/last.json"}


def test_all_bytes_arrive_if_a_checkpoint_has_several_parts(
    place: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    content = os.urandom(2 * utils.PART_BYTES + 12345)
    key = utils.upload_checkpoint(place.store, config, reporter, "best", weights(tmp_path, content), 1, {})
    assert place.digests()[key] == sha256(content)
    assert utils.download_checkpoint(place.store, key, tmp_path / "down").read_bytes() == content


def test_a_copy_of_the_best_is_published_if_there_is_one(
    place: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    assert utils.publish_best(place.store, config, reporter) is None
    for epoch in (1, 2):
        path = weights(tmp_path, f"epoch {epoch}".encode())
        utils.upload_checkpoint(place.store, config, reporter, "best", path, epoch, {})
        assert utils.publish_best(place.store, config, reporter) == "checkpoints/job-12/best.pt"
        assert place.digests()["checkpoints/job-12/best.pt"] == sha256(path.read_bytes())


def test_it_is_fenced_off_if_a_newer_attempt_wrote_a_pointer(
    local: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    newer = replace(config, attempt=2)
    utils.upload_checkpoint(local.store, newer, reporter, "last", weights(tmp_path, b"newer"), 5, {})
    before = utils.read_pointer(local.store, config, "last")
    for kind in ("last", "best"):
        with pytest.raises(Superseded):
            utils.upload_checkpoint(local.store, config, reporter, kind, weights(tmp_path, b"older"), 6, {})
    assert utils.read_pointer(local.store, config, "last") == before
    assert utils.read_pointer(local.store, config, "best") is None


def test_an_older_attempts_checkpoint_is_superseded_if_a_retry_uploads(
    local: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    old = utils.upload_checkpoint(local.store, config, reporter, "last", weights(tmp_path, b"one"), 1, {})
    retry = replace(config, attempt=2)
    new = utils.upload_checkpoint(local.store, retry, reporter, "last", weights(tmp_path, b"two"), 2, {})
    assert "attempt-2" in new and old not in local.digests()


def test_storage_is_not_touched_if_the_platform_said_superseded(
    local: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    reporter._superseded = True
    path = weights(tmp_path, b"late")
    with pytest.raises(Superseded):
        utils.upload_checkpoint(local.store, config, reporter, "last", path, 1, {})
    with pytest.raises(Superseded):
        utils.upload_artifact(local.store, config, reporter, "plot", "a.png", path)
    with pytest.raises(Superseded):
        utils.publish_best(local.store, config, reporter)
    assert local.digests() == {}


def test_an_artifact_is_stored_and_reported_if_its_name_is_unusual(
    place: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    path = weights(tmp_path, b"picture", "labels.jpg")
    key = utils.upload_artifact(place.store, config, reporter, "plot", "../라벨 plots/labels.jpg", path, 3)
    assert key == "artifacts/job-12/attempt-1/-plots-labels.jpg"
    assert place.digests() == {key: sha256(b"picture")}
    [event] = reported(config)
    contract_validator("events", "event").validate(event)
    assert (event["name"], event["epoch"]) == ("../라벨 plots/labels.jpg", 3)


def test_files_and_folders_are_flushed_in_order_if_the_storage_is_a_folder(
    local: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        flushed.append(os.path.relpath(os.readlink(f"/proc/self/fd/{handle}"), tmp_path / "storage/vision"))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    utils.upload_artifact(local.store, config, reporter, "plot", "a.png", weights(tmp_path, b"x"))
    staged, *folders = flushed
    assert staged.startswith("artifacts/job-12/attempt-1/a.png#")
    assert folders == ["artifacts/job-12/attempt-1", "artifacts/job-12", "artifacts", "."]


# -------------------------------------------------------------------------------------------------------- downloads


@pytest.mark.parametrize("key", ["nowhere/x.pt", "../../etc/passwd", "/etc/passwd"])
def test_codes_tell_what_is_missing_if_a_key_is_not_there(place: Place, tmp_path: Path, key: str) -> None:
    assert code_of(lambda: utils.download_weights(place.store, key, tmp_path)) == "WEIGHTS_MISSING"
    assert code_of(lambda: utils.download_checkpoint(place.store, key, tmp_path)) == "CHECKPOINT_MISSING"
    assert code_of(lambda: utils.download_image(place.store, key, tmp_path)) == "IMAGE_MISSING"
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


def test_the_checkpoint_is_refused_if_its_digest_differs(local: Place, config: TrainConfig, tmp_path: Path) -> None:
    obstore.put(local.store, "a/last.pt", b"weights")
    assert utils.download_checkpoint(local.store, "a/last.pt", tmp_path, sha256(b"weights")).name == "last.pt"
    action = lambda: utils.download_checkpoint(local.store, "a/last.pt", tmp_path / "b", "0" * 64)  # noqa: E731
    assert code_of(action) == "RESUME_INVALID"
    assert list((tmp_path / "b").iterdir()) == []


def test_resuming_follows_the_pointer_if_told_auto(
    local: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    assert utils.download_resume(local.store, config) is None
    auto = replace(config, resume="auto")
    assert utils.download_resume(local.store, auto) is None
    key = utils.upload_checkpoint(local.store, config, reporter, "last", weights(tmp_path, b"epoch 4"), 4, {})
    for resume in (auto, replace(config, resume=key, resume_sha256=sha256(b"epoch 4")), replace(config, resume=key)):
        path = utils.download_resume(local.store, resume)
        assert path and path.read_bytes() == b"epoch 4"
        assert path.parent == config.work_dir / "resume"
    gone = replace(config, resume="checkpoints/job-12/attempt-1/9-aaaaaaaaaaaa.pt")
    assert code_of(lambda: utils.download_resume(local.store, gone)) == "CHECKPOINT_MISSING"


def test_a_damaged_pointer_is_an_error_if_it_is_read(local: Place, config: TrainConfig) -> None:
    for data in (b"", b"[]", b"{", b'{"key": "x"}', b"\xff"):
        obstore.put(local.store, "checkpoints/job-12/last.json", data)
        assert code_of(lambda: utils.read_pointer(local.store, config, "last")) == "STORAGE_ERROR"


# --------------------------------------------------------------------------------------------------------- datasets


def test_the_dataset_is_extracted_once_and_then_kept_if_it_is_asked_for_again(
    place: Place, config: TrainConfig, tmp_path: Path
) -> None:
    digest = add_dataset(place.store, archive(images__train__a="A", labels__train__a="0 0.5 0.5 1 1"))
    seen: list[tuple[int, int]] = []
    folder = utils.download_dataset(place.store, config, lambda done, total: seen.append((done, total)))
    assert folder == tmp_path / "cache/datasets" / digest
    assert (folder / "images/train/a").read_text() == "A"
    assert seen and seen[-1][0] == seen[-1][1] > 0
    obstore.delete(place.store, "datasets/digits/1/data.zip")
    assert utils.download_dataset(place.store, config) == folder
    assert cached(tmp_path) == [digest]


def test_the_chosen_version_is_taken_if_it_is_not_the_latest(local: Place, config: TrainConfig) -> None:
    old = archive(data="old")
    add_dataset(local.store, old, version=1)
    add_dataset(local.store, archive(data="new"), version=2)
    for chosen in (replace(config, dataset_version=1), replace(config, dataset_version=1, dataset_sha256=sha256(old))):
        assert (utils.download_dataset(local.store, chosen) / "data").read_text() == "old"
    assert (utils.download_dataset(local.store, config) / "data").read_text() == "new"


@pytest.mark.parametrize(("version", "known"), [(None, None), (1, None), (1, "a" * 64)])
def test_the_dataset_is_missing_if_the_storage_is_empty(
    place: Place, config: TrainConfig, version: int | None, known: str | None
) -> None:
    wanted = replace(config, dataset_version=version, dataset_sha256=known)
    assert code_of(lambda: utils.download_dataset(place.store, wanted)) == "DATASET_MISSING"


def test_nothing_is_kept_if_the_digest_differs(local: Place, config: TrainConfig, tmp_path: Path) -> None:
    add_dataset(local.store, archive(data="x"))
    wanted = replace(config, dataset_sha256="a" * 64)
    assert code_of(lambda: utils.download_dataset(local.store, wanted)) == "DATASET_DIGEST_MISMATCH"
    assert cached(tmp_path) == []


def link_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        link = zipfile.ZipInfo("images/link")
        link.external_attr = 0o120777 << 16
        bundle.writestr(link, "/etc/passwd")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        archive(**{"..__..__evil": "x"}),
        archive(**{"__etc__evil": "x"}),
        archive(**{"images__..__..__evil": "x"}),
        archive(**{"a\\..\\evil": "x"}),
        link_archive(),
        b"not a zip",
        archive(images__a="A" * 1000).replace(b"A" * 1000, b"B" * 1000),
        archive(images__a="A" * 1000)[:700],
        archive(images="a file", images__a="below a file"),
    ],
    ids=["climbs", "absolute", "climbs inside", "backslash", "link", "not a zip", "wrong crc", "cut off", "clash"],
)
def test_the_dataset_is_invalid_and_nothing_is_kept_if_its_archive_is_unsafe(
    local: Place, config: TrainConfig, tmp_path: Path, content: bytes
) -> None:
    add_dataset(local.store, content)
    assert code_of(lambda: utils.download_dataset(local.store, config)) == "DATASET_INVALID"
    assert cached(tmp_path) == []
    assert list(tmp_path.rglob("evil*")) == []


@pytest.mark.parametrize("latest", [b"", b"1", b"{}", b'{"version": 0, "archive_sha256": "%s"}' % (b"a" * 64), b"\xff"])
def test_the_dataset_is_invalid_if_latest_is_damaged(local: Place, config: TrainConfig, latest: bytes) -> None:
    obstore.put(local.store, "datasets/digits/latest", latest)
    assert code_of(lambda: utils.download_dataset(local.store, config)) == "DATASET_INVALID"


def test_one_download_serves_all_if_attempts_want_the_same_dataset_at_once(local: Place, config: TrainConfig) -> None:
    add_dataset(local.store, archive(data="x" * 100_000))
    downloads: list[int] = []
    both_wait = threading.Barrier(4)

    def fetch() -> None:
        both_wait.wait()
        utils.download_dataset(local.store, config, lambda done, total: downloads.append(done))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(downloads) == 1


USE_DATASET = """
import sys
from pathlib import Path
from test_utils_storage import dataset_config
import utils
print(utils.download_dataset(utils.get_storage_client(), dataset_config(Path(sys.argv[1]), sys.argv[2])), flush=True)
sys.stdin.read()
"""


def dataset_config(root: Path, dataset: str, limit: int = 50 * 2**30) -> TrainConfig:
    values: dict[str, Any] = dict.fromkeys(TrainConfig.__dataclass_fields__)
    folders = {"work_dir": root / "work", "cache_dir": root / "cache"}
    return TrainConfig(**{**values, **folders, "dataset_id": dataset, "cache_limit_bytes": limit})


def use_dataset(root: Path, dataset: str) -> "subprocess.Popen[str]":
    """Another process that has a dataset in use until its standard input closes."""
    folder = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{folder.parent}"}
    command = [sys.executable, "-c", USE_DATASET, str(root), dataset]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline()
    return process


def test_the_dataset_not_used_for_longest_goes_if_the_cache_is_full(local: Place, tmp_path: Path) -> None:
    digests = {name: add_dataset(local.store, archive(data=name * 1000), dataset=name) for name in "abcd"}

    def kept() -> set[str]:
        return {name for name, digest in digests.items() if digest in cached(tmp_path)}

    for name in "abc":
        use_dataset(tmp_path, name).communicate()
    use_dataset(tmp_path, "a").communicate()  # used again: b is now the oldest
    holder = use_dataset(tmp_path, "b")  # and held by a process that lives
    os.utime(tmp_path / "cache/datasets" / f"{digests['b']}.lock", (1, 1))
    utils.download_dataset(local.store, dataset_config(tmp_path, "d", limit=3500))
    assert kept() == {"a", "b", "d"}
    holder.kill()
    holder.communicate()
    utils.download_dataset(local.store, dataset_config(tmp_path, "c", limit=3500))
    assert kept() == {"a", "c", "d"}
    assert len(cached(tmp_path)) == 3


def test_a_killed_download_leaves_nothing_that_is_trusted_if_it_is_repeated(
    local: Place, config: TrainConfig, tmp_path: Path
) -> None:
    digest = add_dataset(local.store, archive(data="x"))
    killed = tmp_path / "cache/datasets" / f"{digest}.incoming"
    (killed / "data").mkdir(parents=True)
    (killed / "data/half").write_text("written")
    folder = utils.download_dataset(local.store, config)
    assert [path.name for path in folder.iterdir()] == ["data"]
    assert not killed.exists()


def test_downloading_ends_if_the_callback_raises(local: Place, config: TrainConfig, tmp_path: Path) -> None:
    add_dataset(local.store, archive(data="x"))

    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        utils.download_dataset(local.store, config, stop)
    assert cached(tmp_path) == []


@pytest.fixture
def ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are large from 100 kB on."""
    monkeypatch.setattr(utils, "RANGE_BYTES", 100_000)


@pytest.mark.parametrize("size", [100_000, 100_001, 1_234_567])
def test_a_large_object_is_whole_if_it_comes_in_ranges(size: int, place: Place, ranges: None, tmp_path: Path) -> None:
    content, seen = os.urandom(size), [0]

    def progress(done: int, total: int) -> None:
        assert seen[-1] < done <= total == size
        seen.append(done)

    obstore.put(place.store, "large", content)
    path, digest = utils._download(place.store, "large", tmp_path / "large", "MISSING", progress)
    assert (path.read_bytes(), digest, seen[-1]) == (content, sha256(content), size)


def test_a_large_object_is_never_a_mixture_if_it_is_replaced_meanwhile(
    relay: "Relay", ranges: None, tmp_path: Path
) -> None:
    old, new = os.urandom(1_000_000), os.urandom(1_000_000)
    store = utils.get_storage_client()
    obstore.put(store, "large", old)
    replaced: list[int] = []

    def replace_it(done: int, total: int) -> None:
        if not replaced:
            replaced.append(done)
            obstore.put(store, "large", new)

    try:
        found = utils._download(store, "large", tmp_path / "large", "MISSING", replace_it)[1]
    except TrainerFailure as failure:
        assert failure.code == "STORAGE_ERROR"
        assert not (tmp_path / "large").exists()
    else:
        assert found in (sha256(old), sha256(new))
    assert replaced


def test_a_large_object_is_whole_if_an_outage_interrupts_it(relay: "Relay", ranges: None, tmp_path: Path) -> None:
    store, content = utils.get_storage_client(), os.urandom(1_000_000)
    obstore.put(store, "large", content)
    outages: list[int] = []

    def interrupt(done: int, total: int) -> None:
        if not outages:
            outages.append(done)
            relay.cut()
            relay.heal()

    assert utils._download(store, "large", tmp_path / "large", "MISSING", interrupt)[1] == sha256(content)
    assert outages


def test_a_large_download_ends_if_the_callback_raises(relay: "Relay", ranges: None, tmp_path: Path) -> None:
    store = utils.get_storage_client()
    obstore.put(store, "large", os.urandom(1_000_000))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        utils._download(store, "large", tmp_path / "large", "MISSING", stop)
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
from pathlib import Path
from test_utils_storage import dataset_config
import utils
store = utils.get_storage_client()
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    utils.download_dataset(store, dataset_config(Path(sys.argv[1]), "digits"))
except utils.TrainerFailure as failure:
    print(failure.code)
"""


@pytest.mark.parametrize("limit", [3000, 12000], ids=["while downloading", "while extracting"])
def test_the_disk_is_full_if_the_dataset_does_not_fit(local: Place, tmp_path: Path, limit: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("noise", os.urandom(6000))
        bundle.writestr("zeros", bytes(20000))
    add_dataset(local.store, buffer.getvalue())
    folder = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{folder.parent}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert output.stdout == "DISK_FULL\n"
    assert cached(tmp_path) == []


# ---------------------------------------------------------------------------------------------------------- outages


@pytest.fixture
def relay(minio_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """Between us and the server; STORAGE_* point at it."""
    relay = Relay(minio_server.port)
    behind = replace(minio_server, endpoint=f"http://127.0.0.1:{relay.port}")
    for name, value in {**s3_environment("minio", behind), "STORAGE_BUCKET": "other"}.items():
        monkeypatch.setenv(name, value)
    yield relay
    relay.close()


def test_the_upload_ends_well_if_an_outage_ends(
    relay: Relay, minio_server: S3Server, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    store = utils.get_storage_client()
    content = os.urandom(utils.PART_BYTES + 1000)
    path = weights(tmp_path, content)
    relay.cut()
    upload = threading.Thread(
        target=utils.upload_checkpoint, args=(store, config, reporter, "last", path, 1, {}), daemon=True
    )
    upload.start()
    deadline = time.monotonic() + 30
    while relay.refused < 10:
        assert time.monotonic() < deadline and upload.is_alive()
        upload.join(0.01)
    relay.heal()
    upload.join(30)
    [event] = reported(config)
    assert minio_server.digests("other")[event["key"]] == sha256(content)


def test_the_error_is_clear_if_the_outage_lasts(
    relay: Relay, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.cut()
    with pytest.raises(TrainerFailure) as caught:
        utils.download_dataset(utils.get_storage_client(), config)
    assert caught.value.code == "STORAGE_ERROR"
    assert caught.value.message.startswith("cannot read datasets/digits/latest: ")
    assert "\n" not in caught.value.message


def test_the_outage_is_not_outlasted_past_half_the_grace_if_asked_to_stop(
    relay: Relay, config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(utils, "PACE", replace(QUICK, upload_patience=10**6))
    stopping = Reporter(replace(config, grace_period=1))
    stopping.request_stop()
    relay.cut()
    path = weights(tmp_path, b"x")
    store = utils.get_storage_client()
    action = lambda: utils.upload_checkpoint(store, config, stopping, "last", path, 1, {})  # noqa: E731
    assert code_of(action) == "STORAGE_ERROR"


@pytest.mark.parametrize("change", [{"MINIO_SECRET_KEY": "wrong"}, {"STORAGE_BUCKET": "nobody-made-this"}])
def test_it_is_not_tried_again_if_the_storage_refuses(
    relay: Relay,
    config: TrainConfig,
    reporter: Reporter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, str],
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value)
    path = weights(tmp_path, b"x")
    store = utils.get_storage_client()
    assert code_of(lambda: utils.upload_checkpoint(store, config, reporter, "last", path, 1, {})) == "STORAGE_ERROR"
    assert "trying again" not in caplog.text


def test_the_run_goes_on_with_a_warning_if_the_superseded_cannot_be_deleted(
    local: Place, config: TrainConfig, reporter: Reporter, tmp_path: Path
) -> None:
    old = utils.upload_checkpoint(local.store, config, reporter, "last", weights(tmp_path, b"one"), 1, {})
    stuck = tmp_path / "storage/vision" / old
    stuck.unlink()
    (stuck / "not empty").mkdir(parents=True)
    utils.upload_checkpoint(local.store, config, reporter, "last", weights(tmp_path, b"two"), 2, {})
    assert [event["type"] for event in reported(config)] == ["checkpoint", "checkpoint", "warning"]
    assert reported(config)[-1]["code"] == "CHECKPOINT_NOT_DELETED"


def test_readers_see_the_old_or_the_new_pointer_if_the_writer_is_killed(local: Place, tmp_path: Path) -> None:
    program = (
        "import sys, utils\n"
        "store = utils.get_storage_client()\n"
        "for number in range(10**9):\n"
        "    utils._put(store, 'p.json', b'%d' % number * 1000)\n"
        "    print(number, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(utils.__file__).parent)}
    for _ in range(3):
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            for _ in range(20):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        data = (tmp_path / "storage/vision/p.json").read_bytes()
        assert len(data) % 1000 == 0 and data == data[: len(data) // 1000] * 1000
    assert [item["path"] for item in obstore.list(local.store).collect()] == ["p.json"]
