"""The schedule designer: learning rates over the steps of a training, drawn before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from ..groups import parameter_groups
from ..session import CourseError
from .panel import Panel, Picture, choice, number, slider, switch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("OneCycle", "cosine", "step")
MOST_STEPS = 5_000  # more take too long to draw, and look the same
CONTROLS = {  # what matters for a kind of schedule; the others are hidden
    "OneCycle": ("kind", "rate", "factor", "epochs", "batches", "warmup", "final", "log"),
    "cosine": ("kind", "rate", "factor", "epochs", "batches", "warmup", "log"),
    "step": ("kind", "rate", "factor", "epochs", "batches", "size", "gamma", "log"),
}


def explore_schedules(
    model: nn.Module | None = None,
    epochs: int = 3,
    batches: int = 8,
    rate: float = 1e-2,
    factor: float = 0.3,
    kind: str = "OneCycle",
) -> Panel:
    """Return a panel that designs a schedule: OneCycle, cosine with a linear warm-up, or steps.

    `epochs` x `batches` (`len(train_loader)`) is the number of steps. `rate` is the head's highest rate. With a
    `model` there is a curve for each stage that trains, and a stage gets `factor` times the rate of the one after it,
    as `tl.parameter_groups` does; without one there are two groups, body and head. The curves come from PyTorch's own
    schedulers on a dummy optimizer, and the code that makes them stands below. The model is only read. Raises
    `CourseError` for settings that cannot work. (torch.optim.lr_scheduler)

    >>> panel = explore_schedules(epochs=3, batches=8, rate=0.01)
    >>> panel.set(kind="step", size=1, gamma=0.1)
    >>> panel.status
    'step, 24 steps: the head starts at 0.01, peaks at 0.01 in step 1 and ends at 0.0001. body: 0.3 of it.'
    """
    if kind not in KINDS:
        raise CourseError(f"kind={kind!r} is unknown: choose one of {', '.join(KINDS)}.")
    for name, value in (("epochs", epochs), ("batches", batches)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise CourseError(f"{name}={value!r} must be a whole number of at least 1.")
    if epochs * batches > MOST_STEPS:
        raise CourseError(
            f"epochs={epochs} x batches={batches} are more than {MOST_STEPS:,} steps: give fewer batches, the shape "
            "stays the same."
        )
    _peaks(model, rate, factor)  # refuses a rate, a factor or a model that cannot work
    rate = _short(rate)
    rates = sorted({rate, *(float(f"{digit}e{power}") for power in range(-6, 1) for digit in (1, 2, 5))})
    controls = {
        "kind": choice("Schedule", KINDS, kind),
        "rate": choice("Head's peak rate", [(f"{one:.3g}", one) for one in rates], rate),
        "factor": number("Factor per stage" if model else "Body, times this", _short(factor), 0.01, 1.0, 0.05),
        "epochs": number("Epochs", epochs, 1, max(200, epochs)),
        "batches": number("Batches per epoch", batches, 1, max(1000, batches)),
        "warmup": slider("Warm-up, share", 0.1, 0.0, 0.9, 0.05),
        "final": choice("final_div_factor", [(f"{10**power:,}", 10**power) for power in range(6)], 10_000),
        "size": number("Epochs until it drops", 1, 1, 50),
        "gamma": number("Drops to (gamma)", 0.1, 0.01, 1.0, 0.05),
        "log": switch("Logarithmic axis", True),
    }
    return Panel(
        "Schedule designer",
        controls,
        lambda **values: _draw(model, **values),
        lambda **values: CONTROLS[values["kind"]],
    )


def _peaks(model: nn.Module | None, rate: float, factor: float) -> dict[str, float]:
    """Return the highest rate of each group by its name, from the stem to the head."""
    if model is not None:
        return {group["name"]: group["lr"] for group in parameter_groups(model, rate, factor)}
    if not isinstance(rate, (int, float)) or not 0 < rate < float("inf"):
        raise CourseError(f"rate={rate!r} must be a number above 0, for example 0.01.")
    if not isinstance(factor, (int, float)) or not 0 < factor <= 1:
        raise CourseError(f"factor={factor!r} must lie above 0 and be at most 1: the body moves less.")
    return {"body": _short(rate * factor), "head": rate}


def _short(value: float) -> float:
    """Round to four digits: a number that is drawn must be one that can be copied."""
    return float(f"{value:.4g}")


def _code(kind: str, steps: int, warmup: float, final: int, size: int, gamma: float) -> str:
    """Return the lines that turn an `optimizer` into a `scheduler`."""
    warm = min(round(warmup * steps), steps - 1)
    if kind == "OneCycle":
        return (
            'peaks = [group["lr"] for group in optimizer.param_groups]\n'
            "scheduler = lr_scheduler.OneCycleLR(\n"
            f"    optimizer, max_lr=peaks, total_steps={steps},\n"
            f"    pct_start={_short(warmup)}, final_div_factor={final})"
        )
    if kind == "step":
        return f"scheduler = lr_scheduler.StepLR(\n    optimizer, step_size={size}, gamma={_short(gamma)})"
    if not warm:
        return f"scheduler = lr_scheduler.CosineAnnealingLR(\n    optimizer, T_max={steps})"
    return (
        f"rise = lr_scheduler.LinearLR(\n    optimizer, start_factor=0.01, total_iters={warm})\n"
        f"fall = lr_scheduler.CosineAnnealingLR(\n    optimizer, T_max={steps - warm})\n"
        f"scheduler = lr_scheduler.SequentialLR(\n    optimizer, [rise, fall], milestones=[{warm}])"
    )


def _rates(code: str, peaks: Sequence[float], epochs: int, batches: int, by_epoch: bool) -> list[list[float]]:
    """Run the code on a dummy optimizer; return a row per step with the rate of each group."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": peak} for peak in peaks]
    names: dict[str, Any] = {"optimizer": torch.optim.SGD(groups, momentum=0.9), "lr_scheduler": lr_scheduler}
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # SequentialLR of PyTorch 2.7 warns about its own doings
        exec(code, names)  # so the code that stands below the curves is the code that made them
        names["optimizer"].step()  # without gradients nothing moves; schedulers ask that it came first
        for step in range(1, epochs * batches + 1):
            rows.append([group["lr"] for group in names["optimizer"].param_groups])
            if step < epochs * batches and (not by_epoch or step % batches == 0):
                names["scheduler"].step()
    return rows


