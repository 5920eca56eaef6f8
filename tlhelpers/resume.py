"""Go on with a training run whose process died: all that a run consists of, as tensors and plain types in one file.

`fit(..., checkpoint=path)` writes it after every epoch. On a CPU the continued run ends bit for bit where the
uninterrupted one would have: weights, optimizer, scheduler, history and every source of random numbers are put back.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .checkpoints import check_classes, check_fits, check_writable, copy_of_state, plain, read_checkpoint, write
from .freezing import generators_of
from .history import History
from .session import CourseError

RUN_PARTS = ("weights", "optimizer", "scheduler", "scaler", "random", "loaders", "settings")
# what a scheduler counts while it runs; its other public attributes were chosen by whoever built it
MOVING = {"last_epoch", "best", "num_bad_epochs", "cooldown_counter", "T_cur", "T_i", "verbose"}
PLAN = "_schedule_phases"  # OneCycleLR keeps here what pct_start and three_phase asked for
# how an optimizer computes, not what
IMPLEMENTATION = {"params", "foreach", "fused", "capturable", "differentiable", "lr", "initial_lr"}


@dataclass
class Run:
    """What changes while `fit` trains, and the settings that must be the same to go on."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    scaler: Any  # torch.amp.GradScaler
    loaders: tuple
    history: History
    best: dict[str, Any]  # state dict of the best epoch
    classes: list[str] | None
    settings: dict[str, Any]


def save_run(path: str | Path, run: Run) -> None:
    """Write the run as it stands after an epoch. The file is a checkpoint too: `load_checkpoint` gives the best epoch.

    Raises `CourseError` when that fails; the file of the epoch before is then intact.
    """
    weights = copy_of_state(run.model)
    if run.history.best_epoch == len(run.history.val_loss):
        weights = run.best  # the same tensors are stored once
    state = {
        "weights": weights,
        "optimizer": run.optimizer.state_dict(),
        "scheduler": run.scheduler.state_dict() if run.scheduler is not None else None,
        "scaler": run.scaler.state_dict(),
        "random": random_state(),
        "loaders": [loader_state(loader) for loader in run.loaders],
        "settings": run.settings,
    }
    write(path, run.model, run.best, run.history, run.classes, {"run": plain(state, "run", tuples=True)})


def read_run(path: str | Path, classes: list[str] | None) -> dict[str, Any] | None:
    """Return what the file at `path` holds, None if there is none; `CourseError` unless it is a run of these classes.

    Also tidies up beside it: a process that was killed while it saved left a half-written temporary file.
    """
    path = Path(path)
    check_writable(path)
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):
            left.unlink()
    if not path.exists():
        return None
    content = read_checkpoint(path)
    if "run" not in content:
        raise CourseError(
            f"{path} holds a model and no training run to go on with. It would be overwritten: give another file name."
        )
    missing = [name for name in RUN_PARTS if name not in content["run"]]
    if missing:
        raise CourseError(f"{path} is damaged: its run lacks {', '.join(missing)}. Delete it to start anew.")
    if classes is not None:
        check_classes(path, content["classes"], classes)
    return content


def restore_run(path: str | Path, content: dict[str, Any], run: Run) -> None:
    """Put a run back to where `content` was saved. Raises `CourseError`, with nothing changed, if it is another run."""
    saved = content["run"]
    check_fits(path, content, run.model)
    for name, here in plain(run.settings, "settings", tuples=True).items():
        if saved["settings"].get(name) != here:
            where, was, now = _first_difference(name, saved["settings"].get(name), here)
            raise CourseError(
                f"{path} belongs to another run: its {where} was {was}, here it is {now}. Give this run a file of its "
                "own, or delete that one to start anew."
            )
    run.model.load_state_dict(saved["weights"])
    run.optimizer.load_state_dict(saved["optimizer"])
    if run.scheduler is not None:
        run.scheduler.load_state_dict(saved["scheduler"])
    if saved["scaler"] and run.scaler.is_enabled():  # "auto" may mean another precision on another machine
        run.scaler.load_state_dict(saved["scaler"])
    run.history, run.best = History.from_dict(content["history"]), content["model"]
    for loader, state in zip(run.loaders, saved["loaders"], strict=True):
        set_loader_state(loader, state)
    set_random_state(saved["random"])


