"""What a file is by its first bytes; suffixes lie."""

from collections.abc import Callable

HEAD = 512  # bytes that are enough to tell
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")  # taken, as Pillow names them

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop document"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1aE\xdf\xa3", "a Matroska video"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"version https://git-lfs", "a Git LFS pointer; `git lfs pull` fetches the image itself"),
)


def content_of(head: bytes) -> str | None:
    """One of FORMATS, or words for what else it is; None if nobody knows. `head` has the first HEAD bytes."""
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else "a sound or video in RIFF"
    return next((name for start, name in _STARTS if head.startswith(start)), None) or _by_structure(head)


def _by_structure(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "a QuickTime or MP4 video")
    if head[128:132] == b"DICM":
        return "a DICOM image"
    if head[:1] == b"P" and head[1:2] in b"1234567" and head[2:3].isspace():
        return "a Netpbm image"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((name for fits, name in _TEXTS if fits(text)), None)


_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "a HEIC image"),
    **dict.fromkeys((b"avif", b"avis"), "an AVIF image"),
}
_TEXTS: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (
        lambda text: (
            text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text)
        ),
        "an SVG drawing",
    ),
    (lambda text: text.startswith((b"<!doctype html", b"<html")), "a web page"),
)
