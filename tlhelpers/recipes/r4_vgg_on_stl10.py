"""R4, VGG16 on STL-10: the last of the classifier's layers replaced, then only that layer trained, or all of them.

Given: RandomCrop(96, padding=4) and a flip, classifier[6] for ten classes, 20 epochs, batches of 128 (256 to measure),
a scheduler stepped per epoch. Optimizer, rates and kind of schedule were not given: SGD with momentum 0.9, 0.01 for the
new layer, 0.001 for the others where they learn too, down along a cosine. In mini: vgg9_bn, the bundled set, 6 epochs,
batches of 32.

Normalize is run both ways: by the statistics the weights were trained with, and by the data set's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.data import Subset
from torchvision import models
from torchvision.transforms import v2

import tlhelpers as tl

from .common import Setup, save_figure, val_accuracy

TO_TENSOR = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])  # 0..255, H x W x C -> 0..1, C x H x W
ARCH = {"mini": "vgg9_bn", "full": "vgg16"}

# name: (whose mean and standard deviation, all layers?)
RUNS = {
    "new layer only": ("ImageNet", False),
    "new layer only, own statistics": ("own", False),
    "all layers": ("ImageNet", True),
}


def run(setup: Setup) -> dict[str, float]:
    """Run the recipe three times; return accuracies in 0..1 on validation and test images."""
    course, epochs = setup.course, setup.epochs or setup.course.pick(mini=6, full=20)
    if setup.data is not None:
        raise tl.CourseError("R4 is about STL-10 and takes no --data: leave it out, or run R0, R2 or R3.")
    if course.profile == "full":
        print("STL-10's images were taken from ImageNet, on which VGG16 was trained: the accuracies below flatter.")

    # 1. The images in memory, a fifth of the training part set apart to choose by; test images choose nothing.
    everything, test = (tl.cache_images(tl.stl10(course, split)) for split in ("train", "test"))
    parts = tl.stratified_split(everything.targets, (0.8, 0.2), course.seed)
    own = tl.dataset_statistics(Subset(everything.with_transform(TO_TENSOR), parts[0]))
    _, *imagenet = tl.from_weights(models.get_model_weights(ARCH[course.profile]).DEFAULT)
    statistics = {"ImageNet": imagenet, "own": own}
    for name, (mean, std) in statistics.items():
        print(f"{name:>8}: mean {_rounded(mean)}, standard deviation {_rounded(std)}")
    shifts = v2.RandomCrop(96, padding=4)  # four black pixels on each side, then a window of the old size
    save_figure(setup, tl.show_images([shifts(everything.images[0]) for _ in range(8)]), "padded_crops.png")

    # 2. Three trainings, each from the same weights.
    histories, found = {}, {}
    for name, (whose, whole) in RUNS.items():
        print(f"\n{name}")
        mean, std = statistics[whose]
        train_loader, val_loader, test_loader = loaders(setup, everything, parts, test, mean, std)
        model, optimizer = network(setup, len(everything.classes), whole)
        if not histories:
            print(model.classifier)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
        histories[name] = tl.fit(
            model, train_loader, val_loader, epochs=epochs, optimizer=optimizer, scheduler=scheduler
        )
        found[name] = val_accuracy(histories[name]), tl.evaluate(model, test_loader).accuracy
    save_figure(setup, tl.plot_history(histories), "curves.png")

    # 3. The validation images choose; the test accuracies of the others are printed to compare, not to choose by.
    chosen = max(found, key=lambda name: found[name][0])
    print(f"\n{'':32} validation   test ({len(test)} images)")
    for name, (on_val, on_test) in found.items():
        print(f"{name:32} {on_val:10.3f} {on_test:6.3f}{'  chosen' if name == chosen else ''}")
    results = {f"val_accuracy, {name}": on_val for name, (on_val, _) in found.items()}
    return results | {f"test_accuracy, {name}": on_test for name, (_, on_test) in found.items()}


def loaders(setup: Setup, everything: tl.CachedImages, parts: Sequence, test: tl.CachedImages, mean, std) -> list:
    """Return the loaders for training (shifted and flipped images), validation and test (as they are, in order)."""
    as_it_is = v2.Compose([TO_TENSOR, v2.Normalize(mean, std)])
    augment = v2.Compose([v2.RandomCrop(96, padding=4), v2.RandomHorizontalFlip(), as_it_is])
    train = Subset(everything.with_transform(augment), parts[0])
    val = Subset(everything.with_transform(as_it_is), parts[1])
    batch, seed = setup.course.pick(mini=32, full=128), setup.course.seed
    return [
        tl.make_loader(train, batch, train=True, seed=seed),
        tl.make_loader(val, 2 * batch),
        tl.make_loader(test.with_transform(as_it_is), 2 * batch),
    ]


def network(setup: Setup, num_classes: int, whole: bool) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return the VGG with a new classifier[6], all of it or only that layer trainable, and its optimizer."""
    tl.seed_everything(setup.course.seed)  # the same new layer and the same shifts for every run
    model, _ = tl.pretrained(setup.course, ARCH[setup.course.profile])
    if not whole:
        tl.freeze(model)
    model.classifier[6] = nn.Linear(model.classifier[6].in_features, num_classes).to(setup.course.device)
    groups = [{"params": model.classifier[6].parameters(), "lr": 0.01}]
    if whole:
        others = [p for name, p in model.named_parameters() if not name.startswith("classifier.6.")]
        groups.append({"params": others, "lr": 0.001})
    return model, torch.optim.SGD(groups, momentum=0.9)


def _rounded(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:.4f}" for number in numbers)
