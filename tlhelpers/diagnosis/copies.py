"""Copies that share nothing that moves with what they were made from: of a network, its optimizer, a loss."""

from __future__ import annotations

import copy
import inspect
from types import CellType, FunctionType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def copy_of_both(net: nn.Module, optimizer: Optimizer | None) -> tuple[nn.Module, Optimizer | None]:
    """Return copies of the network and of an optimizer that holds the copy's parameters.

    Raises what `copy.deepcopy` raises for a network or an optimizer that cannot be copied.
    """
    # one memo for both: parameters that the optimizer shares with the model are shared in the copy too
    memo: dict[int, Any] = {}
    twin, its_optimizer = copy.deepcopy((net, optimizer), memo)
    for module in twin.modules():
        for name in HOOKS:
            hooks = vars(module).get(name) or {}
            for key, hook in hooks.items():
                hooks[key] = function_apart(hook)
    if its_optimizer is not None:
        # torch's optimizers copy their groups and their memory, and leave out what a class of your own has added;
        # functions are left out: a scheduler puts one there that steps the original
        for name, value in vars(optimizer).items():
            if name not in vars(its_optimizer) and not inspect.isroutine(value):
                setattr(its_optimizer, name, copy.deepcopy(value, memo))
    return twin, its_optimizer


def loss_apart(loss: Any) -> Any:
    """Return a loss that may be called without a trace: what it counts or keeps is counted and kept by the copy."""
    if isinstance(loss, FunctionType):
        return function_apart(loss)
    try:
        return copy.deepcopy(loss)
    except Exception:  # it holds something that cannot be copied: a lock, a tensor with a history
        return loss


def function_apart(function: Any) -> Any:
    """Return a function with lists, dicts, sets, and numbers of its own where it uses those around it.

    A hook that appends to a list, or a loss that counts, would otherwise go on writing into the learner's.

    >>> kept = []
    >>> function_apart(lambda value: kept.append(value))(1)
    >>> kept
    []
    """
    if not isinstance(function, FunctionType) or function.__module__.startswith("torch."):
        return function
    cells = tuple(map(_cell_apart, function.__closure__ or ()))
    around = function.__globals__
    used = {name: _apart(around[name]) for name in function.__code__.co_names if name in around}
    twin = FunctionType(function.__code__, {**around, **used}, function.__name__, function.__defaults__, cells)
    twin.__kwdefaults__ = function.__kwdefaults__
    twin.__dict__.update({name: _apart(value) for name, value in vars(function).items()})
    return twin


def _cell_apart(cell: CellType) -> CellType:
    try:
        return CellType(_apart(cell.cell_contents))
    except ValueError:  # still empty
        return cell


def _apart(value: Any) -> Any:
    if isinstance(value, (list, dict, set)):
        return copy.copy(value)
    if isinstance(value, Tensor) and not value.requires_grad:
        return value.detach().clone()
    return value
