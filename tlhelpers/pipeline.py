"""The fast way from image files to batches: every file is opened once, its pixels stay in memory.

Decoding a JPEG takes longer than cutting a new random crop out of it, and its result never changes: do it once. The
crop has to be new each time, so what is kept are the pixels before any transform, one byte for each value.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision.transforms.v2 import functional as F

from .batch_transforms import SplitTransform
from .session import CourseError

GB = 1e9  # bytes
_LOOKS = 16  # images that are opened to estimate the memory before the rest is


class CachedImages(Dataset):
    """Images in memory: a dataset of (transform(image), label), as the dataset it was made from, but faster.

    `images` are (3, H, W) uint8 tensors of any sizes. Made by `cache_images`; `with_transform` gives another view of
    the same pixels. With `device`, batches are finished there; the labels stay on the CPU, where `fit` checks them.

    >>> from torchvision.transforms import v2
    >>> transform = v2.Compose([v2.CenterCrop(4), v2.ToImage()])
    >>> rows = CachedImages([torch.zeros(3, 8, 8, dtype=torch.uint8)], targets=[1], transform=transform)
    >>> rows[0][0].shape, rows.targets, rows.nbytes
    (torch.Size([3, 4, 4]), [1], 192)
    """

    def __init__(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Any],
        transform: Callable | None = None,
        classes: Sequence[str] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.images, self.targets, self._transform = list(images), list(targets), transform
        self.device = torch.device(device)
        if classes is not None:
            self.classes = list(classes)
        self._pipeline = SplitTransform(transform, self.device)
        if self._pipeline.crops is not None:
            pixels, self._sizes = self._pipeline.crops.prepare(self.images)
            self._pixels = pixels.to(self.device)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        """Return the samples of a batch, which is how a DataLoader asks: faster than one by one, the same otherwise."""
        targets = [self.targets[index] for index in indices]
        if self._pipeline.crops is None:
            images = self._pipeline.together([self._pipeline.alone(self.images[index]) for index in indices])
        else:
            chosen, numbers = torch.as_tensor(indices), torch.rand(len(indices), self._pipeline.crops.numbers)
            pixels = self._pixels[chosen.to(self.device, non_blocking=True)]
            images = self._pipeline.finish(self._pipeline.crops(pixels, self._sizes[chosen], numbers))
        return list(zip(images, targets, strict=True))

    @property
    def transform(self) -> Callable | None:
        """What each look at an image goes through; `with_transform` gives another."""
        return self._transform

    def with_transform(self, transform: Callable | None) -> CachedImages:
        """Return the same pixels, not copied, with another transform: for training and for validation."""
        return CachedImages(self.images, self.targets, transform, getattr(self, "classes", None), self.device)

    @property
    def nbytes(self) -> int:
        """Bytes of memory the pixels take, with the smaller copies that some transforms are run on."""
        copies = 0 if self._pipeline.crops is None else self._pixels.nbytes
        return sum(image.nbytes for image in self.images) + copies


def _as_it_is(image: Any) -> Any:
    return image


def _untransformed(dataset: Any) -> tuple[Any, Callable | None]:
    """A copy of the dataset that gives its images as they were decoded, and the transform that stood in it."""
    if isinstance(dataset, CachedImages):
        raise CourseError("these images are cached already: use with_transform, or Subset of them.")
    bare = copy.copy(dataset)
    if isinstance(dataset, Subset):
        bare.dataset, transform = _untransformed(dataset.dataset)
        return bare, transform
    if not hasattr(dataset, "transform"):
        return dataset, None
    bare.transform = _as_it_is
    return bare, dataset.transform


def _pixels(dataset: Any, index: int, size: int | None) -> tuple[Tensor, Any]:
    """One decoded image as (3, H, W) uint8, its shorter side at most `size`, and its label."""
    image, label = dataset[index]
    if not isinstance(image, Image.Image) or image.mode != "RGB":
        kind = f"PIL image of mode {image.mode}" if isinstance(image, Image.Image) else type(image).__name__
        raise CourseError(
            f"image {index} of the dataset is a {kind} without its transform: cache_images needs RGB PIL images, as "
            "tl.image_folder gives them, and the transform in the dataset's attribute .transform."
        )
    if size is not None and min(image.size) > size:
        image = F.resize(image, size)  # as v2.Resize(size) does it on the uncached image
    return torch.from_numpy(np.array(image)).permute(2, 0, 1), label


def _check_memory(cached: CachedImages, count: int, max_gb: float) -> None:
    """Raise CourseError when `count` images like the cached ones do not fit."""
    needed = cached.nbytes / len(cached) * count / GB
    if needed > max_gb:
        shorter = sum(min(image.shape[1:]) for image in cached.images) / len(cached)
        fitting = int(shorter * (max_gb / needed) ** 0.5 * 0.95)
        raise CourseError(
            f"the {count} images take about {needed:.2g} GB once decoded, more than max_gb={max_gb:g}: keep them "
            f"smaller (size={fitting} would fit), allow more memory with max_gb, or use the dataset without a cache."
        )


def cache_images(
    dataset: Any,
    transform: Callable | None = None,
    size: int | None = None,
    max_gb: float = 1.0,
    device: str | torch.device = "cpu",
) -> CachedImages:
    """Open every image of a dataset once and keep its pixels: a dataset for `make_loader` that reads no file again.

    The pixels are uint8, before any transform, so each look at an image is augmented anew. They run through
    `transform`, or else the one that stands in the dataset (looked for inside Subset). `size` first makes the shorter
    side that many pixels where it is longer; about 1.15 times the size the network gets loses little. `max_gb` bounds
    the memory in 10^9 bytes, 3 x height x width per image, and is checked before all images are opened. Batches are
    finished on `device`: give it the model's, and no other.

    Order and labels are those of the dataset without a cache. So are the random draws and, without `size`, the pixels,
    but for the rounding of resized ones (of bundled and real photographs at most 3 values in 100 differ, by 1 or 2 of
    255). One exception: a bilinear RandomRotation with RandomResizedCrop and flips, on a GPU crop and flips alone as
    well, run for all images of a batch at once (batch_crops.py): the same distributions, other draws. Raises
    CourseError when the images do not fit, are no RGB PIL images, or differ from one time to the next before the
    dataset's transform.

    >>> pictures = [(Image.new("RGB", (12, 8)), 0), (Image.new("RGB", (8, 8)), 1)]
    >>> from torchvision.transforms import v2
    >>> cached = cache_images(pictures, transform=v2.Compose([v2.Resize(4), v2.CenterCrop(4), v2.ToImage()]))
    >>> cached[1][0].shape, cached.nbytes
    (torch.Size([3, 4, 4]), 480)
    """
    if size is not None and size < 1 or max_gb <= 0:
        raise CourseError(f"size={size} and max_gb={max_gb} must be above 0.")
    bare, own_transform = _untransformed(dataset)
    transform = transform or own_transform
    count = len(bare)
    if count == 0:
        raise CourseError("cache_images was given an empty dataset.")
    looks = np.unique(np.linspace(0, count - 1, min(_LOOKS, count)).astype(int)).tolist()
    first = {index: _pixels(bare, index, size)[0] for index in looks}
    _check_memory(CachedImages(list(first.values()), looks, transform), count, max_gb)
    images: list[Tensor] = []
    targets: list[Any] = []
    used = 0
    for index in range(count):
        image, label = _pixels(bare, index, size)
        if index in first and not torch.equal(image, first[index]):
            raise CourseError(
                "the images differ from one time to the next although the dataset's .transform is left out: something "
                "else in it augments at random, and a cache would keep one accidental look at each image for good."
            )
        images.append(image)
        targets.append(label)
        used += image.nbytes
        if used > max_gb * GB:
            _check_memory(CachedImages(images, targets), count, max_gb)
    inside = innermost(dataset)
    # a target_transform has changed the labels, so the class names do not belong to them any more
    classes = None if getattr(inside, "target_transform", None) is not None else getattr(inside, "classes", None)
    cached = CachedImages(images, targets, transform, classes, device)
    _check_memory(cached, count, max_gb)
    return cached


def innermost(dataset: Any) -> Any:
    """Return the dataset inside any number of Subset.

    >>> innermost(Subset(Subset([7, 8, 9], [0, 1]), [0]))
    [7, 8, 9]
    """
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return dataset


def automatic_workers(dataset: Any) -> int:
    """Return how many worker processes help to read this dataset here: 0 to 4.

    None for data in memory: sending them costs more than taking them. None where a worker starts as a new program
    (Windows, macOS, Linux from Python 3.14), because it cannot find what a notebook has defined. Otherwise one for each
    processor core that this process may use; on a free Colab that is 2.

    >>> automatic_workers(TensorDataset(torch.zeros(3)))
    0
    """
    # asking for the method with allow_none=True does not fix it for the rest of the program; the first is the default
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    if isinstance(innermost(dataset), (CachedImages, TensorDataset, list, tuple)) or method != "fork":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4)
