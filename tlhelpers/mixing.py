"""Mix the images of a training batch and their labels: mixup and CutMix of torchvision as a collate function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import default_collate
from torchvision.transforms import v2

from .session import CourseError


class MixingCollate:
    """Turn a list of samples (image, class number) into a mixed batch: images (N, C, H, W), soft labels (N, classes).

    For `make_loader(train_set, train=True, collate_fn=MixingCollate(classes))`, training only. Each image is mixed
    with its predecessor in the batch, the first with the last, by one λ for the batch: λ ~ Beta(alpha, alpha). So the
    loader has to shuffle. With both alphas above 0 a coin decides between mixup and CutMix for every batch; an alpha
    of 0 switches one off. `probability` is the share of batches that are mixed at all; the others, and a batch of one
    image, keep their images and get one-hot labels. Mixing comes after the dataset's transform, so after augmentation.

    The draws come from torch's random numbers where the batch is made. Without workers those are seeded by
    `seed_everything`; with workers each has its own, seeded through the loader, so the same seed repeats a run with the
    same number of workers, and another number gives the same order of images but other mixtures.

    Raises `CourseError` for settings that mix nothing or make no sense; for a batch that holds no float images of one
    size, or labels that are no class numbers 0 .. num_classes - 1. Sources: Zhang et al. 2017, arXiv:1710.09412;
    Yun et al. 2019, arXiv:1905.04899; https://pytorch.org/vision/stable/transforms.html (MixUp, CutMix).

    >>> images, labels = MixingCollate(num_classes=3)([(torch.zeros(3, 8, 8), 0), (torch.ones(3, 8, 8), 2)])
    >>> images.shape, labels.shape, labels[:, 1].tolist()
    (torch.Size([2, 3, 8, 8]), torch.Size([2, 3]), [0.0, 0.0])
    """

    def __init__(
        self, num_classes: int, mixup_alpha: float = 0.2, cutmix_alpha: float = 0.0, probability: float = 1.0
    ) -> None:
        if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
            raise CourseError(f"num_classes={num_classes!r} must be a whole number of at least 2.")
        for name, value in (("mixup_alpha", mixup_alpha), ("cutmix_alpha", cutmix_alpha)):
            if not 0 <= value < float("inf"):
                raise CourseError(f"{name}={value!r} must be 0 (off) or above: often 0.2 for mixup, 1.0 for CutMix.")
        if mixup_alpha == cutmix_alpha == 0:
            raise CourseError("mixup_alpha and cutmix_alpha are both 0, so nothing is mixed: leave collate_fn out.")
        if not 0 < probability <= 1:
            raise CourseError(f"probability={probability!r} must be above 0 and at most 1: the share of mixed batches.")
        self.num_classes, self.probability = num_classes, float(probability)
        mixers = [
            mixer(alpha=alpha, num_classes=num_classes)
            for mixer, alpha in ((v2.MixUp, mixup_alpha), (v2.CutMix, cutmix_alpha))
            if alpha > 0
        ]
        self.mix = mixers[0] if len(mixers) == 1 else v2.RandomChoice(mixers)

    def __call__(self, samples: Sequence[tuple[Tensor, Any]]) -> tuple[Tensor, Tensor]:
        """Return the mixed batch of a list of samples (image (C, H, W), class number)."""
        images, labels = self._collated(samples)
        # one λ for two images needs a second image; at probability 1 nothing is drawn to decide
        if len(labels) == 1 or (self.probability < 1 and torch.rand(()) >= self.probability):
            return images, F.one_hot(labels, self.num_classes).float()
        return self.mix(images, labels)

    def _collated(self, samples: Sequence) -> tuple[Tensor, Tensor]:
        first = samples[0]
        if not isinstance(first, (tuple, list)) or len(first) != 2:
            raise CourseError("MixingCollate takes samples (image, label): does the dataset return labels?")
        image = first[0]
        if not isinstance(image, Tensor) or not image.is_floating_point():
            kind = str(image.dtype).removeprefix("torch.") if isinstance(image, Tensor) else type(image).__name__
            raise CourseError(
                f"MixingCollate needs float tensors, the images are {kind}: mixing comes last, after augmentation, "
                "v2.ToImage(), v2.ToDtype(torch.float32, scale=True) and Normalize."
            )
        if image.ndim != 3:
            raise CourseError(f"an image of shape {tuple(image.shape)} cannot be mixed: expected (channels, H, W).")
        try:
            images, labels = default_collate(list(samples))
        except RuntimeError as error:
            raise CourseError("the images of this batch differ in size: resize or crop them to one size.") from error
        if not isinstance(labels, Tensor) or labels.ndim != 1 or labels.is_floating_point():
            raise CourseError("MixingCollate needs one whole class number per image; are the labels mixed already?")
        labels = labels.long()
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.num_classes:
            raise CourseError(
                f"label {low if low < 0 else high} is out of range 0 .. {self.num_classes - 1}: give MixingCollate the "
                "number of classes of the data set; labels counted from 1 need 1 subtracted."
            )
        return images, labels

    def __repr__(self) -> str:
        return f"MixingCollate({self.mix}, num_classes={self.num_classes}, probability={self.probability:g})"


def mix_shares(labels: Tensor) -> Tensor:
    """Return (N,) larger shares of (N, C) soft labels: λ or 1 - λ of each mixture, 1 where both classes are the same.

    It is what "right" means when accuracy is counted on mixed images, and a good title for them.

    >>> mix_shares(torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]]))
    tensor([0.7500, 1.0000])
    """
    return _soft(labels).amax(dim=1)


def loss_floor(labels: Tensor) -> float:
    """Return the lowest mean cross-entropy any model can reach on these (N, C) soft labels: their mean entropy.

    In nats, as `cross_entropy`. 0 for one-hot labels. Only a model that answers with exactly these shares gets there;
    a training loss under mixup or label smoothing has to be read against it.

    >>> round(loss_floor(torch.tensor([[0.5, 0.5], [1.0, 0.0]])), 4)
    0.3466
    """
    return torch.special.entr(_soft(labels).double()).sum(dim=1).mean().item()


def _soft(labels: Tensor) -> Tensor:
    if not isinstance(labels, Tensor) or labels.ndim != 2 or not labels.is_floating_point() or not len(labels):
        raise CourseError("soft labels of shape (N, classes) are needed, floats whose rows sum to 1.")
    if labels.min() < 0 or not torch.allclose(labels.sum(dim=1), torch.ones(()).to(labels), atol=1e-3):
        raise CourseError("each row of soft labels must be 0 or above and sum to 1: are these scores or images?")
    return labels
