"""Whether it can start: both loaders give batches, both sides number the classes alike, the loss takes the labels."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..models import device_of
from .case import CannotTell, Case
from .copies import loss_apart
from .network import scores_of
from .report import Diagnosis, Finding

LOADER_FAILS = Diagnosis(
    "loader-fails",
    "error",
    "a loader gives no batch to train on",
    "Every loop begins with a batch: a tensor of inputs and a tensor of labels. Without one nothing else can be looked "
    "at, so repair this first and ask again.",
    "images, labels = next(iter(train_loader))  # shows the whole error",
    "lesson 01, section 7",
)
CLASSES_DIFFER = Diagnosis(
    "classes-differ",
    "error",
    "training and validation number the classes differently",
    "The number of a class is its place in the sorted list of folders. Another list, and label 0 means something else: "
    "right answers are counted as wrong ones.",
    "give both sides the same folders, spelt alike; assert train_set.classes == val_set.classes",
    "lesson 01, section 1",
)
LOSS_FAILS = Diagnosis(
    "loss-fails",
    "error",
    "the loss cannot be computed from these scores and labels",
    "Training would stop at its first step with this message.",
    "loss_fn = nn.CrossEntropyLoss()  # scores (N, classes), labels (N,) of whole numbers",
    "lesson 02, section 4",
)

# words of PyTorch's messages, and what to do about them
CAUSES = (
    ("equal size", "v2.Resize(size), v2.CenterCrop(size)  # as the first steps of the transform: one size for all"),
    ("PIL", "v2.ToImage(), v2.ToDtype(torch.float32, scale=True)  # before Normalize, and before the batch is made"),
    ("yields nothing", "drop_last=False, or a smaller batch_size, or a data set that is not empty"),
)


def examine_batches(case: Case) -> Iterator[Finding]:
    """Take a batch of each loader."""
    for part in case.parts:
        try:
            part.batches(1)
        except CannotTell as reason:
            fix = next((fix for words, fix in CAUSES if words in str(reason)), None)
            yield LOADER_FAILS.found(str(reason), fix)


def examine_class_lists(case: Case) -> Iterator[Finding]:
    """Compare the class names of both sides, in their order."""
    if case.val is None or not case.train.classes or not case.val.classes:
        return
    train, val = case.train.classes, case.val.classes
    if train != val:
        yield CLASSES_DIFFER.found(f"training counts {_list(train)} from 0; validation {_list(val)}")


def _list(names: list[str]) -> str:
    return ", ".join(map(str, names[:4])) + (", ..." if len(names) > 4 else "")


def examine_loss(case: Case) -> Iterator[Finding]:
    """Call the loss once, on scores of the first batch and its labels as they are."""
    scores = scores_of(case)
    labels = case.train.batch[1][: len(scores)]
    if _beyond(case, scores, labels):
        return  # told by the examination of the labels; on a GPU such a call ends the process
    message = _complaint(case, scores, labels)
    if message is None:
        return
    if labels.ndim == 2 and labels.shape[1] == 1 and _complaint(case, scores, labels.squeeze(1)) is None:
        seen = f"labels of shape {tuple(labels.shape)}; {message}"
        yield LOSS_FAILS.found(seen, "labels = labels.squeeze(1)  # one number for each image: (N,)")
    elif labels.ndim == 1 and _complaint(case, scores, labels.long()) is None:
        kind = str(labels.dtype).removeprefix("torch.")
        if labels.is_floating_point():
            yield LOSS_FAILS.found(f"labels of type {kind}; {message}", "labels = labels.long()  # whole class numbers")
    else:
        yield LOSS_FAILS.found(f"{type(case.loss).__name__}: {message}")


def _beyond(case: Case, scores: Tensor, labels: Tensor) -> bool:
    if labels.ndim != 1 or not len(labels) or labels.is_floating_point() or scores.shape[1] == 1:
        return False
    counted = labels[labels != getattr(case.loss, "ignore_index", -100)]
    return bool(len(counted)) and not 0 <= int(counted.min()) <= int(counted.max()) < scores.shape[1]


def _complaint(case: Case, scores: Tensor, labels: Tensor) -> str | None:
    """What the loss says against these labels; None when it takes them."""
    try:
        with torch.no_grad():
            device = device_of(case.net)  # where the weights of a loss lie, if it has some
            loss_apart(case.loss)(scores.to(device), labels.to(device))
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return None


EXAMINATIONS = (
    ("batches", examine_batches),
    ("lists of classes", examine_class_lists),
    ("the loss", examine_loss),
)
