"""The learning-rate sweep: right rates, a sensible suggestion, and above all no trace."""

import copy
import math
import random

import numpy as np
import pytest
import torch
from tiny_networks import build, images
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import tlhelpers as tl
from tlhelpers import CourseError, LRSweep, lr_sweep


class Jittered(torch.utils.data.Dataset):
    """Images that change at random at each look, as augmentation makes them; all three sources of luck."""

    classes = [str(number) for number in range(10)]

    def __init__(self, count=24):
        self.images, self.labels = images(count), torch.arange(count) % 10

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        noise = torch.rand(1).item() + random.random() + np.random.rand()
        return self.images[index] * (1 + 0.1 * noise), self.labels[index]


class WithDropout(nn.Module):
    """A body with BatchNorm, a buffer that is not saved, dropout, and a head."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.flatten, self.drop, self.head = nn.Flatten(), nn.Dropout(0.3), nn.Linear(4, 10)
        self.register_buffer("seen", torch.zeros(1), persistent=False)

    def forward(self, x):
        if self.training:
            self.seen = self.seen + len(x)  # a new tensor in the place of the old one
        return self.head(self.drop(self.flatten(self.body(x))))


def setting(make_optimizer, workers=0, seed=0):
    tl.seed_everything(seed)
    model = WithDropout()
    loader = tl.make_loader(Jittered(), batch_size=8, train=True, seed=3, num_workers=workers)
    return model, loader, make_optimizer(model)


OPTIMIZERS = {
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1),
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2),
    "adamw_fused": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2, fused=True),
    "groups": lambda m: torch.optim.AdamW(
        [{"params": m.body.parameters(), "lr": 1e-3, "name": "body"}, {"params": m.head.parameters(), "lr": 1e-2}]
    ),
    "rmsprop": lambda m: torch.optim.RMSprop(m.parameters(), lr=1e-3),
}


def everything(model, optimizer, loader):
    """All that a sweep could leave behind, as things that can be compared bit for bit."""
    generators = [loader.generator, getattr(loader.sampler, "generator", None)]
    numbers = {id(p): number for number, p in enumerate(model.parameters())}
    return {
        "tensors": {name: t.detach().clone() for name, t in [*model.named_parameters(), *model.named_buffers()]},
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "flags": [p.requires_grad for p in model.parameters()],
        "state": {numbers[id(p)]: copy.deepcopy(s) for p, s in optimizer.state.items()},
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups],
        "held": [[id(p) for p in group["params"]] for group in optimizer.param_groups],
        "attributes": sorted(vars(optimizer)),
        "random": [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()],
        "generators": [None if g is None else g.get_state() for g in generators],
    }


def assert_same(a, b, where="all"):
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), where
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{number}]")
    else:
        assert a == b, where


def fitted(model, loader, optimizer, epochs=2):
    val = tl.make_loader(TensorDataset(images(10), torch.arange(10)), batch_size=5)
    history = tl.fit(model, loader, val, epochs=epochs, optimizer=optimizer, verbose=False)
    return history.train_loss, history.val_loss, copy.deepcopy(model.state_dict())


# --- no trace


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("has_history", [False, True], ids=["fresh", "has state"])
def test_nothing_is_left_behind(name, has_history):
    model, loader, optimizer = setting(OPTIMIZERS[name])
    if has_history:
        fitted(model, loader, optimizer)
        model.eval()
    before = everything(model, optimizer, loader)
    sweep = lr_sweep(model, loader, optimizer, steps=12, highest=10.0)
    assert len(sweep.rates) >= 5
    assert_same(before, everything(model, optimizer, loader))


@pytest.mark.parametrize(("name", "workers"), [*((name, 0) for name in OPTIMIZERS), ("adamw", 1)])
def test_a_fit_after_a_sweep_equals_a_fit_without(name, workers):
    plain = fitted(*setting(OPTIMIZERS[name], workers))
    model, loader, optimizer = setting(OPTIMIZERS[name], workers)
    lr_sweep(model, loader, optimizer, steps=7)
    assert_same(plain, fitted(model, loader, optimizer))


def test_a_fit_that_goes_on_after_a_sweep_in_between():
    model, loader, optimizer = setting(OPTIMIZERS["adamw"])
    fitted(model, loader, optimizer)
    plain = fitted(model, loader, optimizer)
    model, loader, optimizer = setting(OPTIMIZERS["adamw"])
    fitted(model, loader, optimizer)
    lr_sweep(model, loader, optimizer, steps=7)
    assert_same(plain, fitted(model, loader, optimizer))


class Trouble(nn.Module):
    """A loss that raises at its fourth call."""

    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, scores, labels):
        self.calls += 1
        if self.calls == 4:
            raise self.error
        return nn.functional.cross_entropy(scores, labels)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_nothing_is_left_behind_by_trouble(error):
    model, loader, optimizer = setting(OPTIMIZERS["adamw"])
    before = everything(model, optimizer, loader)
    with pytest.raises(type(error)):
        lr_sweep(model, loader, optimizer, Trouble(error), steps=12)
    assert_same(before, everything(model, optimizer, loader))


def test_nothing_is_left_behind_by_a_wreck():
    model, loader, optimizer = setting(OPTIMIZERS["sgd"])
    before = everything(model, optimizer, loader)
    sweep = lr_sweep(model, loader, optimizer, steps=30, lowest=1e-3, highest=1e30, smoothing=0.0)
    assert sweep.stopped.startswith("stopped") and len(sweep.rates) < 30
    assert all(math.isfinite(loss) for loss in sweep.losses)
    assert_same(before, everything(model, optimizer, loader))


def test_gradients_that_were_there_come_back_and_move_nothing():
    model, loader, optimizer = setting(OPTIMIZERS["sgd"])
    model.head.bias.requires_grad = False
    model.head.bias.grad = torch.ones_like(model.head.bias)
    during = []
    model.head.register_forward_hook(lambda module, *_: during.append(module.bias.detach().clone()))
    before = everything(model, optimizer, loader)
    lr_sweep(model, loader, optimizer, steps=6)
    assert all(torch.equal(bias, during[0]) for bias in during)
    assert_same(before, everything(model, optimizer, loader))


def test_a_scheduler_goes_on_as_if_nothing_had_been(recwarn):
    model, loader, optimizer = setting(OPTIMIZERS["groups"])
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=[1e-3, 1e-2], total_steps=10)
    before, schedule = everything(model, optimizer, loader), scheduler.state_dict()
    assert "initial_lr" in optimizer.param_groups[0]
    lr_sweep(model, loader, optimizer, steps=6)
    assert_same(before, everything(model, optimizer, loader))
    assert scheduler.state_dict() == schedule
    optimizer.step()
    scheduler.step()
    assert not [str(w.message) for w in recwarn if "lr_scheduler" in str(w.message)]


def test_the_loaders_own_workers_are_not_touched():
    model, loader, optimizer = setting(OPTIMIZERS["sgd"], workers=1)
    lr_sweep(model, loader, optimizer, steps=5)
    assert loader._iterator is None


# --- what happens inside


def test_rates_grow_evenly_on_a_log_axis_and_groups_keep_their_ratio():
    model, loader, optimizer = setting(OPTIMIZERS["groups"])
    seen = []
    model.register_forward_hook(lambda *_: seen.append([group["lr"] for group in optimizer.param_groups]))
    sweep = lr_sweep(model, loader, optimizer, lowest=1e-4, highest=1e-1, steps=7)
    assert sweep.rates == pytest.approx([1e-4 * 10 ** (i / 2) for i in range(7)])
    assert [row[1] for row in seen] == pytest.approx(sweep.rates)  # the head has the higher rate
    assert [row[0] / row[1] for row in seen] == pytest.approx([0.1] * 7)


def test_a_short_loader_is_gone_through_again():
    model, _, optimizer = setting(OPTIMIZERS["sgd"])
    batches = [(images(4), torch.arange(4))]
    assert len(lr_sweep(model, batches, optimizer, highest=1e-3, steps=9).rates) == 9


def test_the_running_average_is_corrected_for_its_start():
    model, loader, optimizer = setting(OPTIMIZERS["sgd"])
    sweep = lr_sweep(model, loader, optimizer, highest=1e-3, steps=8, smoothing=0.9)
    assert sweep.smoothed[0] == pytest.approx(sweep.losses[0])
    first, second = sweep.losses[:2]
    assert sweep.smoothed[1] == pytest.approx((0.09 * first + 0.1 * second) / 0.19)
    assert min(sweep.losses) <= sweep.smoothed[-1] <= max(sweep.losses)


def test_no_smoothing_is_the_losses():
    model, loader, optimizer = setting(OPTIMIZERS["sgd"])
    sweep = lr_sweep(model, loader, optimizer, highest=1e-3, steps=8, smoothing=0.0)
    assert sweep.smoothed == sweep.losses


@pytest.mark.parametrize(("policy", "moves"), [("train", True), ("eval", False)])
def test_frozen_parts_and_the_batchnorm_policy(policy, moves):
    net = build("resnet")
    tl.freeze(tl.stages(net)[0])
    optimizer = torch.optim.SGD(tl.trainable_parameters(net), lr=0.1)
    modes = []
    net.register_forward_hook(lambda m, *_: modes.append((m.bn1.training, m.layer1[0].bn1.training)))
    lr_sweep(net, [(images(4), torch.arange(4))], optimizer, highest=1e-3, steps=5, batchnorm=policy)
    assert set(modes) == {(False, moves)}


def test_soft_labels():
    model, _, optimizer = setting(OPTIMIZERS["adamw"])
    batches = [(images(4), torch.full((4, 10), 0.1))]
    assert lr_sweep(model, batches, optimizer, highest=1e-3, steps=5).losses[0] > 0


def test_it_finds_a_rate_that_learns():
    tl.seed_everything(0)
    rows = torch.randn(64, 20)
    labels = (rows @ torch.randn(20, 4)).argmax(1)
    model = nn.Linear(20, 4)
    loader = tl.make_loader(TensorDataset(rows, labels), batch_size=16, train=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    sweep = lr_sweep(model, loader, optimizer, lowest=1e-5, highest=1e3, steps=80)
    assert 1e-2 < sweep.suggestion() < 30
    assert "stopped" in sweep.stopped


# --- reading the curve


def curve(losses, first=-6.0, decades=6.0):
    rates = [10 ** (first + decades * i / (len(losses) - 1)) for i in range(len(losses))]
    return LRSweep(rates, losses, losses, "finished")


def test_suggestion_lies_on_the_slope_before_the_minimum():
    falling = [3 - 2 / (1 + math.exp(-(i - 30) / 4)) + max(0, i - 45) ** 2 / 40 for i in range(61)]
    sweep = curve(falling)
    assert sweep.suggestion() == pytest.approx(1e-3, rel=0.6)
    bottom = sweep.rates[falling.index(min(falling))]
    assert sweep.suggestion() <= bottom / 10


@pytest.mark.parametrize(
    "losses",
    [
        [2.0] * 60,
        [2.0 + 0.01 * i for i in range(60)],
        [2.0 + 0.1 * math.sin(1.9 * i) for i in range(60)],
        [2.0, 1.0],
        [5.0, 1.0] + [1.0 + 0.1 * i for i in range(58)],
    ],
    ids=["flat", "rising", "noise", "too short", "fell at the very start"],
)
def test_no_suggestion_when_the_loss_never_fell(losses):
    assert curve(losses).suggestion() is None


def test_table_has_the_ends_and_says_how_it_ended():
    lines = curve([float(i) for i in range(60)]).table(rows=10).splitlines()
    assert lines[0].split() == ["rate", "loss", "smoothed"]
    assert lines[1].split()[0] == "1e-06" and lines[-2].split()[0] == "1" and lines[-1] == "finished"
    assert len(lines) <= 13


# --- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lowest": 0}, "lowest=0"),
        ({"lowest": 1.0, "highest": 0.1}, "below highest=0.1"),
        ({"steps": 3}, "steps=3"),
        ({"smoothing": 1.0}, "smoothing=1.0"),
        ({"blow_up": 1}, "blow_up=1"),
        ({"batchnorm": "frozen"}, "batchnorm='frozen'"),
    ],
)
def test_settings_that_cannot_work(arguments, message):
    model, loader, optimizer = setting(OPTIMIZERS["sgd"])
    with pytest.raises(CourseError, match=message):
        lr_sweep(model, loader, optimizer, **arguments)


def test_wrong_partners():
    model, loader, _ = setting(OPTIMIZERS["sgd"])
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(CourseError, match="none of the model's trainable parameters"):
        lr_sweep(model, loader, other)
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    with pytest.raises(CourseError, match="All rates of the optimizer are 0"):
        lr_sweep(model, loader, still)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(CourseError, match="only once"):
        lr_sweep(model, iter([(images(4), torch.arange(4))]), optimizer)
    with pytest.raises(CourseError, match="yields nothing"):
        lr_sweep(model, [], optimizer)
    with pytest.raises(CourseError, match="out of range"):
        lr_sweep(model, [(images(2), torch.tensor([0, 10]))], optimizer)
    with pytest.raises(CourseError, match="not a finite number, before any step"):
        lr_sweep(model, [(images(2) * float("nan"), torch.tensor([0, 1]))], optimizer)


def test_a_foreign_dataloader_without_generators_works():
    model, _, optimizer = setting(OPTIMIZERS["sgd"])
    loader = DataLoader(Jittered(), batch_size=8, shuffle=True)
    before = everything(model, optimizer, loader)
    lr_sweep(model, loader, optimizer, steps=5)
    assert_same(before, everything(model, optimizer, loader))
