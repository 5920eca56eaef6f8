"""Does a model's confidence mean what it says? Calibration by bins, its one-number summary, and its picture.

Confidence is the probability a model gives to the class it predicts. A calibrated model that says 70 % is right in 70
of 100 such cases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .evaluation import Predictions
from .plots import BLACK, SKY, STYLE, VERMILLION, WIDTH, _wrap
from .session import CourseError


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy in bins of equal width over 0..1; empty bins hold nan.

    >>> round(Calibration([0.9], [0.8], [10], mean_confidence=0.9, accuracy=0.8).ece, 3)
    0.1
    """

    confidences: list[float]  # mean confidence of the samples in each bin
    accuracies: list[float]  # share of right answers in each bin
    counts: list[int]  # samples in each bin
    mean_confidence: float  # over all samples
    accuracy: float  # over all samples (top-1)

    @property
    def n(self) -> int:
        """Number of samples."""
        return sum(self.counts)

    @property
    def ece(self) -> float:
        """Expected calibration error, 0..1: the gaps between confidence and accuracy, weighted by the bins' counts."""
        rows = zip(self.confidences, self.accuracies, self.counts, strict=True)
        return sum(count * abs(sure - right) for sure, right, count in rows if count) / self.n

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus accuracy: above 0 the model is too sure of itself, below 0 too modest."""
        return self.mean_confidence - self.accuracy

    @property
    def verdict(self) -> str:
        """Return "overconfident" or "underconfident", whichever way the confidence is off on the whole."""
        return "overconfident" if self.overconfidence > 0 else "underconfident"

    def table(self) -> str:
        """Return a line per bin that holds samples: its range, count, confidence, accuracy and their gap."""
        lines, bins = ["confidence     images  confidence  accuracy     gap"], len(self.counts)
        for i, (sure, right, n) in enumerate(zip(self.confidences, self.accuracies, self.counts, strict=True)):
            if n:
                limits = f"{i / bins:.2f} to {(i + 1) / bins:.2f}"
                lines.append(f"{limits:13} {n:7} {sure:11.1%} {right:9.1%} {100 * (sure - right):+7.1f}")
        total = f"{'all':13} {self.n:7} {self.mean_confidence:11.1%} {self.accuracy:9.1%}"
        return "\n".join([*lines, f"{total} {100 * self.overconfidence:+7.1f}   ECE {self.ece:.1%}"])


def calibration_of(predictions: Predictions, bins: int = 10) -> Calibration:
    """Sort the predictions of `predict` into bins by their confidence and measure each bin's accuracy.

    A sample on a limit belongs to the lower bin. The expected calibration error, `.ece`, depends on the number of bins
    and is biased upwards when they hold few samples: compare models on the same images with the same bins. Raises
    `CourseError` when there are no predictions, or for a number of bins below 1.
    (Guo et al. 2017, arXiv:1706.04599, section 2; Naeini et al. 2015 for the measure)

    >>> rows = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    >>> found = calibration_of(Predictions(rows, torch.tensor([0, 0]), torch.tensor([0, 1])))
    >>> found.counts[7:], found.accuracy, round(found.ece, 2)
    ([1, 1, 0], 0.5, 0.45)
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise CourseError(f"bins={bins!r} must be a whole number of at least 1, for example 10.")
    if not isinstance(getattr(predictions, "probabilities", None), torch.Tensor):
        raise CourseError("give what tl.predict(model, loader) returns: probabilities, labels and predicted classes.")
    if len(predictions.labels) == 0:
        raise CourseError("there are no predictions to calibrate: the loader they were made with was empty.")
    sure = predictions.probabilities.amax(dim=1)
    if sure.max() > 1.001 or predictions.probabilities.min() < 0:
        raise CourseError("these are no probabilities: take the softmax of the scores, or use tl.predict.")
    right = (predictions.predicted == predictions.labels).double()
    limits = torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1].to(sure.dtype)
    number = torch.bucketize(sure, limits)  # limits[i - 1] < confidence <= limits[i]
    counts = torch.bincount(number, minlength=bins)
    sums = [torch.bincount(number, weights=values.double(), minlength=bins) for values in (sure, right)]
    confidences, accuracies = ((total / counts).tolist() for total in sums)  # 0 / 0 is nan: an empty bin
    return Calibration(confidences, accuracies, counts.tolist(), sure.double().mean().item(), right.mean().item())


def plot_reliability(predictions: Predictions | Mapping[str, Predictions], bins: int = 10) -> Figure:
    """Draw a reliability diagram, or one for each of {name: predictions} side by side, and return the figure.

    Above: a bar per bin up to its accuracy, its gap to the bin's confidence hatched; the dashed diagonal is a perfectly
    calibrated model. Below: how many images each bin holds, because a bar over a handful of images means little.

    >>> rows = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    >>> answers = Predictions(rows, torch.tensor([0, 0]), torch.tensor([0, 1]))
    >>> len(plot_reliability({"before": answers, "after": answers}).axes)
    4
    """
    models = dict(predictions) if isinstance(predictions, Mapping) else {"": predictions}
    if not models:
        raise CourseError("plot_reliability was given nothing to plot.")
    measured = {name: calibration_of(answers, bins) for name, answers in models.items()}
    columns = min(len(measured), 4)
    rows = math.ceil(len(measured) / columns)
    width = min(WIDTH / columns, 4.2)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            2 * rows, columns, figsize=(width * columns, (width + 1.9) * rows), squeeze=False, sharex=True,
            height_ratios=[width, 1.0] * rows,
        )  # fmt: skip
        tallest = max(max(found.counts) for found in measured.values())
        for place, (name, found) in enumerate(measured.items()):
            row, column = divmod(place, columns)
            above, below = axes[2 * row][column], axes[2 * row + 1][column]
            _diagram(above, below, found, name, tallest)
            if column == 0:
                above.set_ylabel("accuracy")
                below.set_ylabel("images")
            else:
                above.tick_params(labelleft=False)
                below.tick_params(labelleft=False)
        for place in range(len(measured), rows * columns):
            for ax in axes[2 * (place // columns) : 2 * (place // columns) + 2, place % columns]:
                ax.set_axis_off()
        axes[0][0].legend(loc="upper left", fontsize=8, frameon=True)
    return figure


def _diagram(above: Axes, below: Axes, found: Calibration, name: str, tallest: int) -> None:
    bins = len(found.counts)
    filled = [i for i, count in enumerate(found.counts) if count]
    middles, width = [(i + 0.5) / bins for i in filled], 1 / bins
    right, sure = [found.accuracies[i] for i in filled], [found.confidences[i] for i in filled]
    above.bar(middles, right, width, color=SKY, edgecolor=BLACK, linewidth=0.6, label="accuracy")
    gaps = [s - r for s, r in zip(sure, right, strict=True)]
    look = {"facecolor": "none", "edgecolor": VERMILLION, "hatch": "///", "linewidth": 0.8}
    above.bar(middles, gaps, width, bottom=right, label="gap to confidence", **look)
    above.plot([0, 1], [0, 1], "--", color=BLACK, linewidth=1, label="calibrated")
    title = _wrap(name, 30) + "\n" if name else ""
    above.set(xlim=(0, 1), ylim=(0, 1))
    verdict = f"{found.verdict} by {100 * abs(found.overconfidence):.1f} points"
    above.set_title(f"{title}ECE {found.ece:.1%}\n{verdict}", fontsize=9)
    below.bar([(i + 0.5) / bins for i in range(bins)], found.counts, width, color=BLACK, alpha=0.55)
    below.set(ylim=(0, tallest * 1.05), xlabel="confidence")
    below.tick_params(labelbottom=True)
