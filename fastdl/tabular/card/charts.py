"""Charts as inline SVG: no script, no font, readable on a phone, in light and in dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from fastdl.base.text import shown

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 10, 34
POWERS = 50  # times the least, from which a curve is drawn by its powers of ten
COLOURS = "c0", "c1", "c2", "c3", "c4", "c5"


def safe(text: object) -> str:
    """Text that a page may hold, whatever a file named its columns."""
    return escape(shown(str(text)))


def short(text: object, most: int = 80) -> str:
    """The beginning of a long text, safe."""
    whole = str(text)
    return safe(whole if len(whole) <= most else whole[: most - 1] + "…")


def number(value: float) -> str:
    """As short as it can be told: three or four digits."""
    if not np.isfinite(value):
        return "–"
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value + 0.0:.4g}"  # no -0


def _tick(value: float) -> str:
    """Shorter still: thousands and millions by a letter."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size <= abs(value) < 1e12:
            return f"{value / min(size, 1e9 if letter == 'G' else 1e6 if letter == 'M' else 1e3):.4g}{letter}"
    return number(value)


def _svg(body: str, label: str, height: float = HEIGHT, width: float = WIDTH) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" role="img" '
        f'aria-label="{safe(label)}">{body}</svg>'
    )


class _Axes:
    """From values to places on the paper, with ticks."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.x, self.y = _widened(x), _widened(y)

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        places = [self.at(x, y) for x, y in zip(xs, ys, strict=True) if np.isfinite([x, y]).all()]
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if places else ""

    def frame(self, x_label: str, y_label: str, *, powers: bool = False) -> str:
        """Grid, ticks and labels. powers: y holds logarithms to the base 10."""
        parts = []
        for value in _ticks(*self.y):
            x, y = self.at(self.x[0], value)
            told = number(float(f"{10**value:.1g}")) if powers else _tick(value)
            parts.append(f'<path class="grid" d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text class="end" x="{x - 6:.1f}" y="{y + 4:.1f}">{told}</text>')
        for value in _ticks(*self.x):
            x, y = self.at(value, self.y[0])
            parts.append(f'<text x="{x:.1f}" y="{y + 15:.1f}">{_tick(value)}</text>')
        parts.append(f'<text class="label" x="{(WIDTH + LEFT) / 2:.0f}" y="{HEIGHT - 4}">{short(x_label, 44)}</text>')
        parts.append(
            f'<text class="label" transform="translate(11 {HEIGHT / 2 - 10:.0f}) '
            f'rotate(-90)">{short(y_label, 28)}</text>'
        )
        return "".join(parts)


def _finite(values: np.ndarray) -> np.ndarray:
    """Those that are finite, or a zero."""
    known = values[np.isfinite(values)]
    return known if len(known) else np.zeros(1)


def _widened(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = (float(end) if np.isfinite(end) else 0.0 for end in ends)
    size = max(abs(low), abs(high))
    return (low, high) if high - low > 1e-9 * size else (low - max(0.5, size / 2), low + max(0.5, size / 2))


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values between the ends."""
    step = 10.0 ** np.floor(np.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (step * factor) <= count)
    first = np.ceil(low / step - 1e-9)
    return [float(k * step) + 0.0 for k in np.arange(first, np.floor(high / step + 1e-9) + 1)]


