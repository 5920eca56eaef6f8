"""Where the images of a side lie: in which dataset inside Subset, ConcatDataset and wrappers, as files or rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from ..pipeline import CachedImages
from .case import Part
from .samples import files_in, indices_of, places_of, remembered, rows_of_list

FEW = 32  # values, from which rows that agree are taken for the same one
ROWS = 2_000  # are taken at a time


@dataclass
class Source:
    """Where some images of a part lie: their places in a dataset, its files or rows, and their own indices."""

    dataset: Any
    places: np.ndarray
    indices: np.ndarray  # of the same images in `part.inner`

    @cached_property
    def files(self) -> list[str] | None:
        return None if isinstance(self.dataset, Tensor) else files_in(self.dataset)

    @cached_property
    def rows(self) -> Tensor | np.ndarray | list[Tensor] | None:
        """All inputs in memory, of at least FEW values each: rows of a small table may well be equal by chance."""
        held = self.dataset
        if isinstance(held, TensorDataset):
            held = held.tensors[0]
        elif isinstance(held, CachedImages):
            held = held.images
        elif isinstance(held, list):
            held = [sample[0] if isinstance(sample, (tuple, list)) else sample for sample in held]
        elif not isinstance(held, Tensor):
            held = getattr(held, "data", None)  # CIFAR10, MNIST, STL10, SVHN of torchvision
        is_array = isinstance(held, np.ndarray) and held.dtype.kind in "biuf"
        if not (is_array or isinstance(held, (Tensor, list))) or not len(held) or len(held) != len(self.dataset):
            return None
        ends = [torch.as_tensor(np.array(row)) if is_array else row for row in (held[0], held[-1])]
        fits = all(isinstance(row, Tensor) and row.ndim for row in ends)
        return held if fits and ends[0].numel() >= FEW else None

    def matrices(self, keep: np.ndarray | None = None) -> Iterator[tuple[list[int], Tensor]]:
        """(indices, (n, values) rows of these) for the rows in memory, some at a time; `keep` chooses among them."""
        places, indices = (some if keep is None else some[keep] for some in (self.places, self.indices))
        for start in range(0, len(places) if self.rows is not None else 0, ROWS):
            some, names = places[start : start + ROWS], indices[start : start + ROWS]
            if isinstance(self.rows, np.ndarray):
                yield names.tolist(), torch.from_numpy(self.rows[some]).flatten(1)  # a copy: the array may be read-only
                continue
            if isinstance(self.rows, Tensor):
                yield names.tolist(), self.rows[torch.from_numpy(some)].detach().cpu().flatten(1)
                continue
            rows = [self.rows[place].detach().cpu() for place in some]
            for shape in {row.shape for row in rows}:
                alike = [number for number, row in enumerate(rows) if row.shape == shape]
                yield names[alike].tolist(), torch.stack([rows[number] for number in alike]).flatten(1)


@remembered
def sources_of(part: Part) -> list[Source]:
    """Where the images of a part lie, inside Subset, ConcatDataset and wrappers that hold a dataset of their length."""
    rows, places = rows_of_list(part), places_of(part)
    if rows is not None:
        every = np.arange(len(rows))
        return [Source(rows, every, every)]
    if places is None:
        return []
    indices = np.asarray(indices_of(part, places), dtype=np.int64)
    return [Source(*found) for found in _inside(part.inner, indices, indices, depth=8)]


def _inside(dataset: Any, places: np.ndarray, indices: np.ndarray, depth: int) -> Iterator[tuple]:
    if isinstance(dataset, Subset):
        dataset, places = dataset.dataset, np.asarray(dataset.indices, dtype=np.int64)[places]
        yield from _inside(dataset, places, indices, depth)
        return
    if isinstance(dataset, ConcatDataset):
        starts = [0, *dataset.cumulative_sizes]
        for part, start, end in zip(dataset.datasets, starts[:-1], starts[1:], strict=True):
            here = (places >= start) & (places < end)
            yield from _inside(part, places[here] - start, indices[here], depth)
        return
    held = [vars(dataset).get(name) for name in ("dataset", "subset", "base")] if hasattr(dataset, "__dict__") else []
    held = [inner for inner in held if isinstance(inner, Dataset) and hasattr(inner, "__len__")]
    if depth and held and len(held[0]) == len(dataset):  # depth, because a dataset may hold itself
        yield from _inside(held[0], places, indices, depth - 1)
    elif len(places):
        yield dataset, places, indices
