"""Labels: outside the classes, too few or none of a class, shares of classes where numbers are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import WeightedRandomSampler

from .case import CannotTell, Case, Part
from .report import Diagnosis, Finding
from .samples import are_mixed, are_shares, labels_of, places_of, sampler_of

OUT_OF_RANGE = Diagnosis(
    "labels-out-of-range",
    "error",
    "labels outside the classes",
    "The loss looks up the score of the class that the label names; there is none, and on a GPU that ends the program.",
    "number the classes 0, 1, 2, ...: dataset.target_transform = {old: new for new, old in enumerate(kept)}.get",
    "lesson 02, section 5",
)
FROM_1 = Diagnosis(
    "labels-from-1",
    "error",
    "the labels are counted from 1",
    "Class numbers start at 0 in PyTorch. Counted from 1 the last class has no score, and a larger head only hides it.",
    "labels = labels - 1  # before TensorDataset(images, labels); for files, a target_transform that subtracts 1",
    "lesson 02, section 5",
)
IMBALANCED = Diagnosis(
    "imbalanced-classes",
    "warning",
    "some classes have far fewer images than others",
    "A network that never answers with the rare class loses little, and a high accuracy hides it.",
    "nn.CrossEntropyLoss(weight=1 / torch.bincount(torch.as_tensor(dataset.targets)).clamp(min=1))  # and judge by "
    "history.val_mean_class_accuracy",
    "lesson 06, section 6",
)
MISSING = Diagnosis(
    "missing-classes",
    "warning",
    "classes without a single image",
    "The network cannot learn a class it never sees, and nobody can judge one that validation never asks for.",
    "tl.stratified_split(dataset.targets): every class gives every part at least one image",
    "lesson 01, section 1",
)
NEED_INDICES = Diagnosis(
    "soft-labels-need-indices",
    "error",
    "soft labels where class numbers are needed",
    "Cross-entropy takes shares of classes; NLLLoss and the usual count of right answers take one number per image and "
    "fail on shares, or compare the wrong things.",
    "nn.CrossEntropyLoss() on raw scores for soft labels; class numbers (no MixUp, no one_hot) for validation",
    "lesson 05, sections 3 and 5",
)
SMOOTHED_TWICE = Diagnosis(
    "smoothed-twice",
    "warning",
    "labels are smoothed twice",
    "Smoothing in the labels and again in the loss adds up, and leaves the network less sure than you asked for.",
    "nn.CrossEntropyLoss() without label_smoothing, or one-hot labels: one of the two smooths",
    "lesson 05, exercise 05.6",
)

RATIO = 10  # images of the largest class for one of the smallest, from which a set counts as badly imbalanced


def examine_labels(case: Case) -> Iterator[Finding]:
    """Class numbers below 0 or above the last class, of both sides."""
    classes, source = _number_of_classes(case)
    for part in case.parts:
        try:
            labels, is_whole = _labels(case, part)
        except CannotTell:
            continue  # soft labels have no number that could be wrong
        low, high = int(labels.min()), int(labels.max())
        seen = f"{part.name} labels run from {low} to {high}, {source}"
        is_gapless = is_whole and len(labels.unique()) == high - low + 1
        # a head with one score more than there are classes takes labels from 1 without an error
        is_hidden = low == 1 and high == classes - 1 > 1 and is_gapless and not part.classes and _never_0(case)
        if low >= 1 and high == classes and (is_whole or low == 1) or is_hidden:
            yield FROM_1.found(seen)
            return
        if low < 0 or high >= classes:
            head_too_small = low == 0 and is_gapless and not part.classes
            fix = f"tl.replace_head(model, num_classes={high + 1}), if there are so many" if head_too_small else None
            yield OUT_OF_RANGE.found(f"{seen}: 0 to {classes - 1} can be used", fix)
            return


def _labels(case: Case, part: Part) -> tuple[Tensor, bool]:
    """`labels_of` without those that the loss passes over (-100, or its ignore_index)."""
    labels, is_whole = labels_of(part)
    labels = labels[labels != setting_of(case.loss, "ignore_index", -100)]
    if not len(labels):
        raise CannotTell(f"the loss ignores all {part.name} labels")
    return labels, is_whole


def _never_0(case: Case) -> bool:
    counts = [_counts(case, part) for part in case.parts]
    return all(found is not None and found[0] == 0 for found in counts)


def _number_of_classes(case: Case) -> tuple[int, str]:
    """How many classes labels may name, and who says so: the names, else the scores that the model gives.

    Raises `CannotTell` for one score per image, which may stand for two classes or for a number.
    """
    for part in case.parts:
        if part.classes:
            return len(part.classes), f"the data name {len(part.classes)} classes"
    outputs = case.scores.shape[1]
    if outputs == 1:
        raise CannotTell("the model gives one score per image, which says nothing about the number of classes")
    return outputs, f"the model gives {outputs} scores"


def examine_counts(case: Case) -> Iterator[Finding]:
    """How many images each class has: in training far apart or none, in validation none."""
    counts = {part.name: found for part in case.parts if (found := _counts(case, part)) is not None}
    names = next((part.classes for part in case.parts if part.classes), None)
    occurring = max([0, *(len(found) for found in counts.values())])
    if names is not None and occurring < len(names) and _width(case) == occurring:
        names = names[:occurring]  # the first classes of a larger set, and a head for these: nothing is missing
    total, wrong = max(len(names or []), occurring), []
    if names is not None and total > len(names):
        names = None  # labels beyond the names are another finding, and the names may not belong to them
    with suppress(CannotTell):
        wrong = list(examine_labels(case))
    for name, found in counts.items():
        found = F.pad(found, (0, max(0, total - len(found))))
        missing = (found == 0).nonzero().flatten().tolist()
        if missing and not wrong:  # wrong numbers leave others without images
            which = ", ".join(names[label] if names else f"number {label}" for label in missing[:5])
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            worth = MISSING if name == "training" else replace(MISSING, severity="note")
            yield worth.found(f"no {name} image of {len(missing)} of {len(found)} classes: {which}{more}")
    if "training" in counts:
        yield from _imbalance(case, counts["training"], names)


def _width(case: Case) -> int | None:
    try:
        return case.scores.shape[1]
    except CannotTell:
        return None


def _counts(case: Case, part: Part) -> Tensor | None:
    """(classes,) images of each class that the loader visits; None unless all labels are known."""
    try:
        labels, is_whole = _labels(case, part)
    except CannotTell:
        return None
    return torch.bincount(labels) if is_whole and labels.min() >= 0 else None


def _imbalance(case: Case, counts: Tensor, names: list[str] | None) -> Iterator[Finding]:
    weights = setting_of(case.loss, "weight")
    sampler = sampler_of(case.train)
    if isinstance(sampler, WeightedRandomSampler):  # how often each class is drawn, not how often it is there
        places, drawn = places_of(case.train), torch.as_tensor(sampler.weights, dtype=torch.float64)
        labels, drawn = labels_of(case.train)[0], drawn[torch.as_tensor(places)]
        shares = torch.zeros(len(counts), dtype=torch.float64)
        counted = labels != setting_of(case.loss, "ignore_index", -100)
        shares.index_add_(0, labels[counted], drawn[counted])
    else:
        shares = counts.double()
    if isinstance(weights, Tensor) and len(weights) >= len(shares):
        shares = shares * weights.detach().cpu().double()[: len(shares)]
    present = (shares > 0).nonzero().flatten()
    if len(present) < 2 or shares[present].max() / shares[present].min() < RATIO:
        return
    few, many = (int(present[pick(shares[present])]) for pick in (torch.argmin, torch.argmax))
    largest, smallest = (f"{names[i] if names else f'class {i}'} has {counts[i]}" for i in (many, few))
    yield IMBALANCED.found(f"{largest} training images, {smallest}")


def examine_soft_labels(case: Case) -> Iterator[Finding]:
    """Shares of classes for a loss or a validation that needs numbers; smoothing on top of smoothing."""
    if isinstance(case.loss, (nn.BCEWithLogitsLoss, nn.BCELoss, nn.MultiLabelSoftMarginLoss)):
        return  # several yes or no per image
    soft = _soft(case.train)
    if soft is not None and _needs_indices(case.loss):
        name = getattr(case.loss, "__name__", type(case.loss).__name__)
        yield NEED_INDICES.found(f"training labels of shape {tuple(soft.shape)} for {name}")
    share = _smoothing(soft) if soft is not None else 0.0
    in_loss = _label_smoothing(case.loss)
    if share > 0 and in_loss > 0:
        total = 1 - (1 - share) * (1 - in_loss)
        yield SMOOTHED_TWICE.found(f"by {share:.2g} in the labels and by {in_loss:g} in the loss, {total:.2g} in all")
    judged = None if case.val is None else _soft(case.val)
    if judged is not None and not are_mixed(judged).any():
        milder = replace(NEED_INDICES, severity="warning")
        yield milder.found(f"validation labels of shape {tuple(judged.shape)}: one row of shares per image")


def _soft(part: Part) -> Tensor | None:
    """(N, classes) soft labels of the first batches, None for class numbers."""
    labels = [labels for _, labels in part.batches(4)]
    return torch.cat(labels).float().cpu() if all(are_shares(some) for some in labels) else None


def _smoothing(soft: Tensor) -> float:
    """By how much labels are smoothed: the same lowest share above 0 in every row, mixed or not, times the classes.

    Mixing alone leaves zeros, and the answers of a teacher network have another lowest share in each row.
    """
    lowest = soft.min(dim=1).values
    if len(soft) < 2 or lowest.min() <= 1e-6 or lowest.max() - lowest.min() > 1e-4:
        return 0.0
    return min(1.0, lowest.mean().item() * soft.shape[1])


def setting_of(loss: Any, name: str, default: Any = None) -> Any:
    """A setting of a loss module or of a functools.partial of a loss function.

    >>> setting_of(partial(F.cross_entropy, label_smoothing=0.1), "label_smoothing")
    0.1
    """
    while isinstance(loss, partial):
        if name in loss.keywords:
            return loss.keywords[name]
        loss = loss.func
    return getattr(loss, name, default)


def _label_smoothing(loss: Any) -> float:
    value = setting_of(loss, "label_smoothing", 0)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _needs_indices(loss: Any) -> bool:
    function = loss.func if isinstance(loss, partial) else loss
    return isinstance(loss, (nn.NLLLoss, nn.MultiMarginLoss)) or function in (F.nll_loss, F.multi_margin_loss)


EXAMINATIONS = (
    ("range of the labels", examine_labels),
    ("images of each class", examine_counts),
    ("soft labels", examine_soft_labels),
)
