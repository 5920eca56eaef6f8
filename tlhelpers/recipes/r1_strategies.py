"""R1, one data set and every strategy: Flowers102 with a frozen, a wholly trained and a gradually unfrozen ResNet.

Given: the two pipelines, the head and all rates below; 5 + 5 + 10 epochs for gradual unfreezing. Not given: the rate of
the frozen variant (here 0.001), of the three phases (0.001, 0.0001, 0.00001), and the other epochs (here as many as
the three phases together, 20). In mini: resnet10 and efficientnet_mini, 26 of the 102 bundled classes, 5 epochs,
batches of 16 for 32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torchvision.models import WeightsEnum
from torchvision.transforms import v2

import tlhelpers as tl

from .common import Images, Setup, flowers102_split, loader_for, save_figure, the_one_test, val_accuracy

RATES = {"layer1": 1e-5, "layer2": 5e-5, "layer3": 1e-4, "layer4": 5e-4, "head": 1e-3}


@dataclass(frozen=True)
class Lesson:
    """What every strategy works with."""

    setup: Setup
    train: Images
    val: Images
    epochs: int

    def network(self, mini: str, full: str) -> tuple[nn.Module, WeightsEnum]:
        """Return a pretrained network and its weights entry; every strategy begins with the same random numbers."""
        tl.seed_everything(self.setup.course.seed)
        return tl.pretrained(self.setup.course, self.setup.course.pick(mini=mini, full=full))

    def loaders(self, augment: v2.Transform, weights: WeightsEnum, **options) -> list:
        """Return the loaders for training and validation; validation sees what these weights want to see."""
        batch = self.setup.course.pick(mini=16, full=32)  # not given; the few images of mini make few steps
        train = loader_for(self.setup, self.train, augment, train=True, batch_size=batch, **options)
        return [train, loader_for(self.setup, self.val, weights.transforms())]


def run(setup: Setup) -> dict[str, float]:
    """Run every strategy; return its validation accuracy, and the test accuracy of the one that validation chose."""
    course = setup.course
    if setup.data is not None:
        raise tl.CourseError("R1 is about Flowers102 and takes no --data: leave it out, or run R0, R2 or R3.")
    parts = [flowers102_split(course, split) for split in ("train", "val", "test")]
    if course.profile == "mini":  # every fourth class: all 102 would take four times as long
        parts = [fewer_classes(part, tl.FLOWERS102_CLASSES[::4]) for part in parts]
    train, val, test = parts
    lesson = Lesson(setup, train, val, setup.epochs or course.pick(mini=5, full=20))
    print(f"{len(train)} images to train, {len(val)} to choose by, {len(test)} to test, {len(val.classes)} classes")

    accuracies, best = {}, None
    for name, strategy in STRATEGIES.items():
        print(f"\n{name}")
        model, weights, history = strategy(lesson)
        accuracies[name] = val_accuracy(history)
        if best is None or accuracies[name] > accuracies[best[0]]:
            best = name, model, weights
    print("\nValidation accuracy at the best epoch")
    for name, accuracy in accuracies.items():
        print(f"{accuracy:7.3f}  {name}")
    save_figure(setup, tl.compare_bars(accuracies, chance=1 / len(val.classes)), "strategies.png")

    name, model, weights = best
    print(f"\nThe test split is used here, once, for the best of them: {name}.")
    metrics = the_one_test(model, loader_for(setup, test, weights.transforms()))
    results = {f"val_accuracy, {name}": accuracy for name, accuracy in accuracies.items()}
    return results | {"test_accuracy": metrics.accuracy}


def fewer_classes(images: tl.CachedImages, names: tuple[str, ...]) -> tl.CachedImages:
    """Return the images of some classes, numbered anew in the order of `names`."""
    number = {images.classes.index(name): new for new, name in enumerate(names)}
    kept = [
        (image, number[label]) for image, label in zip(images.images, images.targets, strict=True) if label in number
    ]
    pixels, targets = zip(*kept, strict=True)
    return tl.CachedImages(pixels, targets, classes=names)


# The two pipelines, at the size and with the statistics that the weights were trained with.


def simple(weights: WeightsEnum) -> v2.Compose:
    """RandomResizedCrop (as little as 0.08 of the area) and a flip."""
    size, mean, std = tl.from_weights(weights)
    return v2.Compose([v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), *_to_tensor(mean, std)])


def richer(weights: WeightsEnum) -> v2.Compose:
    """A milder crop, turns, colours and shifts; what a turn or a shift uncovers gets the mean colour."""
    size, mean, std = tl.from_weights(weights)
    fill = [round(255 * value) for value in mean]
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.8, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomRotation(15, fill=fill),
            v2.ColorJitter(0.2, 0.2, 0.2, 0.1),
            v2.RandomAffine(0, translate=(0.1, 0.1), fill=fill),
            *_to_tensor(mean, std),
        ]
    )


def _to_tensor(mean: tuple, std: tuple) -> list[v2.Transform]:
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]


# The strategies. Each builds its optimizer after it has decided what trains. tl.fit keeps frozen BatchNorm still.


def resnet(lesson: Lesson) -> tuple[nn.Module, WeightsEnum, list]:
    """Return the ResNet with the recipe's head, its weights entry, and the loaders."""
    model, weights = lesson.network(mini="resnet10", full="resnet50")
    width, classes = tl.head_in_features(model), len(lesson.val.classes)
    layers = [nn.Dropout(0.5), nn.Linear(width, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, classes)]
    tl.replace_head(model, classes, nn.Sequential(*layers))
    return model, weights, lesson.loaders(simple(weights), weights)


