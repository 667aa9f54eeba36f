"""Images that bomb, lie or crash decoders become findings, before they cost anything."""

import io
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.datasets.findings import Finding
from app.datasets.images import Inspected, encode_upright, inspect
from tests.datasets.pictures import decoded, encoded, picture
from tests.hostile import pictures
from tests.hostile.inspecting import inspect_in_child

MEMORY_CAP = 32 * 2**20


def test_memory_and_time_are_capped_if_images_are_bombs(tmp_path: Path) -> None:
    refused = {
        "pixels.png": (pictures.giant_png(), "IMAGE_TOO_LARGE"),
        "pixels.webp": (pictures.giant_webp(), "IMAGE_TOO_LARGE"),
        "pixels.bmp": (pictures.giant_bmp(), "IMAGE_TOO_LARGE"),
        "pixels.jpg": (pictures.giant_jpeg(), "IMAGE_TOO_LARGE"),
        "tile.tif": (pictures.tiff((322, 4, 1, 2**20), (323, 4, 1, 2**12)), "IMAGE_TOO_LARGE"),
        "strips.tif": (pictures.tiff((273, 4, 2**32 - 1, 8)), "IMAGE_UNREADABLE"),
        "chunks.png": (pictures.many_chunks(), "IMAGE_UNREADABLE"),
        "scans.jpg": (pictures.many_scans(), "IMAGE_UNREADABLE"),
        "frames.gif": (pictures.many_frame_gif(), "IMAGE_FORMAT_UNSUPPORTED"),
    }
    mended = {
        "ztxt.png": (pictures.text_bomb(b"zTXt"), "IMAGE_CLEANED"),
        "itxt.png": (pictures.text_bomb(b"iTXt"), "IMAGE_CLEANED"),
        "iccp.png": (pictures.text_bomb(b"iCCP"), "IMAGE_CLEANED"),
        "texts.png": (pictures.many_texts(), "IMAGE_CLEANED"),
        "frames.tif": (pictures.tiff(count=50_000), "IMAGE_FRAMES"),
        "loop.tif": (pictures.tiff(count=3, loop=True), "IMAGE_FRAMES"),
        "archive.jpg": (pictures.jpeg_and_zip(), "IMAGE_CLEANED"),
    }
    cases = refused | mended
    looked = inspect_in_child(tmp_path, {name: data for name, (data, _) in cases.items()})
    assert {name: look.codes for name, look in looked.items()} == {name: [code] for name, (_, code) in cases.items()}
    assert {name for name, look in looked.items() if look.taken} == set(mended)
    assert looked["pixels.png"].message == "2,500,000,000 pixels; 89,478,484 are the most"
    assert {name: look.grown_bytes for name, look in looked.items() if look.grown_bytes > MEMORY_CAP} == {}
    assert {name: look.seconds for name, look in looked.items() if look.seconds > 10} == {}


def test_memory_is_that_of_one_if_all_images_are_large(tmp_path: Path) -> None:
    """Nine megapixels take 36 MB when they are decoded, and there are two threads."""
    large, upload = encoded(picture(width=3_000, height=3_000), "PNG"), io.BytesIO()
    with zipfile.ZipFile(upload, "w") as archive:
        for index in range(8):
            archive.writestr(f"{index}.png", large)
    look = inspect_in_child(tmp_path, {"upload.zip": upload.getvalue()})["upload.zip"]
    assert look.taken
    assert 36 * 10**6 < look.grown_bytes < 60 * 10**6


def test_the_archive_is_gone_if_a_jpeg_is_one_too() -> None:
    data = pictures.jpeg_and_zip()
    found = inspect("a.jpg", data)
    assert isinstance(found, Inspected)
    assert found.rewrite == ".jpg"
    result = encode_upright(data, ".jpg")
    assert result == pictures.jpeg()
    assert b"PK" not in result


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "IMAGE_UNREADABLE"),
        (b"<svg onload='alert(1)'/>", "IMAGE_FORMAT_UNSUPPORTED"),
        (
            b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg/>",
            "IMAGE_FORMAT_UNSUPPORTED",
        ),
        (pictures.jpeg()[:-100], "IMAGE_TRUNCATED"),
        (pictures.png()[:-4], "IMAGE_TRUNCATED"),
        (b"\xff\xd8\xff" + bytes(1000), "IMAGE_UNREADABLE"),
        (b"II*\0" + b"\xff" * 100, "IMAGE_UNREADABLE"),
        (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(8), "IMAGE_UNREADABLE"),
    ],
)
def test_refused_if_it_is_no_image_at_all(data: bytes, code: str) -> None:
    found = inspect("a.jpg", data)
    assert isinstance(found, Finding)
    assert found.code == code


@pytest.mark.parametrize(
    "data",
    [
        pictures.jpeg(exif=pictures.looping_exif()),
        pictures.jpeg(exif=pictures.greedy_exif()),
        pictures.jpeg(icc_profile=b"\xff" * 70_000),
        pictures.tiff((34675, 7, 2**31 - 1, 8)),
        encoded(picture("CMYK"), "JPEG", icc_profile=b"not a profile"),
        encoded(Image.fromarray(np.full((32, 32), 65_535, np.uint16)), "PNG", icc_profile=b"not a profile"),
    ],
)
def test_taken_if_only_metadata_or_colours_are_strange(data: bytes) -> None:
    found = inspect("a", data)
    assert isinstance(found, Inspected), found
    if found.rewrite:
        again = inspect("a", encode_upright(data, found.rewrite))
        assert isinstance(again, Inspected)
        assert again.rewrite is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "MPO"])
def test_found_or_taken_but_never_raised_if_bytes_are_damaged(kind: str) -> None:
    """Whatever is taken can be encoded, and is then in order."""
    sound, chance = encoded(picture(), kind), random.Random(kind)
    for _ in range(150):
        data = bytearray(sound)
        for _ in range(chance.choice((1, 3, 20))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        found = inspect("a", bytes(data))
        if isinstance(found, Inspected) and found.rewrite:
            result = decoded(encode_upright(bytes(data), found.rewrite))
            assert result.size == (found.width, found.height)
