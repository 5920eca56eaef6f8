"""Freeze and unfreeze parts of a network, and keep frozen parts really still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .models import Stage, stages, unwrap
from .session import CourseError, random_state_kept

BATCHNORM_POLICIES = ("train", "eval")
Target = nn.Module | nn.Parameter | Stage | Iterable  # an iterable holds targets


def freeze(*targets: Target, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Stop modules, stages or lists of them from learning: `requires_grad = False`, left-over gradients dropped.

    An optimizer moves a parameter as long as it has a gradient, even one of zeros (momentum, weight decay), so the
    gradient becomes None. Pass an `optimizer` that already ran to drop its memory of these parameters as well.
    BatchNorm's running statistics are no parameters: `train_mode` keeps them still.

    >>> from torchvision import models
    >>> model = models.resnet18(); freeze(model); unfreeze(stages(model)[-1])
    >>> count_parameters(model)
    (11689512, 513000)
    """
    for parameter in _parameters(targets):
        parameter.requires_grad = False
        parameter.grad = None
        if optimizer is not None:
            optimizer.state.pop(parameter, None)


def unfreeze(*targets: Target) -> None:
    """Let modules, stages or lists of them learn again. An optimizer built without them does not know them.

    >>> layer = nn.Linear(3, 2); freeze(layer); unfreeze(layer); count_parameters(layer)
    (8, 8)
    """
    for parameter in _parameters(targets):
        parameter.requires_grad = True


def _parameters(targets: Iterable[Any]) -> Iterator[nn.Parameter]:
    for target in targets:
        if isinstance(target, nn.Parameter):
            yield target
        elif isinstance(target, (nn.Module, Stage)):
            yield from target.parameters()
        elif isinstance(target, Iterable) and not isinstance(target, (str, torch.Tensor)):
            yield from _parameters(target)
        else:
            what = f"{type(target).__name__} {target!r:.40}"
            raise CourseError(f"Cannot freeze or unfreeze {what}: give modules, stages(model)[...] or lists of them.")


def train_mode(model: nn.Module, batchnorm: str = "train") -> nn.Module:
    """`model.train()`, but frozen parts stay in eval mode; return the model.

    A module whose parameters are all frozen goes to eval mode with everything inside it: its BatchNorm uses and keeps
    its running statistics bit for bit, its dropout is off. The next plain `model.train()` undoes this; call
    `train_mode` after it, once per epoch as `fit` does. With `batchnorm="eval"` the BatchNorm layers that still train
    keep their statistics as well, which small batches would spoil; their weights and biases learn in both cases.
    (Chollet 2020, keras.io/guides/transfer_learning)

    >>> net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)); freeze(net[0])
    >>> [module.training for module in train_mode(net)]
    [False, True]
    """
    model.train()
    for module in model.modules():
        if _is_frozen(module) or (batchnorm == "eval" and isinstance(module, _BatchNorm)):
            module.eval()
    # a frozen stage may hold a dropout that no frozen module encloses, as in VGG's classifier
    for stage in _stages_if_known(model):
        if _is_frozen(stage):
            for module in stage.modules:
                module.eval()
    return model


def _is_frozen(part: nn.Module | Stage) -> bool:
    needs_gradient = [p.requires_grad for p in part.parameters()]
    return bool(needs_gradient) and not any(needs_gradient)


def _stages_if_known(model: nn.Module) -> list[Stage]:
    try:
        return stages(model)
    except CourseError:
        return []


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that learn: what an optimizer should be given.

    >>> layer = nn.Linear(3, 2); layer.bias.requires_grad = False
    >>> [tuple(p.shape) for p in trainable_parameters(layer)]
    [(2, 3)]
    """
    return [p for p in model.parameters() if p.requires_grad]


def count_parameters(model: nn.Module | Stage) -> tuple[int, int]:
    """Return (all parameters, trainable parameters), counted in numbers, not tensors.

    >>> count_parameters(nn.Linear(3, 2))
    (8, 8)
    """
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def trainable_table(model: nn.Module) -> str:
    """Return a table of the stages: parameters, how many train, and the mode BatchNorm is in right now.

    Read it after `train_mode(model)`: a frozen stage whose BatchNorm says "train" drifts. A network that `stages` does
    not know is listed by its children.

    >>> print(trainable_table(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))))
    stage    parameters  trainable  BatchNorm
    0                 8          8  -
    1                 4          4  train
    total            12         12
    """
    parts = _stages_if_known(model) or [Stage(name, [child]) for name, child in unwrap(model).named_children()]
    width = max([7, *(len(part.name) for part in parts)]) + 1
    lines = [f"{'stage':{width}} {'parameters':>10} {'trainable':>10}  BatchNorm"]
    for part in parts:
        total, trainable = count_parameters(part)
        lines.append(f"{part.name:{width}} {total:10,} {trainable:10,}  {_batchnorm_mode(part)}")
    total, trainable = count_parameters(model)
    return "\n".join([*lines, f"{'total':{width}} {total:10,} {trainable:10,}"])


def _batchnorm_mode(stage: Stage) -> str:
    modes = {
        "train" if module.training else "eval"
        for part in stage.modules
        for module in part.modules()
        if isinstance(module, _BatchNorm)
    }
    return "mixed" if len(modes) == 2 else next(iter(modes), "-")


@contextmanager
def preserved_modes(model: nn.Module) -> Iterator[None]:
    """Put the train/eval mode of every module back at the end of the block.

    >>> layer = nn.Dropout()
    >>> with preserved_modes(layer):
    ...     layer = layer.eval()
    >>> layer.training
    True
    """
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def preserved_random_state(*loaders: Any) -> Iterator[None]:
    """Put all random states (the loaders' as well) back at the end of the block.

    A loader has two of its own: for its order (the sampler's) and for its workers. Measuring must not shift the random
    numbers of the training that follows.

    >>> with preserved_random_state():
    ...     before = torch.rand(1)
    >>> bool(torch.rand(1) == before)
    True
    """
    states = [(generator, generator.get_state()) for loader in loaders for generator in generators_of(loader)]
    with random_state_kept():
        try:
            yield
        finally:
            for generator, state in states:
                generator.set_state(state)


def generators_of(loader: Any) -> list[torch.Generator]:
    """Return a loader's own sources of random numbers: its workers' seeds, and its samplers' order. No duplicates.

    >>> loader = torch.utils.data.DataLoader([1, 2], shuffle=True, generator=torch.Generator())
    >>> len(generators_of(loader))
    1
    """
    batches = getattr(loader, "batch_sampler", None)
    sources = (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None))
    found = [getattr(source, "generator", None) for source in sources]
    return list({id(generator): generator for generator in found if generator is not None}.values())
