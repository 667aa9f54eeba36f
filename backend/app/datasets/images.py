"""Images as people send them: looked at with suspicion, and written anew where trainers would not read them alike.

Upright, 8 bits, one picture a file, nothing behind its end: then Pillow, OpenCV and browsers see the same.
"""

import io
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from PIL import (
    BmpImagePlugin,
    ExifTags,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from app.datasets.colours import Unsupported, brightest, conversion, convert
from app.datasets.containers import clean, has_too_many_scans, jpeg_end, png_end
from app.datasets.findings import Finding
from app.datasets.sniffing import FORMATS, HEAD, content_of

PIXEL_LIMIT = 89_478_484  # Pillow warns of more, and so would the trainers that use it
SIDE_MIN = 10  # pixels; Ultralytics takes a narrower image for damaged
LARGE_PIXELS = 8_000_000  # larger ones are decoded one at a time: 4 bytes a pixel
JPEG_QUALITY = 95
DARK = 8192  # of 65535: less fills not even an eighth of the range; cameras of 12 bits end at 4095
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}

Image.MAX_IMAGE_PIXELS = PIXEL_LIMIT // 2  # Pillow refuses at twice this, before it decodes
ONE_LARGE = threading.RLock()
_PLUGINS = (BmpImagePlugin, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin)  # registered by import


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Inspected:
    """A sound image. `width` and `height` are upright; `rewrite` as in draft.py; `findings` lack the image's id."""

    format: str
    width: int
    height: int
    orientation: int
    rewrite: str | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Facts:
    """What keeps the bytes from staying as they are. `conversion` in words; `astray`: metadata that misleads."""

    orientation: int
    conversion: str | None
    frames: bool
    astray: str | None

    @property
    def pixels_change(self) -> bool:
        return self.orientation != 1 or self.conversion is not None or self.frames


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def inspect(name: str, data: bytes) -> Inspected | Finding:
    """Decode the image once, so that a truncated one is noticed; a Finding says why it cannot be taken."""
    kind = content_of(data[:HEAD])
    if kind not in FORMATS:
        return _no_image(name, data, kind)
    try:
        with QUIETLY:
            _refuse_tricks(data, kind)
            return _with_clean_as_second_try(data, kind, lambda source: _inspect(name, data, source, kind))
    except _Refused as refused:
        return Finding(refused.code, str(refused), name)
    except Unsupported as error:
        return Finding("IMAGE_FORMAT_UNSUPPORTED", str(error), name)
    except Image.DecompressionBombError as error:
        pixels = int(re.findall(r"\d+", str(error))[0])
        return Finding("IMAGE_TOO_LARGE", f"{pixels:,} pixels; {PIXEL_LIMIT:,} are the most", name)
    except MemoryError:
        return Finding("IMAGE_TOO_LARGE", "decoding it takes more memory than an import has", name)
    except UnidentifiedImageError:
        return Finding("IMAGE_UNREADABLE", f"it begins as a {kind} file, but what follows is none", name)
    except Exception as error:  # whatever a decoder makes of damaged bytes
        truncated = isinstance(error, EOFError) or "truncated" in str(error).lower()
        code = "IMAGE_TRUNCATED" if truncated else "IMAGE_UNREADABLE"
        return Finding(code, f"a damaged {kind} file: {str(error) or type(error).__name__}", name)


def encode_upright(data: bytes, rewrite: str) -> bytes:
    """The bytes that take the place of an inspected image's own: upright, 8 bits, without metadata; always the same.

    Pixels stay to the bit where there is only something around them to lose.
    """
    kind = content_of(data[:HEAD]) or ""
    with QUIETLY:
        return _with_clean_as_second_try(data, kind, lambda source: _encode(source, kind, rewrite))


