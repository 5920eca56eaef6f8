"""The optimizer: whether it holds what trains, and only that, and where its weight decay pulls."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ..freezing import trainable_parameters
from .case import CannotTell, Case
from .report import Diagnosis, Finding
from .words import counted, few, place

REBUILD = "optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=1e-3)"

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
    "optimizer = torch.optim.AdamW(tl.parameter_groups(model, lr=1e-3))",
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
    "optimizer = torch.optim.AdamW(tl.parameter_groups(model, lr=1e-3, weight_decay=0.01))",
    "lesson 03, section 2",
)
NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm)


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
            fix = _rebuilt(case.optimizer)
            held_names, last = [own[key] for key in ids if key in own], list(parameters)[-1].rpartition(".")[0]
            if held_names and last and all(name.startswith(f"{last}.") for name in held_names):
                fix += f"  # or, if only the head is to train: tl.freeze(model); tl.unfreeze({place(last)})"
            yield NOT_IN_OPTIMIZER.found(f"{counted(len(missing), 'parameter')}: {few(missing)}", fix)
        frozen = [name for name, p in parameters.items() if not p.requires_grad and id(p) in ids]
        if frozen:
            seen = f"{counted(len(frozen), 'parameter')}: {few(frozen)}"
            yield FROZEN_IN_OPTIMIZER.found(seen, _rebuilt(case.optimizer))
    twice = [own.get(key, "one of another model") for key, n in Counter(map(id, held)).items() if n > 1]
    if twice:
        yield LISTED_TWICE.found(f"{counted(len(twice), 'parameter')}: {few(twice)}")
    # a loss may have parameters of its own
    loss = {id(p) for p in case.loss.parameters()} if isinstance(case.loss, nn.Module) else set()
    foreign = [p for p in held if id(p) not in own and id(p) not in loss]
    if foreign:
        shapes = [str(tuple(p.shape)) for p in foreign]
        seen = f"{counted(len(foreign), 'parameter')} of the shape {few(shapes)}"
        yield FOREIGN_PARAMETERS.found(seen, _rebuilt(case.optimizer))


def _rebuilt(optimizer: torch.optim.Optimizer) -> str:
    """The line that makes the learner's optimizer anew, with its highest rate, over what trains."""
    name, group = type(optimizer).__name__, max(optimizer.param_groups, key=lambda group: float(group["lr"]))
    # a scheduler that was made already has begun to move the rate of now
    rate = float(group.get("max_lr", group.get("initial_lr", group["lr"])))
    if getattr(torch.optim, name, None) is not type(optimizer):
        return REBUILD  # somebody's own optimizer
    momentum = f", momentum={group['momentum']:g}" if group.get("momentum") else ""
    return f"optimizer = torch.optim.{name}(tl.trainable_parameters(model), lr={rate:g}{momentum})"


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


EXAMINATIONS = (
    ("optimizer", examine_parameters),
    ("weight decay", examine_decay),
)
