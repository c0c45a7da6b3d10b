"""Pictures of training. They need matplotlib: `pip install 'fastdl[plots]'`."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fastdl.base.arrays import Array
from fastdl.base.files import write_atomically


class Search(Protocol):
    """The learning rates that were tried, the loss of each, and what follows: see find_learning_rate."""

    @property
    def rates(self) -> Array: ...
    @property
    def losses(self) -> Array: ...
    @property
    def smoothed(self) -> Array: ...
    @property
    def suggestion(self) -> float | None: ...


class Look(Protocol):
    """A look into all layers, after so many epochs: see layer_statistics."""

    @property
    def epoch(self) -> int: ...
    @property
    def layers(self) -> Sequence[Any]: ...
    @property
    def findings(self) -> dict[str, str]: ...


INK, TRAINING, VALIDATION = "#222222", "#9aa5b1", "#1f6feb"


def _figure(**options: Any) -> Any:
    """A figure for a file; the windows and backend that the caller uses stay as they are."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'fastdl[plots]'") from None
    return Figure(**options)


def _save(figure: Any, path: str | Path) -> None:
    """Write it whole or not at all, in the format that the name ends in; PNG without one."""
    figure.tight_layout()
    picture = io.BytesIO()
    figure.savefig(picture, format=Path(path).suffix.removeprefix(".") or "png", dpi=130)
    write_atomically(path, picture.getvalue())


