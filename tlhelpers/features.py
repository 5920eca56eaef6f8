"""Run the frozen part of a network once, keep its output, and train the rest on that."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler, Subset, TensorDataset

from .evaluation import checked_batches, class_names, to_device
from .feature_set import FeatureSet
from .freezing import preserved_modes, preserved_random_state, trainable_parameters
from .models import device_of, stages
from .pipeline import CachedImages
from .session import CourseError


def split_model(model: nn.Module, at: str = "head") -> tuple[nn.Sequential, nn.Sequential]:
    """Cut a network before the stage named `at`: `tail(prefix(x))` equals `model(x)`.

    Both halves are the model's own modules, not copies: training the tail trains the model. Pass the tail to `fit`
    together with cached features. Raises `CourseError` for a stage the network does not have.

    >>> from torchvision import models
    >>> prefix, tail = split_model(models.squeezenet1_1(), at="block3")
    >>> prefix(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 256, 3, 3])
    """
    parts = stages(model)
    names = [part.name for part in parts]
    if at not in names[1:]:
        raise CourseError(f"Cannot cut at {at!r}: choose one of {', '.join(names[1:])}.")
    cut = names.index(at)
    before, after = ([module for part in side for module in part.modules] for side in (parts[:cut], parts[cut:]))
    return nn.Sequential(*before), nn.Sequential(*after)


def cache_features(model: nn.Module, loader: DataLoader, at: str = "head", views: int = 1) -> FeatureSet:
    """Run everything before the stage `at` once over the loader, in eval mode, and keep the outputs.

    A head that is trained on them gets exactly the rows it would get in the full model, many times faster. A cache
    keeps one look at each image, so an augmenting dataset is refused unless `views` asks for that many passes: the rows
    of all passes follow each other. Modes and random states are as before afterwards. Raises `CourseError` for a
    prefix that still trains, and for a loader that shuffles or leaves images out. (Chollet 2020,
    keras.io/guides/transfer_learning, "an alternative, more lightweight workflow")

    >>> from torchvision import models
    >>> model = models.squeezenet1_1().requires_grad_(False)
    >>> loader = DataLoader(TensorDataset(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])))
    >>> cache_features(model, loader, at="block3").features.shape
    torch.Size([2, 256, 1, 1])
    """
    return cache_at_stages(model, loader, [at], views)[at]


def cache_at_stages(
    model: nn.Module, loader: DataLoader, cuts: Sequence[str], views: int = 1, begin: str | None = None
) -> dict[str, FeatureSet]:
    """`cache_features` at several stages in one pass: {"layer4": rows, "head": rows}, in the network's order.

    With `begin` the loader's dataset is what an earlier call kept at that stage, and only what lies between runs.

    >>> from torchvision import models
    >>> model = models.squeezenet1_1().requires_grad_(False)
    >>> loader = DataLoader(TensorDataset(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])))
    >>> {at: tuple(rows.features.shape) for at, rows in cache_at_stages(model, loader, ["block3", "block2"]).items()}
    {'block2': (2, 128, 3, 3), 'block3': (2, 256, 1, 1)}
    """
    segments = _segments(model, cuts, begin)
    if trainable_parameters(nn.ModuleList(segments.values())):
        at = next(reversed(segments))
        raise CourseError(f"The part before {at!r} still trains, so its features would go stale: freeze it first.")
    if isinstance(views, bool) or not isinstance(views, int) or views < 1:
        raise CourseError(f"views={views!r} must be a whole number of at least 1.")
    _check_order(loader)
    count = len(loader.dataset) * views
    kept: dict[str, Tensor] = {}
    labels: list[Tensor] = []
    with preserved_modes(model), preserved_random_state(loader), torch.no_grad():
        if views == 1:
            _check_repeatable(loader.dataset)
        for segment in segments.values():
            segment.eval()
        device, filled = device_of(model), 0
        for _ in range(views):
            for x, batch_labels in checked_batches(loader):
                x = to_device(x, device)
                for at, segment in segments.items():
                    x = segment(x)
                    if at not in kept:
                        kept[at] = _room_for(count, x)
                    kept[at][filled : filled + len(x)] = x
                filled += len(x)
                labels.append(batch_labels)
    if filled < count:
        raise CourseError("The loader leaves out some images: a cache needs every one, use drop_last=False.")
    all_labels, classes, source = torch.cat(labels), class_names(loader), loader.dataset
    indices = source.indices if begin else torch.arange(len(source)).repeat(views)
    caches, front = {}, nn.Sequential()
    for at, segment in segments.items():
        front.append(segment)
        caches[at] = FeatureSet(kept[at], all_labels, indices, _key(front, source, all_labels, at, views), classes)
    return caches


def _segments(model: nn.Module, cuts: Sequence[str], begin: str | None) -> dict[str, nn.Sequential]:
    """For each cut what runs between the one before it and itself, in the network's order."""
    for at in cuts:
        split_model(model, at)  # the name is one of a stage, or an error says so
    segments, modules = {}, []
    for part in stages(model):
        if part.name == begin:
            modules = []
        if part.name in cuts:
            segments[part.name], modules = nn.Sequential(*modules), []
        modules += part.modules
    return segments


