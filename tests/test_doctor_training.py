"""The training doctor on network, loss, optimizer, scheduler and a few steps: each mistake planted, and none."""

import copy
import math
import random
from functools import cache
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Subset, TensorDataset
from torchvision import models

import tlhelpers as tl
from tlhelpers import diagnosis
from tlhelpers.diagnosis import losses, network, optimizers, probe, schedulers

WITHOUT_STEPS = (network, losses, optimizers, schedulers)
CLASSES, EPOCHS = 5, 3
FLOWERS = tl.data_dir() / "mini" / "five-flowers"


def seen_by(*files):
    """The doctor with these files of examinations only: the others have their own tests."""

    def doctor(*setup, **named):
        with mock.patch.object(diagnosis, "FILES", files):
            return diagnosis.doctor(*setup, **named)

    return doctor


doctor, quick, on_steps = seen_by(*WITHOUT_STEPS, probe), seen_by(*WITHOUT_STEPS), seen_by(probe)


@cache
def images():
    """Eight images of each of five flowers, in memory."""
    flowers = tl.image_folder(FLOWERS, tl.eval_transform(64))
    rows = [flowers.targets.index(label) + i for i in range(8) for label in range(CLASSES)]
    return TensorDataset(torch.stack([flowers[i][0] for i in rows]), torch.tensor([flowers.targets[i] for i in rows]))


@cache
def pretrained(arch="resnet10"):
    return models.get_model(arch, weights="DEFAULT")


def fresh(arch="resnet10", classes=CLASSES, start="stem"):
    tl.seed_everything(0)
    return tl.train_mode(tl.unfreeze_from(tl.replace_head(copy.deepcopy(pretrained(arch)), classes), start))


def loader(dataset=None, batch_size=6, **options):
    return tl.make_loader(dataset or images(), batch_size=batch_size, train=True, **options)


@cache
def features():
    body = copy.deepcopy(pretrained())
    tl.freeze(body)
    return tl.cache_features(body, DataLoader(images(), 40))


def adamw(model, lr=5e-4, **options):
    return torch.optim.AdamW(tl.trainable_parameters(model), lr=lr, **options)


def by_depth(model, lr=3e-3, factor=0.3, weight_decay=0.01):
    return torch.optim.AdamW(tl.parameter_groups(model, lr=lr, factor=factor, weight_decay=weight_decay))


def one_cycle(optimizer, steps):
    peaks = [group["lr"] for group in optimizer.param_groups]
    return lr_scheduler.OneCycleLR(optimizer, max_lr=peaks, total_steps=steps, pct_start=0.3)


def mlp(*end):
    tl.seed_everything(0)
    return nn.Sequential(nn.Linear(512, 64), nn.ReLU(), nn.Dropout(0.4), nn.Linear(64, CLASSES), *end)


# --- the right set-ups of the lessons


def head_on_a_frozen_body():
    model = fresh(start="head")
    return (model, loader(), None, adamw(model, 1e-2)), {}


def head_on_cached_rows():
    model = fresh(start="head")
    return (model.fc, loader(features(), 20), None, adamw(model.fc, 5e-3)), {}


def two_layers_and_nll():
    head = mlp(nn.LogSoftmax(dim=1))
    return (head, loader(features(), 20), None, adamw(head, 2e-3), nn.NLLLoss()), {}


def smoothed_loss():
    head = mlp()
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    return (head, loader(features(), 20), None, adamw(head, 5e-3), loss), {}


def all_at_one_rate():
    model = fresh()
    return (model, loader(), None, adamw(model)), {}


def by_depth_with_one_cycle():
    model, batches = fresh(), loader()
    optimizer = by_depth(model)
    scheduler = one_cycle(optimizer, EPOCHS * len(batches))
    return (model, batches, None, optimizer, None, scheduler), {"epochs": EPOCHS, "step_scheduler_every": "batch"}


