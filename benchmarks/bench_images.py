"""Images per second from files to batches: the course's loader against the usual one."""

from __future__ import annotations

import torch
from rows import Row
from timing import Clock, interleaved
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode

import tlhelpers as tl
from tlhelpers.pipeline import cache_images

ARCH, BATCH = "resnet10", 32


def usual_transform(weights) -> transforms.Compose:
    """The steps of tl.train_transform_for with the transforms of `torchvision.transforms`, as most tutorials do."""
    size, mean, std = tl.from_weights(weights)
    fill = [round(255 * value) for value in mean]
    return transforms.Compose(
        [
            transforms.RandomRotation(15, interpolation=InterpolationMode.BILINEAR, fill=fill),
            transforms.RandomResizedCrop(size, scale=(0.8, 1.0), antialias=True),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def images(rounds: int, quick: bool) -> list[Row]:
    """Five flowers, 600 files: ImageFolder, v1 transforms and DataLoader(num_workers=0) against tl.cache_images."""
    weights = models.get_model_weights(ARCH).DEFAULT
    folder = tl.data_dir() / "mini" / "five-flowers"
    rows = []
    cases = {
        "augmented": (usual_transform(weights), tl.train_transform_for(weights)),
        "crop and flip": (without_rotation(usual_transform(weights)), tl.train_transform_for(weights, rotation=0)),
        "for validation": (usual_preset(weights), weights.transforms()),
    }
    for name, (usual_steps, course_steps) in cases.items():
        usual = ImageFolder(folder, usual_steps)
        train = name != "for validation"
        decoding = Clock()
        with decoding:
            cached = cache_images(tl.image_folder(folder, course_steps))
        usual_loader = DataLoader(usual, BATCH, shuffle=train, num_workers=0)
        course_loader = tl.make_loader(cached, BATCH, train=train)
        ways = {
            "usual": lambda clock, loader=usual_loader: run(loader, clock),
            "course": lambda clock, loader=course_loader: run(loader, clock),
        }
        for way in ways.values():
            way(Clock())
        found = interleaved(ways, 1 if quick else rounds)
        slow, fast = found.median("usual"), found.median("course")
        note = f"images/s: usual {len(usual) / slow:.0f}, course {len(usual) / fast:.0f}; "
        rows.append(Row(f"loader, {name}: usual / course", found.ratio("usual", "course"), ">= 2",
                        note=note + found.spread("usual", "course")))  # fmt: skip
        epochs = decoding.seconds / (slow - fast) if slow > fast else float("inf")
        if name == "augmented":
            rows += [
                Row("the same: epochs until the first pass has paid", epochs, unit="",
                    note=f"opening and decoding every image once {decoding.seconds:.2f} s, then {slow - fast:.2f} s "
                         "less in every epoch"),
                Row("the same: memory of the decoded images", cached.nbytes / 1e9, "<= 1", "GB",
                    note=f"{len(cached)} images; the bound is cache_images(max_gb=1)"),
            ]  # fmt: skip
    return rows


def without_rotation(steps: transforms.Compose) -> transforms.Compose:
    return transforms.Compose(steps.transforms[1:])


def usual_preset(weights) -> transforms.Compose:
    """The evaluation transform of these weights with the transforms of `torchvision.transforms`."""
    preset = weights.transforms()
    return transforms.Compose(
        [
            transforms.Resize(preset.resize_size, interpolation=preset.interpolation, antialias=preset.antialias),
            transforms.CenterCrop(preset.crop_size),
            transforms.ToTensor(),
            transforms.Normalize(preset.mean, preset.std),
        ]
    )


def run(loader: DataLoader, clock: Clock) -> None:
    seen = torch.zeros(())
    with clock:
        for batch, _ in loader:
            seen += batch[:, 0, 0, 0].sum()
