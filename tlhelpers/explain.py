"""Grad-CAM: which places of an image raised the score of a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Permute

from .evaluation import to_device
from .freezing import preserved_modes
from .models import Stage, device_of, stages, unwrap
from .session import CourseError
from .transforms import Statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def grad_cam(
    model: nn.Module,
    images: Tensor,
    classes: int | Sequence[int] | Tensor | None = None,
    at: str | nn.Module | None = None,
) -> Tensor:
    """Return a map per image, (N, H, W) on the CPU: 1 where the image speaks most for the class, 0 where it does not.

    `images` is a normalised batch (N, 3, H, W). `classes` are the classes asked about, one for all images or one
    each; default: the predicted ones. `at` names the stage whose maps are weighed (default: the last one before the
    pooling) or is a module of the model (Swin's maps, with their channels last, are turned round). Early stages have
    finer maps that know less of the class. A map is divided by its own largest value, so maps of two images say
    nothing about which score is higher.

    Works on a frozen network and under `no_grad`; flags, modes, gradients and buffers stay as they are. A module
    that keeps a torchvision network in `.backbone` is looked into. Raises `CourseError` for a network without feature
    maps, an unknown stage, a class out of range. (Selvaraju et al. 2017, arXiv:1610.02391)

    >>> from torchvision import models
    >>> model = models.get_model("resnet10").requires_grad_(False)
    >>> grad_cam(model, torch.randn(2, 3, 64, 64), classes=7).shape
    torch.Size([2, 64, 64])
    """
    model = unwrap(model)
    if not isinstance(images, Tensor) or images.ndim != 4 or not len(images) or not images.is_floating_point():
        given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise CourseError(f"grad_cam: images must be a normalised batch (N, 3, H, W), not {given}.")
    place, channels = _place(model, at)
    kept = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> Any:
        if not isinstance(output, Tensor) or output.ndim != 4:
            shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise CourseError(f"grad_cam: at={at!r} gives {shape}, but Grad-CAM needs feature maps (N, C, H, W).")
        # a fresh leaf asks for a gradient although everything may be frozen; the network goes on with a copy of it,
        # because an in-place ReLU right behind would overwrite what we keep
        kept.append(output.detach().clone().requires_grad_())
        return kept[-1].clone()

    handle = place.register_forward_hook(keep)
    try:
        # also inside somebody's no_grad or inference_mode
        with preserved_modes(model), torch.inference_mode(False), torch.enable_grad():
            scores = model.eval()(to_device(images.detach().clone(), device_of(model)))
            if not kept:
                raise CourseError(f"grad_cam: at={at!r} is no part of this model's way from image to scores.")
            maps, asked = kept[-1], _asked(classes, scores)
            # autograd.grad hands the gradient over and writes into no parameter
            (gradient,) = torch.autograd.grad(scores.gather(1, asked).sum(), maps)
            maps, gradient = maps.movedim(channels, 1), gradient.movedim(channels, 1)  # Swin has them last
    finally:
        handle.remove()
    weights = gradient.float().mean(dim=(2, 3), keepdim=True)  # how much each map matters for the class
    cam = F.relu((weights * maps.detach().float()).sum(dim=1, keepdim=True))
    cam = F.interpolate(cam, size=images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    # an untrained network's maps are tiny, and still have a largest value; an empty map stays empty
    return (cam / cam.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(cam.dtype).tiny)).cpu()


def _place(model: nn.Module, at: str | nn.Module | None) -> tuple[nn.Module, int]:
    """Return the module whose output is weighed, and the dimension of that output which counts the channels."""
    if isinstance(at, nn.Module):
        return at, _channels_of(model, at)
    _, parts = _network(model)
    if parts[0].channels == 2:
        raise CourseError(
            "Grad-CAM weighs feature maps, and a vision transformer has none: it cuts the image into patches and "
            "scores its class token, whose gradient at the other patches of the last layer is zero. Use a "
            "convolutional network, such as ResNet, EfficientNet, VGG, SqueezeNet or DenseNet."
        )
    names = [part.name for part in parts]
    places = names[: next(i for i, name in enumerate(names) if name in ("pool", "hidden", "head"))]
    if at is not None and at not in places:
        raise CourseError(f"grad_cam: at={at!r} is unknown here: choose one of {', '.join(places)}, or a module.")
    part = parts[names.index(at or places[-1])]
    return part.modules[-1], part.channels


def _channels_of(model: nn.Module, at: nn.Module) -> int:
    """Return the dimension that counts the channels in a module's output: 1, or 3 where a Swin works on N H W C."""
    if isinstance(at, nn.Conv2d):
        return 1
    if type(at) is nn.Linear or (type(at) is nn.LayerNorm and len(at.normalized_shape) == 1):
        return 3  # these work on the last dimension, in ConvNeXt's blocks too
    try:
        _, parts = _network(model)
    except CourseError:  # a network of one's own
        return 1
    inside, channels = set(at.modules()), 1
    for part in parts:
        for i, module in enumerate(part.modules):
            if module in inside or at in set(module.modules()):  # a container of stages ends as its last one does
                # torchvision's Swin turns its maps round at the end of its last stage
                turned_later = any(isinstance(later, Permute) for later in part.modules[i + 1 :])
                channels = 3 if turned_later else part.channels
    return channels


def _network(model: nn.Module) -> tuple[nn.Module, list[Stage]]:
    try:
        return model, stages(model)
    except CourseError:
        inner = getattr(model, "backbone", None)
        if not isinstance(inner, nn.Module):
            raise
        return unwrap(inner), stages(inner)


def _asked(classes: Any, scores: Tensor) -> Tensor:
    """Return the class to explain for each image, (N, 1)."""
    if classes is None:
        return scores.argmax(dim=1, keepdim=True)
    asked = torch.as_tensor(classes, device=scores.device).reshape(-1).clone()
    n, outputs = scores.shape
    if asked.is_floating_point() or len(asked) not in (1, n):
        raise CourseError(f"grad_cam: classes must be one class number, or one for each of the {n} images.")
    if not 0 <= int(asked.min()) <= int(asked.max()) < outputs:
        raise CourseError(f"grad_cam: classes={asked.tolist()} must lie in 0 to {outputs - 1}.")
    return asked.long().expand(n).unsqueeze(1)


def show_grad_cam(
    images: Tensor,
    maps: Tensor | dict[str, Tensor],
    titles: Sequence[Any] | None = None,
    mean: Statistics | None = None,
    std: Statistics | None = None,
) -> Figure:
    """Show each image in a column and its map below it, laid over the image in grey: dark 0, bright 1.

    `maps` is what `grad_cam` returned, or {name: maps} to compare several models, a row each. Normalised images need
    their `mean` and `std`. Raises `CourseError` when the numbers of images, maps and titles differ.

    >>> figure = show_grad_cam(torch.rand(2, 3, 8, 8), torch.rand(2, 8, 8), titles=["daisy", "rose"])
    >>> len(figure.axes)
    5
    """
    import matplotlib.pyplot as plt

    from .plots import STYLE, WIDTH, _lines, _picture, _wrap

    rows = maps if isinstance(maps, dict) else {"Grad-CAM": maps}
    titles = [""] * len(images) if titles is None else [_wrap(title, 17) for title in titles]
    counts = {"images": len(images), "titles": len(titles), **{f"maps of {name}": len(m) for name, m in rows.items()}}
    if not len(images) or len(set(counts.values())) > 1:
        what = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise CourseError(f"show_grad_cam needs as many maps and titles as images, and at least one: got {what}.")
    cell = (WIDTH - 1.4) / max(6, len(images))
    size = (cell * len(images) + 1.4, (cell + 0.05) * (len(rows) + 1) + 0.17 * max(map(_lines, titles)))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(len(rows) + 1, len(images), figsize=size, squeeze=False)
        for column, (image, title) in enumerate(zip(images, titles, strict=True)):
            picture = _picture(image, mean, std)
            axes[0, column].imshow(picture)
            axes[0, column].set_title(title, fontsize=8)
            for row, heat in enumerate(rows.values(), start=1):
                axes[row, column].imshow(picture.mean(axis=2), cmap="gray", vmin=0, vmax=1)
                shade = axes[row, column].imshow(heat[column].numpy(), cmap="inferno", alpha=0.6, vmin=0, vmax=1)
        for ax in axes.flat:
            ax.set(xticks=[], yticks=[], frame_on=False)
        for ax, name in zip(axes[:, 0], ["image", *rows], strict=True):
            ax.set_ylabel(_wrap(name, 14), rotation=0, ha="right", va="center", fontsize=9)
        figure.colorbar(shade, ax=axes[1:, :], fraction=0.05, label="for the class")
    return figure
