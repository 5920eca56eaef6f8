"""On a graphics card: does the data keep up with the network, and does nothing make a step wait?"""

from __future__ import annotations

import warnings

import torch
from rows import Row
from timing import Clock, interleaved
from torch import nn
from torch.utils.data import Subset
from torchvision import models

import tlhelpers as tl
from tlhelpers.pipeline import cache_images
from tlhelpers.precision import mixed_precision
from tlhelpers.training import train_one_epoch

BATCH, PIXELS, CLASSES = 64, 224, 102
MEAN, STD = tl.IMAGENET_MEAN, tl.IMAGENET_STD


def gpu(rounds: int, quick: bool) -> list[Row]:
    if not torch.cuda.is_available():
        return [
            Row(what, target=target, problem="no CUDA device")
            for what, target in (
                ("GPU: images/s end to end / from tensors on the device", ">= 0.9"),
                ("GPU: precision", ""),
                ("GPU: synchronisations per step", "<= 0"),
            )
        ]
    device = torch.device("cuda")
    return [throughput(device, rounds, quick), chosen_precision(device), synchronisations(device)]


def network(device: torch.device) -> nn.Module:
    """The network of the full profile; random weights, because a file is not needed to measure speed."""
    tl.seed_everything(0)
    return models.resnet18(num_classes=CLASSES).to(device)


def throughput(device: torch.device, rounds: int, quick: bool) -> Row:
    """Train on augmented 224-pixel images, as tl.cache_images gives them, and on batches that are there already."""
    flowers = tl.MiniFlowers102(split="train", transform=tl.train_transform(16 if quick else PIXELS, MEAN, STD))
    if quick:
        flowers = Subset(flowers, range(2 * BATCH))
    cached = cache_images(flowers, device=device)
    loader = tl.make_loader(cached, BATCH, train=True)
    ready = [(images.to(device), labels) for images, labels in loader]
    count = sum(len(labels) for _, labels in ready)

    def epoch(batches) -> None:
        # one model for each way, warmed up by the first, uncounted call
        train_one_epoch(model, batches, optimizer, nn.CrossEntropyLoss(), mixed=mixed_precision("auto", device))
        if device.type == "cuda":
            torch.cuda.synchronize()

    model = network(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def way(batches, clock: Clock) -> None:
        with clock:
            epoch(batches)

    for batches in (loader, ready):
        way(batches, Clock())
    found = interleaved({"end to end": lambda c: way(loader, c), "on the device": lambda c: way(ready, c)}, rounds)
    speed = {name: count / found.median(name) for name in found.seconds}
    note = ", ".join(f"{name} {value:.0f} images/s" for name, value in speed.items())
    ratio = found.ratio("on the device", "end to end")
    return Row("GPU: images/s end to end / from tensors on the device", ratio, ">= 0.9", note=note)


def chosen_precision(device: torch.device) -> Row:
    """bfloat16 where the card has it in hardware (compute capability 8 and up), else float16."""
    native = torch.cuda.get_device_capability(device)[0] >= 8
    with mixed_precision("auto", device).autocast:
        product = torch.zeros(2, 2, device=device) @ torch.zeros(2, 2, device=device)
    chosen = str(product.dtype).removeprefix("torch.")
    name = torch.cuda.get_device_name(device)
    return Row("GPU: precision", chosen, f"= {'bfloat16' if native else 'float16'}", note=name)


def synchronisations(device: torch.device) -> Row:
    """How often the CPU waits for the GPU in ten steps more: nothing may wait step by step."""
    model = network(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batch = (torch.randn(BATCH, 3, PIXELS, PIXELS).pin_memory(), torch.randint(0, CLASSES, (BATCH,)).pin_memory())

    def waits(steps: int) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                mixed = mixed_precision("auto", device)
                train_one_epoch(model, [batch] * steps, optimizer, nn.CrossEntropyLoss(), mixed=mixed)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(one.message) for one in caught)

    waits(2)
    few, more = waits(10), waits(20)
    note = f"{few} in 10 steps, {more} in 20: the sums at the end of the epoch"
    return Row("GPU: synchronisations per step", (more - few) / 10, "<= 0", "", note)
