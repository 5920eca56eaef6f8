"""Right set-ups through the whole doctor, with validation: no finding, and no examination left out without a reason."""

from functools import cache

import pytest
import torch
from test_doctor_training import FLOWERS, adamw, by_depth, fresh, one_cycle
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Subset, TensorDataset
from torchvision import models

import tlhelpers as tl

CLASSES, SIZE = 5, 64


@cache
def files(train):
    """Twelve images of each class for training, others for validation: the bundled files, through a transform."""
    transform = tl.train_transform(SIZE) if train else tl.eval_transform(SIZE)
    return tl.image_folder(FLOWERS, transform)


def places(train, classes=range(CLASSES)):
    targets = files(train).targets
    first = 0 if train else 12
    return [targets.index(label) + first + i for label in classes for i in range(12 if train else 5)]


@cache
def tensors(train):
    images = tl.image_folder(FLOWERS, tl.eval_transform(SIZE))
    rows = places(train)
    return torch.stack([images[i][0] for i in rows]), torch.tensor([images.targets[i] for i in rows])


def both(make=lambda train: TensorDataset(*tensors(train)), batch_size=12):
    return [tl.make_loader(make(train), batch_size=batch_size, train=train) for train in (True, False)]


def of_files():
    """Augmented files, groups by depth, one cycle."""
    loaders = both(lambda train: Subset(files(train), places(train)))
    model = fresh()
    optimizer = by_depth(model)
    scheduler = one_cycle(optimizer, 3 * len(loaders[0]))
    return (model, *loaders, optimizer, None, scheduler), {"epochs": 3, "step_scheduler_every": "batch"}


def several_labels():
    """Binary cross-entropy on several labels per image."""

    def make(train):
        images, labels = tensors(train)
        return TensorDataset(images, (F.one_hot(labels, CLASSES) + F.one_hot((labels + 1) % CLASSES, CLASSES)).float())

    model = fresh()
    return (model, *both(make), adamw(model), nn.BCEWithLogitsLoss()), {}


def class_weights():
    model = fresh()
    return (model, *both(), adamw(model), nn.CrossEntropyLoss(torch.linspace(0.5, 1.5, CLASSES))), {}


def from_scratch(make=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)):
    tl.seed_everything(0)
    model = models.resnet18(num_classes=CLASSES)
    return (model, *both(), make(tl.parameter_groups(model, lr=0.1, weight_decay=5e-4))), {}


def from_scratch_with_adam():
    return from_scratch(lambda groups: torch.optim.Adam([p for g in groups for p in g["params"]], lr=1e-2))


def group_norm():
    tl.seed_everything(0)
    one = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.GroupNorm(4, 16), nn.ReLU())
    two = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2), nn.GroupNorm(4, 32), nn.ReLU())
    model = nn.Sequential(one, two, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, CLASSES))
    return (model, *both(), adamw(model, 3e-3)), {}


def some_of_the_classes():
    """A Subset that holds three of the five classes that its dataset names, and a head with three scores."""
    model = fresh(classes=3)
    return (model, *both(lambda train: Subset(files(train), places(train, range(3)))), adamw(model)), {}


def a_closure_for_lbfgs():
    model = fresh(start="head")
    return (model, *both(), torch.optim.LBFGS(model.fc.parameters(), lr=0.1)), {}


class Weighted:
    """A loss that is no module."""

    def __call__(self, scores, labels):
        return 0.5 * F.cross_entropy(scores, labels)


def loss_that_is_no_module():
    model = fresh()
    return (model, *both(), adamw(model), Weighted()), {}


def lists_of_batches():
    model = fresh()
    return (model, *map(list, both()), adamw(model)), {}


COLOURS = ["order of the colours"]  # pixels in memory: whether red and blue changed places is not to be seen
# which examinations a right set-up leaves out
RIGHT = {
    of_files: [],
    several_labels: [*COLOURS, "size of the head", "head and loss"],
    class_weights: COLOURS,
    from_scratch: COLOURS,
    from_scratch_with_adam: COLOURS,
    group_norm: COLOURS,
    some_of_the_classes: [],
    a_closure_for_lbfgs: COLOURS,
    loss_that_is_no_module: COLOURS,
    lists_of_batches: COLOURS,
}


@pytest.mark.parametrize("setup", RIGHT, ids=lambda setup: setup.__name__)
def test_a_right_set_up_passes_the_whole_doctor(setup):
    given, named = setup()
    report = tl.doctor(*given, **named)
    assert report.codes == [], report
    assert [name for line in report.skipped for name in line.split(":")[0].split(", ")] == RIGHT[setup], report.skipped
    assert report.not_possible == 0


def test_a_wild_rate_from_scratch_is_still_seen_and_nothing_pretrained_is_spoilt():
    given, _ = from_scratch(lambda groups: torch.optim.SGD([p for g in groups for p in g["params"]], lr=10.0))
    report = tl.doctor(*given)
    assert report.codes == ["rate-too-high"] and "retrained" not in report["rate-too-high"].diagnosis.why
    model = fresh()
    report = tl.doctor(model, *both(), torch.optim.SGD(model.parameters(), lr=10.0))
    assert report.codes == ["rate-too-high"] and "Pretrained" in report["rate-too-high"].diagnosis.why
