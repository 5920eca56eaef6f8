"""A loader's samples without the model: which it visits, their labels and files, the steps of their transform."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)
from torch.utils.data.distributed import DistributedSampler

from ..feature_set import FeatureSet
from ..mixing import MixingCollate
from .case import CannotTell, Part

BATCHES = 8  # looked at where a loader cannot be asked for single samples or for all its labels
Answer = TypeVar("Answer")


def remembered(ask: Callable[[Part], Answer]) -> Callable[[Part], Answer]:
    """A question about a part whose answer is kept with the part: of a million files, each asking costs a second."""

    @wraps(ask)
    def answer(part: Part) -> Answer:
        kept = vars(part).setdefault("_remembered", {})
        if ask.__name__ not in kept:
            kept[ask.__name__] = ask(part)
        return kept[ask.__name__]

    return answer


def steps_of(transform: Any) -> list[Any]:
    """The single steps of a transform in their order; of a random choice the choice and then what it chooses from.

    >>> from torchvision.transforms import v2
    >>> [type(step).__name__ for step in steps_of(v2.Compose([v2.Resize(8), v2.Compose([v2.CenterCrop(4)])]))]
    ['Resize', 'CenterCrop']
    """
    if transform is None:
        return []
    inside = transform if isinstance(transform, nn.Sequential) else getattr(transform, "transforms", None)
    if not isinstance(inside, (list, tuple, nn.Sequential, nn.ModuleList)):
        return [transform]
    own = [] if type(transform).__name__ in ("Compose", "Sequential") else [transform]
    return own + [step for part in inside for step in steps_of(part)]


def all_steps(part: Part) -> list[Any]:
    """The steps an image of this side goes through, those of a wrapped dataset before those of its wrapper."""
    dataset, found = part.inner, []
    for _ in range(8):  # wrappers in wrappers; a limit, because a dataset may hold itself
        both = getattr(dataset, "transforms", None)  # torchvision's pair (of the image, of the label)
        found = steps_of(getattr(dataset, "transform", None) or getattr(both, "transform", None)) + found
        held = (
            (vars(dataset).get(name) for name in ("dataset", "subset", "base")) if hasattr(dataset, "__dict__") else ()
        )
        dataset = next((inner for inner in held if isinstance(inner, Dataset)), None)
        while isinstance(dataset, Subset):
            dataset = dataset.dataset
        if dataset is None:
            return found
    return found


def normalizes_of(part: Part) -> list[tuple[Tensor, Tensor]]:
    """(mean, std) of every Normalize among the steps, each of shape (channels, 1, 1), in the order they are applied."""
    pairs = [(step.mean, step.std) for step in all_steps(part) if hasattr(step, "mean") and hasattr(step, "std")]
    return [tuple(torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in pair) for pair in pairs]


def holds_rows(part: Part) -> bool:
    """True when the inputs are no images: cached features, rows of a table."""
    if isinstance(part.inner, FeatureSet):
        return True
    inputs = part.batch[0]
    return inputs.ndim != 4 or inputs.shape[1] not in (1, 3)


def images_of(part: Part, count: int) -> list[Tensor]:
    """Up to `count` images (C, H, W) as the network gets them, from all over the dataset where that is the same."""
    # an own collate_fn may still scale or normalise; the course's only mixes, which is better left out
    collate = getattr(part.loader, "collate_fn", None)
    is_stream = part.dataset is None or isinstance(part.dataset, IterableDataset)
    if not is_stream and (collate is default_collate or isinstance(collate, MixingCollate)):
        return picked(part, count)
    return _tensors(part, [image for inputs, _ in part.batches(2) for image in inputs][:count])


def picked(part: Part, count: int) -> list[Tensor]:
    """Up to `count` images (C, H, W) of samples spread evenly over the dataset."""
    return _tensors(part, [image for image, *_ in part.samples(count)])


def _tensors(part: Part, images: list[Any]) -> list[Tensor]:
    if not images or not all(isinstance(image, Tensor) and image.ndim == 3 for image in images):
        raise CannotTell(f"the {part.name} images are no tensors (channels, height, width)")
    return [image.detach().cpu() for image in images]


def sampler_of(part: Part) -> Any:
    """The sampler that decides which samples come, and in which order; None for lists, streams, own batch samplers."""
    loader, dataset = part.loader, part.dataset
    if not isinstance(loader, DataLoader) or isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return None
    if loader.batch_sampler is None:
        return loader.sampler
    return loader.batch_sampler.sampler if type(loader.batch_sampler) is BatchSampler else None


@remembered
def places_of(part: Part) -> list[int] | None:
    """Which samples of `part.dataset` the loader can visit; None where its sampler is not one of torch's."""
    sampler = sampler_of(part)
    if isinstance(sampler, SubsetRandomSampler):
        return [int(place) for place in sampler.indices]
    if isinstance(sampler, WeightedRandomSampler):
        return torch.as_tensor(sampler.weights).nonzero().flatten().tolist()
    if isinstance(sampler, (SequentialSampler, RandomSampler, DistributedSampler)):
        return list(range(len(part.dataset)))
    return None


