"""The training of the flower project by any number of processes: the head, then all layers at rates by depth.

Nothing here depends on how many processes there are, except what BatchNorm (without `--batchnorm eval`) and dropout do
with smaller parts of a batch. `python -m tlhelpers.project --help` lists the settings.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Subset

from .checkpoints import copy_of_state
from .datasets import make_loader
from .distributed import (
    Ranks,
    copy_first_rank,
    evaluate_shares,
    from_first_rank,
    on_every_rank,
    own_batches,
    shared_loss,
    sum_over_ranks,
)
from .evaluation import to_device
from .features import cache_features
from .freezing import freeze, train_mode
from .groups import parameter_groups
from .history import History
from .models import device_of, unwrap
from .precision import MixedPrecision, mixed_precision, no_warning_about_skipped_steps
from .project_parts import Material, Settings, prepare_everywhere
from .resume import Run, read_run, restore_run, save_run
from .session import Course, CourseError
from .sharing import SeededImages, SharedBatches, evaluation_share, seed_from, share
from .training import fit

EVALUATION_BATCH = 64


def train_head_first(settings: Settings, material: Material) -> str:
    """Train the head on cached features, as in lesson 06; return a line that says how it went.

    Rank 0 does this alone and hands the result round: it is short, and comes out the same for any number of ranks.
    """
    backbone = material.net.backbone
    freeze(backbone.features)
    train, val = (
        cache_features(backbone, make_loader(images, EVALUATION_BATCH, num_workers=settings.workers))
        for images in (material.train, material.val)
    )
    rows, val_rows = make_loader(train, 32, train=True, seed=settings.seed), make_loader(val, 256)
    optimizer = torch.optim.AdamW(backbone.classifier.parameters(), lr=2e-3)
    options = {"epochs": 40, "patience": 3, "precision": "float32", "verbose": False}
    best = fit(backbone.classifier, rows, val_rows, optimizer=optimizer, **options).best()
    material.net.requires_grad_(True)
    return f"head alone: validation loss {best['val_loss']:.3f} acc {best['val_accuracy']:.3f}"


def train_epoch(
    model: nn.Module, loader: DataLoader, run: Run, mixed: MixedPrecision, ranks: Ranks, batchnorm: str
) -> tuple[float, float]:
    """Train once over the shared batches; return mean loss and accuracy over all images of all ranks."""
    train_mode(unwrap(model), batchnorm)
    device = device_of(model)
    loss_sum, right, count = torch.zeros(3, device=device)
    for batch, (images, labels) in zip(loader.batch_sampler.batches(), own_batches(loader, ranks), strict=True):
        own, labels = len(share(batch, ranks.rank, ranks.world)), labels.to(device, non_blocking=True)
        with mixed.autocast:
            scores = model(to_device(images, device))
            loss = shared_loss(scores, labels, len(batch), ranks)
        mixed.step(loss, run.optimizer)
        run.scheduler.step()
        loss_sum += loss.detach() * len(batch) / ranks.world
        right += (scores.detach().argmax(1) == labels).sum() * (own > 0)
        count += own
    loss_sum, right, count = sum_over_ranks(torch.stack([loss_sum, right, count])).tolist()
    require_finite(loss_sum, "training")
    return loss_sum / count, right / count


def require_finite(loss: float, kind: str) -> None:
    """Raise `CourseError`, on every rank as all have the same sum, when a loss is no longer a finite number."""
    if not math.isfinite(loss):
        raise CourseError(f"the {kind} loss is no longer a finite number. Try a tenth of the learning rate (--lr).")


def warm_up(share_of_steps: float, steps: int) -> float:
    """Return the share again, or a little more: OneCycleLR divides by the steps of its warm-up less one.

    >>> warm_up(0.1, steps=100), warm_up(0.1, steps=10), warm_up(0.0, steps=10)
    (0.1, 0.2, 0.0)
    """
    if 0 < share_of_steps * steps < 2:
        return 2 / steps if steps > 2 else 0.0
    return share_of_steps


def new_run(net: nn.Module, settings: Settings, material: Material, steps: int, mixed: MixedPrecision) -> Run:
    """Return optimizer, schedule and an empty history, and the settings that a checkpoint must share."""
    groups = parameter_groups(net.backbone, settings.lr, settings.factor, settings.weight_decay)
    optimizer = torch.optim.AdamW(groups)
    rates = [group["lr"] for group in groups]
    scheduler = OneCycleLR(optimizer, max_lr=rates, total_steps=steps, pct_start=warm_up(settings.warmup, steps))
    same = {
        "number of epochs (--epochs)": settings.epochs,
        "batch size (--batch-size)": settings.batch_size,
        "learning rate (--lr, --scale-lr)": settings.lr,
        "factor from stage to stage (--factor)": settings.factor,
        "weight decay (--weight-decay)": settings.weight_decay,
        "warm-up share (--warmup)": settings.warmup,
        "dropout (--dropout)": settings.dropout,
        "BatchNorm policy (--batchnorm)": settings.batchnorm,
        "seed (--seed)": settings.seed,
        "precision (--precision)": settings.precision,
        **material.names,
    }
    return Run(net, optimizer, scheduler, mixed.scaler, (), History(), copy_of_state(net), material.classes, same)


def go_on(run: Run, path: Path) -> bool:
    """Put the run back to where its checkpoint stands; False when there is none. Rank 0 reads, all get it.

    So the file need be on rank 0's machine only, and any number of processes can go on with it.
    """
    content = from_first_rank(lambda: read_run(path, run.classes))
    elsewhere = [rank for rank, there in enumerate(on_every_rank(path.exists)) if there]
    if content is None:
        if elsewhere:
            raise CourseError(
                f"{path} is on the machine of process {elsewhere[0]}, but not on that of process 0, which reads it: "
                "copy it there, or use a folder that all machines share."
            )
        return False
    on_every_rank(lambda: restore_run(path, content, run))
    print(f"going on after epoch {run.history.epochs}, from {path}", flush=True)
    return True


def save(path: Path, run: Run) -> str:
    """Save the run; return what went wrong, if anything: a full disk costs the file, not the training."""
    try:
        save_run(path, run)
    except CourseError as error:
        return f"\n{error} Training goes on."
    return ""


def epoch_line(history: History, epochs: int, images: int) -> str:
    """Return one line about the last epoch; `images` is how many validation images were scored.

    >>> epoch_line(History([2.0], [0.4], [1.5], [0.5], [0.5], [[0.1]], [3.0], best_epoch=1), epochs=6, images=1020)
    'epoch 1/6  train loss 2.000 acc 0.400  val loss 1.500 acc 0.500 (1020 images)  3.0 s  best'
    """
    curves = (history.train_loss, history.train_accuracy, history.val_loss, history.val_accuracy)
    loss, accuracy, val_loss, val_accuracy = (curve[-1] for curve in curves)
    best = "  best" if history.best_epoch == history.epochs else ""
    return (
        f"epoch {history.epochs:{len(str(epochs))}}/{epochs}  train loss {loss:.3f} acc {accuracy:.3f}  "
        f"val loss {val_loss:.3f} acc {val_accuracy:.3f} ({images} images)  {history.seconds[-1]:.1f} s{best}"
    )


def train_project(settings: Settings, course: Course, ranks: Ranks, progress: Any) -> History:
    """Train, validate and save epoch by epoch, going on from the checkpoint if there is one; return the history.

    `progress.saved` is kept at the last epoch that is safely in the file. Raises `CourseError`, on every rank, for
    settings that cannot work and for a checkpoint that is damaged or belongs to another run.
    """
    settings.for_profile(course)
    batches = SharedBatches(1, settings.batch_size, settings.seed, ranks.rank, ranks.world)  # refuses a wrong size now
    material = prepare_everywhere(settings, course, ranks)
    batches.count, net = len(material.pictures), material.net
    if ranks.device.type == "cuda" and ranks.world > 1 and settings.batchnorm == "train":
        net = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # statistics of the whole batch; PyTorch has it on GPUs only
    mixed = mixed_precision(settings.precision, ranks.device)
    run = new_run(net, settings, material, steps=settings.epochs * len(batches), mixed=mixed)
    if not go_on(run, settings.checkpoint):
        print(from_first_rank(lambda: train_head_first(settings, material)), flush=True)
        copy_first_rank(net)
    progress.epochs, progress.saved = settings.epochs, run.history.epochs
    model = net
    if ranks.world > 1:
        model = DistributedDataParallel(net, device_ids=[ranks.local_rank] if ranks.device.type == "cuda" else None)
    own = Subset(material.val, evaluation_share(len(material.val), ranks.rank, ranks.world))
    val_loader = make_loader(own, EVALUATION_BATCH, num_workers=settings.workers) if len(own) else []
    val_batches = list(own_batches(val_loader, ranks))  # they never change, so they are opened once
    loader = DataLoader(
        SeededImages(material.pictures, settings.seed, material.augmentation),
        batch_sampler=batches,
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
        pin_memory=ranks.device.type == "cuda",
        generator=torch.Generator(),  # its own, so that drawing seeds for workers does not shift the dropout
    )
    while run.history.epochs < settings.epochs:
        epoch, start, rates = run.history.epochs + 1, time.perf_counter(), [g["lr"] for g in run.optimizer.param_groups]
        batches.epoch = epoch
        torch.manual_seed(seed_from(settings.seed, epoch, ranks.rank, 1))  # dropout: other numbers on every rank
        with no_warning_about_skipped_steps(mixed):
            trained = train_epoch(model, loader, run, mixed, ranks, settings.batchnorm)
        copy_first_rank(net)  # on CPUs every rank has BatchNorm statistics of its own: all score, and save, rank 0's
        metrics = evaluate_shares(net, val_batches, len(material.classes))
        require_finite(metrics.loss, "validation")
        if run.history.add(trained, metrics, rates, time.perf_counter() - start):
            run.best = copy_of_state(net)
        problem = from_first_rank(lambda: save(settings.checkpoint, run))
        progress.saved = progress.saved if problem else epoch
        print(epoch_line(run.history, settings.epochs, metrics.n) + problem, flush=True)
    return run.history
