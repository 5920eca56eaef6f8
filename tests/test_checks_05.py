"""Every check of lesson 05: says right to the solution, names the mistake in wrong answers, knows a blank."""

import pytest
import torch
from answers import assert_wrong, result
from torch import nn
from torch.nn import functional as F

import tlhelpers as tl

BLANKS = [("05.1", 3), ("05.2", 2), ("05.3", 5), ("05.4", 7), ("05.5", 3)]


@pytest.mark.parametrize(("number", "arguments"), BLANKS)
def test_blanks(number, arguments):
    assert result(number, ...).state == "not attempted"
    returns_blank = (lambda a, b: ...) if arguments == 2 else (lambda *given: ...)
    if number != "05.4":
        assert result(number, returns_blank).state == "not attempted"
    assert result(number, 3).state == "wrong"


# --- 05.1 the smoothed loss from two others


def parts(scores, labels):
    log_p = F.log_softmax(scores, dim=1)
    return -log_p[torch.arange(len(labels)), labels], -log_p


def test_smoothed_loss_right():
    def answer(scores, labels, epsilon):
        true, every = parts(scores, labels)
        return ((1 - epsilon) * true + epsilon * every.mean(dim=1)).mean()

    assert result("05.1", answer).state == "right"
    assert result("05.1", lambda s, y, e: F.cross_entropy(s, y, label_smoothing=e).item()).state == "right"


def combine(formula):
    return lambda scores, labels, epsilon: formula(*parts(scores, labels), epsilon)


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (combine(lambda true, every, e: (true + e * every.mean(1)).mean()), "must give up its share"),
        (combine(lambda true, every, e: ((1 - e) * true + e * every.sum(1)).mean()), "asks for their mean"),
        (combine(lambda true, every, e: (e * true + (1 - e) * every.mean(1)).mean()), "the wrong way round"),
        (combine(lambda true, every, e: ((1 - e) * true - e * every.mean(1)).mean()), "a sign is missing"),
        (
            combine(lambda true, every, e: ((1 - e) * true + e * (every.sum(1) - true) / 6).mean()),
            "the other classes only",
        ),
        (combine(lambda true, every, e: ((1 - e) * true + e * every.mean(1)).sum()), "sum over the images"),
        (combine(lambda true, every, e: (1 - e) * true + e * every.mean(1)), "returns 6 numbers"),
        (combine(lambda true, every, e: (0.9 * true + 0.1 * every.mean(1)).mean()), "for ε = 0.3"),
        (combine(lambda true, every, e: true.mean()), "for ε = 0.1"),
    ],
)
def test_smoothed_loss_wrong(answer, mistake):
    assert_wrong("05.1", mistake, answer)


# --- 05.2 plain validation loss


def test_validation_loss_right():
    assert result("05.2", lambda scores, labels: F.cross_entropy(scores, labels)).state == "right"
    assert result("05.2", nn.CrossEntropyLoss()).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (nn.CrossEntropyLoss(label_smoothing=0.1), "still smoothed"),
        (nn.CrossEntropyLoss(reduction="sum"), "sum over the images"),
        (nn.CrossEntropyLoss(reduction="none"), "returns 6 numbers"),
        (lambda scores, labels: (scores.argmax(1) == labels).float().mean(), "that is the accuracy"),
        (lambda scores, labels: 0.9 * F.cross_entropy(scores, labels), "plain cross-entropy is"),
    ],
)
def test_validation_loss_wrong(answer, mistake):
    assert_wrong("05.2", mistake, answer)


# --- 05.3 mixup


def one_hots(labels, classes):
    return F.one_hot(labels, classes).float()


def mix(images=None, labels=None):
    """A mixup whose image or label line is replaced."""

    def mixup(x, y, classes, lam, order):
        rows = one_hots(y, classes)
        mixed = (images or (lambda x, lam, order: lam * x + (1 - lam) * x[order]))(x, lam, order)
        soft = (labels or (lambda x, lam, order: lam * x + (1 - lam) * x[order]))(rows, lam, order)
        return mixed, soft

    return mixup


def in_place(x, y, classes, lam, order):
    partner = x[order]
    rows = one_hots(y, classes)
    return x.mul_(lam).add_((1 - lam) * partner), lam * rows + (1 - lam) * rows[order]


