"""Measure a classifier and collect its predictions, without changing anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .freezing import preserved_modes, preserved_random_state
from .models import device_of
from .session import CourseError


@dataclass(frozen=True)
class Metrics:
    """What `evaluate` measured over all n samples; accuracies lie in 0..1.

    >>> Metrics(loss=0.5, accuracy=0.75, mean_class_accuracy=0.7, n=40).accuracy
    0.75
    """

    loss: float  # mean over samples
    accuracy: float  # share of samples whose highest score is the label (top-1, "micro")
    mean_class_accuracy: float  # mean of the accuracies of the classes that occur ("macro")
    n: int


@dataclass(frozen=True)
class Predictions:
    """What `predict` collected, on the CPU, in the loader's order.

    >>> Predictions(torch.tensor([[0.9, 0.1]]), torch.tensor([0]), torch.tensor([0])).predicted
    tensor([0])
    """

    probabilities: Tensor  # (N, C), rows sum to 1
    labels: Tensor  # (N,)
    predicted: Tensor  # (N,)


def evaluate(model: nn.Module, loader: Iterable, loss_fn: nn.Module | None = None) -> Metrics:
    """Measure the model in eval mode; modes and random states are as before afterwards.

    The loss is plain cross-entropy whatever the training used (label smoothing and mixup change the training loss
    only), and it is exact for a head that ends in LogSoftmax too: log-probabilities are their own log-softmax.
    All scores are collected first, so a short last batch weighs no more than its samples. Raises `CourseError` for an
    empty loader, a label out of range, a head of the wrong size.

    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> rows = TensorDataset(torch.eye(2), torch.tensor([0, 1]))
    >>> evaluate(nn.Identity(), DataLoader(rows)).accuracy
    1.0
    """
    scores, labels = _scores_and_labels(model, loader)
    loss = (loss_fn or F.cross_entropy)(scores, labels)
    labels = hard_labels(labels)
    right = (scores.argmax(1) == labels).float()
    per_class = [right[labels == c].mean().item() for c in labels.unique()]
    return Metrics(loss.item(), right.mean().item(), sum(per_class) / len(per_class), len(labels))


def predict(model: nn.Module, loader: Iterable) -> Predictions:
    """Return the model's probabilities, the labels and the predicted classes of every sample, in eval mode.

    Modes and random states are as before afterwards. Errors as for `evaluate`.

    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> rows = TensorDataset(torch.eye(3), torch.tensor([0, 1, 2]))
    >>> predict(nn.Identity(), DataLoader(rows, batch_size=2)).predicted
    tensor([0, 1, 2])
    """
    scores, labels = _scores_and_labels(model, loader)
    probabilities = scores.softmax(1).cpu()
    return Predictions(probabilities, hard_labels(labels).cpu(), probabilities.argmax(1))


def accuracy_interval(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return (low, high) for the true accuracy, in 0..1, when `right` of `n` independent samples were right.

    Wilson's score interval. Unlike p ± 1.96 standard errors it stays inside 0..1 and has a width even when all or
    none are right. It knows of the luck of drawing these samples only: not of another training run, not of other
    kinds of images. Raises `CourseError` for impossible counts. (Wilson 1927, doi:10.1080/01621459.1927.10502953)

    >>> [round(end, 3) for end in accuracy_interval(right=90, n=100)]
    [0.826, 0.945]
    """
    if int(n) != n or int(right) != right or n < 1 or not 0 <= right <= n:
        raise CourseError(f"right={right!r} of n={n!r}: give whole numbers of samples with 0 <= right <= n and n >= 1.")
    if not 0 < confidence < 1:
        raise CourseError(f"confidence={confidence!r} must lie between 0 and 1, for example 0.95.")
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), right / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    # at both ends the formula gives exactly 0 or 1, up to rounding
    return (0.0 if right == 0 else middle - half), (1.0 if right == n else middle + half)


@torch.no_grad()
def _scores_and_labels(model: nn.Module, loader: Iterable) -> tuple[Tensor, Tensor]:
    """Run the model over the loader in eval mode: (N, C) scores and the labels, on the model's device."""
    device, scores, labels = device_of(model), [], []
    with preserved_modes(model), preserved_random_state(loader):
        model.eval()
        for inputs, batch_labels in checked_batches(loader):
            batch_scores = model(to_device(inputs, device))
            check_scores(batch_scores, batch_labels, class_names(loader))
            scores.append(batch_scores.float())
            labels.append(batch_labels.to(device, non_blocking=True))
    return torch.cat(scores), torch.cat(labels)


