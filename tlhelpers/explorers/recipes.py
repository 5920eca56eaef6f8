"""The transforms of lesson 01, each with the code that makes it and what it does in words."""

from __future__ import annotations

from typing import Any

import torch
from torchvision.transforms import v2

from ..transforms import IMAGENET_MEAN, IMAGENET_STD, train_transform

MEAN_COLOUR = tuple(round(255 * value) for value in IMAGENET_MEAN)
# every transform of lesson 01 and the controls that belong to it
CONTROLS = {
    "Resize": ("size", "square"),
    "CenterCrop": ("size",),
    "RandomCrop": ("size", "padding"),
    "RandomResizedCrop": ("size", "smallest", "largest"),
    "RandomHorizontalFlip": ("probability",),
    "RandomRotation": ("degrees", "mean_colour"),
    "RandomAffine": ("degrees", "shift", "smaller", "shear", "mean_colour"),
    "ColorJitter": ("brightness", "contrast", "saturation", "hue"),
    "Normalize": ("statistics",),
    "Training pipeline": ("size", "smallest", "degrees"),
}
STATISTICS = ["ImageNet's", "0.5 for all", "ImageNet's, twice", "without scale=True"]
FIXED = ("Resize", "CenterCrop", "Normalize")  # no chance in them


def recipe(name: str, **values: Any) -> tuple[Any, str, str]:
    """Return the transform, the code that makes it, and what it does in words; `values` are those of CONTROLS[name].

    >>> recipe("CenterCrop", size=64)[1:]
    ('v2.CenterCrop(64)', 'CenterCrop keeps the middle, 64 x 64 pixels.')
    """
    return _WORKSHOP[name](**values)


def _call(name: str, *places: Any, **options: Any) -> tuple[Any, str]:
    """Make v2.name(...) and write it down: one source for what runs and what a learner copies."""
    written = [repr(place) for place in places] + [f"{key}={value!r}" for key, value in options.items()]
    return getattr(v2, name)(*places, **options), f"v2.{name}({', '.join(written)})"


def _resize(size: int, square: bool) -> tuple[Any, str, str]:
    if square:
        return *_call("Resize", (size, size)), f"Resize squeezes the picture into {size} x {size} pixels."
    return *_call("Resize", size), f"Resize makes the shorter side {size} pixels and keeps the proportions."


def _center_crop(size: int) -> tuple[Any, str, str]:
    return *_call("CenterCrop", size), f"CenterCrop keeps the middle, {size} x {size} pixels."


def _random_crop(size: int, padding: int) -> tuple[Any, str, str]:
    words = f"RandomCrop adds a black margin of {padding} pixels and cuts {size} x {size} at a random place."
    options = {"padding": padding} if padding else {}
    return *_call("RandomCrop", size, **options), words


def _random_resized_crop(size: int, smallest: float, largest: float) -> tuple[Any, str, str]:
    scale = (min(smallest, largest), max(smallest, largest))
    area = f"{scale[0]:.0%} to {scale[1]:.0%} of the area"
    words = f"RandomResizedCrop cuts out {area} at a random place and zooms it to {size} x {size}."
    return *_call("RandomResizedCrop", size, scale=scale), words


def _flip(probability: float) -> tuple[Any, str, str]:
    words = f"RandomHorizontalFlip mirrors {probability:.0%} of the pictures, left for right."
    return *_call("RandomHorizontalFlip", p=probability), words


def _rotation(degrees: int, mean_colour: bool) -> tuple[Any, str, str]:
    options = {"fill": MEAN_COLOUR} if mean_colour else {}
    corners = "ImageNet's mean colour" if mean_colour else "black"
    words = f"RandomRotation turns by up to {degrees} degrees either way; what opens is {corners}."
    return *_call("RandomRotation", degrees, **options), words


def _affine(degrees: int, shift: float, smaller: float, shear: int, mean_colour: bool) -> tuple[Any, str, str]:
    options: dict[str, Any] = {"fill": MEAN_COLOUR} if mean_colour else {}
    if shift:
        options["translate"] = (shift, shift)
    if smaller < 1:
        options["scale"] = (smaller, 1.0)
    if shear:
        options["shear"] = shear
    words = f"RandomAffine turns by up to {degrees} degrees, shifts by up to {shift:.0%} of width and height"
    words += f", zooms down to {smaller:.0%}" * (smaller < 1) + f", shears by up to {shear} degrees" * (shear > 0)
    return *_call("RandomAffine", degrees, **options), f"{words}."


def _jitter(**amounts: float) -> tuple[Any, str, str]:
    words = ", ".join(f"{name} {amount:g}" for name, amount in amounts.items() if amount)
    return *_call("ColorJitter", **amounts), f"ColorJitter changes by up to: {words or 'nothing'}."


def _normalize(statistics: str) -> tuple[Any, str, str]:
    half = (0.5, 0.5, 0.5)
    mean, std = (half, half) if statistics == "0.5 for all" else (IMAGENET_MEAN, IMAGENET_STD)
    once, code = _call("Normalize", mean, std)
    scale = statistics != "without scale=True"
    times = 2 if statistics.endswith("twice") else 1
    steps = ["v2.ToImage()", f"v2.ToDtype(torch.float32{', scale=True' * scale})", *[code] * times]
    make = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=scale), *[once] * times])
    words = "Normalize as the network gets it, drawn as if it were a picture: what is below 0 is black, above 1 white."
    return make, "v2.Compose([\n    " + ",\n    ".join(steps) + ",\n])", words


def _pipeline(size: int, smallest: float, degrees: int) -> tuple[Any, str, str]:
    scale = (smallest, 1.0)
    words = f"Turn by up to {degrees} degrees, crop {smallest:.0%} to 100% of the area, flip half of them, Normalize."
    code = f"tl.train_transform({size}, scale={scale}, rotation={degrees})"
    return train_transform(size, scale=scale, rotation=degrees), code, f"{words} Drawn denormalised."


_WORKSHOP = {
    "Resize": _resize,
    "CenterCrop": _center_crop,
    "RandomCrop": _random_crop,
    "RandomResizedCrop": _random_resized_crop,
    "RandomHorizontalFlip": _flip,
    "RandomRotation": _rotation,
    "RandomAffine": _affine,
    "ColorJitter": _jitter,
    "Normalize": _normalize,
    "Training pipeline": _pipeline,
}
