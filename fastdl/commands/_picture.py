"""The demo's picture as one SVG, drawn without any library: curves by epoch, and what folding left of the file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

INK, SOFT, LINE, GRAY, BLUE = "#1d2433", "#5d6b82", "#dbe1ea", "#9aa5b1", "#1f6feb"
WIDTH, HEIGHT = 400, 300  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 52, 92, 56, 44  # of a panel's edges to its axes
WIDEST = 1.5  # share that is drawn; what is more ends at the panel's edge
STYLE = 'font-family="system-ui, Segoe UI, Roboto, DejaVu Sans, sans-serif" font-size="12"'


def picture(panels: Sequence[str]) -> str:
    """Panels side by side, as the text of an .svg file."""
    wide = WIDTH * len(panels)
    places = "".join(f'<g transform="translate({WIDTH * i} 0)">{panel}</g>' for i, panel in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {HEIGHT}" width="{wide}" height="{HEIGHT}" '
        f'{STYLE}><rect width="{wide}" height="{HEIGHT}" fill="#fff"/>{places}</svg>\n'
    )


def curves(
    title: str,
    training: Sequence[float],
    validation: Sequence[float],
    best: int,
    most: float = math.inf,
    test: float | None = None,
) -> str:
    """A panel: two curves by epoch, the epoch `best` (from 1) whose weights were kept, and a last number.

    most: the largest value that there can be.
    """
    test = test if test is None or math.isfinite(test) else None
    values = [*training, *validation, *([] if test is None else [test])]
    low, high, ticks = _scale([value for value in values if math.isfinite(value)], most)
    epochs = len(training)

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (epoch - 1) / max(epochs - 1, 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - low) / (high - low)

    parts = [_text(LEFT, 22, title, INK, size=14)]
    for tick in ticks:
        parts.append(_line(LEFT, y(tick), WIDTH - RIGHT, y(tick), LINE))
        parts.append(_text(LEFT - 8, y(tick) + 4, f"{tick:g}", SOFT, "end"))
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 10**9) if epochs / step <= 10)
    for epoch in sorted({1, *range(step, epochs + 1, step)}):
        parts.append(_text(x(epoch), HEIGHT - BOTTOM + 18, str(epoch), SOFT, "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "epoch", SOFT, "middle"))
    parts.append(_line(x(best), TOP, x(best), HEIGHT - BOTTOM, INK, dashed=True))
    parts.append(
        _text(min(max(x(best), LEFT + 62), WIDTH - RIGHT), TOP - 8, f"best: epoch {best}, kept", INK, "middle")
    )
    drawn = [("training", training, GRAY), ("validation", validation, BLUE)]
    ends = [next(filter(math.isfinite, reversed(series)), low) for _, series, _ in drawn]
    heights = _apart([y(end) for end in (*ends, *([] if test is None else [test]))])
    for (name, series, color), height in zip(drawn, heights, strict=False):
        points = [(x(i), y(value)) for i, value in enumerate(series, 1) if math.isfinite(value)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{color}"/>' for a, b in points]
        parts.append(_text(WIDTH - RIGHT + 6, height + 4, name, color))
    if test is not None:
        parts.append(f'<circle cx="{x(best):.1f}" cy="{y(test):.1f}" r="4.5" fill="#fff" stroke="{INK}"/>')
        parts.append(_text(WIDTH - RIGHT + 6, heights[-1] + 4, f"○ test {test:.3f}", INK))
    return "".join(parts)


@dataclass(frozen=True)
class Share:
    """A part of 1, what to say of it, and between which limits it lies where that is not certain."""

    share: float
    told: str
    spread: tuple[float, float] | None = None


def shares(title: str, rows: Mapping[str, Share]) -> str:
    """A panel: for each name a bar of its share, the gray one behind it is 1, and a line over its spread."""
    largest = max((max(row.share, *(row.spread or (0.0,))) for row in rows.values()), default=1.0)
    most = min(max(largest, 1.0), WIDEST)
    left, right = 24, 24
    height = (HEIGHT - TOP - 12) / max(len(rows), 1)

    def x(share: float) -> float:
        return left + (WIDTH - left - right) * min(share, most) / most

    parts = [_text(left, 22, title, INK, size=14)]
    for i, (name, row) in enumerate(rows.items()):
        top = TOP + i * height
        parts.append(_text(left, top + 10, name, INK) + _text(WIDTH - right, top + 10, row.told, SOFT, "end"))
        parts.append(_box(x(0), top + 16, x(1) - x(0), 14, LINE) + _box(x(0), top + 16, x(row.share) - x(0), 14, BLUE))
        if row.spread:
            low, high = map(x, row.spread)
            parts.append(_line(low, top + 23, high, top + 23, INK))
            parts += [_line(end, top + 19, end, top + 27, INK) for end in (low, high)]
    return "".join(parts)


def _scale(values: Sequence[float], most: float) -> tuple[float, float, list[float]]:
    """Limits and ticks that hold the values; a flat curve stays flat."""
    least, highest = min(values, default=0.0), max(values, default=1.0)
    span = max(highest - least, 0.1 * max(abs(highest), abs(least)), 1e-12)
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= span / 4)
    low = math.floor(min(least, highest - span) / step + 1e-9) * step
    high = min(math.ceil(highest / step - 1e-9) * step, max(most, highest))
    count = math.floor((high - low) / step + 1e-9)
    return low, high, [low + i * step for i in range(count + 1)]


def _apart(heights: Sequence[float], least: float = 15) -> list[float]:
    """The heights of labels, pushed so far apart that each can be read, in their order."""
    placed = list(heights)
    above = -math.inf
    for i in sorted(range(len(placed)), key=placed.__getitem__):
        placed[i] = above = max(placed[i], above + least)
    over = max(above - (HEIGHT - BOTTOM), 0)
    return [height - over for height in placed]


def _text(x: float, y: float, text: str, color: str, anchor: str = "start", size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{color}" font-size="{size}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, color: str, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 4"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"{dashes}/>'


def _box(x: float, y: float, width: float, height: float, color: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height}" fill="{color}" rx="2"/>'