def thumbnail(data: bytes, size: int) -> bytes:
    """A JPEG that fits into `size` by `size` pixels, of an image that is upright; transparent parts are white."""
    kind = content_of(data[:HEAD]) or ""
    with QUIETLY, _opened(data, kind) as image:
        if kind == "JPEG":
            image.draft(image.mode, (2 * size, 2 * size))
        image.load()
        small = convert(image)
        if small.mode in ("1", "P"):
            small = small.convert("RGB")
        small.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
        if small.mode in ("LA", "RGBA"):
            small = small.convert("RGBA")
            small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
        output = io.BytesIO()
        small.convert("RGB").save(output, "JPEG", quality=80)
        return output.getvalue()


class _Silence:
    """Warnings are switched off for a whole process: by the first thread that comes, and on again by the last."""

    def __init__(self) -> None:
        self._lock, self._inside, self._filters = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.close()


QUIETLY = _Silence()  # Pillow warns of what our findings say


def _no_image(name: str, data: bytes, kind: str | None) -> Finding:
    if not data:
        return Finding("IMAGE_UNREADABLE", "the file is empty", name)
    if kind is None:
        start = data[:8].hex(" ")
        return Finding("IMAGE_UNREADABLE", f"no image begins with the bytes {start}", name, value=start)
    code = "IMAGE_UNREADABLE" if "LFS" in kind else "IMAGE_FORMAT_UNSUPPORTED"
    return Finding(code, f"it is {kind}", name, value=kind)


def _with_clean_as_second_try(data: bytes, kind: str, work: Callable[[bytes], T]) -> T:
    """Metadata that stops a decoder is no reason to lose the picture."""
    try:
        return work(data)
    except (MemoryError, Image.DecompressionBombError, _Refused, Unsupported):
        raise
    except Exception:
        cleaned = clean(data, kind)
        if cleaned is None or cleaned == data:
            raise
    return work(cleaned)


