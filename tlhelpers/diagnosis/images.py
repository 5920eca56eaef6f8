"""Images that are not what the network expects: their values (values.py), the order of their colours, their size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from ..evaluation import to_device
from ..models import device_of
from ..pipeline import CachedImages
from .case import CannotTell, Case, Part, places_spread
from .report import Diagnosis, Finding
from .samples import files_of, holds_rows, indices_of, open_small, picked
from .values import (
    NORMALIZED_TWICE,
    NOT_NORMALIZED,
    PIXELS_0_255,
    WRONG_STATISTICS,
    examine_values,
    has_just_begun,
    is_from_library,
    looks_trained,
)

CHANNELS_SWAPPED = Diagnosis(
    "channels-swapped",
    "warning",
    "red and blue are exchanged",
    "The network learned from red, green, blue; OpenCV reads blue, green, red. So a red rose reaches it as a blue one, "
    "and no error says so.",
    'read with Image.open(path).convert("RGB"), or cv2.cvtColor(image, cv2.COLOR_BGR2RGB) after cv2.imread',
    "lesson 01, section 2",
)
WRONG_INPUT_SIZE = Diagnosis(
    "wrong-input-size",
    "warning",
    "the images have a size that does not fit the network",
    "Pretrained filters look for shapes of a certain size in pixels; much smaller or larger images show them something "
    "else, and very small ones leave nothing of where things are.",
    "v2.Resize(size), v2.CenterCrop(size) with size, _, _ = tl.from_weights(weights), in training and validation alike",
    "lesson 01, section 7",
)

LOOKS = 16  # images per side that are compared with their files


def examine_colours(case: Case) -> Iterator[Finding]:
    """Red and blue of the images that the network gets against red and blue of the files they come from."""
    if holds_rows(case.train):
        return
    reasons = []
    for part in case.parts:
        try:
            agreement = _agreement(part)
        except CannotTell as reason:
            reasons.append(str(reason))
            continue
        if agreement < -0.8:
            seen = f"{part.name} images with more red than blue in the file have less of it as the network gets them"
            yield CHANNELS_SWAPPED.found(f"{seen}, and the other way round (correlation {agreement:.2f})")
    if len(reasons) == len(case.parts):
        raise CannotTell(reasons[0])


def _agreement(part: Part) -> float:
    """Correlation, over some images, of red minus blue in the source with red minus blue after the transform.

    Near 1, or -1 after an exchange. Normalize and brightness move or stretch all alike, which changes no correlation.
    """
    total = len(part.dataset) if hasattr(part.dataset, "__len__") else 0
    sources = _sources(part, indices_of(part, places_spread(min(LOOKS, total), total)))
    if sources is None:
        raise CannotTell("the images come without their files, and colours alone do not tell red from blue")
    images = picked(part, LOOKS)
    if len(images[0]) != 3:
        raise CannotTell("the images have no three colours")
    before, after = (torch.tensor([_red_minus_blue(picture) for picture in some]) for some in (sources, images))
    if len(before) < LOOKS // 2 or before.std() < 0.02:
        raise CannotTell("the images are too few or too grey")
    return torch.corrcoef(torch.stack([before, after]))[0, 1].item()


def _sources(part: Part, indices: list[int]) -> list[Tensor] | None:
    """(3, H, W) pixels in 0..1 before any transform: decoded here from the files, or as cached."""
    if isinstance(part.inner, CachedImages):
        return [part.inner.images[index] / 255 for index in indices]
    files = files_of(part)
    if files is None:
        return None
    pictures = [open_small(files[index], 64).resize((64, 64)) for index in indices]
    return [
        torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(64, 64, 3).permute(2, 0, 1) / 255
        for picture in pictures
    ]


def _red_minus_blue(pixels: Tensor) -> float:
    return (pixels[0].float().mean() - pixels[2].float().mean()).item()


def examine_size(case: Case) -> Iterator[Finding]:
    """Sizes the network cannot take or was not trained with, maps that shrink to one point, two sizes."""
    if holds_rows(case.train):
        return
    sizes = [tuple(part.batch[0].shape[-2:]) for part in case.parts]
    height, width = sizes[0]
    seen = f"training images of {height} x {width} pixels"
    expected, is_fixed = _trained_size(case.net)
    if is_fixed and any(size != (expected, expected) for size in sizes):
        wrong = next(size for size in sizes if size != (expected, expected))
        fails = replace(WRONG_INPUT_SIZE, severity="error")
        yield fails.found(f"images of {wrong[0]} x {wrong[1]} pixels, {type(case.net).__name__} takes {expected} only")
    elif not looks_trained(case.net) or has_just_begun(case.net):
        pass  # without pretrained filters every size that runs is right
    elif expected and not 0.66 * expected < min(height, width) <= 2 * expected:
        yield WRONG_INPUT_SIZE.found(f"{seen}, the bundled network was trained at {expected}", _resize(expected))
    elif is_from_library(case.net) and _last_map(case) == (1, 1):
        yield WRONG_INPUT_SIZE.found(f"{seen} end as a map of 1 x 1 point", _resize(expected or 224))
    if len(sizes) == 2 and not 0.66 < min(sizes[0]) / min(sizes[1]) < 1.5:
        yield WRONG_INPUT_SIZE.found(f"{seen}, validation images of {sizes[1][0]} x {sizes[1][1]}")


def _resize(size: int) -> str:
    return f"v2.Resize({size}), v2.CenterCrop({size}) for validation, v2.RandomResizedCrop({size}) for training"


def _trained_size(net: nn.Module) -> tuple[int | None, bool]:
    """The input size of the network in pixels where its build tells, and whether it can take no other."""
    for module in net.modules():
        if isinstance(module, models.VisionTransformer):
            return module.image_size, True
        patches = getattr(module, "patch_embed", None)
        if getattr(patches, "img_size", None) and getattr(patches, "strict_img_size", False):
            return patches.img_size[0], True  # timm's transformers
        is_resnet = isinstance(module, models.ResNet) or str(type(module)) == "<class 'timm.models.resnet.ResNet'>"
        if is_resnet and all(len(getattr(module, f"layer{i}")) == 1 for i in (1, 2, 3, 4)):
            return 64, False  # the bundled resnet10, in timm's class too; no network of theirs is as short
        if isinstance(module, models.EfficientNet) and module.features[0][0].out_channels == 16:
            return 64, False  # the bundled efficientnet_mini; no network of torchvision is as narrow
        if isinstance(module, models.VGG) and getattr(module.avgpool, "output_size", None) == 2:
            return 64, False  # the bundled vgg9_bn, which takes STL-10's 96 pixels as well; torchvision's pool to 7 x 7
    return None, False


def _last_map(case: Case) -> tuple[int, int] | None:
    """Height and width of the last feature map before pooling, from one image through a copy of the network."""
    model, _ = case.copied()
    last: list[tuple[int, int]] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            last[:] = [tuple(output.shape[-2:])]

    for module in model.modules():
        # convolutions with a kernel of 1 also stand behind a pooling, in squeeze-and-excitation
        if (
            isinstance(module, (nn.BatchNorm2d, nn.MaxPool2d))
            or isinstance(module, nn.Conv2d)
            and max(module.kernel_size) > 1
        ):
            module.register_forward_hook(keep)
    try:
        with torch.no_grad():
            model.eval()(to_device(case.train.batch[0][:1], device_of(model)))
    except Exception:
        return None  # that the model cannot be run is another examination's finding
    return last[0] if last else None


EXAMINATIONS = (
    ("values of the images", examine_values),
    ("order of the colours", examine_colours),
    ("size of the images", examine_size),
)

__all__ = ["EXAMINATIONS", "NORMALIZED_TWICE", "NOT_NORMALIZED", "PIXELS_0_255", "WRONG_STATISTICS"]