def sgd_with_cosine_by_epoch():
    model = fresh(start="head")
    optimizer = torch.optim.SGD(tl.trainable_parameters(model), lr=0.01, momentum=0.9)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    return (model, loader(), None, optimizer, None, scheduler), {"epochs": EPOCHS, "step_scheduler_every": "epoch"}


def gradual_phase():
    model = fresh(start="layer4")
    return (model, loader(), None, adamw(model, 1e-3)), {}


def gradual_phase_on_the_tail():
    model = fresh(start="layer4")
    front, tail = tl.split_model(model, "layer4")
    with torch.no_grad():
        rows = TensorDataset(front.eval()(images().tensors[0]), images().tensors[1])
    return (tail, loader(rows), None, adamw(model, 1e-3)), {}


def mixed_batches():
    model = fresh()
    return (model, loader(collate_fn=tl.MixingCollate(CLASSES, mixup_alpha=0.2)), None, adamw(model)), {}


def batchnorm_keeps_its_statistics():
    model = tl.train_mode(fresh(), batchnorm="eval")
    return (model, loader(), None, adamw(model)), {}


def efficientnet():
    model = fresh("efficientnet_mini")
    return (model, loader(), None, by_depth(model, factor=0.8)), {}


def cached_images():
    files = Subset(tl.image_folder(FLOWERS), range(0, 600, 25))
    pixels = tl.cache_images(files, transform=tl.train_transform(64))
    model = fresh(start="head")
    return (model, loader(pixels), None, adamw(model, 1e-2)), {}


def list_of_batches():
    model = fresh(start="head")
    return (model, list(loader())[:2], None, adamw(model, 1e-2), lambda s, y: F.cross_entropy(s, y)), {}


RIGHT = (
    head_on_a_frozen_body, head_on_cached_rows, two_layers_and_nll, smoothed_loss, all_at_one_rate,
    by_depth_with_one_cycle, sgd_with_cosine_by_epoch, gradual_phase, gradual_phase_on_the_tail, mixed_batches,
    batchnorm_keeps_its_statistics, efficientnet, cached_images, list_of_batches,
)  # fmt: skip


@pytest.mark.parametrize("setup", RIGHT, ids=lambda setup: setup.__name__)
def test_a_right_set_up_is_left_in_peace(setup):
    given, named = setup()
    report = doctor(*given, **named)
    assert report.codes == [] and report.skipped == (), report


# --- the network


def test_eval_mode_matters_where_something_in_it_trains():
    (model, batches, _, optimizer), _ = gradual_phase()
    assert "eval-mode" not in quick(model, batches, None, optimizer)
    report = quick(model.eval(), batches, None, optimizer)
    assert report.codes == ["eval-mode"] and "3 layers (BatchNorm" in report["eval-mode"].seen
    # a linear head on a frozen body is the same in both modes
    assert quick(fresh(start="head").eval(), batches).codes == []
    assert quick(mlp().eval(), loader(features(), 20)).codes == ["eval-mode"]  # dropout


def test_frozen_batchnorm_in_train_mode_drifts():
    model = fresh(start="layer4")
    assert quick(model, loader()).codes == []
    report = quick(model.train(), loader())
    assert report.codes == ["frozen-batchnorm-drifts"] and report["frozen-batchnorm-drifts"].seen.startswith("9 frozen")


def test_everything_frozen():
    model = fresh()
    tl.freeze(model)
    report = doctor(model, loader(), None, torch.optim.SGD(model.parameters(), lr=0.01))
    assert report.codes == ["everything-frozen"]
    assert any("nothing trains" in reason for reason in report.skipped)
    assert "everything-frozen" not in quick(fresh(start="head"), loader())


