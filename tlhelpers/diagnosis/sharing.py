"""Images that stand on both sides: the same ones, by file, memory or content, and such that look nearly the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from .case import CannotTell, Case, Part
from .lookalikes import lookalikes
from .report import Diagnosis, Finding
from .samples import files_of, holds_rows
from .sources import Source, sources_of

SHARED = Diagnosis(
    "shared-images",
    "error",
    "training images are in the validation part as well",
    "The network has seen these answers: the validation score is too good, and choosing by it prefers whoever learned "
    "by heart.",
    "train_index, val_index = tl.stratified_split(dataset.targets, (0.8, 0.2))  # Subset(augmented, train_index), "
    "Subset(plain, val_index)",
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
BYTES = 65_536  # of each file, read where sizes agree; where these agree too, the whole file is
VALUES = 1024  # of each row in memory, spread over it; where these agree, all values are compared


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
    ways = ((_numbers, "are training images"), (_files, "are training files"), (_contents, "equal training images"))
    kinds = [{kind for source in sources_of(part) for kind in _kinds(source)} for part in case.parts]
    if not kinds[0] & kinds[1]:
        raise CannotTell("the two sides show no common dataset, no files and no images in memory to compare")
    for identities, how in ways:
        train, val = identities(case.train, case.val)
        known = set(train.values())
        twice = [index for index, identity in val.items() if identity in known]
        if twice:
            return sum(len(source.indices) for source in sources_of(case.val)), twice, how
    return 0, [], ""


def _kinds(source: Source) -> set[Hashable]:
    """In which ways these images can be compared."""
    kinds = {"files": source.files, "rows": source.rows}
    return {id(source.dataset), *(kind for kind, known in kinds.items() if known is not None)}


def _name(part: Part, index: int) -> str:
    files = files_of(part)
    return f"number {index}" if files is None else "/".join(Path(files[index]).parts[-2:])


# each of these gives, for training and validation, {index of an image: what tells it from others} where that is known

Identities = dict[int, Hashable]


def _numbers(train: Part, val: Part) -> tuple[Identities, Identities]:
    common = {id(source.dataset) for source in sources_of(train)} & {id(source.dataset) for source in sources_of(val)}
    return tuple(
        {
            index: (id(source.dataset), place)
            for source in sources_of(part)
            if id(source.dataset) in common
            for index, place in zip(source.indices.tolist(), source.places.tolist(), strict=True)
        }
        for part in (train, val)
    )


def _files(train: Part, val: Part) -> tuple[Identities, Identities]:
    found = [
        {
            index: source.files[place]
            for source in sources_of(part)
            if source.files is not None
            for index, place in zip(source.indices.tolist(), source.places.tolist(), strict=True)
        }
        for part in (train, val)
    ]
    if max(map(len, found)) <= MOST_FILES:  # of a million names, making each absolute takes seconds
        found = [{index: os.path.abspath(file) for index, file in files.items()} for files in found]
    return found[0], found[1]


def _contents(train: Part, val: Part) -> tuple[Identities, Identities]:
    """Fingerprints of rows in memory, or of files: equal ones are equal images. A quick look decides who gets more."""
    files = _files(train, val)
    if max(map(len, files)) > MOST_FILES:
        files = ({}, {})
    found: list[Identities] = [{}, {}]
    wanted: list[set[int] | None] = [None, None]  # of each side; None stands for all
    for look in range(3):
        for side, part in enumerate((train, val)):
            found[side] = _rows_seen(part, wanted[side], look)
            for index, file in files[side].items():
                if wanted[side] is None or index in wanted[side]:
                    found[side][index] = _file_seen(file, look)
        common = set(found[0].values()) & set(found[1].values())
        wanted = [{index for index, seen in some.items() if seen in common} for some in found]
    return found[0], found[1]


def _file_seen(file: str, look: int) -> Hashable:
    if look == 0:
        return os.path.getsize(file)
    with open(file, "rb") as content:
        return hashlib.blake2b(content.read(BYTES if look == 1 else -1)).digest()


def _rows_seen(part: Part, wanted: set[int] | None, look: int) -> Identities:
    """Fingerprints of the wanted rows, at the first look of some values only."""
    found: Identities = {}
    for source in sources_of(part):
        if source.files is None:
            keep = None if wanted is None else np.isin(source.indices, list(wanted))
            for indices, rows in source.matrices(keep):
                step = max(1, rows.shape[1] // VALUES) if look == 0 else 1
                found.update(zip(indices, _hashes(rows[:, ::step]), strict=True))
    return found


def _hashes(rows: Tensor) -> list[int]:
    """A number of 64 bits for each row, the same for rows of the same bytes: all rows at once, not one by one."""
    raw = rows.contiguous().view(torch.uint8).numpy()
    words = np.pad(raw, ((0, 0), (0, -raw.shape[1] % 4))).view(np.uint32).astype(np.uint64)
    factors = np.random.default_rng(raw.shape[1]).integers(1, 2**63, (2, words.shape[1]), dtype=np.uint64)
    high, low = ((words * row).sum(1, dtype=np.uint64) >> np.uint64(32) for row in factors)  # sums wrap at 2 ** 64
    return ((high << np.uint64(32)) | low).tolist()


def examine_looks(case: Case) -> Iterator[Finding]:
    """Validation images that look like a training image, apart from those that are one (lookalikes.py)."""
    if case.val is None or holds_rows(case.train):
        return
    if any(isinstance(part.dataset, IterableDataset) for part in case.parts):
        return
    try:
        known = set(_shared(case)[1])
    except CannotTell:
        known = set()
    pairs, total = lookalikes(case.train, case.val, known)
    if pairs:
        few = ", ".join(f"{_name(case.val, a)} like {_name(case.train, b)}" for a, b in pairs[:3])
        yield NEAR_IDENTICAL.found(f"{len(pairs)} of {total} validation images, for example {few}")


EXAMINATIONS = (
    ("images on both sides", examine_identity),
    ("look-alikes on both sides", examine_looks),
)
