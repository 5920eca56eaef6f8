"""Every check of lesson 07: says right to the solution, names the mistake in wrong answers, knows a blank."""

import pytest
import torch
from answers import assert_wrong, result
from torch import nn
from torchvision import transforms as v1
from torchvision.transforms import v2

# --- 07.1 three heads by hand


def replace(resnet=True, vgg="last", vit="last"):
    """A by_hand that makes the named mistake in one network."""

    def by_hand(r, v, t, classes):
        if resnet:
            r.fc = nn.Linear(r.fc.in_features, classes)
        if vgg == "whole":
            v.classifier = nn.Linear(1024, classes)
        elif vgg == "renamed":
            v.fc = nn.Linear(512, classes)
        elif vgg == "behind":
            v.classifier.append(nn.Linear(v.classifier[6].out_features, classes))
        elif vgg == "number":
            v.classifier[6].out_features = classes
        elif vgg == "wrong width":
            v.classifier[6] = nn.Linear(4096, classes)
        elif vgg:
            v.classifier[6] = nn.Linear(v.classifier[6].in_features, classes)
        if vit == "number":
            t.heads.head.out_features = classes
        elif vit == "renamed":
            t.head = nn.Linear(t.heads.head.in_features, classes)
        elif vit == "wrong number":
            t.heads.head = nn.Linear(t.heads.head.in_features, classes + 1)
        elif vit == "whole":
            t.heads = nn.Linear(t.heads.head.in_features, classes)
        elif vit:
            t.heads.head = nn.Linear(t.heads.head.in_features, classes)

    return by_hand


def test_three_heads_right():
    assert result("07.1", replace()).state == "right"
    assert result("07.1", replace(vit="whole")).state == "right"  # another way to the same network


def test_three_heads_blank():
    assert result("07.1", ...).state == "not attempted"
    assert result("07.1", replace(vgg="", vit="")).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (replace(vgg="whole"), "hidden layers with it"),
        (replace(vgg="behind"), "a second layer behind the old head"),
        (replace(vgg="number", vit="number"), "the weights were not"),
        (replace(vit="number"), "in vit the number was changed"),
        (replace(vgg="renamed"), "vgg still gives 7 scores"),
        (replace(vgg="wrong width"), "vgg cannot run any more"),
        (replace(vit="renamed"), "put it at vit.heads.head"),
        (replace(vit="wrong number"), "vit gives 5 scores for 4 classes"),
        (replace(resnet=False), "resnet still gives 7 scores"),
        (3, "give the function itself"),
    ],
)
def test_three_heads_wrong(answer, mistake):
    assert_wrong("07.1", mistake, answer)


# --- 07.2 the stopwatch


def stopwatch(evaluate=True, no_grad=True, warm=True, images_counted=True):
    def speed(network, images, clock):
        network.train(not evaluate)
        with torch.set_grad_enabled(not no_grad):
            if warm:
                network(images)
            start = clock()
            for _ in range(5):
                network(images)
        return 5 * (len(images) if images_counted else 1) / (clock() - start)

    return speed


def one_block(before, count):
    """A speed with five passes, or one and five, all measured, that counts the images as `count` says."""

    def speed(network, images, clock):
        network.eval()
        with torch.no_grad():
            start = clock()
            for _ in range(before + 5):
                network(images)
        return count(images) / (clock() - start)

    return speed


def warmed(count):
    def speed(network, images, clock):
        network.eval()
        with torch.no_grad():
            network(images)
            start = clock()
            for _ in range(5):
                network(images)
        return count(images) / (clock() - start)

    return speed


def test_stopwatch_right():
    assert result("07.2", stopwatch()).state == "right"


def test_stopwatch_blank():
    assert result("07.2", ...).state == "not attempted"
    assert result("07.2", lambda network, images, clock: ...).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (stopwatch(evaluate=False, no_grad=False, warm=False, images_counted=False), "training mode"),  # as handed over
        (stopwatch(no_grad=False), "notes for gradients"),
        (stopwatch(warm=False), "the first pass is in the measurement"),
        (stopwatch(warm=False, images_counted=False), "the first pass is in the measurement"),
        (one_block(1, lambda images: 5 * len(images)), "the first pass is in the measurement"),
        (one_block(0, len), "the first pass is in the measurement"),
        (warmed(len), "the images of one pass"),
        (stopwatch(images_counted=False), "batches a second"),
        (lambda network, images, clock: 7.0, "one pass alone"),
    ],
)
def test_stopwatch_wrong(answer, mistake):
    assert_wrong("07.2", mistake, answer)


# --- 07.3 the rate goes down stairs


def stairs(steps, gamma=0.1):
    return lambda optimizer, epochs: torch.optim.lr_scheduler.MultiStepLR(
        optimizer, milestones=steps(epochs), gamma=gamma
    )