def test_a_freeze_that_does_nothing():
    model = fresh()
    for parameter in model.layer1.parameters():
        parameter.requires_grad_ = False
    report = quick(model, loader())
    assert report.codes == ["freeze-without-effect"] and "layer1.0.conv1.weight" in report["freeze-without-effect"].seen
    for parameter in model.layer1.parameters():  # the name is right now, the old attribute hides nothing that matters
        parameter.requires_grad = False
    assert "freeze-without-effect" not in quick(model, loader())
    model = fresh()
    model.layer1.requires_grad = False  # an attribute of the module
    assert quick(model, loader())["freeze-without-effect"].fix == "tl.freeze(model.layer1)"
    assert "freeze-without-effect" not in quick(fresh(start="layer2"), loader())


def test_a_gradient_left_on_a_frozen_layer():
    model = fresh()
    optimizer = adamw(model)
    F.cross_entropy(model(images().tensors[0][:4]), torch.arange(4)).backward()
    model.layer1.requires_grad_(False)
    tl.train_mode(model)
    report = quick(model, loader(), None, optimizer)
    assert "leftover-gradient" in report and "6 frozen" in report["leftover-gradient"].seen
    assert "leftover-gradient" not in quick(model, loader(), None, adamw(model))  # it does not hold them
    tl.freeze(model.layer1, optimizer=optimizer)
    assert "leftover-gradient" not in quick(model, loader(), None, optimizer)


def test_the_head_must_fit_the_classes():
    named = images()
    with mock.patch.object(named, "classes", list("abcde"), create=True):
        assert quick(fresh(), loader()).codes == []
        report = quick(fresh(classes=6), loader())
        assert report.codes == ["head-size"] and report["head-size"].fix == "model = tl.replace_head(model, 5)"
        assert quick(nn.Linear(512, 4), loader(features(), 20)).codes == []  # these rows have no names
    report = quick(copy.deepcopy(pretrained()), loader())  # labels alone: the head was never replaced
    assert "head-size" in report and "472 scores, the largest label is 4" in report["head-size"].seen
    assert "head-size" not in quick(fresh(classes=6), loader())  # a class may be missing among the labels
    mixed = loader(collate_fn=tl.MixingCollate(CLASSES, mixup_alpha=0.2))
    assert "the soft labels have 5" in quick(fresh(classes=6), mixed)["head-size"].seen


def test_a_model_that_cannot_be_run():
    report = doctor(mlp(), loader(), None, adamw(mlp()))
    assert report.worst == "error" and "RuntimeError" in report["model-fails"].seen
    assert report.skipped == ("size of the head, head and loss, gradients, learning rate: the model cannot be run.",)
    bytes_ = TensorDataset((images().tensors[0] * 50).byte(), images().tensors[1])
    report = doctor(fresh(), loader(bytes_))
    assert "v2.ToDtype" in report["model-fails"].fix and "uint8" in report["model-fails"].seen
    assert "model-fails" not in quick(fresh(), loader())


# --- head and loss


class Inside(nn.Module):
    """The softmax is in the forward function, not a module."""

    def __init__(self, body, end):
        super().__init__()
        self.body, self.end = body, end

    def forward(self, x):
        return self.end(self.body(x), dim=1)


@pytest.mark.parametrize("loss", [None, nn.CrossEntropyLoss(label_smoothing=0.1), F.cross_entropy])
@pytest.mark.parametrize("inside", [True, False])
def test_a_softmax_before_cross_entropy(loss, inside):
    head = Inside(mlp(), F.softmax) if inside else mlp(nn.Softmax(dim=1))
    report = quick(head, loader(features(), 20), None, adamw(head), loss)
    assert report.codes == ["softmax-before-cross-entropy"]
    assert ("its last layer is Softmax" in report["softmax-before-cross-entropy"].seen) != inside
    head = Inside(mlp(), F.log_softmax) if inside else mlp(nn.LogSoftmax(dim=1))
    assert quick(head, loader(features(), 20), None, None, loss).codes == ["log-softmax-before-cross-entropy"]
    assert quick(mlp(), loader(features(), 20), None, None, loss).codes == []


