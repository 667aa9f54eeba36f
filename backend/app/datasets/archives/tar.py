"""A tar by its headers, in one pass; what it holds besides plain files and folders is refused by name.

Format: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; GNU tar's long names and large numbers.
"""

import struct
from typing import BinaryIO, NamedTuple, Protocol

from app.datasets.archives import names
from app.datasets.archives.entries import Entry
from app.datasets.archives.listing import Listing, refusal
from app.errors import Invalid

BLOCK = 512
HEADER = struct.Struct("100s24x12s12x8s1s100s6s82x155s12x")
CHECKSUM = slice(148, 156)
MAX_EXTENSION_BYTES = 2**20  # of a long name or a pax header: they are read whole
MAX_EXTENSIONS = 4  # before one entry
MAX_PADDING = 2**20
FILE, OLD_FILE, CONTIGUOUS, FOLDER = b"0", b"\0", b"7", b"5"
PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK = b"x", b"g", b"L", b"K"
LINKS = {b"1": "a hard link; pack with --hard-dereference", b"2": "a symbolic link; pack with --dereference"}
SPECIAL = {b"3": "a character device", b"4": "a block device", b"6": "a FIFO", b"S": "a sparse file"}
REPAIR = "; pack and send it again"


class Source(Protocol):
    """A tar read in order, that ends up as a file: the one that was sent, or one being unpacked."""

    @property
    def position(self) -> int: ...

    def take(self, length: int) -> bytes:
        """The next `length` bytes; fewer only at the end."""
        ...

    def skip(self, length: int) -> bool:
        """Go on by `length` bytes; False if there are not as many."""
        ...


class _Header(NamedTuple):
    raw_name: bytes
    size: int
    kind: bytes


def is_tar(block: bytes) -> bool:
    """If this is a tar's first block: its checksum is right, as tars older than the magic number have it, too."""
    return len(block) == BLOCK and any(block) and _number(block[CHECKSUM]) == _checksum(block)


def list_tar(source: Source, listing: Listing) -> None:
    """Add every file of a tar, with its place in `source`."""
    while (header := _next_header(source, listing)) is not None:
        name = _name(header.raw_name)
        if header.kind == FOLDER or (header.kind == OLD_FILE and name.endswith("/")):
            if header.size:
                raise refusal(name, f"is a folder of {header.size} bytes{REPAIR}")
            if name not in ("", "."):
                listing.add_folder(name)
            continue
        _check(header, name)
        listing.add(name, Entry(source.position, header.size, header.size))
        _pass(source, header.size, name)
    _check_end(source)


class PlainTar:
    """A tar that was sent as it is: nothing is copied."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)

    @property
    def position(self) -> int:
        return self._file.tell()

    def take(self, length: int) -> bytes:
        return self._file.read(length)

    def skip(self, length: int) -> bool:
        return self._file.seek(length, 1) <= self._size


def _next_header(source: Source, listing: Listing) -> _Header | None:
    """The next entry with what the extensions before it say; None at the archive's end."""
    raw_name: bytes | None = None
    size: int | None = None
    for _ in range(MAX_EXTENSIONS + 1):
        header = _read_header(source)
        if header is None and raw_name is None and size is None:
            return None
        if header is None:
            raise Invalid(f"the tar ends after a header that belongs to the next entry{REPAIR}")
        if header.kind not in (PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK):
            return _Header(raw_name or header.raw_name, header.size if size is None else size, header.kind)
        data = _extension(source, header, listing)
        if header.kind == LONG_NAME:
            raw_name = raw_name or data.rstrip(b"\0")
        elif header.kind != LONG_LINK:
            told = _records(data, header)
            if header.kind == PAX_GLOBAL and not told.keys().isdisjoint((b"path", b"size")):
                raise refusal(_name(header.raw_name), "is a pax header that names every file alike; pack it anew")
            raw_name = told.get(b"path", raw_name)
            size = _pax_size(told[b"size"]) if b"size" in told else size
    raise Invalid(f"the tar has more than {MAX_EXTENSIONS} extension headers before one entry{REPAIR}")


