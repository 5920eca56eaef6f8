"""The training loop of lesson 02 as a function: train an epoch, validate, keep the best, say what happened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from .checkpoints import copy_of_state, interrupts_held
from .evaluation import (
    Metrics,
    Predictions,
    check_scores,
    checked_batches,
    class_names,
    evaluate,
    hard_labels,
    predict,
    to_device,
)
from .freezing import preserved_modes, train_mode
from .history import History
from .models import device_of, unwrap
from .precheck import check_before_training
from .precision import MixedPrecision, mixed_precision, no_warning_about_skipped_steps
from .resume import Run, read_run, restore_run, save_run, settings_of
from .session import CourseError

__all__ = ["History", "Metrics", "Predictions", "evaluate", "fit", "predict", "train_one_epoch"]

LOOK_EVERY = 25  # steps between two looks at the losses: each look waits for the GPU


class Diverged(Exception):
    """The loss is no longer a finite number."""


def train_one_epoch(
    model: nn.Module,
    loader: Iterable,
    optimizer: torch.optim.Optimizer,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    after_step: Callable[[], Any] | None = None,
    batchnorm: str = "train",
    mixed: MixedPrecision | None = None,
) -> tuple[float, float]:
    """Train once over the loader, frozen parts in eval mode; return mean loss and accuracy over its samples.

    Under soft labels (mixup) the accuracy is against the larger share of each mixture. `mixed` is what
    `mixed_precision` returns; None computes in float32. Raises `Diverged`, which names the step, when a loss is not
    finite.

    >>> layer, batch = nn.Linear(2, 2), (torch.eye(2), torch.tensor([0, 1]))
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> loss, accuracy = train_one_epoch(layer, [batch], optimizer, nn.CrossEntropyLoss())
    """
    device, classes = device_of(model), class_names(loader)
    mixed = mixed or mixed_precision("float32", device)
    train_mode(model, batchnorm)
    samples, total_loss, right, unseen = 0, 0.0, 0, []
    for step, (inputs, labels) in enumerate(checked_batches(loader), start=1):
        with mixed.autocast:
            scores = model(to_device(inputs, device))
            check_scores(scores, labels, classes)
            labels = labels.to(device, non_blocking=True)
            loss = loss_fn(scores, labels)
        mixed.step(loss, optimizer)
        if after_step is not None:
            after_step()
        # sums over samples stay on the device: a short last batch counts no more than its samples
        samples += len(labels)
        total_loss += loss.detach() * len(labels)
        right += (scores.detach().argmax(1) == hard_labels(labels)).sum()
        unseen.append(loss.detach())
        if len(unseen) == LOOK_EVERY:
            _require_finite(unseen, step)
            unseen.clear()
    _require_finite(unseen, step)
    return (total_loss / samples).item(), (right / samples).item()


def _require_finite(losses: list[Tensor], last_step: int) -> None:
    values = torch.stack(losses).tolist() if losses else []
    for step, value in enumerate(values, start=last_step - len(values) + 1):
        if not math.isfinite(value):
            raise Diverged(f"the training loss became {value} at step {step}")


def fit(
    model: nn.Module,
    train_loader: Iterable,
    val_loader: Iterable,
    *,
    epochs: int,
    optimizer: torch.optim.Optimizer,
    loss_fn: nn.Module | None = None,
    scheduler: LRScheduler | ReduceLROnPlateau | None = None,
    step_scheduler_every: str = "epoch",
    monitor: str = "val_loss",
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    batchnorm: str = "train",
    precision: str = "auto",
    verbose: bool = True,
) -> History:
    """Train for some epochs and leave the model with the weights of its best epoch, whatever ended the run.

    Batches go where the model is. Each epoch starts with `train_mode`, so frozen parts stay as they are even if you
    called `model.train()` in between. `loss_fn` (default cross-entropy) is for training; validation is always plain
    cross-entropy in float32. `monitor` ("val_loss", "val_accuracy" or "val_mean_class_accuracy") decides which epoch is
    best; `patience` stops after so many epochs without a better one. `step_scheduler_every` is "epoch" or "batch".
    `batchnorm="eval"` keeps the statistics of unfrozen BatchNorm layers too, see `train_mode`; `precision`, see
    `mixed_precision`.

    `checkpoint` names a file that is written after every epoch. If the process dies, run the same code again: it goes
    on after the last finished epoch and ends, on a CPU bit for bit, where it would have ended (a DataLoader of your own
    with `persistent_workers` may augment differently). A run that is complete is not trained again; more `epochs`
    prolong it, unless a scheduler was planned for fewer. `load_checkpoint` reads the best epoch from the file.

    An interrupt, or a loss that is not finite, ends the run early: the history says so and the best epoch's weights
    are in the model (the weights from before, if no epoch was completed). `CourseError`, before anything is trained,
    for an empty loader, a label out of range, a head of the wrong size, an optimizer that would train nothing, and a
    `checkpoint` of another run.

    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> model, loader = nn.Linear(2, 2), DataLoader(TensorDataset(torch.eye(2), torch.tensor([0, 1])))
    >>> fit(model, loader, loader, epochs=2, optimizer=torch.optim.SGD(model.parameters(), 1.0), verbose=False).stopped
    'finished'
    """
    loss_fn, net, classes = loss_fn or nn.CrossEntropyLoss(), unwrap(model), class_names(val_loader)
    mixed = mixed_precision(precision, device_of(model))
    saved = read_run(checkpoint, classes) if checkpoint is not None else None
    settings = (epochs, scheduler, step_scheduler_every, monitor, patience, batchnorm, saved)
    notes = check_before_training(model, train_loader, val_loader, optimizer, loss_fn, *settings)
    same = {"scheduler's rhythm": step_scheduler_every, "monitor": monitor, "BatchNorm policy": batchnorm}
    same = settings_of(net, optimizer, scheduler, loss_fn, (train_loader, val_loader), **same, precision=precision)
    start, loaders = (History(monitor=monitor), copy_of_state(net)), (train_loader, val_loader)
    run = Run(net, optimizer, scheduler, mixed.scaler, loaders, *start, classes, same)
    if saved:
        restore_run(checkpoint, saved, run)
    history, say = run.history, print if verbose else _silent
    for note in notes:
        say(f"note: {note}")
    if saved:
        _say_where_it_goes_on(history, epochs, patience, checkpoint)
    after_step = scheduler.step if scheduler and step_scheduler_every == "batch" else None
    with preserved_modes(model), no_warning_about_skipped_steps(mixed):
        try:
            while history.epochs < epochs and not history.out_of_patience(patience):
                start, rates = time.perf_counter(), [group["lr"] for group in optimizer.param_groups]
                trained = train_one_epoch(model, train_loader, optimizer, loss_fn, after_step, batchnorm, mixed)
                metrics = evaluate(model, val_loader)
                if not math.isfinite(metrics.loss):
                    raise Diverged(f"the validation loss became {metrics.loss}")
                with interrupts_held():  # what follows belongs together
                    improved = history.add(trained, metrics, rates, time.perf_counter() - start)
                    if improved:
                        run.best = copy_of_state(net)
                    if scheduler and step_scheduler_every == "epoch":
                        scheduler.step(*([metrics.loss] if isinstance(scheduler, ReduceLROnPlateau) else []))
                    say(_epoch_line(history.epochs, epochs, trained, metrics, improved))
                    if checkpoint is not None:
                        _save(checkpoint, run)
            if history.epochs < epochs:
                history.stopped, history.problem = "early stop", f"no better {monitor} for {patience} epochs"
        except KeyboardInterrupt:
            history.stopped, history.problem = "interrupted", f"in epoch {min(history.epochs + 1, epochs)}"
        except Diverged as reason:
            where = f"in epoch {history.epochs + 1} (learning rate {max(rates):g})"
            history.stopped, history.problem = "diverged", f"{reason} {where}"
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise CourseError(
                "A training batch of a single image: BatchNorm cannot work with it. Use make_loader(..., train=True), "
                "which leaves such a last batch out, or drop_last=True."
            ) from error
        finally:
            with interrupts_held():
                net.load_state_dict(run.best)
                optimizer.zero_grad()  # of the last step; they take as much memory as the weights
    _say_how_it_ended(history)
    return history


def _save(path: str | Path, run: Run) -> None:
    """Save the run; a disk that fills up on the way costs the file, not the training."""
    run.history.problem = ""  # of an earlier save
    try:
        save_run(path, run)
    except CourseError as error:
        run.history.problem = str(error)
        print(f"{error} Training goes on; the best weights are kept in memory.")


def _say_where_it_goes_on(history: History, epochs: int, patience: int | None, path: str | Path | None) -> None:
    done = f"after epoch {history.epochs} of {epochs}"
    if history.epochs >= epochs or history.out_of_patience(patience):
        print(f"{path} holds this run, complete. Nothing is trained; to start anew, delete the file.")
    else:
        print(f"Going on {done}, from {path}.")


def _epoch_line(epoch: int, epochs: int, trained: tuple[float, float], metrics: Metrics, improved: bool) -> str:
    return (
        f"epoch {epoch:{len(str(epochs))}}/{epochs}  train loss {trained[0]:.3f} acc {trained[1]:.3f}  "
        f"val loss {metrics.loss:.3f} acc {metrics.accuracy:.3f}" + ("  best" if improved else "")
    )


def _say_how_it_ended(history: History) -> None:
    """A run that did not end by itself says so, also when it was told to be quiet."""
    kept = f"epoch {history.best_epoch}" if history.best_epoch else "before the training"
    if history.stopped == "interrupted":
        print(f"Interrupted {history.problem}. The model has the weights from {kept}.")
    elif history.stopped == "diverged":
        print(
            f"Stopped: {history.problem}. The model has the weights from {kept}. The usual cause is too high a "
            "learning rate: try a tenth of it. If that does not help, look for images that were not normalised."
        )


def _silent(*_: Any) -> None:
    pass
