"""Judge any backbone without training it: frozen features, a linear probe, and a table of backbones and targets."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset
from torchvision import models

from .datasets import five_flowers, flowers102, make_loader, microscopy, stratified_split
from .features import Probe, cache_features, linear_probe
from .freezing import freeze
from .loading import pretrained
from .models import replace_head
from .session import Course, CourseError, seed_everything
from .stl10 import stl10

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROBE_CS = (0.0001, 0.001, 0.01, 0.1, 1.0)
SHARES = (0.6, 0.2, 0.2)  # of the images of a target: the probe is fitted, C is chosen, the result is judged
Scores = dict[str, dict[str, list[float]]]  # {target: {backbone: [accuracy of each seed]}}


def targets(course: Course) -> dict[str, Callable[[Any], Dataset]]:
    """Return the course's target tasks: {name: function(transform) -> dataset with `.targets`}, none of them split.

    Of the sets that come with a test split the images for training and validation, never the test images.

    >>> from pathlib import Path
    >>> course = Course("mini", torch.device("cpu"), 0, Path("data"), Path("unused"))
    >>> list(targets(course))
    ['Flowers102', 'five flowers', 'microscopy', 'STL-10']
    """
    return {
        "Flowers102": lambda transform: _joined([flowers102(course, part, transform) for part in ("train", "val")]),
        "five flowers": lambda transform: five_flowers(course, transform),
        "microscopy": lambda transform: microscopy(course, transform),
        "STL-10": lambda transform: stl10(course, "train", transform),
    }


def _joined(parts: Sequence[Any]) -> Dataset:
    whole = ConcatDataset(parts)
    whole.targets = [target for part in parts for target in part.targets]
    return whole


def probe_parts(
    model: nn.Module,
    dataset: Any,
    seeds: Iterable[int] = (0,),
    images: int | None = None,
    Cs: Sequence[float] = PROBE_CS,
) -> list[tuple[Probe, float]]:
    """Probe frozen features of a dataset; return for each seed the probe and its accuracy on images it never saw.

    The features (what arrives at the head; N x D) are computed once. Each seed splits the images anew into three
    parts with equal class shares: the logistic regression is fitted on the first, C chosen on the second, the accuracy
    counted on the third. `images` takes only so many of them, the same for every seed. Afterwards the model has a new
    head (SqueezeNet pools too late with its own) and is frozen. Raises `CourseError` for a dataset without `.targets`.
    (Kornblith et al. 2019, arXiv:1805.08974)

    >>> from torch.utils.data import TensorDataset
    >>> from torchvision import models
    >>> data = TensorDataset(torch.rand(20, 3, 32, 32), torch.arange(20) % 2); data.targets = data.tensors[1].tolist()
    >>> [(probe, accuracy)] = probe_parts(models.squeezenet1_1(), data)
    >>> probe.C in PROBE_CS, 0.0 <= accuracy <= 1.0
    (True, True)
    """
    if not hasattr(dataset, "targets"):
        raise CourseError(f"probe_parts needs the labels as dataset.targets; this {type(dataset).__name__} has none.")
    if images is not None and images < len(dataset):
        chosen, _ = stratified_split(dataset.targets, (images / len(dataset), 1 - images / len(dataset)))
        labels, dataset = [dataset.targets[i] for i in chosen], Subset(dataset, chosen)
    else:
        labels = list(dataset.targets)
    freeze(replace_head(model, max(labels) + 1))
    cached = cache_features(model, make_loader(dataset, batch_size=64))
    found = []
    for seed in seeds:
        fit_rows, val_rows, judge_rows = (_rows(cached, part) for part in stratified_split(labels, SHARES, seed))
        probe = linear_probe(fit_rows, val_rows, Cs)
        features, answers = judge_rows.tensors
        found.append((probe, float(probe.model.score(features.numpy(), answers.numpy()))))
    return found


def _rows(cached: Any, part: list[int]) -> Any:
    return torch.utils.data.TensorDataset(cached.features[part], cached.tensors[1][part])


def leaderboard(
    course: Course,
    backbones: Iterable[str],
    tasks: Mapping[str, Callable[[Any], Dataset]],
    seeds: Iterable[int] = (0,),
    images: int | None = None,
) -> Scores:
    """Probe every backbone on every task; return {task: {backbone: [accuracy of each seed]}}.

    `backbones` are names for `pretrained`, with the preprocessing of their own weights. Equal seeds mean equal splits,
    so backbones may be compared seed by seed. One network is in memory at a time. Where a bundled network had to stand
    in for one whose weights could not be fetched, its line says so.

    >>> from pathlib import Path
    >>> course = Course("mini", torch.device("cpu"), 0, Path("data"), Path("unused"))
    >>> leaderboard(course, [], {})
    {}
    """
    seeds = list(seeds)
    scores: Scores = {task: {} for task in tasks}
    for name in backbones:
        seed_everything(course.seed)
        model, weights = pretrained(course, name)
        if not isinstance(weights, models.get_model_weights(name)):
            name = f"{type(weights).__name__.removesuffix('_Weights').lower()} for {name}"
        for task, dataset in tasks.items():
            found = probe_parts(model, dataset(weights.transforms()), seeds, images)
            scores[task][name] = [accuracy for _, accuracy in found]
        del model
        gc.collect()
    return scores


def leaderboard_table(scores: Scores) -> str:
    """Return a text table: a line for each backbone, a column for each task, mean accuracy in per cent over the seeds.

    >>> print(leaderboard_table({"STL-10": {"resnet10": [0.5, 0.6], "vgg9_bn": [0.625]}}))
    backbone                 STL-10
    resnet10                   55.0
    vgg9_bn                    62.5
    """
    names = list(dict.fromkeys(name for task in scores.values() for name in task))
    lines = [f"{'backbone':20}" + "".join(f"{task:>{max(11, len(task) + 2)}}" for task in scores)]
    for name in names:
        cells = [
            f"{100 * mean(found[name]):{max(11, len(task) + 2)}.1f}"
            if found.get(name)
            else " " * max(11, len(task) + 2)
            for task, found in scores.items()
        ]
        lines.append(f"{name:20}" + "".join(cells))
    return "\n".join(lines)


def plot_leaderboard(scores: Scores, chance: Mapping[str, float] | None = None) -> Figure:
    """Draw one panel for each task: a bar for each backbone, a dot for each seed, chance as a dashed line.

    The backbones stand in the same order in every panel; where one was not measured, its place stays empty.

    >>> len(plot_leaderboard({"STL-10": {"resnet10": [0.5, 0.6], "vgg9_bn": [0.625]}}).axes)
    1
    """
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(name for found in scores.values() for name in found))
    if not names:
        raise CourseError("plot_leaderboard: there are no scores; leaderboard() makes them.")
    fig, axes = plt.subplots(
        1, len(scores), figsize=(2.6 * len(scores) + 1, 3), sharey=True, layout="constrained", squeeze=False
    )
    for ax, (task, found) in zip(axes[0], scores.items(), strict=True):
        for name, accuracies in found.items():
            row, values = names.index(name), [100 * accuracy for accuracy in accuracies]
            ax.barh(row, mean(values), color="#0072B2", alpha=0.5)
            ax.plot(values, [row] * len(values), "o", color="black", markersize=3)
        if chance and task in chance:
            ax.axvline(100 * chance[task], color="grey", linestyle="--", linewidth=1)
        ax.set(title=task, xlim=(0, 100), xlabel="accuracy in %", yticks=range(len(names)), yticklabels=names)
    axes[0][0].invert_yaxis()
    return fig
