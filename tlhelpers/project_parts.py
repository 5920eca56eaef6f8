"""What the flower project of lesson 06 is made of: its settings, its network and its images."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset
from torchvision.transforms import v2

from .datasets import flowers102
from .distributed import Ranks, on_every_rank
from .loading import pretrained
from .models import head_in_features
from .session import Course, CourseError, seed_everything
from .transforms import from_weights


@dataclass
class Settings:
    """What the command line asked for; None stands for the profile's own value (see `for_profile`).

    >>> Settings(batch_size=128).base_batch
    32
    """

    epochs: int | None = None
    batch_size: int = 32  # images of all processes together
    lr: float | None = None  # the head's highest rate
    factor: float = 0.8  # from one stage to the one below
    weight_decay: float = 0.01
    warmup: float = 0.1  # share of all steps
    dropout: float = 0.3
    batchnorm: str = "train"
    scale_lr: str = "none"
    base_batch: int = 32
    seed: int = 0
    workers: int | None = None  # loader processes of each rank
    precision: str = "auto"
    limit: int | None = None
    checkpoint: Path = field(default_factory=lambda: Path("checkpoints/project.pt"))

    def for_profile(self, course: Course) -> None:
        """Fill in what was left open, as measured for lesson 06, and scale the rate if that was asked for."""
        self.epochs = self.epochs or course.pick(mini=6, full=12)
        self.workers = course.pick(mini=0, full=2) if self.workers is None else self.workers
        rate, times = self.lr or course.pick(mini=3e-3, full=3e-4), self.batch_size / self.base_batch
        self.lr = rate * {"none": 1.0, "linear": times, "sqrt": math.sqrt(times)}[self.scale_lr]


class FlowerClassifier(nn.Module):
    """The network of lesson 06: an EfficientNet with a new head of dropout and one linear layer.

    >>> from torchvision import models
    >>> FlowerClassifier(models.get_model("efficientnet_mini"), 102).eval()(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 102])
    """

    def __init__(self, backbone: nn.Module, num_classes: int, dropout: float = 0.3) -> None:
        super().__init__()
        features = head_in_features(backbone)
        backbone.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, num_classes))
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images)


@dataclass
class Material:
    """Network and images as one process has them."""

    net: FlowerClassifier
    pictures: Dataset  # training images before any transform, and their labels
    train: Dataset  # the same, prepared as for validation
    val: Dataset
    augmentation: v2.Transform
    classes: list[str]
    names: dict[str, Any]  # which network and data these are: must be the same everywhere


def prepare(settings: Settings, course: Course) -> Material:
    """Build the network and open the data sets, downloading them first where the profile is full."""
    backbone, weights = pretrained(course, course.pick(mini="efficientnet_mini", full="efficientnet_b0"))
    preset = weights.transforms()
    parts = [("train", None), ("train", preset), ("val", preset)]
    sets = [flowers102(course, split, transform=transform) for split, transform in parts]
    classes, data = list(sets[0].classes), type(sets[0]).__name__
    if settings.limit:  # evenly spaced, because neighbours are of one class
        sets = [Subset(one, [i * len(one) // settings.limit for i in range(settings.limit)]) for one in sets]
    seed_everything(settings.seed)  # the new head
    net = FlowerClassifier(backbone, len(classes), settings.dropout)
    net = net.to(course.device, memory_format=torch.channels_last)  # as the batches are: see to_device
    size, mean, std = from_weights(weights)
    augmentation = v2.Compose(
        [
            v2.RandomAffine(
                15,
                translate=(0.1, 0.1),
                interpolation=v2.InterpolationMode.BILINEAR,
                fill=[round(255 * value) for value in mean],
            ),
            v2.RandomResizedCrop(size, scale=(0.8, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.2, 0.2, 0.2, 0.1),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    names = {"network": str(weights), "data": data, "training images": len(sets[0])}
    return Material(net, *sets, augmentation, classes, names)


def prepare_everywhere(settings: Settings, course: Course, ranks: Ranks) -> Material:
    """`prepare` on every rank, one rank of each machine first: it downloads, the others find the files there."""
    found: list[Material] = []
    for turn in (True, False):
        is_my_turn = (ranks.local_rank == 0) == turn
        on_every_rank(lambda mine=is_my_turn: found.append(prepare(settings, course)) if mine else None)
    names = on_every_rank(lambda: found[0].names)
    for rank, other in enumerate(names):
        if other != names[0]:
            raise CourseError(
                f"process 0 has {list(names[0].values())}, process {rank} has {list(other.values())}: a download has "
                "probably failed on one machine. Run the command again, or take --profile mini."
            )
    return found[0]
