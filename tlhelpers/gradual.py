"""Unfreeze a network from its head downwards, phase by phase, on cached activations where that changes nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, IterableDataset, default_collate

from .features import cache_features, split_model
from .freezing import freeze, preserved_modes, preserved_random_state, trainable_parameters, unfreeze
from .models import device_of, stages
from .session import CourseError
from .training import History, fit


@dataclass(frozen=True)
class Phase:
    """One phase of gradual unfreezing: from the stage `start` on everything trains, what comes before is frozen.

    >>> Phase("layer4", epochs=3, lr=1e-3).start
    'layer4'
    """

    start: str  # a name from stages(model), such as "head"
    epochs: int
    lr: Any = 1e-3  # a number for the default AdamW; whatever your own `optimizer` function understands


def unfreeze_from(model: nn.Module, name: str) -> nn.Module:
    """Freeze every stage before the one called `name`, let it and all later ones train; return the model.

    An optimizer built earlier does not know what was unfrozen: build a new one (and a new scheduler) afterwards.
    Raises `CourseError`, which lists the names, for a stage the network does not have.

    >>> from torchvision import models
    >>> model = unfreeze_from(models.squeezenet1_1(), "head")
    >>> [name for name, p in model.named_parameters() if p.requires_grad]
    ['classifier.1.weight', 'classifier.1.bias']
    """
    parts = stages(model)
    cut = _place(model, name)
    freeze(parts[:cut])
    unfreeze(parts[cut:])
    return model


def _place(model: nn.Module, name: str) -> int:
    names = [part.name for part in stages(model)]
    if name not in names:
        raise CourseError(f"The network has no stage {name!r}: choose one of {', '.join(names)}.")
    return names.index(name)


def cache_bytes(model: nn.Module, loader: DataLoader, at: str = "head", views: int = 1) -> int:
    """Return how many bytes `cache_features` would keep: images x channels x height x width x 4, times the views.

    One image goes through the part before the stage `at`; nothing else is opened.

    >>> from torchvision import models
    >>> loader = DataLoader(torch.utils.data.TensorDataset(torch.zeros(6, 3, 32, 32), torch.zeros(6).long()))
    >>> cache_bytes(models.squeezenet1_1(), loader, at="block2")  # 6 images x 128 channels x 3 x 3 x 4 bytes
    27648
    """
    prefix, _ = split_model(model, at)
    with preserved_modes(model), preserved_random_state(loader), torch.no_grad():
        image = loader.dataset[0][0].unsqueeze(0).to(device_of(model))
        return prefix.eval()(image).numel() * 4 * len(loader.dataset) * views


def fit_gradually(
    model: nn.Module,
    train_loader: DataLoader,
    val_loader: DataLoader,
    phases: Sequence[Phase],
    *,
    optimizer: Callable[[nn.Module, Phase], torch.optim.Optimizer] | None = None,
    scheduler: Callable[[torch.optim.Optimizer, int], LRScheduler] | None = None,
    loss_fn: nn.Module | None = None,
    cached: bool = True,
    views: int = 1,
    max_cache_gb: float = 2.0,
    monitor: str = "val_loss",
    batchnorm: str = "train",
    verbose: bool = True,
) -> list[History]:
    """Train phase after phase, each from the best epoch of the one before; return one History per phase.

    Every phase calls `unfreeze_from` and gets a fresh optimizer over what then trains: `optimizer(model, phase)`,
    by default AdamW at `phase.lr`, and a fresh scheduler, `scheduler(optimizer, steps)`, which is stepped after every
    batch. The other arguments are those of `fit`. A phase that is interrupted or diverges is the last one. A phase may
    end worse than it began, as only epochs of one phase are compared: the histories tell.

    With `cached` a phase with frozen stages runs them once over both loaders and trains the rest on what they gave, in
    the batches and the order in which `train_loader` would have come: up to rounding the same network as with
    `cached=False`, sooner. The caching pass counts in the first epoch's seconds. Memory: images x channels x height x
    width x 4 bytes; `CourseError` if that is more than `max_cache_gb`. An augmenting dataset is refused, because a
    cache would keep one look at each image for good: use `cached=False`, or `views=k` to keep k looks at each training
    image (k times the memory) that the epochs use by turns.
    (Gradual unfreezing: Howard and Ruder 2018, arXiv:1801.06146)

    >>> from torchvision import models
    >>> rows = torch.utils.data.TensorDataset(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]))
    >>> histories = fit_gradually(models.squeezenet1_1(num_classes=2), *[DataLoader(rows, 2)] * 2, [Phase("head", 1)],
    ...     verbose=False)
    """
    _check_phases(model, phases)
    histories: list[History] = []
    for number, phase in enumerate(phases, start=1):
        unfreeze_from(model, phase.start)
        trained, loaders, size, began = model, (train_loader, val_loader), 0.0, time.perf_counter()
        if cached and _place(model, phase.start) > 0:
            size = _check_cacheable(model, train_loader, val_loader, phase, views, max_cache_gb)
            loaders = _cached_loaders(model, train_loader, val_loader, phase.start, views)
            _, trained = split_model(model, phase.start)
        caching = time.perf_counter() - began
        if verbose:
            how = f", on cached activations ({size / 1e6:.1f} MB)" if trained is not model else ""
            print(f"phase {number}/{len(phases)}: everything from {phase.start} on{how}")
            if number > 1 and _place(model, phase.start) > _place(model, phases[number - 2].start):
                print("note: this phase freezes again what trained in the one before.")
        held = optimizer(model, phase) if optimizer else _adamw(model, phase)
        history = fit(
            trained,
            *loaders,
            epochs=phase.epochs,
            optimizer=held,
            scheduler=scheduler(held, phase.epochs * len(train_loader)) if scheduler else None,
            step_scheduler_every="batch",
            loss_fn=loss_fn,
            monitor=monitor,
            batchnorm=batchnorm,
            verbose=verbose,
        )
        if history.seconds:
            history.seconds[0] += caching
        histories.append(history)
        if history.stopped in ("interrupted", "diverged"):
            break
    return histories


def _adamw(model: nn.Module, phase: Phase) -> torch.optim.Optimizer:
    if isinstance(phase.lr, bool) or not isinstance(phase.lr, (int, float)) or not 0 < phase.lr < math.inf:
        raise CourseError(
            f"Phase {phase.start!r}: lr={phase.lr!r} must be a positive number, such as 1e-3. Several rates need an "
            "optimizer of your own: optimizer=lambda model, phase: torch.optim.AdamW(groups, ...)."
        )
    return torch.optim.AdamW(trainable_parameters(model), lr=phase.lr)


def _check_phases(model: nn.Module, phases: Sequence[Phase]) -> None:
    """Find a misspelt stage or a wrong kind of phase now, not after an hour of the phases before it."""
    if not phases or not all(isinstance(phase, Phase) for phase in phases):
        raise CourseError('phases must be a list of one or more, such as [Phase("head", epochs=3, lr=1e-2)].')
    for phase in phases:
        _place(model, phase.start)
        if isinstance(phase.epochs, bool) or not isinstance(phase.epochs, int) or phase.epochs < 1:
            raise CourseError(f"Phase {phase.start!r}: epochs={phase.epochs!r} must be a whole number of at least 1.")


def _check_cacheable(
    model: nn.Module, train_loader: Any, val_loader: Any, phase: Phase, views: int, max_cache_gb: float
) -> float:
    """Return the bytes both caches will need; raise `CourseError` for loaders or sizes that cannot be cached."""
    for name, loader in (("train_loader", train_loader), ("val_loader", val_loader)):
        if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
            raise CourseError(f"{name} must be a DataLoader over a dataset with a length; or use cached=False.")
        if loader.batch_sampler is None:
            raise CourseError(f"{name} makes no batches (batch_size=None): give it a batch_size, or use cached=False.")
        if loader.collate_fn is not default_collate:
            raise CourseError(f"{name} has a collate_fn that changes the batches, as mixup does: use cached=False.")
        if len(loader.dataset) == 0:
            raise CourseError(f"{name} has an empty dataset: check the folder, the split and the indices.")
    size = cache_bytes(model, train_loader, phase.start, views) + cache_bytes(model, val_loader, phase.start)
    if size > max_cache_gb * 1e9:
        raise CourseError(
            f"The activations before {phase.start!r} would take {size / 1e9:.1f} GB, more than max_cache_gb="
            f"{max_cache_gb:g}: start this phase at a later stage, use fewer images or views, allow more, or use "
            "cached=False."
        )
    return float(size)


class _SameBatches:
    """The batches that a loader would give, epoch by epoch, as row numbers of a cache; with k views the next look."""

    def __init__(self, loader: DataLoader, views: int) -> None:
        self.batch_sampler, self.images, self.views, self.epoch = loader.batch_sampler, len(loader.dataset), views, 0

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list[int]]:
        first_row = self.epoch % self.views * self.images
        self.epoch += 1
        for batch in self.batch_sampler:  # the loader's own: it goes on where the phase before it stopped
            yield [first_row + index for index in batch]


def _cached_loaders(
    model: nn.Module, train_loader: DataLoader, val_loader: DataLoader, at: str, views: int
) -> tuple[DataLoader, DataLoader]:
    train = cache_features(model, _in_order(train_loader), at, views)
    val = cache_features(model, _in_order(val_loader), at)
    # the same generator: the loader draws a number from it in every epoch, cached or not
    batches = _SameBatches(train_loader, views)
    return (
        DataLoader(train, batch_sampler=batches, generator=train_loader.generator),
        DataLoader(val, batch_size=_batch_size(val_loader), generator=val_loader.generator),
    )


def _in_order(loader: DataLoader) -> DataLoader:
    """The loader's images in the dataset's order, as a cache needs them; the loader itself is not run."""
    return DataLoader(loader.dataset, _batch_size(loader), num_workers=loader.num_workers, pin_memory=loader.pin_memory)


def _batch_size(loader: DataLoader) -> int:
    return loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or 32
