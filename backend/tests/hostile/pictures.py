"""Images made to harm: none is ever whole in memory as pixels."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache

from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*extra: bytes, width: int = 32, height: int = 32, depth: int = 8) -> bytes:
    """A black grey PNG with `extra` chunks before its pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    pixels = b"".join(_packed(bytes(1 + (width * depth + 7) // 8) for _ in range(height)))
    return PNG_SIGNATURE + chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND")


def giant_png(side: int = 50_000) -> bytes:
    """312 MB of pixels at one bit each in a file of 300 kB; 2.5 GB when decoded to bytes."""
    return png(width=side, height=side, depth=1)


@cache
def zeros(size: int) -> bytes:
    """That many bytes, deflated a thousandfold."""
    return b"".join(_packed(bytes(2**20) for _ in range(size >> 20)))


def _packed(parts: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(9)
    for part in parts:
        yield packer.compress(part)
    yield packer.flush()


def text_bomb(kind: bytes, size: int = 64 * 2**20) -> bytes:
    """A small PNG with a text or colour profile that unpacks to `size` bytes."""
    before = {b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\1\0\0\0", b"iCCP": b"Profile\0\0"}[kind]
    return png(chunk(kind, before + zeros(size)))


def many_texts(count: int = 100) -> bytes:
    """Each text is as long as Pillow allows; together they are not."""
    return png(*[chunk(b"zTXt", b"Comment\0\0" + zeros(2**20))] * count)


def many_chunks(count: int = 150_000) -> bytes:
    return png(chunk(b"prIv") * count)


def giant_webp() -> bytes:
    """A header that asks for a canvas of 16,384 x 16,384 and next to no picture."""
    canvas = struct.pack("<I", 0x10) + (16_383).to_bytes(3, "little") * 2
    lossless = b"\x2f" + struct.pack("<I", 16_383 | 16_383 << 14) + bytes(64)
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + canvas + b"VP8L" + struct.pack("<I", len(lossless)) + lossless
    return b"RIFF" + struct.pack("<I", len(body) + len(body) % 2) + body + bytes(len(body) % 2)


def giant_bmp(side: int = 50_000) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1000, 0, 0, 54) + header + bytes(1000)


def jpeg(**options: object) -> bytes:
    output = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(output, "JPEG", **options)
    return output.getvalue()


def giant_jpeg() -> bytes:
    """A sound JPEG whose header says 65,500 x 65,500."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def many_scans(count: int = 20_000) -> bytes:
    """A progressive JPEG that refines the same coefficients for ever: a pass over all pixels each time."""
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + data[-2:]


def jpeg_and_zip() -> bytes:
    """An image to a viewer, an archive to an unpacker."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../evil.sh", "echo evil")
    return jpeg() + packed.getvalue()


def tiff(*tags: tuple[int, int, int, int], count: int = 1, loop: bool = False) -> bytes:
    """`count` grey pictures that share their pixels; `tags` (tag, type, count, value) are added or replaced."""
    side, pixels_at = 32, 8
    plain = {256: (4, 1, side), 257: (4, 1, side), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    plain |= {273: (4, 1, pixels_at), 277: (3, 1, 1), 278: (4, 1, side), 279: (4, 1, side * side)}
    entries = sorted((plain | {tag: (kind, number, value) for tag, kind, number, value in tags}).items())
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in entries)
    first, step = pixels_at + side * side, len(directory) + 4
    following = [first + step * (index + 1) for index in range(count)]
    following[-1] = first if loop else 0
    directories = b"".join(directory + struct.pack("<I", offset) for offset in following)
    return b"II*\0" + struct.pack("<I", first) + bytes(side * side) + directories


def looping_exif() -> bytes:
    """EXIF whose directory names itself as the one for GPS and as the next one."""
    entries = struct.pack("<HHII", 0x8825, 4, 1, 8) + struct.pack("<HHII", 0x8769, 4, 1, 8)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 8)


def greedy_exif() -> bytes:
    """EXIF with a value said to have four billion parts."""
    return b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, 12, 0xFFFFFFFF, 8, 0)


def many_frame_gif(count: int = 2_000) -> bytes:
    frames = [Image.new("L", (16, 16), index % 256) for index in range(count)]
    output = io.BytesIO()
    frames[0].save(output, "GIF", save_all=True, append_images=frames[1:])
    return output.getvalue()
