"""A few real training steps on a copy, as the optimizer and the scheduler plan them, or at other rates to compare."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..evaluation import to_device
from ..freezing import train_mode, trainable_parameters
from ..models import device_of
from .case import CannotTell, Case
from .network import scores_of
from .schedules import planned_peaks

BATCHES = 4  # read at most, and of each at most so many small images, large images (over 128 pixels), rows of features
SMALL, LARGE, ROWS = 16, 8, 128


@dataclass
class Run:
    """What a few steps on a copy gave."""

    losses: list[float] = field(default_factory=list)  # of each batch before its step
    first: tuple[float, float] = (0.0, 0.0)  # of the first batch in train mode, before and after all steps
    tested: tuple[float, float] = (0.0, 0.0)  # of the first two batches in eval mode, before and after
    reached: set[str] = field(default_factory=set)  # the parameters that ever had a gradient other than zero

    @property
    def finite(self) -> bool:
        return all(map(math.isfinite, [*self.losses, *self.first, *self.tested]))

    @property
    def learned(self) -> float:
        """How much of the first batch's loss is gone, in 0..1; below 0 when it has grown."""
        return (self.first[0] - self.first[1]) / self.first[0]


def take_steps(case: Case, batches: list[tuple[Tensor, Tensor]], rates: list[float] | None) -> Run:
    """Train a copy for one step per batch at constant rates, one for each group; None: plain SGD, just to look.

    Frozen parts rest as in `fit`. Dropout draws the same numbers each time, so two runs differ by their rates only.
    """
    model, optimizer = case.copied()
    if rates is None:
        optimizer = torch.optim.SGD(trainable_parameters(model), lr=1e-3)
        rates = [1e-3]
    loss_fn = copy.deepcopy(case.loss) if isinstance(case.loss, nn.Module) else case.loss
    names, device, run = dict(model.named_parameters()), device_of(model), Run()
    warms_up = case.optimizer is not None and any(
        group["lr"] < rate / 2 for group, rate in zip(case.optimizer.param_groups, rates, strict=False)
    )

    def loss_of(batch: tuple[Tensor, Tensor], seed: int = 0) -> Tensor:
        torch.manual_seed(seed)
        inputs, labels = batch
        labels = labels.long() if labels.ndim == 1 else labels
        return loss_fn(model(to_device(inputs, device)), labels.to(device))

    @torch.no_grad()
    def look(training: bool) -> float:
        train_mode(model) if training else model.eval()
        some = batches[:1] if training else batches[:2]
        return sum(loss_of(batch).item() for batch in some) / len(some)

    before = look(training=False)
    train_mode(model)
    for step, batch in enumerate(batches):
        share = min(1.0, (step + 1) / 3) if warms_up else 1.0
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
        loss = loss_of(batch, seed=step)
        run.losses.append(loss.item())
        if not math.isfinite(run.losses[-1]):
            break
        optimizer.zero_grad()
        if loss.requires_grad:
            loss.backward()
        run.reached |= {name for name, p in names.items() if p.grad is not None and bool(p.grad.count_nonzero())}
        optimizer.step()
    if math.isfinite(run.losses[-1]):
        run.first, run.tested = (run.losses[0], look(training=True)), (before, look(training=False))
    return run


def first_batches(case: Case) -> list[tuple[Tensor, Tensor]]:
    """The first batches, cut to a size that takes seconds, without those of a single image: BatchNorm needs two."""
    if not trainable_parameters(case.net):
        raise CannotTell("nothing trains")
    inputs, _ = case.train.batch
    most = ROWS if inputs.ndim != 4 else SMALL if inputs.shape[-1] <= 128 else LARGE
    found = [(inputs[:most], labels[:most]) for inputs, labels in case.train.batches(BATCHES)]
    found = [batch for batch in found if len(batch[1]) > 1]
    if not found:
        raise CannotTell("the batches hold a single image each")
    return found


def planned_run(case: Case) -> Run:
    """The steps as they are planned, taken once and remembered with the case."""
    if "planned" not in vars(case):
        batches, rates = first_batches(case), None if case.optimizer is None else planned_peaks(case)
        scores_of(case)  # CannotTell when the model cannot be run
        try:
            case.planned = take_steps(case, batches, rates)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise CannotTell(f"a training step is not possible ({type(error).__name__}: {reason})") from error
    return case.planned
