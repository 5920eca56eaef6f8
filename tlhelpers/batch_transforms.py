"""Split a transform in two: what differs from image to image, and what a whole batch can share.

Every image draws its own random numbers, so crop, flip and colours run image by image, or all at once where the numbers
can differ inside a batch (batch_crops.py). To float and Normalize are the same arithmetic for every pixel: once for the
stacked batch is enough, and it can happen on the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms as v1
from torchvision.transforms import v2
from torchvision.transforms._presets import ImageClassification
from torchvision.transforms.v2 import functional as F

from .batch_crops import BatchCrops
from .session import CourseError

# from a PIL image to a tensor; a stack of uint8 tensors needs another step to get the same numbers, or none
_TO_TENSOR: dict[type, Callable | None] = {
    v2.ToImage: v2.ToImage(),
    v2.PILToTensor: None,
    v1.PILToTensor: None,
    v2.ToTensor: v1.ConvertImageDtype(torch.float32),  # it divides by 255; v2.ToDtype multiplies by 1/255
    v1.ToTensor: v1.ConvertImageDtype(torch.float32),
}
# the same arithmetic for each pixel of each image, without random numbers
_PIXELWISE = (v2.ToDtype, v2.ConvertImageDtype, v1.ConvertImageDtype, v2.Normalize, v1.Normalize, v2.ToPureTensor)


def _flip(step: Any, image: Tensor) -> Tensor:
    return image if torch.rand(1) >= step.p else step.transform(image, {})


def _draw_and_apply(step: v2.Transform, image: Tensor) -> Tensor:
    # what calling the step does, without its search for images, boxes and masks in the input
    return step.transform(image, step.make_params([image]))


# faster on a uint8 tensor than on a PIL image, and the same (of resized values 1 in 50 differs, by 1 or 2 of 255)
_ON_TENSORS: dict[type, Callable[[Any, Tensor], Tensor]] = {
    v2.RandomHorizontalFlip: _flip,
    v2.RandomVerticalFlip: _flip,
    v2.RandomResizedCrop: _draw_and_apply,
    v2.Resize: _draw_and_apply,
    v2.CenterCrop: _draw_and_apply,
}


class SplitTransform:
    """A transform of PIL images, for images that are kept as (3, H, W) uint8 tensors.

    `alone(image)` runs the first part on one image, `together(images)` finishes a list of such results. Known are
    torchvision's usual steps; any other one, RandAugment or an own function, gets the PIL image that it expects.

    >>> split = SplitTransform(v2.Compose([v2.CenterCrop(4), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]))
    >>> image = split.alone(torch.zeros(3, 8, 8, dtype=torch.uint8))
    >>> image.dtype, split.together([image, image]).shape
    (torch.uint8, torch.Size([2, 3, 4, 4]))
    """

    def __init__(self, transform: Callable | None, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        steps = _flat(transform)
        begin = len(steps)
        while begin and type(steps[begin - 1]) in (*_PIXELWISE, *_TO_TENSOR):
            begin -= 1
        # when no known step makes a tensor of a PIL image, nothing is known about what comes out: share no step
        self.unknown = not any(type(step) in _TO_TENSOR for step in steps)
        begin = len(steps) if self.unknown else begin
        crops = BatchCrops(steps[:begin]) if BatchCrops.can_do(steps[:begin]) else None
        # crop and flip alone are fast enough on a CPU, and image by image they are those of the original transform
        worth_it = crops is not None and (self.device.type != "cpu" or crops.turns and crops.finer == 1)
        self.crops = crops if worth_it and not self.unknown else None
        self.own = [(step, _ON_TENSORS[type(step)] if _same_on_tensors(step) else None) for step in steps[:begin]]
        self.shared = [_on_batches(step, self.device) for step in steps[begin:]]

    def alone(self, image: Tensor) -> Any:
        """Run what differs from image to image, with the random draws of the original transform in their order."""
        like_pil = True  # until a step makes something else, the original transform holds an RGB PIL image here
        for step, on_tensor in self.own:
            if like_pil and on_tensor is not None:
                image = on_tensor(step, _as_tensor(image))
                continue
            image = step(_as_pil(image) if like_pil else image)
            like_pil = like_pil and isinstance(image, Image.Image) and image.mode == "RGB"
        if self.unknown:
            return _as_pil(image) if like_pil else image
        return _as_tensor(image)

    def together(self, images: list[Any]) -> Sequence[Any]:
        """Finish results of `alone`: one (N, C, H, W) tensor when they have one size, a list of tensors otherwise."""
        if self.unknown:
            return images
        if len({image.shape for image in images}) > 1:
            return [self.together([image])[0] for image in images]
        return self.finish(torch.stack(images))

    def finish(self, batch: Tensor) -> Tensor:
        """Run the shared steps on a batch (N, C, H, W), on the device."""
        if self.device.type == "cuda" and not batch.is_cuda:
            batch = batch.pin_memory()  # from other memory the copy would wait for everything the GPU still has to do
        batch = batch.to(self.device, non_blocking=True)
        for step in self.shared:
            batch = batch if step is None else step(batch)
        return batch.as_subclass(Tensor)


def _on_batches(step: Any, device: torch.device) -> Callable | None:
    """What a step of the shared part is for uint8 tensors that are on the device."""
    if type(step) in (v1.Normalize, v2.Normalize):
        # as lists, mean and std would be copied to a GPU for every batch, and each copy waits for the GPU
        normalize = v2.Normalize(step.mean, step.std)
        normalize.mean, normalize.std = (torch.as_tensor(values, device=device) for values in (step.mean, step.std))
        return normalize
    return _TO_TENSOR.get(type(step), step)


def _flat(transform: Any) -> list[Any]:
    """The single steps of a transform, without the Compose around them."""
    if transform is None:
        return []
    if type(transform) in (v1.Compose, v2.Compose):
        return [step for part in transform.transforms for step in _flat(part)]
    if type(transform) is ImageClassification:  # what weights.transforms() returns: these five steps in one
        how = {"interpolation": transform.interpolation, "antialias": transform.antialias}
        resize, crop = v2.Resize(transform.resize_size, **how), v2.CenterCrop(transform.crop_size)
        to_float, normalize = v1.ConvertImageDtype(torch.float32), v2.Normalize(transform.mean, transform.std)
        return [resize, crop, v2.PILToTensor(), to_float, normalize]
    return [transform]


def _same_on_tensors(step: Any) -> bool:
    # PIL smooths whenever it makes an image smaller, and has a bicubic of its own: only bilinear agrees with it
    if hasattr(step, "interpolation"):
        bilinear = step.interpolation in ("bilinear", v2.InterpolationMode.BILINEAR)
        return type(step) in _ON_TENSORS and bilinear and bool(step.antialias)
    return type(step) in _ON_TENSORS


def _as_tensor(image: Any) -> Tensor:
    if isinstance(image, Image.Image) and image.mode in ("RGB", "L", "RGBA", "HSV", "YCbCr", "CMYK", "LA"):
        return F.pil_to_tensor(image)  # 8 bits for each value, as torchvision's steps to tensors expect
    if isinstance(image, np.ndarray):
        return F.to_image(image).as_subclass(Tensor)
    if not isinstance(image, Tensor):
        kind = f"PIL image of mode {image.mode}" if isinstance(image, Image.Image) else type(image).__name__
        raise CourseError(f"a step of the transform gives a {kind}: expected an RGB image or a tensor (C, H, W).")
    return image


def _as_pil(image: Any) -> Any:
    return Image.fromarray(image.permute(1, 2, 0).numpy()) if isinstance(image, Tensor) else image
