"""What a scheduler plans: how long it is, which rates it will reach. Found out on a copy, nothing is stepped."""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from .case import Case

# schedulers with an end, after which they raise an error, turn back, or leave the rate at zero; where they keep it
ENDS = {
    lr_scheduler.OneCycleLR: "total_steps",
    lr_scheduler.CosineAnnealingLR: "T_max",
    lr_scheduler.PolynomialLR: "total_iters",
}
# schedulers that go on for ever: the step at which they have done, or begun to do, what they are for
NEEDS = {
    lr_scheduler.LinearLR: lambda scheduler: scheduler.total_iters,
    lr_scheduler.CosineAnnealingWarmRestarts: lambda scheduler: scheduler.T_0,
    lr_scheduler.StepLR: lambda scheduler: scheduler.step_size + 1,
    lr_scheduler.MultiStepLR: lambda scheduler: min(scheduler.milestones, default=0) + 1,
    lr_scheduler.CyclicLR: lambda scheduler: round(scheduler.total_size),
    lr_scheduler.SequentialLR: lambda scheduler: scheduler._milestones[-1] + 1,
}
DRY_STEPS = 300  # looked ahead where nothing says how long the run is


def steps_of_run(case: Case) -> dict[str, int]:
    """Return how often the scheduler will be stepped, by rhythm: {"epoch": 3, "batch": 90}, one of them if it is known.

    Empty when the number of epochs, or that of the batches, is not known.
    """
    if case.epochs is None:
        return {}
    steps = {"epoch": int(case.epochs)}
    if (batches := batches_of(case)) is not None:
        steps["batch"] = steps["epoch"] * batches
    if case.step_scheduler_every is not None:
        steps = {rhythm: count for rhythm, count in steps.items() if rhythm == case.step_scheduler_every}
    return steps


def batches_of(case: Case) -> int | None:
    """The number of training batches in an epoch; None for a stream."""
    try:
        return len(case.train.loader)
    except TypeError:
        return None


def end_of(scheduler: Any) -> int | None:
    """Return the step at which the scheduler ends; None for one without an end."""
    if isinstance(scheduler, lr_scheduler.SequentialLR):
        inner = end_of(scheduler._schedulers[-1])
        return None if inner is None else scheduler._milestones[-1] + inner
    if isinstance(scheduler, lr_scheduler.ChainedScheduler):  # all are stepped together, the first end counts
        ends = [end for end in map(end_of, scheduler._schedulers) if end is not None]
        return min(ends, default=None)
    return next((getattr(scheduler, name) for kind, name in ENDS.items() if isinstance(scheduler, kind)), None)


def needs_of(scheduler: Any) -> int | None:
    """Return how many steps a scheduler without an end needs to have its effect; None for one that always has."""
    if isinstance(scheduler, lr_scheduler.ChainedScheduler):
        needed = [steps for steps in map(needs_of, scheduler._schedulers) if steps is not None]
        return max(needed, default=None)
    return next((steps(scheduler) for kind, steps in NEEDS.items() if isinstance(scheduler, kind)), None)


def dry_run(optimizer: Optimizer, scheduler: Any, steps: int) -> list[list[float]]:
    """Return the rates of all groups before each of `steps` steps, as far as the scheduler goes without an error."""
    # parameters are shared with the copy and the optimizer's memory is left out: nothing of them is used
    memo: dict[int, Any] = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    memo[id(optimizer.state)] = defaultdict(dict)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "scheduler.step() before optimizer.step()"
        try:
            optimizer, scheduler = copy.deepcopy((optimizer, scheduler), memo)
            for _ in range(steps):
                rates.append([float(group["lr"]) for group in optimizer.param_groups])
                scheduler.step()
        except Exception:  # too short, a group that came later: said elsewhere
            pass
    return rates


def has_rates(case: Case) -> bool:
    """Whether the case has a scheduler whose rates can be known in advance."""
    plateau = isinstance(case.scheduler, lr_scheduler.ReduceLROnPlateau)
    return getattr(case.scheduler, "optimizer", None) is case.optimizer and case.scheduler is not None and not plateau


def planned_peaks(case: Case) -> list[float]:
    """Return the highest rate each group of the optimizer will have; without a scheduler the rate it has now.

    A fresh OneCycleLR has set the rates to its low start, and a warm-up starts near zero: the present rates say little.
    """
    now = [float(group["lr"]) for group in case.optimizer.param_groups]
    if not has_rates(case):
        return now
    steps = max(steps_of_run(case).values(), default=None) or end_of(case.scheduler) or DRY_STEPS
    planned = dry_run(case.optimizer, case.scheduler, min(steps, 2000))
    return [max(rates) for rates in zip(now, *planned, strict=True)]
