"""Pictures of images, training curves and mistakes. Every function returns the Figure; end the cell with plt.show().

Colours are the Okabe-Ito set (https://jfly.uni-koeln.de/color/), told apart by colour-blind eyes as well, and no
statement rests on colour alone: lines differ in style, wrong predictions carry the word.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch.utils.data import DataLoader, Subset

from .session import CourseError, random_state_kept
from .transforms import Statistics, denormalize, normalization_of

BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK = COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"
)  # fmt: skip
STYLE = {
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "figure.constrained_layout.use": True,
    "font.size": 10,
}
WIDTH = 9.0  # inches: fills a notebook column without scrolling


def _picture(image: Any, mean: Statistics | None, std: Statistics | None) -> np.ndarray:
    """Turn a tensor (C, H, W), a PIL image or an array (H, W, C) into what imshow draws."""
    if not isinstance(image, torch.Tensor):
        return np.asarray(image)
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise CourseError(f"an image of shape {tuple(image.shape)} cannot be shown: expected (3, H, W) or (1, H, W).")
    image = image.detach().cpu()
    if mean is not None and std is not None:
        image = denormalize(image, mean, std)
    elif image.is_floating_point() and (image.min() < -0.01 or image.max() > 1.01):
        raise CourseError("the images are normalised (values outside 0..1): pass mean= and std= to undo it.")
    picture = image.permute(1, 2, 0).numpy()
    return picture.repeat(3, axis=2) if picture.shape[2] == 1 else picture


def _grid(count: int, ncols: int, lines: int = 0) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` empty places in rows of `ncols`, and room for titles of so many lines."""
    cell = WIDTH / max(ncols, 5)  # few columns do not blow the pictures up
    ncols = max(1, min(ncols, count))
    nrows = math.ceil(count / ncols)
    size = (cell * ncols, (cell + 0.19 * lines) * nrows)
    figure, axes = plt.subplots(nrows, ncols, figsize=size, squeeze=False)
    for ax in axes.flat:  # ax.axis("off") would do, but then the layout leaves no room for titles
        ax.set(xticks=[], yticks=[], frame_on=False)
        ax.grid(False)
    return figure, list(axes.flat)


def _wrap(title: Any, width: int) -> str:
    parts = str(title).replace("_", " ").split("\n")  # names of folders break at their words
    return "\n".join(line for part in parts for line in textwrap.wrap(part, width, break_on_hyphens=False) or [""])


def _lines(title: str) -> int:
    return title.count("\n") + 1 if title else 0


def show_images(
    images: torch.Tensor | Sequence[Any],
    titles: Sequence[Any] | None = None,
    ncols: int = 8,
    mean: Statistics | None = None,
    std: Statistics | None = None,
) -> Figure:
    """Show a grid of images: a batch (N, C, H, W), or a list of tensors (C, H, W), PIL images or arrays (H, W, C).

    Normalised tensors need their `mean` and `std` (the display undoes them). Raises CourseError when there is nothing
    to show, or fewer titles than images.

    >>> figure = show_images(torch.rand(3, 3, 8, 8), titles=["daisy", "rose", "tulip"])
    >>> len(figure.axes)
    3
    """
    if len(images) == 0:
        raise CourseError("show_images was given no images.")
    if titles is not None and len(titles) != len(images):
        raise CourseError(f"{len(images)} images but {len(titles)} titles: give one title per image.")
    pictures = [_picture(image, mean, std) for image in images]
    labels = [""] * len(pictures) if titles is None else [_wrap(title, 124 // max(ncols, 5)) for title in titles]
    with plt.rc_context(STYLE):
        figure, axes = _grid(len(pictures), ncols, max(map(_lines, labels)))
        for ax, picture, label in zip(axes, pictures, labels, strict=False):
            ax.imshow(picture, cmap="gray")
            ax.set_title(label, fontsize=8)
    return figure


def _transform_of(dataset: Any) -> Any:
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return getattr(dataset, "transform", None)


def _statistics(dataset: Any, mean: Statistics | None, std: Statistics | None) -> tuple:
    # the data set knows how it normalises; asking it is safer than trusting a default
    return (mean, std) if mean is not None else normalization_of(_transform_of(dataset)) or (None, None)


def _name(label: Any, classes: Sequence[str] | None) -> str:
    label = torch.as_tensor(label)
    if label.ndim == 1:  # a soft label, as mixup makes it: the two largest shares
        share, number = label.topk(min(2, len(label)))
        pairs = [f"{part:.0%} {_name(i, classes)}" for part, i in zip(share, number, strict=True) if part > 0.005]
        return "\n".join(pairs)
    return classes[int(label)] if classes is not None else f"class {int(label)}"


def show_batch(
    source: DataLoader | Any,
    classes: Sequence[str] | None = None,
    n: int = 16,
    mean: Statistics | None = None,
    std: Statistics | None = None,
) -> Figure:
    """Show n images with their class: the first batch of a loader, or images spread evenly over a dataset.

    Class names and normalisation are taken from the dataset when not given. Looking changes nothing: random numbers
    and the loader's order are put back.

    >>> figure = show_batch([(torch.rand(3, 8, 8), 0), (torch.rand(3, 8, 8), 1)], classes=["daisy", "rose"])
    >>> [ax.get_title() for ax in figure.axes]
    ['daisy', 'rose']
    """
    dataset = source.dataset if isinstance(source, DataLoader) else source
    if len(dataset) == 0:
        raise CourseError("show_batch was given an empty dataset.")
    classes = classes if classes is not None else _classes_of(dataset)
    with random_state_kept():
        images, labels = _first_batch(source, n) if isinstance(source, DataLoader) else _spread(dataset, n)
    return show_images(images, [_name(label, classes) for label in labels], 8, *_statistics(dataset, mean, std))


def _classes_of(dataset: Any) -> Sequence[str] | None:
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return getattr(dataset, "classes", None)


def _first_batch(loader: DataLoader, n: int) -> tuple[Sequence, Sequence]:
    own = [g for g in (loader.generator, getattr(loader.sampler, "generator", None)) if g is not None]
    states = [generator.get_state() for generator in own]
    images, labels = next(iter(loader))
    for generator, state in zip(own, states, strict=True):
        generator.set_state(state)
    return images[:n], labels[:n]


def _spread(dataset: Any, n: int) -> tuple[Sequence, Sequence]:
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(n, len(dataset))).round().astype(int))
    return tuple(zip(*(dataset[int(index)] for index in chosen), strict=True))


