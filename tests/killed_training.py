"""A small training that uses every source of random numbers, and a process that starts it and ends it.

python tests/killed_training.py kill FOLDER SEED        kills runs at random moments and inside saves
python tests/killed_training.py interrupt FOLDER SEED   presses Ctrl-C at random moments

One process imports torch; every run is a fork of it, so that fifty runs cost seconds. Nothing here is a test: the test
reads the files that the runs leave.
"""

import builtins
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

import tlhelpers as tl
from tlhelpers import checkpoints

EPOCHS = 16
IN_A_SAVE = ("before writing", "half written", "before replacing", "after replacing")


class NoisyImages(Dataset):
    """Images whose look depends on Python's, NumPy's and torch's random numbers."""

    classes = ["ant", "bee", "wasp"]

    def __init__(self, count=160, augment=True):
        generator = torch.Generator().manual_seed(count)
        self.images, self.targets = torch.randn(count, 3, 12, 12, generator=generator), [i % 3 for i in range(count)]
        self.augment = augment

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        image = self.images[i] + self.targets[i] / 3
        if self.augment:
            image = image * (0.5 + random.random()) + 0.1 * np.random.rand() + 0.1 * torch.rand(3, 1, 1)
        return image.flip(-1) if self.augment and torch.rand(()) < 0.5 else image, self.targets[i]


def network():
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return nn.Sequential(*body, nn.Dropout(0.3), nn.Linear(32, 3))


def training(checkpoint, epochs=EPOCHS):
    """The whole program of a learner, from the seed to the history: what is typed again after a crash."""
    tl.seed_everything(0)
    model, train, val = network(), NoisyImages(), NoisyImages(21, augment=False)
    train_loader = tl.make_loader(train, 8, train=True, seed=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=EPOCHS * len(train_loader))
    options = {"scheduler": cycle, "step_scheduler_every": "batch", "checkpoint": checkpoint, "verbose": False}
    history = tl.fit(model, train_loader, tl.make_loader(val, 8), epochs=epochs, optimizer=optimizer, **options)
    return model, history


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_a_save(where, number):
    """Arrange the death of this process inside its save of that number."""
    left = [number]

    def now():
        left[0] -= 1
        return left[0] == 0

    save, replace = torch.save, os.replace

    def dying_save(*arguments):
        return die() if now() else save(*arguments)

    def dying_replace(*arguments):
        if where == "before replacing" and now():
            die()
        replace(*arguments)
        if where == "after replacing" and now():
            die()

    class HalfFile:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            if now():
                self.file.write(bytes(content)[: len(content) // 2])
                self.file.flush()
                die()
            return self.file.write(content)

    def opening(file, mode="r", **options):
        opened = builtins.open(file, mode, **options)
        return HalfFile(opened) if "w" in mode else opened

    if where == "before writing":
        checkpoints.torch.save = dying_save
    elif where == "half written":
        checkpoints.open = opening
    else:
        checkpoints.os.replace = dying_replace


def in_a_fork(work, kill_after=None, how=signal.SIGKILL):
    """Run `work` in a child process; send it a signal after so many seconds. Return whether it ended by itself."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(2)
        except BaseException as error:  # a child must never run on into the parent's code
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, how)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 1:
        raise SystemExit("a training failed instead of being killed")
    return os.WIFEXITED(status)


def finish(checkpoint, weights):
    model, _ = training(checkpoint)
    torch.save(model.state_dict(), weights)


def interrupted(file):
    """What a cell does with a run that was stopped: it goes on with the model and the history."""
    model, history = training(file)
    torch.save({"weights": model.state_dict(), "history": history.to_dict()}, file.with_suffix(".after"))


def interrupt(folder, seed):
    torch.set_num_threads(1)
    training(folder / "warm.pt", epochs=1)
    start = time.perf_counter()
    in_a_fork(lambda: interrupted(folder / "whole.pt"))
    whole, chance = time.perf_counter() - start, random.Random(seed)
    for number in range(16):
        file, after = folder / f"{number}.pt", chance.uniform(0.1, 1) * whole
        in_a_fork(lambda file=file: interrupted(file), kill_after=after, how=signal.SIGINT)


def kill(folder, seed):
    torch.set_num_threads(1)  # a fork of a process that computes on several threads would hang
    training(folder / "warm.pt", epochs=1)  # what PyTorch does once, it does here and not in every child
    start = time.perf_counter()
    in_a_fork(lambda: finish(folder / "whole.pt", folder / "whole.weights"))
    whole, chance, kills, inside = time.perf_counter() - start, random.Random(seed), [], []
    chain, missing = 0, list(IN_A_SAVE)
    while missing or len(kills) < 24:
        file, killed = folder / f"chain{chain}.pt", 0
        while killed < 6 and epochs_in(file) < EPOCHS - 3:  # leave something for the death in a save
            if in_a_fork(lambda file=file: training(file), kill_after=chance.uniform(0, whole / 3)):
                break  # it was complete before it could be killed
            killed += 1
            kills.append(epochs_in(file))
        before, number = epochs_in(file), chance.choice([1, 2])
        if missing and before + number < EPOCHS:
            where = missing.pop(0)

            def dying_training(file=file, where=where, number=number):
                die_in_a_save(where, number)
                training(file)

            assert not in_a_fork(dying_training), "the death inside a save did not happen"
            inside.append([where, before, number, epochs_in(file)])
        in_a_fork(lambda file=file: finish(file, file.with_suffix(".weights")))
        chain += 1
    print(json.dumps({"seconds": whole, "epochs after each kill": kills, "inside": inside, "chains": chain}))


def epochs_in(file):
    return len(torch.load(file, weights_only=True)["history"]["val_loss"]) if file.exists() else 0


if __name__ == "__main__":
    {"kill": kill, "interrupt": interrupt}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
