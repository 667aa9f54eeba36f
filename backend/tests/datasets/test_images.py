"""Images as people send them, and what trainers get."""

import io
import threading
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from app.datasets.findings import KINDS, Finding
from app.datasets.images import QUIETLY, Inspected, encode_upright, inspect, thumbnail
from tests.datasets.pictures import HEIGHT, ORIENTATION, WIDTH, decoded, encoded, picture, quarters, turned

UPRIGHT = quarters(picture())
XMP_TURNED = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'


def look(data: bytes, name: str = "a.jpg") -> Inspected:
    found = inspect(name, data)
    assert isinstance(found, Inspected), found
    assert all(finding.code in KINDS and finding.file == name for finding in found.findings)
    return found


def refused(data: bytes, name: str = "a.jpg") -> Finding:
    found = inspect(name, data)
    assert isinstance(found, Finding), found
    return found


def codes(found: Inspected) -> list[str]:
    return [finding.code for finding in found.findings]


def mended(data: bytes, name: str = "a.jpg") -> bytes:
    """The bytes that take its place; looked at again there is nothing left to do."""
    rewrite = look(data, name).rewrite
    assert rewrite
    result = encode_upright(data, rewrite)
    assert result == encode_upright(data, rewrite)
    again = look(result, f"a{rewrite}")
    assert (again.rewrite, again.findings) == (None, ())
    return result


@pytest.mark.parametrize(
    ("name", "kind", "mode", "options"),
    [
        ("a.jpg", "JPEG", "RGB", {}),
        ("a.JPEG", "JPEG", "L", {}),
        ("a.jpg", "JPEG", "RGB", {"progressive": True}),
        ("a.png", "PNG", "RGB", {}),
        ("a.png", "PNG", "RGBA", {}),
        ("a.png", "PNG", "LA", {}),
        ("a.png", "PNG", "L", {}),
        ("a.png", "PNG", "P", {}),
        ("a.png", "PNG", "1", {}),
        ("a.bmp", "BMP", "RGB", {}),
        ("a.bmp", "BMP", "P", {}),
        ("a.webp", "WEBP", "RGB", {}),
        ("a.webp", "WEBP", "RGBA", {"lossless": True}),
        ("a.tif", "TIFF", "RGB", {}),
        ("a.tiff", "TIFF", "L", {"compression": "tiff_lzw"}),
        ("a.tiff", "TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_bytes_stay_if_every_reader_sees_the_same(name: str, kind: str, mode: str, options: dict[str, object]) -> None:
    found = look(encoded(picture(mode), kind, **options), name)
    assert found == Inspected(kind, WIDTH, HEIGHT, 1, None, ())


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize(("kind", "name"), [("JPEG", "a.jpg"), ("PNG", "a.png"), ("WEBP", "a.webp"), ("TIFF", "a.tif")])
def test_upright_if_exif_turns_it(kind: str, name: str, orientation: int) -> None:
    data = turned(kind, orientation)
    found = look(data, name)
    assert (found.width, found.height, found.orientation) == (WIDTH, HEIGHT, orientation)
    assert codes(found) == ["IMAGE_ORIENTATION"]
    result = decoded(mended(data, name))
    assert result.size == (WIDTH, HEIGHT)
    assert quarters(result) == UPRIGHT
    assert result.format == ("JPEG" if kind == "JPEG" else "PNG")
    assert not result.getexif()


@pytest.mark.parametrize("orientation", [0, 9, 4711])
def test_as_it_is_if_exif_has_no_such_orientation(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(exif=exif)
    found = look(data)
    assert (found.orientation, codes(found)) == (1, ["IMAGE_CLEANED"])
    assert ORIENTATION not in decoded(mended(data)).getexif()


def test_pixels_stay_to_the_bit_if_only_xmp_turns_it() -> None:
    data = encoded(xmp=XMP_TURNED)
    assert Image.open(io.BytesIO(data)).getexif()[ORIENTATION] == 6
    assert (look(data).width, look(data).orientation, codes(look(data))) == (WIDTH, 1, ["IMAGE_CLEANED"])
    assert mended(data) == encoded()


@pytest.mark.parametrize(
    ("kind", "mode", "options", "name", "rewritten"),
    [
        ("JPEG", "CMYK", {}, "a.jpg", ("JPEG", "RGB")),
        ("TIFF", "CMYK", {}, "a.tif", ("PNG", "RGB")),
        ("TIFF", "YCbCr", {}, "a.tif", ("PNG", "RGB")),
        ("TIFF", "RGBA", {}, "a.tif", ("PNG", "RGBA")),
        ("TIFF", "P", {}, "a.tif", ("PNG", "P")),
        ("TIFF", "1", {}, "a.tif", ("PNG", "1")),
        ("TIFF", "1", {"compression": "group4"}, "a.tif", ("PNG", "1")),
        ("TIFF", "RGB", {"compression": "jpeg"}, "a.tif", ("PNG", "RGB")),
        ("PNG", "P", {"transparency": 0}, "a.png", ("PNG", "RGBA")),
        ("PNG", "P", {"transparency": b"\0\x80\xff"}, "a.png", ("PNG", "RGBA")),
    ],
)
def test_converted_if_readers_differ(
    kind: str, mode: str, options: dict[str, object], name: str, rewritten: tuple[str, str]
) -> None:
    data = encoded(picture(mode), kind, **options)
    assert codes(look(data, name)) == ["IMAGE_COLOUR"]
    result = decoded(mended(data, name))
    assert (result.format, result.mode) == rewritten
    expected = quarters(picture("1")) if mode == "1" else UPRIGHT
    assert quarters(result) == expected


@pytest.mark.parametrize(("kind", "name"), [("PNG", "a.png"), ("TIFF", "a.tif")])
def test_upper_half_of_16_bits_is_kept(kind: str, name: str) -> None:
    deep = (np.asarray(picture("L")).astype(np.uint16) << 8) | 0x55
    data = encoded(Image.fromarray(deep), kind)
    assert codes(look(data, name)) == ["IMAGE_COLOUR"]
    result = decoded(mended(data, name))
    assert (result.format, result.mode) == ("PNG", "L")
    assert np.array_equal(np.asarray(result), np.asarray(picture("L")))


def test_said_to_be_dark_if_12_bits_lie_in_16() -> None:
    deep = np.asarray(picture("L")).astype(np.uint16) << 4
    (finding,) = look(encoded(Image.fromarray(deep), "PNG"), "a.png").findings
    assert "its highest value is 4080 of 65535, so it is nearly black now" in finding.message


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_unsupported_if_pixels_have_no_agreed_meaning(mode: str) -> None:
    image = Image.new(mode, (WIDTH, HEIGHT))
    finding = refused(encoded(image, "TIFF"), "a.tif")
    assert finding.code == "IMAGE_FORMAT_UNSUPPORTED"
    assert mode in finding.message


@pytest.mark.parametrize(("kind", "name"), [("PNG", "a.png"), ("TIFF", "a.tif"), ("WEBP", "a.webp")])
def test_first_taken_if_there_are_several_pictures(kind: str, name: str) -> None:
    others = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("black", "yellow")]
    data = encoded(picture(), kind, save_all=True, append_images=others)
    assert codes(look(data, name)) == ["IMAGE_FRAMES"]
    result = decoded(mended(data, name))
    assert (result.format, quarters(result), getattr(result, "is_animated", False)) == ("PNG", UPRIGHT, False)


def test_first_kept_to_the_bit_if_a_phone_wrote_several() -> None:
    data = encoded(picture(), "MPO", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT))])
    found = look(data)
    assert (found.format, codes(found)) == ("JPEG", ["IMAGE_CLEANED"])
    result = mended(data)
    assert decoded(result).format == "JPEG"
    assert np.array_equal(np.asarray(decoded(result)), np.asarray(decoded(data)))


