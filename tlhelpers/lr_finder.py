"""A learning-rate sweep: raise the rate step by step, watch the loss, and leave no trace."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from .evaluation import check_scores, checked_batches, class_names, to_device
from .freezing import (
    BATCHNORM_POLICIES,
    preserved_modes,
    preserved_random_state,
    train_mode,
    trainable_parameters,
)
from .models import device_of
from .session import CourseError


@dataclass(frozen=True)
class LRSweep:
    """What `lr_sweep` measured: one entry per step. The loss of a step was taken before its update.

    >>> sweep = LRSweep([1e-3, 1e-2], [2.0, 1.9], [2.0, 1.95], "finished")
    >>> print(sweep.table())
         rate      loss  smoothed
        0.001     2.000     2.000
         0.01     1.900     1.950
    finished
    """

    rates: list[float]  # of the group with the highest rate
    losses: list[float]  # of one batch each, so noisy
    smoothed: list[float]  # running average, corrected for its start at zero
    stopped: str  # "finished", or why the sweep ended before the highest rate

    def suggestion(self) -> float | None:
        """Return the rate at which the loss falls most steeply, well before the minimum of the smoothed curve.

        The slope at a rate is that of a straight line through the losses around it, a third of the sweep wide. It is
        a place to start from, not a truth: look at the curve, and repeat with another order of the images. "Well
        before" means at most a tenth of the rate at the minimum: near it the loss has stopped falling already, and the
        running average lags behind. None when the loss never fell by more than its noise, or only at the very start
        (then begin at a lower rate).

        >>> losses = [4.0, 4.0, 3.9, 3.0, 2.0, 1.5, 1.2, 1.1, 1.1, 3.0]
        >>> LRSweep([10.0**e for e in range(-9, 1)], losses, losses, "finished").suggestion()
        1e-06
        """
        if len(self.rates) < 5:
            return None
        bottom = min(range(len(self.smoothed)), key=self.smoothed.__getitem__)
        reach = max(1, len(self.rates) // 6)  # to either side: the losses of single batches jump
        if bottom <= reach or self.smoothed[reach] - self.smoothed[bottom] <= self._noise(bottom):
            return None
        inside = [i for i in range(reach, bottom) if self.rates[i] <= self.rates[bottom] / 10]
        return self.rates[min(inside, key=lambda i: self._slope(i, reach))] if inside else None

    def _slope(self, center: int, reach: int) -> float:
        """Least-squares slope of the losses over their step; rates grow by a constant factor, so over log(rate)."""
        steps = range(-reach, min(reach, len(self.losses) - 1 - center) + 1)
        losses, middle = [self.losses[center + step] for step in steps], sum(steps) / len(steps)
        along = sum((step - middle) * loss for step, loss in zip(steps, losses, strict=True))
        return along / sum((step - middle) ** 2 for step in steps)

    def _noise(self, end: int) -> float:
        """How far the smoothed curve wanders by luck alone: from the jumps between one batch's loss and the next."""
        jumps = [b - a for a, b in zip(self.losses[:end], self.losses[1 : end + 1], strict=True)]
        middle = sum(jumps) / len(jumps)
        return math.sqrt(sum((jump - middle) ** 2 for jump in jumps) / len(jumps))

    def table(self, rows: int = 12) -> str:
        """Return about so many lines, spread over the sweep: rate, loss, smoothed loss; the last says how it ended."""
        every = max(1, math.ceil((len(self.rates) - 1) / max(1, rows - 1)))
        lines = [f"{'rate':>9} {'loss':>9} {'smoothed':>9}"]
        for i in sorted({*range(0, len(self.rates), every), len(self.rates) - 1}):
            lines.append(f"{self.rates[i]:9.2g} {self.losses[i]:9.3f} {self.smoothed[i]:9.3f}")
        return "\n".join([*lines, self.stopped])