def _axes(axis: Any, title: str, xlabel: str = "") -> None:
    axis.set_title(title, loc="left", fontsize=11, color=INK)
    axis.set_xlabel(xlabel, color=INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(colors=INK)


def history(epochs: Sequence[int], curves: Mapping[str, Sequence[Any]], path: str | Path | None = None) -> Any:
    """Draw what `fit` reported, one picture a number, validation beside training: to a file, or as the figure that is
    returned where path is None. ImportError: no matplotlib; ValueError: no epoch."""
    names = [name for name, values in curves.items() if values and np.ndim(values[-1]) == 0]
    titles = list(dict.fromkeys(name.removeprefix("val_") for name in names))
    if not titles:
        raise ValueError("there is nothing to draw yet: call fit first")
    columns = min(len(titles), 3)
    rows = -(-len(titles) // columns)
    figure = _figure(figsize=(4.2 * columns, 3.0 * rows))
    for number, title in enumerate(titles, 1):
        axis = figure.add_subplot(rows, columns, number)
        for name, color, label in ((title, TRAINING, "training"), (f"val_{title}", VALIDATION, "validation")):
            if name in names:
                places = [epoch + 1 for epoch in epochs][-len(curves[name]) :]
                axis.plot(places, curves[name], color=color, label=label, marker="o" if len(places) == 1 else "")
        _axes(axis, title, "epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if f"val_{title}" in names:
            axis.legend(frameon=False, fontsize=9)
    if path is None:
        figure.tight_layout()
        return figure
    return _save(figure, path)


def as_svg(figure: Any) -> str:
    """The figure as text that a page may hold."""
    picture = io.StringIO()
    figure.savefig(picture, format="svg")
    return picture.getvalue()[picture.getvalue().index("<svg") :]


def learning_rate_search(search: Search, path: str | Path) -> None:
    """Draw the loss over the learning rate, and the suggested rate, to a PNG. ImportError: no matplotlib."""
    figure = _figure(figsize=(5.5, 3.4))
    axis = figure.subplots()
    axis.plot(search.rates, search.losses, color=TRAINING, linewidth=0.8, label="each batch")
    axis.plot(search.rates, search.smoothed, color=VALIDATION, label="smoothed")
    if search.suggestion is not None:
        axis.axvline(search.suggestion, color=INK, linewidth=0.8, linestyle="--")
        axis.annotate(f"{search.suggestion:.1e}", (search.suggestion, 1), xycoords=("data", "axes fraction"),
                      xytext=(4, -4), textcoords="offset points", color=INK, va="top", fontsize=9)  # fmt: skip
    axis.set_xscale("log")
    begin = search.losses[: len(search.losses) // 2 + 1]
    if all(map(math.isfinite, begin)):  # what breaks later goes off the top
        low, high = min(filter(math.isfinite, search.losses)), max(begin)
        axis.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low))
    _axes(axis, "Loss by learning rate", "learning rate")
    axis.legend(frameon=False, fontsize=9)
    _save(figure, path)


def layer_statistics(snapshots: Look | Sequence[Look], path: str | Path) -> None:
    """Draw activations, gradients, updates and dead or saturated shares by layer to a PNG, a line a snapshot.

    The first is gray, the last blue, the lines between them pale. ImportError: no matplotlib; ValueError: no snapshot.
    """
    shown = list(snapshots) if isinstance(snapshots, Sequence) else [snapshots]
    if not shown:
        raise ValueError("there is no snapshot to draw: fit with the callback first")
    figure = _figure(figsize=(11, 6.2))
    axes = figure.subplots(2, 2, sharex=True)
    places = range(1, len(shown[0].layers) + 1)
    for number, snapshot in enumerate(shown):
        last = number == len(shown) - 1
        end = last or number == 0
        style = {"color": VALIDATION if last else TRAINING, "alpha": 1.0 if end else 0.35, "marker": "o",
                 "markersize": 3 if end else 0, "linewidth": 1.2 if end else 0.8}  # fmt: skip
        label = ("before training" if snapshot.epoch == 0 else f"after epoch {snapshot.epoch}") if end else None
        column = {
            name: np.array([getattr(layer, name) for layer in snapshot.layers], float)  # None becomes NaN: a gap
            for name in ("mean", "std", "gradient_norm", "update_ratio", "dead", "saturated")
        }
        axes[0, 0].plot(places, column["mean"], label=label, **style)
        if end:
            low, high = column["mean"] - column["std"], column["mean"] + column["std"]
            axes[0, 0].fill_between(places, low, high, color=style["color"], alpha=0.15, linewidth=0)
            axes[0, 0].vlines(places, low, high, color=style["color"], alpha=0.3, linewidth=0.8)
        axes[0, 1].plot(places, _positive(column["gradient_norm"]), **style)
        axes[1, 0].plot(places, _positive(column["update_ratio"]), **style)
        axes[1, 1].plot(places, column["dead"], **style)
        axes[1, 1].plot(places, column["saturated"], linestyle=":", **style)
    axes[1, 0].axhline(1e-3, color=INK, linewidth=0.8, linestyle="--")
    for axis in (axes[0, 1], axes[1, 0]):
        _logarithmic(axis)
    axes[1, 1].set_ylim(-0.03, 1.03)
    _axes(axes[0, 0], "Activations: mean and standard deviation")
    _axes(axes[0, 1], "Norm of the gradient")
    _axes(axes[1, 0], "Size of an update, relative to the weights", "layer")
    _axes(axes[1, 1], "Share of dead units (dotted: saturated outputs)", "layer")
    axes[1, 0].set_xlim(0.5, len(places) + 0.5)  # one layer too is a whole one
    axes[1, 0].set_xticks(places[:: -(-len(places) // 20)])
    axes[0, 0].legend(frameon=False, fontsize=9)
    kinds = shown[-1].findings
    figure.suptitle(", ".join(kinds) if kinds else "nothing wrong is seen", x=0.01, ha="left", color=INK, fontsize=12)
    _save(figure, path)


def _logarithmic(axis: Any) -> None:
    """A logarithmic axis of a decade or more, so that values that hardly differ look so."""
    low, high = axis.dataLim.intervaly
    if not 0 < low <= high < math.inf:
        return  # nothing is drawn there
    axis.set_yscale("log")
    if high < 8 * low:
        middle = math.sqrt(low * high)
        axis.set_ylim(middle / math.sqrt(10), middle * math.sqrt(10))


def _positive(values: Array) -> Array:
    """What a logarithmic axis can show; the rest is a gap."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)
