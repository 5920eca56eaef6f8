"""Learning rates by depth: parameter groups for an optimizer, one for each stage of the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .freezing import trainable_parameters
from .models import Stage, stages
from .session import CourseError


def parameter_groups(
    model: nn.Module, lr: float | Mapping[str, float], factor: float = 1.0, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Return groups for an optimizer: one per stage that has something to train, from the stem to the head.

    `lr` is the head's rate; each stage before it gets `factor` times the rate of the one after it. Frozen stages count
    as steps of that ladder, so unfreezing one later changes no other's rate. Or `lr` gives the rates by name:
    {"layer4": 1e-4, "head": 1e-3}. With a `weight_decay` a stage becomes two groups: BatchNorm, LayerNorm and biases
    (`ndim <= 1`, or a name ending in .bias) do not decay. The value stands in every group, so an optimizer's own
    default (AdamW: 0.01) does not apply.

    Every trainable parameter is in exactly one group, a shared one with the first stage that uses it. Raises
    `CourseError` for a network `stages` does not know, a trainable stage without a rate, a name that does not exist.
    (Howard and Ruder 2018, arXiv:1801.06146, "discriminative fine-tuning")

    >>> from torchvision import models
    >>> [(group["name"], group["lr"]) for group in parameter_groups(models.squeezenet1_1(), lr=1.0, factor=0.5)]
    [('stem', 0.0625), ('block1', 0.125), ('block2', 0.25), ('block3', 0.5), ('head', 1.0)]
    """
    parts = _parts(model)
    rates = _rates(parts, lr, factor)
    if not _is_number(weight_decay) or weight_decay < 0:
        raise CourseError(f"weight_decay={weight_decay!r} must be a number of at least 0, for example 0.01.")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups: list[dict[str, Any]] = []
    taken: set[int] = set()  # by identity: two different parameters may hold equal numbers
    for part in parts:
        own = [p for p in part.parameters() if p.requires_grad and id(p) not in taken]
        taken.update(id(p) for p in own)
        if own and part.name not in rates:
            raise CourseError(f"lr has no rate for the stage {part.name!r}, which trains: name it, or freeze it first.")
        still = [p for p in own if p.ndim <= 1 or names.get(id(p), "").endswith(".bias")]
        decays = [p for p in own if not any(p is other for other in still)]
        split = [(part.name, decays, weight_decay), (f"{part.name}, no decay", still, 0.0)]
        for name, parameters, decay in split if weight_decay else [(part.name, own, 0.0)]:
            if parameters:
                groups.append(
                    {"params": parameters, "lr": rates[part.name], "weight_decay": float(decay), "name": name}
                )
    _require_all(model, taken, names)
    return groups


def _parts(model: nn.Module) -> list[Stage]:
    try:
        parts = stages(model)
    except CourseError as unknown:
        raise CourseError(
            f"{str(unknown).split(';')[0]}, so it cannot tell its stages apart. Write the groups by hand: "
            '[{"params": list(model.backbone.parameters()), "lr": 1e-4}, '
            '{"params": list(model.head.parameters()), "lr": 1e-3}].'
        ) from unknown
    return [part for part in parts if any(True for _ in part.parameters())]


def _rates(parts: list[Stage], lr: float | Mapping[str, float], factor: float) -> dict[str, float]:
    names = [part.name for part in parts]
    if isinstance(lr, Mapping):
        if factor != 1.0:
            raise CourseError("lr names a rate for each stage already: leave out factor.")
        unknown = [str(name) for name in lr if name not in names]
        if unknown:
            raise CourseError(f"lr names {', '.join(unknown)}, but the stages with parameters are: {', '.join(names)}.")
        rates = dict(lr)
    else:
        if not _is_number(factor) or not 0 < factor <= 1:
            raise CourseError(f"factor={factor!r} must lie above 0 and be at most 1: earlier stages move less.")
        rates = {name: lr for name in names}
    for name, rate in rates.items():
        if not _is_number(rate) or rate <= 0:
            hint = " To keep a stage still, freeze it: a rate of 0 costs the full work." if rate == 0 else ""
            raise CourseError(f"lr={rate!r} (for {name}) must be a number above 0.{hint}")
    steps = {name: len(names) - 1 - place for place, name in enumerate(names)}  # from the head backwards
    return {name: float(rate) * float(factor) ** steps[name] for name, rate in rates.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _require_all(model: nn.Module, taken: set[int], names: dict[int, str]) -> None:
    trainable = trainable_parameters(model)
    if not trainable:
        raise CourseError("Everything is frozen, there is nothing to group: unfreeze(stages(model)[-1]) first.")
    forgotten = [names[id(p)] for p in trainable if id(p) not in taken]
    if forgotten:
        raise CourseError(
            f"{', '.join(forgotten[:3])} belongs to no stage of this network: freeze it, or add a group of your own "
            "by hand."
        )


def group_table(optimizer: torch.optim.Optimizer) -> str:
    """Return a table of an optimizer's groups: name, tensors, parameters, learning rate and weight decay right now.

    >>> layer = nn.Linear(3, 2)
    >>> print(group_table(torch.optim.SGD([{"params": layer.parameters(), "name": "head"}], lr=0.1)))
    group    tensors  parameters        lr  weight decay
    head           2           8       0.1             0
    total          2           8
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise CourseError(f"group_table takes an optimizer, not {type(optimizer).__name__}.")
    groups = optimizer.param_groups
    names = [str(group.get("name", f"group {number}")) for number, group in enumerate(groups)]
    width = max([7, *map(len, names)]) + 1
    lines = [f"{'group':{width}} {'tensors':>7} {'parameters':>11} {'lr':>9} {'weight decay':>13}"]
    for name, group in zip(names, groups, strict=True):
        size = sum(p.numel() for p in group["params"])
        decay = float(group.get("weight_decay", 0.0))
        lines.append(
            f"{name:{width}} {len(group['params']):7} {size:11,} {_rate_text(group['lr']):>9} {_rate_text(decay):>13}"
        )
    tensors = [p for group in groups for p in group["params"]]
    return "\n".join([*lines, f"{'total':{width}} {len(tensors):7} {sum(p.numel() for p in tensors):11,}"])


def _rate_text(rate: float) -> str:
    return f"{float(rate):.3g}"