def _first_difference(name: str, there: Any, here: Any) -> tuple[str, str, str]:
    """Return the place of the first difference inside two settings, and what stands there: short enough to read."""
    if isinstance(there, dict) and isinstance(here, dict):
        key = next(key for key in {**there, **here} if there.get(key) != here.get(key))
        return _first_difference(f"{name}, {key}", there.get(key), here.get(key))
    if isinstance(there, (list, tuple)) and isinstance(here, (list, tuple)):
        if len(there) != len(here):
            return name, *(f"{len(a)} long{''.join(f', with {x}' for x in a if x not in b)[:60]}"
                           for a, b in ((there, here), (here, there)))  # fmt: skip
        number = next(number for number, pair in enumerate(zip(there, here, strict=True)) if pair[0] != pair[1])
        return _first_difference(f"{name} [{number}]", there[number], here[number])
    return name, *(str(value["class"] if isinstance(value, dict) else value)[:60] for value in (there, here))


def settings_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, loss_fn: Any, loaders: tuple, **others: Any
) -> dict[str, Any]:
    """Return, by name, what makes this run another one when it changes: plain values, in words a message can use.

    How many epochs, and the patience, are not among them: a run may be prolonged.

    >>> layer = nn.Linear(2, 2)
    >>> settings_of(layer, torch.optim.SGD(layer.parameters(), 0.1), None, nn.CrossEntropyLoss(), ())["learning rates"]
    [0.1]
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimizer.param_groups
    # a scheduler moves the rates (and OneCycleLR the momentum too), but keeps where they began
    rates = [g["lr"] if scheduler is None else g.get("initial_lr", "moved by the scheduler") for g in groups]
    cycled = {"momentum", "betas"} if any("base_momentum" in g for g in groups) else set()
    options = [{k: v for k, v in g.items() if k not in IMPLEMENTATION | cycled} for g in groups]
    datasets = [getattr(loader, "dataset", None) for loader in loaders]
    return {
        "set of trainable parameters": [name for name, p in model.named_parameters() if p.requires_grad],
        "optimizer": type(optimizer).__name__,
        "parameter groups": [[names.get(id(p), "?") for p in g["params"]] for g in groups],
        "learning rates": [rate if isinstance(rate, str) else float(rate) for rate in rates],
        "optimizer options": options,
        "scheduler": None if scheduler is None else _described(scheduler, MOVING),
        "loss function": _described(loss_fn, {"training"}),
        "number of images for training and validation": [len(d) if hasattr(d, "__len__") else None for d in datasets],
        "batch size": [_batch_size(loader) for loader in loaders[:1]],
        **others,
    }


def _batch_size(loader: Any) -> int | None:
    return getattr(loader, "batch_size", None) or getattr(getattr(loader, "batch_sampler", None), "batch_size", None)


def _described(thing: Any, moving: Iterable[str]) -> dict[str, str]:
    """Return a class's name and the values it was built with; of a class of your own, which may move them, the name."""
    described = {"class": getattr(thing, "__name__", type(thing).__name__)}
    if type(thing).__module__.startswith("torch."):
        values = vars(thing) | getattr(thing, "_buffers", {})  # class weights of a loss are a buffer
        kept = {k: v for k, v in values.items() if k not in moving and (not k.startswith("_") or k == PLAN)}
        for name, value in sorted(kept.items()):
            with suppress(CourseError):  # a function or an optimizer: not to be compared
                described[name] = str(plain(value, name))
    return described


def random_state() -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's global random numbers as tensors and plain numbers.

    >>> kept = random_state(); first = torch.rand(1)
    >>> set_random_state(kept); bool(torch.rand(1) == first)
    True
    """
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, torch.tensor(numbers), gauss],
        "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned. A run from another number of GPUs keeps the GPUs' own states."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def loader_state(loader: Any) -> dict[str, list]:
    """Return the random states of a loader and its samplers, and what samplers with a `state_dict` keep themselves."""
    return {
        "generators": [generator.get_state() for generator in generators_of(loader)],
        "samplers": [sampler.state_dict() for sampler in _samplers_with_state(loader)],
    }


def set_loader_state(loader: Any, state: dict[str, list]) -> None:
    """Put back what `loader_state` returned: the next epoch comes in the order it would have come in."""
    for generator, kept in zip(generators_of(loader), state["generators"], strict=False):
        generator.set_state(kept)
    for sampler, kept in zip(_samplers_with_state(loader), state["samplers"], strict=False):
        sampler.load_state_dict(kept)


def _samplers_with_state(loader: Any) -> list[Any]:
    samplers = [getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
    return [sampler for sampler in samplers if hasattr(sampler, "state_dict") and hasattr(sampler, "load_state_dict")]