def half_and_three_quarters(epochs):
    return [epochs // 2, epochs * 3 // 4]


def test_stairs_right():
    assert result("07.3", stairs(half_and_three_quarters)).state == "right"

    def by_lambda(optimizer, epochs):
        rate = lambda e: 1.0 if e < epochs // 2 else 0.1 if e < epochs * 3 // 4 else 0.01  # noqa: E731
        return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    assert result("07.3", by_lambda).state == "right"


def test_stairs_blank():
    assert result("07.3", ...).state == "not attempted"
    assert result("07.3", lambda optimizer, epochs: ...).state == "not attempted"
    assert result("07.3", stairs(lambda epochs: ..., gamma=...)).state == "not attempted"
    assert result("07.3", stairs(half_and_three_quarters, gamma=...)).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (stairs(lambda epochs: [0.5, 0.75]), "the rate never changes"),
        (stairs(half_and_three_quarters, gamma=10), "goes up the stairs"),
        (stairs(half_and_three_quarters, gamma=0.5), "the last should be a hundredth"),
        (stairs(lambda epochs: [epochs // 2]), "the last should be a hundredth"),
        (stairs(lambda epochs: [epochs // 2 - 1, epochs * 3 // 4 - 1]), "half of them at 1"),
        (stairs(lambda epochs: [4, 6]), "with 20 epochs"),
        (stairs(lambda epochs: [epochs / 2, epochs * 3 / 4]), "no epoch has the number 7.5"),
        (lambda optimizer, epochs: 0.1, "return the scheduler"),
    ],
)
def test_stairs_wrong(answer, mistake):
    assert_wrong("07.3", mistake, answer)


# --- 07.4 from config to transform


def pipeline(resize=lambda size, share: int(size / share), normalize=lambda c: v2.Normalize(c["mean"], c["std"])):
    def from_config(config):
        size = config["input_size"][1]
        steps = [v2.Resize(resize(size, config["crop_pct"])), v2.CenterCrop(size), v2.ToImage()]
        return v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True), normalize(config)])

    return from_config


def test_from_config_right():
    assert result("07.4", pipeline()).state == "right"


def by_v1(config):
    to_float = v1.Normalize(config["mean"], config["std"])
    return v1.Compose([v1.Resize(68), v1.CenterCrop(60), v1.ToTensor(), to_float])


def tensor_first(config):
    to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    normalize = v2.Normalize(config["mean"], config["std"])
    return v2.Compose([to_tensor, v2.Resize(68), v2.CenterCrop(60), normalize])


def bicubic(config):
    resize = v2.Resize(68, interpolation=v2.InterpolationMode.BICUBIC)
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    return v2.Compose([resize, v2.CenterCrop(60), *to_tensor, v2.Normalize(config["mean"], config["std"])])


def by_timm(config):
    from timm.data import create_transform

    return create_transform(**config | {"interpolation": "bicubic"}, is_training=False)


@pytest.mark.parametrize("answer", [by_v1, tensor_first, bicubic, by_timm])
def test_from_config_other_ways(answer):
    if answer is by_timm:
        pytest.importorskip("timm")
    assert result("07.4", answer).state == "right"


def test_from_config_blank():
    assert result("07.4", ...).state == "not attempted"
    assert result("07.4", lambda config: ...).state == "not attempted"
    assert result("07.4", pipeline(resize=lambda size, share: ...)).state == "not attempted"
    assert result("07.4", pipeline(normalize=lambda config: ...)).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (pipeline(resize=lambda size, share: size), "crop_pct is not used"),
        (pipeline(resize=lambda size, share: int(size * share)), "divide by crop_pct"),
        (pipeline(resize=lambda size, share: round(size / share)), "rounded down"),
        (pipeline(resize=lambda size, share: size / share), "a whole number of pixels: int(...)"),
        (pipeline(resize=lambda size, share: (68, 68)), "squash"),
        (pipeline(normalize=lambda c: v2.Identity()), "not normalised yet"),
        (pipeline(normalize=lambda c: v2.Normalize(c["std"], c["mean"])), "changed places"),
        (pipeline(normalize=lambda c: v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))), "ImageNet's"),
        (lambda config: 3, "return the transform"),
    ],
)
def test_from_config_wrong(answer, mistake):
    assert_wrong("07.4", mistake, answer)


# --- 07.5 the fair board


def make_board(keep=lambda values: sum(values) / len(values), shift=0):
    def board(backbones, accuracy, seeds):
        return {
            name: keep([accuracy(name, seed + shift * number) for seed in seeds])
            for number, name in enumerate(backbones)
        }

    return board


def test_board_right():
    assert result("07.5", make_board()).state == "right"


def test_board_blank():
    assert result("07.5", ...).state == "not attempted"
    assert result("07.5", lambda backbones, accuracy, seeds: ...).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (make_board(max, shift=10), "different splits"),  # as handed over
        (make_board(shift=10), "different splits"),
        (make_board(max), "the best seed is kept"),
        (make_board(sum), "their mean is 0.6"),
        (make_board(lambda values: sorted(values)[1]), "0.4, 0.4, 0.9 it gives 0.4: their mean is 0.5667"),
        (make_board(list), "one number per backbone, their mean"),
        (
            lambda backbones, accuracy, seeds: {n: accuracy(n, seeds[0]) for n in backbones},
            "all the seeds you were given",
        ),
        (lambda backbones, accuracy, seeds: {"a": 0.6}, "return a dictionary"),
        (lambda backbones, accuracy, seeds: {"a": 0.6, "b": 0.6, "c": 0.6}, "never asked"),
    ],
)
def test_board_wrong(answer, mistake):
    assert_wrong("07.5", mistake, answer)
