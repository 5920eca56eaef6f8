"""What keeping the output of frozen stages saves: a head alone, with several views, and gradual unfreezing."""

from __future__ import annotations

import sys
from statistics import mean

import torch
from rows import Row
from timing import Clock, now
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import models

import tlhelpers as tl
from tlhelpers.prefix_cache import SameBatches

ARCH, CLASSES, BATCH, RATE = "resnet10", 102, 64, 0.002
EPOCHS, VIEWS = 20, 4
# The longer the phases, the more a cache saves, so the ratio is told for the shorter ones of lesson 04 as well.
PHASES = [("head", 8, 3e-3), ("layer4", 3, 3e-4), ("stem", 2, 3e-4)]
LESSON_04 = (5, 3)  # the epochs of its two phases with a frozen prefix


def flowers(split: str, transform, quick: bool):
    """The 1,020 images of a split, read from their files whenever they are asked for."""
    dataset = tl.MiniFlowers102(split=split, transform=transform)
    return Subset(dataset, range(40)) if quick else dataset


def frozen_network() -> nn.Module:
    tl.seed_everything(0)
    model = models.get_model(ARCH, weights="DEFAULT")
    tl.freeze(model)
    return tl.replace_head(model, CLASSES)


def preset():
    return models.get_model_weights(ARCH).DEFAULT.transforms()


def read_once(*datasets) -> None:
    """Off the clock: the files are in the system's memory for all ways, the network has warmed up."""
    for dataset in datasets:
        for i in range(len(dataset)):
            dataset[i]
    with torch.no_grad():
        frozen_network().eval()(torch.zeros(BATCH, 3, 64, 64))


def usual_way(train, val, epochs: int) -> tuple[float, float]:
    """Every epoch reads the images and runs the whole network; returns seconds and the best validation accuracy."""
    clock, model = Clock(), frozen_network()
    with clock:
        loaders = tl.make_loader(train, BATCH, train=True), tl.make_loader(val, BATCH)
        optimizer = torch.optim.AdamW(tl.trainable_parameters(model), lr=RATE)
        history = tl.fit(model, *loaders, epochs=epochs, optimizer=optimizer, verbose=False)
    return clock.seconds, history.best()["val_accuracy"]


def cached_way(train, val, epochs: int, views: int = 1) -> tuple[float, float]:
    """The frozen body runs once (the training images: once per view), the head trains on what it gave."""
    clock, model = Clock(), frozen_network()
    with clock:
        looks = tl.cache_features(model, tl.make_loader(train, BATCH), views=views)
        val_rows = tl.cache_features(model, tl.make_loader(val, BATCH))
        # the images in the order of the usual way; each epoch takes the next view
        batches = SameBatches(tl.make_loader(train, BATCH, train=True), views)
        loaders = DataLoader(looks, batch_sampler=batches), tl.make_loader(val_rows, 256)
        optimizer = torch.optim.AdamW(model.fc.parameters(), lr=RATE)
        history = tl.fit(model.fc, *loaders, epochs=epochs, optimizer=optimizer, verbose=False)
    return clock.seconds, history.best()["val_accuracy"]


def around(usual, cached, rounds: int) -> tuple[float, float, float, float]:
    """Run the short way before and after each long one; return mean seconds and accuracies of both ways."""
    slow, fast = [], [cached()]
    for _ in range(rounds):
        slow.append(usual())
        fast.append(cached())
        print(f"  usual {slow[-1][0]:.1f} s, cached {fast[-1][0]:.1f} s", file=sys.stderr, flush=True)
    slow_seconds, fast_seconds = (mean(seconds for seconds, _ in way) for way in (slow, fast))
    return slow_seconds, fast_seconds, slow[0][1], fast[0][1]


def frozen(rounds: int, quick: bool) -> list[Row]:
    """A head on a frozen backbone, 20 epochs: cached features against the body re-run in every epoch."""
    epochs = 2 if quick else EPOCHS
    train, val = (flowers(split, preset(), quick) for split in ("train", "val"))
    read_once(train, val)
    slow, fast, usual, cached = around(
        lambda: usual_way(train, val, epochs), lambda: cached_way(train, val, epochs), long_rounds(rounds)
    )
    what = f"frozen backbone, {epochs} epochs of its head on {len(train)} images"
    note = f"usual {slow:.1f} s, cached {fast:.1f} s with the caching pass; order, rate and steps are the same"
    accuracies = f"validation accuracy: usual {100 * usual:.2f} %, cached {100 * cached:.2f} %"
    return [
        Row(f"{what}: usual / cached", slow / fast, ">= 15", note=note),
        Row("the same: difference in accuracy", 100 * abs(usual - cached), "<= 0.2", "points", accuracies),
    ]


