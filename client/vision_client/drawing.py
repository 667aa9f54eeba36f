"""A prediction drawn on its image: boxes, polygons, keypoints, rotated boxes, class labels."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from vision_client import formatting
from vision_client.errors import VisionError
from vision_client.models import Detection, PredictionResult

PALETTE = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#f032e6", "#808000", "#000075")
SMALLEST_SIDE = 640  # a smaller image is enlarged, so that labels can be read
FILL_OPACITY = 70
SHOWN_CLASSES = 5
FONTS_BEYOND_LATIN = (
    "NotoSansCJK-Regular.ttc",
    "NanumGothic.ttf",
    "malgun.ttf",
    "AppleSDGothicNeo.ttc",
    "DejaVuSans.ttf",
)

Point = tuple[float, float]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def annotate(image: Path, result: PredictionResult) -> Image.Image:
    """The picture with everything that was seen; positions are pixels after EXIF orientation, as the contract says."""
    try:
        with Image.open(image) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise VisionError(f"{image} cannot be read as an image: {error}") from error
    scale = max(1, SMALLEST_SIDE // max(picture.size))
    canvas = _Canvas(picture.resize((picture.width * scale, picture.height * scale)), scale)
    for detection in sorted(result.predictions, key=lambda seen: seen.confidence):
        canvas.shape(detection)
    canvas.labels(result.predictions)
    return canvas.picture


def save(picture: Image.Image, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
    except (ValueError, OSError) as error:
        raise VisionError(f"{target} cannot be written: {error}; end the name with .png or .jpg") from error


class _Canvas:
    def __init__(self, picture: Image.Image, scale: int) -> None:
        self.picture = picture
        self.scale = scale
        self.line = max(2, round(min(picture.size) / 250))
        self.draw = ImageDraw.Draw(picture, "RGBA")

    def shape(self, seen: Detection) -> None:
        colour = _colour(seen)
        if seen.polygon:
            self._outline(self._scaled(seen.polygon), colour, filled=True)
        if seen.rotated_box:
            self._outline(self._scaled(seen.rotated_box), colour)
        elif seen.box:
            left, top, right, bottom = (value * self.scale for value in seen.box)
            if right >= left and bottom >= top:
                self.draw.rectangle((left, top, right, bottom), outline=colour, width=self.line)
        for point in seen.keypoints or []:
            if point.confidence is None or point.confidence >= 0.5:
                self._dot((point.x * self.scale, point.y * self.scale), colour)

    def labels(self, predictions: list[Detection]) -> None:
        """Beside each shape, the surest on top; classes without a shape in a column, the surest first."""
        ascending = sorted(predictions, key=lambda seen: seen.confidence)
        for seen in ascending:
            if anchor := _anchor(seen):
                self._label((anchor[0] * self.scale, anchor[1] * self.scale), seen, above=True)
        shapeless = [seen for seen in reversed(ascending) if _anchor(seen) is None]
        for row, seen in enumerate(shapeless[:SHOWN_CLASSES]):
            self._label((0, row * self._font_size() * 1.5), seen, above=False)

    def _label(self, corner: Point, seen: Detection, *, above: bool) -> None:
        text = f"{seen.class_name} {formatting.score(seen.confidence)}"
        font = _font(text, self._font_size())
        left, top, right, bottom = self.draw.textbbox((0, 0), text, font=font)
        width, height = right - left + 2 * self.line, bottom - top + 2 * self.line
        x = min(max(0, corner[0]), max(0, self.picture.width - width))
        y = max(0, corner[1] - height) if above else corner[1]
        self.draw.rectangle((x, y, x + width, y + height), fill=_colour(seen))
        self.draw.text((x + self.line - left, y + self.line - top), text, fill="white", font=font)

    def _outline(self, points: list[Point], colour: str, *, filled: bool = False) -> None:
        fill = (*Image.new("RGB", (1, 1), colour).tobytes(), FILL_OPACITY) if filled else None
        self.draw.polygon(points, fill=fill)
        self.draw.line([*points, points[0]], fill=colour, width=self.line, joint="curve")

    def _dot(self, centre: Point, colour: str) -> None:
        radius = self.line * 1.5
        x, y = centre
        self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline="white")

    def _scaled(self, points: list[Point]) -> list[Point]:
        return [(x * self.scale, y * self.scale) for x, y in points]

    def _font_size(self) -> int:
        return max(12, round(min(self.picture.size) / 36))


def _anchor(seen: Detection) -> Point | None:
    """The upper left corner of what was seen."""
    if seen.box and not seen.rotated_box:
        return seen.box[0], seen.box[1]
    points = seen.rotated_box or seen.polygon or [(point.x, point.y) for point in seen.keypoints or []]
    return min(points, key=lambda point: point[1]) if points else None


def _colour(seen: Detection) -> str:
    return PALETTE[seen.class_id % len(PALETTE)]


def _font(text: str, size: int) -> Font:
    if not text.isascii():
        for name in FONTS_BEYOND_LATIN:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    return ImageFont.load_default(size)
