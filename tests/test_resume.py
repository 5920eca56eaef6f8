"""A training that dies goes on from its checkpoint and ends bit for bit where it would have ended."""

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from killed_training import EPOCHS, IN_A_SAVE, NoisyImages, network, training
from torch import nn
from torch.optim import lr_scheduler as schedulers

import tlhelpers as tl
from tlhelpers import checkpoints, resume
from tlhelpers.checkpoints import interrupts_held
from tlhelpers.precision import mixed_precision

POSIX = pytest.mark.skipif(
    sys.platform != "linux", reason="forks a process that has loaded torch, which only Linux bears"
)


def differences(one, other, where=""):
    """Where two nests of tensors and plain values differ, bit for bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted({*one, *other}, key=str)
        return [d for n in names for d in differences(one.get(n, "absent"), other.get(n, "absent"), f"{where}/{n}")]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(one) != len(other):
            return [f"{where}: {len(one)} and {len(other)} entries"]
        return [d for i, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{where}/{i}")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    return [] if one == other and type(one) is type(other) else [f"{where}: {one!r} and {other!r}"]


def content(file):
    """All that a checkpoint holds, but for how long the epochs took."""
    found = torch.load(file, weights_only=True)
    assert len(found["history"].pop("seconds")) == len(found["history"]["val_loss"])
    return found


def test_differences_are_found():
    a = {"x": [torch.ones(2), 1.0], "y": (1,)}
    assert not differences(a, {"x": [torch.ones(2), 1.0], "y": (1,)})
    assert differences(a, {"x": [torch.ones(2) + 1e-7, 1], "y": (1, 2)}) == [
        "/x/0", "/x/1: 1.0 and 1", "/y: 1 and 2 entries"]  # fmt: skip


def ended(how, folder, seed):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(tl.__file__).parent.parent)}
    program = [sys.executable, str(Path(__file__).with_name("killed_training.py")), how, str(folder), str(seed)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@POSIX
@pytest.mark.parametrize("seed", [1])
def test_killed_at_any_moment_it_ends_as_if_nothing_had_happened(tmp_path, seed):
    """SIGKILL at 24 random moments or more, and at four places inside a save; every broken run is then finished."""
    told = json.loads(ended("kill", tmp_path, seed).splitlines()[-1])
    assert len(told["epochs after each kill"]) >= 24
    assert len(set(told["epochs after each kill"])) >= 2, "all kills fell into the same epoch"
    assert {where for where, *_ in told["inside"]} == set(IN_A_SAVE)
    for where, before, number, after in told["inside"]:
        # the save in which it died counts only when the new file had taken its place
        assert after == before + number - (where != "after replacing"), where

    whole = content(tmp_path / "whole.pt")
    assert len(whole["history"]["val_loss"]) == EPOCHS and 0 < whole["history"]["best_epoch"]
    weights = torch.load(tmp_path / "whole.weights", weights_only=True)
    for chain in range(told["chains"]):
        assert differences(whole, content(tmp_path / f"chain{chain}.pt")) == []
        assert differences(weights, torch.load(tmp_path / f"chain{chain}.weights", weights_only=True)) == []
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*")), "a half-written file was left"


@POSIX
def test_interrupted_at_any_moment_history_weights_and_file_agree(tmp_path):
    """Ctrl-C at 16 random moments, each in its own process. Before `fit` has begun it ends the program."""
    ended("interrupt", tmp_path, 2)
    stopped = []
    for number in range(16):
        if not (tmp_path / f"{number}.after").exists():
            continue
        after = torch.load(tmp_path / f"{number}.after", weights_only=True)
        history = tl.History.from_dict(after["history"])
        stopped.append(history.stopped)
        if history.epochs:
            file = tl.load_checkpoint(tmp_path / f"{number}.pt")
            assert file["history"]["val_loss"] == history.val_loss
            assert differences(file["model"], dict(after["weights"])) == []
    assert stopped.count("interrupted") >= 3 and set(stopped) <= {"interrupted", "finished"}


# ---- every kind of run, broken off by an exception and begun again -------------------------------------------------


class Crash(Exception):
    pass


class Crashing(NoisyImages):
    """Breaks off when it has been asked for so many images."""

    def __init__(self, count, after):
        super().__init__(count)
        self.left = after

    def __getitem__(self, i):
        self.left -= 1
        if self.left < 0:
            raise Crash
        return super().__getitem__(i)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3)


def adamw(model):
    groups = [{"params": model[:5].parameters(), "lr": 0.002}, {"params": model[6].parameters(), "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.01)


def run(file, crash_after=None, epochs=6, optimizer=sgd, scheduler=None, workers=0, mixing=False, **options):
    tl.seed_everything(0)
    model = network()
    train = NoisyImages(24) if crash_after is None else Crashing(24, crash_after)
    mix = tl.MixingCollate(3, mixup_alpha=0.4) if mixing else None
    loader = tl.make_loader(train, 8, train=True, num_workers=workers, collate_fn=mix)
    held = optimizer(model)
    plan = scheduler(held) if scheduler else None
    options = {"epochs": epochs, "checkpoint": file, "verbose": False, **options}
    val = tl.make_loader(NoisyImages(21, augment=False), 8)
    history = tl.fit(model, loader, val, optimizer=held, scheduler=plan, **options)
    return model, history, torch.rand(1).item(), random.random(), np.random.rand()


BY_BATCH = {"step_scheduler_every": "batch"}
KINDS = {
    "plain SGD": {},
    "two groups, AdamW": {"optimizer": adamw},
    "Adam, amsgrad": {"optimizer": lambda m: torch.optim.Adam(m.parameters(), 0.01, amsgrad=True)},
    "StepLR": {"scheduler": lambda o: schedulers.StepLR(o, 2, 0.3)},
    "MultiStepLR": {"scheduler": lambda o: schedulers.MultiStepLR(o, [2, 4, 4])},
    "cosine by batch": {"scheduler": lambda o: schedulers.CosineAnnealingLR(o, 18), **BY_BATCH},
    "OneCycle moves momentum": {"scheduler": lambda o: schedulers.OneCycleLR(o, 0.1, total_steps=18), **BY_BATCH},
    "warm-up, then cosine": {
        "scheduler": lambda o: schedulers.SequentialLR(
            o, [schedulers.LinearLR(o, 0.1, total_iters=2), schedulers.CosineAnnealingLR(o, 4)], [2])},
    "LambdaLR": {"scheduler": lambda o: schedulers.LambdaLR(o, lambda epoch: 0.5**epoch)},
    "plateau": {"scheduler": lambda o: schedulers.ReduceLROnPlateau(o, patience=0, threshold=0.5)},
    "monitor accuracy": {"monitor": "val_mean_class_accuracy", "batchnorm": "eval"},
    "label smoothing": {"loss_fn": nn.CrossEntropyLoss(label_smoothing=0.1)},
    "mixup": {"mixing": True},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_goes_on_exactly(tmp_path, kind, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The epoch parameter in", UserWarning)  # SequentialLR's own affair
        whole_model, whole, *whole_numbers = run(tmp_path / "whole.pt", **KINDS[kind])
        with pytest.raises(Crash):
            run(tmp_path / "broken.pt", crash_after=24 * 3 + 9, **KINDS[kind])
        assert len(content(tmp_path / "broken.pt")["history"]["val_loss"]) == 3
        model, history, *numbers = run(tmp_path / "broken.pt", **KINDS[kind])
    assert "Going on after epoch 3 of 6" in capsys.readouterr().out
    assert differences(content(tmp_path / "whole.pt"), content(tmp_path / "broken.pt")) == []
    assert differences(whole_model.state_dict(), model.state_dict()) == []
    assert numbers == whole_numbers, "what is drawn after the training differs"
    history.seconds = whole.seconds
    assert history == whole


def test_a_loader_with_workers_goes_on_exactly(tmp_path):
    run(tmp_path / "whole.pt", workers=2, epochs=4)
    run(tmp_path / "broken.pt", workers=2, epochs=2)
    run(tmp_path / "broken.pt", workers=2, epochs=4)
    assert differences(content(tmp_path / "whole.pt"), content(tmp_path / "broken.pt")) == []


def test_samplers_of_the_users_own(tmp_path):
    class Turns:
        """Batches that depend on how often they were asked for."""

        def __init__(self):
            self.turn = 0

        def __len__(self):
            return 3

        def __iter__(self):
            self.turn += 1
            return iter([[(self.turn + i) % 24 for i in range(8)] for _ in range(3)])

        def state_dict(self):
            return {"turn": self.turn}

        def load_state_dict(self, state):
            self.turn = state["turn"]

    loader = torch.utils.data.DataLoader(NoisyImages(24), batch_sampler=Turns())
    own = torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(range(9), generator=torch.Generator()), 3, False)
    other = torch.utils.data.DataLoader(NoisyImages(24), batch_sampler=own)
    states = [resume.loader_state(loader), resume.loader_state(other)]
    first = [[labels.tolist() for _, labels in each] for each in (loader, other)]
    second = [[labels.tolist() for _, labels in each] for each in (loader, other)]
    for each, state in zip((loader, other), states, strict=True):
        resume.set_loader_state(each, state)
    assert [[labels.tolist() for _, labels in each] for each in (loader, other)] == first != second


# ---- running it again --------------------------------------------------------------------------------------------


def test_a_complete_run_is_not_trained_again(tmp_path, capsys):
    model, history, *numbers = run(tmp_path / "run.pt")
    before, made = content(tmp_path / "run.pt"), (tmp_path / "run.pt").stat().st_mtime_ns
    again, same, *same_numbers = run(tmp_path / "run.pt", crash_after=0)  # would break at the first image
    assert same == history and numbers == same_numbers
    assert differences(model.state_dict(), again.state_dict()) == []
    assert (tmp_path / "run.pt").stat().st_mtime_ns == made and differences(before, content(tmp_path / "run.pt")) == []
    said = capsys.readouterr().out
    assert "run.pt holds this run, complete. Nothing is trained; to start anew, delete the file." in said


def test_the_same_cell_twice_with_the_objects_of_the_first_time(tmp_path):
    """In a notebook the optimizer and the scheduler often stand in an earlier cell, and are used up."""
    tl.seed_everything(0)
    model = network()
    loader, val = tl.make_loader(NoisyImages(24), 8, train=True), tl.make_loader(NoisyImages(21, False), 8)
    optimizer = sgd(model)
    cycle = schedulers.OneCycleLR(optimizer, 0.1, total_steps=6)

    def cell():
        options = {"scheduler": cycle, "step_scheduler_every": "batch", "checkpoint": tmp_path / "run.pt"}
        return tl.fit(model, loader, val, epochs=2, optimizer=optimizer, verbose=False, **options)

    first, weights = cell(), checkpoints.copy_of_state(model)
    assert cell() == first and differences(weights, model.state_dict()) == []


def test_more_epochs_prolong_a_run_and_more_patience_too(tmp_path):
    run(tmp_path / "whole.pt", epochs=5)
    run(tmp_path / "parts.pt", epochs=2)
    _, history, *_ = run(tmp_path / "parts.pt", epochs=5)
    assert history.epochs == 5 and differences(content(tmp_path / "whole.pt"), content(tmp_path / "parts.pt")) == []
    assert run(tmp_path / "parts.pt", epochs=3)[1].epochs == 5  # already further

    high = {"optimizer": lambda m: torch.optim.SGD(m.parameters(), 3.0), "epochs": 30}
    _, stopped, *_ = run(tmp_path / "patient.pt", patience=1, **high)
    assert stopped.stopped == "early stop" and stopped.epochs < 30
    again = run(tmp_path / "patient.pt", patience=1, **high)[1]
    assert again.stopped == "early stop" and again.epochs == stopped.epochs
    assert run(tmp_path / "patient.pt", patience=3, **high)[1].epochs > stopped.epochs


def test_an_interrupted_run_goes_on(tmp_path):
    class Stopped(Crashing):
        def __getitem__(self, i):
            try:
                return super().__getitem__(i)
            except Crash:
                raise KeyboardInterrupt from None

    tl.seed_everything(0)
    model = network()
    loader = tl.make_loader(Stopped(24, 24 * 3 + 5), 8, train=True)
    options = {"epochs": 6, "checkpoint": tmp_path / "run.pt", "verbose": False}
    val = tl.make_loader(NoisyImages(21, augment=False), 8)
    history = tl.fit(model, loader, val, optimizer=sgd(model), **options)
    assert history.stopped == "interrupted" and history.problem == "in epoch 4" and history.epochs == 3
    assert differences(tl.load_checkpoint(tmp_path / "run.pt")["model"], model.state_dict()) == []
    run(tmp_path / "whole.pt")
    assert run(tmp_path / "run.pt")[1].stopped == "finished"
    assert differences(content(tmp_path / "whole.pt"), content(tmp_path / "run.pt")) == []


def test_the_stop_button_waits_for_the_end_of_a_save(tmp_path, monkeypatch):
    """The interrupt comes while the file is written: the epoch counts, the file holds it, history and weights agree."""

    def interrupted_replace(*names):
        signal.raise_signal(signal.SIGINT)
        os.rename(*names)

    monkeypatch.setattr(checkpoints.os, "replace", interrupted_replace)
    model, history, *_ = run(tmp_path / "run.pt")
    found = content(tmp_path / "run.pt")
    assert history.stopped == "interrupted" and history.epochs == 1 == len(found["history"]["val_loss"])
    assert differences(found["model"], model.state_dict()) == [] and history.best_epoch == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupts_are_held_and_not_lost():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with interrupts_held():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest of the block")
        done.append("what follows it")
    assert done == ["the rest of the block"]
    with pytest.raises(ZeroDivisionError), interrupts_held():
        1 / 0  # noqa: B018
    elsewhere = []

    def in_a_thread():
        with interrupts_held():
            elsewhere.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert elsewhere == [signal.default_int_handler] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---- a file that is not this run's -------------------------------------------------------------------------------


def refused(file, match, **changed):
    before = file.read_bytes()
    with pytest.raises(tl.CourseError, match=match) as error:
        run(file, **changed)
    assert file.name in str(error.value) and file.read_bytes() == before
    return str(error.value)


OTHERS = {
    "another rate": (r"learning rates \[0\] was 0.02, here it is 0.5",
                     {"optimizer": lambda m: torch.optim.SGD(m.parameters(), 0.5, 0.9, weight_decay=1e-3)}),
    "another optimizer": ("its optimizer was SGD, here it is RMSprop",
                          {"optimizer": lambda m: torch.optim.RMSprop(m.parameters(), 0.02)}),
    "another decay": (r"optimizer options \[0\], weight_decay was 0.001, here it is 0",
                      {"optimizer": lambda m: torch.optim.SGD(m.parameters(), 0.02, 0.9)}),
    "another scheduler": ("its scheduler was None, here it is StepLR",
                          {"scheduler": lambda o: schedulers.StepLR(o, 2)}),
    "another loss": ("loss function, label_smoothing was 0.0, here it is 0.2",
                     {"loss_fn": nn.CrossEntropyLoss(label_smoothing=0.2)}),
    "other class weights": ("loss function, weight was None, here it is tensor",
                            {"loss_fn": nn.CrossEntropyLoss(weight=torch.ones(3))}),
    "another monitor": ("monitor was val_loss", {"monitor": "val_accuracy"}),
    "another policy": ("BatchNorm policy was train, here it is eval", {"batchnorm": "eval"}),
    "another precision": ("precision was auto, here it is bfloat16", {"precision": "bfloat16"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    file = tmp_path_factory.mktemp("finished") / "run.pt"
    run(file, epochs=1)
    return file


PLANS = {
    "milestones": (lambda o: schedulers.MultiStepLR(o, [2, 4]), lambda o: schedulers.MultiStepLR(o, [2, 5])),
    "warm-up": (lambda o: schedulers.OneCycleLR(o, 1.0, 9), lambda o: schedulers.OneCycleLR(o, 1.0, 9, pct_start=0.5)),
    "patience": (
        lambda o: schedulers.ReduceLROnPlateau(o, patience=2),
        lambda o: schedulers.ReduceLROnPlateau(o, patience=5),
    ),
}


@pytest.mark.parametrize("plan", PLANS)
def test_another_plan_for_the_rate_is_refused(tmp_path, plan):
    before, after = PLANS[plan]
    run(tmp_path / "run.pt", epochs=1, scheduler=before)
    said = refused(tmp_path / "run.pt", "its scheduler, ", scheduler=after)
    was, now = said.split(" was ")[1].split(". Give")[0].split(", here it is ")
    assert was != now, "the message shows no difference"


def test_another_validation_set_is_another_ruler(finished, monkeypatch):
    monkeypatch.setattr(NoisyImages, "__len__", lambda self: len(self.targets) - (len(self.targets) == 21))
    refused(finished, r"images for training and validation \[1\] was 21, here it is 20")


def test_auto_goes_on_where_it_means_another_precision(tmp_path, monkeypatch):
    """A run that Colab gave an old card first goes on on another one: exactness is lost, the run is not."""
    from tlhelpers import training

    half = mixed_precision("float16", torch.device("cpu"))
    with monkeypatch.context() as patch:
        patch.setattr(training, "mixed_precision", lambda *_: half)
        run(tmp_path / "run.pt", epochs=2)
    assert content(tmp_path / "run.pt")["run"]["scaler"]
    assert run(tmp_path / "run.pt", epochs=4)[1].epochs == 4
    with monkeypatch.context() as patch:
        patch.setattr(training, "mixed_precision", lambda *_: half)
        assert run(tmp_path / "run.pt", epochs=5)[1].epochs == 5


@pytest.mark.parametrize("other", OTHERS)
def test_another_run_is_refused_and_the_file_kept(finished, other):
    match, changed = OTHERS[other]
    assert "Give this run a file of its own, or delete that one" in refused(finished, match, **changed)


def test_another_network_other_frozen_layers_and_other_classes(finished, monkeypatch):
    def without_head_training(model):
        model[6].requires_grad_(False)
        return sgd(model)

    refused(
        finished,
        "trainable parameters was 6 long, with 6.weight, with 6.bias, here it is 4 long",
        optimizer=without_head_training,
    )
    with monkeypatch.context() as patch:
        patch.setattr(NoisyImages, "classes", ["ant", "fly", "wasp"])
        refused(finished, "label 1 is 'bee' there, 'fly' here")
    monkeypatch.setattr("test_resume.network", lambda: nn.Sequential(*network_with(9)))
    refused(finished, "another architecture.*0.weight is")


def network_with(channels):
    body = [nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    return [*body, nn.Dropout(0.3), nn.Linear(4 * channels, 3)]


def test_the_model_is_as_it_was_when_a_file_is_refused(finished):
    model = network()
    model.load_state_dict({name: value + 1 for name, value in network().state_dict().items()})
    before, state = checkpoints.copy_of_state(model), torch.get_rng_state()
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    loaders = tl.make_loader(NoisyImages(24), 8, train=True), tl.make_loader(NoisyImages(21, False), 8)
    with pytest.raises(tl.CourseError):
        tl.fit(model, *loaders, epochs=3, optimizer=optimizer, checkpoint=finished)
    assert differences(before, model.state_dict()) == [] and not optimizer.state
    assert torch.equal(state, torch.get_rng_state())


def test_cut_short_newer_and_foreign_files(finished, tmp_path):
    file = tmp_path / "run.pt"
    file.write_bytes(finished.read_bytes()[:-4000])
    refused(file, "cut short or damaged")
    found = torch.load(finished, weights_only=True)
    torch.save({**found, "version": checkpoints.VERSION + 1}, file)
    refused(file, "written by a newer tlhelpers")
    file.write_text("my notes")
    refused(file, "not a checkpoint of this course")
    torch.save({**found, "run": {name: value for name, value in found["run"].items() if name != "random"}}, file)
    refused(file, "damaged: its run lacks random")
    tl.save_checkpoint(file, network(), classes=NoisyImages.classes)
    refused(file, "holds a model and no training run to go on with. It would be overwritten")


def test_nothing_but_tensors_and_plain_types(finished):
    def types(value):
        if isinstance(value, dict):
            return {type(value)}.union(*(types(part) for pair in value.items() for part in pair))
        if isinstance(value, (list, tuple)):
            return {type(value)}.union(*(types(part) for part in value))
        return {type(value)}

    found = torch.load(finished, weights_only=True)
    assert types(found) <= {dict, list, tuple, str, int, float, bool, type(None), torch.Tensor}
    assert set(found["run"]) == {"weights", "optimizer", "scheduler", "scaler", "random", "loaders", "settings"}


def test_a_scheduler_that_no_file_can_hold_is_said(tmp_path, capsys):
    class Odd(schedulers.LambdaLR):
        def state_dict(self):
            return {**super().state_dict(), "notes": {1, 2}}

    _, history, *_ = run(tmp_path / "run.pt", epochs=1, scheduler=lambda o: Odd(o, lambda epoch: 1.0))
    assert history.epochs == 1 and "run['scheduler']['notes'] is a set" in capsys.readouterr().out


def test_a_disk_that_fills_up_keeps_the_last_file_that_could_be_written(tmp_path, monkeypatch, capsys):
    run(tmp_path / "run.pt", epochs=2)
    kept = (tmp_path / "run.pt").read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.os, "fsync", full)
        _, history, *_ = run(tmp_path / "run.pt", epochs=3)
    assert (
        history.epochs == 3 and "the disk is full" in history.problem and "Training goes on" in capsys.readouterr().out
    )
    assert (tmp_path / "run.pt").read_bytes() == kept and len(list(tmp_path.iterdir())) == 1
    assert run(tmp_path / "run.pt", epochs=3)[1].problem == ""  # this time it could be written
    run(tmp_path / "whole.pt", epochs=4)
    run(tmp_path / "run.pt", epochs=4)
    assert differences(content(tmp_path / "whole.pt"), content(tmp_path / "run.pt")) == []


def test_what_a_killed_save_left_is_tidied_up(tmp_path):
    for name in (".run.pt.123.tmp", ".other.pt.123.tmp"):
        (tmp_path / name).write_bytes(b"half of a")
    run(tmp_path / "run.pt", epochs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.pt.123.tmp", "run.pt"]


def test_best_and_current_weights_are_stored_once_while_they_are_the_same(tmp_path):
    wide = nn.Sequential(nn.Flatten(), nn.Linear(432, 2000), nn.ReLU(), nn.Linear(2000, 3))
    optimizer = torch.optim.SGD(wide.parameters(), 0.01)  # keeps no tensors of its own
    loaders = tl.make_loader(NoisyImages(24, False), 8, train=True), tl.make_loader(NoisyImages(24, False), 8)
    history = tl.fit(wide, *loaders, epochs=1, optimizer=optimizer, checkpoint=tmp_path / "run.pt", verbose=False)
    assert history.best_epoch == 1
    size = 4 * sum(p.numel() for p in wide.parameters())
    assert size < (tmp_path / "run.pt").stat().st_size < 1.2 * size


# ---- mixed precision ---------------------------------------------------------------------------------------------


def test_precision_words():
    cpu = torch.device("cpu")
    assert mixed_precision("auto", cpu).dtype == torch.float32
    scaled = {word: mixed_precision(word, cpu).scaler.is_enabled() for word in ("auto", "bfloat16", "float16")}
    assert scaled == {"auto": False, "bfloat16": False, "float16": True}
    with pytest.raises(tl.CourseError, match="precision='half' must be one of auto, float32, bfloat16, float16"):
        mixed_precision("half", cpu)


@pytest.mark.parametrize("native, chosen", [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_a_gpu_asks_for_native_bfloat16(monkeypatch, native, chosen):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: asked.append(options) or native)
    assert _quietly(lambda: mixed_precision("auto", torch.device("cuda"))).dtype == chosen
    assert asked == [{"including_emulation": False}]


def _quietly(make):
    with warnings.catch_warnings():  # without a card, autocast says that it switches itself off
        warnings.simplefilter("ignore")
        return make()


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_used_in_training_and_not_in_validation_or_weights(precision):
    seen = []

    class Watching(nn.Linear):
        def forward(self, rows):
            scores = super().forward(rows)
            seen.append((self.training, scores.dtype))
            return scores

    model = nn.Sequential(nn.Flatten(), Watching(432, 3))
    loaders = tl.make_loader(NoisyImages(24), 8, train=True), tl.make_loader(NoisyImages(21, False), 8)
    history = tl.fit(model, *loaders, epochs=2, optimizer=sgd(model), precision=precision, verbose=False)
    assert {dtype for training, dtype in seen if training} == {getattr(torch, precision)}
    assert {dtype for training, dtype in seen if not training} == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert history.train_loss[-1] < history.train_loss[0]


def test_float16_skips_an_overflowing_update_and_goes_on():
    """The first enlargement is too much for these gradients: the step is skipped, the next ones are smaller."""
    layer = nn.Linear(2, 2, bias=False)
    mixed, before = mixed_precision("float16", torch.device("cpu")), layer.weight.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    scale = mixed.scaler.get_scale()
    loss = layer(torch.full((1, 2), 1.0)).sum() * float("inf")
    mixed.step(loss, optimizer)
    assert torch.equal(layer.weight, before) and mixed.scaler.get_scale() == scale / 2
    mixed.step(layer(torch.ones(1, 2)).sum(), optimizer)
    torch.testing.assert_close(layer.weight.detach(), before - 0.1)


def test_the_program_that_is_killed_learns(tmp_path):
    _, history = training(tmp_path / "run.pt", epochs=3)
    assert history.epochs == 3 and history.train_loss[2] < history.train_loss[0]
