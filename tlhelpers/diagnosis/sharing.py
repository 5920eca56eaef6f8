"""Images that stand on both sides: the same ones, by file, memory or content, and such that look nearly the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, TensorDataset

from ..pipeline import CachedImages
from .case import Case, Part
from .lookalikes import lookalikes
from .report import Diagnosis, Finding
from .samples import files_of, holds_rows, indices_of, places_of, rows_of_list

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

MOST_FILES = 20_000  # on one side, above which no file is asked for its size
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
    return {index: os.path.abspath(files[index]) for index in _numbers(part, other) if files}


def _contents(part: Part, other: Part) -> dict[int, Hashable]:
    """Fingerprints of tensors in memory, or of the bytes of files: equal ones are equal images (or rows)."""
    inner, rows = part.inner, rows_of_list(part)
    if rows is not None:
        return _fingerprints(rows, range(len(rows)))
    if isinstance(inner, TensorDataset):
        return _fingerprints(inner.tensors[0], _numbers(part, other))
    if isinstance(inner, CachedImages):
        return _fingerprints(inner.images, _numbers(part, other))
    files = _files(part, other)
    if len(files) > MOST_FILES:
        return {}
    sizes = {os.path.getsize(file) for file in _files(other, part).values()}  # asks no file for its bytes
    return {index: _file_fingerprint(file) for index, file in files.items() if os.path.getsize(file) in sizes}


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


def examine_looks(case: Case) -> Iterator[Finding]:
    """Validation images that look like a training image, apart from those that are one (lookalikes.py)."""
    if case.val is None or holds_rows(case.train):
        return
    if any(isinstance(part.dataset, IterableDataset) for part in case.parts):
        return
    pairs, total = lookalikes(case.train, case.val, known=set(_shared(case)[1]))
    if pairs:
        few = ", ".join(f"{_name(case.val, a)} like {_name(case.train, b)}" for a, b in pairs[:3])
        yield NEAR_IDENTICAL.found(f"{len(pairs)} of {total} validation images, for example {few}")


EXAMINATIONS = (
    ("images on both sides", examine_identity),
    ("look-alikes on both sides", examine_looks),
)
