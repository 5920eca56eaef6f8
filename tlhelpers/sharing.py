"""Which images each process gets: equal shares of the same batches, the same looks at them, each image scored once.

Used together with `distributed.py`, which explains the words rank and world.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from .session import CourseError


def seed_from(*numbers: int) -> int:
    """Mix whole numbers from 0 up, such as (seed, epoch, index), into one seed: neighbours get unrelated seeds.

    >>> seed_from(0, 1) == seed_from(0, 1), seed_from(0, 1) == seed_from(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def share(batch: Sequence, rank: int, world: int) -> Sequence:
    """Return this rank's part of a batch: parts are disjoint, cover it, and differ by one in length at most.

    >>> [list(share(range(7), rank, 3)) for rank in range(3)]
    [[0, 1, 2], [3, 4], [5, 6]]
    """
    size, longer = divmod(len(batch), world)
    start = rank * size + min(rank, longer)
    return batch[start : start + size + (rank < longer)]


class SharedBatches(Sampler[list[tuple[int, int]]]):
    """A batch sampler: this rank's part of each batch, as pairs (epoch, index of the image).

    `batch_size` counts the images of all ranks together. The order is a function of seed and epoch, so the batches are
    the same images for every number of ranks. The last batch may be shorter: its parts may differ by one image, and a
    rank without any repeats the batch's first image, so that it takes part; its loss has weight 0 (see `shared_loss`).
    As in `make_loader`, a last batch of a single image is left out, because BatchNorm cannot train on one.
    Raises `CourseError` for a batch size that the number of ranks does not divide.

    >>> [[index for _, index in part] for part in SharedBatches(5, batch_size=4, rank=1, world=2)]
    [[0, 3]]
    """

    def __init__(self, count: int, batch_size: int, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        if batch_size < 1 or batch_size % world:
            raise CourseError(
                f"the batch size {batch_size} counts the images of all processes together and must be a multiple of "
                f"their number, {world}: for example {max(1, round(batch_size / world)) * world}."
            )
        self.count, self.batch_size, self.seed, self.rank, self.world = count, batch_size, seed, rank, world
        self.epoch = 1

    def batches(self) -> list[list[int]]:
        """Return the epoch's batches of all ranks together, as lists of indices."""
        generator = torch.Generator().manual_seed(seed_from(self.seed, self.epoch))
        order = torch.randperm(self.count, generator=generator).tolist()
        cut = [order[start : start + self.batch_size] for start in range(0, self.count, self.batch_size)]
        return cut[:-1] if len(cut) > 1 and len(cut[-1]) == 1 else cut

    def __len__(self) -> int:
        return len(self.batches())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self.batches():
            yield [(self.epoch, index) for index in share(batch, self.rank, self.world) or batch[:1]]


class SeededImages(Dataset):
    """A dataset whose random augmentation is a function of seed, epoch and image: not of rank, worker or order.

    Asked for the pairs of `SharedBatches`. It seeds torch's CPU numbers, which torchvision's v2 transforms draw from,
    and puts them back afterwards.

    >>> noisy = SeededImages([(0, "label")], seed=7, transform=lambda image: image + torch.rand(1))
    >>> noisy[2, 0] == noisy[2, 0], noisy[2, 0] == noisy[3, 0]
    (True, False)
    """

    def __init__(self, images: Any, seed: int, transform: Callable) -> None:
        self.images, self.seed, self.transform = images, seed, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, epoch_and_index: tuple[int, int]) -> tuple[Any, Any]:
        epoch, index = epoch_and_index
        image, label = self.images[index]
        with torch.random.fork_rng(devices=[]):
            # not torch.manual_seed: that would restart the GPU's numbers too, and with them every dropout
            torch.default_generator.manual_seed(seed_from(self.seed, epoch, index))
            return self.transform(image), label


def evaluation_share(count: int, rank: int, world: int) -> range:
    """Return the indices that a rank scores: every world-th image. Nothing is repeated to make the shares equal.

    PyTorch's DistributedSampler does repeat images, and some would count twice in the accuracy.

    >>> [list(evaluation_share(5, rank, 2)) for rank in range(2)]
    [[0, 2, 4], [1, 3]]
    """
    return range(rank, count, world)
