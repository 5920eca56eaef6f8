"""Every check of lesson 03: says right to the solution, names the mistake in wrong answers, knows a blank."""

import math

import pytest
import torch
from answers import assert_wrong, result
from torch import nn
from torchvision import models
from torchvision.transforms import v2

import tlhelpers as tl

WEIGHTS = models.get_model_weights("resnet10").DEFAULT


def network():
    torch.manual_seed(0)
    return models.get_model("resnet10", weights=None, num_classes=10)


# --- 03.1 normalisation missing


class Photos(list):
    """A dataset of two images under a transform."""

    def __init__(self, transform):
        images = [torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))] * 2
        super().__init__((transform(v2.functional.to_pil_image(image)), 0) for image in images)
        self.transform = transform


def pipeline(*last, scale=True):
    return v2.Compose([v2.Resize(64), v2.CenterCrop(64), v2.ToImage(), v2.ToDtype(torch.float32, scale=scale), *last])


PRESET = WEIGHTS.transforms()
NORMALIZE = v2.Normalize(PRESET.mean, PRESET.std)


@pytest.mark.parametrize("transform", [PRESET, pipeline(NORMALIZE), tl.eval_transform(64, PRESET.mean, PRESET.std)])
def test_normalised_right(transform):
    assert result("03.1", Photos(transform), Photos(PRESET)).state == "right"


def test_normalised_blank():
    assert result("03.1", ..., Photos(PRESET)).state == "not attempted"


@pytest.mark.parametrize(
    ("transform", "mistake"),
    [
        (pipeline(), "normalisation missing"),
        (pipeline(scale=False), "from 0 to 255"),
        (pipeline(v2.Normalize([0.1] * 3, [0.2] * 3)), "was trained with mean and std"),
        (pipeline(NORMALIZE, NORMALIZE), "normalised twice"),
        (pipeline(NORMALIZE, v2.CenterCrop(32)), "the network wants (3, 64, 64)"),
        (v2.Resize(64), "not a tensor"),
    ],
)
def test_normalised_wrong(transform, mistake):
    assert_wrong("03.1", mistake, Photos(transform), Photos(PRESET))


# --- 03.2 the forgotten stem


def five_groups(model):
    rates = {"layer1": 1e-5, "layer2": 5e-5, "layer3": 1e-4, "layer4": 5e-4, "fc": 1e-3}
    return [{"params": list(getattr(model, name).parameters()), "lr": lr} for name, lr in rates.items()]


def stem(model, lr=5e-6, norm=True):
    return {"params": [*model.conv1.parameters(), *(model.bn1.parameters() if norm else [])], "lr": lr}


def test_groups_right():
    model = network()
    assert result("03.2", model, [stem(model), *five_groups(model)]).state == "right"
    assert result("03.2", model, [*five_groups(model), stem(model, 1e-5)]).state == "right"
    used = five_groups(model)
    torch.optim.AdamW(used)  # fills in its defaults, some of which are None
    assert result("03.2", model, [stem(model), *used]).state == "right"
    assert result("03.2", model, tl.parameter_groups(model, 1e-3, factor=0.3, weight_decay=0.01)).state == "right"


def test_groups_blank():
    assert result("03.2", network(), ...).state == "not attempted"
    assert result("03.2", network(), [{"params": ..., "lr": 1e-6}]).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (five_groups, "stem is in no group"),
        (lambda m: [stem(m, norm=False), *five_groups(m)], "only 1 of the 3 tensors of stem"),
        (lambda m: [stem(m, lr=1e-2), *five_groups(m)], "should never be faster"),
        (lambda m: [stem(m), *five_groups(m), stem(m)], "in two groups"),
        (lambda m: [{"params": m.conv1.parameters()}, *five_groups(m)], "a rate of its own"),
        (lambda m: [{"params": m.parameters(), "lr": 1e-3}], "all stages have the same rate"),
        (lambda m: [stem(network()), *five_groups(m)], "stem is in no group"),
        (lambda m: [{"params": [m.conv1, m.bn1], "lr": 1e-6}, *five_groups(m)], "one flat list of tensors"),
        (lambda m: [{"params": [m.bn1.parameters()], "lr": 1e-6}, *five_groups(m)], "one flat list of tensors"),
        (lambda m: stem(m), "the check cannot work with this answer"),
        (lambda m: 3, "the check cannot work with this answer"),
    ],
)
def test_groups_wrong(answer, mistake):
    model = network()
    assert_wrong("03.2", mistake, model, answer(model))


# --- 03.3 the rate that is too high


def two_groups(body_lr=None, lr=1e-3, kind=torch.optim.AdamW):
    model = network()
    body = [p for name, p in model.named_parameters() if not name.startswith("fc")]
    own = {} if body_lr is None else {"lr": body_lr}
    return model, kind([{"params": body, "name": "body", **own}, {"params": model.fc.parameters()}], lr=lr)


