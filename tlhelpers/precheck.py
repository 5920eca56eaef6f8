"""What `fit` looks at before it trains: mistakes that would otherwise cost an epoch, or never be noticed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from .evaluation import check_scores, checked_batches, class_names, known_labels
from .freezing import BATCHNORM_POLICIES, preserved_modes, preserved_random_state
from .models import device_of
from .session import CourseError

MONITORS = ("val_loss", "val_accuracy", "val_mean_class_accuracy")


def check_before_training(
    model: nn.Module,
    train_loader: Iterable,
    val_loader: Iterable,
    optimizer: torch.optim.Optimizer,
    loss_fn: Any,
    epochs: int,
    scheduler: Any,
    step_scheduler_every: str,
    monitor: str,
    patience: int | None,
    batchnorm: str,
    saved: dict[str, Any] | None = None,
) -> list[str]:
    """Raise `CourseError` for what cannot work; return notes about what probably was not meant.

    `saved` is the content of the checkpoint from which the run will go on.
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise CourseError(f"epochs={epochs!r} must be a whole number of at least 1.")
    if patience is not None and (not isinstance(patience, int) or patience < 1):
        raise CourseError(f"patience={patience!r} must be None or a whole number of at least 1.")
    if monitor not in MONITORS:
        raise CourseError(f"monitor={monitor!r} must be one of {', '.join(MONITORS)}.")
    if step_scheduler_every not in ("epoch", "batch"):
        raise CourseError(f'step_scheduler_every={step_scheduler_every!r} must be "epoch" or "batch".')
    if batchnorm not in BATCHNORM_POLICIES:
        raise CourseError(f"batchnorm={batchnorm!r} must be one of {', '.join(BATCHNORM_POLICIES)}.")
    if getattr(loss_fn, "reduction", "mean") != "mean":
        raise CourseError(f'The loss function has reduction="{loss_fn.reduction}"; fit needs the mean over the batch.')
    notes = _check_optimizer(model, optimizer)
    for name, loader in (("train_loader", train_loader), ("val_loader", val_loader)):
        _check_loader(name, loader)
    if _check_first_scores(model, train_loader, val_loader):
        notes.append("the validation images have soft labels: mixing belongs into the training loader only.")
    if scheduler is not None:
        left = epochs - (len(saved["history"]["val_loss"]) if saved else 0)
        at = ((saved["run"]["scheduler"] if saved else None) or {}).get("last_epoch", scheduler.last_epoch)
        _check_scheduler(scheduler, optimizer, at, left * (len(train_loader) if step_scheduler_every == "batch" else 1))
    return notes


def _check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    parameters = dict(model.named_parameters())
    # compared by identity: two different parameters may hold equal numbers (BatchNorm starts as ones and zeros)
    held = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    own = {id(p) for p in parameters.values()}
    trainable = {name: p for name, p in parameters.items() if p.requires_grad}
    if not trainable:
        raise CourseError("Everything is frozen, nothing can be trained: for example, unfreeze(stages(model)[-1]).")
    left_out = [name for name, p in trainable.items() if id(p) not in held]
    if len(left_out) == len(trainable):
        raise CourseError(
            "The optimizer holds none of the model's trainable parameters. Build it after replace_head and freeze: "
            "torch.optim.AdamW(tl.trainable_parameters(model), lr=...)."
        )
    notes = []
    frozen = [p for p in parameters.values() if id(p) in held and not p.requires_grad]
    if frozen:
        for parameter in frozen:
            parameter.grad = None  # a left-over gradient would let momentum and weight decay move it
        notes.append(f"the optimizer also holds {len(frozen)} frozen tensors; they stay as they are.")
    if left_out:
        names = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")
        notes.append(f"{len(left_out)} trainable tensors are not in the optimizer and will not learn: {names}.")
    foreign = sum(key not in own for key in held)
    if foreign:
        notes.append(f"the optimizer holds {foreign} tensors that are not in this model; was the head replaced later?")
    return notes


def _check_loader(name: str, loader: Any) -> None:
    try:
        batches = len(loader)
    except TypeError:  # a stream does not know its length
        return
    if batches == 0:
        raise CourseError(
            f"{name} yields nothing: its dataset is empty, or drop_last=True threw away the only, incomplete batch."
        )


def _check_first_scores(model: nn.Module, train_loader: Any, val_loader: Any) -> bool:
    """Run one validation sample, then hold all labels that are known without opening images against its scores.

    Return whether the validation labels are soft.
    """
    with torch.no_grad(), preserved_modes(model), preserved_random_state(val_loader, train_loader):
        model.eval()
        inputs, labels = next(checked_batches(_first_batch(val_loader)))
        soft = labels.ndim == 2
        scores = model(inputs.to(device_of(model)))
        check_scores(scores, labels, class_names(val_loader))
    for loader in (train_loader, val_loader):
        labels = known_labels(loader)
        if labels is not None and labels.ndim == 1:
            check_scores(scores, labels.cpu())
    return soft


def _first_batch(loader: Any) -> Iterable:
    """The first sample as a batch, fetched here: iterating over the loader would start its worker processes."""
    is_stream = isinstance(getattr(loader, "dataset", None), torch.utils.data.IterableDataset)
    if isinstance(loader, torch.utils.data.DataLoader) and loader.batch_size and not is_stream:
        return [loader.collate_fn([loader.dataset[0]])]
    return loader


def _check_scheduler(scheduler: Any, optimizer: torch.optim.Optimizer, at: int, steps: int) -> None:
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise CourseError("The scheduler belongs to another optimizer: build it from the optimizer given to fit.")
    total = getattr(scheduler, "total_steps", None)
    if total is not None and total - at < steps:
        if at:
            problem = f"The scheduler has {total - at} of its {total} steps left, this run takes {steps}"
            raise CourseError(f"{problem}: build a new optimizer and a new scheduler.")
        raise CourseError(
            f"The scheduler was planned for {total} steps, this run takes {steps}: build it with total_steps={steps}."
        )
