"""A few real training steps on a copy: is the loss a number, do gradients arrive, are the rates far too high or low?

The thresholds come from the set-ups of the lessons and from the same at a hundred times, a tenth, and a thousandth of
their rates (tests/test_doctor_training.py holds the ends of that range). Only faults of a factor of a hundred are
sought: whether 1e-3 or 3e-4 is better, no handful of steps can tell; `lr_sweep` and a short run can.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from ..freezing import trainable_parameters
from ..models import Stage, stages
from ..session import CourseError
from .case import CannotTell, Case
from .losses import what_the_model_gives
from .optimizers import NORMS
from .report import Diagnosis, Finding
from .schedules import planned_peaks
from .steps import Run, first_batches, planned_run, run_at_any_rate, take_steps
from .words import few

LOSS_NOT_FINITE = Diagnosis(
    "loss-not-finite",
    "error",
    "the loss is not a finite number",
    "One step with such a loss makes every weight NaN (not a number), and there is no way back.",
    "model = tl.pretrained(course, arch, num_classes=...)[0]  # weights from before the accident",
    "lesson 03, section 1",
)
DEAD_GRADIENTS = Diagnosis(
    "dead-gradients",
    "error",
    "parts that should train get no gradient",
    "They are unfrozen, and the loss does not reach them: they will never learn. Usual reasons are a detach(), "
    "no_grad() or .data on the way, a part that the forward function does not use, a ReLU after the last layer.",
    "look for detach(), torch.no_grad() and a ReLU between this part and the loss",
    "lesson 06, exercise 06.5",
)
RATE_TOO_HIGH = Diagnosis(
    "rate-too-high",
    "error",
    "the learning rate is far too high",
    "After a few steps the network is sure and wrong. Pretrained weights are overwritten, and no better head repairs "
    "them.",
    "sweep = tl.lr_sweep(model, train_loader, optimizer); print(sweep.suggestion())  # None: start with a hundredth",
    "lesson 03, sections 1 and 3",
)
RATE_TOO_LOW = Diagnosis(
    "rate-too-low",
    "warning",
    "the learning rate is far too low",
    "Hardly anything will be learned in a run of usual length.",
    "sweep = tl.lr_sweep(model, train_loader, optimizer); print(sweep.suggestion())",
    "lesson 03, section 3",
)

REPEATS = 6  # steps on one and the same batch, to see whether it can be learned at all


def examine_gradients(case: Case) -> Iterator[Finding]:
    """Is the first loss a number, and does every part that trains get a gradient within a few steps?

    One step would not do: a head that starts at zero sends none to the body until it has moved.
    """
    if not torch.is_grad_enabled():
        yield DEAD_GRADIENTS.found("gradients are switched off here, for every network", "torch.set_grad_enabled(True)")
        return
    run = run_at_any_rate(case)
    if not math.isfinite(run.losses[0]):
        yield LOSS_NOT_FINITE.found(f"the first loss is {run.losses[0]}; {_culprit(case)}", fix=_cure(case))
        return
    dead = []
    for part in _parts(case.net):
        wanted = {id(p) for p in part.parameters() if p.requires_grad}
        names = {name for name, p in case.net.named_parameters() if id(p) in wanted}
        if names and not names & run.reached:
            dead.append(part.name)
    if dead:
        yield DEAD_GRADIENTS.found(f"no gradient other than zero in {len(run.losses)} steps: {few(dead, most=8)}")


def _culprit(case: Case) -> str:
    inputs = case.train.batch[0]
    if inputs.is_floating_point() and not torch.isfinite(inputs).all():
        return "the first batch of images holds numbers that are not finite"
    named = [*case.net.named_parameters(), *case.net.named_buffers()]
    broken = [name for name, t in named if t.is_floating_point() and not torch.isfinite(t).all()]
    if broken:
        return f"{len(broken)} tensors of the model hold numbers that are not finite: {few(broken)}"
    return "images and weights are finite, so it happens in the model or in the loss"


def _cure(case: Case) -> str | None:
    fine = torch.isfinite(case.train.batch[0]).all()
    return None if fine else "torch.isfinite(images).all()  # for each image: look at the transform, and for a std of 0"


def _parts(net: nn.Module) -> list[Stage]:
    try:
        return stages(net)
    except CourseError:
        return [Stage(name, [child]) for name, child in net.named_children()] or [Stage("the model", [net])]


def examine_rates(case: Case) -> Iterator[Finding]:
    """Take the planned steps; where the loss leaps, or hardly moves, take the same steps at other rates to compare."""
    if case.optimizer is None:
        raise CannotTell("no optimizer was given")
    run, peaks = planned_run(case), planned_peaks(case)
    if not math.isfinite(run.losses[0]):
        raise CannotTell("the loss is not a finite number")
    if what_the_model_gives(case) == "probabilities" or run.losses[0] <= 0:
        raise CannotTell("with this loss the steps tell nothing about the rate")  # see head and loss
    own = {id(p) for p in trainable_parameters(case.net)}
    moves = [any(id(p) in own for p in group["params"]) for group in case.optimizer.param_groups]
    if not any(moves):
        raise CannotTell("the optimizer holds nothing that trains")
    if not max(rate for rate, moved in zip(peaks, moves, strict=True) if moved) > 0:
        yield RATE_TOO_LOW.found("the rates of all groups that train are 0")
        return
    if _leaps(case, run, [run.losses[0]], run.tested[0], 1.5, 10):
        finding = _too_high(case, run, peaks, moves)
        if finding is not None:
            yield finding
            return
    if run.finite and run.learned < 0.1:
        yield from _too_low(case, peaks)


def _leaps(case: Case, run: Run, losses: list[float], tested: float, times: float, times_tested: float) -> bool:
    """Is a loss that many times as high as without these rates, and worse than guessing?

    The loss in eval mode may leap for a while at good rates too, as BatchNorm's running statistics lag behind: it
    counts only when it leaps very far and the loss in train mode rises with it, or is beyond all measure already.
    """
    if not run.finite:
        return True
    guessing = math.log(case.scores.shape[1])
    if max(run.losses) < guessing:
        return False
    here = max(run.losses) / max(losses)
    higher = here >= 1.2 or run.losses[0] > 4 * guessing
    return here >= times or (run.tested[1] >= times_tested * tested and higher)


def _too_high(case: Case, run: Run, peaks: list[float], moves: list[bool]) -> Finding | None:
    """The finding, if the leap is a matter of the rate and large; it names the group that is to blame."""
    batches = first_batches(case)
    still = take_steps(case, batches, [rate / 10**6 for rate in peaks])
    worst = f"{max(run.losses):.3g}" if run.finite else "a number that is not finite"
    if not still.finite:
        return LOSS_NOT_FINITE.found(f"within {len(run.losses)} steps, also at a millionth of the rates")
    scratch = _looks_new(case.net)
    # from scratch large rates are usual and the loss leaps at first, in eval mode without any bounds
    bounds = (30, math.inf) if scratch else (4, 100)
    if not _leaps(case, run, still.losses, still.tested[1], *bounds):
        return None
    rates = sorted({rate for rate, moved in zip(peaks, moves, strict=True) if moved}, reverse=True)
    guilty, fix = rates[0], None
    if len(rates) > 1:
        for rate in rates[:3]:  # one group rests: is all well?
            alone = take_steps(case, batches, [other / 10**6 if other == rate else other for other in peaks])
            if not _leaps(case, alone, still.losses, still.tested[1], *bounds):
                guilty = rate
                break
        place = peaks.index(guilty)
        fix = f"optimizer.param_groups[{place}]['lr'] = {guilty / 100:g}  # a group's own lr wins over the optimizer's"
    seen = f"{_group_at(case, peaks, guilty)} learns at {guilty:g}: within {len(run.losses)} steps on a copy the loss"
    seen += f" goes from {run.losses[0]:.3g} to {worst}; without learning it is {max(still.losses):.3g} at most"
    if run.finite and run.tested[1] > 10 * max(run.losses):
        seen += f"; in eval mode to {run.tested[1]:,.0f}"
    known = replace(RATE_TOO_HIGH, why=f"{RATE_TOO_HIGH.why.split('.')[0]}.") if scratch else RATE_TOO_HIGH
    return known.found(seen, fix=None if case.scheduler is not None else fix)


def _looks_new(net: nn.Module) -> bool:
    """Whether no norm layer has ever been trained: all their factors are 1 or 0, as they were made."""
    norms = [m.weight for m in net.modules() if isinstance(m, NORMS) and getattr(m, "weight", None) is not None]
    return bool(norms) and all(bool(((weight == 1) | (weight == 0)).all()) for weight in norms)


def _group_at(case: Case, peaks: list[float], rate: float) -> str:
    if len(set(peaks)) == 1:
        return "the model"
    places = [place for place, peak in enumerate(peaks) if peak == rate]
    names = [str(case.optimizer.param_groups[place].get("name", f"number {place}")) for place in places]
    return f"the group {few(names)}" if len(names) == 1 else f"the groups {few(names)}"


def _too_low(case: Case, peaks: list[float]) -> Iterator[Finding]:
    # of what is a usual rate nothing is said: small networks start slowly and get there
    if max(peaks) >= (1e-3 if isinstance(case.optimizer, torch.optim.SGD) else 1e-4):
        return
    batches = first_batches(case)[:1] * REPEATS
    learned = take_steps(case, batches, peaks).learned
    if learned >= 0.02:
        return
    for factor in (100, 10**4, 10**6, 10**8):
        more = take_steps(case, batches, [rate * factor for rate in peaks])
        if more.finite and more.learned >= max(0.05, 10 * learned):
            yield RATE_TOO_LOW.found(
                f"{len(batches)} steps on one batch take {max(learned, 0):.2%} off its loss at a highest rate of "
                f"{max(peaks):g}, at {factor:,} times the rates {more.learned:.0%}"
            )
            return


EXAMINATIONS = (
    ("gradients", examine_gradients),
    ("learning rate", examine_rates),
)
