"""Checks of lesson 01: crop area, black corners, statistics by hand, the evaluation pipeline, the shared transform."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Subset
from torchvision.transforms import v2

from . import attempted, exercise, require

_DRAWS = 60  # enough random draws that a fault that shows in one draw of ten is not missed


@exercise("01.1", expects="a number of pixels, for example 150")
def check_shortest_side(shortest):
    attempted(shortest)
    shortest, right = float(shortest), 200 * math.sqrt(0.8)
    require(abs(shortest - 160) > 0.6, "160 is 0.8 of the side: scale is a share of the area, so take a square root")
    require(abs(shortest - 128) > 0.6, "128 squares the 0.8: from area back to side it is the square root")
    require(abs(shortest - math.sqrt(0.8)) > 0.01, "that is the share of the side: multiply by the 200 pixels")
    require(abs(shortest - 0.8 * 200**2) > 1, "that is the area in square pixels: its square root is the side")
    require(abs(shortest - right) < 0.6, f"{shortest:.1f} is not it: side times side must be 0.8 of 200 times 200")
    return f"{right:.0f} of 200 pixels: four fifths of the area is still almost nine tenths of the side"


@exercise("01.2", expects="a transform that takes a PIL image, for example v2.Compose([...])")
def check_black_corners(pipeline):
    attempted(pipeline)
    parts = _parts(pipeline)
    names = [type(part).__name__ for part in parts]  # by name: v1 and v2 transforms are both fine here
    rotations = [part for part in parts if type(part).__name__ == "RandomRotation"]
    require(rotations, "the rotation is gone: keep v2.RandomRotation(15) and give it more picture to turn")
    require(max(rotations[0].degrees) >= 15, "the angle became smaller: keep 15 degrees and enlarge the crop instead")
    require(
        "RandomResizedCrop" in names,
        "the random crop is gone: keep v2.RandomResizedCrop, only with a larger size",
    )
    torch.manual_seed(0)
    colour = (200, 120, 220)
    results = [pipeline(Image.new("RGB", (96, 96), colour)) for _ in range(_DRAWS * 5)]
    require(all(isinstance(result, Image.Image) for result in results), "leave the result a PIL image, no tensor yet")
    sizes = {result.size for result in results}
    require(
        sizes == {(64, 64)}, f"the result must be 64 by 64 pixels, yours is {sorted(sizes)[0]}: end on CenterCrop(64)"
    )
    spoiled = sum(bool((np.array(result) != colour).any()) for result in results)
    last_crop = max(place for place, name in enumerate(names) if "Crop" in name)
    require(
        not spoiled or names.index("RandomRotation") < last_crop,
        "black corners: the rotation comes last, so nothing cuts them off; rotate before CenterCrop",
    )
    share = f"{100 * spoiled / len(results):.0f}"
    require(
        not spoiled,
        f"black corners are left in {share} % of the draws: a square turned by 15 degrees must be about 1.23 times "
        "as wide as the crop taken from its middle",
    )
    return "the corners that the rotation tore open lie outside the centre crop, whatever the angle"


@exercise("01.3", expects="mean and std as tensors of three numbers, then the pictures")
def check_statistics(mean, std, pictures):
    attempted(mean, std)
    mean, std = torch.as_tensor(mean).squeeze(), torch.as_tensor(std).squeeze()
    for name, value in {"mean": mean, "std": std}.items():
        require(value.ndim > 0, f"{name} is one number for all colours: leave the channel dimension out of dim=(...)")
        require(
            value.shape != pictures.shape[1:],
            f"{name} is a whole picture: average over the pixels too, dimensions 2 and 3, not only over the images",
        )
        require(value.shape != pictures.shape[:1], f"{name} has one number per image: average over dimension 0 as well")
        require(
            tuple(value.shape) == (3,),
            f"{name} has shape {tuple(value.shape)}: three numbers are wanted, one per colour channel",
        )
    right_mean, right_std = pictures.mean(dim=(0, 2, 3)), pictures.std(dim=(0, 2, 3))
    per_image = pictures.std(dim=(2, 3)).mean(dim=0)
    require(mean.max() <= 1, "the mean is above 1: these are bytes, the pictures here run from 0 to 1")
    require(torch.allclose(mean, right_mean, atol=1e-3), "the mean is off: pictures.mean over images, rows and columns")
    require(
        not torch.allclose(std, per_image, atol=1e-3),
        "that std is the average of the single images' spreads: it misses how images differ from each other; "
        "take one std over all pixels of all images",
    )
    require(not torch.allclose(std, right_std**2, atol=1e-3), "that is the variance: take its square root, or use .std")
    require(torch.allclose(std, right_std, atol=1e-3), "the std is off: pictures.std over images, rows and columns")
    return "one mean and one std per colour, taken over every pixel of every training image"


@exercise("01.4", expects="a transform that takes a PIL image, and the preset to compare with")
def check_evaluation_pipeline(pipeline, preset):
    attempted(pipeline)
    picture = _test_picture(2 * preset.resize_size[0])
    try:
        first, second = pipeline(picture), pipeline(picture)
    except TypeError as error:
        require("float" not in str(error), "Normalize needs floats: put ToDtype(torch.float32, scale=True) before it")
        raise
    require(isinstance(first, torch.Tensor), "the result is still a PIL image: add v2.ToImage() and v2.ToDtype")
    require(first.is_floating_point(), "the pixels are still bytes: add v2.ToDtype(torch.float32, scale=True)")
    right = preset(picture)
    require(
        first.shape == second.shape and torch.equal(first, second),
        "two runs give two results: something random is inside, and evaluation must not be random",
    )
    raw = _undo(right, preset)
    if first.shape == right.shape:
        wrong = {
            "Normalize is missing: the values still lie between 0 and 1": raw,
            "scale=True is missing in ToDtype: the values ran up to 255 when Normalize saw them": _redo(
                255 * raw, preset
            ),
            "scale=True and Normalize are both missing: the values run up to 255": 255 * raw,
            "normalised twice: leave one Normalize out": _redo(right, preset),
        }
        for mistake, result in wrong.items():
            require(not torch.allclose(first, result, atol=2e-2), mistake)
    _require_frame(first, right, pipeline, preset)
    require(
        torch.allclose(first, right, atol=2e-2),
        "size and range are right, the values are not: compare mean, std and the order Resize, CenterCrop, ToImage, "
        "ToDtype, Normalize with the preset",
    )
    return "the same numbers as the preset: the network sees what it saw during pretraining"


@exercise("01.5", expects="two Subsets, the training part and the validation part")
def check_two_datasets(train_part, val_part):
    attempted(train_part, val_part)
    for name, part in {"train_part": train_part, "val_part": val_part}.items():
        require(isinstance(part, Subset), f"{name} should be a torch.utils.data.Subset, it is a {type(part).__name__}")
        require(len(part) > 0, f"{name} is empty: give Subset the list of indices")
    overlap = set(train_part.indices) & set(val_part.indices)
    require(
        not overlap, f"{len(overlap)} images are in both parts: use train_index for one and val_index for the other"
    )
    require(len(train_part) > len(val_part), "the parts are swapped: the training part is the larger one")
    torch.manual_seed(0)
    train_moves, val_moves = _moves(train_part), _moves(val_part)
    if train_part.dataset is val_part.dataset:
        require(
            not val_moves,
            "the validation images are augmented: both parts read from one dataset with one transform; make a second "
            "dataset for validation",
        )
        require(False, "both parts share one dataset, so now the training part is not augmented any more: make two")
    require(not (val_moves and not train_moves), "the pipelines are swapped: the random one belongs to training")
    require(not val_moves, "the validation images still change: give the second dataset the evaluation pipeline")
    require(train_moves, "the training images do not change any more: keep the random pipeline for the training part")
    return "two datasets over the same files, one list of indices each: training varies, validation stands still"


def _parts(pipeline) -> list:
    """Return the transforms inside a (possibly nested) Compose, in order."""
    inner = getattr(pipeline, "transforms", None)
    if callable(inner) or inner is None:
        return [pipeline]
    return [part for step in inner for part in _parts(step)]


def _test_picture(side: int) -> Image.Image:
    """A smooth colour picture, wider than high: the frame and the colours of a wrong pipeline differ visibly."""
    y, x = np.mgrid[0:side, 0 : side * 3 // 2] / side
    channels = [0.3 + 0.4 * x / 1.5, 0.8 - 0.7 * y, 0.1 + 0.5 * (x + y) / 2.5]
    return Image.fromarray(np.stack([255 * channel for channel in channels], axis=-1).astype(np.uint8))


def _statistics(preset) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(preset.mean).view(3, 1, 1), torch.tensor(preset.std).view(3, 1, 1)


def _redo(tensor: torch.Tensor, preset) -> torch.Tensor:
    mean, std = _statistics(preset)
    return (tensor - mean) / std


def _undo(tensor: torch.Tensor, preset) -> torch.Tensor:
    mean, std = _statistics(preset)
    return tensor * std + mean


def _require_frame(result: torch.Tensor, right: torch.Tensor, pipeline, preset) -> None:
    resize, crop = preset.resize_size[0], preset.crop_size[0]
    kinds = [type(part) for part in _parts(pipeline)]
    if v2.Resize in kinds and v2.CenterCrop in kinds:
        require(
            kinds.index(v2.Resize) < kinds.index(v2.CenterCrop),
            f"the crop comes before the resize: first v2.Resize({resize}), then v2.CenterCrop({crop})",
        )
    require(
        result.shape == right.shape,
        f"the result has shape {tuple(result.shape)}, the network expects {tuple(right.shape)}: "
        f"v2.Resize({resize}) brings the shorter side to {resize}, v2.CenterCrop({crop}) cuts the square",
    )
    squeezed = v2.functional.resize(_test_picture(2 * resize), [crop, crop])
    squeezed = _redo(v2.functional.to_dtype(v2.functional.to_image(squeezed), torch.float32, scale=True), preset)
    require(
        not torch.allclose(result, squeezed, atol=2e-2),
        f"the picture is squeezed into a square: v2.Resize({resize}) with one number keeps its proportions",
    )


def _moves(part: Subset) -> bool:
    """True when reading the same image several times gives different results."""
    draws = [v2.functional.to_image(part[0][0]) for _ in range(8)]
    return any(draw.shape != draws[0].shape or not torch.equal(draw, draws[0]) for draw in draws[1:])
