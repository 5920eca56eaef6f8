"""What tl.fit costs on top of a training loop written by hand, and beside other libraries' loops."""

from __future__ import annotations

import importlib
import logging
import warnings
from functools import cache

import torch
from rows import Row
from timing import Clock, Timed, interleaved
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import models

import tlhelpers as tl

CLASSES, BATCH, EPOCHS, RATE = 102, 32, 2, 0.001
TARGET = "<= 1.02"
LOOP_ROUNDS = 15  # one round of a few seconds differs from the next by 5 %: to see 2 %, many short ones beat five long


@cache
def tensors(arch: str, split: str, count: int) -> TensorDataset:
    """So many images of a split, decoded and normalised: no way has to read a file."""
    preset = models.get_model_weights(arch).DEFAULT.transforms()
    flowers = tl.MiniFlowers102(split=split, transform=preset)
    step = len(flowers) // count
    rows = list(range(0, step * count, step))
    return TensorDataset(torch.stack([flowers[i][0] for i in rows]), torch.tensor([flowers.targets[i] for i in rows]))


class Task:
    """The same start for every way: network, order of the images, optimiser."""

    def __init__(self, arch: str, train: int, val: int) -> None:
        self.arch, self.train, self.val = arch, tensors(arch, "train", train), tensors(arch, "val", val)

    def model(self) -> nn.Module:
        tl.seed_everything(0)
        return tl.replace_head(models.get_model(self.arch, weights="DEFAULT"), CLASSES)

    def loaders(self) -> tuple[DataLoader, DataLoader]:
        return tl.make_loader(self.train, BATCH, train=True), tl.make_loader(self.val, BATCH)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.AdamW(model.parameters(), lr=RATE)


def course(task: Task, clock: Clock) -> None:
    model, (train, val) = task.model(), task.loaders()
    optimizer = task.optimizer(model)
    with clock:
        tl.fit(model, train, val, epochs=EPOCHS, optimizer=optimizer, verbose=False)