def _draw(
    model: nn.Module | None, kind: str, rate: float, factor: float, epochs: int, batches: int, log: bool, **shape: Any
) -> Picture:
    steps, by_epoch, factor = epochs * batches, kind == "step", _short(factor)
    if steps > MOST_STEPS:
        raise CourseError(f"{steps:,} steps are more than {MOST_STEPS:,}: the shape stays the same with fewer batches.")
    code = _code(kind, steps, **shape)
    peaks = _peaks(model, rate, factor)
    try:
        rows = _rates(code, list(peaks.values()), epochs, batches, by_epoch)
    except ZeroDivisionError:
        raise CourseError(
            f"OneCycleLR divides by zero when the warm-up is exactly one step, as {shape['warmup']:.4g} of {steps} "
            "is: choose another share, or another number of batches."
        ) from None
    *slower, last = peaks  # `last` is the head, unless that is frozen
    curve = [row[-1] for row in rows]
    top = curve.index(max(curve)) + 1
    others = [f"{name}: {peaks[name] / peaks[last]:.2g} of it" for name in slower]
    status = (
        f"{kind}, {steps:,} steps: the {last} starts at {curve[0]:.3g}, peaks at {max(curve):.3g} in step {top} and "
        f"ends at {curve[-1]:.3g}." + (f" {', '.join(others)}." if others else "")
    )
    axis = "logarithmic" if log else "plain"
    alt = f"Learning rate over {steps:,} steps on a {axis} axis, a curve for each of {', '.join(peaks)}. {status}"
    if model is not None:
        groups = f"groups = tl.parameter_groups(model, lr={rate}, factor={factor})"
    else:  # body and head are two lists of parameters
        lines = [f'    {{"params": {name}, "lr": {_short(peak)}}},' for name, peak in peaks.items()]
        groups = "\n".join(["groups = [", *lines, "]"])
    every = "epoch" if by_epoch else "batch"
    code = (
        f"from torch.optim import lr_scheduler\n{groups}\noptimizer = torch.optim.AdamW(groups)\n{code}\n"
        f'# tl.fit(..., scheduler=scheduler,\n#        step_scheduler_every="{every}")'
    )
    return Picture(_figure(rows, list(peaks), epochs, batches, by_epoch, log), alt, status, code)


def _figure(
    rows: Sequence[Sequence[float]], names: Sequence[str], epochs: int, batches: int, by_epoch: bool, log: bool
) -> Figure:
    """Draw a curve per group with its name at the line; light upright lines end the epochs."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    from ..curves import LINES, PLACES
    from ..plots import COLOURS, STYLE

    thin = max(1, len(rows) // 1000)
    steps = sorted({*range(1, len(rows) + 1, thin), len(rows)})
    columns = list(zip(*rows, strict=True))
    with plt.rc_context(STYLE | {"figure.constrained_layout.use": False}):
        figure = Figure(figsize=(6.0, 3.4), dpi=100)  # not pyplot's: a notebook would show it a second time
        ax = figure.subplots()
        figure.subplots_adjust(0.15, 0.15, 0.98, 0.97)
        for order, (name, column) in enumerate(zip(reversed(names), reversed(columns), strict=True)):
            look = {"color": COLOURS[order % len(COLOURS)], "linestyle": LINES[order % len(LINES)], "linewidth": 1.8}
            drops = "steps-mid" if by_epoch else "default"
            ax.plot(steps, [column[step - 1] for step in steps], label=name, drawstyle=drops, **look)
            place = 1 + round((len(rows) - 1) * PLACES[order % len(PLACES)])
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.9}
            if log:  # on a plain axis the slow groups lie on each other, and so would their names
                ax.text(place, column[place - 1], name, fontsize=9, ha="center", va="center", bbox=paper)
        top = columns[-1].index(max(columns[-1]))
        ax.plot(top + 1, columns[-1][top], "o", color="black", markersize=5)
        for epoch in range(1, epochs) if epochs <= 40 else ():
            ax.axvline(epoch * batches + 0.5, color="#999999", linestyle=":", linewidth=0.8)
        ax.set(yscale="log" if log else "linear", xlabel="step (dotted lines: end of an epoch)", ylabel="learning rate")
        ax.margins(x=0.02)
        if log:  # the last steps of some schedules go down by powers of ten and would flatten all the rest
            slowest = min(max(column) for column in columns)
            ax.set_ylim(bottom=max(min(map(min, columns)) * 0.8, slowest / 1000))
            ax.yaxis.set_minor_locator(NullLocator())  # with raised exponents they are slow to draw
            ax.yaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
        else:
            ax.set_ylim(bottom=0)
            ax.legend(loc="upper right", fontsize=9, framealpha=0.9, handlelength=3)
    return figure