def lr_sweep(
    model: nn.Module,
    loader: Iterable,
    optimizer: torch.optim.Optimizer,
    loss_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 60,
    smoothing: float = 0.9,
    blow_up: float = 4.0,
    batchnorm: str = "train",
) -> LRSweep:
    """Train for `steps` batches while the rate grows from `lowest` to `highest`, then put everything back.

    The rate grows by the same factor at each step and is that of the group with the highest rate; all groups are
    scaled alike, so discriminative rates keep their ratios. A short loader is gone through again. The sweep ends early
    when the smoothed loss exceeds `blow_up` times its lowest value, or is not finite.

    Afterwards weights, buffers, optimizer (its state, its rates, and what a scheduler noted in it), gradients, modes
    and random states, the loader's as well, are bit for bit as before, also after an error or an interrupt: the
    training that follows is the one it would have been. Random numbers that a dataset keeps to itself are not covered.
    Raises `CourseError` for settings that cannot work. (Smith 2017, arXiv:1506.01186, "LR range test")

    >>> layer, batch = nn.Linear(2, 2), (torch.eye(2), torch.tensor([0, 1]))
    >>> sweep = lr_sweep(layer, [batch], torch.optim.SGD(layer.parameters(), lr=0.1), steps=8)
    >>> [round(rate, 6) for rate in sweep.rates[:3]], layer.weight.grad is None
    ([1e-06, 7e-06, 5.2e-05], True)
    """
    _check(model, loader, optimizer, lowest, highest, steps, smoothing, blow_up, batchnorm)
    loss_fn, device, classes = loss_fn or nn.CrossEntropyLoss(), device_of(model), class_names(loader)
    shares = [float(group["lr"]) for group in optimizer.param_groups]
    shares = [share / max(shares) for share in shares]
    rates, losses, smoothed, average, stopped = [], [], [], 0.0, "finished"
    with _untouched(model, loader, optimizer) as twin:
        train_mode(model, batchnorm)
        for step, (inputs, labels) in zip(range(steps), _endless(twin), strict=False):
            rate = lowest * (highest / lowest) ** (step / (steps - 1))
            for group, share in zip(optimizer.param_groups, shares, strict=True):
                group["lr"] = rate * share
            optimizer.zero_grad()
            scores = model(to_device(inputs, device))
            check_scores(scores, labels, classes)
            loss = loss_fn(scores, labels.to(device))
            value = loss.item()
            if not math.isfinite(value):
                stopped = f"stopped: the loss became {value} at a rate of {rate:.2g}"
                break
            average = smoothing * average + (1 - smoothing) * value
            rates.append(rate)
            losses.append(value)
            smoothed.append(average / (1 - smoothing ** (step + 1)))
            if smoothed[-1] > blow_up * min(smoothed):
                stopped = f"stopped: the loss blew up at a rate of {rate:.2g}"
                break
            loss.backward()
            optimizer.step()
    if not rates:
        raise CourseError(
            "The first loss is not a finite number, before any step: normalise the images, build the model anew."
        )
    return LRSweep(rates, losses, smoothed, stopped)


def _endless(loader: Iterable) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from checked_batches(loader)


def _check(model, loader, optimizer, lowest, highest, steps, smoothing, blow_up, batchnorm) -> None:
    if not 0 < lowest < highest:
        raise CourseError(f"lowest={lowest!r} must lie above 0 and below highest={highest!r}.")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 5:
        raise CourseError(f"steps={steps!r} must be a whole number of at least 5; 40 to 100 are usual.")
    if not 0 <= smoothing < 1:
        raise CourseError(f"smoothing={smoothing!r} must lie between 0 (none) and 1 (excluded).")
    if not blow_up > 1:
        raise CourseError(f"blow_up={blow_up!r} must be above 1.")
    if batchnorm not in BATCHNORM_POLICIES:
        raise CourseError(f"batchnorm={batchnorm!r} must be one of {', '.join(BATCHNORM_POLICIES)}.")
    if isinstance(loader, Iterator):  # not asked by iter(loader): that would draw a random number
        raise CourseError("The loader can be gone through only once, so the sweep would use it up: give a DataLoader.")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(p) in held for p in trainable_parameters(model)):
        raise CourseError("The optimizer holds none of the model's trainable parameters: build it from this model.")
    if not max(float(group["lr"]) for group in optimizer.param_groups) > 0:
        raise CourseError("All rates of the optimizer are 0, so there is nothing to scale: give it rates above 0.")


@contextmanager
def _untouched(model: nn.Module, loader: Iterable, optimizer: torch.optim.Optimizer) -> Iterator[Iterable]:
    """Give a loader to use inside the block; afterwards model, optimizer and random numbers are as they were."""
    twin = loader
    if isinstance(loader, DataLoader):
        twin = copy.copy(loader)  # shares dataset and sampler, but starts workers of its own: theirs draw numbers too
        twin._iterator = None
    samplers = [getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
    samplers.append(getattr(samplers[1], "sampler", None))
    with preserved_modes(model), preserved_random_state(loader, *samplers), _put_back(model, optimizer):
        yield twin


@contextmanager
def _put_back(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    parameters = {id(p): p for p in model.parameters()}
    parameters |= {id(p): p for group in optimizer.param_groups for p in group["params"]}
    buffers = [(m, name, b) for m in model.modules() for name, b in m._buffers.items() if b is not None]
    tensors = [*parameters.values(), *(buffer for _, _, buffer in buffers)]
    values = [tensor.detach().clone() for tensor in tensors]
    gradients = [(p, p.grad) for p in parameters.values()]
    attributes, groups = dict(vars(optimizer)), [dict(group) for group in optimizer.param_groups]
    state = {p: copy.deepcopy(entries) for p, entries in optimizer.state.items()}  # steps and moments change in place
    try:
        for parameter in parameters.values():
            parameter.grad = None  # a gradient left on a frozen parameter would move it
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer in buffers:
                module._buffers[name] = buffer
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        vars(optimizer).clear()
        vars(optimizer).update(attributes)
        for group, before in zip(optimizer.param_groups, groups, strict=True):
            group.clear()
            group.update(before)
        optimizer.state.clear()
        optimizer.state.update(state)