def plot_history(history: Any) -> Figure:
    """Plot loss above accuracy over epochs, training dashed, validation solid, the best epoch marked with a star.

    `history` is what `tl.fit` returns, or {name: history} to compare several.

    >>> from types import SimpleNamespace
    >>> curves = dict(train_loss=[2, 1], val_loss=[2, 1.5], train_accuracy=[0.2, 0.6], val_accuracy=[0.3, 0.5])
    >>> len(plot_history(SimpleNamespace(**curves, best_epoch=2)).axes)
    2
    """
    runs = dict(history) if isinstance(history, Mapping) else {"": history}
    if not runs or not any(len(run.val_loss) for run in runs.values()):
        raise CourseError("there is nothing to plot: no epoch was finished.")
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 1, figsize=(WIDTH * 0.75, 5.2), sharex=True)
        for number, (name, run) in enumerate(runs.items()):
            for ax, what in zip(axes, ("loss", "accuracy"), strict=True):
                _curves(ax, run, what, name, number if len(runs) > 1 else None)
        axes[0].set_ylabel("loss (cross-entropy)")
        axes[1].set_ylabel("accuracy")
        axes[1].set_xlabel("epoch")
        axes[1].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0].legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return figure


def _curves(ax: Axes, run: Any, what: str, name: str, number: int | None) -> None:
    train, val = getattr(run, f"train_{what}"), getattr(run, f"val_{what}")
    prefix = f"{name}: " if name else ""
    # one run: a colour for each part; several: a colour and a marker for each run, dashes for the training part
    train_colour, colour = (ORANGE, BLUE) if number is None else [COLOURS[number % len(COLOURS)]] * 2
    marker = "osD^vP"[(number or 0) % 6]
    for values, line, shade, part in ((train, "--", train_colour, "training"), (val, "-", colour, "validation")):
        epochs = range(1, len(values) + 1)
        ax.plot(epochs, values, line, marker=marker, color=shade, markersize=4, label=f"{prefix}{part}")
    best = run.best_epoch
    if best and best <= len(val):
        ax.plot(best, val[best - 1], "*", color=colour, markersize=14, label=f"{prefix}best epoch ({best})")


def compare_bars(accuracies: Mapping[str, Any], title: str = "", chance: float | None = None) -> Figure:
    """Compare strategies: {name: accuracy} in 0..1, or {name: [one accuracy per seed]} (bar: mean, dots: seeds).

    `chance` draws the accuracy of guessing.

    >>> len(compare_bars({"scratch": 0.2, "frozen": [0.41, 0.43, 0.45]}, chance=0.01).axes[0].patches)
    2
    """
    if not accuracies:
        raise CourseError("compare_bars was given nothing to compare.")
    with plt.rc_context(STYLE | {"axes.grid.axis": "x"}):
        figure, ax = plt.subplots(figsize=(WIDTH * 0.75, 0.8 + 0.42 * len(accuracies)))
        for row, value in enumerate(accuracies.values()):
            seeds = np.atleast_1d(np.asarray(value, dtype=float))
            ax.barh(row, seeds.mean(), height=0.6, color=SKY)
            if len(seeds) > 1:
                ax.plot(seeds, [row] * len(seeds), "o", color=BLACK, markersize=4)
            ax.text(max(seeds.max(), 0) + 0.015, row, f"{seeds.mean():.1%}", va="center")
        if chance is not None:
            ax.axvline(chance, color=BLACK, linestyle=":")
        guessing = "" if chance is None else f" (dotted line: guessing, {chance:.1%})"
        ax.set(xlim=(0, 1.12), xlabel=f"accuracy{guessing}", title=title, yticks=range(len(accuracies)))
        ax.set_yticklabels([_wrap(name, 24) for name in accuracies])
        ax.invert_yaxis()
    return figure
