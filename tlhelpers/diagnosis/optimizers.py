"""The optimizer's parameters, and whether the scheduler belongs to it and to the run."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import lr_scheduler

from ..freezing import trainable_parameters
from .case import CannotTell, Case
from .network import counted, few
from .report import Diagnosis, Finding
from .schedules import batches_of, dry_run, end_of, has_rates, needs_of, steps_of_run

REBUILD = "optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=...)"

FROZEN_IN_OPTIMIZER = Diagnosis(
    "frozen-in-optimizer",
    "note",
    "the optimizer holds frozen parameters",
    "It skips them as long as they have no gradient, so nothing is spoilt. Often it shows that the optimizer was made "
    "before the freezing; it is meant when they will be unfrozen later.",
    REBUILD,
    "lesson 02, section 5",
)
NOT_IN_OPTIMIZER = Diagnosis(
    "not-in-optimizer",
    "error",
    "parameters that train are not in the optimizer",
    "Their gradients are computed, nobody uses them, and they never learn. An optimizer takes its list once, when it "
    "is made: a later head, or a stage unfrozen later, is not in it.",
    REBUILD,
    "lesson 03, section 2",
)
LISTED_TWICE = Diagnosis(
    "listed-twice",
    "error",
    "the optimizer holds the same parameter twice",
    "It is moved twice in every step, perhaps at two different rates.",
    "optimizer = torch.optim.AdamW(tl.parameter_groups(model, lr=...))",
    "lesson 03, section 2",
)
FOREIGN_PARAMETERS = Diagnosis(
    "foreign-parameters",
    "warning",
    "the optimizer holds parameters that are not in this model",
    "They belong to a head that was replaced later, or to another model. They do no harm; what should be in their "
    "place does not learn.",
    REBUILD,
    "lesson 02, exercise 02.4",
)
DECAY_ON_NORM_AND_BIAS = Diagnosis(
    "decay-on-norm-and-bias",
    "note",
    "weight decay also pulls at norm layers and biases",
    "Decay keeps weights small against learning by heart. For a norm layer's factors and for biases zero is no "
    "sensible goal, so they are usually left out.",
    "optimizer = torch.optim.AdamW(tl.parameter_groups(model, lr=..., weight_decay=...))",
    "lesson 03, section 2",
)
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
    "OneCycleLR stops with an error at its end, a cosine rises again, others leave a rate of almost nothing.",
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

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)
# they multiply the rate of every group by a factor, so they take a later group along
FACTORS = (lr_scheduler.StepLR, lr_scheduler.MultiStepLR, lr_scheduler.ExponentialLR, lr_scheduler.LinearLR)
FACTORS += (lr_scheduler.ConstantLR, lr_scheduler.PolynomialLR)


def examine_parameters(case: Case) -> Iterator[Finding]:
    """Compare the optimizer's list with the model's, by identity: different tensors may hold equal numbers."""
    if case.optimizer is None:
        raise CannotTell("no optimizer was given")
    parameters = dict(case.net.named_parameters())
    held = [p for group in case.optimizer.param_groups for p in group["params"]]
    ids, own = {id(p) for p in held}, {id(p): name for name, p in parameters.items()}
    if trainable_parameters(case.net):
        missing = [name for name, p in parameters.items() if p.requires_grad and id(p) not in ids]
        if missing:
            yield NOT_IN_OPTIMIZER.found(f"{counted(len(missing), 'parameter')}: {few(missing)}")
        frozen = [name for name, p in parameters.items() if not p.requires_grad and id(p) in ids]
        if frozen:
            yield FROZEN_IN_OPTIMIZER.found(f"{counted(len(frozen), 'parameter')}: {few(frozen)}")
    twice = [own.get(key, "one of another model") for key, n in Counter(map(id, held)).items() if n > 1]
    if twice:
        yield LISTED_TWICE.found(f"{counted(len(twice), 'parameter')}: {few(twice)}")
    # a loss may have parameters of its own
    loss = {id(p) for p in case.loss.parameters()} if isinstance(case.loss, nn.Module) else set()
    foreign = [p for p in held if id(p) not in own and id(p) not in loss]
    if foreign:
        shapes = [str(tuple(p.shape)) for p in foreign]
        yield FOREIGN_PARAMETERS.found(f"{counted(len(foreign), 'parameter')} of the shape {few(shapes)}")


def examine_decay(case: Case) -> Iterator[Finding]:
    """Note decay on norm layers, when somebody chose it.

    What an optimizer does by default is let pass: AdamW's 0.01, at a rate of 1e-3, takes 1 % off in 1,000 steps. So is
    decay on the biases of a network without norm layers, such as a head alone.
    """
    if case.optimizer is None:
        return  # said above
    modules = {name: module for name, module in case.net.named_modules() if isinstance(module, NORMS)}
    norms = {id(p): name for name, module in modules.items() for p in module.parameters(recurse=False)}
    default = inspect.signature(type(case.optimizer)).parameters.get("weight_decay")
    default = default.default if default is not None and default.default is not inspect.Parameter.empty else 0.0
    decayed, biases, decays = {}, 0, set()
    for group in case.optimizer.param_groups:
        decay = float(group.get("weight_decay") or 0.0)
        if decay > default:
            trained = [p for p in group["params"] if p.requires_grad]
            found = {norms[id(p)]: decay for p in trained if id(p) in norms}
            decayed |= found
            decays |= set(found.values())
            biases += sum(p.ndim == 1 and id(p) not in norms for p in trained)
    if decayed:
        also = f" and {biases} bias{'es' * (biases > 1)}" if biases else ""
        size = ", ".join(f"{decay:g}" for decay in sorted(decays))
        yield DECAY_ON_NORM_AND_BIAS.found(
            f"{size} on {counted(len(decayed), 'norm layer')}{also}: {few(list(decayed))}"
        )


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
            fix='step_scheduler_every="epoch"' if rhythm == "batch" else None,
        )
    return None


def _length(diagnosis: Diagnosis, case: Case, length: int, steps: int, who: str) -> Finding:
    name = type(case.scheduler).__name__
    argument = {"OneCycleLR": "total_steps", "CosineAnnealingLR": "T_max"}.get(name, "...")
    fix = f"{name}(optimizer, ..., {argument}={steps})"
    if end_of(case.scheduler) is None:
        return diagnosis.found(f"{name} needs {length} steps, {who} takes {steps}", fix=f"a {name} that acts sooner")
    batches = batches_of(case) or 0
    for rhythm, count in {"epoch": case.epochs or 0, "batch": (case.epochs or 0) * batches}.items():
        if count == length and count != steps:  # the length is right, for the other rhythm
            fix = f'tl.fit(..., step_scheduler_every="{rhythm}")'
    return diagnosis.found(f"{name} is planned for {length} steps, {who} takes {steps}", fix=fix)


EXAMINATIONS = (
    ("optimizer", examine_parameters),
    ("weight decay", examine_decay),
    ("scheduler", examine_scheduler),
    ("length of the scheduler", examine_length),
)
