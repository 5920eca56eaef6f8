"""Loaders: what is random where it should stand still, in order where it should be random, and batches of one image."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import RandomSampler, SequentialSampler, WeightedRandomSampler

from ..freezing import preserved_random_state
from ..mixing import MixingCollate
from .case import CannotTell, Case, Part
from .report import Diagnosis, Finding
from .samples import BATCHES, all_steps, are_mixed, are_shares, draws_at_random, labels_of, places_of, sampler_of

VALIDATION_AUGMENTED = Diagnosis(
    "validation-augmented",
    "warning",
    "the validation images are augmented",
    "Each look at them is another one, so two measurements of the same network differ, and both are about distorted "
    "images that nobody asks about.",
    "a second dataset over the same files: Subset(ImageFolder(root, transform=weights.transforms()), val_index)",
    "lesson 01, exercise 01.5",
)
VALIDATION_SHUFFLED = Diagnosis(
    "validation-shuffled",
    "note",
    "the validation loader shuffles",
    "The scores stay the same, but predictions no longer stand in the order of the images, so you cannot say which "
    "image was wrong.",
    "tl.make_loader(val_set, batch_size=64), or DataLoader(val_set, batch_size=64, shuffle=False)",
    "lesson 05, exercise 05.5",
)
TRAINING_NOT_SHUFFLED = Diagnosis(
    "training-not-shuffled",
    "warning",
    "the training loader does not shuffle",
    "The same neighbours share a batch in every epoch; where files are sorted by class, a batch shows one class only "
    "and the network unlearns the others.",
    "tl.make_loader(train_set, batch_size=32, train=True), or DataLoader(train_set, batch_size=32, shuffle=True)",
    "lesson 05, section 5",
)
VALIDATION_MIXED = Diagnosis(
    "validation-mixed",
    "error",
    "the validation images are mixed",
    "Accuracy on mixtures of two images says nothing about real ones, and it jumps from one measurement to the next.",
    "collate_fn=... for the training loader only",
    "lesson 05, exercise 05.5",
)
SINGLE_IMAGE_BATCH = Diagnosis(
    "single-image-batch",
    "warning",
    "a training batch holds a single image",
    "BatchNorm learns from the spread inside a batch. One image has next to none: its step is noise, or ends with "
    '"Expected more than 1 value per channel".',
    "DataLoader(..., drop_last=True); tl.make_loader(..., train=True) leaves such a batch out",
    "lesson 02, section 5",
)

LOOKS = 12  # validation images that are read twice


def examine_validation_images(case: Case) -> Iterator[Finding]:
    """Random steps in the validation transform, found by reading the same images twice."""
    if case.val is None:
        return
    steps = {type(step).__name__: getattr(step, "p", 1) for step in all_steps(case.val) if _is_random(step)}
    rare = [name for name, chance in steps.items() if chance < 0.3]  # may not happen in so few looks
    try:
        with preserved_random_state(case.val.loader):
            first, second = _read_twice(case.val)
    except CannotTell:
        if not steps:
            return  # a list of batches stands still, of a stream nothing is known
        first, second = [], []
    differing = sum(not torch.equal(a, b) for a, b in zip(first, second, strict=True))
    if differing:
        names = f" ({', '.join(steps)})" if steps else ""
        shared = ", which is the training dataset as well" if case.val.inner is case.train.inner else ""
        yield VALIDATION_AUGMENTED.found(f"{differing} of {len(first)} differ when read twice{names}{shared}")
    elif rare or (steps and not first):
        yield VALIDATION_AUGMENTED.found(f"{', '.join(rare or steps)} in the validation transform")


def _read_twice(part: Part) -> tuple[list[Tensor], list[Tensor]]:
    first = _tensors(part.samples(LOOKS))
    # `samples` puts the random state back, so the second look must start from another one to be able to differ
    torch.rand(7), np.random.rand(7), random.getrandbits(64)
    return first, _tensors(part.samples(LOOKS))


def _tensors(samples: list[tuple[Any, Any]]) -> list[Tensor]:
    return [torch.as_tensor(image) for image, *_ in samples if isinstance(image, Tensor)]


def _is_random(step: Any) -> bool:
    name, chance = type(step).__name__, getattr(step, "p", 1)
    known = ("ColorJitter", "AutoAugment", "RandAugment", "TrivialAugmentWide", "AugMix", "ElasticTransform")
    return (name.startswith("Random") or name in known) and isinstance(chance, (int, float)) and chance > 0


def examine_order(case: Case) -> Iterator[Finding]:
    """Training in a fixed order, validation in a random one."""
    yield from _training_order(case.train)
    if case.val is not None and draws_at_random(case.val):
        sampler = sampler_of(case.val)
        drawn = f"the order is drawn by {type(sampler).__name__}"
        repeats = (
            isinstance(sampler, WeightedRandomSampler) or isinstance(sampler, RandomSampler) and sampler.replacement
        )
        if repeats and sampler.replacement:  # here the score itself is wrong
            worse = replace(VALIDATION_SHUFFLED, severity="warning")
            yield worse.found(f"{drawn} with replacement: some images count several times, others never")
        else:
            yield VALIDATION_SHUFFLED.found(drawn)


def _training_order(part: Part) -> Iterator[Finding]:
    loader = part.loader
    if draws_at_random(part):
        return
    in_order = isinstance(sampler_of(part), SequentialSampler)
    labels, amount = _labels_in_order(part, in_order)
    if len(labels.unique()) < 2:
        return
    is_sorted = bool((labels.diff() >= 0).all()) and len(labels) >= 8
    if in_order and len(loader) > 1:
        what = "sorted by class" if is_sorted else "not sorted by class, so batches hold several"
        milder = TRAINING_NOT_SHUFFLED if is_sorted else replace(TRAINING_NOT_SHUFFLED, severity="note")
        yield milder.found(f"{amount} come in the dataset's order, {what}")
    elif not in_order and is_sorted and len(part.batches(2)) > 1:
        yield TRAINING_NOT_SHUFFLED.found(f"{amount} come sorted by class")


def _labels_in_order(part: Part, in_order: bool) -> tuple[Tensor, str]:
    """Class numbers in the order of the loader, as many as can be had, and how many these are in words."""
    try:
        labels, is_whole = labels_of(part)
    except CannotTell:  # soft labels; the largest share still tells whether the classes come one after the other
        labels = torch.cat([labels for _, labels in part.batches(BATCHES)])
        labels, is_whole = labels.argmax(1) if labels.ndim == 2 else labels, False
    if in_order and not is_whole:  # the first batches of a sorted dataset may all be of one class
        labels = [torch.as_tensor(label) for _, label in part.samples(2 * LOOKS)]
        if not all(label.numel() == 1 for label in labels):
            raise CannotTell("an image has several labels, so there is no order of classes")
        labels = torch.as_tensor([int(label) for label in labels])
        return labels, f"{len(labels)} images from the first to the last"
    return labels, f"{len(labels)} images" if is_whole else f"the first {len(labels)} images"


def examine_mixing(case: Case) -> Iterator[Finding]:
    """Mixtures of images where real ones are to be judged."""
    if case.val is None:
        return
    if isinstance(getattr(case.val.loader, "collate_fn", None), MixingCollate):
        yield VALIDATION_MIXED.found(
            f"its collate_fn is {case.val.loader.collate_fn}", "tl.make_loader(val_set, batch_size=64)"
        )
        return
    labels = [labels for _, labels in case.val.batches(2) if are_shares(labels)]
    rows = torch.cat(labels) if labels else torch.zeros(0, 3)
    mixed = int(are_mixed(rows).sum())
    if mixed:
        yield VALIDATION_MIXED.found(f"{mixed} of {len(rows)} labels are shares of two classes")


def examine_batches(case: Case) -> Iterator[Finding]:
    """Training batches of one image while BatchNorm learns."""
    norms = [module for module in case.net.modules() if isinstance(module, _BatchNorm) and _learns(module)]
    single = _single(case.train)
    if not norms or not single:
        return
    name = next(name for name, module in case.net.named_modules() if module is norms[0])
    # over a map of pixels one image still has a spread; over a row of features it has none, and training fails
    fails = any(isinstance(module, nn.BatchNorm1d) for module in norms)
    diagnosis = replace(SINGLE_IMAGE_BATCH, severity="error") if fails else SINGLE_IMAGE_BATCH
    fix = "batch_size=16 or more" if single.startswith("every") else None
    yield diagnosis.found(f"{single} holds one image; BatchNorm {name or type(norms[0]).__name__} trains", fix)


def _learns(norm: nn.Module) -> bool:
    parameters = list(norm.parameters())
    return any(parameter.requires_grad for parameter in parameters) or not parameters


def _single(part: Part) -> str:
    """Which batches hold one image, in words; empty when none does or it cannot be known."""
    loader = part.loader
    if isinstance(loader, (list, tuple)):
        sizes = [len(labels) for _, labels in part.batches(len(loader))]
        return "every batch" if max(sizes) == 1 else "one of the batches" if 1 in sizes else ""
    if getattr(loader, "batch_size", None) == 1:
        return "every batch"
    batches = getattr(loader, "batch_sampler", None)
    if (
        places_of(part) is None
        or batches is None
        or batches.drop_last
        or len(batches.sampler) % batches.batch_size != 1
    ):
        return ""
    return f"{len(batches.sampler)} images in batches of {batches.batch_size}: the last one"


EXAMINATIONS = (
    ("augmentation of the validation images", examine_validation_images),
    ("order of the images", examine_order),
    ("mixing of the validation images", examine_mixing),
    ("batches of one image", examine_batches),
)
