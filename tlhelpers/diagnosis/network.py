"""The network itself: its modes, what is frozen in it, its head, and whether it runs at all."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torchvision.ops import StochasticDepth

from ..backbones import ResNet10_Weights
from ..freezing import preserved_modes, train_mode, trainable_parameters
from ..models import stages
from ..session import CourseError
from .case import CannotTell, Case
from .report import Diagnosis, Finding
from .words import counted, few, place

EVAL_MODE = Diagnosis(
    "eval-mode",
    "warning",
    "the model is in eval mode, and it is about to train",
    "Its BatchNorm statistics stay as they are and its dropout is off, so it does not train as it was meant to. "
    "tl.fit sets the mode itself; a loop of your own has to, in every epoch, because validation switches it off.",
    "tl.train_mode(model)",
    "lesson 03, section 6",
)
FROZEN_BATCHNORM_DRIFTS = Diagnosis(
    "frozen-batchnorm-drifts",
    "note",
    "frozen BatchNorm layers are in train mode",
    "Their running statistics are no parameters: in train mode they follow every batch, and the frozen part gives "
    "other numbers than before. tl.fit sets the mode itself; a loop of your own has to, at the start of every epoch.",
    "tl.train_mode(model)",
    "lesson 02, section 3",
)
EVERYTHING_FROZEN = Diagnosis(
    "everything-frozen",
    "error",
    "everything is frozen, nothing can be trained",
    "No parameter asks for a gradient. The usual reason: the new head was put on first and frozen with the rest.",
    "tl.unfreeze(tl.stages(model)[-1])",
    "lesson 02, section 2",
)
FREEZE_WITHOUT_EFFECT = Diagnosis(
    "freeze-without-effect",
    "error",
    "something was to be frozen and is not",
    "Python lets you attach an attribute of any name. The flag belongs to the parameter and is called requires_grad; "
    "requires_grad_ is a method, which the assignment only hides, and a module has neither flag.",
    "for parameter in model.parameters(): parameter.requires_grad = False",
    "lesson 02, exercise 02.2",
)
LEFTOVER_GRADIENT = Diagnosis(
    "leftover-gradient",
    "warning",
    "frozen parameters still hold a gradient",
    "The optimizer moves what has a gradient, frozen or not: the old gradient, momentum and weight decay act on. "
    "tl.fit drops such gradients; a loop of your own does not.",
    "tl.freeze(layer, optimizer=optimizer)",
    "lesson 03, exercise 03.6",
)
HEAD_SIZE = Diagnosis(
    "head-size",
    "error",
    "the head does not fit the number of classes",
    "Each class needs one score. Too few stop the training with an error; too many share out probability to classes "
    "that do not exist. Build the optimizer after the new head.",
    "model = tl.replace_head(model, number_of_classes)",
    "lesson 02, section 1",
)
MODEL_FAILS = Diagnosis(
    "model-fails",
    "error",
    "the model cannot be run on the first training batch",
    "Training would stop at its first step with this message.",
    "model(next(iter(train_loader))[0])  # shows the whole error",
    "lesson 02, section 1",
)

# what behaves differently in train mode
SENSITIVE = (_BatchNorm, _DropoutNd, StochasticDepth)
# the heads of ImageNet and of the bundled networks: one of this size on a few classes was never replaced
PRETRAINED_CLASSES = {1000, len(ResNet10_Weights.DEFAULT.meta["categories"])}


def examine_modes(case: Case) -> Iterator[Finding]:
    """Hold the modes against those `train_mode` would set: what trains in train mode, what is frozen in eval mode."""
    net = case.net
    if not trainable_parameters(net):
        raise CannotTell("nothing trains")
    modes = {name: (module, module.training) for name, module in net.named_modules() if isinstance(module, SENSITIVE)}
    with preserved_modes(net):
        train_mode(net)
        wanted = {name: module.training for name, (module, _) in modes.items()}
    asleep = [name for name, (_, training) in modes.items() if wanted[name] and not training]
    trains = sum(wanted.values())
    # eval mode of some layers alone may be meant: fit(..., batchnorm="eval")
    if asleep and len(asleep) == trains and not net.training:
        yield EVAL_MODE.found(
            f"{counted(len(asleep), 'layer')} (BatchNorm, dropout) that should be in train mode: {few(asleep)}"
        )
    drifting = [
        name
        for name, (module, training) in modes.items()
        if isinstance(module, _BatchNorm) and module.track_running_stats and training and not wanted[name]
    ]
    if drifting:
        yield FROZEN_BATCHNORM_DRIFTS.found(f"{counted(len(drifting), 'frozen layer')} in train mode: {few(drifting)}")


def examine_freezing(case: Case) -> Iterator[Finding]:
    """Look for flags that were set on the wrong name, for nothing to train, and for gradients from before."""
    net = case.net
    parameters = dict(net.named_parameters())
    if not parameters:
        raise CannotTell("the model has no parameters")
    # requires_grad_, require_grad, required_grad: a parameter that nobody tampered with has no attribute of this kind
    wrong = {name: [key for key in vars(p) if re.fullmatch(r"requ\w*_?grad\w*", key)] for name, p in parameters.items()}
    hidden = [name for name, keys in wrong.items() if keys and parameters[name].requires_grad]
    if hidden:
        key = wrong[hidden[0]][0]
        yield FREEZE_WITHOUT_EFFECT.found(
            f"{key} was assigned to; {counted(len(hidden), 'parameter')} still train: {few(hidden)}"
        )
    flagged = {
        name: sum(p.requires_grad for p in module.parameters())
        for name, module in net.named_modules()
        if vars(module).get("requires_grad", True) is False
    }
    places = [place(name) for name, count in flagged.items() if count]
    if places:
        count = sum(flagged.values())
        yield FREEZE_WITHOUT_EFFECT.found(
            f"requires_grad = False is a mere attribute of {few(places)}; {counted(count, 'parameter')} still train",
            fix=f"tl.freeze({', '.join(places)})",
        )
    if not any(p.requires_grad for p in parameters.values()):
        last = list(parameters)[-1].rpartition(".")[0]
        seen = f"all {len(parameters)} parameters have requires_grad = False"
        yield EVERYTHING_FROZEN.found(seen, fix=f"tl.unfreeze({place(last)})")
    if case.optimizer is not None:
        held = {id(p) for group in case.optimizer.param_groups for p in group["params"]}
        left = [name for name, p in parameters.items() if id(p) in held and not p.requires_grad and p.grad is not None]
        if left:
            yield LEFTOVER_GRADIENT.found(f"{counted(len(left), 'frozen parameter')} in the optimizer: {few(left)}")


def examine_forward(case: Case) -> Iterator[Finding]:
    """Run the model on the first training batch."""
    inputs, _ = case.train.batch  # what is wrong with the loader itself is said elsewhere
    try:
        _ = case.scores
    except CannotTell as reason:
        if reason.__cause__ is None:  # it runs, and gives something else than class scores
            raise
        message = " ".join(str(reason.__cause__).split())[:200]
        kind = str(inputs.dtype).removeprefix("torch.")
        shape, kinds = tuple(inputs.shape), type(reason.__cause__).__name__
        fix = None
        if not inputs.is_floating_point():
            fix = "v2.ToDtype(torch.float32, scale=True)  # at the end of the transform, before Normalize"
        yield MODEL_FAILS.found(f"inputs {shape} of {kind}; {kinds}: {message}", fix=fix)


def examine_head(case: Case) -> Iterator[Finding]:
    """Hold the width of the scores against the classes of the data."""
    width, labels = scores_of(case).shape[1], case.train.batch[1]
    named = next((part.classes for part in case.parts if part.classes), None)
    if isinstance(case.loss, (nn.BCEWithLogitsLoss, nn.BCELoss, nn.MSELoss)):
        raise CannotTell(f"{type(case.loss).__name__} does not take one score per class")
    if width == 1:
        raise CannotTell("a single score may stand for two classes")
    if named and width != len(named) and case.labels_that_occur != set(range(width)):
        yield _wrong_size(case, width, len(named), f"the data have {len(named)} classes")
    elif labels.ndim == 2 and labels.is_floating_point() and 1 < labels.shape[1] != width:
        yield _wrong_size(case, width, labels.shape[1], f"the soft labels have {labels.shape[1]}")
    elif not named and labels.ndim == 1 and case.number_of_classes is not None:
        # labels without names show how many classes there are at least; labels beyond the head are told elsewhere
        count = case.number_of_classes
        if width in PRETRAINED_CLASSES and 2 * count < width:
            yield _wrong_size(case, width, count, f"the largest label is {count - 1}: this is still the old head")


def _wrong_size(case: Case, width: int, count: int, what: str) -> Finding:
    fix = f"model = tl.replace_head(model, {count})"
    if isinstance(case.net, nn.Linear):
        fix = f"nn.Linear({case.net.in_features}, {count})"
    else:
        try:
            stages(case.net)
        except CourseError:
            fix = f"give the model's last layer {count} outputs"
    return HEAD_SIZE.found(f"the model gives {width} scores, {what}", fix=fix)


def scores_of(case: Case) -> Tensor:
    """The scores of the first batch, as `case.scores`; why there are none is said once, by `model-fails`."""
    try:
        return case.scores
    except CannotTell as reason:
        if reason.__cause__ is None:
            raise
        raise CannotTell("the model cannot be run") from reason


EXAMINATIONS = (
    ("modes", examine_modes),
    ("freezing", examine_freezing),
    ("forward pass", examine_forward),
    ("size of the head", examine_head),
)