def indices_of(part: Part, places: Sequence[int]) -> list[int]:
    """The same samples, counted in the dataset inside any Subset."""
    dataset = part.dataset
    while isinstance(dataset, Subset):
        places = [int(dataset.indices[place]) for place in places]
        dataset = dataset.dataset
    return list(places)


@remembered
def rows_of_list(part: Part) -> Tensor | None:
    """All inputs of a list of batches, one after the other; None for every other loader."""
    if not isinstance(part.loader, (list, tuple)):
        return None
    return torch.cat([inputs for inputs, _ in part.batches(len(part.loader))])


@remembered
def labels_of(part: Part) -> tuple[Tensor, bool]:
    """(N,) class numbers of the samples the loader visits, and whether these are all. No image is opened if it can be.

    Raises `CannotTell` for labels that are no class numbers.
    """
    places, dataset = places_of(part), part.inner
    if places is not None and part.labels is not None:
        return _numbers(part.labels[torch.as_tensor(places, dtype=torch.long)]), True
    targets, change = getattr(dataset, "targets", None), getattr(dataset, "target_transform", None)
    if places is not None and isinstance(targets, (list, Tensor)) and callable(change):
        return _numbers(torch.as_tensor([change(targets[index]) for index in indices_of(part, places)])), True
    whole = isinstance(part.loader, (list, tuple))
    return _numbers(torch.cat([labels for _, labels in part.batches(len(part.loader) if whole else BATCHES)])), whole


def _numbers(labels: Tensor) -> Tensor:
    if labels.ndim != 1 or labels.is_floating_point() or not len(labels):
        raise CannotTell("the labels are no class numbers")
    return labels.cpu().long()


def are_shares(labels: Tensor) -> bool:
    """Whether these are soft labels: rows of shares that add up to 1, not several yes or no for each image."""
    if labels.ndim != 2 or labels.shape[1] < 2 or not labels.is_floating_point() or not len(labels):
        return False
    return bool((labels >= 0).all() and ((labels.sum(1) - 1).abs() < 0.01).all())


def are_mixed(soft: Tensor) -> Tensor:
    """(N,) which rows of soft labels are mixtures: not one-hot or smoothed, where all but the largest share are alike.

    >>> are_mixed(torch.tensor([[0.0, 1.0, 0.0], [0.1, 0.8, 0.1], [0.0, 0.7, 0.3]]))
    tensor([False, False,  True])
    """
    if soft.shape[1] < 3:
        return torch.zeros(len(soft), dtype=torch.bool)  # of two shares nothing tells
    others = soft.sort(dim=1).values[:, :-1]
    return others[:, -1] - others[:, 0] > 1e-4


def draws_at_random(part: Part) -> bool:
    """True when one of torch's random samplers chooses the order."""
    return isinstance(sampler_of(part), (RandomSampler, SubsetRandomSampler, WeightedRandomSampler))


@remembered
def files_of(part: Part) -> list[str] | None:
    """The image file of each sample of the dataset inside any Subset, None when it keeps no list of files."""
    return files_in(part.inner)


def files_in(dataset: Any) -> list[str] | None:
    """The image file of each sample of a dataset, None when it keeps no list of files."""
    root = getattr(dataset, "root", "")
    for values in vars(dataset).values() if hasattr(dataset, "__dict__") else ():
        if not isinstance(values, (list, tuple)) or not values or len(values) != len(dataset):
            continue
        names = [entry[0] if isinstance(entry, tuple) and entry else entry for entry in (values[0], values[-1])]
        if not all(isinstance(name, (str, os.PathLike)) for name in names):
            continue
        base = next((base for base in ("", root) if all(Path(base, name).is_file() for name in names)), None)
        if base is not None:
            files = [entry[0] if isinstance(entry, tuple) else entry for entry in values]
            return [os.path.join(base, file) for file in files] if base else [os.fspath(file) for file in files]
    return None


def open_small(file: str, size: int) -> Image.Image:
    """The image of a file as RGB; a large JPEG is decoded at a fraction of its size, at least `size` pixels."""
    with Image.open(file) as image:
        image.draft("RGB", (size, size))
        return image.convert("RGB")
