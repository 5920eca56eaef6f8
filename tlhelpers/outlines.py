"""Scenes with their boxes and masks drawn on them, by torchvision.utils. Each function returns the Figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor
from torchvision.transforms.v2 import functional as vF
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from .plots import BLUE, GREEN, ORANGE, PURPLE, SKY, STYLE, VERMILLION, WIDTH, _grid, _lines, _wrap
from .session import CourseError

OUTLINE = (SKY, PURPLE, VERMILLION, ORANGE, BLUE, GREEN)  # of class 1, 2, ...: bright enough on a meadow
ENLARGE = 3  # boxes are drawn on an image three times as large: their lines stay thin


def _pixels(image: Any) -> Tensor:
    """uint8 (3, H, W) of a tensor with pixels 0..255 or 0..1, or of a PIL image."""
    image = image if isinstance(image, Tensor) else vF.pil_to_tensor(image)
    if image.ndim != 3 or image.shape[0] != 3:
        raise CourseError(f"an image of shape {tuple(image.shape)} cannot be shown: expected (3, H, W).")
    if image.is_floating_point():
        if image.min() < -0.01 or image.max() > 1.01:
            raise CourseError(
                "the images are normalised (values outside 0..1): tl.denormalize(image, mean, std) first."
            )
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return image.detach().cpu().as_subclass(Tensor)


def _figure(count: int, titles: Sequence[Any] | None, ncols: int) -> tuple[Figure, list, list[str]]:
    if count == 0:
        raise CourseError("there is nothing to show: the list of images is empty.")
    if titles is not None and len(titles) != count:
        raise CourseError(f"{count} images but {len(titles)} titles: give one title per image.")
    labels = [""] * count if titles is None else [_wrap(title, 124 // max(ncols, 4)) for title in titles]
    figure, axes = _grid(count, ncols, max(map(_lines, labels)))
    return figure, axes, labels


def _check_classes(classes: Sequence[str], numbers: Tensor) -> None:
    """The names must begin with the background's, and reach as far as the numbers that are drawn."""
    names = [] if isinstance(classes, str) else list(classes)
    if len(names) < 2 or "background" not in names[0].lower():
        raise CourseError(
            f"classes={classes!r} must name the background first and at least one kind: "
            '["background", "daisy"], or tl.scene_classes.'
        )
    if len(numbers) and numbers.max() >= len(names):
        raise CourseError(
            f"class {int(numbers.max())} is to be drawn, but classes names only 0 to {len(names) - 1}: "
            "give all names, the background first."
        )


def show_boxes(
    images: Sequence[Any],
    targets: Sequence[dict],
    classes: Sequence[str],
    titles: Sequence[Any] | None = None,
    score: float = 0.5,
    ncols: int = 4,
) -> Figure:
    """Draw boxes with their class on images (3, H, W): true ones (targets), or predictions, those of at least `score`.

    `classes` names all classes, the background at place 0, as `scene_classes` does. Raises CourseError when it does
    not, or for a label without a name.

    >>> target = {"boxes": torch.tensor([[2.0, 2.0, 20.0, 30.0]]), "labels": torch.tensor([1])}
    >>> len(show_boxes([torch.rand(3, 32, 32)], [target], ["background", "daisy"]).axes)
    1
    """
    if len(images) != len(targets):
        raise CourseError(f"{len(images)} images but {len(targets)} sets of boxes: give one for each image.")
    with plt.rc_context(STYLE):
        figure, axes, labels = _figure(len(images), titles, ncols)
        for ax, image, target, label in zip(axes, images, targets, labels, strict=False):
            large = _pixels(image).repeat_interleave(ENLARGE, 1).repeat_interleave(ENLARGE, 2)
            kept = (
                target["scores"] >= score if "scores" in target else torch.ones(len(target["boxes"]), dtype=torch.bool)
            )
            boxes, numbers = target["boxes"].detach().cpu()[kept.cpu()], target["labels"].detach().cpu()[kept.cpu()]
            _check_classes(classes, numbers)
            colours = [OUTLINE[(n - 1) % len(OUTLINE)] for n in numbers.tolist()]
            if len(boxes):
                large = draw_bounding_boxes(large, boxes.as_subclass(Tensor) * ENLARGE, colors=colours, width=ENLARGE)
            ax.imshow(large.permute(1, 2, 0).numpy())
            ax.set_title(label, fontsize=8)
            said = target["scores"].detach().cpu()[kept.cpu()].tolist() if "scores" in target else None
            for row, (x, y, _, _) in enumerate((boxes * ENLARGE).tolist()):
                text = classes[numbers[row]] + (f" {said[row]:.2f}" if said else "")
                # kept inside the picture, by the rough size of a letter
                x, y = max(0, min(x, large.shape[2] - 12 * len(text))), max(y, 26)
                ax.text(x, y, text, fontsize=7, va="bottom", clip_on=True, color="black",
                        bbox={"facecolor": colours[row], "edgecolor": "none", "pad": 0.6})  # fmt: skip
    return figure


