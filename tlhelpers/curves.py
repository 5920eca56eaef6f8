"""Curves over learning rates: what a sweep measured, and the rates of each parameter group over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .plots import COLOURS, STYLE, WIDTH
from .session import CourseError

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 3)))
PLACES = (0.3, 0.5, 0.4, 0.6)  # along a line: neighbours carry their names at different steps


def plot_lr_sweep(sweep: Any) -> Figure:
    """Plot the loss over the learning rate (log axis): dots are single batches, the line is their running average.

    `sweep` is what `tl.lr_sweep` returns, or {name: sweep} to compare several. A dotted upright line marks the
    suggestion, if there is one. Losses far above the start are cut off: how high a wreck flies does not matter.

    >>> from types import SimpleNamespace
    >>> curve = SimpleNamespace(rates=[0.01, 0.1], losses=[2, 1], smoothed=[2, 1.5], suggestion=lambda: 0.1)
    >>> plot_lr_sweep({"AdamW": curve}).axes[0].get_xscale()
    'log'
    """
    sweeps = dict(sweep) if isinstance(sweep, Mapping) else {"": sweep}
    if not sweeps or not all(len(one.rates) for one in sweeps.values()):
        raise CourseError("plot_lr_sweep was given nothing to plot: it takes what lr_sweep returns, or a dict of them.")
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(WIDTH * 0.75, 3.4))
        for number, (name, one) in enumerate(sweeps.items()):
            colour = COLOURS[number % len(COLOURS)]
            prefix = f"{name}: " if name else ""
            ax.plot(one.rates, one.losses, ".^sxd"[number % 5], color=colour, markersize=4, alpha=0.5)
            ax.plot(one.rates, one.smoothed, linestyle=LINES[number % 4], color=colour, label=f"{prefix}smoothed")
            _mark(ax, one.suggestion(), colour, prefix)
        lowest = min(min(one.smoothed) for one in sweeps.values())
        highest = max(one.smoothed[0] for one in sweeps.values())
        room = 0.75 * (highest - lowest) + 0.1 * abs(highest) + 1e-9
        seen = [loss for one in sweeps.values() for loss in one.losses]
        ax.set_ylim(max(min(seen) - 0.05 * room, lowest - room), min(max(seen) + 0.05 * room, highest + room))
        ax.set(xscale="log", xlabel="learning rate (of the fastest group)", ylabel="loss of a batch")
        ax.legend(frameon=False, fontsize=9)
    return figure


def _mark(ax: Axes, rate: float | None, colour: str, prefix: str) -> None:
    if rate is not None:
        ax.axvline(rate, color=colour, linestyle=":", label=f"{prefix}suggestion {rate:.1e}")


def plot_learning_rates(rates: Sequence[Sequence[float]], names: Sequence[str], log: bool = True) -> Figure:
    """Plot each group's learning rate over the steps, its name written at its line.

    `rates` has one row per step with one rate per group, as `[group["lr"] for group in optimizer.param_groups]` gives
    it; `names` has one name per group. `log=False` uses a plain axis. Lines that lie on each other share a label, and
    the two halves of a stage that `parameter_groups` split for weight decay share its name.

    >>> figure = plot_learning_rates([[0.1, 0.01], [0.2, 0.02]], ["head", "stem"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['head', 'stem']
    """
    rows = [list(row) for row in rates]
    if not rows or any(len(row) != len(names) for row in rows) or not names:
        widths = sorted({len(row) for row in rows})
        raise CourseError(f"rates must have one row per step with {len(names)} rates each; the rows have {widths}.")
    if log and min(min(row) for row in rows) <= 0:
        raise CourseError("A rate of 0 has no place on a logarithmic axis: use log=False.")
    curves: dict[tuple[float, ...], list[str]] = {}
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        curves.setdefault(values, []).append(str(name).removesuffix(", no decay"))
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(WIDTH * 0.75, 3.6))
        for number, values in enumerate(curves):
            # from the eighth group on the colours come again, with other lines
            line = LINES[(number + number // len(COLOURS)) % len(LINES)]
            ax.plot(range(1, len(rows) + 1), values, linestyle=line, color=_colour(number), linewidth=1.8)
            x = 1 + round((len(rows) - 1) * PLACES[number % len(PLACES)])
            words = ", ".join(dict.fromkeys(curves[values]))
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.9}
            ax.text(x, values[x - 1], words, fontsize=9, ha="center", va="center", bbox=paper)
        ax.set(yscale="log" if log else "linear", xlabel="step", ylabel="learning rate")
        ax.margins(x=0.02)
        if log:  # the last steps of some schedules go down by powers of ten and would flatten all the rest
            slowest = min(max(values) for values in curves)
            ax.set_ylim(bottom=max(min(min(values) for values in curves) * 0.8, slowest / 1000))
    return figure


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
