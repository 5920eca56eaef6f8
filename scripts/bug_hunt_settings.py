"""The small set-ups of bug_hunts.py: for each bug hunt the names its cell needs, and what the doctor is given then."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from course_address import ROOT
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import Subset, TensorDataset
from torchvision import datasets, models
from torchvision.transforms import v2

sys.path[:0] = [str(ROOT)]
import tlhelpers as tl  # noqa: E402
from tlhelpers.diagnosis import Report  # noqa: E402

WEIGHTS = models.get_model_weights("resnet10").DEFAULT


@dataclass(frozen=True)
class Hunt:
    """One bug hunt: what is planted, by which names the doctor knows it, and how a set-up comes from the cell."""

    number: str
    mistake: str
    codes: tuple[str, ...]
    report: Callable[[dict[str, Any]], Report]  # from the names that the cell has set
    before: Callable[[], dict[str, Any]] = dict  # the names that the cell needs, besides those of every lesson


# --- small set-ups


@cache
def _course() -> tl.session.Course:
    return tl.start(seed=0, profile="mini", device="cpu")


def names_of_the_lesson() -> dict[str, Any]:
    """What the lessons have imported and set by then."""
    size, mean, std = tl.from_weights(WEIGHTS)
    known = {"tl": tl, "torch": torch, "nn": nn, "F": nn.functional, "models": models, "datasets": datasets, "v2": v2}
    known |= {"Subset": Subset, "lr_scheduler": lr_scheduler, "arch": "resnet10", "weights": WEIGHTS}
    return known | {"course": _course(), "size": size, "mean": mean, "std": std, "fresh": _fresh}


def _fresh(seed: int = 0, classes: int = 5) -> nn.Module:
    tl.seed_everything(seed)
    return tl.replace_head(models.get_model("resnet10", weights="DEFAULT"), classes)


@cache
def _flowers() -> TensorDataset:
    """Twelve images of each of five flowers, in memory."""
    flowers = tl.five_flowers(_course(), transform=WEIGHTS.transforms())
    rows = [flowers.targets.index(label) + i for i in range(12) for label in range(5)]
    return TensorDataset(torch.stack([flowers[i][0] for i in rows]), torch.tensor([flowers.targets[i] for i in rows]))


def _loader(classes: int = 5, **options: Any) -> torch.utils.data.DataLoader:
    images, labels = _flowers().tensors
    few = labels < classes
    return tl.make_loader(TensorDataset(images[few], labels[few]), batch_size=6, train=True, **options)


def _doctor(model: nn.Module, *loaders: Any, **others: Any) -> Report:
    """The doctor's report on a model whose modes are right; what is hunted elsewhere is no news here."""
    return tl.doctor(tl.train_mode(model), *loaders, **others)


def _sgd(model: nn.Module, lr: float = 0.01) -> torch.optim.Optimizer:
    return torch.optim.SGD(tl.trainable_parameters(model), lr=lr, momentum=0.9)


def _adamw(model: nn.Module, lr: float = 5e-4) -> torch.optim.Optimizer:
    return torch.optim.AdamW(tl.trainable_parameters(model), lr=lr)


# --- the bug hunts


def _before_01_5() -> dict[str, Any]:
    raw = datasets.ImageFolder(_course().data / "mini" / "five-flowers")
    train_index, val_index, _ = tl.stratified_split(raw.targets, (0.1, 0.1, 0.8), seed=0)
    pipelines = {"train_pipeline": tl.train_transform_for(WEIGHTS), "eval_pipeline": WEIGHTS.transforms()}
    return {"raw": raw, "train_index": train_index, "val_index": val_index, **pipelines}


def _report_01_5(made: dict[str, Any]) -> Report:
    return _doctor(
        tl.unfreeze_from(_fresh(), "head"),
        tl.make_loader(made["train_part"], batch_size=6, train=True),
        tl.make_loader(made["val_part"], batch_size=6),
    )


def _before_03_1() -> dict[str, Any]:
    return {"train_flowers": tl.flowers102(_course(), "train", transform=WEIGHTS.transforms())}


def _report_03_1(made: dict[str, Any]) -> Report:
    model = tl.unfreeze_from(_fresh(classes=102), "head")
    return _doctor(model, tl.make_loader(made["suspect_flowers"], batch_size=6, train=True))