def show_masks(
    images: Sequence[Any],
    maps: Sequence[Tensor],
    classes: Sequence[str],
    titles: Sequence[Any] | None = None,
    ncols: int = 4,
    alpha: float = 0.75,
) -> Figure:
    """Colour every pixel of the images (3, H, W) by its class in `maps` (H, W), except class 0, the background.

    `classes` names all classes, the background at place 0; a legend says which colour is which. Raises CourseError
    when it does not, for a class without a name, and for a map of another size than its image.

    >>> class_map = torch.zeros(32, 32, dtype=torch.long); class_map[8:20, 8:20] = 1
    >>> len(show_masks([torch.rand(3, 32, 32)], [class_map], ["background", "daisy"]).axes)
    1
    """
    if len(images) != len(maps):
        raise CourseError(f"{len(images)} images but {len(maps)} maps: give one for each image.")
    with plt.rc_context(STYLE):
        figure, axes, labels = _figure(len(images), titles, ncols)
        colours = [OUTLINE[i % len(OUTLINE)] for i in range(len(classes) - 1)]
        for ax, image, class_map, label in zip(axes, images, maps, labels, strict=False):
            pixels, class_map = _pixels(image), class_map.cpu()
            _check_classes(classes, class_map.flatten())
            height_width = tuple(pixels.shape[1:])
            if class_map.shape != height_width:
                raise CourseError(
                    f"a map of shape {tuple(class_map.shape)} does not fit an image of {height_width} pixels: "
                    "resize both together, as v2.Resize(...)(image, target) does."
                )
            masks = torch.stack([class_map == number for number in range(1, len(classes))])
            picture = draw_segmentation_masks(pixels, masks, alpha=alpha, colors=colours)
            ax.imshow(picture.permute(1, 2, 0).numpy())
            ax.set_title(label, fontsize=8)
        patches = [Patch(color=colour, label=name) for colour, name in zip(colours, classes[1:], strict=True)]
        figure.legend(handles=patches, loc="outside lower center", ncols=len(colours), frameon=False, fontsize=9)
    return figure


def plot_losses(losses: Sequence[dict[str, float]] | Sequence[float] | dict[str, Sequence[float]]) -> Figure:
    """Plot losses by epoch: what `train_detector` (a line per part) or `train_segmenter` returns, or {name: losses}.

    >>> len(plot_losses([{"box": 2.0, "loss": 3.0}, {"box": 1.0, "loss": 1.5}]).axes[0].lines)
    2
    """
    if isinstance(losses, dict):
        runs = losses
    elif len(losses) and isinstance(losses[0], dict):
        runs = {name: [row[name] for row in losses] for name in losses[0]}
    else:
        runs = {"loss": losses}
    if not runs or not any(len(values) for values in runs.values()):
        raise CourseError("there is nothing to plot: no epoch was finished.")
    with plt.rc_context(STYLE):
        figure, ax = plt.subplots(figsize=(WIDTH * 0.75, 3))
        for number, (name, values) in enumerate(runs.items()):
            ax.plot(range(1, len(values) + 1), values, marker="osD^vP"[number % 6], markersize=4, label=name)
        ax.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
        ax.xaxis.set_major_locator(plt.MaxNLocator(integer=True))
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return figure
