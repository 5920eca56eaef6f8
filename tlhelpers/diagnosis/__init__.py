"""The training doctor: `tl.doctor(model, train_loader, ...)` names what is wrong with a set-up before it is run.

Each file examines one side of it and starts with the diagnoses it can make: start, images, values, loaders, labels,
sharing of images between training and validation, network, losses, optimizers, schedulers, probe (a few steps on a
copy). The others hold what these need: case (what was given), report, words, samples, sources, lookalikes, schedules,
steps and copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from ..freezing import preserved_modes, preserved_random_state
from ..session import CourseError
from . import images, labels, loaders, losses, network, optimizers, probe, schedulers, sharing, start
from .case import CannotTell, Case, Failed, Part
from .report import Diagnosis, Finding, Report

__all__ = ["Diagnosis", "Finding", "Report", "doctor", "known_diagnoses"]

FILES = (start, images, loaders, labels, sharing, network, losses, optimizers, schedulers, probe)


def doctor(
    model: nn.Module,
    train_loader: Iterable,
    val_loader: Iterable | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    loss_fn: Any = None,
    scheduler: Any = None,
    *,
    epochs: int | None = None,
    step_scheduler_every: str | None = None,
) -> Report:
    """Look at what is about to be trained and name what is wrong with it, why it hurts, and the fix.

    The more is given, the more is examined; `loss_fn` defaults to cross-entropy as in `fit`, `epochs` and
    `step_scheduler_every` ("epoch" or "batch") are those of the run that the scheduler was planned for. It takes
    seconds: a few batches are read, and a few steps are taken on a copy. Nothing changes: weights, buffers, gradients,
    modes, optimizer and random states, the loaders' as well, are bit for bit as before. Random numbers that a dataset
    or a transform keeps to itself (a Generator of NumPy or torch that it holds) are not covered: reading moves them.

    Returns a `Report`: `report.codes` are the names of the findings, the worst first; `"not-normalized" in report`
    asks for one. A report without findings says that none of the known mistakes was seen, not that all is well.
    Raises `CourseError` for a model that is no module and a loader that can be gone through only once.

    >>> from torch.utils.data import TensorDataset
    >>> rows = TensorDataset(torch.eye(4), torch.tensor([1, 2, 1, 2]))
    >>> report = doctor(nn.Linear(4, 2), torch.utils.data.DataLoader(rows, batch_size=2, shuffle=True))
    >>> "labels-from-1" in report
    True
    """
    if not isinstance(model, nn.Module):
        raise CourseError(f"doctor: model must be a torch.nn.Module, not {type(model).__name__}.")
    for name, loader in (("train_loader", train_loader), ("val_loader", val_loader)):
        if isinstance(loader, Iterator):
            raise CourseError(f"doctor: {name} can be gone through only once, looking would use it up: a DataLoader.")
        if loader is not None and not isinstance(loader, Iterable):
            raise CourseError(f"doctor: {name} must be a DataLoader or a list of batches, not {type(loader).__name__}.")
        if isinstance(loader, dict):
            raise CourseError(f"doctor: {name} is a dict with {', '.join(map(repr, loader))}: hand over one of them.")
    if isinstance(loss_fn, type):
        raise CourseError(
            f"doctor: loss_fn is the class {loss_fn.__name__}: write {loss_fn.__name__}(), with brackets."
        )
    if optimizer is not None and not hasattr(optimizer, "param_groups"):
        order = "the order is model, train_loader, val_loader, optimizer, loss_fn, scheduler"
        raise CourseError(f"doctor: optimizer is a {type(optimizer).__name__}, which holds no parameters; {order}.")
    if step_scheduler_every not in (None, "epoch", "batch"):
        raise CourseError(f'doctor: step_scheduler_every={step_scheduler_every!r} must be "epoch" or "batch".')
    train, val = Part("training", train_loader), None if val_loader is None else Part("validation", val_loader)
    case = Case(model, train, val, optimizer, loss_fn, scheduler, epochs, step_scheduler_every)
    findings, looked_at, failed = [], [], 0
    skipped: dict[str, list[str]] = {}  # reason: names of the examinations
    with preserved_modes(model), preserved_random_state(train_loader, val_loader):
        for name, examine in (pair for file in FILES for pair in file.EXAMINATIONS):
            try:
                for finding in examine(case):
                    findings.append(finding)  # one by one: what is found before an error is kept
                looked_at.append(name)
            except CannotTell as reason:
                skipped.setdefault(f"{reason}.", []).append(name)
                failed += isinstance(reason, Failed)
            except Exception as error:  # a set-up nobody thought of must not cost the findings of the others
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                skipped.setdefault(reason, []).append(name)
                failed += 1
    reasons = tuple(f"{', '.join(names)}: {reason}" for reason, names in skipped.items())
    return Report(tuple(findings), tuple(looked_at), reasons, failed)


def known_diagnoses() -> list[Diagnosis]:
    """Return every diagnosis the doctor can make, in the order of the files.

    >>> known_diagnoses()[0].severity in ("error", "warning", "note")
    True
    """
    found = [value for file in FILES for value in vars(file).values() if isinstance(value, Diagnosis)]
    return list({diagnosis.code: diagnosis for diagnosis in found}.values())