@pytest.mark.parametrize(("kind", "name"), [("JPEG", "a.jpg"), ("PNG", "a.png")])
@pytest.mark.parametrize("behind", [b"\0", b"PK\x05\x06" + bytes(18), b"\0\0\0\x18ftypmp42" + bytes(5000)])
def test_cut_if_something_stands_behind_the_end(kind: str, name: str, behind: bytes) -> None:
    data = encoded(picture(), kind)
    found = look(data + behind, name)
    assert codes(found) == ["IMAGE_CLEANED"]
    assert f"{len(behind):,} bytes behind the end" in found.findings[0].message
    assert mended(data + behind, name) == data


@pytest.mark.parametrize("name", ["a.png", "a.jfif", "a.gif", "a", "a.txt.old"])
def test_renamed_if_the_suffix_is_another(name: str) -> None:
    found = look(encoded(), name)
    assert (codes(found), found.format, found.rewrite) == (["IMAGE_SUFFIX_WRONG"], "JPEG", None)


def _cut(kind: str, share: float) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    return data[: int(len(data) * share)]


@pytest.mark.parametrize("share", [0.5, 0.95])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
def test_dropped_if_truncated(kind: str, share: float) -> None:
    finding = refused(_cut(kind, share))
    assert finding.code == "IMAGE_TRUNCATED" or (kind == "TIFF" and finding.code == "IMAGE_UNREADABLE"), finding


