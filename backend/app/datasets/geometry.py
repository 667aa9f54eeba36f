"""Clipping to the upright image, the unit square. Coordinates are fractions; a polygon is x1, y1, x2, y2, …"""

from collections.abc import Callable, Iterable

from app.datasets.annotations import Box, Polygon

TOLERANCE = 1e-6  # rounding, not a mistake: a tenth of a pixel of an image 100,000 pixels wide

_Point = tuple[float, float]


def clamp(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def clip_box(box: Box) -> Box:
    x1, y1, x2, y2 = box
    return clamp(x1), clamp(y1), clamp(x2), clamp(y2)


def is_empty(box: Box) -> bool:
    """Without an area worth the name, or turned inside out."""
    return box[2] - box[0] <= TOLERANCE or box[3] - box[1] <= TOLERANCE


def reaches_outside(coordinates: Iterable[float]) -> bool:
    """Whether any of them is outside by more than rounding."""
    return any(not -TOLERANCE <= value <= 1 + TOLERANCE for value in coordinates)


def bounds(polygons: Iterable[Polygon]) -> Box:
    """The box around all of them; there is at least one point."""
    outlines = list(polygons)
    xs = [x for outline in outlines for x in outline[0::2]]
    ys = [y for outline in outlines for y in outline[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def clamp_polygon(polygon: Polygon) -> Polygon:
    """Each point moved to the nearest one inside; their number stays."""
    return tuple(map(clamp, polygon))


def clip_polygon(polygon: Polygon) -> Polygon:
    """The part inside (Sutherland and Hodgman, 1974); empty where nothing is."""
    points = list(zip(polygon[0::2], polygon[1::2], strict=True))
    for axis, edge, inside in _EDGES:
        points = _cut(points, axis, edge, inside)
    return tuple(
        value
        for point, before in zip(points, [*points[-1:], *points[:-1]], strict=True)
        if point != before
        for value in point
    )


def _cut(points: list[_Point], axis: int, edge: float, inside: Callable[[float], bool]) -> list[_Point]:
    kept: list[_Point] = []
    for before, point in zip([*points[-1:], *points[:-1]], points, strict=True):
        if inside(point[axis]) != inside(before[axis]):
            kept.append(_crossing(before, point, axis, edge))
        if inside(point[axis]):
            kept.append(point)
    return kept


def _crossing(a: _Point, b: _Point, axis: int, edge: float) -> _Point:
    other = 1 - axis
    share = (edge - a[axis]) / (b[axis] - a[axis])
    crossed = a[other] + share * (b[other] - a[other])
    return (edge, crossed) if axis == 0 else (crossed, edge)


_EDGES: tuple[tuple[int, float, Callable[[float], bool]], ...] = (
    (0, 0.0, lambda x: x >= 0.0),
    (0, 1.0, lambda x: x <= 1.0),
    (1, 0.0, lambda y: y >= 0.0),
    (1, 1.0, lambda y: y <= 1.0),
)
