"""From a PIL image to a tensor a network can use: training and evaluation pipelines, and the way back for the eye.

Every pipeline ends in a float32 tensor, channels first (C, H, W). The pieces are torchvision's v2 transforms
(https://pytorch.org/vision/stable/transforms.html).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torchvision.transforms import v2

from .session import CourseError

# mean and standard deviation of ImageNet's training images per channel (red, green, blue), on the 0..1 scale
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Statistics = Sequence[float]


def _to_normalized_tensor(mean: Statistics, std: Statistics) -> list[v2.Transform]:
    if len(mean) != len(std) or min(std) <= 0:
        raise CourseError(f"mean={mean} and std={std} need one number per channel each, and every std above 0.")
    # ToImage + ToDtype is what v1's ToTensor did: PIL uint8 (H, W, C) 0..255 -> float32 (C, H, W) 0..1
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean=list(mean), std=list(std))]


def eval_transform(
    size: int = 64, mean: Statistics = IMAGENET_MEAN, std: Statistics = IMAGENET_STD, resize: int | None = None
) -> v2.Compose:
    """Return the pipeline for validation, test and use: no randomness, the same pixels every time.

    The shorter side becomes `resize` pixels (default: `size`), then the central `size` x `size` square is kept.

    >>> from PIL import Image
    >>> eval_transform(64)(Image.new("RGB", (96, 80))).shape
    torch.Size([3, 64, 64])
    """
    return v2.Compose([v2.Resize(resize or size), v2.CenterCrop(size), *_to_normalized_tensor(mean, std)])


def train_transform(
    size: int = 64,
    mean: Statistics = IMAGENET_MEAN,
    std: Statistics = IMAGENET_STD,
    scale: tuple[float, float] = (0.8, 1.0),
    rotation: float = 15.0,
) -> v2.Compose:
    """Return the pipeline for training: each time another crop, tilt and side of the same picture.

    The crop keeps `scale` of the area (torchvision's default keeps as little as 0.08, which can cut the flower off),
    the tilt is at most `rotation` degrees to either side.

    >>> from PIL import Image
    >>> train_transform(64)(Image.new("RGB", (96, 80))).shape
    torch.Size([3, 64, 64])
    """
    random_part = [
        # the corners that a turn opens get the mean colour: it becomes 0 after Normalize, black would be an edge
        v2.RandomRotation(
            rotation, interpolation=v2.InterpolationMode.BILINEAR, fill=[round(255 * value) for value in mean]
        ),
        v2.RandomResizedCrop(size, scale=scale, antialias=True),
        v2.RandomHorizontalFlip(),
    ]
    return v2.Compose([*random_part, *_to_normalized_tensor(mean, std)])


def _preset(weights: Any) -> Any:
    if not callable(getattr(weights, "transforms", None)):
        hint = "for example models.get_model_weights('resnet18').DEFAULT"
        raise CourseError(f"weights={weights!r} must be an entry of a torchvision weights enum, {hint}.")
    preset = weights.transforms()
    if not hasattr(preset, "crop_size") or not hasattr(preset, "mean"):
        raise CourseError(f"{weights} is not for image classification: its preprocessing has no crop size and mean.")
    return preset


def from_weights(weights: Any) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Return (input size in pixels, mean, std) that a torchvision weights entry was trained with.

    >>> from torchvision.models import ResNet18_Weights
    >>> from_weights(ResNet18_Weights.DEFAULT)
    (224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    """
    preset = _preset(weights)
    return preset.crop_size[0], tuple(preset.mean), tuple(preset.std)


def train_transform_for(weights: Any, **options: Any) -> v2.Compose:
    """Return the training pipeline with the size, mean and std of `weights`; `options` go to `train_transform`.

    Its partner for validation and test is `weights.transforms()`.

    >>> from torchvision.models import ResNet18_Weights
    >>> has_normalize(train_transform_for(ResNet18_Weights.DEFAULT))
    True
    """
    size, mean, std = from_weights(weights)
    return train_transform(size, mean, std, **options)


def denormalize(images: torch.Tensor, mean: Statistics = IMAGENET_MEAN, std: Statistics = IMAGENET_STD) -> torch.Tensor:
    """Undo Normalize for display: (C, H, W) or (N, C, H, W) in, the same shape on the CPU out, clamped to 0..1.

    >>> black = torch.zeros(3, 2, 2)
    >>> denormalize((black - 0.5) / 0.25, mean=(0.5,) * 3, std=(0.25,) * 3).max()
    tensor(0.)
    """
    if images.ndim not in (3, 4) or images.shape[-3] != len(mean):
        raise CourseError(
            f"images of shape {tuple(images.shape)} cannot be shown: expected ({len(mean)}, H, W) or "
            f"(N, {len(mean)}, H, W), channels first."
        )
    images = images.detach().cpu().float()
    mean_, std_ = (torch.tensor(list(values)).view(-1, 1, 1) for values in (mean, std))
    return (images * std_ + mean_).clamp(0, 1)


def dataset_statistics(dataset: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) per channel over every pixel of every image of `dataset`: what Normalize needs.

    The dataset must give tensors in 0..1 that are not normalised yet. Images may differ in size: sums run over
    pixels, so a large picture counts for more than a small one. Use the training part only. The std is the spread
    of all pixels, not the mean of the spreads inside single images (that is smaller).

    >>> grey = [(torch.full((3, 4, 4), 0.25), 0), (torch.full((3, 4, 4), 0.75), 0)]
    >>> dataset_statistics(grey)
    ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    """
    if has_normalize(getattr(dataset, "transform", None)):
        raise CourseError("dataset_statistics needs images before Normalize: this dataset's transform normalises.")
    pixels, total, squares = 0, 0.0, 0.0
    for index in range(len(dataset)):
        image = dataset[index][0]
        if not isinstance(image, torch.Tensor) or not image.is_floating_point():
            raise CourseError(
                f"image {index} is a {type(image).__name__}, not a float tensor: give the dataset the transform "
                "v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])."
            )
        if image.min() < 0 or image.max() > 1:
            raise CourseError(f"image {index} has values outside 0..1: leave out Normalize, and scale 0..255 to 0..1.")
        flat = image.flatten(1).double()  # float32 sums over millions of pixels lose digits
        pixels += flat.shape[1]
        total, squares = total + flat.sum(1), squares + (flat**2).sum(1)
    if pixels == 0:
        raise CourseError("dataset_statistics was given an empty dataset.")
    mean = total / pixels
    std = (squares / pixels - mean**2).clamp(min=0).sqrt()
    return tuple(round(value, 6) for value in mean.tolist()), tuple(round(value, 6) for value in std.tolist())


def normalization_of(transform: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return (mean, std) of the Normalize in a pipeline (v1, v2 or a weights preset), or None when it has none.

    >>> normalization_of(eval_transform(64))[0]
    (0.485, 0.456, 0.406)
    """
    if hasattr(transform, "mean") and hasattr(transform, "std"):  # Normalize itself, or a preset made from weights
        return tuple(float(value) for value in transform.mean), tuple(float(value) for value in transform.std)
    parts = getattr(transform, "transforms", None)  # Compose and its relatives
    if not isinstance(parts, list | tuple | torch.nn.Module):
        parts = transform.children() if isinstance(transform, torch.nn.Module) else ()
    found = [statistics for part in parts if (statistics := normalization_of(part)) is not None]
    return found[-1] if found else None


def has_normalize(transform: Any) -> bool:
    """True when a pipeline normalises: a Normalize anywhere in it (v1 or v2), or a preset made from weights.

    >>> has_normalize(eval_transform(64)), has_normalize(v2.CenterCrop(64))
    (True, False)
    """
    return normalization_of(transform) is not None
