"""Every check of lesson 04: says right to the solution, names the mistake in wrong answers, knows a blank."""

import pytest
import torch
from answers import assert_wrong, result
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torchvision import models

import tlhelpers as tl


def network():
    torch.manual_seed(0)
    return models.get_model("resnet10", weights=None, num_classes=12)


def adamw(model, lr=1e-3):
    return torch.optim.AdamW(tl.trainable_parameters(model), lr=lr)


@pytest.mark.parametrize("number", ["04.1", "04.2", "04.3", "04.4", "04.5"])
def test_blanks(number):
    assert result(number, ...).state == "not attempted"
    if number != "04.3":
        assert result(number, lambda *args, **named: ...).state == "not attempted"


# --- 04.1 the order of the phases


def test_staircase_right():
    assert (
        result("04.1", lambda model: [s.name for s in reversed(tl.stages(model)) if list(s.parameters())]).state
        == "right"
    )
    # stages instead of their names are as good
    assert result("04.1", lambda m: [s for s in reversed(tl.stages(m)) if list(s.parameters())]).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda m: [s.name for s in tl.stages(m)], "from there on everything trains"),
        (lambda m: [s.name for s in reversed(tl.stages(m))], "pool has no parameters"),
        (lambda m: ["head", "layer4", "layer3", "layer2", "layer1", "stem"], "for a EfficientNet expected"),
        (lambda m: ["head", *[s.name for s in tl.stages(m) if s.name not in ("pool", "head")]], "one stage earlier"),
    ],
)
def test_staircase_wrong(answer, mistake):
    assert_wrong("04.1", mistake, answer)


# --- 04.2 optimiser and scheduler of a phase


def next_phase(model, name, lr, steps):
    tl.unfreeze_from(model, name)
    optimizer = adamw(model, lr)
    return optimizer, OneCycleLR(optimizer, max_lr=lr, total_steps=steps)


def test_next_phase_right():
    assert result("04.2", next_phase).state == "right"


def trap(scheduler):
    def phase(model, name, lr, steps):
        optimizer = adamw(model, lr)
        scheduled = scheduler(optimizer, lr, steps)
        old = {id(p) for p in tl.trainable_parameters(model)}
        tl.unfreeze_from(model, name)
        new = [p for p in tl.trainable_parameters(model) if id(p) not in old]
        optimizer.add_param_group({"params": new, "lr": lr})
        return optimizer, scheduled

    return phase


def test_next_phase_with_the_trap():
    one_cycle = trap(lambda o, lr, steps: OneCycleLR(o, max_lr=lr, total_steps=steps))
    assert_wrong("04.2", "it was made before add_param_group", one_cycle)
    # a scheduler that does not stop runs the groups at different rates
    cosine = trap(lambda o, lr, steps: torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=steps))
    assert_wrong("04.2", "different rates", cosine)


def test_next_phase_other_mistakes():
    def early_optimizer(model, name, lr, steps):
        optimizer = adamw(model, lr)
        tl.unfreeze_from(model, name)
        return optimizer, OneCycleLR(optimizer, max_lr=lr, total_steps=steps)

    def not_unfrozen(model, name, lr, steps):
        optimizer = adamw(model, lr)
        return optimizer, OneCycleLR(optimizer, max_lr=lr, total_steps=steps)

    def too_short(model, name, lr, steps):
        tl.unfreeze_from(model, name)
        optimizer = adamw(model, lr)
        return optimizer, OneCycleLR(optimizer, max_lr=lr, total_steps=steps // 2)

    def other_optimizer(model, name, lr, steps):
        tl.unfreeze_from(model, name)
        return adamw(model, lr), OneCycleLR(adamw(model, lr), max_lr=lr, total_steps=steps)

    def everything_held(model, name, lr, steps):
        tl.unfreeze_from(model, name)
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        return optimizer, OneCycleLR(optimizer, max_lr=lr, total_steps=steps)

    assert_wrong("04.2", "give it the trainable ones", everything_held)
    assert_wrong("04.2", "make it after the unfreezing", early_optimizer)
    assert_wrong("04.2", "unfreeze_from(model, name)", not_unfrozen)
    assert_wrong("04.2", "total_steps=steps", too_short)
    assert_wrong("04.2", "another optimiser", other_optimizer)


# --- 04.3 a step that leaves frozen stages alone


def step(to_mode):
    def phase_step(model, optimizer, images, labels):
        to_mode(model)
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return phase_step


def test_phase_step_right():
    assert result("04.3", step(tl.train_mode)).state == "right"


def test_phase_step_wrong():
    assert_wrong("04.3", "buffers of frozen stages moved", step(nn.Module.train))
    assert_wrong("04.3", "model.eval() is too much", step(nn.Module.eval))
    assert_wrong("04.3", "the head did not move", lambda model, *_: tl.train_mode(model))


# --- 04.4 the size of a cache


def test_cache_gb_right():
    assert result("04.4", lambda n, s, views=1: n * views * s[0] * s[1] * s[2] * 4 / 1e9).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda n, s, views=1: n * views * s[0] * s[1] * s[2] / 1e9, "not bytes"),
        (lambda n, s, views=1: n * s[0] * s[1] * s[2] * 4 / 1e9, "views are missing"),
        (lambda n, s, views=1: views * s[0] * s[1] * s[2] * 4 / 1e9, "one image"),
        (lambda n, s, views=1: n * views * s[0] * s[1] * s[2] * 4, "in bytes"),
        (lambda n, s, views=1: n * views * s[0] * s[1] * s[2] * 4 / 1e6, "in MB"),
        (lambda n, s, views=1: n * views * s[0] * s[1] * s[2] * 4 / 2**30, "GiB"),
        (lambda n, s, views=1: 1.0, "expected 0.1966"),
    ],
)
def test_cache_gb_wrong(answer, mistake):
    assert_wrong("04.4", mistake, answer)


# --- 04.5 the best epoch goes on


def test_handed_over_right():
    assert result("04.5", lambda epochs: min(epochs, key=lambda epoch: epoch[0])[1]).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda epochs: epochs[-1][1], "the last epoch"),
        (lambda epochs: max(epochs, key=lambda epoch: epoch[0])[1], "the lowest loss is the best"),
        (lambda epochs: min(epochs, key=lambda epoch: epoch[0]), "not the loss or a pair"),
        (lambda epochs: epochs[1][1], "anywhere"),
        (lambda epochs: min(epochs)[1], "look at the loss only"),
        (lambda epochs: min(reversed(epochs), key=lambda epoch: epoch[0])[1], "keep the earlier"),
    ],
)
def test_handed_over_wrong(answer, mistake):
    assert_wrong("04.5", mistake, answer)
