"""The same files in every kind of archive that is taken."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import zstandard

Compress = Callable[[bytes], bytes]
KINDS = ("zip", "stored zip", "tar", "tar.gz", "tar.zst")


def pack(path: Path, files: Mapping[str, bytes], kind: str = "zip") -> Path:
    path.write_bytes(_zip(files, kind) if kind.endswith("zip") else _tar(files, kind))
    return path


def _zip(files: Mapping[str, bytes], kind: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED if kind == "zip" else zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


def _tar(files: Mapping[str, bytes], kind: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    compressed: dict[str, Compress] = {"tar": bytes, "tar.gz": gzip.compress, "tar.zst": zstandard.compress}
    return compressed[kind](packed.getvalue())
