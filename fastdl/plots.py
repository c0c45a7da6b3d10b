"""Pictures of training and of what fusion gave. Needs matplotlib: `pip install 'fastdl[plots]'`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastdl.finder import LearningRateSearch
    from fastdl.fusion import FusionReport
    from fastdl.inspection import Snapshot

INK, TRAINING, VALIDATION, PLAIN, FUSED = "#222222", "#9aa5b1", "#1f6feb", "#9aa5b1", "#1f6feb"


def _pyplot() -> Any:
    """matplotlib.pyplot, drawing to files only."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _axes(axis: Any, title: str, xlabel: str = "") -> None:
    axis.set_title(title, loc="left", fontsize=11, color=INK)
    axis.set_xlabel(xlabel, color=INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(colors=INK)


def _curve(axis: Any, history: Mapping[str, Sequence[float]], name: str, title: str) -> None:
    epochs = range(1, len(history[name]) + 1)
    for key, color, label in ((name, TRAINING, "training"), (f"val_{name}", VALIDATION, "validation")):
        if key in history:
            axis.plot(epochs, history[key], color=color, marker="o", markersize=3, label=label)
            axis.annotate(f"{history[key][-1]:.3f}", (epochs[-1], history[key][-1]), xytext=(6, 0),
                          textcoords="offset points", color=color, va="center", fontsize=9)  # fmt: skip
    _axes(axis, title, "epoch")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, fontsize=9)


def _micros(value: float) -> str:
    return f"{value:,.0f} µs" if value >= 100 else f"{value:.1f} µs"


def training_and_fusion(history: Mapping[str, Sequence[float]], report: FusionReport, path: str | Path) -> None:
    """Draw loss and accuracy by epoch, and onnxruntime's time plain and fused, to a PNG. ImportError: no matplotlib."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.4), width_ratios=(1, 1, 0.9))
    _curve(axes[0], history, "loss", "Loss")
    _curve(axes[1], history, "accuracy", "Accuracy")
    names = list(report.latency)
    for shift, side, color, label in (
        (-0.18, "before_us", PLAIN, "plain"),
        (0.18, "after_us", FUSED, "fused"),
    ):
        heights = [report.latency[name][side] / report.latency[name]["before_us"] for name in names]
        bars = axes[2].bar([i + shift for i in range(len(names))], heights, 0.34, color=color, label=label)
        axes[2].bar_label(bars, [_micros(report.latency[name][side]) for name in names], fontsize=8, color=INK)
    axes[2].set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes[2].set_ylim(0, 1.35)
    axes[2].set_yticks([0, 0.5, 1])
    _axes(axes[2], "onnxruntime, time relative to plain")
    axes[2].legend(frameon=False, fontsize=9, loc="upper center", ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def learning_rate_search(found: LearningRateSearch, path: str | Path) -> None:
    """Draw the loss over the learning rate, and the suggested rate, to a PNG. ImportError: no matplotlib."""
    pyplot = _pyplot()
    figure, axis = pyplot.subplots(figsize=(5.5, 3.4))
    axis.plot(found.rates, found.losses, color=TRAINING, linewidth=0.8, label="each batch")
    axis.plot(found.rates, found.smoothed, color=VALIDATION, label="smoothed")
    if found.suggestion is not None:
        axis.axvline(found.suggestion, color=INK, linewidth=0.8, linestyle="--")
        axis.annotate(f"{found.suggestion:.1e}", (found.suggestion, 1), xycoords=("data", "axes fraction"),
                      xytext=(4, -4), textcoords="offset points", color=INK, va="top", fontsize=9)  # fmt: skip
    axis.set_xscale("log")
    begin = found.losses[: len(found.losses) // 2 + 1]
    if all(map(math.isfinite, begin)):  # what breaks later goes off the top
        low, high = min(filter(math.isfinite, found.losses)), max(begin)
        axis.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low))
    _axes(axis, "Loss by learning rate", "learning rate")
    axis.legend(frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def layer_statistics(snapshots: Snapshot | Sequence[Snapshot], path: str | Path) -> None:
    """Draw activations, gradients, updates and dead or saturated shares by layer to a PNG, a line a snapshot.

    The first is gray, the last blue, the lines between them pale. ImportError: no matplotlib; ValueError: no snapshot.
    """
    from fastdl.inspection import Snapshot

    shown = [snapshots] if isinstance(snapshots, Snapshot) else list(snapshots)
    if not shown:
        raise ValueError("there is no snapshot to draw: fit with the callback first")
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(2, 2, figsize=(11, 6.2), sharex=True)
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
        axes[0, 1].plot(places, _positive(column["gradient_norm"]), **style)
        axes[1, 0].plot(places, _positive(column["update_ratio"]), **style)
        axes[1, 1].plot(places, column["dead"], **style)
        axes[1, 1].plot(places, column["saturated"], linestyle=":", **style)
    axes[0, 1].set_yscale("log")
    axes[1, 0].set_yscale("log")
    axes[1, 0].axhline(1e-3, color=INK, linewidth=0.8, linestyle="--")
    axes[1, 1].set_ylim(-0.03, 1.03)
    _axes(axes[0, 0], "Activations: mean and standard deviation")
    _axes(axes[0, 1], "Norm of the gradient")
    _axes(axes[1, 0], "Size of an update, relative to the weights", "layer")
    _axes(axes[1, 1], "Share of dead units (dotted: saturated outputs)", "layer")
    axes[1, 0].xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].legend(frameon=False, fontsize=9)
    kinds = shown[-1].findings
    figure.suptitle(", ".join(kinds) if kinds else "nothing wrong is seen", x=0.01, ha="left", color=INK, fontsize=12)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _positive(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a logarithmic axis can show; the rest is a gap."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)
