"""The mixing explorer: mixup and CutMix of two images by a share λ, the soft label, and where α lets λ fall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..plots import BLUE, ORANGE, VERMILLION, _picture
from ..session import CourseError
from ..transforms import Statistics
from .panel import Panel, Picture, button, choice, slider
from .paper import bar, fitted, write

WIDTH, SIDE, GAP = 480, 148, 18  # pixels on the screen: the page, one image, the space between two
BY_HAND, DRAWN = "set by hand", "drawn from Beta(α, α)"
Box = tuple[int, int, int, int]  # top, bottom, left, right


def explore_mixing(
    images: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    mean: Statistics | None = None,
    std: Statistics | None = None,
    method: str = "mixup",
) -> Panel:
    """Return a panel that mixes two of the images by mixup or CutMix and shows the mixture with its soft label.

    `images` are a float batch (N, C, H, W) of at least two; normalised ones need their `mean` and `std`. `labels` are N
    class numbers, `classes` the names of the classes. `method` is chosen at the start. λ is the first image's share:
    set by hand, or drawn from Beta(α, α), whose density stands below. CutMix corrects λ to the pixels that were really
    pasted, as torchvision does. Looking changes no random numbers.

    Raises CourseError for images, labels or classes that do not fit together. Sources: Zhang et al. 2017,
    arXiv:1710.09412; Yun et al. 2019, arXiv:1905.04899.

    >>> explore_mixing(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), ["daisy", "rose"])
    Mixing explorer: mixup with λ = 0.70. Label: 70% daisy, 30% rose.
    """
    labels = _checked(images, labels, classes)
    if method not in ("mixup", "CutMix"):
        raise CourseError(f"method={method!r} must be 'mixup' or 'CutMix'.")
    _picture(images[0], mean, std)  # normalised images without mean and std say so here, not behind a control
    last = len(images) - 1
    controls = {
        "method": choice("Method", ["mixup", "CutMix"], method),
        "first": slider("First image", 0, 0, last),
        "second": slider("Second image", 1, 0, last),
        "origin": choice("λ is", [BY_HAND, DRAWN]),
        "lam": slider("λ (first's share)", 0.7, 0.0, 1.0, 0.05),
        "across": slider("Box: across", 0.5, 0.0, 1.0, 0.05),
        "down": slider("Box: down", 0.5, 0.0, 1.0, 0.05),
        "alpha": slider("α", 0.2, 0.1, 2.0, 0.1),
        "again": button("Draw λ again"),
    }

    def draw(method: str, first: int, second: int, origin: str, again: int, **places: float) -> Picture:
        lam, across, down, alpha = (places[name] for name in ("lam", "across", "down", "alpha"))
        if origin == DRAWN:
            torch.manual_seed(again)  # the same dice for every α, until "Draw λ again"
            lam = torch.distributions.Beta(alpha, alpha).sample().item()
            across, down = torch.rand(2).tolist()
        box = cut_box(lam, across, down, *images.shape[-2:]) if method == "CutMix" else None
        mixture, share = mix_pair(images[first], images[second], lam, box)
        names = classes[labels[first]], classes[labels[second]]
        parts = [(names[0], 1.0)] if labels[first] == labels[second] else [(names[0], share), (names[1], 1 - share)]
        label = ", ".join(f"{part:.0%} {name}" for name, part in parts)
        same = ", as both images are of this class" if len(parts) == 1 else ""
        counted = f" asked for, {share:.2f} counted" if box and abs(share - lam) >= 0.005 else ""
        status = f"{method} with λ = {lam:.2f}{counted}. Label: {label}{same}."
        if origin == DRAWN:
            status += f" At α = {alpha:.1f}, {real_mixtures(alpha):.0%} of the draws lie between 0.1 and 0.9."
        shown = [_image(image, mean, std) for image in (images[first], images[second], mixture)]
        page = _page(shown, names, box, images.shape[-2:], parts, lam, alpha)
        alt = f"{names[0]}, {names[1]} and their mixture by {method}; a bar with the label: {label}; "
        alt += f"the density of Beta({alpha:.1f}, {alpha:.1f}) with a mark at λ = {lam:.2f}"
        return Picture(page, alt, status, _code(origin, (first, second), lam, box, alpha, len(classes)))

    def visible(method: str, origin: str, **_: Any) -> Sequence[str]:
        by_hand = ("lam", "across", "down") if method == "CutMix" else ("lam",)
        return ("method", "first", "second", "origin", "alpha", *(by_hand if origin == BY_HAND else ("again",)))

    return Panel("Mixing explorer", controls, draw, visible)


def _checked(images: Tensor, labels: Tensor, classes: Sequence[str]) -> list[int]:
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.is_floating_point() or len(images) < 2:
        raise CourseError("images must be a float batch of shape (N, C, H, W) with at least two images.")
    labels = torch.as_tensor(labels)
    if labels.shape != (len(images),) or labels.is_floating_point():
        raise CourseError(f"labels must be one whole class number for each of the {len(images)} images, not mixed yet.")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        raise CourseError(f"label {low if low < 0 else high} has no name: classes must list the names of all classes.")
    return labels.tolist()


def cut_box(lam: float, across: float, down: float, height: int, width: int) -> Box:
    """Return (top, bottom, left, right) of CutMix's box in pixels: 1 - λ of the area, clipped at the border.

    `across` and `down` place its centre, 0 .. 1 from the left and from the top. As in torchvision's v2.CutMix.

    >>> cut_box(0.75, 0.5, 0.5, 64, 64), cut_box(0.75, 0.0, 0.0, 64, 64)
    ((16, 48, 16, 48), (0, 16, 0, 16))
    """
    y, x = min(int(down * height), height - 1), min(int(across * width), width - 1)
    half_height, half_width = int(0.5 * math.sqrt(1 - lam) * height), int(0.5 * math.sqrt(1 - lam) * width)
    return max(y - half_height, 0), min(y + half_height, height), max(x - half_width, 0), min(x + half_width, width)


def mix_pair(first: Tensor, second: Tensor, lam: float, box: Box | None = None) -> tuple[Tensor, float]:
    """Return the mixture of two images (C, H, W) and the first one's share: mixup, or CutMix where a box is given.

    >>> mix_pair(torch.zeros(1, 4, 4), torch.ones(1, 4, 4), 0.5, box=(0, 2, 0, 2))[1]
    0.75
    """
    if box is None:
        return lam * first + (1 - lam) * second, lam
    top, bottom, left, right = box
    mixture = first.clone()
    mixture[:, top:bottom, left:right] = second[:, top:bottom, left:right]
    return mixture, 1 - (bottom - top) * (right - left) / (first.shape[-2] * first.shape[-1])


def density(alpha: float, x: np.ndarray) -> np.ndarray:
    """Return the density of Beta(α, α) at `x`, numbers between 0 and 1 without the ends.

    >>> density(1.0, np.array([0.2, 0.5])).tolist()
    [1.0, 1.0]
    """
    return np.exp(math.lgamma(2 * alpha) - 2 * math.lgamma(alpha) + (alpha - 1) * np.log(x * (1 - x)))


def real_mixtures(alpha: float) -> float:
    """Return the share of draws from Beta(α, α) that lie between 0.1 and 0.9.

    >>> round(real_mixtures(1.0), 3)
    0.8
    """
    x = np.linspace(0.1, 0.9, 401)
    y = density(alpha, x)
    return float(((y[1:] + y[:-1]) / 2).sum() * (x[1] - x[0]))


def _code(origin: str, numbers: tuple[int, int], lam: float, box: Box | None, alpha: float, classes: int) -> str:
    first, second = numbers
    if origin == DRAWN:
        alphas = f"mixup_alpha={alpha:.1f}" if box is None else f"mixup_alpha=0, cutmix_alpha={alpha:.1f}"
        return f"tl.MixingCollate({classes}, {alphas})"
    if box is None:
        return f"mixed = {lam:.2f} * images[{first}] + {1 - lam:.2f} * images[{second}]"
    place = f"[:, {box[0]}:{box[1]}, {box[2]}:{box[3]}]"
    return f"mixed = images[{first}].clone()\nmixed{place} = images[{second}]{place}"


def _image(image: Tensor, mean: Statistics | None, std: Statistics | None) -> Image.Image:
    pixels = np.asarray(_picture(image, mean, std))
    return Image.fromarray((255 * pixels.clip(0, 1)).round().astype(np.uint8)).resize((SIDE, SIDE), Image.BICUBIC)


def _page(
    shown: Sequence[Image.Image],
    names: tuple[str, str],
    box: Box | None,
    size: Sequence[int],
    parts: Sequence[tuple[str, float]],
    lam: float,
    alpha: float,
) -> Image.Image:
    """Three images in a row, the label as a bar, the density of Beta(α, α) with a mark at λ."""
    page = Image.new("RGB", (WIDTH, SIDE + 215), "white")
    for number, (image, title) in enumerate(zip(shown, (*names, "mixture"), strict=True)):
        left = number * (SIDE + GAP)
        if number == 1 and box is not None:
            _outline(image, box, size)
        write(page, (left, 2), fitted(title, SIDE))
        page.paste(image, (left, 22))
    top = SIDE + 34
    write(page, (0, top), "label")
    left = 44.0
    for (_, part), colour, hatch in zip(parts, (BLUE, ORANGE), ("", "/"), strict=False):
        right = left + part * (WIDTH - 44)
        bar(page, (left, top - 3, right, top + 19), colour, hatch)
        left = right
    words = "   ".join(f"{part:.0%} {name}" for name, part in parts)
    write(page, (44, top + 23), fitted(words, WIDTH - 44))
    page.paste(_density_plot(alpha, lam), (0, top + 50))
    return page


def _outline(image: Image.Image, box: Box, size: Sequence[int]) -> None:
    """Mark on the second image what is cut out of it."""
    top, bottom, left, right = (
        round(place * SIDE / length) for place, length in zip(box, (size[0], size[0], size[1], size[1]), strict=True)
    )
    if bottom > top and right > left:
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), outline=VERMILLION, width=2)


def _density_plot(alpha: float, lam: float) -> Image.Image:
    height, left, fine = 130, 44, 3  # drawn three times as large, then reduced: smooth lines
    low, high = 96, 20  # where the density is 0, and where 4 or more
    x = np.linspace(0.002, 0.998, 400)
    y = low - (low - high) * density(alpha, x).clip(0, 4) / 4
    curve = [(fine * (left + a * (WIDTH - left - 8)), fine * b) for a, b in zip(x, y, strict=True)]
    plot = Image.new("RGB", (fine * WIDTH, fine * height), "white")
    pen = ImageDraw.Draw(plot)
    pen.line((fine * left, fine * low, fine * (WIDTH - 8), fine * low), fill="#555555", width=fine)
    pen.line(curve, fill=BLUE, width=2 * fine)
    mark = left + lam * (WIDTH - left - 8)
    pen.line((fine * mark, fine * high, fine * mark, fine * low), fill=VERMILLION, width=2 * fine)
    plot = plot.resize((WIDTH, height), Image.Resampling.LANCZOS)
    for share in (0.0, 0.5, 1.0):
        write(plot, (left + share * (WIDTH - left - 8), low + 4), f"{share:g}", 12, anchor="ma")
    write(
        plot,
        (WIDTH / 2 + 18, low + 18),
        f"λ, drawn from Beta({alpha:.1f}, {alpha:.1f}): the higher the line, the more often",
        12,
        anchor="ma",
    )
    write(plot, (min(max(mark, 70), WIDTH - 40), 4), f"λ = {lam:.2f}", 12, anchor="ma")
    return plot