@pytest.mark.parametrize(
    "loss", [nn.NLLLoss(), nn.NLLLoss(torch.ones(CLASSES)), F.nll_loss, lambda s, y: F.nll_loss(s, y)]
)
def test_raw_scores_into_nll(loss):
    rows = loader(features(), 20)
    assert quick(mlp(), rows, None, None, loss).codes == ["raw-scores-into-nll"]
    report = quick(mlp(nn.Softmax(dim=1)), rows, None, None, loss)
    assert report.codes == ["raw-scores-into-nll"] and "gives probabilities" in report["raw-scores-into-nll"].seen
    assert quick(mlp(nn.LogSoftmax(dim=1)), rows, None, None, loss).codes == []


def test_a_loss_that_is_neither_is_not_judged():
    report = quick(mlp(), loader(features(), 20), None, None, nn.MultiLabelSoftMarginLoss())
    assert report.codes == [] and "the loss cannot be computed" in str(report.skipped)
    report = quick(mlp(), loader(features(), 20), None, None, lambda scores, labels: scores.square().mean())
    assert report.codes == [] and "neither a cross-entropy nor" in str(report.skipped)


# --- the optimizer


def test_frozen_parameters_in_the_optimizer():
    model = fresh(start="head")
    report = quick(model, loader(), None, torch.optim.SGD(model.parameters(), lr=0.01))
    assert report.codes == ["frozen-in-optimizer"] and report.worst == "note"
    assert quick(model, loader(), None, torch.optim.SGD(model.fc.parameters(), lr=0.01)).codes == []


def test_trainable_parameters_that_the_optimizer_lacks():
    model = fresh()
    recipe = torch.optim.AdamW([{"params": getattr(model, f"layer{i}").parameters()} for i in (1, 2, 3, 4)], lr=1e-4)
    recipe.add_param_group({"params": model.fc.parameters()})
    report = quick(model, loader(), None, recipe)
    assert report.codes == ["not-in-optimizer"]
    assert report["not-in-optimizer"].seen == "3 parameters: conv1.weight, bn1.weight, bn1.bias"
    recipe.add_param_group({"params": [*model.conv1.parameters(), *model.bn1.parameters()]})
    assert quick(model, loader(), None, recipe).codes == []


def test_a_head_that_was_replaced_later():
    model = fresh()
    optimizer = adamw(model)
    tl.replace_head(model, CLASSES)
    report = quick(model, loader(), None, optimizer)
    assert report.codes == ["not-in-optimizer", "foreign-parameters"]
    assert "(5, 512), (5,)" in report["foreign-parameters"].seen
    loss = nn.CrossEntropyLoss()
    loss.scale = nn.Parameter(torch.ones(1))  # a loss may learn as well
    both = torch.optim.AdamW([*model.parameters(), loss.scale])
    assert quick(model, loader(), None, both, loss).codes == []
    assert quick(model, loader(), None, both).codes == ["foreign-parameters"]


def test_a_parameter_that_is_listed_twice():
    model = fresh()
    optimizer = by_depth(model)
    assert quick(model, loader(), None, optimizer).codes == []
    optimizer.param_groups[0]["params"].append(model.fc.weight)  # add_param_group would refuse it
    report = quick(model, loader(), None, optimizer)
    assert report.codes == ["listed-twice"] and report["listed-twice"].seen == "1 parameter: fc.weight"


def test_decay_on_norm_and_bias_is_a_note_where_it_was_chosen():
    model = fresh()
    report = quick(model, loader(), None, adamw(model, weight_decay=0.05))
    assert report.codes == ["decay-on-norm-and-bias"] and report.worst == "note"
    assert report["decay-on-norm-and-bias"].seen.startswith("0.05 on 12 norm layers and 1 bias: bn1")
    sgd = torch.optim.SGD(model.parameters(), lr=0.01, weight_decay=1e-4)
    assert quick(model, loader(), None, sgd).codes == ["decay-on-norm-and-bias"]
    assert quick(model, loader(), None, adamw(model)).codes == []  # AdamW's default of 0.01
    assert quick(model, loader(), None, by_depth(model, weight_decay=0.1)).codes == []
    head = fresh(start="head")
    assert quick(head, loader(), None, adamw(head, weight_decay=0.1)).codes == []