def _room_for(count: int, batch: Tensor) -> Tensor:
    """Uninitialised rows on the CPU, filled batch by batch: joining batches afterwards would need the memory twice."""
    layout = torch.channels_last if batch.ndim == 4 else torch.contiguous_format
    return torch.empty((count, *batch.shape[1:]), memory_format=layout)


def _check_order(loader: Any) -> None:
    if not isinstance(loader, DataLoader):
        raise CourseError(f"cache_features needs a DataLoader, not {type(loader).__name__}.")
    # an own batch_sampler hides the sampler that decides the order
    sampler = getattr(loader.batch_sampler, "sampler", None) if loader.batch_sampler is not None else loader.sampler
    if not isinstance(sampler, SequentialSampler):
        raise CourseError(
            "The loader shuffles, so nobody could say which image a row of features belongs to: use shuffle=False "
            "(make_loader without train=True). Shuffle the cached rows instead."
        )
    if loader.drop_last and len(loader.dataset) % loader.batch_size:
        raise CourseError("The loader leaves out the last images (drop_last=True): use drop_last=False for a cache.")


def _check_repeatable(dataset: Any, looks: int = 8) -> None:
    """Open the first images twice: an augmentation gives itself away by two different answers."""
    for i in range(min(looks, len(dataset))):
        first, second = dataset[i][0], dataset[i][0]
        if isinstance(first, Tensor) and not torch.equal(first, second):
            raise CourseError(
                "The dataset augments at random, and a cache would keep one accidental look at each image for good: "
                "use the evaluation transform, or views=k to keep k looks."
            )


def _key(prefix: nn.Module, dataset: Any, labels: Tensor, at: str, views: int) -> str:
    """A short hash of everything the features depend on; paths and memory addresses do not count."""
    digest = hashlib.sha256()
    for tensor in prefix.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    while isinstance(dataset, Subset):
        digest.update(str(list(dataset.indices)).encode())
        dataset = dataset.dataset
    if isinstance(dataset, FeatureSet):
        digest.update(dataset.key.encode())
    if isinstance(dataset, CachedImages):
        for image in dataset.images:
            digest.update(image.cpu().contiguous().numpy())
    split = getattr(dataset, "split", getattr(dataset, "_split", None))
    transform = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(getattr(dataset, "transform", None)))
    digest.update(f"{type(dataset).__name__} {split} {transform} {at} {views} float32 {labels.tolist()}".encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Probe:
    """What `linear_probe` found. `model` is a fitted scikit-learn pipeline: `probe.model.predict(rows)`."""

    C: float  # the inverse regularisation strength that did best on the validation rows
    val_accuracy: float
    model: Any
    table: str  # one line per C, ready to print


def linear_probe(
    train: TensorDataset, val: TensorDataset, Cs: Sequence[float] = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
) -> Probe:
    """Fit a logistic regression on standardised cached features for each C; keep the one best on `val`.

    The best C differs between tasks by powers of ten, so a default is never safe. Of equals the smaller C wins. The
    returned accuracy was chosen on `val` and is therefore a little flattering. Raises `CourseError` for features that
    are not N × D. (Kornblith et al. 2019, arXiv:1805.08974)

    >>> rows = TensorDataset(torch.eye(4).repeat(3, 1), torch.tensor([0, 0, 1, 1]).repeat(3))
    >>> linear_probe(rows, rows, Cs=[1.0]).val_accuracy
    1.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if not len(Cs) or min(Cs) <= 0:
        raise CourseError(f"Cs={list(Cs)} must be one or more positive numbers, such as (0.01, 0.1, 1.0).")
    (x, y), (val_x, val_y) = _rows(train, "train"), _rows(val, "val")
    scaler = StandardScaler().fit(x)
    x, val_x = scaler.transform(x), scaler.transform(val_x)
    lines, best = [f"{'C':>8}  train acc  val acc"], None
    for C in sorted(Cs):
        regression = _fitted(LogisticRegression(C=C, max_iter=1000), x, y)
        accuracy = float(regression.score(val_x, val_y))
        lines.append(f"{C:8g}  {regression.score(x, y):9.3f}  {accuracy:7.3f}")
        if best is None or accuracy > best[1]:
            best = (float(C), accuracy, regression)
    return Probe(best[0], best[1], make_pipeline(scaler, best[2]), "\n".join(lines))


def _rows(data: TensorDataset, name: str) -> tuple[Any, Any]:
    if not isinstance(data, TensorDataset) or len(data.tensors) != 2:
        raise CourseError(f"linear_probe: {name} must be what cache_features returns (features and labels).")
    features, labels = data.tensors
    if features.ndim != 2 or len(features) == 0:
        raise CourseError(
            f"linear_probe: the features of {name} have the shape {tuple(features.shape)}, not (N, D). Cache them "
            'at="head", after the pooling; SqueezeNet pools before its head only after replace_head.'
        )
    return features.cpu().numpy(), labels.cpu().numpy()


def _fitted(regression: Any, x: Any, y: Any) -> Any:
    """Fit without scikit-learn's warning about unfinished steps: a huge C need not be solved to the last digit."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return regression.fit(x, y)
