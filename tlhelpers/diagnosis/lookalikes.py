"""Images on both sides that are not the same, and look nearly the same: copies that were altered, shots of one moment.

Every image becomes a small square of colours. Two are compared at 8 x 8 points, and the likeliest pairs again at 16 x
16, cut and moved against each other. Of 3,060 + 600 + 720 bundled images and 396 photographs no two different ones
reach 0.94 there. An image that was saved again or resized, or lost a twentieth of its sides, stays above 0.955 with
itself as a rule, and most of those do that lost a tenth (tests/test_doctor_data.py measures all of it).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from ..pipeline import CachedImages
from .case import CannotTell, Part
from .samples import files_of, indices_of, open_small, places_of, rows_of_list

MOST = 1024  # images per side that are compared
SIDE = 32  # points of a small square
PAIRS = 100  # the likeliest, that are looked at closely
USUAL = 0.05  # of the training images may be alike among themselves, and likeness still tells copies
ALIKE = 0.955  # likeness of two images (at most 1) above which they count as copies


def lookalikes(train: Part, val: Part, known: set[int]) -> tuple[list[tuple[int, int]], int]:
    """Pairs (validation index, training index) that look alike, and how many validation images were compared.

    Validation images in `known` are left out. Raises `CannotTell` where there are no images to compare, or no colours.
    """
    (train_indices, those), (val_indices, these) = _squares(train), _squares(val)
    if _is_grey(those) or _is_grey(these):
        raise CannotTell("without colours, different images look too much alike")
    likeness = _likeness(these, those)
    likeness[[row for row, index in enumerate(val_indices) if index in known]] = -1
    rows, partners, looked_at = _pairs(likeness, these, those)
    if rows:
        among_themselves = _likeness(those, those).fill_diagonal_(-1)
        alike, _, of = _pairs(among_themselves, those, those)
        # drawings on white are alike without being copies, and copies inside training need not be on both sides
        if len(alike) / of > max(USUAL, 0.5 * len(rows) / looked_at):
            raise CannotTell(
                f"of {of} training images {len(alike)} look almost the same as another training image, "
                "so looks do not tell copies here"
            )
    return [(val_indices[a], train_indices[b]) for a, b in zip(rows, partners, strict=True)], len(these)


def _likeness(first: Tensor, second: Tensor) -> Tensor:
    return _flattened(F.adaptive_avg_pool2d(first, 8)) @ _flattened(F.adaptive_avg_pool2d(second, 8)).T


def _pairs(likeness: Tensor, first: Tensor, second: Tensor) -> tuple[list[int], list[int], int]:
    """Rows of `first` that are alike with one of `second`, these partners, and how many rows were looked at closely."""
    best, partner = likeness.max(dim=1)
    rows = best.argsort(descending=True)[:PAIRS]
    alike = rows[(_aligned(first[rows], second[partner[rows]]) > ALIKE) & (best[rows] > 0)]
    return alike.tolist(), partner[alike].tolist(), len(rows)


def _squares(part: Part) -> tuple[list[int], Tensor]:
    """Indices and (N, 3, 32, 32) small squares of up to 1,024 images, from memory, files, or else the samples."""
    rows, places, inner = rows_of_list(part), places_of(part), part.inner
    if rows is not None:
        return _pooled(list(range(len(rows)))[:MOST], rows)
    if places is None:
        raise CannotTell(f"the {part.name} images cannot be picked one by one")
    files = files_of(part)
    in_memory = isinstance(inner, (CachedImages, TensorDataset))
    places = _spread(places, MOST if in_memory else _affordable(files))
    indices = indices_of(part, places)
    if in_memory:
        images = inner.images if isinstance(inner, CachedImages) else inner.tensors[0]
        return _pooled(indices, [images[index] for index in indices])
    if files is not None:
        return indices, torch.stack([_square_of(files[index]) for index in indices])
    return _pooled(indices, [part.dataset[place][0] for place in places])


def _affordable(files: list[str] | None) -> int:
    """How many images to open: large files take longer to decode, and images without files go through a transform."""
    if files is None:
        return MOST // 8
    mean = sum(os.path.getsize(file) for file in _spread(files, 8)) / min(8, len(files))
    return int(min(MOST, max(MOST // 8, 64e6 / max(mean, 1))))


def _spread(places: list[Any], most: int) -> list[Any]:
    return [places[i] for i in np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).astype(int))]


def _pooled(indices: list[int], images: Sequence[Tensor]) -> tuple[list[int], Tensor]:
    if not isinstance(images[0], Tensor) or images[0].ndim != 3 or len(images[0]) not in (1, 3):
        raise CannotTell("the inputs are no images")
    small = torch.stack(
        [F.adaptive_avg_pool2d(_central(images[i].detach().cpu().float()), SIDE) for i in range(len(indices))]
    )
    low, high = small.min(), small.max()
    return indices, ((small - low) / (high - low).clamp(min=1e-6) * 255).expand(-1, 3, -1, -1)


def _central(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, top : top + side, left : left + side]


def _square_of(file: str) -> Tensor:
    picture = open_small(file, 2 * SIDE)
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.resize((SIDE, SIDE), 2, box=(left, top, left + side, top + side))  # 2: bilinear
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float()


def _is_grey(squares: Tensor) -> bool:
    return bool((squares.amax(1) - squares.amin(1)).mean() < 2)


def _flattened(squares: Tensor) -> Tensor:
    """(..., 3 * points) of length 1: without brightness and contrast of each colour, which Normalize changes."""
    centred = squares - squares.mean((-2, -1), keepdim=True)
    flat = (centred / (centred.std((-2, -1), keepdim=True) + 2)).flatten(-3)  # + 2: of an even area only noise is left
    plain = (squares.std((-2, -1)).mean(-1) < 4)[..., None]
    return torch.where(plain, 0.0, flat / flat.norm(dim=-1, keepdim=True).clamp(min=1e-6))


def _aligned(first: Tensor, second: Tensor) -> Tensor:
    """(N,) likeness of pairs, the best over cuts of one against the whole of the other."""
    cuts = [(1.0, 0.0, 0.0)]
    for scale in np.arange(0.8, 0.99, 0.025):
        offsets = (scale - 1, 0.0, 1 - scale)
        cuts += [(scale, x, y) for x in offsets for y in offsets]
    steps = torch.tensor([[[scale, 0, x], [0, scale, y]] for scale, x, y in cuts], dtype=torch.float32)
    grid = F.affine_grid(steps, [len(steps), 3, 16, 16], align_corners=False).view(1, -1, 16, 2)
    looks = []
    for squares in (first, second):
        cut = F.grid_sample(squares, grid.expand(len(squares), -1, -1, -1), padding_mode="border", align_corners=False)
        looks.append(_flattened(cut.view(len(squares), 3, -1, 16, 16).transpose(1, 2)))
    a, b = looks
    return torch.maximum((a * b[:, :1]).sum(-1).amax(1), (b * a[:, :1]).sum(-1).amax(1))