# --- the scheduler


def on_schedule(make, epochs=None, every=None, after=lambda optimizer: None):
    """The report on a head with a scheduler: 4 batches in an epoch."""
    head = mlp()
    optimizer = adamw(head, 2e-3)
    scheduler = make(optimizer)
    after(optimizer)
    run = {"epochs": epochs, "step_scheduler_every": every}
    return quick(head, loader(features(), 10), None, optimizer, None, scheduler, **run)


def cosine(steps):
    return lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)


def warm_up_then(steps):
    def make(optimizer):
        parts = [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4), cosine(steps - 4)(optimizer)]
        return lr_scheduler.SequentialLR(optimizer, parts, milestones=[4])

    return make


@pytest.mark.parametrize("make", [lambda steps: lambda o: one_cycle(o, steps), cosine, warm_up_then])
def test_the_scheduler_must_be_as_long_as_the_run(make):
    assert on_schedule(make(40), 10, "batch").codes == []
    assert on_schedule(make(10), 10, "epoch").codes == []
    assert on_schedule(make(20), 10, "batch").codes == ["scheduler-too-short"]
    assert on_schedule(make(80), 10, "batch").codes == ["scheduler-too-long"]
    report = on_schedule(make(40), 10, "epoch")
    assert report.codes == ["scheduler-too-long"]
    assert report["scheduler-too-long"].fix == 'tl.fit(..., step_scheduler_every="batch")'
    # the rhythm is not known: wrong only if it fits neither
    assert on_schedule(make(40), 10).codes == on_schedule(make(10), 10).codes == []
    assert on_schedule(make(20), 10).codes == ["scheduler-too-long"]
    assert on_schedule(make(50), 10).codes == ["scheduler-too-long"]


def test_without_the_epochs_only_what_is_certain_is_said():
    report = on_schedule(lambda optimizer: one_cycle(optimizer, 3), every="batch")
    assert report.codes == ["scheduler-too-short"] and "one epoch alone" in report["scheduler-too-short"].seen
    for every in (None, "epoch"):
        report = on_schedule(lambda optimizer: one_cycle(optimizer, 3), every=every)
        assert report.codes == [] and "epochs=..., step_scheduler_every=..." in str(report.skipped)


def test_schedulers_without_an_end():
    step = lambda size: lambda optimizer: lr_scheduler.StepLR(optimizer, step_size=size)  # noqa: E731
    decay = lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma=0.5)  # noqa: E731
    plateau = lr_scheduler.ReduceLROnPlateau
    assert on_schedule(step(3), 10, "epoch").codes == on_schedule(decay, 10, "epoch").codes == []
    report = on_schedule(step(30), 10, "epoch")
    assert report.codes == ["scheduler-too-long"] and "needs 31 steps" in report["scheduler-too-long"].seen
    assert on_schedule(plateau, 10, "epoch").codes == []
    report = on_schedule(decay, 10, "batch")  # 0.5 ** 40
    assert report.codes == ["scheduler-too-short"]
    assert report["scheduler-too-short"].fix == 'tl.fit(..., step_scheduler_every="epoch")'


def test_a_scheduler_that_does_not_belong():
    other = adamw(mlp())
    assert on_schedule(lambda _: one_cycle(other, 40), 10, "batch").codes == ["scheduler-of-another-optimizer"]

    def later(optimizer):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "lr": 1e-3})

    report = on_schedule(lambda optimizer: one_cycle(optimizer, 40), 10, "batch", after=later)
    assert (
        "groups-after-scheduler" in report and "knows 1 of the optimizer's 2" in report["groups-after-scheduler"].seen
    )
    decay = on_schedule(lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9), 10, "epoch", after=later)
    assert "groups-after-scheduler" not in decay  # it takes the new group along (lesson 04)


