"""Pictures for people: the confusion matrix, and images with what was said about them. Drawn with Pillow alone."""

from collections.abc import Sequence
from pathlib import Path

from evaluation import Result
from images import read_image
from PIL import Image, ImageDraw, ImageFont

TILE, CAPTION, COLUMNS = 128, 30, 6
CELL, LARGEST_CELLS = 40, 40  # pixels, and classes up to which a cell has its number in it
GREEN, RED, BLACK, WHITE = (20, 120, 50), (180, 30, 30), (0, 0, 0), (255, 255, 255)


def draw_samples(
    path: Path, images: Sequence[Path], result: Result, places: Sequence[int], names: Sequence[str]
) -> None:
    """Tiles of `images[place]`, each with the class it was given, its confidence and, where that is wrong, its own."""
    rows = max(1, -(-len(places) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), WHITE)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, place in enumerate(places):
        left, top = index % COLUMNS * TILE, index // COLUMNS * (TILE + CAPTION)
        picture = read_image(images[place])
        picture = picture.resize(_fitting(picture.size), Image.Resampling.BICUBIC)
        sheet.paste(picture, (left + (TILE - picture.width) // 2, top))
        true, said = int(result.true[place]), int(result.predicted[place])
        text = f"{names[said][:16]} {result.confidence[place]:.0%}"
        text += "" if true == said else f"\nis {names[true][:18]}"
        draw.multiline_text((left + 3, top + TILE + 1), text, GREEN if true == said else RED, font, spacing=1)
    sheet.save(path, quality=90)


def draw_confusion(path: Path, result: Result, names: Sequence[str]) -> None:
    """Columns are what images are, rows what the model says; the shade is the share of a column."""
    count = len(names)
    cell = max(2, CELL if count <= LARGEST_CELLS else CELL * LARGEST_CELLS // count)
    margin = 150 if count <= LARGEST_CELLS else 30
    picture = Image.new("RGB", (margin + count * cell + 10, margin + count * cell + 10), WHITE)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    draw.text((4, 4), "rows: predicted\ncolumns: true", BLACK, font)
    matrix = result.matrix()
    totals = matrix.sum(0).clamp(min=1)
    for said in range(count):
        for true in range(count):
            share = float(matrix[said, true] / totals[true])
            box = (margin + true * cell, margin + said * cell, margin + (true + 1) * cell, margin + (said + 1) * cell)
            draw.rectangle(box, _shade(share))
            if count <= LARGEST_CELLS and matrix[said, true]:
                ink = WHITE if share > 0.5 else BLACK
                draw.text((box[0] + 6, box[1] + 13), str(int(matrix[said, true])), ink, font)
        if count <= LARGEST_CELLS:
            draw.text((4, margin + said * cell + 13), names[said][:24], BLACK, font)
            draw.text((margin + said * cell + 2, margin - 16), names[said][:6], BLACK, font)
    picture.save(path)


def _fitting(size: tuple[int, int]) -> tuple[int, int]:
    scale = TILE / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _shade(share: float) -> tuple[int, int, int]:
    return round(255 - 230 * share), round(255 - 180 * share), round(255 - 90 * share)
