"""What the frozen stages give, kept over several phases of gradual unfreezing: every image is run through them once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, default_collate

from .feature_set import FeatureSet
from .features import cache_at_stages, split_model
from .freezing import preserved_modes, preserved_random_state
from .models import device_of, stages
from .session import CourseError


def cache_bytes(model: nn.Module, loader: DataLoader, at: str = "head", views: int = 1) -> int:
    """Return how many bytes `cache_features` would keep: images x channels x height x width x 4, times the views.

    One image goes through the part before the stage `at`; nothing else is opened.

    >>> from torchvision import models
    >>> loader = DataLoader(torch.utils.data.TensorDataset(torch.zeros(6, 3, 32, 32), torch.zeros(6).long()))
    >>> cache_bytes(models.squeezenet1_1(), loader, at="block2")  # 6 images x 128 channels x 3 x 3 x 4 bytes
    27648
    """
    prefix, _ = split_model(model, at)
    with preserved_modes(model), preserved_random_state(loader), torch.no_grad():
        image = loader.dataset[0][0].unsqueeze(0).to(device_of(model))
        return prefix.eval()(image).numel() * 4 * len(loader.dataset) * views


class PrefixCache:
    """The activations from which the phases of `fit_gradually` start, filled when a phase asks for them.

    Phase by phase `starts` are the numbers of the stages from which on everything trains, 0 for the first one. While
    the images run through the frozen stages, everything is kept that this phase and the next ones start from, as long
    as nothing before it will have trained by then. What a phase made stale and what no later phase needs is dropped.
    If all of it together is larger than `max_gb`, later phases get less, down to a pass over the images for each.

    Raises `CourseError` for loaders that cannot be cached and for a phase whose own start alone is too large.

    >>> from torchvision import models
    >>> rows = torch.utils.data.TensorDataset(torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]))
    >>> model = models.squeezenet1_1().requires_grad_(False)
    >>> cache = PrefixCache(model, DataLoader(rows), DataLoader(rows), starts=[4, 3], views=1, max_gb=1.0)
    >>> [part.features.shape[1] for part in cache.rows(0)], sorted(cache.kept)  # the second phase is served as well
    ([512, 512], [3, 4])
    """

    def __init__(
        self,
        model: nn.Module,
        train_loader: DataLoader,
        val_loader: DataLoader,
        starts: Sequence[int],
        views: int,
        max_gb: float,
    ) -> None:
        _check_loaders(train_loader, val_loader)
        self.model, self.loaders, self.starts, self.views = model, (train_loader, val_loader), list(starts), views
        self.names = [part.name for part in stages(model)]
        self.limit = max_gb * 1e9
        self.sizes = {start: self._bytes(start) for start in set(starts) if start > 0}
        self.kept: dict[int, tuple[FeatureSet, FeatureSet]] = {}  # by start: training and validation rows
        self.phase = 0
        for start, size in sorted(self.sizes.items()):
            if size > self.limit:
                raise CourseError(
                    f"The activations before {self.names[start]!r} would take {size / 1e9:.1f} GB, more than "
                    f"max_cache_gb={max_gb:g}: start this phase at a later stage, use fewer images or views, allow "
                    "more, or use cached=False."
                )

    def _bytes(self, start: int) -> int:
        train, val = self.loaders
        return cache_bytes(self.model, train, self.names[start], self.views) + cache_bytes(
            self.model, val, self.names[start]
        )

    def rows(self, phase: int) -> tuple[FeatureSet, FeatureSet]:
        """Return what arrives at the start of a phase, for the training and the validation images."""
        start = self.starts[phase]
        self._drop(phase)
        if start not in self.kept:
            wanted = self._that_fit(phase)
            base = max((place for place in self.kept if place < start), default=0)
            self._fill(base, [place for place in wanted if place > base])
        return self.kept[start]

    def _drop(self, phase: int) -> None:
        """Forget what the phases since the last call have made stale, and what no phase from here on will use."""
        since, self.phase = self.starts[self.phase : phase], phase
        valid = [place for place in self.kept if place <= min(since, default=place)]
        nearest = max((place for place in valid if place <= self.starts[phase]), default=0)
        useful = {nearest, *_served(self.starts[phase:])}
        self.kept = {place: self.kept[place] for place in valid if place in useful}

    def _that_fit(self, phase: int) -> list[int]:
        """The starts to fill now, so that with what is kept they stay below the limit: the phase's own at least."""
        own, wanted = self.starts[phase], [place for place in _served(self.starts[phase:]) if place not in self.kept]
        while sum(self.sizes[place] for place in {*wanted, *self.kept}) > self.limit:
            later = [place for place in wanted if place != own]
            if later:
                wanted.remove(min(later))
            else:  # the phase's own start fits alone: that was checked at the beginning
                del self.kept[min(self.kept)]
        return wanted

    def _fill(self, base: int, places: list[int]) -> None:
        names = [self.names[place] for place in places]
        begin = self.names[base] if base else None
        filled = []
        for number, loader in enumerate(self.loaders):
            # the dataset's own order, as a cache needs it; the loader itself is not run
            batch, options = batch_size_of(loader), {}
            if base:
                source, views = self.kept[base][number], 1
            else:
                source, views = loader.dataset, self.views if number == 0 else 1
                options = {"num_workers": loader.num_workers, "pin_memory": loader.pin_memory}
            filled.append(cache_at_stages(self.model, DataLoader(source, batch, **options), names, views, begin))
        train, val = filled
        self.kept |= {place: (train[self.names[place]], val[self.names[place]]) for place in places}