class _Watched(list):
    """Training batches that call the doctor whenever an epoch begins."""

    def __init__(self, batches: list, examine: Callable[[list], Report]) -> None:
        super().__init__(batches)
        self.examine, self.reports = examine, []

    def __iter__(self):
        self.reports.append(self.examine(self[:]))
        return super().__iter__()


def _report_03_5(made: dict[str, Any]) -> Report:
    model = _fresh()
    optimizer, batches = _adamw(model), list(_loader())[:2]
    watched = _Watched(batches, lambda plain: tl.doctor(model, plain, optimizer=optimizer))
    made["train_and_validate"](model, watched, batches, optimizer, epochs=2)
    return watched.reports[1]


def _one_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    images, labels = next(iter(_loader()))
    nn.functional.cross_entropy(tl.train_mode(model)(images), labels).backward()
    optimizer.step()


def _report_03_6(made: dict[str, Any]) -> Report:
    model = _fresh()
    optimizer = _adamw(model)
    _one_step(model, optimizer)
    made["freeze_now"](model.layer1, optimizer)
    return _doctor(model, _loader(), optimizer=optimizer)


def _report_04_2(made: dict[str, Any]) -> Report:
    model, loader = tl.unfreeze_from(_fresh(), "head"), _loader()
    optimizer, scheduler = made["next_phase"](model, "layer4", 1e-3, 3 * len(loader))
    run = {"epochs": 3, "step_scheduler_every": "batch"}
    return _doctor(model, loader, optimizer=optimizer, scheduler=scheduler, **run)


def _report_04_3(made: dict[str, Any]) -> Report:
    model = tl.unfreeze_from(_fresh(), "layer4")
    optimizer = _adamw(model, 1e-3)
    made["phase_step"](model, optimizer, *next(iter(_loader())))
    return tl.doctor(model, _loader(), optimizer=optimizer)


def _report_05_5(made: dict[str, Any]) -> Report:
    flowers, collate = _flowers(), tl.MixingCollate(5, mixup_alpha=0.2)
    train, val = made["loaders"](Subset(flowers, range(0, 60, 2)), Subset(flowers, range(1, 60, 2)), collate)
    return _doctor(_fresh(), train, val)


def _report_05_6(made: dict[str, Any]) -> Report:
    def collate(samples: list) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = torch.utils.data.default_collate(samples)
        return images, made["targets"](labels, 5)

    return _doctor(_fresh(), _loader(collate_fn=collate), loss_fn=made["loss_fn"])


HUNTS = (
    Hunt("01.5", "one augmenting dataset for both parts", ("validation-augmented",), _report_01_5, _before_01_5),
    Hunt(
        "02.2",
        "requires_grad_ = False",
        ("freeze-without-effect",),
        lambda made: _doctor(made["suspect"], _loader(), optimizer=_sgd(made["suspect"])),
    ),
    Hunt(
        "02.4",
        "optimiser made before the new head",
        ("not-in-optimizer", "foreign-parameters", "frozen-in-optimizer"),
        lambda made: _doctor(made["pupil"], _loader(classes=2), optimizer=made["pupil_optimizer"]),
    ),
    Hunt("03.1", "no Normalize", ("not-normalized",), _report_03_1, _before_03_1),
    Hunt(
        "03.3",
        "the body's own rate, 100 times that of the head",
        ("rate-too-high",),
        lambda made: _doctor(made["victim"], _loader(), optimizer=made["victim_optimizer"]),
    ),
    Hunt("03.5", "eval mode from the second epoch on", ("eval-mode",), _report_03_5),
    Hunt("03.6", "a gradient left on a frozen layer", ("leftover-gradient",), _report_03_6),
    Hunt("04.2", "a group added under the scheduler", ("groups-after-scheduler",), _report_04_2),
    Hunt("04.3", "model.train() on frozen stages", ("frozen-batchnorm-drifts",), _report_04_3),
    Hunt("05.5", "validation mixed, training in order", ("validation-mixed", "training-not-shuffled"), _report_05_5),
    Hunt("05.6", "smoothing in the labels and in the loss", ("smoothed-twice",), _report_05_6),
)
