"""Images that stand on both sides: the same ones, by file, memory or content, and such that look nearly the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import IterableDataset, TensorDataset

from ..pipeline import CachedImages
from .case import CannotTell, Case, Part
from .report import Diagnosis, Finding
from .samples import files_of, holds_rows, indices_of, open_small, places_of

SHARED = Diagnosis(
    "shared-images",
    "error",
    "training images are in the validation part as well",
    "The network has seen these answers: the validation score is too good, and choosing by it prefers whoever learned "
    "by heart.",
    "train_index, val_index = tl.stratified_split(dataset.targets, (0.8, 0.2)), then Subset(dataset, ...) of each",
    "lesson 01, section 1",
)
NEAR_IDENTICAL = Diagnosis(
    "near-identical-images",
    "warning",
    "validation images look almost the same as training images",
    "Copies that were resized, cut or saved again, and shots of one moment, are known to the network like the images "
    "themselves: the validation score is too good.",
    "look at the pairs; put copies and shots of one moment on the same side before the split",
    "lesson 01, section 1",
)

MOST = 1024  # images per side whose look is compared
BYTES = 65_536  # of each file, read for its fingerprint
VALUES = 1024  # of each tensor, spread over it, for its fingerprint
FEW = 32  # values, from which a row has a fingerprint


def examine_identity(case: Case) -> Iterator[Finding]:
    """The same image on both sides: one index of one dataset, one file or a copy of it, one tensor or an equal one."""
    if case.val is None:
        return
    total, twice, how = _shared(case)
    if twice:
        few = ", ".join(_name(case.val, index) for index in twice[:3])
        yield SHARED.found(f"{len(twice)} of {total} validation images {how}, for example {few}")


def _shared(case: Case) -> tuple[int, list[int], str]:
    """(validation images looked at, which of them training holds as well, how that is known)."""
    if "_shared" not in vars(case):  # two examinations ask
        vars(case)["_shared"] = _compared(case)
    return vars(case)["_shared"]


def _compared(case: Case) -> tuple[int, list[int], str]:
    are_one = case.train.inner is not None and case.train.inner is case.val.inner
    ways = ((_numbers, "are training images"), (_files, "are training files"), (_contents, "equal training images"))
    for identities, how in ways if are_one else ways[1:]:
        train, val = identities(case.train, case.val), identities(case.val, case.train)
        known = set(train.values())
        twice = [index for index, identity in val.items() if identity in known]
        if twice:
            return len(_numbers(case.val, case.train) or val), twice, how
    return 0, [], ""


def _name(part: Part, index: int) -> str:
    files = files_of(part)
    return f"number {index}" if files is None else "/".join(Path(files[index]).parts[-2:])


# each of these gives {index of an image: what tells it from others}, where it can be compared with the other side


def _numbers(part: Part, other: Part) -> dict[int, Hashable]:
    return {index: index for index in indices_of(part, places_of(part) or [])}


def _files(part: Part, other: Part) -> dict[int, Hashable]:
    files = files_of(part) or []
    return {index: os.path.realpath(files[index]) for index in _numbers(part, other) if files}


def _contents(part: Part, other: Part) -> dict[int, Hashable]:
    """Fingerprints of tensors in memory, or of the bytes of files: equal ones are equal images (or rows)."""
    inner, rows = part.inner, _rows_of_list(part)
    if rows is not None:
        return _fingerprints(rows, range(len(rows)))
    if isinstance(inner, TensorDataset):
        return _fingerprints(inner.tensors[0], _numbers(part, other))
    if isinstance(inner, CachedImages):
        return _fingerprints(inner.images, _numbers(part, other))
    files = _files(part, other)
    sizes = {os.path.getsize(file) for file in _files(other, part).values()}  # asks no file for its bytes
    return {index: _file_fingerprint(file) for index, file in files.items() if os.path.getsize(file) in sizes}


def _rows_of_list(part: Part) -> Tensor | None:
    if not isinstance(part.loader, (list, tuple)):
        return None
    return torch.cat([inputs for inputs, _ in part.batches(len(part.loader))])


def _fingerprints(rows: Sequence[Tensor] | Tensor, indices: Iterable[int]) -> dict[int, Hashable]:
    found = {}
    for index in indices:
        row = rows[index].detach().cpu().contiguous().view(-1)
        if row.numel() < FEW:
            continue  # rows of a small table may well be equal by chance
        some = row[:: max(1, row.numel() // VALUES)].contiguous()
        found[index] = (row.numel(), hashlib.blake2b(some.view(torch.uint8).numpy()).digest())
    return found


def _file_fingerprint(file: Any) -> Hashable:
    with open(file, "rb") as content:
        return os.path.getsize(file), hashlib.blake2b(content.read(BYTES)).digest()


# --- images that look nearly the same -----------------------------------------------------------------------------
# Every image becomes a small square of colours. Two are compared at 8 x 8 points, and the likeliest pairs again at
# 16 x 16, cut and moved against each other. Of 3,060 + 600 + 720 bundled images and 396 photographs no two different
# ones reach 0.94 there. An image that was saved again, resized, or lost a twentieth of its sides, stays above 0.955.
SIDE = 32
PAIRS = 100
ALIKE = 0.955


def examine_looks(case: Case) -> Iterator[Finding]:
    """Validation images that look like a training image, apart from those that are one."""
    if case.val is None or holds_rows(case.train) or _is_stream(case.train) or _is_stream(case.val):
        return
    (train_indices, train), (val_indices, val) = (_squares(part) for part in case.parts)
    if _is_grey(train) or _is_grey(val):
        raise CannotTell("without colours, different images look too much alike")
    likeness = _flattened(F.adaptive_avg_pool2d(val, 8)) @ _flattened(F.adaptive_avg_pool2d(train, 8)).T
    known = set(_shared(case)[1])
    likeness[[row for row, index in enumerate(val_indices) if index in known]] = -1
    best, partner = likeness.max(dim=1)
    rows = best.argsort(descending=True)[:PAIRS]
    alike = _aligned(val[rows], train[partner[rows]])
    found = [int(row) for row, value in zip(rows, alike, strict=True) if value > ALIKE and best[row] > 0]
    pairs = [(_name(case.val, val_indices[row]), _name(case.train, train_indices[partner[row]])) for row in found]
    if pairs:
        few = ", ".join(f"{a} like {b}" for a, b in pairs[:3])
        yield NEAR_IDENTICAL.found(f"{len(pairs)} of {len(val)} validation images, for example {few}")


def _is_stream(part: Part) -> bool:
    return isinstance(part.dataset, IterableDataset)


def _squares(part: Part) -> tuple[list[int], Tensor]:
    """Indices and (N, 3, 32, 32) small squares of up to 1,024 images, from memory, files, or else the samples."""
    rows, places, inner = _rows_of_list(part), places_of(part), part.inner
    if rows is not None:
        return _pooled(list(range(len(rows)))[:MOST], rows)
    if places is None:
        raise CannotTell(f"the {part.name} images cannot be picked one by one")
    files = files_of(part)
    in_memory = isinstance(inner, (CachedImages, TensorDataset))
    places = _spread(places, MOST if in_memory or files else MOST // 8)
    indices = indices_of(part, places)
    if in_memory:
        images = inner.images if isinstance(inner, CachedImages) else inner.tensors[0]
        return _pooled(indices, [images[index] for index in indices])
    if files is not None:
        return indices, torch.stack([_square_of(files[index]) for index in indices])
    return _pooled(indices, [part.dataset[place][0] for place in places])


def _spread(places: list[int], most: int) -> list[int]:
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


EXAMINATIONS = (
    ("images on both sides", examine_identity),
    ("look-alikes on both sides", examine_looks),
)