def _inspect(name: str, data: bytes, source: bytes, kind: str) -> Inspected:
    """`source` is `data`, or what was left of it after cleaning."""
    with _opened(source, kind) as image:
        size = image.size
        if kind == "PNG":  # its EXIF may stand behind the pixels
            image.load()
        facts = _facts(image, source, kind)
        if kind == "JPEG":
            image.draft(image.mode, (max(size[0] // 8, 1), max(size[1] // 8, 1)))
        image.load()
        if kind == "TIFF":  # Pillow turns these itself
            size = image.size
        elif facts.orientation >= 5:
            size = size[1], size[0]
        astray = facts.astray or ("damaged or oversized metadata" if source is not data else _surplus(data, kind))
        findings = tuple(_findings(name, kind, facts, astray, brightest(image)))
    changed = facts.pixels_change or astray is not None
    rewrite = (".jpg" if kind == "JPEG" else ".png") if changed else None
    return Inspected(kind, *size, facts.orientation, rewrite, findings)


def _encode(source: bytes, kind: str, rewrite: str) -> bytes:
    with _opened(source, kind) as image:
        if kind == "PNG":
            image.load()
        facts = _facts(image, source, kind)
        cleaned = None if facts.pixels_change else clean(source, kind)
        if cleaned is not None:
            return cleaned
        image.load()
        sampling = JpegImagePlugin.get_sampling(image) if kind == "JPEG" else 0
        picture = convert(image)
        if facts.orientation != 1 and kind != "TIFF":
            picture = picture.transpose(_TURNS[facts.orientation])
        return _written(picture, rewrite, sampling)


def _written(picture: Image.Image, rewrite: str, sampling: int) -> bytes:
    picture = picture.copy()
    picture.info = {key: value for key, value in picture.info.items() if key == "transparency"}
    output = io.BytesIO()
    if rewrite == ".jpg":
        picture.convert("L" if picture.mode == "L" else "RGB").save(
            output, "JPEG", quality=JPEG_QUALITY, subsampling=max(sampling, 0)
        )
    else:
        picture.save(output, "PNG")
    return output.getvalue()


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _facts(image: Image.Image, data: bytes, kind: str) -> _Facts:
    orientation, astray = _orientation(image, kind)
    if image.format == "MPO":
        astray = "further pictures behind the first (MPO)"
    frames = kind != "JPEG" and bool(getattr(image, "is_animated", False))
    return _Facts(orientation, conversion(image, data, kind), frames, astray)


def _orientation(image: Image.Image, kind: str) -> tuple[int, str | None]:
    """By EXIF, and what in the metadata would lead others astray: XMP, which only Pillow believes, or damaged EXIF."""
    try:
        believed = image.getexif().get(ExifTags.Base.Orientation, 1)
        if believed == 1:
            return 1, None
        stated = believed if kind == "TIFF" else _in_exif(image.info.get("exif"))
    except Exception:  # whatever Pillow makes of damaged EXIF
        return 1, "damaged EXIF"
    if stated not in range(1, 9):
        return 1, "an EXIF orientation that there is not"
    return stated, None if stated == believed else "an orientation in XMP that EXIF does not have"


def _in_exif(raw: bytes | None) -> int:
    exif = Image.Exif()
    exif.load(raw or b"")
    return int(exif.get(ExifTags.Base.Orientation, 1))


def _surplus(data: bytes, kind: str) -> str | None:
    """What stands behind the end of the picture; bytes there are somebody else's: an archive, a film, a script."""
    end = len(data)
    if kind == "PNG":
        end = png_end(data) or end
    elif kind == "JPEG" and not data.endswith(b"\xff\xd9"):
        end = jpeg_end(data) or end
    return f"{len(data) - end:,} bytes behind the end" if end < len(data) else None


def _findings(name: str, kind: str, facts: _Facts, astray: str | None, highest: int | None) -> Iterator[Finding]:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in SUFFIXES[kind]:
        yield Finding("IMAGE_SUFFIX_WRONG", f"it is a {kind} file", name, value=suffix)
    if facts.orientation != 1:
        value = str(facts.orientation)
        yield Finding("IMAGE_ORIENTATION", f"EXIF orientation {value}: the image was turned upright", name, value=value)
    if facts.frames:
        yield Finding("IMAGE_FRAMES", f"a {kind} file of several pictures: only the first was taken", name)
    if facts.conversion:
        dark = highest is not None and highest < DARK
        more = f"; its highest value is {highest} of 65535, so it is nearly black now" if dark else ""
        yield Finding("IMAGE_COLOUR", f"{facts.conversion}{more}", name)
    if astray:
        yield Finding("IMAGE_CLEANED", f"{astray}: left out, the picture is the same", name)


def _refuse_tricks(data: bytes, kind: str) -> None:
    if kind == "JPEG" and has_too_many_scans(data):
        raise _Refused("IMAGE_UNREADABLE", "a JPEG of so many scans that it is made to be slow")
    if kind == "PNG" and png_end(data) is None:
        raise _Refused("IMAGE_TRUNCATED", "the PNG has no end (no IEND chunk)")
    if kind == "WEBP" and int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise _Refused("IMAGE_TRUNCATED", "the WebP is shorter than its header says")


@contextmanager
def _opened(data: bytes, kind: str) -> Iterator[Image.Image]:
    """The image, not yet decoded, of a size that may be; a large one has the decoders for itself."""
    with Image.open(io.BytesIO(data), formats=(kind,)) as image:
        _check_size(image, kind)
        with ONE_LARGE if image.width * image.height > LARGE_PIXELS else nullcontext():
            yield image


def _check_size(image: Image.Image, kind: str) -> None:
    width, height = image.size
    if kind == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        tile = int(tags.get(TiffImagePlugin.TILEWIDTH, 0)), int(tags.get(TiffImagePlugin.TILELENGTH, 0))
        width, height = max(width, tile[0]), max(height, tile[1])
    if width * height > PIXEL_LIMIT:
        message = f"{width} x {height} pixels; {PIXEL_LIMIT:,} are the most"
        raise _Refused("IMAGE_TOO_LARGE", message)
    if min(image.size) < SIDE_MIN:
        message = f"{image.width} x {image.height} pixels; {SIDE_MIN} a side are the least"
        raise _Refused("IMAGE_TOO_SMALL", message)