def test_mixup_right():
    assert result("05.3", mix()).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (mix(images=lambda x, lam, order: x), "not mixed yet"),
        (mix(images=lambda x, lam, order: lam * x[order] + (1 - lam) * x), "share of the image itself"),
        (mix(images=lambda x, lam, order: lam * x + (1 - lam) * x.flip(0)), "with image order[i]"),
        (mix(labels=lambda x, lam, order: x), "still hard"),
        (mix(labels=lambda x, lam, order: lam * x[order] + (1 - lam) * x), "images and labels disagree"),
        (mix(labels=lambda x, lam, order: lam * x + (1 - lam) * x.flip(0)), "the same order"),
        (mix(labels=lambda x, lam, order: x.argmax(1) * lam), "one column per class"),
        (in_place, "do not mix in place"),
        (lambda x, y, classes, lam, order: x, "return two things"),
    ],
)
def test_mixup_wrong(answer, mistake):
    assert_wrong("05.3", mistake, answer)


# --- 05.4 CutMix's label


def cut(share):
    """A CutMix whose λ for the label is share(lam, area of the box, area of the image)."""

    def cutmix(images, labels, classes, lam, order, y, x):
        height, width = images.shape[-2:]
        half = int(height * (1 - lam) ** 0.5 / 2)
        top, bottom = max(y - half, 0), min(y + half, height)
        left, right = max(x - half, 0), min(x + half, width)
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[order][:, :, top:bottom, left:right]
        kept = share(lam, (bottom - top) * (right - left), height * width)
        rows = one_hots(labels, classes)
        return mixed, kept * rows + (1 - kept) * rows[order]

    return cutmix


def pastes_nothing(images, labels, classes, lam, order, y, x):
    return images, one_hots(labels, classes)


def test_cutmix_right():
    assert result("05.4", cut(lambda lam, box, area: 1 - box / area)).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (cut(lambda lam, box, area: lam), "share that was drawn"),
        (cut(lambda lam, box, area: box / area), "one minus the covered part"),
        (cut(lambda lam, box, area: 1 - box / 3000), "divide the pixels of the box by all pixels"),
        (pastes_nothing, "nothing was pasted"),
        (lambda *given: ..., "the check cannot work with this answer"),
    ],
)
def test_cutmix_wrong(answer, mistake):
    assert_wrong("05.4", mistake, answer)


# --- 05.5 which loader mixes


def make(train=True, mix_train=True, mix_val=False, shuffle_val=False):
    def loaders(train_set, val_set, collate):
        return (
            tl.make_loader(train_set, 16, train=train, collate_fn=collate if mix_train else None),
            tl.make_loader(val_set, 16, train=shuffle_val, collate_fn=collate if mix_val else None),
        )

    return loaders


def test_loaders_right():
    assert result("05.5", make()).state == "right"


@pytest.mark.parametrize(
    ("answer", "mistake"),
    [
        (make(train=False, mix_val=True), "validation images are still mixed"),
        (make(mix_val=True), "validation images are still mixed"),
        (make(train=False), "does not shuffle"),
        (make(mix_train=False), "not mixed any more"),
        (make(shuffle_val=True), "neither train=True nor a shuffle"),
        (lambda train, val, collate: tl.make_loader(train, 16), "return two loaders"),
    ],
)
def test_loaders_wrong(answer, mistake):
    assert_wrong("05.5", mistake, answer)


# --- 05.6 smoothed once


def soft(labels, classes):
    return 0.9 * one_hots(labels, classes) + 0.1 / classes


def test_smoothed_once_right():
    assert "in the labels" in result("05.6", soft, nn.CrossEntropyLoss()).message
    assert "in the loss" in result("05.6", one_hots, nn.CrossEntropyLoss(label_smoothing=0.1)).message
    hard = result("05.6", lambda labels, classes: labels, nn.CrossEntropyLoss(label_smoothing=0.1))
    assert hard.state == "right"


def test_smoothed_once_blank():
    assert result("05.6", ..., nn.CrossEntropyLoss()).state == "not attempted"
    assert result("05.6", soft, ...).state == "not attempted"


@pytest.mark.parametrize(
    ("targets", "loss_fn", "mistake"),
    [
        (soft, nn.CrossEntropyLoss(label_smoothing=0.1), "0.19"),
        (one_hots, nn.CrossEntropyLoss(), "nothing is smoothed any more"),
        (soft, nn.CrossEntropyLoss(label_smoothing=0.05), "together smooth by 0.145"),
        (lambda labels, classes: 0.9 * one_hots(labels, classes), nn.CrossEntropyLoss(), "add up to one"),
    ],
)
def test_smoothed_once_wrong(targets, loss_fn, mistake):
    assert_wrong("05.6", mistake, targets, loss_fn)