# --- a few steps


def on_rows(lr, make=torch.optim.AdamW, head=None):
    head = head or mlp()
    return on_steps(head, loader(features(), 20), None, make(head.parameters(), lr=lr))


@pytest.mark.parametrize("make, right", [(torch.optim.AdamW, 2e-3), (torch.optim.AdamW, 1e-2), (torch.optim.SGD, 5e-2)])
def test_a_hundred_times_the_rate_and_a_thousandth_of_it(make, right):
    assert on_rows(right, make).codes == on_rows(right / 5, make).codes == []
    assert on_rows(100 * right, make).codes == ["rate-too-high"]
    report = on_rows(right / 1000, make)
    assert report.codes == ["rate-too-low"] and f"{right / 1000:g}" in report["rate-too-low"].seen
    assert on_rows(1e-9, make).codes == on_rows(0.0, make).codes == ["rate-too-low"]


def test_a_usual_rate_is_not_called_too_low_because_a_small_head_starts_slowly():
    rows = loader(TensorDataset(features().features[:, :8], features().labels), 20)
    for lr, codes in ((1e-4, []), (1e-5, ["rate-too-low"])):
        head = nn.Linear(8, CLASSES)
        assert on_steps(head, rows, None, adamw(head, lr)).codes == codes


@pytest.mark.parametrize("setup, factor", [(all_at_one_rate, 100), (gradual_phase, 100), (all_at_one_rate, 1e-3)])
def test_rates_of_whole_networks(setup, factor):
    (model, batches, _, optimizer), _ = setup()
    for group in optimizer.param_groups:
        group["lr"] *= factor
    assert on_steps(model, batches, None, optimizer).codes == ["rate-too-high" if factor > 1 else "rate-too-low"]


def test_the_group_to_blame_is_named():
    model = fresh()
    body = [parameter for name, parameter in model.named_parameters() if not name.startswith("fc.")]
    head = {"params": model.fc.parameters(), "name": "head"}
    optimizer = torch.optim.AdamW([{"params": body, "lr": 1e-1, "name": "body"}, head], lr=1e-3)
    found = on_steps(model, loader(), None, optimizer)["rate-too-high"]
    assert found.seen.startswith("the group body learns at 0.1") and "param_groups[0]['lr'] = 0.001" in found.fix


def test_a_scheduler_counts_by_its_peak_and_not_by_its_start():
    (model, batches, _, optimizer, _, scheduler), _ = by_depth_with_one_cycle()
    assert optimizer.param_groups[-1]["lr"] < 2e-4 and diagnosis.case.Case  # OneCycle starts at a 25th of the peak
    case = diagnosis.case.Case(model, diagnosis.case.Part("training", batches), None, optimizer, None, scheduler)
    assert max(diagnosis.schedules.planned_peaks(case)) == pytest.approx(3e-3, rel=0.1)
    head = mlp()
    for factor, code in ((100, "rate-too-high"), (1e-3, "rate-too-low")):
        optimizer = adamw(head, 2e-3 * factor)
        report = on_steps(head, loader(features(), 20), None, optimizer, None, one_cycle(optimizer, 40))
        assert report.codes == [code]


