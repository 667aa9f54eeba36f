"""Zips with every field free to lie. A member is honest unless told otherwise."""

import random
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STORED, DEFLATED = 0, 8
LOCAL, CENTRAL, END = "<4s5H3L2H", "<4s6H3L5H2L", "<4s4H2LH"
IMAGE = b"images/train/a.jpg"


@dataclass(frozen=True)
class Member:
    """`local` and `central` replace fields of the header before the bytes and of the directory; `gap` shifts it."""

    name: bytes = IMAGE
    data: bytes = b"an image"
    method: int = STORED
    flags: int = 0x800
    mode: int = 0
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)

    @property
    def packed(self) -> bytes:
        if self.method != DEFLATED:
            return self.data
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        return deflater.compress(self.data) + deflater.flush()

    def fields(self, changes: dict[str, Any]) -> dict[str, Any]:
        honest = {
            "name": self.name,
            "flags": self.flags,
            "method": self.method,
            "crc": zlib.crc32(self.data),
            "packed": len(self.packed),
            "size": len(self.data),
            "extra": b"",
        }
        return honest | changes

    def local_header(self) -> bytes:
        told = self.fields(self.local)
        numbers = (told["crc"], told["packed"], told["size"], len(told["name"]), len(told["extra"]))
        header = struct.pack(LOCAL, b"PK\3\4", 20, told["flags"], told["method"], 0, 33, *numbers)
        return bytes(header + told["name"] + told["extra"])

    def central_header(self, offset: int) -> bytes:
        told = self.fields(self.central)
        offset = told.get("offset", offset)
        numbers = (told["crc"], told["packed"], told["size"], len(told["name"]), len(told["extra"]), 0)
        start = struct.pack("<4s6H3L3H", b"PK\1\2", 0x314, 20, told["flags"], told["method"], 0, 33, *numbers)
        return bytes(start + struct.pack("<2H2L", 0, 0, self.mode << 16, offset) + told["name"] + told["extra"])


def zip_bytes(*members: Member, comment: bytes = b"", end: Mapping[str, int] | None = None) -> bytes:
    """`end` replaces fields of the end record: disk, count, length, offset, comment_length."""
    body, directory = b"", b""
    for member in members:
        directory += member.central_header(len(body))
        body += member.local_header() + member.packed
    return body + directory + end_record(len(members), len(directory), len(body), comment, end)


def end_record(
    count: int, length: int, offset: int, comment: bytes = b"", end: Mapping[str, int] | None = None
) -> bytes:
    honest = {"disk": 0, "count": count, "length": length, "offset": offset, "comment_length": len(comment)}
    told = honest | dict(end or {})
    numbers = (told["disk"], told["disk"], told["count"], told["count"], told["length"], told["offset"])
    return struct.pack(END, b"PK\5\6", *numbers, told["comment_length"]) + comment


def zip64_end(count: int, length: int, offset: int) -> bytes:
    """The three end records of a zip64, right behind a directory."""
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, offset + length, 1)
    return end64 + locator + end_record(0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)


def overlapping(count: int = 200, size: int = 2**16) -> bytes:
    """David Fifield's bomb, its simplest kind: many entries of the directory share one file."""
    shared = Member(data=bytes(size), method=DEFLATED)
    body = shared.local_header() + shared.packed
    directory = b"".join(Member(shared.name, shared.data, DEFLATED).central_header(0) for _ in range(count))
    return body + directory + end_record(count, len(directory), len(body))


def quoting(count: int = 50) -> bytes:
    """The better kind: each file is a stored block that quotes the next file's header, and so all files are all."""
    kernel = random.Random(0).randbytes(2**18)
    last = Member(b"z.bmp", kernel, DEFLATED)
    body, packed, data, crc_of = last.local_header() + last.packed, last.packed, kernel, zlib.crc32
    members = [(last, 0)]
    for number in range(count):
        following = members[-1][0].local_header()
        block = b"\0" + struct.pack("<2H", len(following), len(following) ^ 0xFFFF) + following
        packed, data = block + packed, following + data
        told = {"crc": crc_of(data), "packed": len(packed), "size": len(data), "method": DEFLATED}
        member = Member(b"%03d.bmp" % number, b"", DEFLATED, local=told, central=told)
        body = member.local_header() + block[:5] + body
        members.append((member, 0))
    directory, offset = b"", 0
    for member, _ in reversed(members):
        directory += member.central_header(offset)
        offset += len(member.local_header()) + 5
    return body + directory + end_record(len(members), len(directory), len(body))


def million_empty(path: Path, count: int = 1_000_000) -> Path:
    """An honest zip64 of a million empty files."""
    member = Member(b"0000000.jpg", b"")
    local, central = member.local_header(), member.central_header(0)
    names = [b"%07d.jpg" % number for number in range(count)]
    with path.open("wb") as file:
        file.writelines(local[:30] + name for name in names)
        offset = file.tell()
        entries: Iterable[bytes] = (
            central[:42] + struct.pack("<L", number * len(local)) + name for number, name in enumerate(names)
        )
        file.writelines(entries)
        file.write(zip64_end(count, file.tell() - offset, offset))
    return path


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]
