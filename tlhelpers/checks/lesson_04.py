"""Checks of lesson 04: order of the phases, optimiser and scheduler of a phase, BatchNorm, cache size, best epoch."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..backbones import efficientnet_mini, resnet10
from ..freezing import freeze, unfreeze
from ..models import stages
from . import attempted, exercise, require

FILL_IN = "the function returns nothing yet: fill it in and run the cell again"


def _network(build=resnet10) -> nn.Module:
    torch.manual_seed(0)
    return build(weights=None, num_classes=3)


@exercise("04.1", expects="a function that takes a network and returns a list of stage names")
def check_staircase(staircase):
    attempted(staircase)
    require(callable(staircase), "give the function itself, staircase, not what it returns")
    for build in (resnet10, efficientnet_mini):
        model = _network(build)
        parts = stages(model)
        with_parameters = [part.name for part in parts if any(True for _ in part.parameters())]
        got = staircase(model)
        attempted(got, todo=FILL_IN)
        got = [getattr(item, "name", item) for item in got]
        kind = type(model).__name__
        require(
            got and got[0] != parts[0].name,
            f"for a {kind} the first phase starts at {got[:1]}: from there on everything trains, and nothing is left "
            "to unfreeze. Begin with the head",
        )
        require(
            "pool" not in got,
            "pool has no parameters: a phase that starts there unfreezes nothing new. Leave such stages out",
        )
        require(set(got) == set(with_parameters), f"for a {kind} expected the stages {with_parameters}, got {got}")
        require(
            got == with_parameters[::-1],
            f"for a {kind} the order is {got}: each phase must start one stage earlier than the one before",
        )
    return "from the head one stage earlier each time, for any network that stages() knows"


@exercise("04.2", expects="a function (model, name, lr, steps) that returns an optimiser and a scheduler")
def check_next_phase(next_phase):
    attempted(next_phase)
    require(callable(next_phase), "give the function itself, next_phase, not what it returns")
    model = _network()
    freeze(model)
    unfreeze(stages(model)[-1])
    got = next_phase(model, "layer4", 0.01, 12)
    attempted(got, todo=FILL_IN)
    require(isinstance(got, tuple) and len(got) == 2, "return two things: optimizer, scheduler")
    optimizer, scheduler = got
    require(isinstance(optimizer, torch.optim.Optimizer), "the first thing returned is no optimiser")
    require(hasattr(scheduler, "step"), "the second thing returned is no scheduler")
    training = [p for p in model.parameters() if p.requires_grad]
    late = sum(1 for part in stages(model)[-3:] for _ in part.parameters())
    require(len(training) == late, f"{len(training)} tensors train, expected {late}: unfreeze_from(model, name)")
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    require(
        not held > {id(p) for p in training},
        f"the optimiser holds {len(held)} tensors, but only {len(training)} train: give it the trainable ones, "
        "tl.trainable_parameters(model)",
    )
    require(
        held == {id(p) for p in training},
        f"the optimiser holds {len(held)} tensors, but {len(training)} train: make it after the unfreezing",
    )
    require(getattr(scheduler, "optimizer", None) is optimizer, "the scheduler belongs to another optimiser")
    rates = _rates_of(optimizer, scheduler, steps=12)
    require(
        all(len(set(row)) == 1 for row in rates),
        "the groups run at different rates under the scheduler: it was made before the new group came",
    )
    highest = max(max(row) for row in rates)
    require(math.isclose(highest, 0.01, rel_tol=0.2), f"the highest rate is {highest:g}, lr says 0.01: max_lr=lr")
    require(rates[0][0] < 0.5 * highest, "there is no warm-up: OneCycleLR starts low by itself")
    return "unfreeze, then the optimiser, then the scheduler: all parameters follow one schedule from its first step"


def _rates_of(optimizer, scheduler, steps: int) -> list[list[float]]:
    rates = []
    for step in range(steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        try:
            if step < steps - 1:
                scheduler.step()
        except (KeyError, ValueError) as error:
            late = isinstance(error, ValueError) and step > 0
            require(not late, f"the scheduler ends after {step} steps: total_steps=steps")
            require(
                False,
                f"the scheduler stops at its first step ({type(error).__name__}: {error}): it was made before "
                "add_param_group. Make it last",
            )
    return rates


@exercise("04.3", expects="a function (model, optimizer, images, labels) that takes one training step")
def check_phase_step(phase_step):
    attempted(phase_step)
    require(callable(phase_step), "give the function itself, phase_step, not what it returns")
    model = _network()
    parts = stages(model)
    cut = [part.name for part in parts].index("layer4")
    freeze(parts[:cut])
    images, labels = torch.randn(6, 3, 64, 64), torch.tensor([0, 1, 2, 0, 1, 2])
    model.eval()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    phase_step(model, optimizer, images, labels)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    late = {name for name in moved if name.startswith(("layer4", "fc"))}
    drifted = sorted(name for name in moved - late if "running" in name or "num_batches" in name)
    require(
        not drifted,
        f"{len(drifted)} buffers of frozen stages moved, {drifted[0] if drifted else ''} for one: frozen BatchNorm was "
        "in train mode. tl.train_mode puts frozen parts into eval mode",
    )
    require(
        not moved - late, f"{sorted(moved - late)[:1]} is frozen and moved: the optimiser may only hold what trains"
    )
    require("fc.weight" in late, "the head did not move: the step itself (backward, optimizer.step) must stay")
    require(
        any("running_mean" in name for name in late),
        "now layer4's BatchNorm rests as well, though layer4 trains: model.eval() is too much, tl.train_mode is right",
    )
    return "frozen stages stayed as they were to the last bit, layer4 and the head learned"


@exercise("04.4", expects="a function (images, shape, views=1) that returns GB")
def check_cache_gb(cache_gb):
    attempted(cache_gb)
    require(callable(cache_gb), "give the function itself, cache_gb, not what it returns")
    images, shape, views = 1000, (64, 16, 16), 3
    got, one = cache_gb(images, shape, views=views), cache_gb(images, shape)
    attempted(got, one, todo=FILL_IN)
    right = images * views * 64 * 16 * 16 * 4 / 1e9
    got, one = float(got), float(one)

    def near(value: float) -> bool:
        return math.isclose(got, value, rel_tol=1e-6)

    require(not near(right / 4), "that counts numbers, not bytes: a float32 takes 4 of them")
    require(not near(right / 3), "the views are missing: each look at an image is stored for itself")
    require(not near(right / images), "that is the size for one image: multiply by the number of images")
    require(not near(right * 1e9), "that is in bytes: divide by 1e9 for GB")
    require(not near(right * 1e3), "that is in MB: divide by 1e9 for GB")
    require(not near(right * 1e9 / 2**30), "that divides by 2**30 (GiB): the task says 10**9 bytes")
    require(near(right), f"for 1000 images of shape {shape} and 3 views it gives {got:g}, expected {right:.4f}")
    require(math.isclose(one, right / 3, rel_tol=1e-6), "without views= it should count one look at each image")
    large = cache_gb(20000, (64, 16, 16), 4)
    return f"20,000 images, 4 views, before layer1 at 64 pixels: {float(large):.1f} GB, so cut later"


@exercise("04.5", expects="a function that takes a list of pairs (validation loss, weights)")
def check_handed_over(handed_over):
    attempted(handed_over)
    require(callable(handed_over), "give the function itself, handed_over, not what it returns")
    states = [{"weight": torch.full((2,), float(k))} for k in range(4)]

    def chosen(losses: list[float]) -> int:
        try:
            got = handed_over(list(zip(losses, states, strict=False)))
        except (RuntimeError, TypeError) as error:
            require(
                "ambiguous" not in str(error) and "not supported between" not in str(error),
                "of two equal losses Python goes on to compare the weights: look at the loss only, "
                "key=lambda epoch: epoch[0]",
            )
            raise
        attempted(got, todo=FILL_IN)
        require(isinstance(got, dict), f"it returns a {type(got).__name__}: return the weights, not the loss or a pair")
        return int(got["weight"][0])

    answer = chosen([1.0, 0.4, 0.9])
    require(answer != 2, "that is the last epoch, with a loss of 0.9: the second one had 0.4")
    require(answer != 0, "that is the first or the worst epoch: the lowest loss is the best")
    require(answer == 1, f"expected the epoch with the lowest loss, the second; got number {answer + 1}")
    require(chosen([0.3, 0.4]) == 0 and chosen([0.9, 0.8, 0.7, 0.6]) == 3, "it must find the lowest loss anywhere")
    require(chosen([0.5, 0.5]) == 0, "of equal losses keep the earlier epoch, as tl.fit does")
    return "each phase starts from the best epoch of the one before, whatever its last epoch did"