def views(rounds: int, quick: bool) -> list[Row]:
    """The same with augmentation: k cached looks at each training image, which the epochs use by turns."""
    epochs = 2 if quick else EPOCHS
    train = flowers("train", tl.train_transform_for(models.get_model_weights(ARCH).DEFAULT), quick)
    val = flowers("val", preset(), quick)
    read_once(train, val)
    slow, fast, usual, cached = around(
        lambda: usual_way(train, val, epochs), lambda: cached_way(train, val, epochs, VIEWS), long_rounds(rounds)
    )
    note = (
        f"usual {slow:.1f} s (a new look in every epoch), cached {fast:.1f} s; "
        f"validation accuracy: usual {100 * usual:.1f} %, cached {100 * cached:.1f} %"
    )
    return [Row(f"the same with augmentation: usual / {VIEWS} cached views", slow / fast, ">= 4", note=note)]


def gradual(rounds: int, quick: bool) -> list[Row]:
    """Three phases of gradual unfreezing, the images read from files: cached prefixes against the plain way."""
    train, val = (flowers(split, preset(), quick) for split in ("train", "val"))
    read_once(train, val)
    phases = [tl.Phase(start, 1 if quick else epochs, lr) for start, epochs, lr in PHASES]
    last: dict[bool, tuple[nn.Module, dict]] = {}

    def train_all(cached: bool) -> tuple[float, float, float, float]:
        model, weights, begins = tl.unfreeze_from(frozen_network(), "stem"), {}, {}

        def optimizer(model: nn.Module, phase: tl.Phase) -> torch.optim.Optimizer:
            begins[phase.start] = now()
            if phase.start == PHASES[-1][0]:
                weights.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
            return torch.optim.AdamW(tl.trainable_parameters(model), lr=phase.lr)

        loaders = tl.make_loader(train, 32, train=True), tl.make_loader(val, BATCH)
        start = now()
        histories = tl.fit_gradually(model, *loaders, phases, optimizer=optimizer, cached=cached, verbose=False)
        last[cached] = model, weights
        as_in_lesson = sum(sum(one.seconds[:epochs]) for one, epochs in zip(histories, LESSON_04, strict=False))
        return begins[PHASES[-1][0]] - start, now() - start, as_in_lesson, histories[-1].best()["val_accuracy"]

    slow, fast = [], [train_all(True)]
    for _ in range(long_rounds(rounds)):
        slow.append(train_all(False))
        fast.append(train_all(True))
        print(f"  plain {slow[-1][1]:.1f} s, cached {fast[-1][1]:.1f} s", file=sys.stderr, flush=True)
    slow_part, slow_all, slow_lesson, _ = (mean(values) for values in zip(*slow, strict=True))
    fast_part, fast_all, fast_lesson, _ = (mean(values) for values in zip(*fast, strict=True))
    at_end, at_phase_3 = difference(last, val)
    plan = ", ".join(f"{phase.epochs} from {phase.start} on" for phase in phases)
    accuracies = f"validation accuracy at the end: plain {100 * slow[0][3]:.1f} %, cached {100 * fast[0][3]:.1f} %"
    return [
        Row(
            "gradual unfreezing, the two phases with a frozen prefix: plain / cached",
            slow_part / fast_part,
            ">= 4",
            note=f"plain {slow_part:.1f} s, cached {fast_part:.1f} s with the caching pass; epochs: {plan}",
        ),
        Row(
            f"the same with lesson 04's shorter phases, {LESSON_04[0]} and {LESSON_04[1]} epochs",
            slow_lesson / fast_lesson,
            ">= 4",
            note="the same run's first epochs; most of the cached seconds go into training layer4",
        ),
        Row(
            "the same: all three phases",
            slow_all / fast_all,
            note=f"plain {slow_all:.1f} s, cached {fast_all:.1f} s; the last phase has nothing to cache",
        ),
        Row(
            "the same: largest difference of a score after the two phases",
            at_phase_3,
            "<= 0.01",
            "",
            f"after all three {at_end:.2g}; {accuracies}",
        ),
    ]


def difference(last: dict, val) -> tuple[float, float]:
    """The largest difference between the two ways' scores of all validation images: at the end, and before phase 3."""
    images = torch.stack([val[i][0] for i in range(len(val))])
    scores: dict[str, list[torch.Tensor]] = {"end": [], "phase 3": []}
    for model, weights in last.values():
        with torch.no_grad():
            model.eval()
            scores["end"].append(torch.cat([model(part) for part in images.split(256)]))
            model.load_state_dict(weights)
            scores["phase 3"].append(torch.cat([model(part) for part in images.split(256)]))
    return tuple((one - other).abs().max().item() for one, other in scores.values())


def long_rounds(rounds: int) -> int:
    """A round of a minute needs no five repetitions: its noise averages out by itself."""
    return max(1, rounds // 5)