def test_numbers_that_are_not_finite():
    model = fresh(start="head")
    assert "loss-not-finite" not in on_steps(model, loader(), None, adamw(model, 1e-2))
    with torch.no_grad():
        model.layer1[0].bn1.weight[0] = math.nan
    found = on_steps(model, loader(), None, adamw(model, 1e-2))["loss-not-finite"]
    assert "1 tensors of the model" in found.seen and "layer1.0.bn1.weight" in found.seen
    broken = images().tensors[0].clone()
    broken[:, 0] = math.inf
    found = on_steps(fresh(), loader(TensorDataset(broken, images().tensors[1])))["loss-not-finite"]
    assert "first batch of images" in found.seen
    explodes = lambda scores, labels: F.cross_entropy(scores, labels) * (1 + scores.sum() * 1e38)  # noqa: E731
    head = mlp()
    assert "loss-not-finite" in on_steps(head, loader(features(), 20), None, adamw(head, 1e-3), explodes).codes


class Cut(nn.Module):
    """A body and a head with something between them."""

    def __init__(self, between):
        super().__init__()
        self.body, self.head, self.between = nn.Linear(512, 16), nn.Linear(16, CLASSES), between

    def forward(self, x):
        return self.head(self.between(self.body(x)))


def test_parts_that_get_no_gradient():
    assert on_rows(2e-3, head=Cut(torch.relu)).codes == []
    report = on_rows(2e-3, head=Cut(torch.detach))
    assert report.codes == ["dead-gradients"] and report["dead-gradients"].seen.endswith("in 2 steps: body")
    zero = Cut(torch.relu)
    nn.init.zeros_(zero.head.weight)  # no gradient for the body in the first step, one in the second
    assert on_rows(2e-3, head=zero).codes == []
    asleep = nn.Sequential(nn.Linear(512, CLASSES), nn.ReLU())
    nn.init.constant_(asleep[0].bias, -100.0)
    assert "dead-gradients" in on_rows(2e-3, head=asleep)
    model = fresh()
    model.layer2.register_forward_hook(lambda module, inputs, output: output.detach())
    report = on_steps(model, loader())
    assert report.codes == ["dead-gradients"] and report["dead-gradients"].seen.endswith("stem, layer1, layer2")


def test_steps_that_cannot_be_taken_are_told():
    head = mlp()
    assert "a single image" in str(on_steps(fresh(), loader(batch_size=1)).skipped)
    assert "no optimizer" in str(on_steps(head, loader(features(), 20)).skipped)


# --- nothing changes


def fingerprint(model, optimizer, scheduler, batches):
    tensors = [*model.parameters(), *model.buffers()]
    state = [{key: group[key] for key in group if key != "params"} for group in optimizer.param_groups]
    memory = [[(key, value.tolist()) for key, value in optimizer.state[p].items()] for p in optimizer.state]
    plan = {key: repr(value) for key, value in scheduler.state_dict().items() if "anneal" not in key}
    luck = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]
    luck += [batches.generator.get_state().tolist(), batches.sampler.generator.get_state().tolist()]
    flags = [(p.requires_grad, p.grad is None, vars(p).copy()) for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    kept = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return [tensor.detach().clone() for tensor in tensors], kept, [state, memory, plan, luck, flags, modes]


@pytest.mark.parametrize("factor", [1, 100, 1e-3])
def test_nothing_changes_and_the_answer_is_the_same_again(factor):
    head, batches = mlp(nn.BatchNorm1d(CLASSES)), loader(features(), 20)
    optimizer = adamw(head, 2e-3 * factor)
    scheduler = one_cycle(optimizer, 40)
    F.cross_entropy(head(features().features), features().labels).backward()
    optimizer.step()
    scheduler.step()
    head[3].bias.requires_grad_(False)
    before = fingerprint(head, optimizer, scheduler, batches)
    reports = [doctor(head, batches, None, optimizer, None, scheduler, epochs=20) for _ in range(2)]
    after = fingerprint(head, optimizer, scheduler, batches)
    assert str(reports[0]) == str(reports[1]) and len(reports[0]) >= 1
    assert all(torch.equal(old, new) for old, new in zip(before[0], after[0], strict=True))
    for old, new in zip(before[1], after[1], strict=True):
        assert old is new is None or torch.equal(old, new)
    assert before[2] == after[2]