def lines(
    series: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    *,
    diagonal: bool = False,
    dots: bool = False,
    y_range: tuple[float, float] | None = None,
) -> str:
    """Curves: (name, x, y) each; with a key where there are several."""
    xs, ys = (_finite(np.concatenate([np.asarray(each[k], float) for each in series])) for k in (1, 2))
    powers = y_range is None and ys.min() > 0 and ys.max() > POWERS * ys.min()
    if powers:  # what falls from 200 to 1 is told by its powers
        series = [(name, x, np.log10(np.maximum(y, ys.min())).tolist()) for name, x, y in series]
        ys = np.log10(ys)
    axes = _Axes((xs.min(), xs.max()), y_range or (ys.min(), ys.max()))
    parts = [axes.frame(x_label, y_label, powers=powers)]
    if diagonal:
        parts.append(f'<path class="even" d="{axes.path(axes.x, axes.x)}"/>')
    for (_, x, y), colour in zip(series, COLOURS * 10, strict=False):
        parts.append(f'<path class="line {colour}" d="{axes.path(x, y)}"/>')
        if dots:
            places = [axes.at(*place) for place in zip(x, y, strict=True) if np.isfinite(place).all()]
            parts += [f'<circle class="dot {colour}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in places]
    names = [name for name, _, _ in series]
    return _svg("".join(parts), f"{y_label} by {x_label}") + (_key(names) if len(series) > 1 else "")


def _key(names: Sequence[str]) -> str:
    spans = [f'<span class="{c}">{short(name, 40)}</span>' for name, c in zip(names, COLOURS * 10, strict=False)]
    return f'<p class="key">{"".join(spans)}</p>'


def points(x: Sequence[float], y: Sequence[float], x_label: str, y_label: str, *, zero: bool = False) -> str:
    """A cloud, with a line at y = 0 if `zero`, else where y = x."""
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    there = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = (xs[there], ys[there]) if there.any() else (np.zeros(1), np.zeros(1))
    span = (min(xs.min(), ys.min()), max(xs.max(), ys.max()))
    axes = _Axes((xs.min(), xs.max()), (ys.min(), ys.max())) if zero else _Axes(span, span)
    parts = [axes.frame(x_label, y_label)]
    ends = (0.0, 0.0) if zero else axes.x
    parts.append(f'<path class="even" d="{axes.path(axes.x, ends)}"/>')
    path = "".join(f"M{a:.1f} {b:.1f}h0" for a, b in (axes.at(*place) for place in zip(xs, ys, strict=True)))
    parts.append(f'<path class="cloud" d="{path}"/>')
    return _svg("".join(parts), f"{y_label} by {x_label}")


def bars(rows: Sequence[tuple[str, float]], label: str) -> str:
    """Horizontal bars, one a row, with their values; those below zero to the left of a line."""
    height, place, room = 22, 158, 190
    values = [value if np.isfinite(value) else 0.0 for _, value in rows]
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    if low and -low < high / 50:
        low = 0.0  # a hair below zero is none
    unit = room / ((high - low) or 1.0)
    zero, parts = place - low * unit, []
    for i, ((name, given), value) in enumerate(zip(rows, values, strict=True)):
        y, left, width = i * height, zero + min(max(value, low), 0.0) * unit, max(abs(max(value, low)) * unit, 0.0)
        cut = str(name) if len(str(name)) <= 22 else str(name)[:21] + "…"
        parts.append(f'<text class="end" x="150" y="{y + 15}"><title>{short(name)}</title>{safe(cut)}</text>')
        parts.append(f'<rect class="bar" x="{left:.1f}" y="{y + 4}" width="{width:.1f}" height="14" rx="2"/>')
        end = max(zero, left + width)
        parts.append(f'<text class="begin" x="{end + 6:.1f}" y="{y + 15}">{number(given)}</text>')
    if low:
        parts.append(f'<path class="grid" d="M{zero:.1f} 0V{len(rows) * height}"/>')
    return _svg("".join(parts), label, max(len(rows), 1) * height)


def dots(rows: Sequence[tuple[str, float]], label: str) -> str:
    """A dot a row on one scale from the least value to the greatest, which need not hold zero."""
    values = _finite(np.array([value for _, value in rows]))
    low, high = _widened((float(values.min()), float(values.max())))
    parts = []
    for i, (name, value) in enumerate(rows):
        y, x = 22 * i + 11, 168 + 160 * ((value if np.isfinite(value) else low) - low) / (high - low)
        cut = str(name) if len(str(name)) <= 22 else str(name)[:21] + "…"
        parts.append(f'<text class="end" x="150" y="{y + 4}"><title>{short(name)}</title>{safe(cut)}</text>')
        parts.append(f'<path class="grid" d="M158 {y}H340"/><circle class="dot c0" cx="{x:.1f}" cy="{y}" r="4"/>')
        parts.append(f'<text class="begin" x="348" y="{y + 4}">{number(value)}</text>')
    return _svg("".join(parts), label, 22 * max(len(rows), 1))


def histogram(values: Sequence[float], x_label: str) -> str:
    """How many lie where."""
    known = _finite(np.asarray(values, float))
    counts, edges = np.histogram(known, bins=30, range=_widened((float(known.min()), float(known.max()))))
    axes = _Axes((edges[0], edges[-1]), (0, counts.max()))
    parts = [axes.frame(x_label, "rows")]
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        (x0, y0), (x1, y1) = axes.at(low, 0), axes.at(high, count)
        parts.append(
            f'<rect class="bar" x="{x0:.1f}" y="{y1:.1f}" width="{x1 - x0 - 0.6:.1f}" height="{y0 - y1:.1f}"/>'
        )
    return _svg("".join(parts), f"Distribution of {x_label}")


def confusion(counts: np.ndarray, names: Sequence[str]) -> str:
    """How many rows of each class (down) got each answer (across), shaded by the share of the class."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    head = "".join(f"<th>{short(name, 24)}</th>" for name in names)
    body = ""
    for name, row, share in zip(names, counts, shares, strict=True):
        cells = "".join(
            f'<td style="--s:{s:.3f}"><b>{c:,}</b><i>{100 * s:.0f} %</i></td>' for c, s in zip(row, share, strict=True)
        )
        body += f"<tr><th>{short(name, 24)}</th>{cells}</tr>"
    return (
        '<div class="scroll"><table class="confusion"><thead><tr><th>actual ↓ answer →</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A plain table."""
    heads = "".join(f"<th>{safe(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{short(cell, 200)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
