"""Checks of lesson 05: smoothed loss, plain validation, mixup, CutMix's label, loaders, smoothing only once."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from . import attempted, exercise, require

_EMPTY = "the function returns nothing yet: fill it in and run the cell again"


def _scores_and_labels(n: int = 6, classes: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(n, classes, generator=generator), torch.arange(n) % classes


def _near(a: float, b: float) -> bool:
    return abs(a - b) < 1e-4


def _number(value, name: str) -> float:
    require(
        not torch.is_tensor(value) or value.numel() == 1,
        f"{name} returns {getattr(value, 'numel', int)()} numbers: take the mean over the images, one number",
    )
    return float(value)


@exercise("05.1", expects="a function of scores (N, K), labels (N,) and epsilon")
def check_smoothed_loss(smoothed_loss):
    attempted(smoothed_loss)
    require(callable(smoothed_loss), "give the function itself, smoothed_loss, not what it returns")
    scores, labels = _scores_and_labels()
    found = smoothed_loss(scores, labels, 0.1)
    attempted(found, todo=_EMPTY)
    found = _number(found, "smoothed_loss")
    log_p = F.log_softmax(scores, dim=1)
    hard, uniform = F.cross_entropy(scores, labels).item(), -log_p.mean().item()
    others = (7 * uniform - hard) / 6  # the mean over the classes that are not the true one
    require(not _near(found, hard + 0.1 * uniform), "the true class keeps its full weight: it must give up its share ε")
    require(
        not _near(found, 0.9 * hard + 0.7 * uniform),
        "that is the sum over the classes: a label of 1/K for each class asks for their mean",
    )
    require(not _near(found, 0.1 * hard + 0.9 * uniform), "epsilon and 1 - epsilon are the wrong way round")
    require(
        not _near(found, 0.9 * hard - 0.1 * uniform), "a sign is missing: the loss is minus the log-probability, twice"
    )
    require(
        not _near(found, 0.9 * hard + 0.1 * others),
        "the share went to the other classes only: PyTorch spreads it over all K, the true one included",
    )
    require(not _near(found, 6 * (0.9 * hard + 0.1 * uniform)), "that is the sum over the images: take their mean")
    for epsilon in (0.1, 0.3, 0.0):
        wanted = F.cross_entropy(scores, labels, label_smoothing=epsilon).item()
        got = float(smoothed_loss(scores, labels, epsilon))
        require(_near(got, wanted), f"for ε = {epsilon} it gives {got:.4f}, PyTorch's own loss {wanted:.4f}")
    return "(1 - ε) of the ordinary loss and ε of the loss against all classes: the same as label_smoothing=ε"


@exercise("05.2", expects="a function of scores (N, K) and labels (N,)")
def check_validation_loss(validation_loss):
    attempted(validation_loss)
    require(callable(validation_loss), "give the function itself, validation_loss, not what it returns")
    scores, labels = _scores_and_labels()
    found = validation_loss(scores, labels)
    attempted(found, todo=_EMPTY)
    found = _number(found, "validation_loss")
    plain = F.cross_entropy(scores, labels).item()
    require(
        not _near(found, F.cross_entropy(scores, labels, label_smoothing=0.1).item()),
        "the validation loss is still smoothed, so a perfect answer is punished and recipes with another ε cannot be "
        "compared",
    )
    require(not _near(found, plain * len(labels)), "that is the sum over the images: take their mean")
    accuracy = (scores.argmax(1) == labels).float().mean().item()
    require(not _near(found, accuracy), "that is the accuracy: the task asks for the loss")
    require(_near(found, plain), f"it gives {found:.4f}, plain cross-entropy is {plain:.4f}")
    return "plain cross-entropy is the same ruler for every recipe, whatever the training loss was"


@exercise("05.3", expects="a function of images, labels, classes, lam and order")
def check_mixup(mixup):
    attempted(mixup)
    require(callable(mixup), "give the function itself, mixup, not what it returns")
    images = torch.arange(1.0, 5.0).view(4, 1, 1, 1).expand(4, 3, 5, 5).clone()
    labels, order, lam = torch.tensor([0, 1, 2, 1]), torch.tensor([2, 0, 3, 1]), 0.7
    before = images.clone()
    answer = mixup(images, labels, 3, lam, order)
    attempted(answer, todo=_EMPTY)
    require(isinstance(answer, (tuple, list)) and len(answer) == 2, "return two things: mixed images and soft labels")
    mixed, soft = answer
    require(torch.equal(images, before), "the original images were changed on the way: do not mix in place")
    one_hot = F.one_hot(labels, 3).float()
    require(tuple(mixed.shape) == (4, 3, 5, 5), f"mixed has the shape {tuple(mixed.shape)}, the images (4, 3, 5, 5)")
    require(
        tuple(soft.shape) == (4, 3),
        f"soft has the shape {tuple(soft.shape)}: one row per image, one column per class, so mix one_hot",
    )
    swapped = lam * images[order] + (1 - lam) * images
    require(not torch.allclose(mixed, images), "the images are not mixed yet")
    require(not torch.allclose(mixed, swapped), "λ is the share of the image itself, 1 - λ that of its partner")
    require(
        torch.allclose(mixed, lam * images + (1 - lam) * images[order]), "mix image i with image order[i], λ to 1-λ"
    )
    require(
        not torch.allclose(soft, one_hot), "the labels are still hard: each mixture needs the shares of both classes"
    )
    require(
        not torch.allclose(soft, lam * one_hot[order] + (1 - lam) * one_hot),
        "images and labels disagree: λ belongs to the image itself in both",
    )
    require(
        torch.allclose(soft, lam * one_hot + (1 - lam) * one_hot[order]),
        "the soft labels do not belong to these mixtures: use the same λ and the same order as for the images",
    )
    return "images and labels use the same partners and the same λ, so each label says what its picture is made of"


@exercise("05.4", expects="a function of images, labels, classes, lam, order, y and x")
def check_cutmix(cutmix):
    attempted(cutmix)
    require(callable(cutmix), "give the function itself, cutmix, not what it returns")
    images = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    labels, order, lam = torch.tensor([0, 2]), torch.tensor([1, 0]), 0.5
    for y, x, where in ((16, 16, "in the middle"), (0, 0, "in the corner"), (31, 10, "at the lower border")):
        mixed, soft = cutmix(images.clone(), labels, 3, lam, order, y, x)
        attempted(soft, todo=_EMPTY)
        pasted = (mixed[0] == 1).float().mean().item()
        require(pasted > 0, "nothing was pasted: the lines above the label should stay as they are")
        given = soft[0, 2].item()
        numbers = f"a box {where} covers {pasted:.2f} of the image, but the label gives its partner {given:.2f}"
        require(abs(soft[0].sum().item() - 1) < 1e-4, "the shares of a label must add up to one")
        require(
            _near(given, pasted) or not _near(given, 1 - lam),
            f"{numbers}: that is the share that was drawn; count the box after the border has clipped it",
        )
        require(
            _near(given, pasted) or not _near(given, 1 - pasted),
            f"{numbers}: share is what the image keeps, so it is one minus the covered part",
        )
        require(_near(given, pasted), f"{numbers}: divide the pixels of the box by all pixels")
    return "the label follows the pixels that are really there, also where the border clips the box"


@exercise("05.5", expects="a function of two datasets and a collate function")
def check_loaders(loaders):
    from ..mixing import MixingCollate

    attempted(loaders)
    require(callable(loaders), "give the function itself, loaders, not what it returns")
    labels = torch.arange(8).repeat_interleave(10)  # sorted by class, as files in folders are
    dataset = TensorDataset(torch.arange(80.0).view(80, 1, 1, 1).expand(80, 3, 4, 4).clone(), labels)
    answer = loaders(dataset, dataset, MixingCollate(8, mixup_alpha=1.0))
    attempted(answer, todo=_EMPTY)
    require(isinstance(answer, (tuple, list)) and len(answer) == 2, "return two loaders: for training, for validation")
    train, val = answer
    require(isinstance(train, DataLoader) and isinstance(val, DataLoader), "make both with tl.make_loader(...)")
    found = [batch_labels for _, batch_labels in val]
    require(
        all(batch.ndim == 1 for batch in found),
        "the validation images are still mixed, so each measurement asks about other ghosts: no collate_fn there",
    )
    require(
        torch.equal(torch.cat(found), labels),
        "the validation loader shuffles or leaves images out: it needs neither train=True nor a shuffle",
    )
    mixed = [batch_labels for _, batch_labels in train]
    require(
        all(batch.ndim == 2 for batch in mixed),
        "the training batches are not mixed any more: collate_fn belongs to the training loader",
    )
    require(
        not isinstance(train.sampler, SequentialSampler),
        "the training loader does not shuffle, so each image is mixed with its neighbour, mostly of its own class: "
        "train=True",
    )
    return "mixtures for training, from a shuffled loader; validation sees whole flowers, in order, always the same"


@exercise("05.6", expects="your function targets and your loss function, in this order")
def check_smoothed_once(targets, loss_fn):
    attempted(targets, loss_fn)
    require(callable(targets) and callable(loss_fn), "give the function targets and the loss function, in this order")
    scores, labels = _scores_and_labels()
    rows = targets(labels, 7)
    attempted(rows, todo=_EMPTY)
    if rows.ndim == 2:
        sums = rows.sum(dim=1)
        require(torch.allclose(sums, torch.ones(6), atol=1e-4), "the rows of the soft labels must add up to one")
    hard, uniform = F.cross_entropy(scores, labels).item(), -F.log_softmax(scores, dim=1).mean().item()
    epsilon = (_number(loss_fn(scores, rows), "loss_fn") - hard) / (uniform - hard)  # the loss is linear in ε
    require(
        not _near(epsilon, 0.19),
        "labels and loss both smooth: together 1 - 0.9 x 0.9 = 0.19 of the label is spread, not 0.1",
    )
    require(not _near(epsilon, 0), "now nothing is smoothed any more: keep one of the two, labels or loss")
    require(_near(epsilon, 0.1), f"labels and loss together smooth by {epsilon:.3f}: the task asks for 0.1")
    where = "in the labels" if rows.ndim == 2 and (rows > 0).all() else "in the loss"
    return f"smoothed once, {where}, and 0.1 in total"
