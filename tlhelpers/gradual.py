"""Unfreeze a network from its head downwards, phase by phase, on cached activations where that changes nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from .feature_set import FeatureSet
from .features import split_model
from .freezing import freeze, trainable_parameters, unfreeze
from .models import stages
from .prefix_cache import PrefixCache, SameBatches, batch_size_of, cache_bytes
from .session import CourseError
from .training import History, fit

__all__ = ["Phase", "cache_bytes", "fit_gradually", "unfreeze_from"]


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
    checkpoint: str | Path | None = None,
    batchnorm: str = "train",
    precision: str = "auto",
    verbose: bool = True,
) -> list[History]:
    """Train phase after phase, each from the best epoch of the one before; return one History per phase.

    Every phase calls `unfreeze_from` and gets a fresh optimizer over what then trains: `optimizer(model, phase)`,
    by default AdamW at `phase.lr`, and a fresh scheduler, `scheduler(optimizer, steps)`, which is stepped after every
    batch. The other arguments are those of `fit`; `checkpoint` names a folder, in which each phase gets a file of its
    own, and after a crash the same call goes on where it was. A phase that is interrupted or diverges is the last one.
    A phase may end worse than it began, as only epochs of one phase are compared: the histories tell.

    With `cached` the images run through the frozen stages once, for all phases that start behind them, and the phases
    train the rest on what was kept, in the batches and the order in which `train_loader` would have come: up to
    rounding the same network as with `cached=False`, sooner. The caching pass counts in the first epoch's seconds.
    Memory: images x channels x height x width x 4 bytes for each start; all that is kept at once stays below
    `max_cache_gb`, if need be with more passes over the images, and `CourseError` if one phase alone needs more. An
    augmenting dataset is refused, because a cache would keep one look at each image for good: use `cached=False`, or
    `views=k` to keep k looks at each training image (k times the memory), which the epochs of all phases use by turns.
    (Gradual unfreezing: Howard and Ruder 2018, arXiv:1801.06146)

    >>> from torchvision import models
    >>> rows = torch.utils.data.TensorDataset(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]))
    >>> histories = fit_gradually(models.squeezenet1_1(num_classes=2), *[DataLoader(rows, 2)] * 2, [Phase("head", 1)],
    ...     verbose=False)
    """
    _check_phases(model, phases)
    starts = [_place(model, phase.start) for phase in phases]
    cache, batches = None, None
    if cached and any(starts):
        cache = PrefixCache(model, train_loader, val_loader, starts, views, max_cache_gb)
        batches = SameBatches(train_loader, views)
    histories: list[History] = []
    for number, phase in enumerate(phases, start=1):
        unfreeze_from(model, phase.start)
        trained, loaders, how, began = model, (train_loader, val_loader), "", time.perf_counter()
        if cache and starts[number - 1] > 0:
            loaders = _cached_loaders(*cache.rows(number - 1), train_loader, val_loader, batches)
            _, trained = split_model(model, phase.start)
            how = f", on cached activations ({cache.sizes[starts[number - 1]] / 1e6:.1f} MB)"
        caching = time.perf_counter() - began
        if verbose:
            print(f"phase {number}/{len(phases)}: everything from {phase.start} on{how}")
            if number > 1 and starts[number - 1] > starts[number - 2]:
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
            checkpoint=Path(checkpoint) / f"phase{number}.pt" if checkpoint is not None else None,
            batchnorm=batchnorm,
            precision=precision,
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


def _cached_loaders(
    train: FeatureSet, val: FeatureSet, train_loader: DataLoader, val_loader: DataLoader, batches: SameBatches
) -> tuple[DataLoader, DataLoader]:
    # the same generator: the loader draws a number from it in every epoch, cached or not
    return (
        DataLoader(train, batch_sampler=batches, generator=train_loader.generator),
        DataLoader(val, batch_size=batch_size_of(val_loader), generator=val_loader.generator),
    )