@pytest.mark.parametrize("share", [0.001, 0.01])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
def test_dropped_if_hardly_begun(kind: str, share: float) -> None:
    assert refused(_cut(kind, share)).code in ("IMAGE_TRUNCATED", "IMAGE_UNREADABLE")


@pytest.mark.parametrize(("width", "height"), [(9, 100), (100, 9), (1, 1)])
def test_dropped_if_too_small_for_trainers(width: int, height: int) -> None:
    finding = refused(encoded(picture(width=width, height=height)))
    assert (finding.code, finding.message) == (
        "IMAGE_TOO_SMALL",
        f"{width} x {height} pixels; 10 a side are the least",
    )


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (b"", "IMAGE_UNREADABLE", "empty"),
        (b"abcdefghijk", "IMAGE_UNREADABLE", "61 62 63"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "IMAGE_UNREADABLE", "git lfs pull"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "IMAGE_FORMAT_UNSUPPORTED", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", "IMAGE_FORMAT_UNSUPPORTED", "SVG"),
        (b"<!DOCTYPE html><html>404</html>", "IMAGE_FORMAT_UNSUPPORTED", "web page"),
        (encoded(picture(), "GIF"), "IMAGE_FORMAT_UNSUPPORTED", "GIF"),
        (encoded(picture(), "AVIF"), "IMAGE_FORMAT_UNSUPPORTED", "AVIF"),
        (encoded(picture(), "PPM"), "IMAGE_FORMAT_UNSUPPORTED", "Netpbm"),
        (encoded(picture(), "ICO"), "IMAGE_FORMAT_UNSUPPORTED", "icon"),
        (encoded(picture(), "JPEG2000"), "IMAGE_FORMAT_UNSUPPORTED", "JPEG 2000"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "IMAGE_FORMAT_UNSUPPORTED", "HEIC"),
        (b"\0\0\0\x18ftypisom" + bytes(40), "IMAGE_FORMAT_UNSUPPORTED", "video"),
        (b"%PDF-1.7", "IMAGE_FORMAT_UNSUPPORTED", "PDF"),
    ],
)
def test_named_if_it_is_something_else(data: bytes, code: str, word: str) -> None:
    finding = refused(data)
    assert finding.code == code
    assert word in finding.message


def _with_text(text: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    return encoded(picture(), "PNG", pnginfo=info)


def _damage(data: bytes, part: bytes) -> bytes:
    assert part in data
    return data.replace(part, bytes(byte ^ 0xFF for byte in part))


@pytest.mark.parametrize(
    "data",
    [
        lambda: _damage(_with_text("a comment"), b"a comment"),
        lambda: encoded(exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 40),
        lambda: encoded(exif=b"Exif\0\0nonsense"),
        lambda: encoded(icc_profile=b"nonsense"),
        lambda: encoded(picture(), "PNG", icc_profile=b"nonsense"),
        lambda: encoded(picture(), "WEBP", icc_profile=b"nonsense", exif=b"nonsense"),
    ],
)
def test_the_picture_is_kept_if_only_its_metadata_is_damaged(data: Callable[[], bytes]) -> None:
    found = inspect("a", data())
    assert isinstance(found, Inspected), found
    if found.rewrite:
        assert quarters(decoded(mended(data(), "a"))) == UPRIGHT


@pytest.mark.parametrize("size", [128, 256])
@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1"), ("PNG", "LA")]
)
def test_thumbnail_fits_and_shows_the_picture(kind: str, mode: str, size: int) -> None:
    image = picture("RGB", 900, 600)
    result = decoded(thumbnail(encoded(image.convert(mode), kind), size))
    assert (result.format, result.size) == ("JPEG", {128: (128, 85), 256: (256, 171)}[size])
    if mode in ("RGB", "RGBA", "P"):
        assert quarters(result) == UPRIGHT


def test_thumbnail_is_white_where_transparent() -> None:
    result = decoded(thumbnail(encoded(Image.new("RGBA", (300, 200), (255, 0, 0, 0)), "PNG"), 128))
    assert result.getpixel((60, 40)) == (255, 255, 255)


def test_thumbnail_of_a_small_image_is_not_larger() -> None:
    assert decoded(thumbnail(encoded(), 128)).size == (WIDTH, HEIGHT)


def test_no_warning_leaks_if_threads_overlap() -> None:
    entered, leave = threading.Event(), threading.Event()

    def long_one() -> None:
        with QUIETLY:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=long_one)
    thread.start()
    entered.wait(10)
    with QUIETLY:
        warnings.warn("within both", stacklevel=1)
    warnings.warn("within the other thread's", stacklevel=1)
    leave.set()
    thread.join()
    with pytest.raises(UserWarning, match="after both"):
        warnings.warn("after both", stacklevel=1)