@pytest.mark.parametrize("answer", [two_groups(1e-4), two_groups(), two_groups(1e-2, 1e-2, torch.optim.SGD)])
def test_rate_right(answer):
    assert result("03.3", *answer).state == "right"


def test_rate_blank():
    assert result("03.3", network(), ...).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (two_groups(0.1), "rate too high: body learns at 0.1"),
        (two_groups(1e-4, lr=0.1), "rate too high: group 1 learns at 0.1"),
        (two_groups(1.0, kind=torch.optim.SGD), "with SGD anything above 0.1"),
        (two_groups(0.0), "body learns at 0: that is so low"),
        ((network(), torch.optim.AdamW(network().parameters())), "would not be trained any more"),
        ((network(), 1e-3), "the check cannot work with this answer"),
    ],
)
def test_rate_wrong(answer, mistake):
    assert_wrong("03.3", mistake, *answer)


# --- 03.4 the length of a schedule


def test_total_steps_right():
    assert result("03.4", lambda images, size, epochs: epochs * math.ceil(images / size)).state == "right"
    assert result("03.4", lambda images, size, epochs: -(-images // size) * epochs).state == "right"


def test_total_steps_blank():
    assert result("03.4", ...).state == "not attempted"
    assert result("03.4", lambda images, size, epochs: ...).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (lambda images, size, epochs: epochs, "that counts epochs"),
        (lambda images, size, epochs: math.ceil(images / size), "that is one epoch"),
        (lambda images, size, epochs: epochs * (images // size), "round up, not down"),
        (lambda images, size, epochs: math.ceil(epochs * images / size), "round up within each epoch"),
        (lambda images, size, epochs: float(epochs * math.ceil(images / size)), "it is a float"),
        (lambda images, size, epochs: images * epochs, "it gives 300: that should be 30"),
        (12, "give the function itself"),
    ],
)
def test_total_steps_wrong(answer, mistake):
    assert_wrong("03.4", mistake, answer)


# --- 03.5 train and eval mode


def validate(model, batches, into_eval=True):
    if into_eval:
        model.eval()
    with torch.no_grad():
        return sum((model(rows).argmax(1) == labels).float().mean().item() for rows, labels in batches) / len(batches)


def loop(before=None, each=tl.train_mode, into_eval=True, watch=True):
    def train_and_validate(model, train_batches, val_batches, optimizer, epochs):
        accuracies = []
        if before:
            before(model)
        for _ in range(epochs):
            if each:
                each(model)
            for rows, labels in train_batches:
                loss = nn.functional.cross_entropy(model(rows), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if watch:
                accuracies.append(validate(model, val_batches, into_eval))
        return accuracies

    return train_and_validate


def test_modes_right():
    assert result("03.5", loop()).state == "right"


def test_modes_blank():
    assert result("03.5", ...).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (loop(before=tl.train_mode, each=None), "from the second epoch on it trains in eval mode"),
        (loop(each=None), "trains in eval mode from the start"),
        (loop(into_eval=False), "runs in train mode"),
        (loop(watch=False), "validation is missing"),
        (loop(each=nn.Module.train), "plain model.train() wakes the frozen body"),
        (lambda *everything: [0.0] * 3, "0 training steps instead of 6"),
        (lambda *everything: loop()(*everything)[0], "return a list of 3 validation accuracies"),
    ],
)
def test_modes_wrong(answer, mistake):
    assert_wrong("03.5", mistake, answer)


# --- 03.6 frozen weights in the optimiser


def flag_only(layer, optimizer):
    for parameter in layer.parameters():
        parameter.requires_grad = False


def zeroed(layer, optimizer):
    flag_only(layer, optimizer)
    for parameter in layer.parameters():
        parameter.grad.zero_()


def by_hand(layer, optimizer):
    for parameter in layer.parameters():
        parameter.requires_grad = False
        parameter.grad = None


def everything(layer, optimizer):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad = False
            parameter.grad = None


def nothing_but_none(layer, optimizer):
    for parameter in layer.parameters():
        parameter.grad = None


@pytest.mark.parametrize("answer", [by_hand, lambda layer, optimizer: tl.freeze(layer, optimizer=optimizer)])
def test_freeze_now_right(answer):
    assert result("03.6", answer).state == "right"


def test_freeze_now_blank():
    assert result("03.6", ...).state == "not attempted"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (flag_only, "a gradient from before the freezing is left over"),
        (zeroed, "zeros count too"),
        (nothing_but_none, "still asks for gradients"),
        (everything, "now the head stands still as well"),
        (lambda layer: None, "the check cannot work with this answer"),
    ],
)
def test_freeze_now_wrong(answer, mistake):
    assert_wrong("03.6", mistake, answer)
