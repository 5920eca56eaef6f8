"""Look at what a model predicts: a grid of predictions, the class pairs it confuses most, and their images.

All three take what `tl.predict(model, loader)` returns, made with a loader that does not shuffle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from .plots import STYLE, VERMILLION, _grid, _lines, _picture, _statistics, _wrap
from .session import CourseError, random_state_kept
from .transforms import Statistics


def _arrays(predictions: Any, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted = np.asarray(predictions.labels), np.asarray(predictions.predicted)
    if len(labels) == 0:
        raise CourseError("there are no predictions to look at: the loader they were made with was empty.")
    if max(labels.max(), predicted.max()) >= len(classes):
        raise CourseError(
            f"the predictions reach class {max(labels.max(), predicted.max())}, but {len(classes)} class names were "
            "given: hand over the names of the data set the model was trained on."
        )
    return labels, predicted


def _images(predictions: Any, dataset: Any, indices: Sequence[int]) -> list:
    """Return the images at `indices` after checking that the predictions belong to this dataset, in this order."""
    if len(dataset) != len(predictions.labels):
        counts = f"{len(predictions.labels)} predictions do not belong to a dataset of {len(dataset)} images"
        raise CourseError(f"{counts}: predict again over this dataset.")
    with random_state_kept():
        samples = [dataset[int(index)] for index in indices]
    for index, (_, label) in zip(indices, samples, strict=True):
        if int(label) != int(predictions.labels[index]):
            raise CourseError(
                f"prediction {index} was made for class {int(predictions.labels[index])}, image {index} is of class "
                f"{int(label)}: make the predictions with a loader that does not shuffle, over the same dataset."
            )
    return [image for image, _ in samples]


def show_predictions(
    predictions: Any,
    dataset: Any,
    classes: Sequence[str],
    n: int = 12,
    mean: Statistics | None = None,
    std: Statistics | None = None,
    only: str | None = None,
) -> Figure:
    """Show n images, spread over the dataset, titled with the predicted class, its probability and the true class.

    Mistakes say WRONG in words and have a frame. `only="wrong"` or `only="right"` shows one kind.
    Raises CourseError when the predictions do not belong to this dataset in this order.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> guesses = SimpleNamespace(probabilities=torch.eye(2), labels=torch.tensor([0, 0]), predicted=torch.arange(2))
    >>> figure = show_predictions(guesses, [(torch.rand(3, 8, 8), 0)] * 2, ["daisy", "rose"], only="wrong")
    >>> print(figure.axes[0].get_title())
    WRONG
    predicted: rose 100%
    true: daisy
    """
    labels, predicted = _arrays(predictions, classes)
    kinds = {None: np.ones(len(labels), dtype=bool), "wrong": labels != predicted, "right": labels == predicted}
    if only not in kinds:
        raise CourseError(f"only={only!r} is unknown: choose 'wrong', 'right' or None for both.")
    candidates = np.flatnonzero(kinds[only])
    if len(candidates) == 0:
        raise CourseError(f"not one of the {len(labels)} predictions is {only}: there is nothing to show.")
    chosen = candidates[np.unique(np.linspace(0, len(candidates) - 1, min(n, len(candidates))).round().astype(int))]
    images = _images(predictions, dataset, chosen)
    mean, std = _statistics(dataset, mean, std)
    titles = []
    for guess, truth, shares in zip(predicted[chosen], labels[chosen], predictions.probabilities[chosen], strict=True):
        wrong = "WRONG\n" if guess != truth else ""
        titles.append(_wrap(f"{wrong}predicted: {classes[guess]} {shares[guess]:.0%}\ntrue: {classes[truth]}", 20))
    with plt.rc_context(STYLE):
        figure, axes = _grid(len(chosen), 6, max(map(_lines, titles)))
        for ax, index, image, title in zip(axes, chosen, images, titles, strict=False):
            ax.imshow(_picture(image, mean, std), cmap="gray")
            ax.set_title(title, fontsize=8)
            if predicted[index] != labels[index]:
                _frame(ax)
    return figure


def _frame(ax: Any) -> None:
    ax.set_frame_on(True)
    for spine in ax.spines.values():
        spine.set(visible=True, color=VERMILLION, linewidth=3)


def most_confused(predictions: Any, classes: Sequence[str], k: int = 5) -> list[tuple[str, str, int]]:
    """Return the k most frequent mistakes as (true class, predicted class, how often), the most frequent first.

    A list of pairs stays readable where a 102 x 102 confusion matrix does not.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> guesses = SimpleNamespace(labels=torch.tensor([0, 0, 1]), predicted=torch.tensor([1, 1, 1]))
    >>> most_confused(guesses, ["daisy", "rose"])
    [('daisy', 'rose', 2)]
    """
    return [(classes[true], classes[guess], count) for true, guess, count in _pairs(predictions, classes)[:k]]


def _pairs(predictions: Any, classes: Sequence[str]) -> list[tuple[int, int, int]]:
    labels, predicted = _arrays(predictions, classes)
    wrong = labels != predicted
    counts = Counter(zip(labels[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    return sorted(((*pair, count) for pair, count in counts.items()), key=lambda row: (-row[2], row[0], row[1]))


def plot_confused(
    predictions: Any,
    dataset: Any,
    classes: Sequence[str],
    k: int = 3,
    mean: Statistics | None = None,
    std: Statistics | None = None,
) -> Figure:
    """Show the k most confused pairs, a row each: up to three mistaken images, then one of the class they went to.

    Raises CourseError when nothing is confused, or the predictions do not belong to this dataset in this order.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> guesses = SimpleNamespace(labels=torch.tensor([0, 1]), predicted=torch.tensor([1, 1]))
    >>> images = [(torch.rand(3, 8, 8), 0), (torch.rand(3, 8, 8), 1)]
    >>> print(plot_confused(guesses, images, ["daisy", "rose"]).axes[-1].get_title())
    for comparison,
    truly rose
    """
    labels, predicted = _arrays(predictions, classes)
    pairs = _pairs(predictions, classes)[:k]
    if not pairs:
        raise CourseError(f"all {len(labels)} predictions are right: there is no confused pair to show.")
    mean, std = _statistics(dataset, mean, std)
    with plt.rc_context(STYLE):
        figure, axes = _grid(4 * len(pairs), 4, 5)
        for row, (true, guess, count) in enumerate(pairs):
            mistaken = np.flatnonzero((labels == true) & (predicted == guess))[:3]
            typical = np.flatnonzero(labels == guess)[:1]
            titles = [f"true: {classes[true]}\npredicted: {classes[guess]}"] * len(mistaken)
            titles[0] += f"\n({count} of {(labels == true).sum()} images)"
            titles += [f"for comparison,\ntruly {classes[guess]}"] * len(typical)
            places = [*range(len(mistaken)), 3]
            for place, image, title in zip(
                places, _images(predictions, dataset, [*mistaken, *typical]), titles, strict=False
            ):
                axes[4 * row + place].imshow(_picture(image, mean, std), cmap="gray")
                axes[4 * row + place].set_title(_wrap(title, 25), fontsize=8)
    return figure