def _served(starts: Sequence[int]) -> list[int]:
    """The starts that stay valid until their phase, if they are filled before the first one: the running minimum.

    >>> _served([5, 4, 3, 0, 2]), _served([3, 5, 2])
    ([5, 4, 3], [3, 2])
    """
    served: list[int] = []
    for start in starts:
        if start == 0:  # trains everything: nothing outlives it
            break
        if not served or start < served[-1]:
            served.append(start)
    return served


def batch_size_of(loader: Any) -> int:
    """Return the batch size of a loader, also of one with a batch_sampler of its own; 32 if it does not say."""
    return loader.batch_size or getattr(loader.batch_sampler, "batch_size", None) or 32


class SameBatches:
    """The batches that a loader would give, epoch by epoch, as row numbers of a cache; with k views the next look.

    >>> batches = SameBatches(DataLoader(range(4), batch_size=2), views=2)
    >>> list(batches), list(batches), batches.state_dict()
    ([[0, 1], [2, 3]], [[4, 5], [6, 7]], {'epoch': 2})
    """

    def __init__(self, loader: DataLoader, views: int) -> None:
        self.batch_sampler, self.images, self.views, self.epoch = loader.batch_sampler, len(loader.dataset), views, 0
        self.batch_size = batch_size_of(loader)
        self.sampler = getattr(loader.batch_sampler, "sampler", None)  # whoever saves the order's random state asks it

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list[int]]:
        first_row = self.epoch % self.views * self.images
        self.epoch += 1
        for batch in self.batch_sampler:  # the loader's own: it goes on where the phase before it stopped
            yield [first_row + index for index in batch]

    def state_dict(self) -> dict[str, int]:
        """Return what an exact continuation needs on top of the sampler's random state."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at the look that comes next."""
        self.epoch = state["epoch"]


def _check_loaders(train_loader: Any, val_loader: Any) -> None:
    for name, loader in (("train_loader", train_loader), ("val_loader", val_loader)):
        if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
            raise CourseError(f"{name} must be a DataLoader over a dataset with a length; or use cached=False.")
        if loader.batch_sampler is None:
            raise CourseError(f"{name} makes no batches (batch_size=None): give it a batch_size, or use cached=False.")
        if loader.collate_fn is not default_collate:
            raise CourseError(f"{name} has a collate_fn that changes the batches, as mixup does: use cached=False.")
        if len(loader.dataset) == 0:
            raise CourseError(f"{name} has an empty dataset: check the folder, the split and the indices.")