def to_device(inputs: Tensor, device: torch.device) -> Tensor:
    """Return a batch on the device; images (N, C, H, W) with their channels last in memory.

    The numbers and the shape are the same. Convolutions are faster that way: on two CPU cores EfficientNet by a half.
    (https://pytorch.org/tutorials/intermediate/memory_format_tutorial.html)

    >>> to_device(torch.zeros(2, 3, 4, 5), torch.device("cpu")).stride()
    (60, 1, 15, 3)
    """
    inputs = inputs.to(device, non_blocking=True)
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs


def hard_labels(labels: Tensor) -> Tensor:
    """Return class numbers: (N,) labels unchanged, (N, C) soft labels by their largest entry.

    >>> hard_labels(torch.tensor([[0.3, 0.7]]))
    tensor([1])
    """
    return labels.argmax(1) if labels.ndim == 2 else labels


def checked_batches(loader: Iterable) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, labels) of a loader; `CourseError` when it yields nothing or something else.

    >>> next(checked_batches([(torch.zeros(1, 2), torch.tensor([0]))]))[1]
    tensor([0])
    """
    empty = True
    for batch in loader:
        is_pair = isinstance(batch, (tuple, list)) and len(batch) == 2
        if not is_pair or not all(isinstance(part, Tensor) for part in batch):
            raise CourseError("A loader must yield pairs of tensors (inputs, labels). Does its dataset return labels?")
        inputs, labels = batch
        if not inputs.is_floating_point():
            raise CourseError(
                f"The inputs are {str(inputs.dtype).removeprefix('torch.')}, not float: the transform lacks "
                "v2.ToDtype(torch.float32, scale=True), or use weights.transforms()."
            )
        if labels.ndim not in (1, 2) or (labels.ndim == 1 and labels.is_floating_point()):
            raise CourseError("Labels must be whole class numbers, shape (N,), or class probabilities, shape (N, C).")
        empty = False
        yield inputs, labels.long() if labels.ndim == 1 else labels
    if empty:
        raise CourseError(
            "The loader yields nothing: its dataset is empty, or drop_last=True threw away the only, incomplete batch."
        )


def check_scores(scores: Any, labels: Tensor, classes: list[str] | None = None) -> None:
    """Raise `CourseError` unless (N, C) scores fit the labels and, when known, the number of classes.

    Give it the labels before they go to a GPU: a label out of range ends the whole process there. Labels that are on
    one already are not looked at, as that would wait for the GPU in every step.

    >>> check_scores(torch.zeros(2, 5), torch.tensor([0, 4]))
    """
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise CourseError(f"The model must give one row of class scores per sample, (N, C), but gives {shape}.")
    outputs = scores.shape[1]
    if classes is not None and outputs != len(classes):
        n = len(classes)
        raise CourseError(f"The model gives {outputs} scores, the data have {n} classes: replace_head(model, {n}).")
    if labels.ndim == 2 and labels.shape[1] != outputs:
        hint = f"mix the labels with num_classes={outputs}."
        raise CourseError(f"The model gives {outputs} scores, the soft labels have {labels.shape[1]} classes: {hint}")
    if labels.ndim != 1 or labels.device.type != "cpu":
        return
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < outputs:
        wrong = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise CourseError(
            f"Label {wrong} is out of range: a model with {outputs} scores takes labels 0 to {outputs - 1}. "
            "Labels counted from 1 need 1 subtracted; too small a head needs replace_head(model, number of classes)."
        )


def class_names(loader: Any) -> list[str] | None:
    """Return the class names of a loader's dataset (looking inside `Subset`), None when it has none.

    >>> class_names([]) is None
    True
    """
    dataset = getattr(loader, "dataset", loader)
    while isinstance(dataset, torch.utils.data.Subset):
        dataset = dataset.dataset
    names = getattr(dataset, "classes", None)
    # a target_transform changes labels on the way out, so the dataset's own lists say nothing about them
    changed = getattr(dataset, "target_transform", None) is not None
    return list(names) if isinstance(names, (list, tuple)) and not changed else None


def known_labels(loader: Any) -> Tensor | None:
    """Return all labels of a loader's dataset without opening an image, None when it does not list them.

    >>> rows = torch.utils.data.TensorDataset(torch.zeros(2, 3), torch.tensor([4, 5]))
    >>> known_labels(torch.utils.data.DataLoader(torch.utils.data.Subset(rows, [1])))
    tensor([5])
    """
    dataset = getattr(loader, "dataset", loader)
    if isinstance(dataset, torch.utils.data.Subset):
        labels = known_labels(dataset.dataset)
        return None if labels is None else labels[torch.as_tensor(dataset.indices, dtype=torch.long)]
    if isinstance(dataset, torch.utils.data.TensorDataset):
        return dataset.tensors[1] if len(dataset.tensors) == 2 else None
    targets = getattr(dataset, "targets", None)
    if isinstance(targets, (list, Tensor)) and getattr(dataset, "target_transform", None) is None:
        return torch.as_tensor(targets)
    return None
