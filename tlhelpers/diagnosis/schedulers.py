"""The scheduler: whether it belongs to this optimizer, with all its groups, and lasts as long as the run."""

from __future__ import annotations

from collections.abc import Iterator

from torch.optim import lr_scheduler

from .case import CannotTell, Case
from .report import Diagnosis, Finding
from .schedules import batches_of, dry_run, end_of, has_rates, needs_of, steps_of_run

SCHEDULER_OF_ANOTHER_OPTIMIZER = Diagnosis(
    "scheduler-of-another-optimizer",
    "error",
    "the scheduler belongs to another optimizer",
    "It will move the rates of an optimizer that trains nothing here; this one's rates stay where they are.",
    "build the scheduler from this optimizer, after it",
    "lesson 04, section 4",
)
GROUPS_AFTER_SCHEDULER = Diagnosis(
    "groups-after-scheduler",
    "error",
    "the optimizer got a group after the scheduler was made",
    "A scheduler notes the groups when it is made. With a later one it stops with an error, or leaves its rate alone.",
    "unfreeze, then a new optimizer, then a new scheduler; no add_param_group",
    "lesson 04, section 4",
)
SCHEDULER_TOO_SHORT = Diagnosis(
    "scheduler-too-short",
    "error",
    "the scheduler is over before the training",
    "OneCycleLR stops with an error at its end, a cosine rises again, others leave a rate of almost nothing: the rest "
    "of the training does not learn as it was planned.",
    "steps = epochs * len(train_loader)  # when stepped after every batch, else epochs",
    "lesson 03, section 4",
)
SCHEDULER_TOO_LONG = Diagnosis(
    "scheduler-too-long",
    "warning",
    "the training is over before the scheduler",
    "The rate does not come down as it was planned to: the quiet last steps, or all of its effect, are missing.",
    "steps = epochs * len(train_loader)  # when stepped after every batch, else epochs",
    "lesson 03, section 4",
)

# they multiply the rate of every group by a factor, so they take a later group along
FACTORS = (lr_scheduler.StepLR, lr_scheduler.MultiStepLR, lr_scheduler.ExponentialLR, lr_scheduler.LinearLR)
FACTORS += (lr_scheduler.ConstantLR, lr_scheduler.PolynomialLR)


def examine_scheduler(case: Case) -> Iterator[Finding]:
    """Look whether the scheduler moves this optimizer, with all its groups, and as long as the run lasts."""
    scheduler, optimizer = case.scheduler, case.optimizer
    if scheduler is None:
        return
    if optimizer is None:
        raise CannotTell("no optimizer was given")
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        yield SCHEDULER_OF_ANOTHER_OPTIMIZER.found(f"{type(scheduler).__name__} was not built from this optimizer")
    noted, groups = len(getattr(scheduler, "base_lrs", optimizer.param_groups)), len(optimizer.param_groups)
    if noted < groups and not isinstance(scheduler, FACTORS):
        yield GROUPS_AFTER_SCHEDULER.found(
            f"{type(scheduler).__name__} knows {noted} of the optimizer's {groups} groups of parameters"
        )


def examine_length(case: Case) -> Iterator[Finding]:
    """Hold the scheduler's length against the run; it is a mistake only if it fits neither rhythm that is possible."""
    scheduler = case.scheduler
    if scheduler is None or isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        return
    runs, at_least = steps_of_run(case), batches_of(case)
    done = getattr(scheduler, "last_epoch", 0)
    if not runs:
        end = end_of(scheduler)
        if case.step_scheduler_every == "batch" and at_least is not None and end is not None and end - done < at_least:
            # whatever the number of epochs is, one is the least
            yield _length(SCHEDULER_TOO_SHORT, case, end - done, at_least, "one epoch alone, stepped every batch,")
            return
        raise CannotTell("tl.doctor(..., epochs=..., step_scheduler_every=...) would compare it with the run")
    found = [(rhythm, _judge(case, steps, done)) for rhythm, steps in runs.items()]
    if all(finding is not None for _, finding in found):
        # stepped after every batch is what a schedule counted in steps is for; after every epoch is what fit does
        yield min(found, key=lambda pair: abs(runs[pair[0]] - ((end_of(scheduler) or 0) - done)))[1]


def _judge(case: Case, steps: int, done: int) -> Finding | None:
    """What is wrong with the scheduler if it is stepped so often; `done` steps are behind it."""
    scheduler, end = case.scheduler, end_of(case.scheduler)
    rhythm = next(rhythm for rhythm, count in steps_of_run(case).items() if count == steps)
    who = f"the run, stepped every {rhythm},"
    # OneCycleLR raises an error one step after its end; a cosine that turns back for a step or two does no harm
    slack = 0 if isinstance(scheduler, lr_scheduler.OneCycleLR) else 1 + steps // 10
    if end is not None and end - done < steps - slack:
        return _length(SCHEDULER_TOO_SHORT, case, end - done, steps, who)
    length = (needs_of(scheduler) if end is None else end) or 0
    if steps < 0.9 * (length - done):
        return _length(SCHEDULER_TOO_LONG, case, length - done, steps, who)
    if end is not None or case.optimizer is None or not has_rates(case):
        return None
    rates = dry_run(case.optimizer, scheduler, min(steps, 5000))
    highest = max((max(row) for row in rates), default=0.0)
    alive = sum(max(row) >= 1e-4 * highest for row in rates)
    if 2 * alive < len(rates):
        name = type(scheduler).__name__
        return SCHEDULER_TOO_SHORT.found(
            f"in {len(rates) - alive} of {len(rates)} steps {name} leaves less than a ten-thousandth of the rate ({who}"
            f" takes {steps})",
            fix=_slower(scheduler, rhythm, steps),
        )
    return None


def _slower(scheduler: lr_scheduler.LRScheduler, rhythm: str, steps: int) -> str:
    """The line that makes the rate last to the end of the run."""
    if rhythm == "batch":
        return 'tl.fit(..., step_scheduler_every="epoch")'
    if isinstance(scheduler, lr_scheduler.StepLR):
        size = max(1, steps // 3)
        return f"scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size={size}, gamma={scheduler.gamma:g})"
    return f"let {type(scheduler).__name__} lower the rate more slowly: it has to last for {steps} steps"


def _length(diagnosis: Diagnosis, case: Case, length: int, steps: int, who: str) -> Finding:
    name = type(case.scheduler).__name__
    fix = f"build the {name} anew for {steps} steps"
    if name == "OneCycleLR":
        peaks = [group.get("max_lr", group["lr"]) for group in case.scheduler.optimizer.param_groups]
        highest = f"{peaks[0]:g}" if len(set(peaks)) == 1 else f"[{', '.join(f'{peak:g}' for peak in peaks)}]"
        fix = f"scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr={highest}, total_steps={steps})"
    elif name == "CosineAnnealingLR":
        fix = f"scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={steps})"
    if end_of(case.scheduler) is None:
        return diagnosis.found(f"{name} needs {length} steps, {who} takes {steps}", fix=f"a {name} that acts sooner")
    batches = batches_of(case) or 0
    for rhythm, count in {"epoch": case.epochs or 0, "batch": (case.epochs or 0) * batches}.items():
        if count == length and count != steps:  # the length is right, for the other rhythm
            fix = f'tl.fit(..., step_scheduler_every="{rhythm}")'
    return diagnosis.found(f"{name} is planned for {length} steps, {who} takes {steps}", fix=fix)


EXAMINATIONS = (
    ("scheduler", examine_scheduler),
    ("length of the scheduler", examine_length),
)