def head_only(lesson: Lesson) -> tuple:
    """(a) Everything frozen but the head."""
    model, weights, loaders = resnet(lesson)
    tl.unfreeze_from(model, "head")
    optimizer = torch.optim.Adam(tl.trainable_parameters(model), lr=1e-3)
    return model, weights, tl.fit(model, *loaders, epochs=lesson.epochs, optimizer=optimizer)


def all_layers(lesson: Lesson) -> tuple:
    """(b) Everything learns, at 0.00001. That is the head's rate too, which therefore learns slowly."""
    model, weights, loaders = resnet(lesson)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    return model, weights, tl.fit(model, *loaders, epochs=lesson.epochs, optimizer=optimizer)


def gradual(lesson: Lesson) -> tuple:
    """(c) The head, then layer4 as well, then all: a new optimizer for each phase, none is added to."""
    model, weights, loaders = resnet(lesson)
    if lesson.epochs < 3:
        print(f"Three phases need three epochs: 3 here, where the other strategies have {lesson.epochs}.")
    quarter = max(1, lesson.epochs // 4)
    rest = max(1, lesson.epochs - 2 * quarter)
    phases = [tl.Phase("head", quarter, 1e-3), tl.Phase("layer4", quarter, 1e-4), tl.Phase("stem", rest, 1e-5)]
    histories = tl.fit_gradually(
        model, *loaders, phases, cached=False, optimizer=lambda m, p: torch.optim.Adam(tl.trainable_parameters(m), p.lr)
    )
    return model, weights, histories[-1]


def rate_per_layer(lesson: Lesson) -> tuple:
    """(d) Five rates, and OneCycleLR with five maxima: a single max_lr would replace them all by one."""
    model, weights, loaders = resnet(lesson)
    tl.unfreeze_from(model, "layer1")  # the recipe names no rate for the stem
    groups = tl.parameter_groups(model, lr=RATES)
    optimizer = torch.optim.Adam(groups)
    steps = lesson.epochs * len(loaders[0])
    scheduler = OneCycleLR(optimizer, max_lr=[group["lr"] for group in groups], total_steps=steps, pct_start=0.1)
    options = dict(optimizer=optimizer, scheduler=scheduler, step_scheduler_every="batch")
    return model, weights, tl.fit(model, *loaders, epochs=lesson.epochs, **options)


class FlowerClassifier(nn.Module):
    """The project's module: an EfficientNet whose classifier is a dropout and a linear layer."""

    def __init__(self, backbone: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        width = tl.head_in_features(backbone)
        self.backbone.classifier = nn.Sequential(nn.Dropout(0.3), nn.Linear(width, num_classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, classes)."""
        return self.backbone(images)


def project(lesson: Lesson, loss_fn: nn.Module | None = None, collate_fn: Callable | None = None) -> tuple:
    """(e) The project: richer images, FlowerClassifier, AdamW 0.0001; with a softer loss or mixed batches."""
    backbone, weights = lesson.network(mini="efficientnet_mini", full="efficientnet_b0")
    model = FlowerClassifier(backbone, len(lesson.val.classes)).to(lesson.setup.course.device)
    loaders = lesson.loaders(richer(weights), weights, collate_fn=collate_fn)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    return model, weights, tl.fit(model, *loaders, epochs=lesson.epochs, optimizer=optimizer, loss_fn=loss_fn)


STRATEGIES = {
    "head only": head_only,
    "all layers at 0.00001": all_layers,
    "gradual unfreezing": gradual,
    "a rate for each layer, OneCycle": rate_per_layer,
    "project": project,
    "project, label smoothing": lambda lesson: project(lesson, nn.CrossEntropyLoss(label_smoothing=0.1)),
    "project, mixup": lambda lesson: project(lesson, None, tl.MixingCollate(len(lesson.val.classes), 0.2)),
}
