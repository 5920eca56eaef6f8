"""Cached features as a dataset whose batches are put together in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset
from torch.utils.data._utils.collate import default_collate_fn_map


class FeatureSet(TensorDataset):
    """Cached features with their labels: a dataset of pairs (features of one image, label), on the CPU.

    >>> from torch.utils.data import DataLoader
    >>> rows = FeatureSet(torch.zeros(6, 512), torch.arange(6), torch.arange(6), key="", classes=None)
    >>> features, labels = next(iter(DataLoader(rows, batch_size=4)))
    >>> len(rows), tuple(features.shape), labels.tolist()
    (6, (4, 512), [0, 1, 2, 3])
    """

    def __init__(self, features: Tensor, labels: Tensor, indices: Tensor, key: str, classes: list[str] | None) -> None:
        super().__init__(features, labels)
        self.features, self.labels = features, labels  # (rows, ...) float32 and (rows,)
        self.indices = indices  # (rows,) which sample of the dataset a row comes from
        self.key = key  # changes with the weights before the cut, the transform, the samples and their labels
        if classes is not None:
            self.classes = classes

    def __getitems__(self, rows: Sequence[int]) -> _Rows:
        # a DataLoader asks for a whole batch here: one look-up instead of one for every row
        rows = torch.as_tensor(rows, dtype=torch.long)
        return _Rows(self.features[rows], self.labels[rows])


class _Row(tuple):
    """One pair (features, label) of a batch; its type tells default_collate that the batch may be put together."""


class _Rows(Sequence):
    """A batch that is put together already, and for whoever reads it row by row a list of pairs."""

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.features, self.labels = features, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> _Row:
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        return _Row((self.features[i], self.labels[i]))


def _collate_rows(batch: Sequence[_Row], *, collate_fn_map: Any = None) -> list[Tensor]:
    if isinstance(batch, _Rows):
        return [batch.features, batch.labels]
    return [torch.stack(part) for part in zip(*batch, strict=True)]


# how PyTorch lets a type say how its batches are made (torch.utils.data.default_collate, "option 2")
default_collate_fn_map[_Row] = _collate_rows
