"""A few real training steps on a copy, as the optimizer and the scheduler plan them, or at other rates to compare."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..evaluation import to_device
from ..freezing import train_mode, trainable_parameters
from ..models import device_of
from .case import CannotTell, Case, Failed
from .copies import loss_apart
from .network import scores_of
from .schedules import planned_peaks

BATCHES = 4  # read at most, and of each at most so many small images, large images (over 128 pixels), rows of features
SMALL, LARGE, ROWS = 16, 8, 128
TRIES = 4


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
    loss_fn = loss_apart(case.loss)
    names, device, run = dict(model.named_parameters()), device_of(model), Run()
    trained = trainable_parameters(model)
    warms_up = case.optimizer is not None and any(
        group["lr"] < rate / 2 for group, rate in zip(case.optimizer.param_groups, rates, strict=False)
    )

    def loss_of(batch: tuple[Tensor, Tensor], seed: int = 0) -> Tensor:
        _seed(seed, device)
        inputs, labels = batch
        labels = labels.long() if labels.ndim == 1 and not labels.is_floating_point() else labels
        return loss_fn(model(to_device(inputs, device)), labels.to(device))

    @torch.no_grad()
    def look(training: bool) -> float:
        train_mode(model) if training else model.eval()
        some = batches[:1] if training else batches[:2]
        return sum(loss_of(batch).item() for batch in some) / len(some)

    def gradients_of(loss: Tensor) -> None:
        # not loss.backward(): a loss may use the learner's own model too, which must not get a gradient
        found = torch.autograd.grad(loss, trained, allow_unused=True) if loss.requires_grad else [None] * len(trained)
        for parameter, gradient in zip(trained, found, strict=True):
            parameter.grad = gradient

    def again(batch: tuple[Tensor, Tensor], seed: int) -> float:
        with torch.enable_grad():
            loss = loss_of(batch, seed)
            gradients_of(loss)
        return loss.item()

    before = look(training=False)
    train_mode(model)
    for step, batch in enumerate(batches):
        share = min(1.0, (step + 1) / 3) if warms_up else 1.0
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * share
            if "max_iter" in group:  # LBFGS computes the loss so often in each of its steps
                group["max_iter"] = min(group["max_iter"], TRIES)
        loss = loss_of(batch, seed=step)
        run.losses.append(loss.item())
        if not math.isfinite(run.losses[-1]):
            break
        gradients_of(loss)
        run.reached |= {name for name, p in names.items() if p.grad is not None and bool(p.grad.count_nonzero())}
        if _needs_closure(optimizer):
            optimizer.step(partial(again, batch, step))
        else:
            optimizer.step()
    if math.isfinite(run.losses[-1]):
        run.first, run.tested = (run.losses[0], look(training=True)), (before, look(training=False))
    return run


def _seed(seed: int, device: torch.device) -> None:
    # not torch.manual_seed: where CUDA sleeps it replaces the seed that waits there for its first use
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its step computes the loss itself, several times: LBFGS."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


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
    for _, labels in found:
        if labels.ndim == 1:
            _refuse_labels_without_a_score(case, labels)
    return found


def _refuse_labels_without_a_score(case: Case, labels: Tensor) -> None:
    """Raise `CannotTell` for labels that the loss could not look up: on a GPU that would end the whole session."""
    width = scores_of(case).shape[1]
    picks = isinstance(case.loss, (nn.CrossEntropyLoss, nn.NLLLoss)) or case.loss in (F.cross_entropy, F.nll_loss)
    if width == 1 and not picks:
        return  # one score for two classes, which the loss takes its own way
    ignored = getattr(case.loss, "ignore_index", -100)
    outside = (labels != ignored) & ((labels < 0) | (labels >= width))
    if outside.any():
        example = int(labels[outside][0])
        raise CannotTell(f"a training step is not possible: label {example}, and the model gives {width} scores")


def planned_run(case: Case) -> Run:
    """The steps as they are planned, taken once and remembered with the case; why they cannot be taken as well."""
    if "planned" not in vars(case):
        case.planned = _run_or_reason(case, None if case.optimizer is None else planned_peaks(case))
    if isinstance(case.planned, CannotTell):
        raise case.planned
    return case.planned


def run_at_any_rate(case: Case) -> Run:
    """The planned steps; where the optimizer cannot take them, those of plain SGD."""
    try:
        return planned_run(case)
    except CannotTell:
        if case.optimizer is None:
            raise
        run = _run_or_reason(case, None)
        if isinstance(run, CannotTell):
            raise
        return run


def _run_or_reason(case: Case, rates: list[float] | None) -> Run | CannotTell:
    try:
        scores_of(case)  # CannotTell when the model cannot be run
        return take_steps(case, first_batches(case), rates)
    except CannotTell as reason:
        return reason
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        return Failed(f"a training step is not possible ({type(error).__name__}: {reason})")
