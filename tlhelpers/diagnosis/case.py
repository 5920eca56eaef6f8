"""What the doctor's examinations look at: the model, the loaders and a few batches, taken without disturbing them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from ..evaluation import class_names, known_labels, to_device
from ..freezing import preserved_modes, preserved_random_state
from ..models import device_of, unwrap
from ..pipeline import innermost
from .copies import copy_of_both

MOST, MOST_ROWS = 32, 128  # images or rows of features that are read of a batch, at most
LARGE = 16  # images of more than 128 pixels that are run through the network
PLANNED = 16  # batches of a loader, at most; of a list all can be had


class CannotTell(Exception):
    """An examination has nothing to look at; the message says why. The report lists it under "not looked at"."""


class Failed(CannotTell):
    """An examination has all it needs and cannot be made: nobody knows what it would have found."""


def places_spread(count: int, total: int) -> list[int]:
    """Return `count` places spread evenly over `total`, the first and the last among them.

    >>> places_spread(3, 11)
    [0, 5, 10]
    """
    return [round(i * (total - 1) / max(1, count - 1)) for i in range(count)]


@dataclass
class Part:
    """The training or the validation side: a loader and what is known about it."""

    name: str  # "training" or "validation"
    loader: Any

    @cached_property
    def dataset(self) -> Any:
        """The loader's dataset, as given (perhaps a Subset); None for a list of batches."""
        return getattr(self.loader, "dataset", None)

    @cached_property
    def inner(self) -> Any:
        """The dataset inside any Subset; None for a list of batches."""
        return None if self.dataset is None else innermost(self.dataset)

    @cached_property
    def transform(self) -> Any:
        """The transform of the dataset, None when it has none or hides it."""
        return getattr(self.inner, "transform", None)

    @cached_property
    def classes(self) -> list[str] | None:
        """The class names, None when the dataset does not list them."""
        names = class_names(self.loader)  # Imagenette has a tuple of synonyms for each class
        return names and [", ".join(name) if isinstance(name, tuple) else str(name) for name in names]

    @cached_property
    def labels(self) -> Tensor | None:
        """(N,) labels of all samples, without opening an image; None when the dataset does not list them."""
        labels = None if self.dataset is None else known_labels(self.loader)
        return labels.cpu() if labels is not None and labels.ndim == 1 else None

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor]:
        """The first batch (inputs, labels) as the loader would give it."""
        return self.batches(1)[0]

    def batches(self, count: int) -> list[tuple[Tensor, Tensor]]:
        """The first `count` batches, or all where there are fewer, each cut to MOST images or MOST_ROWS rows.

        Images beyond that are not even read. No worker is started, no random number is used up. Raises `CannotTell`
        when the loader yields nothing, or no pairs of tensors.
        """
        with preserved_random_state(self.loader):
            if self._source is None:
                self._source = self._fresh()
            try:
                for batch in islice(self._source, max(0, count - len(self._taken))):  # each is read once
                    self._taken.append(batch)
            except Exception as error:
                self._source = None  # a generator that has raised would seem to be empty
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                raise Failed(f"the {self.name} loader cannot make a batch ({reason})") from error
        for batch in self._taken[:count]:
            pair = isinstance(batch, (tuple, list)) and len(batch) == 2
            if not pair or not all(isinstance(part, Tensor) for part in batch):
                raise CannotTell(f"the {self.name} loader does not yield pairs of tensors (inputs, labels)")
        if not self._taken:
            raise CannotTell(f"the {self.name} loader yields nothing")
        return [tuple(batch) for batch in self._taken[:count]]

    _taken: list = field(default_factory=list, repr=False)
    _source: Iterator | None = field(default=None, repr=False)

    def _fresh(self) -> Iterator:
        loader = self.loader
        if not isinstance(loader, DataLoader):
            yield from loader
            return
        if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
            twin = copy.copy(loader)  # shares the dataset; reads in this process, whatever the original does
            twin._iterator, twin.num_workers = None, 0
            yield from twin
            return
        # the order of all that is ever read is drawn at once: between two reads the random states are put back
        order = list(islice(loader.batch_sampler, PLANNED))
        for indices in order:
            few = indices[: self._most(indices[0])] if len(indices) > MOST else indices
            together = getattr(loader.dataset, "__getitems__", None)
            samples = together(few) if together else [loader.dataset[index] for index in few]
            yield loader.collate_fn(samples)

    def _most(self, index: int) -> int:
        """How many samples of a batch are read: images cost time, rows of numbers do not."""
        first = self.loader.dataset[index]
        inputs = first[0] if isinstance(first, (tuple, list)) and first else None
        return MOST_ROWS if isinstance(inputs, Tensor) and inputs.ndim == 1 else MOST

    def samples(self, count: int) -> list[tuple[Any, Any]]:
        """Up to `count` samples (image, label) spread evenly over the dataset, through its transform, not collated.

        Raises `CannotTell` for a list of batches or a stream, which have no numbered samples.
        """
        if self.dataset is None or not hasattr(self.dataset, "__len__") or isinstance(self.dataset, IterableDataset):
            raise CannotTell(f"the {self.name} images cannot be picked one by one")
        total = len(self.dataset)
        count = min(count, total)
        with preserved_random_state(self.loader):
            return [self.dataset[place] for place in places_spread(count, total)]