def _read_header(source: Source) -> _Header | None:
    block = source.take(BLOCK)
    if len(block) < BLOCK:
        raise Invalid(f"the tar was cut off: its end is missing{REPAIR}")
    if not any(block):
        return None
    if _number(block[CHECKSUM]) != _checksum(block):
        if source.position == BLOCK:
            raise Invalid(
                "the upload is compressed, but what it holds is no tar; send a zip, or pack the folder as a tar"
            )
        raise Invalid(f"the tar is damaged at byte {source.position - BLOCK}: a header's checksum is wrong{REPAIR}")
    name, size, _, kind, _, magic, prefix = HEADER.unpack(block)
    raw_name = name.partition(b"\0")[0]
    if magic == b"ustar\0" and (folder := prefix.partition(b"\0")[0]):
        raw_name = folder + b"/" + raw_name
    length = _number(size)
    if length is None:
        raise refusal(_name(raw_name), f"has a size that is no number: {size!r}{REPAIR}")
    return _Header(raw_name, length, kind)


def _checksum(block: bytes) -> int:
    return sum(block) - sum(block[CHECKSUM]) + 8 * ord(" ")


def _number(field: bytes) -> int | None:
    """Octal digits or, where they do not suffice, GNU tar's base 256; None for anything else, negative ones too."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    digits = field.strip(b" \0")
    return int(digits or b"0", 8) if all(digit in b"01234567" for digit in digits) else None


def _extension(source: Source, header: _Header, listing: Listing) -> bytes:
    if header.size > MAX_EXTENSION_BYTES:
        message = f"has an extension header of {header.size} bytes; at most {MAX_EXTENSION_BYTES} are allowed"
        raise refusal(_name(header.raw_name), message)
    listing.charge(header.size)
    padded = source.take(header.size + -header.size % BLOCK)
    if len(padded) < header.size:
        raise Invalid(f"the tar was cut off: its end is missing{REPAIR}")
    return padded[: header.size]


def _records(data: bytes, header: _Header) -> dict[bytes, bytes]:
    """The `length key=value` lines of a pax header."""
    found: dict[bytes, bytes] = {}
    broken = refusal(_name(header.raw_name), f"is a damaged pax header{REPAIR}")
    while data:
        digits, _, _ = data[:10].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, separator, value = data[len(digits) + 1 : length].partition(b"=")
        if not separator or not value.endswith(b"\n") or length > len(data):
            raise broken
        if key.startswith(b"GNU.sparse."):
            raise refusal(_name(header.raw_name), "describes a sparse file; pack without --sparse")
        found[key], data = value[:-1], data[length:]
    return found


def _pax_size(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise Invalid(f"the tar has a pax header with size={value[:20]!r}, which is no number{REPAIR}")
    return int(value)


def _name(raw: bytes) -> str:
    """Relative to the tar's own folder, which GNU tar writes as `./`."""
    while raw.startswith(b"./"):
        raw = raw[2:]
    return names.decoded(raw)


def _check(header: _Header, name: str) -> None:
    if known := LINKS.get(header.kind):
        raise refusal(name, f"is {known}")
    if known := SPECIAL.get(header.kind):
        raise refusal(name, f"is {known}; only plain files are allowed")
    if header.kind not in (FILE, OLD_FILE, CONTIGUOUS):
        raise refusal(name, f"is of the unknown type {header.kind!r}; only plain files are allowed")


def _pass(source: Source, size: int, name: str) -> None:
    if not source.skip(size + -size % BLOCK):
        raise refusal(name, f"was cut off: the tar ends within it{REPAIR}")


def _check_end(source: Source) -> None:
    """After the end there are zeros, and few of them; the last bytes of a compressed tar hold its checksum."""
    for _ in range(MAX_PADDING // BLOCK):
        block = source.take(BLOCK)
        if not block:
            return
        if any(block):
            raise Invalid("the tar has bytes after its end; send one tar in a file, not several joined")
    raise Invalid(f"the tar has more than {MAX_PADDING} bytes after its end{REPAIR}")
