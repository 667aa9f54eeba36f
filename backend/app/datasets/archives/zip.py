"""A zip by its directory, against which every local header is held before a byte of a file is read.

Format: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.4.
"""

import os
import stat
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from app.datasets.archives import names
from app.datasets.archives.entries import Entry
from app.datasets.archives.listing import MAX_ENTRIES, Listing, refusal
from app.errors import Invalid, TooLarge

END_RECORD = struct.Struct("<4s4H2LH")
END64_RECORD = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
LONGEST_COMMENT = 65535
MAX_DIRECTORY_BYTES = MAX_ENTRIES * 256
STORED, DEFLATED = 0, 8
ENCRYPTED, DESCRIPTOR, UTF8 = 0x2041, 0x8, 0x800
FULL, FULL16 = 0xFFFFFFFF, 0xFFFF  # the number is in the zip64 field
REPAIR = "; pack and send it again"


class _Directory(NamedTuple):
    offset: int
    length: int
    entries: int


class _Record(NamedTuple):
    """One entry as the directory has it."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int


def list_zip(file: BinaryIO, listing: Listing) -> None:
    """Add every file of a zip."""
    directory = _find_directory(file)
    spans = []
    for record in _read_directory(file, directory):
        name = _name(record)
        if name.endswith("/"):
            listing.add_folder(name)
        _check(record, name)
        if record.offset >= directory.offset:
            raise refusal(name, f"does not begin where the directory says{REPAIR}")
        start = _data_start(file, record, name)
        spans.append((record.offset, start + record.packed, name))
        if not name.endswith("/"):
            listing.add(name, Entry(start, record.packed, record.size, record.crc, record.method == DEFLATED))
    _check_apart(sorted(spans), directory)


def _check_apart(spans: list[tuple[int, int, str]], directory: _Directory) -> None:
    """No byte belongs to two entries: that is how a bomb of a few kilobytes is made."""
    free = 0
    for offset, end, name in spans:
        if offset < free or end > directory.offset:
            raise refusal(name, f"overlaps another entry{REPAIR}")
        free = end


def _find_directory(file: BinaryIO) -> _Directory:
    """Where the directory lies; refused from the end record alone if it is too long to read."""
    size = file.seek(0, os.SEEK_END)
    tail_start = max(0, size - END_RECORD.size - LONGEST_COMMENT)
    tail = os.pread(file.fileno(), size - tail_start, tail_start)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < END_RECORD.size:
        raise Invalid(f"the zip has no end record: it was cut off or is damaged{REPAIR}")
    _, disk, first_disk, here, count, length, offset, comment = END_RECORD.unpack_from(tail, found)
    if found + END_RECORD.size + comment != len(tail):
        raise Invalid(f"the zip has bytes after its end record{REPAIR}")
    end, directory = tail_start + found, _Directory(offset, length, count)
    if FULL16 in (disk, first_disk, here, count) or FULL in (length, offset):
        end, directory = _find_directory64(file, end)
    elif disk or first_disk or here != count:
        raise Invalid("the zip is one part of several; join them and send one file")
    if directory.entries > MAX_ENTRIES:
        raise TooLarge(f"the archive has {directory.entries} entries; at most {MAX_ENTRIES} are allowed")
    if directory.length > MAX_DIRECTORY_BYTES:
        message = f"the archive's directory has {directory.length} bytes; at most {MAX_DIRECTORY_BYTES} are allowed"
        raise TooLarge(message)
    if directory.offset + directory.length != end:
        raise Invalid(f"the zip's directory is not where its end record says{REPAIR}")
    return directory


def _find_directory64(file: BinaryIO, end: int) -> tuple[int, _Directory]:
    """The end of the directory and itself, as the zip64 records before `end` say."""
    broken = Invalid(f"the zip's zip64 records are damaged{REPAIR}")
    if end < LOCATOR.size:
        raise broken
    locator, _, end64, disks = LOCATOR.unpack(os.pread(file.fileno(), LOCATOR.size, end - LOCATOR.size))
    if locator != b"PK\6\7" or disks != 1 or not 0 <= end64 <= end - LOCATOR.size - END64_RECORD.size:
        raise broken
    fields = END64_RECORD.unpack(os.pread(file.fileno(), END64_RECORD.size, end64))
    signature, length64, _, _, disk, first_disk, here, count, length, offset = fields
    if signature != b"PK\6\6" or end64 + 12 + length64 != end - LOCATOR.size or disk or first_disk or here != count:
        raise broken
    return end64, _Directory(offset, length, count)


def _read_directory(file: BinaryIO, directory: _Directory) -> Iterator[_Record]:
    broken = Invalid(f"the zip's directory is damaged{REPAIR}")
    file.seek(directory.offset)
    left = directory.length
    for _ in range(directory.entries):
        fixed = file.read(CENTRAL.size)
        if len(fixed) < CENTRAL.size or not fixed.startswith(b"PK\1\2"):
            raise broken
        fields = CENTRAL.unpack(fixed)
        flags, method, (crc, packed, size, name, extra, comment) = fields[3], fields[4], fields[7:13]
        left -= CENTRAL.size + name + extra + comment
        rest = file.read(name + extra + comment)
        if left < 0 or len(rest) < name + extra + comment:
            raise broken
        size, packed, offset = _numbers64((size, packed, fields[16]), rest[name : name + extra])
        yield _Record(rest[:name], flags, method, crc, packed, size, offset, fields[15] >> 16)
    if left:
        raise broken


def _numbers64(numbers: tuple[int, ...], extra: bytes) -> tuple[int, ...]:
    """`numbers`, those that do not fit into 32 bits from the zip64 field, where they are in this order."""
    if FULL not in numbers:
        return numbers
    field = memoryview(_field64(extra))
    found = []
    for number in numbers:
        if number == FULL:
            if len(field) < 8:
                raise Invalid(f"the zip's directory is damaged: a zip64 field is too short{REPAIR}")
            number, field = int.from_bytes(field[:8], "little"), field[8:]
        found.append(number)
    return tuple(found)


def _field64(extra: bytes) -> bytes:
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    return b""


def _name(record: _Record) -> str:
    try:
        return names.decoded(record.raw_name, is_utf8=bool(record.flags & UTF8))
    except UnicodeDecodeError as error:
        raise refusal(names.decoded(record.raw_name), "has a name that is not the UTF-8 it claims to be") from error


def _check(record: _Record, name: str) -> None:
    """What a directory must not say of an entry, whatever its bytes are."""
    if stat.S_IFMT(record.mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise refusal(name, "is a link or a device; only plain files are allowed, so pack what it points to")
    if record.flags & ENCRYPTED:
        raise refusal(name, "is encrypted; pack it without a password")
    if record.method not in (STORED, DEFLATED):
        raise refusal(name, f"uses compression method {record.method}; use stored (0) or deflated (8)")
    if record.method == STORED and record.packed != record.size:
        raise refusal(name, f"is stored, yet has {record.packed} bytes packed and {record.size} unpacked{REPAIR}")
    if name.endswith("/") and record.size:
        raise refusal(name, f"is a folder of {record.size} bytes{REPAIR}")


def _data_start(file: BinaryIO, record: _Record, name: str) -> int:
    """Where the bytes begin, if the header before them tells the same as the directory."""
    header = os.pread(file.fileno(), LOCAL.size + len(record.raw_name), record.offset)
    if len(header) < LOCAL.size or not header.startswith(b"PK\3\4"):
        raise refusal(name, f"does not begin where the directory says{REPAIR}")
    _, _, flags, method, _, _, *numbers, name_length, extra = LOCAL.unpack_from(header)
    start: int = record.offset + LOCAL.size + name_length + extra
    crc, packed, size = numbers
    if FULL in (packed, size):
        size, packed = _numbers64((size, packed), os.pread(file.fileno(), extra, start - extra))
    unknown = 0 if flags & DESCRIPTOR else None  # a stream's numbers follow its bytes; until then they are 0
    told = ((crc, record.crc), (packed, record.packed), (size, record.size))
    agree = header[LOCAL.size :] == record.raw_name and name_length == len(record.raw_name) and method == record.method
    if not agree or (flags ^ record.flags) & ENCRYPTED or any(own not in (known, unknown) for own, known in told):
        raise refusal(name, f"has a header that tells another name or size than the directory{REPAIR}")
    return start