def by_hand(task: Task, clock: Clock, memory_format: torch.memory_format = torch.contiguous_format) -> None:
    """The loop of lesson 02: train, validate, keep a copy of the best weights, put it back."""
    model, (train, val), loss_fn = task.model(), task.loaders(), nn.CrossEntropyLoss()
    optimizer = task.optimizer(model)
    with clock:
        best_loss = float("inf")
        for _ in range(EPOCHS):
            model.train()
            loss_sum, right, seen = 0.0, 0, 0
            for images, labels in train:
                scores = model(images.contiguous(memory_format=memory_format))
                loss = loss_fn(scores, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss_sum += loss.item() * len(labels)
                right += (scores.argmax(dim=1) == labels).sum().item()
                seen += len(labels)
            model.eval()
            loss_sum, right, seen = 0.0, 0, 0
            with torch.no_grad():
                for images, labels in val:
                    scores = model(images.contiguous(memory_format=memory_format))
                    loss_sum += loss_fn(scores, labels).item() * len(labels)
                    right += (scores.argmax(dim=1) == labels).sum().item()
                    seen += len(labels)
            if loss_sum / seen < best_loss:
                best_loss = loss_sum / seen
                best_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(best_state)


def by_hand_channels_last(task: Task, clock: Clock) -> None:
    by_hand(task, clock, torch.channels_last)


def with_fastai(task: Task, clock: Clock) -> None:
    import fastai.callback.progress  # noqa: F401 - gives a Learner no_bar
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader as FastaiLoader
    from fastai.learner import Learner
    from fastai.metrics import accuracy
    from fastai.optimizer import OptimWrapper

    model, loss_fn = task.model(), nn.CrossEntropyLoss()
    loaders = DataLoaders(
        FastaiLoader(task.train, bs=BATCH, shuffle=True, num_workers=0), FastaiLoader(task.val, bs=BATCH, num_workers=0)
    )

    def optimizer(parameters, lr, **_):
        return OptimWrapper(parameters, torch.optim.AdamW, lr=lr)

    learner = Learner(loaders, model, loss_func=loss_fn, opt_func=optimizer, lr=RATE, metrics=accuracy)
    with clock, learner.no_bar(), learner.no_logging():
        learner.fit(EPOCHS, RATE)


def with_lightning(task: Task, clock: Clock) -> None:
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    model, (train, val), loss_fn = task.model(), task.loaders(), nn.CrossEntropyLoss()

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = model

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return task.optimizer(self.network)

        def measured(self, batch: list, stage: str) -> torch.Tensor:
            images, labels = batch
            scores = self.network(images)
            loss = loss_fn(scores, labels)
            right = (scores.argmax(1) == labels).float().mean()
            self.log_dict({f"{stage}_loss": loss, f"{stage}_accuracy": right}, on_step=False, on_epoch=True)
            return loss

        def training_step(self, batch: list, _: int) -> torch.Tensor:
            return self.measured(batch, "train")

        def validation_step(self, batch: list, _: int) -> None:
            self.measured(batch, "val")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about workers and the number of batches between two logs
        trainer = lightning.Trainer(
            accelerator="cpu", max_epochs=EPOCHS, logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        with clock:
            trainer.fit(Classifier(), train, val)


def timed(task: Task, ways: dict, rounds: int) -> Timed:
    for way in ways.values():  # once off the clock: the first steps of a process are slow
        way(Task(task.arch, BATCH, BATCH), Clock())
    return interleaved({name: lambda clock, way=way: way(task, clock) for name, way in ways.items()}, rounds)


def size(quick: bool) -> tuple[int, int]:
    return (BATCH, BATCH) if quick else (1020, 510)


def loop(rounds: int, quick: bool) -> list[Row]:
    """tl.fit against the loop of lesson 02, all layers trained on a CPU."""
    rounds = rounds if quick else max(rounds, LOOP_ROUNDS)
    rows, (train, val) = [], (BATCH, BATCH) if quick else (510, 255)
    for arch in ("efficientnet_mini",) if quick else ("resnet10", "efficientnet_mini"):
        ways = {"tl.fit": course, "by hand": by_hand, "by hand, channels last": by_hand_channels_last}
        found = timed(Task(arch, train, val), ways, rounds)
        for other in ("by hand", "by hand, channels last"):
            note = f"{found.seconds_of('tl.fit', other)}; {found.spread('tl.fit', other)}"
            rows.append(Row(f"{arch}: tl.fit / loop {other}", found.ratio("tl.fit", other), TARGET, note=note))
    return rows


def others(rounds: int, quick: bool) -> list[Row]:
    """tl.fit beside fastai and Lightning. They keep no best weights here: without files they have no way to."""
    rows, ways = [], {"tl.fit": course}
    task = Task("resnet10", *size(quick))
    for name, way in (("fastai", with_fastai), ("lightning", with_lightning)):
        what = f"resnet10: tl.fit / {name}"
        if reason := why_not(name, way):
            rows.append(Row(what, target=TARGET, problem=reason))
        else:
            rows.append(Row(what, target=TARGET, note=importlib.import_module(name).__version__))
            ways[name] = way
    if len(ways) > 1:
        found = timed(task, ways, rounds)
        for row in rows:
            name = row.what.split()[-1]
            if name in ways:
                row.value = found.ratio("tl.fit", name)
                seconds, spread = found.seconds_of("tl.fit", name), found.spread("tl.fit", name)
                row.note = f"{name} {row.note}; {seconds}; {spread}"
    return rows


def why_not(name: str, way) -> str:
    """Why a library cannot take part; empty if one small training with it works."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            return f"{name} is not installed: make bench OTHERS=1"
        return f"{name} does not load: {error}"
    except Exception as error:
        return f"{name} does not load with torch {torch.__version__}: {error!r:.120}"
    try:
        way(Task("resnet10", BATCH, BATCH), Clock())
    except Exception as error:
        return f"{name} does not train with torch {torch.__version__}: {error!r:.120}"
    return ""