@dataclass
class Case:
    """Everything the doctor was given. Examinations read it; whatever they train or run in train mode is a copy."""

    model: nn.Module
    train: Part
    val: Part | None = None
    optimizer: torch.optim.Optimizer | None = None
    loss_fn: Any = None  # None means nn.CrossEntropyLoss()
    scheduler: Any = None
    epochs: int | None = None
    step_scheduler_every: str | None = None  # "epoch", "batch", None: not said

    @property
    def parts(self) -> list[Part]:
        """Training, and validation when it was given."""
        return [self.train] if self.val is None else [self.train, self.val]

    @cached_property
    def net(self) -> nn.Module:
        """The network inside torch.compile and DataParallel."""
        return unwrap(self.model)

    @cached_property
    def loss(self) -> Any:
        """The loss function that will be used."""
        return nn.CrossEntropyLoss() if self.loss_fn is None else self.loss_fn

    @cached_property
    def number_of_classes(self) -> int | None:
        """How many classes the data have: from their names, else from the largest known label."""
        for part in self.parts:
            if part.classes:
                return len(part.classes)
        known = [int(part.labels.max()) + 1 for part in self.parts if part.labels is not None and len(part.labels)]
        return max(known) if known else None

    @cached_property
    def labels_that_occur(self) -> set[int] | None:
        """The labels of all samples; fewer than the names where a Subset holds some classes only. None: not known."""
        if any(part.labels is None for part in self.parts):
            return None
        return {label for part in self.parts for label in part.labels.unique().tolist()}

    @cached_property
    def scores(self) -> Tensor:
        """(N, C) what the model gives for the first training batch in eval mode, float32 on the CPU.

        Raises `CannotTell` with the model's own message when it cannot be run on it.
        """
        inputs = self.train.batch[0]
        inputs = inputs[: LARGE if inputs.ndim == 4 and inputs.shape[-1] > 128 else MOST]
        try:
            model = self.copied()[0]
        except CannotTell:
            model = self.net  # looked at as it is, and put back
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        try:
            with torch.no_grad(), preserved_modes(model):
                scores = model.eval()(to_device(inputs, device_of(model)))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise CannotTell(f"the model cannot be run on the first training batch ({reason})") from error
        finally:
            for buffer, value in buffers:
                buffer.data.copy_(value)
        if not isinstance(scores, Tensor) or scores.ndim != 2:
            shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise CannotTell(f"the model gives {shape}, not one row of class scores per image")
        return scores.float().cpu()

    def copied(self) -> tuple[nn.Module, torch.optim.Optimizer | None]:
        """A copy of the network with an optimizer that holds the copy's parameters: to be trained and thrown away.

        Gradients are not copied; hooks are, and what they append to is their own (copies.py). Raises `Failed` for a
        model that cannot be copied.
        """
        try:
            model, optimizer = copy_of_both(self.net, self.optimizer)
        except Exception as error:
            reason = " ".join(str(error).split())[:120]
            what = "the model" if self.optimizer is None else "the model or its optimizer"
            raise Failed(f"{what} cannot be copied: {reason}") from error
        model.zero_grad(set_to_none=True)
        return model, optimizer
