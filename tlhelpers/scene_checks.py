"""What detection and segmentation look at before they compute: the number of classes, the batches, the optimizer.

On a GPU a label out of range ends in a "device-side assert" that spoils the whole kernel, so labels and class maps are
looked at where they lie, before they go there: a moment for each batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from .models import unwrap
from .precheck import _check_optimizer
from .session import CourseError

IGNORED = -100  # a pixel of this number in a class map does not count: cross_entropy leaves it out


def check_num_classes(num_classes: Any) -> None:
    """Raise CourseError unless it is a whole number of at least 2: the background and one kind.

    >>> check_num_classes(4)
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise CourseError(f"num_classes={num_classes!r} must be at least 2: the background counts as one.")


def note_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise CourseError for an optimizer that would train nothing of this model; print what else looks odd, as `fit`.

    >>> layer = nn.Linear(2, 2)
    >>> note_optimizer(layer, torch.optim.SGD(layer.parameters(), 0.1))
    """
    for note in _check_optimizer(model, optimizer):
        print(f"note: {note}")


def check_not_empty(batches: int) -> None:
    """Raise CourseError when a loader gave no batch at all, which would otherwise look like a loss of zero.

    >>> check_not_empty(3)
    """
    if batches == 0:
        raise CourseError(
            "The loader yields nothing: its dataset is empty, or drop_last=True threw away the only, incomplete batch."
        )


@contextmanager
def single_image_explained() -> Iterator[None]:
    """Around a step in train mode: BatchNorm's complaint about a batch of one image, in words that help.

    >>> with single_image_explained():
    ...     scores = nn.BatchNorm1d(3)(torch.rand(2, 3))
    """
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise CourseError(
            "A training batch of a single image: BatchNorm cannot work with it. Use make_loader(..., train=True), "
            "which leaves such a last batch out, or drop_last=True."
        ) from error


def scene_batches(loader: Any) -> Iterator[tuple[list[Tensor], list[dict]]]:
    """Yield the batches of a detector's loader, each one looked at: a list of images and a list of targets.

    Raises CourseError for a loader without collate_fn, one that gives nothing, and images that are no floats.

    >>> [len(images) for images, _ in scene_batches([([torch.rand(3, 8, 8)], [{}])])]
    [1]
    """
    # PyTorch's own collate_fn stacks the images, and fails on scenes with different numbers of boxes
    stacked = isinstance(loader, DataLoader) and loader.collate_fn is default_collate
    batches = 0
    for batch in () if stacked else loader:
        pair = isinstance(batch, (tuple, list)) and len(batch) == 2
        stacked = not pair or not all(isinstance(part, (list, tuple)) for part in batch)
        if stacked:
            break
        images, targets = batch
        if len(images) != len(targets) or not all(isinstance(target, dict) for target in targets):
            raise CourseError("a batch of scenes needs one target, a dictionary, for each image.")
        for image in images:
            _check_pixels(image, 3)
        batches += 1
        yield images, targets
    if stacked:
        raise CourseError(
            "a detector needs a list of images and a list of targets per batch, not stacked ones: "
            "make_loader(..., collate_fn=tl.collate_scenes)."
        )
    check_not_empty(batches)


def map_batches(loader: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of a segmentation network's loader, each one looked at: images and maps of the same size.

    >>> [len(maps) for _, maps in map_batches([(torch.rand(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long))])]
    [2]
    """
    batches = 0
    for batch in loader:
        pair = isinstance(batch, (tuple, list)) and len(batch) == 2
        if not pair or not all(isinstance(part, Tensor) for part in batch):
            raise CourseError(
                "a segmentation network needs stacked images and class maps: make_loader without collate_fn, and a "
                "data set whose items are (image, tl.semantic_mask(target))."
            )
        images, maps = batch
        _check_pixels(images, 4)
        if maps.dtype != torch.int64 or maps.shape != (len(images), *images.shape[2:]):
            raise CourseError(
                f"class maps of {maps.dtype} and shape {tuple(maps.shape)} do not fit images of shape "
                f"{tuple(images.shape)}: expected torch.int64 and (N, H, W)."
            )
        batches += 1
        yield images, maps
    check_not_empty(batches)


def _check_pixels(images: Any, dimensions: int) -> None:
    if not isinstance(images, Tensor) or images.ndim != dimensions or not images.is_floating_point():
        what = type(images).__name__
        what = f"{what} of {images.dtype} and shape {tuple(images.shape)}" if isinstance(images, Tensor) else what
        raise CourseError(
            f"these networks need images of floats, (3, H, W) each, not {what}: "
            "v2.ToDtype(torch.float32, scale=True) among the transforms."
        )


def check_labels(model: nn.Module, targets: list[dict]) -> None:
    """Raise CourseError for targets without boxes and labels, or with labels that this detector's head does not know.

    >>> check_labels(nn.Identity(), [{"boxes": torch.zeros(1, 4), "labels": torch.tensor([1])}])
    """
    classes = box_classes(model)
    for target in targets:
        boxes, labels = target.get("boxes"), target.get("labels")
        tensors = isinstance(boxes, Tensor) and isinstance(labels, Tensor)
        if not tensors or labels.dtype != torch.int64 or boxes.shape != (len(labels), 4):
            raise CourseError("a target needs boxes (n, 4) and labels (n,) of torch.int64, one for each box.")
        if classes is not None and len(labels) and not 1 <= labels.min() <= labels.max() < classes:
            wrong = labels.min() if labels.min() < 1 else labels.max()
            raise CourseError(
                f"a box has label {int(wrong)}, this head knows 1 to {classes - 1}: number the kinds from 1, and give "
                "num_classes one more than there are kinds, as the background counts too."
            )


def box_classes(model: nn.Module) -> int | None:
    """Return how many classes a detector's head names, background included; None when it cannot be told.

    >>> from torchvision.models.detection import ssdlite320_mobilenet_v3_large
    >>> box_classes(ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4))
    4
    """
    model = unwrap(model)
    if hasattr(model, "roi_heads"):
        score = getattr(model.roi_heads.box_predictor, "cls_score", None)
        return getattr(score, "out_features", None)
    head = getattr(getattr(model, "head", None), "classification_head", None)
    return getattr(head, "num_columns", None)  # of SSD and SSDLite


def check_map(maps: Tensor, classes: int) -> None:
    """Raise CourseError for class maps with a number that is neither 0 ... classes - 1 nor IGNORED.

    >>> check_map(torch.tensor([[[0, 3], [-100, 1]]]), 4)
    """
    counted = maps[maps != IGNORED]
    if len(counted) and not 0 <= counted.min() <= counted.max() < classes:
        wrong = counted.min() if counted.min() < 0 else counted.max()
        raise CourseError(
            f"a pixel has class {int(wrong)}, this network names 0 to {classes - 1}: give num_classes one more than "
            f"there are kinds, as the background counts too. Pixels that are not to count get {IGNORED}, not 255."
        )
