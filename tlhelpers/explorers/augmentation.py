"""The augmentation explorer: choose a transform, move its numbers, see twelve looks at the same picture."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torchvision.transforms.v2 import functional as F

from ..plots import _classes_of, _picture, _statistics
from ..session import CourseError, random_state_kept
from ..transforms import denormalize
from .panel import Panel, Picture, button, choice, slider, switch
from .paper import write
from .recipes import CONTROLS, FIXED, STATISTICS, recipe

LOOKS = 12
WIDTH, LARGE, SMALL = 480, 150, 74  # pixels on the screen: the page; the shorter side of "before", and of a look


def explore_augmentation(source: Any, transform: str = "RandomResizedCrop", index: int = 0, side: int = 96) -> Panel:
    """Return a panel that shows what each transform of lesson 01 does to a picture: before, after, and twelve looks.

    `source` is a PIL image, a list of images, or a dataset of (image, label): PIL images or tensors (C, H, W). It
    should not augment by itself. `transform` is chosen at the start, `index` the picture. Pictures with a shorter side
    above `side` pixels are reduced to it first, so that the panel answers at once; sizes in the panel are pixels of
    that picture. The code below the picture makes the same transform. Looking changes no random numbers.

    Raises CourseError for a source without images, and for an unknown transform or index.

    >>> explore_augmentation(Image.new("RGB", (120, 96)), "CenterCrop")
    Augmentation explorer: CenterCrop keeps the middle, 64 x 64 pixels. No chance in it: all 12 looks are equal.
    """
    if isinstance(source, (Image.Image, torch.Tensor, np.ndarray)):
        source = [source]
    if transform not in CONTROLS:
        raise CourseError(f"transform={transform!r} is not in the list: {', '.join(CONTROLS)}.")
    if not hasattr(source, "__getitem__") or not hasattr(source, "__len__") or len(source) == 0:
        raise CourseError("explore_augmentation needs an image, a list of images or a dataset that is not empty.")
    if not 0 <= index < len(source):
        raise CourseError(f"index={index} does not exist: the source has the images 0 to {len(source) - 1}.")
    if not 16 <= side <= 256:
        raise CourseError(f"side={side} must lie between 16 and 256 pixels, for example side=96.")

    @functools.lru_cache(maxsize=64)
    def opened(number: int) -> tuple[Image.Image, str]:
        with random_state_kept():  # the source's own transform may be random
            return _open(source, number, side)

    first, _ = opened(index)  # a source that cannot be shown says so here, not behind a control
    if min(first.size) < 16:
        raise CourseError(f"picture {index} has {first.width} x {first.height} pixels, too few to see anything in it.")
    controls = _controls(transform, index, len(source), min(first.size))

    def draw(transform: str, index: int, again: int, **values: Any) -> Picture:
        picture, name = opened(index)
        wanted = {key: values[key] for key in CONTROLS[transform]}
        # a slider's 0.15 may arrive as 0.15000000000000002: not what anybody wants to copy
        wanted = {key: round(value, 2) if isinstance(value, float) else value for key, value in wanted.items()}
        make, code, words = recipe(transform, **wanted)
        torch.manual_seed(again)  # the same dice for every setting, until "Draw again"
        looks = [make(picture) for _ in range(LOOKS)]
        if transform == "Normalize":
            words += f" Its values run from {looks[0].min():.1f} to {looks[0].max():.1f}."
        shown = [_shown(look, transform) for look in looks]
        different = len({look.tobytes() for look in shown})
        chance = f"{different} different results in {LOOKS} looks."
        if transform in FIXED:
            chance = f"No chance in it: all {LOOKS} looks are equal."
        alt = f"{name}: before, {picture.width} x {picture.height} pixels, and after {transform}, "
        alt += f"{shown[0].width} x {shown[0].height}; below, {LOOKS} looks at the same picture"
        return Picture(_page(picture, shown), alt, f"{words} {chance}", code)

    def visible(transform: str, **_: Any) -> Sequence[str]:
        return ("transform", "index", *CONTROLS[transform], *(() if transform in FIXED else ("again",)))

    return Panel("Augmentation explorer", controls, draw, visible)


def _controls(transform: str, index: int, count: int, side: int) -> dict[str, Any]:
    return {
        "transform": choice("Transform", list(CONTROLS), transform),
        "index": slider("Picture", index, 0, count - 1),
        "size": slider("Size (pixels)", round(side * 2 / 3), 8, side),
        "square": switch("squeeze both sides to this size"),
        "padding": slider("Padding (pixels)", 4, 0, side // 2),
        "smallest": slider("Smallest area", 0.8, 0.05, 1.0, 0.05),
        "largest": slider("Largest area", 1.0, 0.05, 1.0, 0.05),
        "probability": slider("Probability", 0.5, 0.0, 1.0, 0.1),
        "degrees": slider("Degrees", 15, 0, 180, 5),
        "mean_colour": switch("fill corners with the mean colour"),
        "shift": slider("Shift (share)", 0.1, 0.0, 0.5, 0.05),
        "smaller": slider("Smallest zoom", 1.0, 0.3, 1.0, 0.05),
        "shear": slider("Shear (degrees)", 0, 0, 45, 5),
        "brightness": slider("Brightness", 0.2, 0.0, 1.0, 0.05),
        "contrast": slider("Contrast", 0.2, 0.0, 1.0, 0.05),
        "saturation": slider("Saturation", 0.2, 0.0, 1.0, 0.05),
        "hue": slider("Hue", 0.1, 0.0, 0.5, 0.05),
        "statistics": choice("Statistics", STATISTICS),
        "again": button("Draw again"),
    }


def _open(source: Any, number: int, side: int) -> tuple[Image.Image, str]:
    """Return picture `number` as RGB, its shorter side at most `side` pixels, and its name for the alt text."""
    item, name = source[number], f"picture {number}"
    if isinstance(item, (tuple, list)):
        item, label = item[0], item[1]
        classes = _classes_of(source)
        if classes is not None and isinstance(label, (int, np.integer, torch.Tensor)):
            name = f"picture {number}, {classes[int(label)]}"
    if isinstance(item, torch.Tensor) and item.dtype == torch.uint8:
        item = item.float() / 255
    if not isinstance(item, (Image.Image, torch.Tensor, np.ndarray)):
        raise CourseError(
            f"{name} is a {type(item).__name__}, not an image: hand over PIL images or tensors (C, H, W)."
        )
    if not isinstance(item, Image.Image):
        pixels = _picture(item, *_statistics(source, None, None))
        item = Image.fromarray(pixels if pixels.dtype == np.uint8 else (255 * pixels).round().astype(np.uint8))
    picture = item.convert("RGB")
    return (F.resize(picture, side) if min(picture.size) > side else picture), name


def _shown(look: Any, transform: str) -> Image.Image:
    """Return a look as an image: a normalised tensor as it is, clipped to 0..1, or denormalised after the pipeline."""
    if isinstance(look, Image.Image):
        return look
    return F.to_pil_image(look.clamp(0, 1) if transform == "Normalize" else denormalize(look))


def _page(picture: Image.Image, looks: Sequence[Image.Image]) -> Image.Image:
    """Put before and after large and at one zoom, so that sizes can be compared; below them all looks, small."""
    across, down = (max(a, b) for a, b in zip(picture.size, looks[0].size, strict=True))  # the page keeps its height
    large = min(LARGE / min(picture.size), (WIDTH - 20) / (picture.width + across))
    small = min(SMALL / min(looks[0].size), 114 / max(looks[0].size))
    wide, high = (round(small * side) + 6 for side in looks[0].size)
    columns = max(1, min(6, (WIDTH + 6) // wide))
    top = round(large * down) + 52
    page = Image.new("RGB", (WIDTH, top + high * math.ceil(len(looks) / columns)), "white")
    after = min(WIDTH // 2, WIDTH - round(large * across))
    for left, title, image in ((0, "before", picture), (after, "after", looks[0])):
        write(page, (left, 2), f"{title}: {image.width} x {image.height}")
        page.paste(_zoomed(image, large), (left, 22))
    write(page, (0, top - 20), f"{len(looks)} looks at the same picture")
    for number, look in enumerate(looks):
        page.paste(_zoomed(look, small), (number % columns * wide, top + number // columns * high))
    return page


def _zoomed(image: Image.Image, factor: float) -> Image.Image:
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    zoomed = image.resize(size, Image.Resampling.BICUBIC)
    ImageDraw.Draw(zoomed).rectangle((0, 0, size[0] - 1, size[1] - 1), outline="#999999")  # it may be white all over
    return zoomed
